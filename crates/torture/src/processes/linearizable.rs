//! Whether a recorded history can be explained: is there an order of its operations, in which each
//! takes effect between its call and its answer, and in which the sequential model gives the same
//! answers?
//!
//! The search is that of Wing and Gong with Lowe's memory: an operation may come next if it was
//! called before the first answer that is still due; what has been tried from a set of operations
//! and a state is not tried again. Histories are taken apart before: by guild, and a guild of which
//! nobody asked as a whole by member, since the port's members do not depend on each other (as long
//! as ids are not shared between them).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use roas_domain::testing::Model;
use roas_domain::testing::fixtures::{at, delta, event_id, guild, member};
use roas_domain::{
    ActivityEvent, ActivityRecord, EventOutcome, LeaderboardLimit, MemberKey, Rank, ScoreEntry,
};
use serde::{Deserialize, Serialize};

/// The most operations that are explained together: they are counted in bits.
const MOST: usize = 128;

/// A member, in plain numbers, so that processes can tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Who {
    /// The guild.
    pub guild: u64,
    /// The user.
    pub user: u64,
}

impl Who {
    /// As the port has it.
    #[must_use]
    pub fn key(self) -> MemberKey {
        member(self.guild, self.user)
    }
}

/// What was asked. Ids and times are plain numbers, too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// A message.
    Record {
        /// Who wrote it.
        who: Who,
        /// Its id.
        id: u64,
        /// When, in Unix seconds.
        at: i64,
    },
    /// A change to a score.
    Adjust {
        /// Whose.
        who: Who,
        /// By how much.
        delta: f64,
        /// When, in Unix seconds.
        at: i64,
    },
    /// A look at a member.
    Find {
        /// At whom.
        who: Who,
    },
    /// A look at a guild's leaderboard by score, all of it.
    Board {
        /// Which guild's.
        guild: u64,
        /// As of when, in Unix seconds.
        at: i64,
    },
    /// A look at a member's place.
    Rank {
        /// Whose.
        who: Who,
        /// As of when, in Unix seconds.
        at: i64,
    },
}

impl Call {
    /// The guild that it is about.
    #[must_use]
    pub const fn guild(&self) -> u64 {
        match *self {
            Self::Record { who, .. }
            | Self::Adjust { who, .. }
            | Self::Find { who }
            | Self::Rank { who, .. } => who.guild,
            Self::Board { guild, .. } => guild,
        }
    }

    /// The member that it is about, where the others of the guild have no part in its answer.
    #[must_use]
    pub const fn member(&self) -> Option<Who> {
        match *self {
            Self::Record { who, .. } | Self::Adjust { who, .. } | Self::Find { who } => Some(who),
            Self::Board { .. } | Self::Rank { .. } => None,
        }
    }

