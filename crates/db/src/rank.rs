//! Leaderboards and ranks of large guilds, exact, without looking at every member.
//!
//! # How
//!
//! With linear decay, what a member's score has fallen to at a time T is
//! max(0, min(score, key − rate·(T − grace))) with key = score + rate·last: the order of the keys does
//! not change with time. So the members of a large guild are kept in the order of their keys
//! (`activity_rank`), and counted in spans of it (`activity_rank_count`).
//!
//! - The top of a leaderboard is read from the greatest key downwards, until no lower key can reach
//!   the places that are filled.
//! - A member's rank is the number of keys so far above the member's that they count whatever their
//!   score, taken from the spans, and those in the band between, which is looked at member by
//!   member. The band is as wide as what a score loses in a grace.
//! - Members whose score has fallen to 0 leave that order; they are counted by spans of their ids
//!   (`activity_faded`), because equal scores rank by user id.
//!
//! Keys are computed in floating point. They only say where to look: whatever lies within
//! [`Ranking::tolerance`] of a bound is decided by the domain's own [`ScoreRules::decayed`].
//!
//! # Upkeep
//!
//! The writer keeps a ranked guild's rows up to date in the transaction that changes a member. The
//! maintenance thread has a guild ranked once it is large, or anew when its rules change, in small
//! steps between the callers' transactions ([`step`]). Until a guild is ranked, and for times before
//! the last sweep, its members are looked at one by one.
//!
//! All SQL on these tables is here.

use std::collections::{BTreeMap, BinaryHeap};

use roas_domain::{
    ActivityRecord, GuildId, MAX_SCORE_LIMIT, MemberKey, Rank, Score, ScoreEntry, ScoreRules,
    UnixSeconds, UserId,
};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::sql::{count_from, score_from, time_from, user_from, valid};

/// Members in one step of the upkeep: about two milliseconds of the writer's time.
const STEP: u32 = 500;

/// How long after a member's last message the sweep may count the member as faded: readers ask for
/// about now, and must never ask for a time before the sweep.
const SWEEP_DELAY_SECONDS: i64 = 30;

/// `latest` is kept in steps, so that not every transaction has to write it.
const LATEST_STEP_SECONDS: i64 = 16;

/// Spans that the scores from 0 to the greatest are divided into, when a guild is ranked.
const SPANS: f64 = 512.0;

/// With more spans than this, counting them takes long: the guild is then ranked anew, in wider ones.
const MOST_SPANS: u64 = 16_384;

/// What is known of a guild as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct GuildState {
    pub(crate) members: u64,
    /// No member's last message is later.
    latest: i64,
    ranking: Option<Ranking>,
}

/// By what a guild's ranks are kept, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ranking {
    rate: f64,
    grace: i64,
    width: f64,
    ranked_to: i64,
    swept_to: UnixSeconds,
}

/// A change of one member, as the upkeep sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) before: Option<ActivityRecord>,
    pub(crate) after: ActivityRecord,
}

/// Counts by span that a transaction has changed, not yet written.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    ranked: BTreeMap<(GuildId, i64), i64>,
    faded: BTreeMap<(GuildId, i64), i64>,
}

impl GuildState {
    /// Whether the ranks are kept by these rules.
    fn ranking_by(&self, rules: &ScoreRules) -> Option<&Ranking> {
        self.ranking.as_ref().filter(|ranking| {
            ranking.rate.to_bits() == rules.decay_per_second().to_bits()
                && ranking.grace == rules.decay_after_seconds()
        })
    }

    /// What the rules' change means for the ranks: where they are kept by others, they are no more.
    pub(crate) fn follow(&mut self, rules: &ScoreRules) {
        if self.ranking_by(rules).is_none() {
            self.ranking = None;
        }
    }

    /// Takes note of a member's change.
    pub(crate) fn note(&mut self, change: &Change) {
        if change.before.is_none() {
            self.members += 1;
        }
        let last = change.after.last_message_at.get();
        if last > self.latest {
            self.latest = last - last % LATEST_STEP_SECONDS + LATEST_STEP_SECONDS;
        }
    }

