//! The busy handler: how a connection polls for a lock that another connection holds.
//!
//! SQLite's file locks have no queue and no wake-up, so waiting is polling. SQLite's own handler
//! grows its sleeps to 100 ms, which shows as a tail of 200 ms between processes that each hold the
//! lock for a millisecond. This one sleeps between an eighth of a millisecond and one, at random, so
//! that processes do not poll in step.

#[cfg(test)]
mod fairness;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rusqlite::Connection;

const FIRST_SLEEP: Duration = Duration::from_micros(250);
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

// rusqlite's handler is a plain function in part of the supported version range, so what one
// attempt may spend is kept per thread. A connection is used by one thread at a time, and SQLite
// calls the handler on that thread.
thread_local! {
    static WAIT: RefCell<Wait> = RefCell::new(Wait::default());
}

#[derive(Debug, Default)]
struct Wait {
    /// The time left to wait, for all locks together.
    left: Duration,
    /// When the last sleep should have ended.
    awake_at: Option<Instant>,
    spent: Waited,
    rng: Rng,
}

/// What waiting for locks has cost the calling thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    /// How often it slept.
    pub(crate) sleeps: u64,
    /// How long it slept.
    pub(crate) time: Duration,
}

impl Wait {
    /// How long to sleep before the next poll, the `count`-th of this wait; `None` to give up.
    fn next_sleep(&mut self, count: i32, now: Instant) -> Option<Duration> {
        // What sleep and poll took beyond the requested time. The time between two waits is not waiting.
        if let Some(awake_at) = self.awake_at
            && count > 0
        {
            let late = now.saturating_duration_since(awake_at);
            self.left = self.left.saturating_sub(late);
        }
        if self.left.is_zero() {
            return None;
        }
        let nominal = LONGEST_SLEEP.min(FIRST_SLEEP * 2_u32.pow(count.clamp(0, 8).cast_unsigned()));
        let sleep = nominal.mul_f64(0.5 + self.rng.f64() / 2.0).min(self.left);
        self.left -= sleep;
        self.awake_at = Some(now + sleep);
        Some(sleep)
    }
}

/// Installs this module's busy handler on `connection`.
pub(crate) fn install(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(poll as fn(i32) -> bool))
}

/// Sets the time that the next statements of the calling thread may wait for locks, all together: they are
/// one attempt, which has one budget.
pub(crate) fn allow(budget: Duration) {
    WAIT.with_borrow_mut(|wait| {
        wait.left = budget;
        wait.awake_at = None;
    });
}

/// What the calling thread has waited since the last call.
pub(crate) fn take_waited() -> Waited {
    WAIT.with_borrow_mut(|wait| std::mem::take(&mut wait.spent))
}

/// Sleeps before another poll for a lock, the `count`-th of this wait; `false` where the time is up.
pub(crate) fn poll(count: i32) -> bool {
    let sleep = WAIT.with_borrow_mut(|wait| wait.next_sleep(count, Instant::now()));
    let Some(sleep) = sleep else { return false };
    let before = Instant::now();
    std::thread::sleep(sleep);
    WAIT.with_borrow_mut(|wait| {
        wait.spent.sleeps += 1;
        wait.spent.time += before.elapsed();
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_grow_to_a_millisecond_and_end_with_the_budget() {
        let start = Instant::now();
        let mut wait = Wait {
            left: Duration::from_millis(20),
            rng: Rng::with_seed(1),
            ..Wait::default()
        };
        let mut now = start;
        let mut sleeps = Vec::new();
        while let Some(sleep) = wait.next_sleep(i32::try_from(sleeps.len()).unwrap(), now) {
            sleeps.push(sleep);
            now += sleep;
        }
        assert_eq!(now - start, Duration::from_millis(20));
        assert!(sleeps[0] <= FIRST_SLEEP);
        assert!(sleeps.iter().all(|sleep| *sleep <= LONGEST_SLEEP));
        assert!(
            sleeps[5..sleeps.len() - 1]
                .iter()
                .all(|sleep| *sleep >= LONGEST_SLEEP / 2)
        );
    }

    #[test]
    fn several_waits_have_one_budget_and_what_lies_between_them_is_not_waiting() {
        // More than thirty sleeps can take.
        let budget = Duration::from_millis(40);
        let mut now = Instant::now();
        let mut wait = Wait {
            left: budget,
            rng: Rng::with_seed(1),
            ..Wait::default()
        };
        let mut waited = Duration::ZERO;
        for _ in 0..3 {
            for count in 0..10 {
                let sleep = wait.next_sleep(count, now).unwrap();
                waited += sleep;
                now += sleep;
            }
            now += Duration::from_secs(1);
        }
        let mut count = 0;
        while let Some(sleep) = wait.next_sleep(count, now) {
            waited += sleep;
            now += sleep;
            count += 1;
        }
        assert_eq!(waited, budget);
        assert_eq!(wait.next_sleep(0, now), None);
    }

    #[test]
    fn a_sleep_that_lasts_too_long_counts_for_what_it_was() {
        let start = Instant::now();
        let mut wait = Wait {
            left: Duration::from_millis(20),
            ..Wait::default()
        };
        assert!(wait.next_sleep(0, start).is_some());
        assert_eq!(wait.next_sleep(1, start + Duration::from_secs(1)), None);
    }

    #[test]
    fn without_a_budget_there_is_no_wait() {
        assert_eq!(Wait::default().next_sleep(0, Instant::now()), None);
    }

    #[test]
    fn waiting_processes_do_not_poll_in_step() {
        let sleeps = |seed| {
            let mut wait = Wait {
                left: Duration::from_secs(1),
                rng: Rng::with_seed(seed),
                ..Wait::default()
            };
            (0..20)
                .map(|count| wait.next_sleep(count, Instant::now()))
                .collect::<Vec<_>>()
        };
        assert_ne!(sleeps(1), sleeps(2));
    }
}
