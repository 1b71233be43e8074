//! Whether a recorded history can be explained: is there an order of its operations, in which each
//! takes effect between its call and its answer, and in which the sequential model gives the same
//! answers?
//!
//! The search is that of Wing and Gong with Lowe's memory: an operation may come next if it was
//! called before the first answer that is still due; what has been tried from a set of operations
//! and a state is not tried again. Histories are taken apart by member before, since the port's
//! members do not depend on each other (as long as ids are not shared between them).

use std::collections::{BTreeMap, HashSet};

use roas_domain::testing::Model;
use roas_domain::testing::fixtures::{at, delta, event_id, member};
use roas_domain::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use serde::{Deserialize, Serialize};

/// The most operations of one member that a history may have: they are counted in bits.
const MOST: usize = 128;

/// What was asked. Ids and times are plain numbers, so that processes can tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// A message.
    Record {
        /// Who wrote it.
        user: u64,
        /// Its id.
        id: u64,
        /// When, in Unix seconds.
        at: i64,
    },
    /// A change to a score.
    Adjust {
        /// Whose.
        user: u64,
        /// By how much.
        delta: f64,
        /// When, in Unix seconds.
        at: i64,
    },
    /// A look at a member.
    Find {
        /// At whom.
        user: u64,
    },
}

impl Call {
    /// Whom it is about.
    #[must_use]
    pub const fn user(&self) -> u64 {
        match *self {
            Self::Record { user, .. } | Self::Adjust { user, .. } | Self::Find { user } => user,
        }
    }

    /// The member that it is about.
    #[must_use]
    pub fn member(&self) -> MemberKey {
        member(1, self.user())
    }

    /// What the model answers, and becomes.
    fn apply(&self, model: &mut Model) -> Said {
        match *self {
            Self::Record { id, at: when, .. } => Said::recorded(model.record(&ActivityEvent {
                id: Some(event_id(id)),
                member: self.member(),
                at: at(when),
            })),
            Self::Adjust {
                delta: by,
                at: when,
                ..
            } => Said::shown(model.adjust_score(self.member(), delta(by), at(when))),
            Self::Find { .. } => model
                .find_member(self.member())
                .map_or(Said::Nothing, Said::shown),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// The member's record, and whether the score was renewed.
    Shown {
        /// Whether a message scored; `None` where none was recorded.
        scored: Option<bool>,
        /// The bits of the score: equal to the last one.
        score: u64,
        /// When the member last scored.
        last_message_at: i64,
        /// Messages counted.
        messages: u64,
    },
    /// The id was known.
    Duplicate,
    /// Nothing is known of the member.
    Nothing,
    /// An error that leaves open whether it took effect.
    Unknown,
}

impl Said {
    /// The answer that shows a record.
    #[must_use]
    pub fn shown(record: ActivityRecord) -> Self {
        Self::Shown {
            scored: None,
            score: record.score.get().to_bits(),
            last_message_at: record.last_message_at.get(),
            messages: record.messages,
        }
    }

    /// The answer to a message.
    #[must_use]
    pub fn recorded(outcome: EventOutcome) -> Self {
        let (record, renewed) = match outcome {
            EventOutcome::Duplicate => return Self::Duplicate,
            EventOutcome::Scored(record) => (record, true),
            EventOutcome::CoolingDown(record) => (record, false),
        };
        match Self::shown(record) {
            Self::Shown {
                score,
                last_message_at,
                messages,
                ..
            } => Self::Shown {
                scored: Some(renewed),
                score,
                last_message_at,
                messages,
            },
            other => other,
        }
    }
}

/// One operation of a history. Times are of one clock for all processes, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What was asked.
    pub call: Call,
    /// When, before it was asked.
    pub called_ns: u64,
    /// What was answered.
    pub said: Said,
    /// When, after it was answered.
    pub answered_ns: u64,
}

impl Operation {
    /// An answer that nobody got is due for ever.
    const fn due_ns(&self) -> u64 {
        match self.said {
            Said::Unknown => u64::MAX,
            _ => self.answered_ns,
        }
    }
}

/// Explains a history.
///
/// # Errors
///
/// The operations of a member for which there is no order, as text.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut members: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        members
            .entry(operation.call.user())
            .or_default()
            .push(*operation);
    }
    for (user, mut operations) in members {
        if operations.len() > MOST {
            return Err(format!(
                "{} operations of member {user} are more than can be explained",
                operations.len()
            ));
        }
        operations.sort_by_key(|operation| operation.called_ns);
        if !Search::over(&operations).succeeds(0, &Model::new()) {
            let shown: Vec<String> = operations
                .iter()
                .map(|operation| format!("{operation:?}"))
                .collect();
            return Err(format!(
                "no order explains what member {user} was answered:\n{}",
                shown.join("\n")
            ));
        }
    }
    Ok(())
}

