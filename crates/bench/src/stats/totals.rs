//! Sums over workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Latencies;
use super::tally::Tally;
use crate::engine::FailureKind;

/// Sums over some workers.
#[derive(Debug, Default)]
pub struct Totals {
    /// Operations acknowledged from the first to the last, warm-up included.
    pub acknowledged: u64,
    /// Operations whose outcome is unknown, warm-up included.
    pub unknown: u64,
    /// Operations acknowledged in the window.
    pub ops: u64,
    /// Failed operations, by the index of their kind.
    pub errors: [u64; FailureKind::ALL.len()],
    /// What the first failure of each kind said.
    pub messages: [Option<String>; FailureKind::ALL.len()],
    /// The latencies.
    pub latencies: Latencies,
    /// The slices of the window.
    pub intervals: Vec<IntervalReport>,
    /// When the last operation was answered, after the window's start.
    pub last_us: u64,
}

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
    pub told: BTreeMap<String, Tally>,
}

impl Default for IntervalReport {
    fn default() -> Self {
        Self {
            ops: 0,
            errors: 0,
            latencies: Latencies::coarse(),
            told: BTreeMap::new(),
        }
    }
}

impl IntervalReport {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.errors += other.errors;
        self.latencies.add(&other.latencies);
        for (name, tally) in &other.told {
            self.told.entry(name.clone()).or_default().merge(tally);
        }
    }
}

/// One call that was answered.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) ended_us: u64,
    pub(super) latency_us: u64,
    pub(super) operations: u64,
    pub(super) failure: Option<FailureKind>,
    pub(super) in_window: bool,
}

impl Totals {
    pub(super) fn take(&mut self, sample: &Sample, interval: usize) {
        if self.intervals.len() <= interval {
            self.intervals
                .resize_with(interval + 1, IntervalReport::default);
        }
        let slice = &mut self.intervals[interval];
        self.last_us = self.last_us.max(sample.ended_us);
        if let Some(kind) = sample.failure {
            self.errors[kind as usize] += sample.operations;
            slice.errors += sample.operations;
            return;
        }
        self.latencies.record(sample.latency_us);
        slice.latencies.record(sample.latency_us);
        if sample.in_window {
            self.ops += sample.operations;
            slice.ops += sample.operations;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.ops += other.ops;
        for (sum, errors) in self.errors.iter_mut().zip(other.errors) {
            *sum += errors;
        }
        for (message, other) in self.messages.iter_mut().zip(&other.messages) {
            if message.is_none() {
                message.clone_from(other);
            }
        }
        self.latencies.add(&other.latencies);
        if self.intervals.len() < other.intervals.len() {
            self.intervals
                .resize_with(other.intervals.len(), IntervalReport::default);
        }
        for (sum, interval) in self.intervals.iter_mut().zip(&other.intervals) {
            sum.add(interval);
        }
        self.last_us = self.last_us.max(other.last_us);
    }
}
