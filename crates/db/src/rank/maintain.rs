//! Keeping ranks: with every change of a member, and in steps while they are built.

use std::collections::BTreeMap;
use std::sync::Arc;

use roas_domain::{ActivityRecord, GuildId, MemberKey, Score, ScoreRules, UnixSeconds};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::buckets::{Buckets, ByScore, Counts, cells_of};
use super::{EXPIRED, GuildState, LATEST_STEP_SECONDS, find_guild, key_buckets};
use crate::sql::{count_from, execute, find_rules, members_after, record_from, valid};

/// Members in one step: about two milliseconds of the writer's time.
pub(super) const STEP: u32 = 500;

/// About so many members are those that the bounds of buckets are chosen by.
const SAMPLE: u64 = 16_384;

/// A member is only expired so long after the score has decayed to 0: readers ask for about now, and
/// the ranks do not answer for times before that.
const EXPIRY_DELAY_SECONDS: i64 = 30;

/// A bucket with more than one in so many of a guild's members is crowded. It held half of that when
/// the bounds were chosen, or less.
const LEAST_PARTS: u64 = 24;

/// Nor are so few crowded: reading them takes a tenth of a millisecond.
pub(super) const FEW: u64 = 1_000;

/// How long, by its own messages, a guild keeps crowded buckets: a rebuild reads all members.
const KEEP_SECONDS: i64 = 600;

/// A change of one member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) before: Option<ActivityRecord>,
    pub(crate) after: ActivityRecord,
}

/// Counts that a transaction has changed and not yet written.
#[derive(Debug, Default)]
pub(crate) struct CountChanges(BTreeMap<(GuildId, i64), Counts>);

impl CountChanges {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn count(
        &mut self,
        buckets: &Buckets,
        record: &ActivityRecord,
        bucket: i64,
        by: i32,
    ) {
        let MemberKey { guild, user } = record.member;
        let counts = self.0.entry((guild, bucket)).or_default();
        let score_bucket =
            (bucket != EXPIRED).then(|| buckets.score_bucket(ByScore::stored(record)));
        counts.count(score_bucket, buckets.user_bucket(user.to_i64()), by);
    }

    /// Of one guild, the lowest bucket first.
    pub(super) fn of(&self, guild: GuildId) -> impl Iterator<Item = (i64, Counts)> {
        let range = self.0.range((guild, i64::MIN)..=(guild, i64::MAX));
        range.map(|((_, bucket), counts)| (*bucket, *counts))
    }

    /// Writes the counts that have changed.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        while let Some(((guild, bucket), change)) = self.0.pop_first() {
            if change == Counts::default() {
                continue;
            }
            let key = (guild.to_i64(), bucket);
            let sql = "SELECT counts FROM activity_rank_count WHERE guild_id = ?1 AND bucket = ?2";
            let mut counts = connection
                .prepare_cached(sql)?
                .query_row(key, |row| {
                    Ok(Counts::from_bytes(row.get_ref(0)?.as_blob()?))
                })
                .optional()?
                .unwrap_or_default();
            counts.add(&change);
            if counts == Counts::default() {
                let sql = "DELETE FROM activity_rank_count WHERE guild_id = ?1 AND bucket = ?2";
                execute(connection, sql, key)?;
            } else {
                let sql = "INSERT INTO activity_rank_count (guild_id, bucket, counts)
                     VALUES (?1, ?2, ?3)
                     ON CONFLICT (guild_id, bucket) DO UPDATE SET counts = excluded.counts";
                execute(connection, sql, (key.0, key.1, counts.to_bytes()))?;
            }
        }
        Ok(())
    }
}

/// A guild's ranks, in a transaction of the writer's.
#[derive(Debug)]
pub(crate) struct Ranks<'t> {
    pub(crate) connection: &'t Connection,
    pub(crate) guild: GuildId,
    pub(crate) rules: &'t ScoreRules,
    pub(crate) state: &'t mut GuildState,
    pub(crate) changes: &'t mut CountChanges,
}

