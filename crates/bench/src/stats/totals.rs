//! Sums over workers.

use super::histogram::Latencies;
use super::slices::Slices;
use crate::engine::CallErrorKind;

/// Sums over some workers.
#[derive(Debug)]
pub struct Totals {
    /// Operations acknowledged from the first to the last, warm-up included.
    pub acknowledged: u64,
    /// Operations whose outcome is unknown, warm-up included.
    pub unknown: u64,
    /// Operations acknowledged in the window.
    pub ops: u64,
    /// Failed operations, by the index of their kind.
    pub errors: [u64; CallErrorKind::ALL.len()],
    /// What the first failure of each kind said.
    pub messages: [Option<String>; CallErrorKind::ALL.len()],
    /// The latencies.
    pub latencies: Latencies,
    /// The slices of the window.
    pub slices: Slices,
    /// When the last operation was answered, after the window's start.
    pub last_us: u64,
}

/// One call that was answered.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) ended_us: u64,
    /// The same within the window: what ended after it counts to its last slice.
    pub(super) within_us: u64,
    pub(super) latency_us: u64,
    pub(super) operations: u64,
    pub(super) failure: Option<CallErrorKind>,
    pub(super) in_window: bool,
}

impl Totals {
    /// Nothing yet, in slices of this length at first.
    pub(super) fn new(slice_us: u64) -> Self {
        Self {
            acknowledged: 0,
            unknown: 0,
            ops: 0,
            errors: Default::default(),
            messages: Default::default(),
            latencies: Latencies::new(),
            slices: Slices::of(slice_us),
            last_us: 0,
        }
    }

    pub(super) fn take(&mut self, sample: &Sample) {
        let slice = self.slices.at(sample.within_us);
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
        self.slices.add(&other.slices);
        self.last_us = self.last_us.max(other.last_us);
    }
}
