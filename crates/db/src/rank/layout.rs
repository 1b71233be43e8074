//! Into what bands and classes a guild's members are divided, by what they are like when its ranks are
//! begun.

use roas_domain::{ActivityRecord, GuildId, Score, ScoreRules, UnixSeconds};
use rusqlite::Connection;

use super::bands::{Bands, Mark};
use super::division::{Classes, Division};
use super::spread::CLASSES;
use super::upkeep::faded_at;
use super::{LATEST_STEP_SECONDS, Place, find_guild, record_from};
use crate::sql::find_rules;

/// How many members are looked at more closely.
const SAMPLE: u64 = 16_384;

/// Bounds between classes of scores that do not come from the members.
const FIXED_BOUNDS: u8 = 16;

/// How a guild's members are divided, and what the guild was like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(super) division: Division,
    pub(super) members: u64,
    pub(super) latest: i64,
}

impl Layout {
    /// Looks at all members, as of now; for the maintenance's own connection.
    pub(crate) fn survey(
        connection: &Connection,
        guild: GuildId,
        now: UnixSeconds,
    ) -> rusqlite::Result<Self> {
        let state = find_guild(connection, guild)?;
        let rules = &find_rules(connection, guild)?.score;
        let step = usize::try_from(state.members.div_ceil(SAMPLE).max(1)).unwrap_or(usize::MAX);
        let mut statement = connection.prepare_cached(
            "SELECT user_id, score, last_msg, messages FROM activity_meter
             WHERE guild_id = ?1 ORDER BY user_id",
        )?;
        let mut rows = statement.query([guild.to_i64()])?;
        let mut sample = Vec::new();
        let mut index = 0_usize;
        while let Some(row) = rows.next()? {
            if index.is_multiple_of(step) {
                sample.push(record_from(row, guild)?);
            }
            index += 1;
        }
        let faded_at = faded_at(state.latest, now).saturating_add(-LATEST_STEP_SECONDS);
        let has_score = |record: &&ActivityRecord| {
            let last = record.last_message_at;
            // Not from the future, which says nothing of what the guild is like.
            last <= now && rules.decayed(record.score, last, faded_at) > Score::ZERO
        };
        let with_score: Vec<_> = sample.iter().filter(has_score).collect();
        let rate = rules.decay_per_second();
        let mut marks: Vec<_> = with_score
            .iter()
            .map(|record| Mark::of(rate, record))
            .collect();
        marks.sort_unstable();
        let mut scores: Vec<Place> = with_score.into_iter().map(Place::stored).collect();
        scores.sort_unstable();
        let users: Vec<_> = sample
            .iter()
            .map(|record| record.member.user.to_i64())
            .collect();
        Ok(Self {
            division: Division {
                bands: Bands::for_members(&marks, rules, faded_at),
                classes: Classes {
                    scores: score_bounds(&scores, rules),
                    users: quantiles(&users, CLASSES),
                },
            },
            members: state.members,
            latest: state.latest,
        })
    }
}

/// Most bounds divide the members as they are; the others divide the scores as they may become, in
/// equal ratios: the members of a guild that begins all have the same.
fn score_bounds(sorted: &[Place], rules: &ScoreRules) -> Vec<Place> {
    let (greatest, least) = (rules.max_score(), rules.first_score().get() / 16.0);
    let least = if least > 0.0 {
        least
    } else {
        greatest / 1_024.0
    };
    let ratio = (least / greatest).powf(1.0 / f64::from(FIXED_BOUNDS - 1));
    let mut bounds: Vec<Place> = std::iter::successors(Some(greatest), |bound| Some(bound * ratio))
        .take(FIXED_BOUNDS.into())
        .map(Place::first_with)
        .chain(quantiles(sorted, CLASSES - usize::from(FIXED_BOUNDS)))
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// What divides the sorted values into so many parts of like size; fewer, where values are equal.
pub(super) fn quantiles<T: Copy + PartialEq>(sorted: &[T], parts: usize) -> Vec<T> {
    let mut bounds: Vec<T> = (1..parts)
        .filter_map(|part| sorted.get(part * sorted.len() / parts).copied())
        .collect();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(score: f64, user: i64) -> Place {
        Place {
            user,
            ..Place::first_with(score)
        }
    }

    #[test]
    fn members_with_the_same_score_fall_into_many_classes() {
        let same: Vec<_> = (1..=1_000).map(|user| place(1.0, user)).collect();
        let classes = Classes {
            scores: score_bounds(&same, &ScoreRules::default()),
            users: Vec::new(),
        };
        let mut counts = [0; CLASSES];
        for place in same {
            counts[classes.of_score(place)] += 1;
        }
        assert!(counts.iter().all(|count| *count <= 25), "{counts:?}");
    }
}
