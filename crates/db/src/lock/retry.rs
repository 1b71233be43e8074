//! How long, how often and at what pace a transaction is tried while somebody else holds the lock.
//!
//! Two waits work together. Within an attempt, SQLite calls the connection's busy handler
//! ([`crate::lock::busy`]), which polls for the lock in short, jittered sleeps. Where an attempt ends
//! without the lock, the whole transaction is tried again after a back-off, until either the
//! attempts or the total time run out.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// When to try a contended transaction again, and when to give up.
///
/// | policy | retries | back-off | lock wait per attempt | in all at most |
/// |---|---|---|---|---|
/// | [`aggressive`](Self::aggressive) | 10 | 50 ms × 1.5, up to 5 s | 500 ms | 15 s |
/// | [`balanced`](Self::balanced) | 5 | 100 ms × 2, up to 30 s | 2 s | 30 s |
/// | [`conservative`](Self::conservative) | 3 | 500 ms × 3, up to 60 s | 10 s | 60 s |
///
/// Retries and back-off are those of the original meter. Each delay is shortened by up to half at
/// random, so that processes which failed together do not come back together.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    name: &'static str,
    max_retries: u32,
    first_delay: Duration,
    factor: f64,
    max_delay: Duration,
    attempt_wait: Duration,
    deadline: Duration,
}

impl RetryPolicy {
    /// Many quick attempts: for callers that want an answer soon.
    #[must_use]
    pub const fn aggressive() -> Self {
        Self {
            name: "aggressive",
            max_retries: 10,
            first_delay: Duration::from_millis(50),
            factor: 1.5,
            max_delay: Duration::from_secs(5),
            attempt_wait: Duration::from_millis(500),
            deadline: Duration::from_secs(15),
        }
    }

    /// The middle way, and the default.
    #[must_use]
    pub const fn balanced() -> Self {
        Self {
            name: "balanced",
            max_retries: 5,
            first_delay: Duration::from_millis(100),
            factor: 2.0,
            max_delay: Duration::from_secs(30),
            attempt_wait: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
        }
    }

    /// Few attempts with long waits: for other processes that hold the lock for long.
    #[must_use]
    pub const fn conservative() -> Self {
        Self {
            name: "conservative",
            max_retries: 3,
            first_delay: Duration::from_millis(500),
            factor: 3.0,
            max_delay: Duration::from_mins(1),
            attempt_wait: Duration::from_secs(10),
            deadline: Duration::from_mins(1),
        }
    }

    /// This policy with another bound on the total time, from a caller's request to its answer.
    #[must_use]
    pub const fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The policy's name: `aggressive`, `balanced` or `conservative`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The bound on the total time.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The delays between attempts.
    fn backoff(&self, rng: Rng) -> Backoff {
        Backoff {
            left: self.max_retries,
            next: self.first_delay,
            factor: self.factor,
            max: self.max_delay,
            rng,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::balanced()
    }
}

/// The delays of a policy, one for each retry it allows.
#[derive(Debug)]
struct Backoff {
    left: u32,
    next: Duration,
    factor: f64,
    max: Duration,
    rng: Rng,
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let delay = self.next.min(self.max);
        self.next = delay.mul_f64(self.factor);
        Some(delay.mul_f64(1.0 - self.rng.f64() / 2.0))
    }
}

/// One transaction's way through a policy.
#[derive(Debug)]
pub(crate) struct Retry {
    since: Instant,
    deadline: Instant,
    attempt_wait: Duration,
    attempts: u32,
    backoff: Backoff,
}

/// A policy has run out: how long and how often was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) waited: Duration,
    pub(crate) attempts: u32,
}

impl Retry {
    /// Begins with a request that was made at `since`: its time in a queue counts.
    pub(crate) fn new(policy: &RetryPolicy, since: Instant, rng: Rng) -> Self {
        Self {
            since,
            deadline: since + policy.deadline,
            attempt_wait: policy.attempt_wait,
            attempts: 0,
            backoff: policy.backoff(rng),
        }
    }

    /// How many attempts were begun.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the attempt that begins at `now` may wait for the lock. Even past the deadline it
    /// is made, without waiting: the lock may be free.
    pub(crate) fn begin_attempt(&mut self, now: Instant) -> Duration {
        self.attempts += 1;
        self.attempt_wait
            .min(self.deadline.saturating_duration_since(now))
    }

    /// After an attempt that did not get the lock: how long to sleep before the next.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where the attempts have run out, or the time would before the next began.
    pub(crate) fn next_delay(&mut self, now: Instant) -> Result<Duration, Exhausted> {
        let exhausted = Exhausted {
            waited: now.saturating_duration_since(self.since),
            attempts: self.attempts,
        };
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(exhausted);
        }
        // A back-off that reaches beyond the deadline is cut short, for one last attempt at it.
        self.backoff
            .next()
            .map(|delay| delay.min(left))
            .ok_or(exhausted)
    }

    /// Runs `attempt` until it succeeds, fails for another reason than contention, or the policy
    /// runs out. Sleeps on the calling thread between attempts. `attempt` is given the time it may
    /// wait for the lock.
    pub(crate) fn run<T, E>(
        mut self,
        contended: impl Fn(&E) -> bool,
        mut attempt: impl FnMut(Duration) -> Result<T, E>,
    ) -> Result<T, RetryError<E>> {
        loop {
            match attempt(self.begin_attempt(Instant::now())) {
                Err(error) if contended(&error) => match self.next_delay(Instant::now()) {
                    Ok(delay) => std::thread::sleep(delay),
                    Err(exhausted) => return Err(RetryError::Exhausted(exhausted, error)),
                },
                Err(error) => return Err(RetryError::Failed(error)),
                Ok(value) => return Ok(value),
            }
        }
    }
}

