//! The ranks' upkeep: with every change of a member, and in steps when they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use roas_domain::{ActivityRecord, GuildId, MemberKey, Score, ScoreRules, UnixSeconds};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::division::Division;
use super::layout::Layout;
use super::spread::{CLASSES, Spread};
use super::{
    FADED, GuildState, LATEST_STEP_SECONDS, Place, Ranking, each_band, find_guild, record_from,
};
use crate::sql::valid;

/// Members in one step of the upkeep: about two milliseconds of the writer's time.
const STEP: u32 = 500;

/// How long after a member's last message the sweep may count the member as faded: readers ask for
/// about now, and must never ask for a time before the sweep.
const SWEEP_DELAY_SECONDS: i64 = 30;

/// A class or a band with more than one in so many of a guild's members is out of proportion: it began
/// with half as many at most, so that many have changed since.
const LEAST_PARTS: u64 = 24;

/// Nor are so few. Looking at them takes a tenth of a millisecond.
pub(super) const FEW: u64 = 1_000;

/// How long, by its own messages, a guild keeps bands and classes that have come to be out of
/// proportion. Making ranks anew is work in proportion to all members, and meanwhile each rank is.
const KEEP_SECONDS: i64 = 600;

/// A change of one member, as the upkeep sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) before: Option<ActivityRecord>,
    pub(crate) after: ActivityRecord,
}

/// Counts that a transaction has changed, not yet written.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    bands: BTreeMap<(GuildId, i64), Spread>,
}

impl Counts {
    pub(crate) fn clear(&mut self) {
        self.bands.clear();
    }

    /// Brings the ranks up to date with a member's change.
    pub(crate) fn apply(
        &mut self,
        connection: &Connection,
        state: &GuildState,
        rules: &ScoreRules,
        change: &Change,
    ) -> rusqlite::Result<()> {
        let Change { before, after } = *change;
        let Some(ranking) = state.ranking_by(rules) else {
            return Ok(());
        };
        let moved = before.is_none_or(|before| {
            before.score != after.score || before.last_message_at != after.last_message_at
        });
        if !moved || !ranking.covers(after.member.user) {
            return Ok(());
        }
        if let Some(before) = before {
            self.remove(connection, ranking, &before)?;
        }
        self.insert(connection, ranking, rules, &after)
    }

    fn remove(
        &mut self,
        connection: &Connection,
        ranking: &Ranking,
        record: &ActivityRecord,
    ) -> rusqlite::Result<()> {
        let band = ranking.band_of(record);
        let band = if delete(connection, band, record)? {
            band
        } else {
            FADED
        };
        self.count(ranking, record, band, -1);
        Ok(())
    }

    fn insert(
        &mut self,
        connection: &Connection,
        ranking: &Ranking,
        rules: &ScoreRules,
        record: &ActivityRecord,
    ) -> rusqlite::Result<()> {
        if ranking.has_faded(rules, record) {
            self.count(ranking, record, FADED, 1);
            return Ok(());
        }
        let MemberKey { guild, user } = record.member;
        let band = ranking.band_of(record);
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO activity_ranked (guild_id, band, score, user_id, last_msg)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                guild.to_i64(),
                band,
                record.score.get(),
                user.to_i64(),
                record.last_message_at.get(),
            ])?;
        self.count(ranking, record, band, 1);
        Ok(())
    }

    fn count(&mut self, ranking: &Ranking, record: &ActivityRecord, band: i64, by: i32) {
        let MemberKey { guild, user } = record.member;
        let spread = self.bands.entry((guild, band)).or_default();
        spread.users[ranking.division.classes.of_user(user)] += by;
        if band != FADED {
            spread.scores[ranking.division.classes.of_score(Place::stored(record))] += by;
        }
    }

    /// Writes the counts that have changed.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        while let Some(((guild, band), change)) = self.bands.pop_first() {
            if change.is_zero() {
                continue;
            }
            let mut spread = find_spread(connection, guild, band)?;
            spread.add(&change);
            if spread.is_zero() {
                connection
                    .prepare_cached("DELETE FROM activity_band WHERE guild_id = ?1 AND band = ?2")?
                    .execute(params![guild.to_i64(), band])?;
            } else {
                connection
                    .prepare_cached(
                        "INSERT INTO activity_band (guild_id, band, spread) VALUES (?1, ?2, ?3)
                         ON CONFLICT (guild_id, band) DO UPDATE SET spread = excluded.spread",
                    )?
                    .execute(params![guild.to_i64(), band, spread.to_bytes()])?;
            }
        }
        Ok(())
    }
}