    /// The ranking, where it can answer for `at`.
    fn answering(&self, rules: &ScoreRules, at: UnixSeconds) -> Option<&Ranking> {
        self.ranking_by(rules)
            .filter(|ranking| ranking.is_complete() && at >= ranking.swept_to)
    }
}

impl Ranking {
    fn is_complete(&self) -> bool {
        self.ranked_to == i64::MAX
    }

    fn covers(&self, user: UserId) -> bool {
        user.to_i64() <= self.ranked_to
    }

    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn key(&self, score: Score, last: UnixSeconds) -> f64 {
        score.get() + self.rate * last.get() as f64
    }

    /// Which span a key is in. Never falls as keys rise, so that a span is a range of keys.
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
    fn span(&self, key: f64) -> i64 {
        (key / self.width).floor() as i64
    }

    /// The key of those who have decayed to `score` at `at`. Nobody with a lower key has more.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn key_of_decayed(&self, score: Score, at: UnixSeconds) -> f64 {
        score.get() + self.rate * (at.get() - self.grace) as f64
    }

    /// The greatest key of a member whose score, not decayed, is `score`. Whoever has a greater key has
    /// a greater score.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn key_of_fresh(&self, score: Score, latest: i64) -> f64 {
        score.get() + self.rate * latest as f64
    }

    /// How far a key may be off. A key and a decayed score are a handful of operations, each exact to
    /// 2^-53 of its result, and no intermediate result is above the sum here.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn tolerance(&self, at: UnixSeconds, latest: i64) -> f64 {
        let time = at.get().max(latest).saturating_add(self.grace) as f64;
        (MAX_SCORE_LIMIT + self.rate * time) * 2.0_f64.powi(-48)
    }

    fn has_faded(&self, rules: &ScoreRules, record: &ActivityRecord) -> bool {
        rules.decayed(record.score, record.last_message_at, self.swept_to) == Score::ZERO
    }
}

const FIND_GUILD: &str =
    "SELECT members, latest, rank_rate, rank_grace, rank_width, ranked_to, swept_to
     FROM activity_guild WHERE guild_id = ?1";

pub(crate) fn find_guild(connection: &Connection, guild: GuildId) -> rusqlite::Result<GuildState> {
    connection
        .prepare_cached(FIND_GUILD)?
        .query_row([guild.to_i64()], guild_from)
        .optional()
        .map(Option::unwrap_or_default)
}

fn guild_from(row: &Row<'_>) -> rusqlite::Result<GuildState> {
    let ranking = match row.get::<_, Option<f64>>(2)? {
        None => None,
        Some(rate) => Some(Ranking {
            rate,
            grace: row.get(3)?,
            width: row.get(4)?,
            ranked_to: row.get(5)?,
            swept_to: time_from(row, 6)?,
        }),
    };
    Ok(GuildState {
        members: count_from(row, 0)?,
        latest: row.get(1)?,
        ranking,
    })
}

pub(crate) fn put_guild(
    connection: &Connection,
    guild: GuildId,
    state: &GuildState,
) -> rusqlite::Result<()> {
    let ranking = state.ranking;
    connection
        .prepare_cached(
            "INSERT INTO activity_guild (guild_id, members, latest, rank_rate, rank_grace,
                 rank_width, ranked_to, swept_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (guild_id) DO UPDATE SET
                 members = excluded.members,
                 latest = excluded.latest,
                 rank_rate = excluded.rank_rate,
                 rank_grace = excluded.rank_grace,
                 rank_width = excluded.rank_width,
                 ranked_to = excluded.ranked_to,
                 swept_to = excluded.swept_to",
        )?
        .execute(params![
            guild.to_i64(),
            state.members.cast_signed(),
            state.latest,
            ranking.map(|ranking| ranking.rate),
            ranking.map(|ranking| ranking.grace),
            ranking.map(|ranking| ranking.width),
            ranking.map_or(0, |ranking| ranking.ranked_to),
            ranking.map_or(0, |ranking| ranking.swept_to.get()),
        ])
        .map(drop)
}

