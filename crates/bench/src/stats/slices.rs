//! The window in slices, in memory that has a bound however long it lasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Latencies;
use super::tally::Tally;

/// How many slices there are at most. Each has a histogram of 20 KiB, in every shard of a process: a
/// slice for every quarter of a second of a quarter of an hour was 390 MiB.
const MOST: usize = 120;

/// A slice of the window, as processes report it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IntervalReport {
    /// Operations acknowledged.
    pub ops: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Their latencies.
    pub latencies: Latencies,
    /// What the engine told of its metrics meanwhile, by their names.
    pub metrics: BTreeMap<String, Tally>,
}

impl Default for IntervalReport {
    fn default() -> Self {
        Self {
            ops: 0,
            errors: 0,
            latencies: Latencies::coarse(),
            metrics: BTreeMap::new(),
        }
    }
}

impl IntervalReport {
    /// Adds another's.
    fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.errors += other.errors;
        self.latencies.add(&other.latencies);
        self.add_metrics(&other.metrics);
    }

    /// Adds what the engine told.
    pub fn add_metrics(&mut self, metrics: &BTreeMap<String, Tally>) {
        for (name, tally) in metrics {
            self.metrics.entry(name.clone()).or_default().merge(tally);
        }
    }
}

/// Slices of equal length, from the window's start on. Where there would be too many, two at a time
/// become one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slices {
    length_us: u64,
    slices: Vec<IntervalReport>,
}

impl Slices {
    /// None yet; the first ones are so long.
    #[must_use]
    pub const fn of(length_us: u64) -> Self {
        Self {
            length_us,
            slices: Vec::new(),
        }
    }

    /// How long each is, in microseconds.
    #[must_use]
    pub const fn length_us(&self) -> u64 {
        self.length_us
    }

    /// Those that there are.
    #[must_use]
    pub fn all(&self) -> &[IntervalReport] {
        &self.slices
    }

    /// The slice that so long after the window's start belongs to.
    pub fn at(&mut self, at_us: u64) -> &mut IntervalReport {
        let mut index = usize::try_from(at_us / self.length_us).unwrap_or(usize::MAX);
        while index >= MOST {
            self.halve();
            index /= 2;
        }
        if self.slices.len() <= index {
            self.slices.resize_with(index + 1, IntervalReport::default);
        }
        &mut self.slices[index]
    }

    /// Adds another's, which began as long as these, and may have grown longer.
    pub fn add(&mut self, other: &Self) {
        while self.length_us < other.length_us {
            self.halve();
        }
        for (place, slice) in (0..).zip(&other.slices) {
            self.at(place * other.length_us).add(slice);
        }
    }

    fn halve(&mut self) {
        self.length_us = self.length_us.saturating_mul(2);
        let mut merged = Vec::with_capacity(MOST);
        let mut slices = std::mem::take(&mut self.slices).into_iter();
        while let Some(mut slice) = slices.next() {
            if let Some(next) = slices.next() {
                slice.add(&next);
            }
            merged.push(slice);
        }
        self.slices = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH_US: u64 = 1_000;

    /// Slices of which the one of each millisecond given has one operation.
    fn with_ops(ms: impl IntoIterator<Item = u64>) -> Slices {
        let mut slices = Slices::of(LENGTH_US);
        for ms in ms {
            let slice = slices.at(ms * LENGTH_US);
            slice.ops += 1;
            slice.latencies.record(ms + 1);
            let tally = Tally {
                count: 1,
                sum: 1.0,
                max: 1.0,
            };
            slice.add_metrics(&[("depth".to_owned(), tally)].into());
        }
        slices
    }

    fn ops(slices: &Slices) -> Vec<u64> {
        slices.all().iter().map(|slice| slice.ops).collect()
    }

    #[test]
    fn up_to_the_most_each_is_as_long_as_it_was_asked_to_be() {
        let slices = with_ops(0..MOST as u64);
        assert_eq!(slices.length_us(), LENGTH_US);
        assert_eq!(ops(&slices), [1; MOST]);
    }

    #[test]
    fn a_window_of_any_length_has_no_more_and_loses_nothing() {
        const MS: u64 = 100_000;
        let slices = with_ops(0..MS);
        assert!(slices.all().len() <= MOST);
        assert!(slices.all().len() > MOST / 2);
        assert_eq!(ops(&slices).iter().sum::<u64>(), MS);
        let of_one = slices.length_us() / LENGTH_US;
        assert_eq!(of_one, 1_024);
        assert_eq!(slices.all()[3].ops, of_one);
        let samples = slices.all().iter().map(|slice| slice.latencies.samples());
        assert_eq!(samples.sum::<u64>(), MS);
        let counts = slices
            .all()
            .iter()
            .map(|slice| slice.metrics["depth"].count);
        assert_eq!(counts.sum::<u64>(), MS);
        // In their places: a latency tells when it was.
        let first = slices.all()[0].latencies.percentiles();
        assert!(first.max.unwrap() <= of_one + of_one / 50, "{first:?}");
    }

    #[test]
    fn processes_that_ran_for_different_times_add_up_in_the_longer_slices() {
        let most = MOST as u64;
        let (short, long) = (with_ops(0..10), with_ops(0..most * 3));
        for (one, other) in [(&short, &long), (&long, &short)] {
            let mut both = one.clone();
            both.add(other);
            assert_eq!(both.length_us(), 4 * LENGTH_US);
            assert_eq!(ops(&both)[..4], [8, 8, 6, 4]);
            assert_eq!(ops(&both).iter().sum::<u64>(), most * 3 + 10);
        }
    }
}
