//! What members see before and after a takeover, as `roas audit` reports it.

use roas_db::migration::{Board, Place, ReplacedSetting};
use serde::Serialize;

use super::output::{Column, Style, grouped, table};

/// A guild's top ten, before and after.
#[derive(Debug, Serialize)]
pub(super) struct BoardReport {
    guild_id: String,
    members: u64,
    original_above_zero: u64,
    above_zero: u64,
    differing_members: u64,
    places: Vec<PlaceReport>,
}

/// A member among the first ten before or after.
#[derive(Debug, Serialize)]
struct PlaceReport {
    user_id: String,
    original_rank: u64,
    original_score: f64,
    rank: u64,
    score: f64,
    /// Why the scores differ; empty where they do not.
    why: String,
}

impl BoardReport {
    pub(super) fn new(board: &Board) -> Self {
        let place = |place: &Place| PlaceReport {
            user_id: place.user_id.to_string(),
            original_rank: place.original_rank,
            original_score: place.original_score,
            rank: place.rank,
            score: place.score,
            why: place.why.clone(),
        };
        Self {
            guild_id: board.guild_id.to_string(),
            members: board.members,
            original_above_zero: board.original_above_zero,
            above_zero: board.above_zero,
            differing_members: board.differing_members,
            places: board.places.iter().map(place).collect(),
        }
    }

    /// One line for the guild, and its top ten where a score in it differs or `always`.
    pub(super) fn text(&self, style: Style, always: bool) -> String {
        let mut text = format!(
            "Guild {}: {} above 0 in the original, {} here; {} of {} differ\n",
            self.guild_id,
            grouped(self.original_above_zero),
            grouped(self.above_zero),
            grouped(self.differing_members),
            grouped(self.members)
        );
        if !always && self.places.iter().all(|place| place.why.is_empty()) {
            return text;
        }
        let columns = [
            Column::Left("user"),
            Column::Right("original rank"),
            Column::Right("original score"),
            Column::Right("rank"),
            Column::Right("score"),
            Column::Left("why"),
        ];
        let rows = self.places.iter().map(|place| {
            vec![
                place.user_id.clone(),
                grouped(place.original_rank),
                format!("{:.2}", place.original_score),
                grouped(place.rank),
                format!("{:.2}", place.score),
                place.why.clone(),
            ]
        });
        text += &table(style, &columns, rows);
        text
    }
}

/// A setting that is taken over with another value than is stored.
#[derive(Debug, Serialize)]
pub(super) struct Replaced {
    guild_id: String,
    setting: String,
    /// As an SQL literal.
    stored: String,
    taken: f64,
    why: &'static str,
}

impl Replaced {
    pub(super) fn new(replaced: &ReplacedSetting) -> Self {
        Self {
            guild_id: replaced.guild_id.to_string(),
            setting: replaced.setting.clone(),
            stored: replaced.stored.clone(),
            taken: replaced.taken,
            why: if replaced.is_zero {
                "the original read a 0 as its default"
            } else {
                "not a value that is allowed"
            },
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "Guild {}: {} is {} in the file and {} after a migration: {}\n",
            self.guild_id, self.setting, self.stored, self.taken, self.why
        )
    }
}