impl Counts {
    pub(crate) fn clear(&mut self) {
        self.ranked.clear();
        self.faded.clear();
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
        let key = ranking.key(record.score, record.last_message_at);
        let rows = connection
            .prepare_cached(
                "DELETE FROM activity_rank WHERE guild_id = ?1 AND rank_key = ?2 AND user_id = ?3",
            )?
            .execute(params![guild.to_i64(), key, user.to_i64()])?;
        *if rows == 1 {
            self.ranked.entry((guild, ranking.span(key))).or_default()
        } else {
            self.faded.entry((guild, user_span(user))).or_default()
        } -= 1;
        Ok(())
    }

    fn insert(
        &mut self,
        connection: &Connection,
        ranking: &Ranking,
        rules: &ScoreRules,
        record: &ActivityRecord,
    ) -> rusqlite::Result<()> {
        let MemberKey { guild, user } = record.member;
        if ranking.has_faded(rules, record) {
            *self.faded.entry((guild, user_span(user))).or_default() += 1;
            return Ok(());
        }
        let key = ranking.key(record.score, record.last_message_at);
        connection
            .prepare_cached(
                "INSERT INTO activity_rank (guild_id, rank_key, user_id, score, last_msg)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                guild.to_i64(),
                key,
                user.to_i64(),
                record.score.get(),
                record.last_message_at.get(),
            ])?;
        *self.ranked.entry((guild, ranking.span(key))).or_default() += 1;
        Ok(())
    }

    /// Writes the counts that have changed.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (table, counts) in [
            ("activity_rank_count", &mut self.ranked),
            ("activity_faded", &mut self.faded),
        ] {
            while let Some(((guild, span), change)) = counts.pop_first() {
                if change == 0 {
                    continue;
                }
                let key = params![guild.to_i64(), span, change];
                connection
                    .prepare_cached(&format!(
                        "INSERT INTO {table} (guild_id, span, members) VALUES (?1, ?2, ?3)
                         ON CONFLICT (guild_id, span) DO UPDATE SET
                             members = members + excluded.members"
                    ))?
                    .execute(key)?;
                if change < 0 {
                    connection
                        .prepare_cached(&format!(
                            "DELETE FROM {table}
                             WHERE guild_id = ?1 AND span = ?2 AND members = 0"
                        ))?
                        .execute(params![guild.to_i64(), span])?;
                }
            }
        }
        Ok(())
    }
}

/// Spans of user ids: those of accounts made within three days or so, because snowflakes hold their
/// time of birth.
fn user_span(user: UserId) -> i64 {
    user.to_i64() >> USER_SPAN_BITS
}

const USER_SPAN_BITS: u32 = 48;

/// The guilds with at least `from` members whose ranks want upkeep.
pub(crate) fn guilds_to_rank(connection: &Connection, from: u64) -> rusqlite::Result<Vec<GuildId>> {
    connection
        .prepare_cached("SELECT guild_id FROM activity_guild WHERE members >= ?1")?
        .query_map([i64::try_from(from).unwrap_or(i64::MAX)], |row| {
            valid(0, Type::Integer, GuildId::try_from(row.get::<_, i64>(0)?))
        })?
        .collect()
}

/// The greatest stored score of a guild, which decides how wide the spans are. Looks at all members;
/// for the maintenance's own connection.
pub(crate) fn greatest_score(connection: &Connection, guild: GuildId) -> rusqlite::Result<f64> {
    connection
        .prepare_cached("SELECT coalesce(max(score), 0.0) FROM activity_meter WHERE guild_id = ?1")?
        .query_row([guild.to_i64()], |row| row.get(0))
}

