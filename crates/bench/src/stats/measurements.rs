//! What the workers of one process record.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gaps::Gaps;
use super::totals::{Sample, Totals};
use crate::engine::{CallError, CallErrorKind};

/// How many samples a worker keeps to itself before it takes the lock they are merged under.
const BUFFERED: usize = 128;

/// How many workers share a lock and a histogram. A histogram is 140 KiB: one for each of 1,024
/// tasks would be more than the engine that is measured, and would turn over the processor's caches.
const SHARDS: usize = 4;

/// The part of a run that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Where it begins.
    pub from: Instant,
    /// Where it ends; a run of so many operations ends with the last of them.
    pub until: Option<Instant>,
}

impl Window {
    /// Its length, where that is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        self.until.map(|until| until.duration_since(self.from))
    }
}

/// What all workers of a process have recorded.
///
/// An operation is measured if it was answered after the window began. One that was still under way
/// when the window ended counts with its latency and its failure, so that a stall at the end is not
/// hidden, but not to the throughput.
#[derive(Debug)]
pub struct Measurements {
    window: Window,
    slice_us: u64,
    gaps: Gaps,
    shards: [Mutex<Totals>; SHARDS],
}

impl Measurements {
    /// Of this window, in slices of this length, or longer ones where they would be too many.
    #[must_use]
    pub fn new(window: Window, slice: Duration) -> Arc<Self> {
        let window_ms = window.length().map(|length| micros(length) / 1_000);
        let slice_us = micros(slice).max(1);
        Arc::new(Self {
            window,
            slice_us,
            gaps: Gaps::new(window_ms),
            shards: std::array::from_fn(|_| Mutex::new(Totals::new(slice_us))),
        })
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// The recorder of one worker.
    #[must_use]
    pub fn recorder(self: &Arc<Self>, worker: u32) -> Recorder {
        Recorder {
            shard: worker as usize % SHARDS,
            all: Arc::clone(self),
            buffer: Vec::with_capacity(BUFFERED),
            slice: 0,
            acknowledged: 0,
            unknown: 0,
            messages: Default::default(),
        }
    }

    /// Operations acknowledged and failed so far, as far as the workers have handed them in.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(ops, errors), shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (ops + shard.ops, errors + shard.errors.iter().sum::<u64>())
        })
    }

    /// All that was recorded. Every recorder is gone.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new(self.slice_us);
        for shard in &self.shards {
            totals.add(&shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        totals
    }

    /// The longest time in the window without an acknowledged operation.
    #[must_use]
    pub fn longest_gap_ms(&self, window_us: u64) -> u64 {
        self.gaps.longest_ms(window_us / 1_000)
    }
}

/// Where one worker records; what is left in it is handed in when it is dropped.
#[derive(Debug)]
pub struct Recorder {
    all: Arc<Measurements>,
    shard: usize,
    buffer: Vec<Sample>,
    /// Which slice the samples in the buffer are of, while slices have their first length: they are
    /// handed in with it, so that a slow run's progress is seen.
    slice: u64,
    acknowledged: u64,
    unknown: u64,
    messages: [Option<String>; CallErrorKind::ALL.len()],
}

impl Recorder {
    /// A call of so many operations, which was due, or made, at `due` and answered at `ended`.
    pub fn record(
        &mut self,
        due: Instant,
        ended: Instant,
        operations: u64,
        outcome: Result<(), CallError>,
    ) {
        let failure = outcome.err();
        match &failure {
            None => self.acknowledged += operations,
            Some(failure) => {
                if failure.kind == CallErrorKind::Unknown {
                    self.unknown += operations;
                }
                let message = &mut self.messages[failure.kind as usize];
                if message.is_none() {
                    *message = Some(failure.source.to_string());
                }
            }
        }
        let window = self.all.window;
        if ended < window.from {
            return;
        }
        let in_window = window.until.is_none_or(|until| ended < until);
        let ended_us = micros(ended.duration_since(window.from));
        if in_window && failure.is_none() {
            self.all.gaps.acknowledged(ended_us / 1_000);
        }
        let length_us = window.length().map_or(u64::MAX, micros);
        let within_us = ended_us.min(length_us.saturating_sub(1));
        let slice = within_us / self.all.slice_us;
        if self.buffer.len() == BUFFERED || slice != self.slice {
            self.hand_in();
            self.slice = slice;
        }
        self.buffer.push(Sample {
            ended_us,
            within_us,
            latency_us: micros(ended.saturating_duration_since(due)),
            operations,
            failure: failure.map(|failure| failure.kind),
            in_window,
        });
    }

