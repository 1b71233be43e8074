//! The time by which event ids are remembered: a clock that only moves forward, whatever the host's does.
//!
//! A host without a battery stands in 1970 until its clock is set; an operator sets it wrong by years
//! and back. Ids recorded in between would look older than any window as soon as the clock is right
//! again, and messages that the gateway redelivers would count twice. So ids are stamped with a time
//! of the file's own, which follows the host's clock but skips jumps that no pause of a bot explains.
//! An id is forgotten when it is older than the window by this time: it may be kept for too long,
//! never for too short.

use std::time::Duration;

use roas_domain::UnixSeconds;

/// The longest time between two looks at the clock that is taken for time that has passed. A bot may
/// be down for weeks; clocks that are set wrong are mostly off by years. After a longer step, ids are
/// kept as if no time had passed.
const LONGEST_PAUSE_SECONDS: i64 = 30 * 24 * 3_600;

/// How much time may pass before it is stored again: a row more in a transaction a minute.
const STORED_EVERY_SECONDS: i64 = 60;

/// The file's own time, and the host's clock when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordingTime {
    /// What ids are stamped with.
    pub(crate) at: UnixSeconds,
    /// The latest that the host's clock has shown since its last jump.
    pub(crate) seen: UnixSeconds,
}

impl RecordingTime {
    /// The time as of a look at the host's clock, which shows `now`.
    pub(crate) fn observed(self, now: UnixSeconds) -> Self {
        let step = now.since(self.seen);
        match step {
            0..=LONGEST_PAUSE_SECONDS => Self {
                at: self.at.saturating_add(step),
                seen: now,
            },
            // Set back a little: the time stands still until the clock is there again, so that a
            // clock that jumps to and fro counts once.
            step if (-LONGEST_PAUSE_SECONDS..0).contains(&step) => self,
            _ => Self { seen: now, ..self },
        }
    }

    /// Whether `self` is to be stored in the place of `stored`.
    pub(crate) fn differs_much_from(self, stored: Self) -> bool {
        let passed = self.at.since(stored.at);
        passed >= STORED_EVERY_SECONDS || self.seen.since(stored.seen) != passed
    }

    /// Ids that were stamped before this are older than `window`.
    pub(crate) fn forgets_before(self, window: Duration) -> UnixSeconds {
        let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        self.at.saturating_add(window.saturating_neg())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 24 * 3_600;
    const YEAR: i64 = 365 * DAY;
    const START: i64 = 1_755_820_800;

    fn seconds(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    fn at(start: i64) -> RecordingTime {
        RecordingTime {
            at: seconds(start),
            seen: seconds(start),
        }
    }

    #[test]
    fn it_follows_a_clock_that_is_right() {
        let time = at(START).observed(seconds(START + 8 * DAY));
        assert_eq!(time, at(START + 8 * DAY));
    }

    #[test]
    fn years_to_and_fro_are_skipped() {
        let in_1972 = seconds(2 * YEAR);
        let time = at(START)
            .observed(in_1972)
            .observed(seconds(2 * YEAR + 60))
            .observed(seconds(START + 100))
            .observed(seconds(START + 20 * YEAR))
            .observed(seconds(START + 160));
        assert_eq!(time.at, seconds(START + 60));
        assert_eq!(time.seen, seconds(START + 160));
    }

    #[test]
    fn hours_to_and_fro_count_once() {
        let mut time = at(START);
        for _ in 0..10 {
            time = time
                .observed(seconds(START + 2 * DAY))
                .observed(seconds(START));
        }
        assert_eq!(time.at, seconds(START + 2 * DAY));
    }

    #[test]
    fn it_is_stored_once_a_minute_and_after_a_jump() {
        let stored = at(START);
        assert!(
            !stored
                .observed(seconds(START + 59))
                .differs_much_from(stored)
        );
        assert!(
            stored
                .observed(seconds(START + 60))
                .differs_much_from(stored)
        );
        assert!(stored.observed(seconds(2 * YEAR)).differs_much_from(stored));
    }

    proptest! {
        /// However the clock jumps by years, no more time passes than really did.
        #[test]
        fn it_never_runs_ahead(
            steps in proptest::collection::vec((0..DAY, prop::option::of(-20..20_i64)), 1..50)
        ) {
            let (mut real, mut offset, mut time) = (START, 0, at(START));
            for (passed, jump) in steps {
                real += passed;
                offset = jump.map_or(offset, |years| 2 * years * YEAR);
                let shown = real + offset;
                time = time.observed(seconds(shown));
                prop_assert!(time.at.get() <= real, "{time:?} {real}");
            }
        }
    }
}
