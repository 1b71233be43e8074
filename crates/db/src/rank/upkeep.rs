//! The ranks' upkeep: with every change of a member, and in steps when they are made.

use std::collections::BTreeMap;

use roas_domain::{ActivityRecord, GuildId, MemberKey, Score, ScoreRules, UnixSeconds};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::layout::Layout;
use super::spread::{CLASSES, Spread};
use super::{FADED, GuildState, LATEST_STEP_SECONDS, Place, Ranking, find_guild, record_from};
use crate::sql::valid;

/// Members in one step of the upkeep: about two milliseconds of the writer's time.
const STEP: u32 = 500;

/// How long after a member's last message the sweep may count the member as faded: readers ask for
/// about now, and must never ask for a time before the sweep.
const SWEEP_DELAY_SECONDS: i64 = 30;

/// With more bands than this, counting them takes long: the guild is then ranked anew, in wider ones.
const MOST_BANDS: usize = 8_192;

/// A class or a band with more than one in so many of those that it divides is out of proportion.
const LEAST_PARTS: u64 = 8;

/// How long, by its own messages, a guild keeps classes that have come to be out of proportion. Making
/// ranks anew is work in proportion to all members, and may not help: all may have the same score
/// and time.
const KEEP_SECONDS: i64 = 86_400;

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
        let MemberKey { guild, user } = record.member;
        let band = ranking.band_of(record);
        let rows = connection
            .prepare_cached(
                "DELETE FROM activity_ranked
                 WHERE guild_id = ?1 AND band = ?2 AND score = ?3 AND user_id = ?4",
            )?
            .execute(params![
                guild.to_i64(),
                band,
                record.score.get(),
                user.to_i64()
            ])?;
        let band = if rows == 1 { band } else { FADED };
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
        spread.users[ranking.classes.of_user(user)] += by;
        if band != FADED {
            spread.scores[ranking.classes.of_score(Place::stored(record))] += by;
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
        .prepare_cached("SELECT members, latest FROM activity_rank_class WHERE guild_id = ?1")?
        .query_row([guild.to_i64()], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
        })?;
    let mut statement =
        connection.prepare_cached("SELECT band, spread FROM activity_band WHERE guild_id = ?1")?;
    let mut rows = statement.query([guild.to_i64()])?;
    let (mut all, mut bands, mut largest) = (Spread::default(), 0, 0);
    let mut agree = true;
    while let Some(row) = rows.next()? {
        let spread = Spread::from_bytes(row.get_ref(1)?.as_blob()?);
        all.add(&spread);
        bands += 1;
        if row.get::<_, i64>(0)? != FADED {
            largest = largest.max(spread.members());
            agree &= spread.better(..CLASSES) == spread.members();
        }
    }
    let adds_up = agree && all.members() == state.members && bands <= MOST_BANDS;
    let with_score = all.better(..CLASSES);
    let crowded = largest > with_score / LEAST_PARTS
        || greatest(&all.scores) > with_score / LEAST_PARTS
        || greatest(&all.users) > state.members / LEAST_PARTS;
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
    let (scores, users) = layout.classes.to_bytes();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO activity_rank_class (guild_id, scores, users, members, latest)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            guild.to_i64(),
            scores,
            users,
            layout.members.cast_signed(),
            layout.latest
        ])?;
    state.ranking = Some(Ranking {
        rate: rules.decay_per_second(),
        grace: rules.decay_after_seconds(),
        width: layout.width,
        classes: layout.classes.clone().into(),
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
    connection
        .prepare_cached("SELECT spread FROM activity_band WHERE guild_id = ?1")?
        .query_map([guild.to_i64()], |row| {
            Ok(Spread::from_bytes(row.get_ref(0)?.as_blob()?).members())
        })?
        .sum()
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

/// Takes members out of the bands in which every score has fallen to 0, up to a while before the
/// guild's latest message: nobody asks for an earlier time any more. Not beyond the writer's clock: a
/// message may be from far in the future, and readers ask for now.
fn sweep(
    connection: &Connection,
    counts: &mut Counts,
    guild: GuildId,
    latest: i64,
    now: UnixSeconds,
    ranking: &mut Ranking,
) -> rusqlite::Result<bool> {
    let to = (latest - LATEST_STEP_SECONDS).min(now.get()) - SWEEP_DELAY_SECONDS;
    let Ok(to) = UnixSeconds::new(to.max(ranking.swept_to.get())) else {
        return Ok(false);
    };
    let bound = ranking.key_of_decayed(Score::ZERO, to) - ranking.tolerance(to, latest);
    let lowest: Vec<ActivityRecord> = connection
        .prepare_cached(
            "SELECT user_id, score, last_msg, 0 FROM activity_ranked
             WHERE guild_id = ?1 AND band < ?2 ORDER BY band, score, user_id DESC LIMIT ?3",
        )?
        .query_map(params![guild.to_i64(), ranking.band(bound), STEP], |row| {
            record_from(row, guild)
        })?
        .collect::<rusqlite::Result<_>>()?;
    ranking.swept_to = to;
    for record in &lowest {
        counts.remove(connection, ranking, record)?;
        counts.count(ranking, record, FADED, 1);
    }
    Ok(lowest.len() == STEP as usize)
}
