//! Folds the requests of one transaction: each member is read once and written once, however many
//! of the events are theirs. The busier a key, the cheaper its events.
//!
//! What one transaction has read and written the next need not read again, unless another process has
//! changed the file in between: the same rule by which SQLite keeps its pages in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use roas_domain::{
    ActivityEvent, ActivityRecord, Day, EventOutcome, GuildId, GuildRules, MemberKey, ScoreDelta,
    UnixSeconds,
};

use rusqlite::Connection;

use super::command::{RankTask, Reply, Work};
use crate::error::{Failure, repository_error};
use crate::rank::{self, Change, CountChanges, GuildState, Ranks};
use crate::recording_time::RecordingTime;
use crate::sql;
use crate::sql::WriteStatements;

/// How many members and guilds are kept from one transaction to the next: the busy ones, in about half
/// a MiB each.
const KEPT_MEMBERS: usize = 4096;
const KEPT_GUILDS: usize = 128;

/// The state of the members that a transaction has touched, or those before it.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    members: HashMap<MemberKey, Member>,
    /// Those whose change is still to be written.
    changed: Vec<MemberKey>,
    daily: HashMap<(Day, MemberKey), u64>,
    guilds: HashMap<GuildId, Guild>,
    counts: CountChanges,
    time: Option<Time>,
}

/// The time that ids are stamped with, and as it is stored.
#[derive(Debug, Clone, Copy)]
struct Time {
    now: RecordingTime,
    stored: RecordingTime,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    /// As the database has it.
    before: Option<ActivityRecord>,
    record: Option<ActivityRecord>,
    changed: bool,
}

#[derive(Debug)]
struct Guild {
    rules: GuildRules,
    state: GuildState,
}

impl Batch {
    /// Begins a transaction on a file as the one before has left it.
    pub(crate) fn begin(&mut self) {
        if self.members.len() > KEPT_MEMBERS || self.guilds.len() > KEPT_GUILDS {
            self.forget();
        }
    }

    /// Begins a transaction on a file that others may have changed, or after one that failed.
    pub(crate) fn forget(&mut self) {
        self.members.clear();
        self.changed.clear();
        self.daily.clear();
        self.guilds.clear();
        self.counts.clear();
        self.time = None;
    }

    /// Carries one request out, within the transaction, and stages its answer.
    pub(crate) fn apply(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        work: &mut Work,
    ) -> rusqlite::Result<()> {
        match work {
            Work::Record { event, reply } => settle(reply, self.record(sql, now, event))?,
            Work::RecordMany { events, reply } => {
                let mut outcomes = Vec::with_capacity(events.len());
                for event in events {
                    match self.record(sql, now, event) {
                        Ok(outcome) => outcomes.push(outcome),
                        Err(error) if outcomes.is_empty() => return settle(reply, Err(error)),
                        Err(error) => return Err(error),
                    }
                }
                reply.stage(outcomes);
            }
            Work::Adjust {
                member,
                delta,
                at,
                reply,
            } => settle(reply, self.adjust(sql, *member, *delta, *at))?,
            Work::SetRules {
                guild,
                rules,
                reply,
            } => {
                sql.put_rules(*guild, rules)?;
                let guild = guild_of(&mut self.guilds, sql, *guild)?;
                guild.rules = GuildRules::clone(rules);
                guild.state.follow(&rules.score);
                reply.stage(());
            }
            Work::Forget { ids, before, reply } => {
                let mut forgotten = 0;
                for id in ids {
                    forgotten += u64::from(sql.forget_event(*id, *before)?);
                }
                reply.stage(forgotten);
            }
            Work::Rank { guild, task, reply } => {
                reply.stage(self.maintain_ranks(sql, now, *guild, task)?);
            }
            Work::LookAfterFiles { reply } => reply.stage(()),
            Work::Close => {}
            #[cfg(test)]
            Work::Panic => panic!("asked to"),
        }
        Ok(())
    }

    /// The time to stamp ids with, as of a look at the host's clock, which shows `now`.
    fn recording_time(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
    ) -> rusqlite::Result<RecordingTime> {
        if let Some(time) = self.time
            && time.now.seen == now
        {
            return Ok(time.now);
        }
        let mut time = if let Some(time) = self.time {
            time
        } else {
            let stored = if let Some(stored) = sql::find_recording_time(sql.connection())? {
                stored
            } else {
                // Stored at once, since finding it reads all ids.
                let first = sql::first_recording_time(sql.connection(), now)?;
                sql.put_recording_time(first)?;
                first
            };
            Time {
                now: stored,
                stored,
            }
        };
        time.now = time.now.observed(now);
        if time.now.differs_much_from(time.stored) {
            sql.put_recording_time(time.now)?;
            time.stored = time.now;
        }
        self.time = Some(time);
        Ok(time.now)
    }

