//! The top of a guild, and a member's rank.

use std::collections::BinaryHeap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use roas_domain::{
    ActivityRecord, GuildId, MemberKey, Rank, Score, ScoreEntry, ScoreRules, UnixSeconds, UserId,
};
use rusqlite::Connection;

use super::buckets::{Buckets, ByScore, Counts, cells_of, score};
use super::{EXPIRED, find_guild, key_buckets};
use crate::sql::{
    count_members_without_score, find_member, members_without_score, score_from, time_from,
    user_from,
};

/// A question about a guild's ranks at a time, which they can answer.
struct Query<'q> {
    connection: &'q Connection,
    guild: GuildId,
    members: u64,
    buckets: Arc<Buckets>,
    rules: &'q ScoreRules,
    at: UnixSeconds,
    tolerance: f64,
}

/// A member with a score. Sorts as on the leaderboard at the query's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    now: ByScore,
    user: UserId,
    stored: Score,
    last: UnixSeconds,
}

/// The top of a guild at `at`; `None` where its ranks cannot answer.
pub(crate) fn top(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: u16,
) -> rusqlite::Result<Option<Vec<ScoreEntry>>> {
    let Some(query) = Query::new(connection, guild, rules, at)? else {
        return Ok(None);
    };
    let limit = usize::from(limit);
    let mut entries = Vec::with_capacity(limit);
    for (rank, candidate) in (1..).zip(query.best_with_score(limit)?) {
        let Candidate {
            now,
            user,
            stored,
            last,
        } = candidate;
        // Another program may have removed the member, or changed the score.
        let found = find_member(connection, MemberKey { guild, user })?
            .filter(|found| found.score == stored && found.last_message_at == last);
        if found.is_none() {
            return Ok(None);
        }
        entries.push(ScoreEntry {
            rank,
            user,
            score: now.score(),
            last_message_at: last,
        });
    }
    let free = limit - entries.len();
    if free > 0 {
        let others = members_without_score(connection, guild, rules, at, free)?;
        let rank = entries.len() as u64;
        entries.extend((rank + 1..).zip(others).map(|(rank, record)| ScoreEntry {
            rank,
            user: record.member.user,
            score: Score::ZERO,
            last_message_at: record.last_message_at,
        }));
    }
    Ok(Some(entries))
}

/// A member's rank at `at`; `None` where the guild's ranks cannot answer.
pub(crate) fn rank(
    connection: &Connection,
    record: &ActivityRecord,
    rules: &ScoreRules,
    at: UnixSeconds,
) -> rusqlite::Result<Option<Rank>> {
    let Some(query) = Query::new(connection, record.member.guild, rules, at)? else {
        return Ok(None);
    };
    let score = rules.decayed(record.score, record.last_message_at, at);
    let user = record.member.user.to_i64();
    let above = if score > Score::ZERO {
        query.above(ByScore::new(score, user))?
    } else {
        query.above_without_score(user)?
    };
    Ok(Some(Rank {
        position: above + 1,
        members: query.members,
    }))
}

impl<'q> Query<'q> {
    fn new(
        connection: &'q Connection,
        guild: GuildId,
        rules: &'q ScoreRules,
        at: UnixSeconds,
    ) -> rusqlite::Result<Option<Self>> {
        let state = find_guild(connection, guild)?;
        let answers = state.is_complete() && at.get() >= state.row.expired_to;
        let buckets = state.buckets_by(rules).filter(|_| answers);
        Ok(buckets.map(|buckets| Self {
            connection,
            guild,
            members: state.row.members,
            buckets: Arc::clone(buckets),
            rules,
            at,
            tolerance: buckets.tolerance(),
        }))
    }

    /// The first on the leaderboard, in order, of those whose score is above 0.
    fn best_with_score(&self, limit: usize) -> rusqlite::Result<Vec<Candidate>> {
        let mut best = BinaryHeap::with_capacity(limit + 1);
        let last_of = |best: &BinaryHeap<Candidate>| {
            best.peek()
                .filter(|_| best.len() == limit)
                .map(|last| last.now)
        };
        let zero = self.buckets.key_of_zero(self.at) - self.tolerance;
        for (bucket, _) in key_buckets(self.connection, self.guild, 0)? {
            // Nobody in this key bucket, or in those below, has more.
            let most = score(self.buckets.keys_of(bucket).end - zero);
            let needed = last_of(&best).map_or(Score::ZERO, |last| last.score());
            if most == Score::ZERO || most < needed {
                break;
            }
            let mut cells = cells_of(bucket);
            if let Some(last) = last_of(&best) {
                // No score rises by itself.
                cells.end = cells.start + self.buckets.score_bucket(last) + 1;
            }
            loop {
                while let Some(last) = last_of(&best)
                    && !cells.is_empty()
                    && self.limits(cells.start).0 >= last
                {
                    cells.start += 1;
                }
                let (mut read, mut upper, mut rest) = (cells.start, None, None);
                self.each_row(cells.clone(), |cell, candidate| {
                    if read != cell {
                        (read, upper) = (cell, None);
                    }
                    let upper = *upper.get_or_insert_with(|| self.limits(cell).0.score());
                    // Rows of a cell come by user id, so no further one of it comes before this.
                    let first = ByScore::new(upper, candidate.now.user);
                    if upper == Score::ZERO || last_of(&best).is_some_and(|last| last <= first) {
                        rest = Some(cell + 1);
                        return ControlFlow::Break(());
                    }
                    if candidate.now.score() > Score::ZERO {
                        best.push(candidate);
                        if best.len() > limit {
                            best.pop();
                        }
                    }
                    ControlFlow::Continue(())
                })?;
                let Some(rest) = rest else { break };
                cells.start = rest;
            }
        }
        Ok(best.into_sorted_vec())
    }

