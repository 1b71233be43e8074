//! Whether those who poll for one lock get their turns, on a clock that is only counted.
//!
//! Nothing hands a file lock over: it goes to whoever polls first while it is free. Processes that
//! want it again and again are simulated event by event, with the rule for their sleeps as the only
//! thing that differs, so that the same seed gives the same history.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Wait;

/// How long to sleep before the poll of that count, counted from 0, at that time.
type Rule = Box<dyn FnMut(i32, Instant) -> Duration>;

/// This module's rule.
fn ours(seed: u64) -> Rule {
    let mut wait = Wait {
        left: Duration::from_hours(1),
        rng: Rng::with_seed(seed),
        ..Wait::default()
    };
    Box::new(move |count, now| wait.next_sleep(count, now).unwrap())
}

/// SQLite's own, `sqliteDefaultBusyCallback`.
fn sqlites(_: u64) -> Rule {
    const DELAYS_MS: [u64; 12] = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];
    Box::new(|count, _| {
        let place = usize::try_from(count).unwrap_or(0);
        Duration::from_millis(DELAYS_MS[place.min(DELAYS_MS.len() - 1)])
    })
}

#[derive(Debug, Clone, Copy)]
enum State {
    Polling { since: Duration, count: i32 },
    Holding,
}

/// What the processes got in the time of one simulation.
#[derive(Debug)]
struct Shares {
    turns: Vec<u32>,
    longest_wait: Duration,
}

impl Shares {
    /// Jain's index: 1 where all have the same, 1/n where one has all.
    fn jain(&self) -> f64 {
        let sum: f64 = self.turns.iter().copied().map(f64::from).sum();
        let squares: f64 = self
            .turns
            .iter()
            .map(|&turns| f64::from(turns).powi(2))
            .sum();
        let processes: f64 = self.turns.iter().map(|_| 1.0).sum();
        sum * sum / (squares * processes)
    }
}

/// How long the processes are watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Processes that each hold the lock for about a millisecond, as a transaction takes, and want it
/// again a moment later, as a writer does that has a full queue.
fn compete(processes: usize, rule: fn(u64) -> Rule, seed: u64) -> Shares {
    let mut rng = Rng::with_seed(seed);
    let mut between = |from: u64, to: u64| Duration::from_micros(rng.u64(from..to));
    let start = Instant::now();
    let mut rules: Vec<Rule> = (0_u64..)
        .take(processes)
        .map(|process| rule(seed * 1_000 + process))
        .collect();
    let mut states = Vec::new();
    let mut next = BinaryHeap::new();
    for process in 0..processes {
        let since = between(0, 1_000);
        states.push(State::Polling { since, count: 0 });
        next.push(Reverse((since, process)));
    }
    let mut shares = Shares {
        turns: vec![0; processes],
        longest_wait: Duration::ZERO,
    };
    let mut held = false;
    while let Some(Reverse((now, process))) = next.pop() {
        if now >= WATCHED {
            break;
        }
        let state = &mut states[process];
        let after = match *state {
            State::Holding => {
                held = false;
                shares.turns[process] += 1;
                let pause = between(20, 200);
                *state = State::Polling {
                    since: now + pause,
                    count: 0,
                };
                pause
            }
            State::Polling { since, .. } if !held => {
                held = true;
                shares.longest_wait = shares.longest_wait.max(now.saturating_sub(since));
                *state = State::Holding;
                between(500, 1_500)
            }
            State::Polling { since, count } => {
                *state = State::Polling {
                    since,
                    count: count + 1,
                };
                rules[process](count, start + now)
            }
        };
        next.push(Reverse((now + after, process)));
    }
    // Those who wait at the end have waited, too.
    for state in &states {
        if let State::Polling { since, .. } = state {
            shares.longest_wait = shares.longest_wait.max(WATCHED.saturating_sub(*since));
        }
    }
    shares
}

const PROCESSES: [usize; 4] = [2, 4, 8, 16];
const SEEDS: u64 = 40;

/// Between processes that hold the lock for a millisecond; 16 of them would wait 15 ms each if they
/// took turns.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
const FAIR: f64 = 0.95;

#[test]
fn whoever_polls_by_this_rule_gets_the_lock_soon_and_as_often_as_the_others() {
    for processes in PROCESSES {
        for seed in 0..SEEDS {
            let shares = compete(processes, ours, seed);
            assert!(
                shares.longest_wait <= LONGEST_WAIT && shares.jain() >= FAIR,
                "{processes} processes, seed {seed}: {:.3} {shares:?}",
                shares.jain()
            );
        }
    }
}

/// The check finds what it is for.
#[test]
fn by_sqlites_own_rule_some_wait_long_and_get_less_than_the_others() {
    for processes in PROCESSES {
        let all: Vec<_> = (0..SEEDS)
            .map(|seed| compete(processes, sqlites, seed))
            .collect();
        assert!(
            all.iter().all(|shares| shares.longest_wait > LONGEST_WAIT),
            "{processes} processes: {all:?}"
        );
        assert!(
            all.iter().any(|shares| shares.jain() < FAIR),
            "{processes} processes: {all:?}"
        );
    }
}