/// Why [`Retry::run`] ended without success.
#[derive(Debug)]
pub(crate) enum RetryError<E> {
    /// The policy ran out; the error of the last attempt.
    Exhausted(Exhausted, E),
    /// A failure that another attempt does not mend.
    Failed(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Rng {
        Rng::with_seed(7)
    }

    #[test]
    fn delays_grow_by_the_factor_and_are_jittered_downwards_by_at_most_half() {
        for (policy, expected) in [
            (
                RetryPolicy::aggressive(),
                vec![
                    50.0, 75.0, 112.5, 168.75, 253.1, 379.7, 569.5, 854.3, 1281.4, 1922.2,
                ],
            ),
            (
                RetryPolicy::balanced(),
                vec![100.0, 200.0, 400.0, 800.0, 1600.0],
            ),
            (RetryPolicy::conservative(), vec![500.0, 1500.0, 4500.0]),
        ] {
            let Backoff { left, .. } = policy.backoff(rng());
            assert_eq!(left as usize, expected.len(), "{}", policy.name());
            let mut backoff = policy.backoff(rng());
            for &nominal in &expected {
                // The next nominal delay is the unjittered one times the factor.
                let before = backoff.next.as_secs_f64() * 1e3;
                assert!(
                    (before - nominal).abs() < 0.1,
                    "{} {before} {nominal}",
                    policy.name()
                );
                let delay = backoff.next().unwrap().as_secs_f64() * 1e3;
                assert!(
                    delay <= nominal + 0.1 && delay >= nominal / 2.0 - 0.1,
                    "{delay}"
                );
            }
            assert_eq!(backoff.next(), None);
        }
    }

    #[test]
    fn a_delay_is_never_above_the_maximum() {
        let policy = RetryPolicy {
            max_delay: Duration::from_millis(60),
            ..RetryPolicy::aggressive()
        };
        assert!(
            policy
                .backoff(rng())
                .all(|delay| delay <= Duration::from_millis(60))
        );
    }

    #[test]
    fn attempts_run_out_and_both_are_reported() {
        let start = Instant::now();
        let mut retry = Retry::new(&RetryPolicy::conservative(), start, rng());
        for _ in 0..3 {
            retry.begin_attempt(start);
            assert!(retry.next_delay(start).is_ok());
        }
        retry.begin_attempt(start);
        let later = start + Duration::from_secs(9);
        assert_eq!(
            retry.next_delay(later),
            Err(Exhausted {
                waited: Duration::from_secs(9),
                attempts: 4
            })
        );
    }

    #[test]
    fn the_deadline_counts_from_the_request_and_bounds_every_wait() {
        let start = Instant::now();
        let policy = RetryPolicy::balanced().with_deadline(Duration::from_secs(3));
        let mut retry = Retry::new(&policy, start, rng());
        assert_eq!(retry.begin_attempt(start), Duration::from_secs(2));
        let almost = start + Duration::from_millis(2_990);
        assert!(retry.next_delay(almost).unwrap() <= Duration::from_millis(10));
        assert_eq!(
            retry.begin_attempt(start + Duration::from_secs(4)),
            Duration::ZERO
        );
        let exhausted = retry
            .next_delay(start + Duration::from_secs(4))
            .unwrap_err();
        assert_eq!(
            exhausted,
            Exhausted {
                waited: Duration::from_secs(4),
                attempts: 2
            }
        );
    }

    #[test]
    fn only_contention_is_tried_again() {
        let mut tries = 0;
        let policy = RetryPolicy {
            first_delay: Duration::ZERO,
            ..RetryPolicy::aggressive()
        };
        let result: Result<(), _> = Retry::new(&policy, Instant::now(), rng()).run(
            |error| *error == "busy",
            |_| {
                tries += 1;
                if tries < 3 {
                    Err("busy")
                } else {
                    Err("broken")
                }
            },
        );
        assert!(matches!(result, Err(RetryError::Failed("broken"))));
        assert_eq!(tries, 3);
    }

    #[test]
    fn exhaustion_keeps_the_last_error() {
        let policy = RetryPolicy {
            first_delay: Duration::ZERO,
            ..RetryPolicy::conservative()
        };
        let result: Result<(), _> =
            Retry::new(&policy, Instant::now(), rng()).run(|_| true, |_| Err("busy"));
        let Err(RetryError::Exhausted(exhausted, "busy")) = result else {
            panic!("{result:?}");
        };
        assert_eq!(exhausted.attempts, 4);
    }
}