/// Answers whether the member was there.
fn delete(connection: &Connection, band: i64, record: &ActivityRecord) -> rusqlite::Result<bool> {
    let MemberKey { guild, user } = record.member;
    connection
        .prepare_cached(
            "DELETE FROM activity_ranked
             WHERE guild_id = ?1 AND band = ?2 AND score = ?3 AND user_id = ?4",
        )?
        .execute(params![
            guild.to_i64(),
            band,
            record.score.get(),
            user.to_i64()
        ])
        .map(|rows| rows == 1)
}

fn find_spread(connection: &Connection, guild: GuildId, band: i64) -> rusqlite::Result<Spread> {
    connection
        .prepare_cached("SELECT spread FROM activity_band WHERE guild_id = ?1 AND band = ?2")?
        .query_row(params![guild.to_i64(), band], |row| {
            Ok(Spread::from_bytes(row.get_ref(0)?.as_blob()?))
        })
        .optional()
        .map(Option::unwrap_or_default)
}

/// The guilds with at least `from` members whose ranks want upkeep.
pub(crate) fn guilds_to_rank(connection: &Connection, from: u64) -> rusqlite::Result<Vec<GuildId>> {
    connection
        .prepare_cached("SELECT guild_id FROM activity_guild WHERE members >= ?1")?
        .query_map([i64::try_from(from).unwrap_or(i64::MAX)], |row| {
            valid(0, Type::Integer, GuildId::try_from(row.get::<_, i64>(0)?))
        })?
        .collect()
}

/// How a guild's ranks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Not kept.
    Missing,
    /// Kept, or being made.
    Good,
    /// To be made anew: the counts do not add up, or the guild has come to differ from what its bands
    /// and classes were made for. Nothing but time is lost, because all of it is derived.
    Spent,
}

/// Looks at the counts of a guild's ranks.
pub(crate) fn health(connection: &Connection, guild: GuildId) -> rusqlite::Result<Health> {
    let state = find_guild(connection, guild)?;
    match &state.ranking {
        None => return Ok(Health::Missing),
        Some(ranking) if !ranking.is_complete() => return Ok(Health::Good),
        Some(_) => {}
    }
    let (drawn_members, drawn_latest): (u64, i64) = connection
        .prepare_cached("SELECT members, latest FROM activity_rank_bound WHERE guild_id = ?1")?
        .query_row([guild.to_i64()], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
    let (mut all, mut largest, mut agree) = (Spread::default(), 0, true);
    each_band(connection, guild, FADED, |band, spread| {
        all.add(spread);
        if band != FADED {
            largest = largest.max(spread.members());
            agree &= spread.better(..CLASSES) == spread.members();
        }
        Ok(())
    })?;
    let adds_up = agree && all.members() == state.members;
    let most = (state.members / LEAST_PARTS).max(FEW);
    let crowded = largest.max(greatest(&all.scores)).max(greatest(&all.users)) > most;
    let grown = state.members / 2 > drawn_members;
    let old = state.latest.saturating_sub(drawn_latest) > KEEP_SECONDS;
    Ok(if adds_up && !grown && !(crowded && old) {
        Health::Good
    } else {
        Health::Spent
    })
}

fn greatest(counts: &[i32; CLASSES]) -> u64 {
    let greatest = counts.iter().max().copied().unwrap_or(0);
    u64::try_from(greatest).unwrap_or(0)
}

/// Gives a guild's ranks up; [`step`] then removes what they leave.
pub(crate) fn discard(state: &mut GuildState) {
    state.ranking = None;
}

/// Begins a guild's ranks, unless another process has done so since nothing was left of earlier ones.
pub(crate) fn begin(
    connection: &Connection,
    guild: GuildId,
    state: &mut GuildState,
    rules: &ScoreRules,
    layout: &Layout,
) -> rusqlite::Result<()> {
    let is_clear: bool = connection
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM activity_ranked WHERE guild_id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM activity_band WHERE guild_id = ?1)",
        )?
        .query_row([guild.to_i64()], |row| row.get(0))?;
    if state.ranking.is_some() || !is_clear {
        return Ok(());
    }
    let Division { bands, classes } = &layout.division;
    let (scores, users) = classes.to_bytes();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO activity_rank_bound
                 (guild_id, bands, scores, users, members, latest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            guild.to_i64(),
            bands.to_bytes(),
            scores,
            users,
            layout.members.cast_signed(),
            layout.latest
        ])?;
    state.ranking = Some(Ranking {
        rate: rules.decay_per_second(),
        grace: rules.decay_after_seconds(),
        division: Arc::new(layout.division.clone()),
        ranked_to: 0,
        swept_to: UnixSeconds::MIN,
    });
    Ok(())
}

