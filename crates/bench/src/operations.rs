//! What is written: the same scenario and seed is the same sequence, whatever the engine.
//!
//! Each task has a stream of its own, which depends on the seed, the process and the task alone.
//! Simulated time passes at ten messages a second in every stream, and an operation's id is a
//! snowflake of its time: ids rise with time over all streams, as Discord's do.

use std::iter::Take;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use roas_domain::{ActivityEvent, EventId, InvalidId, InvalidTime, MemberKey, UnixSeconds};

use crate::keys::Members;
use crate::scenario::Scenario;

/// 2025-08-22T00:00:00Z, where simulated time begins.
const START_UNIX_S: i64 = 1_755_820_800;

/// Where Discord's snowflakes count from.
const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;

/// Simulated time between two operations of a stream.
const STEP_MS: i64 = 100;

/// The bits of a snowflake below its time; here the number of the stream.
const STREAM_BITS: u32 = 22;

/// The greatest number of streams: tasks times processes.
pub const MAX_STREAMS: u32 = 1 << STREAM_BITS;

/// One message to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who wrote it.
    pub member: MemberKey,
    /// Its id; no two operations of a run share one.
    pub event: EventId,
    /// When it was written.
    pub at: UnixSeconds,
}

impl Operation {
    /// The number of the stream it is from: process × tasks + task.
    #[must_use]
    pub const fn stream(&self) -> u64 {
        self.event.get() & (MAX_STREAMS as u64 - 1)
    }

    /// The operation as the meter takes it.
    #[must_use]
    pub const fn event(&self) -> ActivityEvent {
        ActivityEvent {
            id: Some(self.event),
            member: self.member,
            at: self.at,
        }
    }
}

/// The endless stream of one task.
#[derive(Debug, Clone)]
pub struct Stream {
    members: Arc<Members>,
    rng: Rng,
    number: u32,
    sent: i64,
}

impl Stream {
    /// The stream of the given number, of members who are drawn with this seed.
    #[must_use]
    pub fn new(members: Arc<Members>, seed: u64, number: u32) -> Self {
        // The golden ratio's bits carry streams and seeds that differ by one far apart.
        let mixed = seed ^ (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            members,
            rng: Rng::with_seed(mixed),
            number,
            sent: 0,
        }
    }
}

impl Iterator for Stream {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        let member = self.members.draw(&mut self.rng);
        self.sent += 1;
        let (event, at) = snowflake(self.sent * STEP_MS, self.number).ok()?;
        Some(Operation { member, event, at })
    }
}

#[derive(Debug)]
struct OutOfTime;

impl From<InvalidId> for OutOfTime {
    fn from(_: InvalidId) -> Self {
        Self
    }
}

impl From<InvalidTime> for OutOfTime {
    fn from(_: InvalidTime) -> Self {
        Self
    }
}

/// The id and the time of what happens `after_ms` into simulated time. Simulated time ends in
/// 2084, with the snowflakes that fit 63 bits: after 18 billion operations of one stream.
fn snowflake(after_ms: i64, stream: u32) -> Result<(EventId, UnixSeconds), OutOfTime> {
    let at = UnixSeconds::new(START_UNIX_S + after_ms / 1_000)?;
    let ms = START_UNIX_S * 1_000 - DISCORD_EPOCH_MS + after_ms;
    let ms = u64::try_from(ms).map_err(|_| OutOfTime)?;
    let id = ms.checked_mul(1 << STREAM_BITS).ok_or(OutOfTime)?;
    Ok((EventId::new(id | u64::from(stream))?, at))
}

/// The streams of one worker, in turns. A worker has one, unless the engine has fewer workers than
/// the scenario has tasks.
#[derive(Debug)]
pub struct Operations {
    streams: Vec<Take<Stream>>,
    next: usize,
}

impl Operations {
    /// The streams that fall to a worker of a process.
    #[must_use]
    pub fn of(
        scenario: &Scenario,
        members: &Arc<Members>,
        process: u32,
        worker: u32,
        workers: u32,
    ) -> Self {
        let stream = |task: u32| {
            let number = process * scenario.tasks + task;
            let stream = Stream::new(Arc::clone(members), scenario.seed, number);
            let quota = scenario.quota(number);
            stream.take(usize::try_from(quota).unwrap_or(usize::MAX))
        };
        let tasks = (worker..scenario.tasks).step_by(workers.max(1) as usize);
        Self {
            streams: tasks.map(stream).collect(),
            next: 0,
        }
    }
}

impl Iterator for Operations {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        while !self.streams.is_empty() {
            self.next %= self.streams.len();
            if let Some(operation) = self.streams[self.next].next() {
                self.next += 1;
                return Some(operation);
            }
            drop(self.streams.remove(self.next));
        }
        None
    }
}