/// One step of a guild's upkeep, in the writer's transaction: removes what an earlier ranking has
/// left, ranks some more members, or sweeps some who have faded. Answers whether there is more to
/// do. `greatest` is [`greatest_score`].
pub(crate) fn step(
    connection: &Connection,
    counts: &mut Counts,
    guild: GuildId,
    state: &mut GuildState,
    rules: &ScoreRules,
    greatest: f64,
) -> rusqlite::Result<bool> {
    state.follow(rules);
    let Some(ranking) = &mut state.ranking else {
        if clear_some(connection, guild)? {
            return Ok(true);
        }
        state.ranking = Some(Ranking {
            rate: rules.decay_per_second(),
            grace: rules.decay_after_seconds(),
            width: greatest.max(rules.gain_per_message()).max(1e-3) / SPANS,
            ranked_to: 0,
            swept_to: UnixSeconds::MIN,
        });
        return Ok(true);
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
        return Ok(true);
    }
    sweep(connection, counts, guild, state.latest, ranking, rules)
}

/// Whether the counts of a ranked guild fit its members and are few enough, and whether it is ranked.
/// Where they do not, its ranks are to be made anew: nothing but time is lost, because all of it is
/// derived.
pub(crate) fn is_sound(connection: &Connection, guild: GuildId) -> rusqlite::Result<(bool, bool)> {
    let state = find_guild(connection, guild)?;
    let ranked = state.ranking.is_some();
    if !state.ranking.is_some_and(|ranking| ranking.is_complete()) {
        return Ok((true, ranked));
    }
    let (spans, counted): (i64, i64) = connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM activity_rank_count WHERE guild_id = ?1),
                 (SELECT coalesce(sum(members), 0) FROM activity_rank_count WHERE guild_id = ?1)
                 + (SELECT coalesce(sum(members), 0) FROM activity_faded WHERE guild_id = ?1)",
        )?
        .query_row([guild.to_i64()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let few = u64::try_from(spans).is_ok_and(|spans| spans <= MOST_SPANS);
    Ok((few && counted == state.members.cast_signed(), ranked))
}

/// Gives a guild's ranks up; [`step`] then makes them anew.
pub(crate) fn discard(state: &mut GuildState) {
    state.ranking = None;
}

/// Removes some of what a ranking left; `false` where nothing is left.
fn clear_some(connection: &Connection, guild: GuildId) -> rusqlite::Result<bool> {
    let rows = connection
        .prepare_cached(
            "DELETE FROM activity_rank WHERE guild_id = ?1 AND (rank_key, user_id) IN (
                 SELECT rank_key, user_id FROM activity_rank WHERE guild_id = ?1 LIMIT ?2)",
        )?
        .execute(params![guild.to_i64(), STEP])?;
    if rows > 0 {
        return Ok(true);
    }
    for table in ["activity_rank_count", "activity_faded"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE guild_id = ?1"))?
            .execute([guild.to_i64()])?;
    }
    Ok(false)
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

fn record_from(row: &Row<'_>, guild: GuildId) -> rusqlite::Result<ActivityRecord> {
    let user = user_from(row, 0)?;
    Ok(ActivityRecord {
        member: MemberKey { guild, user },
        score: score_from(row, 1)?,
        last_message_at: time_from(row, 2)?,
        messages: count_from(row, 3)?,
    })
}

/// Takes members out of the order whose score has fallen to 0, up to a while before the guild's
/// latest message: nobody asks for an earlier time any more.
fn sweep(
    connection: &Connection,
    counts: &mut Counts,
    guild: GuildId,
    latest: i64,
    ranking: &mut Ranking,
    rules: &ScoreRules,
) -> rusqlite::Result<bool> {
    let to = latest - LATEST_STEP_SECONDS - SWEEP_DELAY_SECONDS;
    let Ok(to) = UnixSeconds::new(to.max(ranking.swept_to.get())) else {
        return Ok(false);
    };
    let bound = ranking.key_of_decayed(Score::ZERO, to) + ranking.tolerance(to, latest);
    let lowest: Vec<ActivityRecord> = connection
        .prepare_cached(
            "SELECT user_id, score, last_msg, 0 FROM activity_rank
             WHERE guild_id = ?1 AND rank_key <= ?2 ORDER BY rank_key, user_id LIMIT ?3",
        )?
        .query_map(params![guild.to_i64(), bound, STEP], |row| {
            record_from(row, guild)
        })?
        .collect::<rusqlite::Result<_>>()?;
    ranking.swept_to = to;
    let mut faded = 0;
    for record in lowest
        .iter()
        .filter(|record| ranking.has_faded(rules, record))
    {
        counts.remove(connection, ranking, record)?;
        let span = user_span(record.member.user);
        *counts.faded.entry((guild, span)).or_default() += 1;
        faded += 1;
    }
    Ok(faded > 0 && lowest.len() == STEP as usize)
}

/// One of the ranked members, as the order has it.
struct Ranked {
    key: f64,
    user: UserId,
    score: Score,
    last: UnixSeconds,
}

fn ranked_from(row: &Row<'_>) -> rusqlite::Result<Ranked> {
    Ok(Ranked {
        key: row.get(0)?,
        user: user_from(row, 1)?,
        score: score_from(row, 2)?,
        last: time_from(row, 3)?,
    })
}

/// A place of a leaderboard; the greatest is the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    score: std::cmp::Reverse<Score>,
    user: UserId,
    last: UnixSeconds,
}