    /// How many are above a member whose score is above 0.
    fn above(&self, member: ByScore) -> rusqlite::Result<u64> {
        let key = member.score().get() + self.buckets.key_of_zero(self.at);
        let lowest = self.buckets.bucket_of_key(key - self.tolerance);
        let mut above = 0;
        for (bucket, counts) in key_buckets(self.connection, self.guild, lowest)? {
            let by_stored_score = self.buckets.keys_of(bucket).start > key + self.tolerance;
            for (scores, members) in Counts::from_bytes(&counts).by_score() {
                let cell = cells_of(bucket).start + scores;
                let (upper, lower) = if by_stored_score {
                    self.buckets.scores_of(scores)
                } else {
                    self.limits(cell)
                };
                if lower < member {
                    above += members;
                } else if upper < member {
                    above += self.rows_above(cell..cell + 1, member)?;
                }
            }
        }
        Ok(above)
    }

    /// How many are above a user who has no score left: all who have one, and of those who have none
    /// the lower user ids.
    fn above_without_score(&self, user: i64) -> rusqlite::Result<u64> {
        let user_bucket = self.buckets.user_bucket(user);
        let first = self.buckets.first_user(user_bucket);
        let (connection, guild) = (self.connection, self.guild);
        let zero = self.buckets.key_of_zero(self.at);
        // Those in the same user bucket, whatever their key bucket.
        let mut above =
            count_members_without_score(connection, guild, self.rules, self.at, first..user)?;
        for (bucket, counts) in key_buckets(connection, guild, EXPIRED)? {
            let counts = Counts::from_bytes(&counts);
            let keys = self.buckets.keys_of(bucket);
            let limits = || {
                let scores = counts.by_score();
                scores.map(|(scores, _)| self.limits(cells_of(bucket).start + scores))
            };
            above += if limits().all(|(upper, _)| upper.score() == Score::ZERO) {
                counts.lower_users(user_bucket)
            } else if keys.start > zero + self.tolerance
                || limits().all(|(_, lower)| lower.score() > Score::ZERO)
            {
                counts.members()
            } else {
                self.rows_above(cells_of(bucket), ByScore::new(Score::ZERO, first))?
            };
        }
        Ok(above)
    }

    fn limits(&self, cell: i64) -> (ByScore, ByScore) {
        self.buckets.limits(self.rules, self.at, cell)
    }

    /// How many members of the cells are above `member` now.
    fn rows_above(&self, cells: Range<i64>, member: ByScore) -> rusqlite::Result<u64> {
        let mut above = 0;
        self.each_row(cells, |_, candidate| {
            above += u64::from(candidate.now < member);
            ControlFlow::Continue(())
        })?;
        Ok(above)
    }

    /// Calls `each` with the members of the cells and their cell, in the order of cells and user ids, until
    /// it breaks.
    fn each_row(
        &self,
        cells: Range<i64>,
        mut each: impl FnMut(i64, Candidate) -> ControlFlow<()>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT user_id, score, last_msg, cell FROM activity_rank
             WHERE guild_id = ?1 AND cell >= ?2 AND cell < ?3 ORDER BY cell, user_id",
        )?;
        let mut rows = statement.query([self.guild.to_i64(), cells.start, cells.end])?;
        while let Some(row) = rows.next()? {
            let (user, stored, last) =
                (user_from(row, 0)?, score_from(row, 1)?, time_from(row, 2)?);
            let now = self.rules.decayed(stored, last, self.at);
            let candidate = Candidate {
                now: ByScore::new(now, user.to_i64()),
                user,
                stored,
                last,
            };
            if each(row.get(3)?, candidate).is_break() {
                break;
            }
        }
        Ok(())
    }
}
