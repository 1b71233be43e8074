//! A clock that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::time::{Clock, UnixSeconds};

/// A clock that stands still until it is changed. Clones share one time, so a test can keep a
/// handle on the clock that it passes on.
///
/// ```
/// use roas_domain::testing::ManualClock;
/// use roas_domain::{Clock, UnixSeconds};
///
/// let clock = ManualClock::new(UnixSeconds::new(1_755_820_800)?);
/// let shared = clock.clone();
/// clock.advance(60);
/// assert_eq!(shared.now().get(), 1_755_820_860);
/// # Ok::<(), roas_domain::InvalidTime>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    seconds: Arc<AtomicI64>,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    #[must_use]
    pub fn new(now: UnixSeconds) -> Self {
        Self {
            seconds: Arc::new(AtomicI64::new(now.get())),
        }
    }

    /// Sets the clock to `now`, which may be before the current time.
    pub fn set(&self, now: UnixSeconds) {
        self.seconds.store(now.get(), Ordering::SeqCst);
    }

    /// Advances the clock by `seconds`, backwards if negative, clamped to [`UnixSeconds::MIN`] and
    /// [`UnixSeconds::MAX`].
    pub fn advance(&self, seconds: i64) {
        let moved = |now| Some(shown(now).saturating_add(seconds).get());
        // The closure never returns `None`, so this cannot fail.
        let _ = self
            .seconds
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixSeconds {
        shown(self.seconds.load(Ordering::SeqCst))
    }
}

/// Only valid times are stored, so nothing is clamped here.
fn shown(seconds: i64) -> UnixSeconds {
    UnixSeconds::MIN.saturating_add(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fixtures::at;

    #[test]
    fn clones_share_one_time_that_moves_both_ways() {
        let clock = ManualClock::new(at(1_000));
        let clone = clock.clone();
        clock.advance(500);
        assert_eq!(clone.now(), at(1_500));
        clone.advance(-700);
        assert_eq!(clock.now(), at(800));
        clock.set(at(7));
        assert_eq!(clone.now(), at(7));
    }

    #[test]
    fn the_clock_stops_at_the_bounds_of_time() {
        let clock = ManualClock::new(UnixSeconds::MAX);
        clock.advance(1);
        assert_eq!(clock.now(), UnixSeconds::MAX);
        clock.advance(i64::MIN);
        assert_eq!(clock.now(), UnixSeconds::MIN);
    }
}
