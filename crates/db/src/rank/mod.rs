//! Leaderboards and ranks of large guilds, exact, without reading every member.
//!
//! # How
//!
//! With linear decay, a score has decayed at a time T to max(0, min(score, key − rate·(T − grace))) with
//! key = score + rate·last: scores stand still in grace, and afterwards all fall alike, so that keys
//! keep their order for ever. A member is above a score x exactly if the stored score is above x and
//! the key is above x + rate·(T − grace). Neither changes with time.
//!
//! So members are counted in two dimensions, in cells: in key buckets, and in each of these by score
//! bucket. A member's rank is the sum over the cells that are above the member as a whole
//! ([`Buckets::limits`]); the members of undecided cells are read, which are those of about one key
//! bucket and one score bucket. The top is read from the greatest key bucket downwards, until the next
//! one cannot reach the places that are filled.
//!
//! Equal scores rank by user id, so a bound of score buckets is a score and a user id. Most members of a
//! large guild have a score that has decayed to zero, and rank by user id alone: key buckets are also
//! counted by user bucket, and members whose score has been zero for a while are counted only, in the
//! key bucket [`EXPIRED`].
//!
//! Counts and keys only say which rows to read. A row is compared by the domain's own
//! [`ScoreRules::decayed`], so ranks are the domain's to the bit.
//!
//! # Maintenance
//!
//! The writer updates the rows and counts of a guild in the transaction that changes a member. The
//! maintenance thread has the writer build them in small steps ([`Ranks::step`]) once a guild is large, and
//! rebuild them when they are [`Health::Stale`]: when the guild's rules or its size have changed, or a
//! bucket holds more than one in 24 of the members; and when they differ from the members' rows
//! ([`verify()`]), because another program has changed those. A guild without complete ranks, and a time
//! before the last members expired, is answered from the members' rows.

mod buckets;
mod maintain;
mod query;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use roas_domain::{GuildId, ScoreRules};
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(crate) use buckets::Buckets;
pub(crate) use maintain::{
    Change, CountChanges, Health, Ranks, discard, health, large_guilds, sample,
};
pub(crate) use query::{rank, top};
pub(crate) use verify::{differences, guilds, verify};

use crate::sql::{count_from, execute};

/// `latest` is kept in steps, so that few transactions have to write it.
const LATEST_STEP_SECONDS: i64 = 16;

/// The key bucket of members who have no row in `activity_rank`.
const EXPIRED: i64 = -1;

/// A row of `activity_guild`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct GuildRow {
    members: u64,
    /// No member's last message is later.
    latest: i64,
    /// Members up to this user id are in the ranks; `i64::MAX` once all are.
    ranked_to: Option<i64>,
    /// Members whose score was 0 at this time may be counted only.
    expired_to: i64,
}

/// What the writer knows of a guild as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuildState {
    row: GuildRow,
    /// As the database has it.
    stored: GuildRow,
    /// Present while ranks are kept.
    buckets: Option<Arc<Buckets>>,
}

impl GuildState {
    /// The buckets of ranks that are kept under these rules, whether all members are in them or not.
    fn buckets_by(&self, rules: &ScoreRules) -> Option<&Arc<Buckets>> {
        self.buckets
            .as_ref()
            .filter(|buckets| buckets.are_by(rules))
    }

    fn is_complete(&self) -> bool {
        self.row.ranked_to == Some(i64::MAX)
    }

    /// Discards ranks that were kept under other rules.
    pub(crate) fn follow(&mut self, rules: &ScoreRules) {
        if self.buckets_by(rules).is_none() {
            discard(self);
        }
    }

    /// Counts a new member, and advances the latest time.
    fn note(&mut self, change: &Change) {
        if change.before.is_none() {
            self.row.members += 1;
        }
        let last = change.after.last_message_at.get();
        if last > self.row.latest {
            self.row.latest = last - last % LATEST_STEP_SECONDS + LATEST_STEP_SECONDS;
        }
    }
}

pub(crate) fn find_guild(connection: &Connection, guild: GuildId) -> rusqlite::Result<GuildState> {
    connection
        .prepare_cached(
            "SELECT g.members, g.latest, g.ranked_to, g.expired_to,
                 b.rate, b.grace, b.key_bounds, b.score_bounds, b.user_bounds
             FROM activity_guild AS g LEFT JOIN activity_rank_bound AS b
                 ON b.guild_id = g.guild_id AND g.ranked_to IS NOT NULL
             WHERE g.guild_id = ?1",
        )?
        .query_row([guild.to_i64()], guild_from)
        .optional()
        .map(Option::unwrap_or_default)
}

fn guild_from(row: &Row<'_>) -> rusqlite::Result<GuildState> {
    let stored = GuildRow {
        members: count_from(row, 0)?,
        latest: row.get(1)?,
        ranked_to: row.get(2)?,
        expired_to: row.get(3)?,
    };
    let blob = |column| row.get_ref(column).map(|value| value.as_blob().ok());
    let buckets = match (row.get(4)?, row.get(5)?, blob(6)?, blob(7)?, blob(8)?) {
        (Some(rate), Some(grace), Some(keys), Some(scores), Some(users)) => {
            Buckets::from_bytes(rate, grace, keys, scores, users)
        }
        _ => None,
    };
    let mut state = GuildState {
        row: stored,
        stored,
        buckets: buckets.map(Arc::new),
    };
    if state.buckets.is_none() {
        // Malformed bounds: no ranks are kept until they are rebuilt.
        discard(&mut state);
    }
    Ok(state)
}

/// Writes the guild's row where it has changed.
pub(crate) fn put_guild(
    connection: &Connection,
    guild: GuildId,
    state: &mut GuildState,
) -> rusqlite::Result<()> {
    let GuildRow {
        members,
        latest,
        ranked_to,
        expired_to,
    } = state.row;
    if state.row != state.stored {
        execute(
            connection,
            "INSERT INTO activity_guild (guild_id, members, latest, ranked_to, expired_to)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (guild_id) DO UPDATE SET
                 members = excluded.members,
                 latest = excluded.latest,
                 ranked_to = excluded.ranked_to,
                 expired_to = excluded.expired_to",
            params![
                guild.to_i64(),
                members.cast_signed(),
                latest,
                ranked_to,
                expired_to
            ],
        )?;
        state.stored = state.row;
    }
    Ok(())
}

/// A guild's key buckets with their counts, the greatest first and down to `lowest`.
fn key_buckets(
    connection: &Connection,
    guild: GuildId,
    lowest: i64,
) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    connection
        .prepare_cached(
            "SELECT bucket, counts FROM activity_rank_count
             WHERE guild_id = ?1 AND bucket >= ?2 ORDER BY bucket DESC",
        )?
        .query_map([guild.to_i64(), lowest], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}