/// One step of a guild's upkeep, in the writer's transaction: removes what an earlier ranking has
/// left, ranks some more members, or sweeps some who have faded. Answers whether there is more to
/// do.
pub(crate) fn step(
    connection: &Connection,
    counts: &mut Counts,
    guild: GuildId,
    state: &mut GuildState,
    rules: &ScoreRules,
    now: UnixSeconds,
) -> rusqlite::Result<bool> {
    state.follow(rules);
    let Some(ranking) = &mut state.ranking else {
        return clear_some(connection, guild);
    };
    if !ranking.is_complete() {
        let some = members_after(connection, guild, ranking.ranked_to)?;
        for record in &some {
            counts.insert(connection, ranking, rules, record)?;
        }
        ranking.ranked_to = match some.last() {
            Some(last) if some.len() == STEP as usize => last.member.user.to_i64(),
            _ => i64::MAX,
        };
        if ranking.is_complete() {
            // Somebody may have put members in, or removed some, past the writer: where that number
            // stayed wrong, the counts would never add up.
            counts.flush(connection)?;
            state.members = counted_members(connection, guild)?;
        }
        return Ok(true);
    }
    sweep(connection, counts, guild, state.latest, now, ranking)
}

fn counted_members(connection: &Connection, guild: GuildId) -> rusqlite::Result<u64> {
    let mut members = 0;
    each_band(connection, guild, FADED, |_, spread| {
        members += spread.members();
        Ok(())
    })?;
    Ok(members)
}

/// Removes some of what a ranking left; `false` where nothing is left.
fn clear_some(connection: &Connection, guild: GuildId) -> rusqlite::Result<bool> {
    let rows = connection
        .prepare_cached(
            "DELETE FROM activity_ranked WHERE guild_id = ?1 AND (band, score, user_id) IN (
                 SELECT band, score, user_id FROM activity_ranked WHERE guild_id = ?1 LIMIT ?2)",
        )?
        .execute(params![guild.to_i64(), STEP])?;
    if rows == 0 {
        connection
            .prepare_cached("DELETE FROM activity_band WHERE guild_id = ?1")?
            .execute([guild.to_i64()])?;
    }
    Ok(rows > 0)
}

fn members_after(
    connection: &Connection,
    guild: GuildId,
    user: i64,
) -> rusqlite::Result<Vec<ActivityRecord>> {
    connection
        .prepare_cached(
            "SELECT user_id, score, last_msg, messages FROM activity_meter
             WHERE guild_id = ?1 AND user_id > ?2 ORDER BY user_id LIMIT ?3",
        )?
        .query_map(params![guild.to_i64(), user, STEP], |row| {
            record_from(row, guild)
        })?
        .collect()
}

/// By when a member's score is to have fallen to 0, for the sweep: a while before the guild's latest
/// message, as nobody asks for an earlier time any more. Not beyond the clock: a message may be from far
/// in the future, and readers ask for now.
pub(super) fn faded_at(latest: i64, now: UnixSeconds) -> UnixSeconds {
    let latest = UnixSeconds::new(latest - LATEST_STEP_SECONDS).unwrap_or(UnixSeconds::MIN);
    latest.min(now).saturating_add(-SWEEP_DELAY_SECONDS)
}

/// Takes members out of the bands in which every score has fallen to 0.
fn sweep(
    connection: &Connection,
    counts: &mut Counts,
    guild: GuildId,
    latest: i64,
    now: UnixSeconds,
    ranking: &mut Ranking,
) -> rusqlite::Result<bool> {
    let to = faded_at(latest, now).max(ranking.swept_to);
    let key = ranking.key_of_decayed(Score::ZERO, to) - ranking.tolerance(to, latest);
    let first = ranking.division.bands.first_with(key);
    let lowest: Vec<(ActivityRecord, i64)> = connection
        .prepare_cached(
            "SELECT user_id, score, last_msg, 0, band FROM activity_ranked
             WHERE guild_id = ?1 AND band < ?2 ORDER BY band, score, user_id DESC LIMIT ?3",
        )?
        .query_map(params![guild.to_i64(), first, STEP], |row| {
            Ok((record_from(row, guild)?, row.get(4)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    ranking.swept_to = to;
    for (record, band) in &lowest {
        // From where it is: somebody else may have put it there.
        delete(connection, *band, record)?;
        counts.count(ranking, record, *band, -1);
        counts.count(ranking, record, FADED, 1);
    }
    Ok(lowest.len() == STEP as usize)
}