    fn record(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        event: &ActivityEvent,
    ) -> rusqlite::Result<EventOutcome> {
        // The time is the transaction's. The rows are read before anything is written for the request:
        // see `settle`.
        let recorded_at = match event.id {
            Some(id) => Some((id, self.recording_time(sql, now)?.at)),
            None => None,
        };
        let rules = &guild_of(&mut self.guilds, sql, event.member.guild)?.rules;
        let state = state_of(&mut self.members, sql, event.member)?;
        if let Some((id, recorded_at)) = recorded_at
            && !sql.remember_event(id, recorded_at)?
        {
            return Ok(EventOutcome::Duplicate);
        }
        let (record, outcome) = ActivityRecord::after_event(state.record, event, &rules.score);
        state.set(record, &mut self.changed);
        *self
            .daily
            .entry((rules.time_zone.day_of(event.at), event.member))
            .or_default() += 1;
        Ok(outcome)
    }

    fn adjust(
        &mut self,
        sql: &mut WriteStatements<'_>,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> rusqlite::Result<ActivityRecord> {
        let rules = &guild_of(&mut self.guilds, sql, member.guild)?.rules;
        let state = state_of(&mut self.members, sql, member)?;
        let record =
            ActivityRecord::after_adjustment(state.record, member, delta, at, &rules.score);
        state.set(record, &mut self.changed);
        Ok(record)
    }

    /// Carries out one task of ranks' maintenance, on members as they are now.
    fn maintain_ranks(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        guild: GuildId,
        task: &RankTask,
    ) -> rusqlite::Result<bool> {
        self.flush(sql)?;
        let found = guild_of(&mut self.guilds, sql, guild)?;
        let mut ranks = found.ranks(guild, sql.connection(), &mut self.counts);
        match task {
            RankTask::Begin(buckets) => ranks.begin(buckets, now)?,
            RankTask::Discard => rank::discard(ranks.state),
            RankTask::Recount => ranks.recount()?,
            RankTask::Step => return ranks.step(now),
        }
        Ok(true)
    }

    /// Writes what has changed, in key order: adjacent keys share pages.
    pub(crate) fn flush(&mut self, sql: &mut WriteStatements<'_>) -> rusqlite::Result<()> {
        self.changed.sort_unstable();
        for member in self.changed.drain(..) {
            let Some(change) = self.members.get_mut(&member).and_then(Member::take_change) else {
                continue;
            };
            sql.put_member(&change.after)?;
            let guild = guild_of(&mut self.guilds, sql, member.guild)?;
            let mut ranks = guild.ranks(member.guild, sql.connection(), &mut self.counts);
            ranks.apply(&change)?;
        }
        let mut daily: Vec<_> = self.daily.drain().collect();
        daily.sort_unstable_by_key(|(key, _)| *key);
        for ((day, member), messages) in daily {
            sql.add_daily(day, member, messages)?;
        }
        self.counts.flush(sql.connection())?;
        for (&id, guild) in &mut self.guilds {
            rank::put_guild(sql.connection(), id, &mut guild.state)?;
        }
        Ok(())
    }
}

impl Guild {
    fn ranks<'t>(
        &'t mut self,
        guild: GuildId,
        connection: &'t Connection,
        changes: &'t mut CountChanges,
    ) -> Ranks<'t> {
        Ranks {
            connection,
            guild,
            rules: &self.rules.score,
            state: &mut self.state,
            changes,
        }
    }
}

impl Member {
    fn set(&mut self, record: ActivityRecord, changed: &mut Vec<MemberKey>) {
        if !self.changed {
            changed.push(record.member);
        }
        self.record = Some(record);
        self.changed = true;
    }

    /// What has changed since the database was last told; it is told now.
    fn take_change(&mut self) -> Option<Change> {
        let after = self.record.filter(|_| self.changed)?;
        self.changed = false;
        let before = self.before.replace(after);
        Some(Change { before, after })
    }
}

/// Stages what a request came to. Where its guild's or its member's row is invalid, that is this
/// request's error alone, and the transaction goes on: such rows are read before anything is written for
/// the request.
fn settle<T>(reply: &mut Reply<T>, result: rusqlite::Result<T>) -> rusqlite::Result<()> {
    match result {
        Ok(answer) => reply.stage(answer),
        Err(error) if Failure::of(&error) == Failure::InvalidData => {
            reply.refuse(repository_error("carry out the request", error));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn guild_of<'g>(
    guilds: &'g mut HashMap<GuildId, Guild>,
    sql: &mut WriteStatements<'_>,
    guild: GuildId,
) -> rusqlite::Result<&'g mut Guild> {
    Ok(match guilds.entry(guild) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(missing) => missing.insert(Guild {
            rules: sql.find_rules(guild)?,
            state: rank::find_guild(sql.connection(), guild)?,
        }),
    })
}

fn state_of<'m>(
    members: &'m mut HashMap<MemberKey, Member>,
    sql: &mut WriteStatements<'_>,
    member: MemberKey,
) -> rusqlite::Result<&'m mut Member> {
    Ok(match members.entry(member) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(missing) => {
            let record = sql.find_member(member)?;
            missing.insert(Member {
                before: record,
                record,
                changed: false,
            })
        }
    })
}