    /// What the model answers, and becomes.
    fn apply(&self, model: &mut Model) -> Said {
        match *self {
            Self::Record { who, id, at: when } => Said::recorded(model.record(&ActivityEvent {
                id: Some(event_id(id)),
                member: who.key(),
                at: at(when),
            })),
            Self::Adjust {
                who,
                delta: by,
                at: when,
            } => Said::shown(model.adjust_score(who.key(), delta(by), at(when))),
            Self::Find { who } => model
                .find_member(who.key())
                .map_or(Said::Nothing, Said::shown),
            Self::Board {
                guild: id,
                at: when,
            } => Said::board(&model.top_scores(guild(id), at(when), LeaderboardLimit::default())),
            Self::Rank { who, at: when } => Said::ranked(model.score_rank(who.key(), at(when))),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The members in the order of their scores: user, bits of the score, when last scored.
    Board(Vec<(u64, u64, i64)>),
    /// The member's place, and of how many.
    Ranked(u64, u64),
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

    /// The answer that shows a leaderboard.
    #[must_use]
    pub fn board(entries: &[ScoreEntry]) -> Self {
        let place = |entry: &ScoreEntry| {
            (
                entry.user.get(),
                entry.score.get().to_bits(),
                entry.last_message_at.get(),
            )
        };
        Self::Board(entries.iter().map(place).collect())
    }

    /// The answer that shows a place.
    #[must_use]
    pub fn ranked(rank: Option<Rank>) -> Self {
        rank.map_or(Self::Nothing, |rank| {
            Self::Ranked(rank.position, rank.members)
        })
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
/// The operations for which there is no order, as text.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let whole: BTreeSet<u64> = history
        .iter()
        .filter(|operation| operation.call.member().is_none())
        .map(|operation| operation.call.guild())
        .collect();
    let mut parts: BTreeMap<(u64, Option<Who>), Vec<Operation>> = BTreeMap::new();
    for operation in history {
        let guild = operation.call.guild();
        let member = operation.call.member();
        let part = (guild, member.filter(|_| !whole.contains(&guild)));
        parts.entry(part).or_default().push(operation.clone());
    }
    for ((guild, member), mut operations) in parts {
        let of = member.map_or_else(
            || format!("guild {guild}"),
            |who| format!("member {} of guild {guild}", who.user),
        );
        if operations.len() > MOST {
            let count = operations.len();
            return Err(format!(
                "{count} operations of {of} are more than can be explained"
            ));
        }
        operations.sort_by_key(|operation| operation.called_ns);
        if !Search::over(&operations).succeeds(0, &Model::new()) {
            let shown: Vec<String> = operations
                .iter()
                .map(|operation| format!("{operation:?}"))
                .collect();
            return Err(format!(
                "no order explains what was answered of {of}:\n{}",
                shown.join("\n")
            ));
        }
    }
    Ok(())
}

/// A member's record in a form that can be remembered: user, score, last time, messages.
type State = (u64, u64, i64, u64);

/// The search for an order of operations.
struct Search<'a> {
    operations: &'a [Operation],
    tried: HashSet<(u128, Vec<State>)>,
}

impl<'a> Search<'a> {
    fn over(operations: &'a [Operation]) -> Self {
        Self {
            operations,
            tried: HashSet::new(),
        }
    }

    /// Whether those that are not `done` can follow on `model`. Which ids the model knows follows
    /// from what is done, so that the members' records are all there is to remember of it.
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
        let records = model.records().map(|record| {
            (
                record.member.user.get(),
                record.score.get().to_bits(),
                record.last_message_at.get(),
                record.messages,
            )
        });
        let next: Vec<(u32, &Operation)> = open()
            .filter(|(_, operation)| operation.called_ns <= first_due)
            .collect();
        if !self.tried.insert((done, records.collect())) {
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

    const WHO: Who = Who { guild: 1, user: 1 };

    fn record(id: u64, called_ns: u64, answered_ns: u64, messages: u64) -> Operation {
        Operation {
            call: Call::Record {
                who: WHO,
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
            call: Call::Find { who: WHO },
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
        let unknown = || unknown.clone();
        check(&[unknown(), find(20, 30, 0)]).unwrap();
        check(&[unknown(), find(20, 30, 1)]).unwrap();
        check(&[unknown(), find(20, 30, 0), find(40, 50, 1)]).unwrap();
        check(&[unknown(), find(20, 30, 1), find(40, 50, 0)]).unwrap_err();
    }

    fn board(called_ns: u64, answered_ns: u64, users: &[u64]) -> Operation {
        let places = users.iter().map(|&user| (user, 1_f64.to_bits(), 1_000));
        Operation {
            call: Call::Board {
                guild: 1,
                at: 1_000,
            },
            called_ns,
            said: Said::Board(places.collect()),
            answered_ns,
        }
    }

    fn record_of(user: u64, called_ns: u64, answered_ns: u64) -> Operation {
        let who = Who { user, ..WHO };
        let call = Call::Record {
            who,
            id: user,
            at: 1_000,
        };
        Operation {
            call,
            ..record(user, called_ns, answered_ns, 1)
        }
    }

    #[test]
    fn a_leaderboard_is_one_look_at_all_members() {
        let (first, second) = (record_of(1, 0, 10), record_of(2, 20, 30));
        let history = |users: &[u64]| [first.clone(), second.clone(), board(25, 40, users)];
        check(&history(&[1])).unwrap();
        check(&history(&[1, 2])).unwrap();
        check(&history(&[])).unwrap_err();
        // The second was seen, and the first, who was answered before it began, was not.
        check(&history(&[2])).unwrap_err();
    }

    #[test]
    fn a_place_goes_with_what_was_seen_of_the_others() {
        let place = |position, members| Operation {
            call: Call::Rank {
                who: Who { user: 2, ..WHO },
                at: 1_000,
            },
            said: Said::Ranked(position, members),
            ..board(50, 60, &[])
        };
        let history = |rank| [record_of(1, 0, 10), record_of(2, 20, 30), rank];
        check(&history(place(2, 2))).unwrap();
        check(&history(place(1, 1))).unwrap_err();
        check(&history(place(1, 2))).unwrap_err();
    }
}