impl Ranks<'_> {
    /// Updates what is derived after a member's change.
    pub(crate) fn apply(&mut self, change: &Change) -> rusqlite::Result<()> {
        self.state.note(change);
        let Change { before, after } = change;
        let moved = before.is_none_or(|before| {
            before.score != after.score || before.last_message_at != after.last_message_at
        });
        let is_ranked = self.state.row.ranked_to >= Some(after.member.user.to_i64());
        let buckets = self.state.buckets_by(self.rules).cloned();
        let Some(buckets) = buckets.filter(|_| moved && is_ranked) else {
            return Ok(());
        };
        if let Some(before) = before {
            let was_ranked = self.delete(buckets.cell(before), before)?;
            let bucket = if was_ranked {
                buckets.key_bucket(before)
            } else {
                EXPIRED
            };
            self.changes.count(&buckets, before, bucket, -1);
        }
        self.insert(&buckets, after)
    }

    fn insert(&mut self, buckets: &Buckets, record: &ActivityRecord) -> rusqlite::Result<()> {
        let expired_to = UnixSeconds::MIN.saturating_add(self.state.row.expired_to);
        let (score, last) = (record.score, record.last_message_at);
        if self.rules.decayed(score, last, expired_to) == Score::ZERO {
            self.changes.count(buckets, record, EXPIRED, 1);
            return Ok(());
        }
        self.changes
            .count(buckets, record, buckets.key_bucket(record), 1);
        let (cell, user) = (buckets.cell(record), record.member.user.to_i64());
        let sql = "INSERT OR REPLACE INTO activity_rank (guild_id, cell, user_id, score, last_msg)
             VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![self.guild.to_i64(), cell, user, score.get(), last.get()];
        execute(self.connection, sql, row).map(drop)
    }

    /// Whether there was a row.
    fn delete(&self, cell: i64, record: &ActivityRecord) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM activity_rank WHERE guild_id = ?1 AND cell = ?2 AND user_id = ?3";
        let key = [self.guild.to_i64(), cell, record.member.user.to_i64()];
        Ok(execute(self.connection, sql, key)? == 1)
    }

    /// Counts the members anew, and finds the latest time, because another program has changed them.
    pub(crate) fn recount(&mut self) -> rusqlite::Result<()> {
        let sql =
            "SELECT count(*), coalesce(max(last_msg), 0) FROM activity_meter WHERE guild_id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        (self.state.row.members, self.state.row.latest) = statement
            .query_row([self.guild.to_i64()], |row| {
                Ok((count_from(row, 0)?, row.get(1)?))
            })?;
        Ok(())
    }

    /// Begins to build the ranks, unless another process has, or something is left of earlier ones.
    pub(crate) fn begin(&mut self, buckets: &Buckets, now: UnixSeconds) -> rusqlite::Result<()> {
        if self.state.buckets.is_some() || self.remove_some()? {
            return Ok(());
        }
        let row = &mut self.state.row;
        row.ranked_to = Some(0);
        row.expired_to = expiry_time(row.latest, now).get();
        let [keys, scores, users] = buckets.to_bytes();
        let (members, latest) = (row.members.cast_signed(), row.latest);
        let (guild, rate, grace) = (self.guild.to_i64(), buckets.rate, buckets.grace);
        let sql = "INSERT OR REPLACE INTO activity_rank_bound (guild_id, rate, grace, key_bounds,
                 score_bounds, user_bounds, members, latest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let row = params![guild, rate, grace, keys, scores, users, members, latest];
        execute(self.connection, sql, row)?;
        self.state.buckets = Some(Arc::new(buckets.clone()));
        Ok(())
    }

    /// One step: removes what is left of earlier ranks, ranks some more members, or expires some whose
    /// score has decayed to 0. Returns whether there is more to do.
    pub(crate) fn step(&mut self, now: UnixSeconds) -> rusqlite::Result<bool> {
        self.state.follow(self.rules);
        let (Some(buckets), Some(ranked_to)) =
            (self.state.buckets.clone(), self.state.row.ranked_to)
        else {
            return self.remove_some();
        };
        if self.state.is_complete() {
            return self.expire(&buckets, now);
        }
        let some = members_after(self.connection, self.guild, ranked_to, 1, STEP)?;
        for record in &some {
            self.insert(&buckets, record)?;
        }
        let last = some
            .last()
            .map_or(i64::MAX, |last| last.member.user.to_i64());
        self.state.row.ranked_to = Some(last);
        Ok(true)
    }

    /// Removes some of what earlier ranks have left; `false` where nothing is left.
    fn remove_some(&self) -> rusqlite::Result<bool> {
        let guild = self.guild.to_i64();
        let sql = "DELETE FROM activity_rank WHERE guild_id = ?1 AND (cell, user_id) IN (
             SELECT cell, user_id FROM activity_rank WHERE guild_id = ?1 LIMIT ?2)";
        let rows = execute(self.connection, sql, (guild, STEP))?;
        if rows == 0 {
            let sql = "DELETE FROM activity_rank_count WHERE guild_id = ?1";
            execute(self.connection, sql, [guild])?;
        }
        Ok(rows > 0)
    }

    /// Removes the rows of some members of key buckets in which every score has decayed to 0.
    fn expire(&mut self, buckets: &Buckets, now: UnixSeconds) -> rusqlite::Result<bool> {
        let row = &mut self.state.row;
        row.expired_to = row.expired_to.max(expiry_time(row.latest, now).get());
        let to = UnixSeconds::MIN.saturating_add(row.expired_to);
        let end = buckets.bucket_of_key(buckets.key_of_zero(to) - buckets.tolerance());
        let lowest: Vec<(ActivityRecord, i64)> = self
            .connection
            .prepare_cached(
                "SELECT user_id, score, last_msg, 0, cell FROM activity_rank
                 WHERE guild_id = ?1 AND cell < ?2 LIMIT ?3",
            )?
            .query_map((self.guild.to_i64(), cells_of(end).start, STEP), |row| {
                Ok((record_from(row, self.guild)?, row.get(4)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (record, cell) in &lowest {
            // From the cell in which it is: another program may have put it there.
            self.delete(*cell, record)?;
            self.changes
                .count(buckets, record, buckets.key_bucket(record), -1);
            self.changes.count(buckets, record, EXPIRED, 1);
        }
        Ok(lowest.len() == STEP as usize)
    }
}

/// The guilds that are said to have `from` members or more.
pub(crate) fn large_guilds(connection: &Connection, from: u64) -> rusqlite::Result<Vec<GuildId>> {
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
    /// Kept, or being built.
    Good,
    /// To be rebuilt: the members differ from those that the bounds were chosen for.
    Stale,
}

/// Checks a guild's ranks by their counts alone.
pub(crate) fn health(connection: &Connection, guild: GuildId) -> rusqlite::Result<Health> {
    let state = find_guild(connection, guild)?;
    let Some(buckets) = &state.buckets else {
        return Ok(Health::Missing);
    };
    if !state.is_complete() {
        return Ok(Health::Good);
    }
    let (members_then, latest_then): (u64, i64) = connection
        .prepare_cached("SELECT members, latest FROM activity_rank_bound WHERE guild_id = ?1")?
        .query_row([guild.to_i64()], |row| {
            Ok((count_from(row, 0)?, row.get(1)?))
        })?;
    let (mut all, mut largest) = (Counts::default(), 0);
    for (bucket, counts) in key_buckets(connection, guild, EXPIRED)? {
        let counts = Counts::from_bytes(&counts);
        let keys = buckets.keys_of(bucket);
        // A single key cannot be divided.
        if bucket != EXPIRED && keys.start.next_up() < keys.end {
            largest = largest.max(counts.members());
        }
        all.add(&counts);
    }
    let members = state.row.members;
    let largest = all
        .0
        .iter()
        .map(|count| u64::try_from(*count).unwrap_or(0))
        .fold(largest, u64::max);
    let is_crowded = largest > (members / LEAST_PARTS).max(FEW);
    let is_old = state.row.latest.saturating_sub(latest_then) > KEEP_SECONDS;
    let has_doubled = members / 2 > members_then;
    Ok(if has_doubled || (is_crowded && is_old) {
        Health::Stale
    } else {
        Health::Good
    })
}

/// Chooses the bounds of a guild's buckets by its members as of now. Reads all members, on the
/// maintenance's own connection.
pub(crate) fn sample(
    connection: &Connection,
    guild: GuildId,
    now: UnixSeconds,
) -> rusqlite::Result<Buckets> {
    let state = find_guild(connection, guild)?;
    let rules = &find_rules(connection, guild)?.score;
    let one_in = state.row.members.div_ceil(SAMPLE).max(1);
    let mut members = members_after(connection, guild, 0, one_in, u32::MAX)?;
    let users = members
        .iter()
        .map(|record| record.member.user.to_i64())
        .collect();
    let expired_to = expiry_time(state.row.latest, now);
    members.retain(|record| {
        let last = record.last_message_at;
        // A message from the future says nothing about what will come.
        last <= now && rules.decayed(record.score, last, expired_to) > Score::ZERO
    });
    Ok(Buckets::for_members(&members, users, rules, now))
}

/// Members whose score is 0 by this time may be expired: a while before the guild's latest message. Not
/// beyond the clock: a message may be from far in the future, and readers ask for now.
fn expiry_time(latest: i64, now: UnixSeconds) -> UnixSeconds {
    let latest = UnixSeconds::MIN.saturating_add(latest - LATEST_STEP_SECONDS);
    latest.min(now).saturating_add(-EXPIRY_DELAY_SECONDS)
}

/// Gives a guild's ranks up; [`Ranks::step`] then removes what is left of them.
pub(crate) fn discard(state: &mut GuildState) {
    state.buckets = None;
    state.row.ranked_to = None;
}
