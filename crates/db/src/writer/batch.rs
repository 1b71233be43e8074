//! Folds the requests of one transaction: each member is read once and written once, however many
//! of the events are theirs. The busier a key, the cheaper its events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use roas_domain::{
    ActivityEvent, ActivityRecord, Day, EventOutcome, GuildId, GuildRules, MemberKey, UnixSeconds,
};

use crate::sql::WriteStatements;
use crate::writer::command::Work;

/// The state of the members that a transaction has touched. Reused, for its memory, from one
/// transaction to the next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    members: HashMap<MemberKey, Member>,
    daily: HashMap<(Day, MemberKey), u64>,
    rules: HashMap<GuildId, GuildRules>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    record: Option<ActivityRecord>,
    changed: bool,
}

impl Batch {
    /// Forgets everything, at the beginning of a transaction.
    pub(crate) fn clear(&mut self) {
        self.members.clear();
        self.daily.clear();
        self.rules.clear();
    }

    /// Carries one request out, within the transaction, and stages its answer.
    pub(crate) fn apply(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        work: &mut Work,
    ) -> rusqlite::Result<()> {
        match work {
            Work::Record { event, reply } => reply.stage(self.record(sql, now, event)?),
            Work::RecordMany { events, reply } => {
                let outcomes: rusqlite::Result<Vec<_>> = events
                    .iter()
                    .map(|event| self.record(sql, now, event))
                    .collect();
                reply.stage(outcomes?);
            }
            Work::Adjust {
                member,
                delta,
                at,
                reply,
            } => {
                let rules = rules_of(&mut self.rules, sql, member.guild)?;
                let state = state_of(&mut self.members, sql, *member)?;
                let record = ActivityRecord::after_adjustment(
                    state.record,
                    *member,
                    *delta,
                    *at,
                    &rules.score,
                );
                *state = Member {
                    record: Some(record),
                    changed: true,
                };
                reply.stage(record);
            }
            Work::SetRules {
                guild,
                rules,
                reply,
            } => {
                sql.put_rules(*guild, rules)?;
                self.rules.insert(*guild, GuildRules::clone(rules));
                reply.stage(());
            }
            Work::Forget { ids, before, reply } => {
                let mut forgotten = 0;
                for id in ids {
                    forgotten += u64::from(sql.forget_event(*id, *before)?);
                }
                reply.stage(forgotten);
            }
            Work::Close => {}
            #[cfg(test)]
            Work::Panic => panic!("asked to"),
        }
        Ok(())
    }

    fn record(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        event: &ActivityEvent,
    ) -> rusqlite::Result<EventOutcome> {
        if let Some(id) = event.id
            && !sql.remember_event(id, now)?
        {
            return Ok(EventOutcome::Duplicate);
        }
        let rules = rules_of(&mut self.rules, sql, event.member.guild)?;
        let state = state_of(&mut self.members, sql, event.member)?;
        let (record, outcome) = ActivityRecord::after_event(state.record, event, &rules.score);
        *state = Member {
            record: Some(record),
            changed: true,
        };
        *self
            .daily
            .entry((rules.time_zone.day_of(event.at), event.member))
            .or_default() += 1;
        Ok(outcome)
    }

    /// Writes what has changed, in the order of the keys: neighbours share pages.
    pub(crate) fn flush(&mut self, sql: &mut WriteStatements<'_>) -> rusqlite::Result<()> {
        let mut records: Vec<ActivityRecord> = self
            .members
            .values()
            .filter(|member| member.changed)
            .filter_map(|member| member.record)
            .collect();
        records.sort_unstable_by_key(|record| record.member);
        for record in &records {
            sql.put_member(record)?;
        }
        let mut daily: Vec<_> = self.daily.iter().collect();
        daily.sort_unstable_by_key(|(key, _)| **key);
        for (&(day, member), &messages) in daily {
            sql.add_daily(day, member, messages)?;
        }
        Ok(())
    }
}

/// Read in each transaction, because another process may have set them.
fn rules_of<'r>(
    rules: &'r mut HashMap<GuildId, GuildRules>,
    sql: &mut WriteStatements<'_>,
    guild: GuildId,
) -> rusqlite::Result<&'r GuildRules> {
    Ok(match rules.entry(guild) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(missing) => missing.insert(sql.find_rules(guild)?),
    })
}

fn state_of<'m>(
    members: &'m mut HashMap<MemberKey, Member>,
    sql: &mut WriteStatements<'_>,
    member: MemberKey,
) -> rusqlite::Result<&'m mut Member> {
    Ok(match members.entry(member) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(missing) => missing.insert(Member {
            record: sql.find_member(member)?,
            changed: false,
        }),
    })
}