/// When simulated time begins: no message of a run is older.
///
/// # Panics
///
/// Never: the time is within its bounds.
#[must_use]
pub fn begins_at() -> UnixSeconds {
    UnixSeconds::new(START_UNIX_S).expect("within the bounds")
}

/// The messages that a run finds in the database: one of each member, in the time before its own
/// begin, each second with as many as the next.
///
/// Times rise with the members' ids: what is stored by time, as ranks are, is then filled from one
/// end, too. Ten million members all over it would rewrite each of its pages a thousand times.
pub fn prefill(
    members: &Members,
    over: Duration,
) -> impl Iterator<Item = (MemberKey, UnixSeconds)> + '_ {
    let over_s = u128::from(over.as_secs());
    (0..)
        .zip(members.all())
        .map(move |(index, member): (u64, _)| {
            let passed = u128::from(index) * over_s / u128::from(members.count());
            let before = i64::try_from(over_s - passed).unwrap_or(0);
            (member, begins_at().saturating_add(-before))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use roas_domain::{GuildRules, Score};

    use super::*;
    use crate::scenario::{Length, PREFILL_OVER};

    fn scenario(tasks: u32, operations: u64) -> Scenario {
        Scenario {
            tasks,
            length: Length::Operations(operations),
            ..Scenario::default()
        }
    }

    fn all(scenario: &Scenario, workers: u32) -> Vec<Operation> {
        let members = Arc::new(scenario.all_members());
        (0..scenario.processes)
            .flat_map(|process| (0..workers).map(move |worker| (process, worker)))
            .flat_map(|(process, worker)| {
                Operations::of(scenario, &members, process, worker, workers)
            })
            .collect()
    }

    #[test]
    fn the_same_seed_is_the_same_sequence() {
        let scenario = scenario(4, 1_000);
        assert_eq!(all(&scenario, 4), all(&scenario, 4));
        let other = Scenario {
            seed: scenario.seed + 1,
            ..scenario.clone()
        };
        let members = |scenario| {
            all(scenario, 4)
                .iter()
                .map(|op| op.member)
                .collect::<Vec<_>>()
        };
        assert_ne!(members(&scenario), members(&other));
    }

    #[test]
    fn as_many_operations_as_asked_for_with_ids_of_their_own() {
        for (tasks, processes, operations) in [(1, 1, 10), (7, 1, 1_000), (3, 4, 1_001), (8, 2, 5)]
        {
            let scenario = Scenario {
                processes,
                ..scenario(tasks, operations)
            };
            let ids: BTreeSet<_> = all(&scenario, tasks).iter().map(|op| op.event).collect();
            assert_eq!(ids.len() as u64, operations);
        }
    }

    #[test]
    fn one_worker_in_place_of_many_is_given_every_stream_in_its_order() {
        let scenario = scenario(5, 503);
        let by_stream = |operations: Vec<Operation>| -> Vec<Vec<Operation>> {
            (0..5)
                .map(|stream| {
                    operations
                        .iter()
                        .copied()
                        .filter(|op| op.stream() == stream)
                        .collect()
                })
                .collect()
        };
        assert_eq!(by_stream(all(&scenario, 5)), by_stream(all(&scenario, 1)));
        let streams: Vec<_> = all(&scenario, 1)
            .iter()
            .take(6)
            .map(Operation::stream)
            .collect();
        assert_eq!(streams, [0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn half_of_the_scores_that_a_run_finds_have_faded_as_it_begins() {
        let members = Members::new(2, 1_800, crate::keys::Keys::Uniform);
        let rules = GuildRules::default().score;
        let one = Score::new(1.0).unwrap();
        let scores: Vec<f64> = prefill(&members, PREFILL_OVER)
            .map(|(_, at)| rules.decayed(one, at, begins_at()).get())
            .collect();
        assert_eq!(scores.len(), 3_600);
        let faded = scores.iter().filter(|score| **score <= 0.0).count();
        assert!((1_780..=1_820).contains(&faded), "{faded} of 3,600");
        let whole = scores.iter().filter(|score| **score >= 1.0).count();
        assert!((580..=620).contains(&whole), "{whole} of 3,600");
    }

    #[test]
    fn ids_rise_with_time_over_all_streams() {
        let members = Arc::new(Scenario::default().all_members());
        let [early, late] = [0, 9].map(|number| {
            let stream = Stream::new(Arc::clone(&members), 1, number);
            stream.take(100).collect::<Vec<_>>()
        });
        for (early, late) in early.iter().zip(&late) {
            assert!(early.event < late.event && early.at == late.at);
        }
        assert!(
            late.iter()
                .zip(&early[1..])
                .all(|(late, early)| late.event < early.event)
        );
        assert_eq!(early[99].at.since(early[0].at), 10);
    }
}