/// A member's record in a form that can be remembered: score, last time, messages.
type State = (u64, i64, u64);

/// The search for an order of one member's operations.
struct Search<'a> {
    operations: &'a [Operation],
    member: MemberKey,
    tried: HashSet<(u128, Option<State>)>,
}

impl<'a> Search<'a> {
    fn over(operations: &'a [Operation]) -> Self {
        Self {
            operations,
            member: operations[0].call.member(),
            tried: HashSet::new(),
        }
    }

    /// Whether those that are not `done` can follow on `model`. Which ids the model knows follows
    /// from what is done, so that the member's record is all there is to remember of it.
    fn succeeds(&mut self, done: u128, model: &Model) -> bool {
        let open = || {
            (0..)
                .zip(self.operations)
                .filter(move |(place, _)| done & (1_u128 << place) == 0)
        };
        let Some(first_due) = open().map(|(_, operation)| operation.due_ns()).min() else {
            return true;
        };
        if first_due == u64::MAX {
            // Those that are left may never have taken effect.
            return true;
        }
        let record = model.find_member(self.member).map(|record| {
            (
                record.score.get().to_bits(),
                record.last_message_at.get(),
                record.messages,
            )
        });
        let next: Vec<(u32, Operation)> = open()
            .filter(|(_, operation)| operation.called_ns <= first_due)
            .map(|(place, operation)| (place, *operation))
            .collect();
        if !self.tried.insert((done, record)) {
            return false;
        }
        next.into_iter().any(|(place, operation)| {
            let mut after = model.clone();
            let said = operation.call.apply(&mut after);
            (operation.said == Said::Unknown || operation.said == said)
                && self.succeeds(done | 1 << place, &after)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, called_ns: u64, answered_ns: u64, messages: u64) -> Operation {
        Operation {
            call: Call::Record {
                user: 1,
                id,
                at: 1_000,
            },
            called_ns,
            said: Said::Shown {
                scored: Some(messages == 1),
                score: 1_f64.to_bits(),
                last_message_at: 1_000,
                messages,
            },
            answered_ns,
        }
    }

    fn find(called_ns: u64, answered_ns: u64, messages: u64) -> Operation {
        let said = match messages {
            0 => Said::Nothing,
            messages => Said::Shown {
                scored: None,
                score: 1_f64.to_bits(),
                last_message_at: 1_000,
                messages,
            },
        };
        Operation {
            call: Call::Find { user: 1 },
            called_ns,
            said,
            answered_ns,
        }
    }

    #[test]
    fn what_overlaps_may_have_come_in_either_order() {
        check(&[record(1, 0, 10, 2), record(2, 5, 15, 1)]).unwrap();
        check(&[record(1, 0, 10, 1), find(5, 15, 0)]).unwrap();
        check(&[record(1, 0, 10, 1), find(5, 15, 1)]).unwrap();
    }

    #[test]
    fn what_came_after_an_answer_has_seen_it() {
        check(&[record(1, 0, 10, 1), find(11, 15, 0)]).unwrap_err();
        check(&[record(1, 0, 10, 2), record(2, 11, 15, 1)]).unwrap_err();
        // Seen once is seen by all who ask later, even before the write is answered.
        check(&[record(1, 0, 100, 1), find(5, 15, 1), find(20, 30, 0)]).unwrap_err();
    }

    #[test]
    fn an_update_that_got_lost_is_found() {
        check(&[record(1, 0, 10, 1), record(2, 5, 15, 1)]).unwrap_err();
        check(&[record(1, 0, 10, 1), record(1, 20, 30, 2)]).unwrap_err();
    }

    #[test]
    fn an_unknown_outcome_is_explained_either_way() {
        let unknown = Operation {
            said: Said::Unknown,
            ..record(1, 0, 10, 1)
        };
        check(&[unknown, find(20, 30, 0)]).unwrap();
        check(&[unknown, find(20, 30, 1)]).unwrap();
        check(&[unknown, find(20, 30, 0), find(40, 50, 1)]).unwrap();
        check(&[unknown, find(20, 30, 1), find(40, 50, 0)]).unwrap_err();
    }
}