    /// The window that is measured.
    #[must_use]
    pub fn window(&self) -> Window {
        self.all.window
    }

    /// A read that failed. It counts to the errors, but its outcome matters to nobody afterwards.
    pub fn read_failed(&mut self, called: Instant, ended: Instant, failure: CallError) {
        let unknown = self.unknown;
        self.record(called, ended, 1, Err(failure));
        self.unknown = unknown;
    }

    /// Operations that were due and were never begun.
    pub fn never_begun(&mut self, operations: u64) {
        let now = Instant::now();
        let failure = CallError::new(CallErrorKind::Overloaded, "not begun when the run ended");
        self.record(now, now, operations, Err(failure));
    }

    fn hand_in(&mut self) {
        let mut totals = self.all.shards[self.shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for sample in self.buffer.drain(..) {
            totals.take(&sample);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.hand_in();
        let mut totals = self.all.shards[self.shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        totals.acknowledged += self.acknowledged;
        totals.unknown += self.unknown;
        for (message, mine) in totals.messages.iter_mut().zip(&mut self.messages) {
            if message.is_none() {
                *message = mine.take();
            }
        }
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second() -> (Instant, Arc<Measurements>) {
        let from = Instant::now() + Duration::from_secs(1);
        let window = Window {
            from,
            until: Some(from + Duration::from_secs(1)),
        };
        (from, Measurements::new(window, Duration::from_millis(100)))
    }

    fn record(all: &Arc<Measurements>, calls: &[(Instant, Instant, Result<(), CallErrorKind>)]) {
        let mut recorder = all.recorder(0);
        for (due, ended, outcome) in calls {
            let outcome = outcome.map_err(|kind| CallError::new(kind, kind.name()));
            recorder.record(*due, *ended, 2, outcome);
        }
    }

    #[test]
    fn the_warm_up_is_acknowledged_and_not_measured() {
        let (from, all) = second();
        let ms = Duration::from_millis;
        record(
            &all,
            &[
                (from - ms(500), from - ms(1), Ok(())),
                (from - ms(400), from - ms(300), Err(CallErrorKind::Unknown)),
                (from + ms(1), from + ms(2), Ok(())),
            ],
        );
        let totals = all.totals();
        assert_eq!((totals.acknowledged, totals.unknown, totals.ops), (4, 2, 2));
        assert_eq!(totals.latencies.percentiles().max, Some(1_000));
        assert_eq!(totals.errors.iter().sum::<u64>(), 0);
    }

    #[test]
    fn what_ends_after_the_window_is_in_the_latencies_and_errors_and_not_in_the_throughput() {
        let (from, all) = second();
        let ms = Duration::from_millis;
        record(
            &all,
            &[
                (from + ms(900), from + ms(2_900), Ok(())),
                (from + ms(900), from + ms(1_900), Err(CallErrorKind::Busy)),
            ],
        );
        let totals = all.totals();
        assert_eq!((totals.acknowledged, totals.ops), (2, 0));
        assert!(
            totals
                .latencies
                .percentiles()
                .max
                .unwrap()
                .abs_diff(2_000_000)
                < 2_000
        );
        assert_eq!(totals.errors[CallErrorKind::Busy as usize], 2);
        assert_eq!(
            totals.messages[CallErrorKind::Busy as usize].as_deref(),
            Some("busy")
        );
        let slices = totals.slices.all();
        assert_eq!((slices.len(), slices[9].errors), (10, 2));
    }

    #[test]
    fn slices_add_up_to_the_whole() {
        let (from, all) = second();
        let calls: Vec<_> = (0..1_000)
            .map(|ms| {
                let due = from + Duration::from_millis(ms);
                (
                    due,
                    due,
                    if ms % 10 == 0 {
                        Err(CallErrorKind::Locked)
                    } else {
                        Ok(())
                    },
                )
            })
            .collect();
        record(&all, &calls);
        let totals = all.totals();
        assert_eq!((totals.ops, totals.errors[0]), (1_800, 200));
        let slices = totals.slices.all().iter();
        let slices: Vec<_> = slices.map(|slice| (slice.ops, slice.errors)).collect();
        assert_eq!(slices, [(180, 20); 10]);
        assert_eq!(all.longest_gap_ms(1_000_000), 1);
        assert_eq!(all.progress(), (1_800, 200));
    }
}