/// The top of a guild at `at`, where its ranks are kept; `None` where they cannot answer.
pub(crate) fn top(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: u16,
) -> rusqlite::Result<Option<Vec<ScoreEntry>>> {
    let state = find_guild(connection, guild)?;
    let Some(ranking) = state.answering(rules, at) else {
        return Ok(None);
    };
    let limit = usize::from(limit);
    let tolerance = ranking.tolerance(at, state.latest);
    let mut places = BinaryHeap::with_capacity(limit + 1);
    let mut statement = connection.prepare_cached(
        "SELECT rank_key, user_id, score, last_msg FROM activity_rank
         WHERE guild_id = ?1 ORDER BY rank_key DESC, user_id DESC",
    )?;
    let mut rows = statement.query([guild.to_i64()])?;
    while let Some(row) = rows.next()? {
        let member = ranked_from(row)?;
        // Nobody from here on has more than those who decay.
        let least = match places.peek() {
            Some(Place { score, .. }) if places.len() == limit => score.0,
            _ => Score::ZERO,
        };
        if member.key < ranking.key_of_decayed(least, at) - tolerance {
            break;
        }
        let score = rules.decayed(member.score, member.last, at);
        if score > Score::ZERO {
            places.push(Place {
                score: std::cmp::Reverse(score),
                user: member.user,
                last: member.last,
            });
            if places.len() > limit {
                places.pop();
            }
        }
    }
    let mut places = places.into_sorted_vec();
    if places.len() < limit {
        add_faded(connection, guild, rules, at, limit, &mut places)?;
    }
    Ok(Some(
        (1..)
            .zip(places)
            .map(|(rank, place)| ScoreEntry {
                rank,
                user: place.user,
                score: place.score.0,
                last_message_at: place.last,
            })
            .collect(),
    ))
}

/// Fills the places behind those who have a score with those who have none, by user id. Passes by
/// fewer of the former than there are places.
fn add_faded(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: usize,
    places: &mut Vec<Place>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT user_id, score, last_msg, messages FROM activity_meter
         WHERE guild_id = ?1 ORDER BY user_id",
    )?;
    let mut rows = statement.query([guild.to_i64()])?;
    while places.len() < limit {
        let Some(row) = rows.next()? else { break };
        let record = record_from(row, guild)?;
        let score = rules.decayed(record.score, record.last_message_at, at);
        if score == Score::ZERO {
            places.push(Place {
                score: std::cmp::Reverse(score),
                user: record.member.user,
                last: record.last_message_at,
            });
        }
    }
    Ok(())
}

/// A member's rank at `at`, where the guild's ranks are kept; `None` where they cannot answer.
pub(crate) fn rank(
    connection: &Connection,
    record: &ActivityRecord,
    rules: &ScoreRules,
    at: UnixSeconds,
) -> rusqlite::Result<Option<Rank>> {
    let MemberKey { guild, user } = record.member;
    let state = find_guild(connection, guild)?;
    let Some(ranking) = state.answering(rules, at) else {
        return Ok(None);
    };
    let score = rules.decayed(record.score, record.last_message_at, at);
    let tolerance = ranking.tolerance(at, state.latest);
    let lowest = ranking.key_of_decayed(score, at) - tolerance;
    // Whoever has no score left has a lower score than all others, decaying or not.
    let highest = if score == Score::ZERO {
        ranking.key_of_decayed(score, at) + tolerance
    } else {
        ranking.key_of_fresh(score, state.latest.max(at.get())) + tolerance
    };
    let mut above = 0;
    let mut statement = in_order(connection)?;
    let mut rows = statement.query(params![guild.to_i64(), lowest])?;
    let mut counted_from = None;
    while let Some(row) = rows.next()? {
        let member = ranked_from(row)?;
        if member.key > highest {
            // The rest of this span one by one; the spans above it by their counts.
            let span = ranking.span(member.key);
            if *counted_from.get_or_insert(span) != span {
                break;
            }
            above += 1;
        } else {
            let other = rules.decayed(member.score, member.last, at);
            above += u64::from(other > score || other == score && member.user < user);
        }
    }
    if let Some(span) = counted_from {
        above += count_above(connection, guild, span)?;
    }
    if score == Score::ZERO {
        above += faded_before(connection, ranking, rules, guild, user, at, lowest)?;
    }
    Ok(Some(Rank {
        position: above + 1,
        members: state.members,
    }))
}

fn in_order(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(
        "SELECT rank_key, user_id, score, last_msg FROM activity_rank
         WHERE guild_id = ?1 AND rank_key >= ?2 ORDER BY rank_key",
    )
}

fn count_above(connection: &Connection, guild: GuildId, span: i64) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "SELECT coalesce(sum(members), 0) FROM activity_rank_count
             WHERE guild_id = ?1 AND span > ?2",
        )?
        .query_row(params![guild.to_i64(), span], |row| count_from(row, 0))
}

/// How many members without a score have a lower user id, and a key below `below`: those with one
/// above it have been looked at.
fn faded_before(
    connection: &Connection,
    ranking: &Ranking,
    rules: &ScoreRules,
    guild: GuildId,
    user: UserId,
    at: UnixSeconds,
    below: f64,
) -> rusqlite::Result<u64> {
    let span = user_span(user);
    let first = span << USER_SPAN_BITS;
    let faded: u64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(members), 0) FROM activity_faded
             WHERE guild_id = ?1 AND span < ?2",
        )?
        .query_row(params![guild.to_i64(), span], |row| count_from(row, 0))?;
    // Not yet swept: still in the order.
    let waiting: u64 = connection
        .prepare_cached(
            "SELECT count(*) FROM activity_rank
             WHERE guild_id = ?1 AND rank_key < ?2 AND user_id < ?3",
        )?
        .query_row(params![guild.to_i64(), below, first], |row| {
            count_from(row, 0)
        })?;
    let mut statement = connection.prepare_cached(
        "SELECT user_id, score, last_msg, messages FROM activity_meter
         WHERE guild_id = ?1 AND user_id >= ?2 AND user_id < ?3",
    )?;
    let mut rows = statement.query(params![guild.to_i64(), first, user.to_i64()])?;
    let mut near = 0;
    while let Some(row) = rows.next()? {
        let record = record_from(row, guild)?;
        let zero = rules.decayed(record.score, record.last_message_at, at) == Score::ZERO;
        let key = ranking.key(record.score, record.last_message_at);
        let looked_at = zero && key >= below && is_ranked(connection, record.member, key)?;
        near += u64::from(zero && !looked_at);
    }
    Ok(faded + waiting + near)
}

fn is_ranked(connection: &Connection, member: MemberKey, key: f64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM activity_rank
                 WHERE guild_id = ?1 AND rank_key = ?2 AND user_id = ?3)",
        )?
        .query_row(
            params![member.guild.to_i64(), key, member.user.to_i64()],
            |row| row.get(0),
        )
}
