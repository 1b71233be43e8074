//! What one process reports to the one that started it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reader::Reads;
use crate::engine::{CallErrorKind, Counters, Description, Read};
use crate::stats::{Latencies, Measurements, Slices};

/// What one process did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessReport {
    /// Operations acknowledged from the first to the last, warm-up included.
    pub acknowledged: u64,
    /// Operations whose outcome is unknown, warm-up included.
    pub unknown: u64,
    /// Operations acknowledged in the window.
    pub ops: u64,
    /// Failed operations by kind.
    pub errors: BTreeMap<String, u64>,
    /// What the first failure of each kind said.
    pub messages: BTreeMap<String, String>,
    /// The latencies.
    pub latencies: Latencies,
    /// The latencies of the reads by kind.
    pub reads: BTreeMap<String, Latencies>,
    /// The slices of the window.
    pub slices: Slices,
    /// The length of the window.
    pub window_us: u64,
    /// The longest time in it without an acknowledged operation.
    pub longest_gap_ms: u64,
    /// Processor time over the window.
    pub cpu_s: f64,
    /// The most memory that was resident.
    pub max_rss_bytes: u64,
    /// What the engine did over the window.
    pub counters: Option<Counters>,
    /// How long the oldest operation of each transaction waited in the engine's queue, over the
    /// window.
    pub queue_waits: Option<Latencies>,
    /// What the engine runs on.
    pub description: Description,
}

impl ProcessReport {
    pub(super) fn new(
        all: &Arc<Measurements>,
        description: Description,
        counters: Option<Counters>,
    ) -> Self {
        let totals = all.totals();
        let window_us = all.window().length().map_or(totals.last_us, |length| {
            u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
        });
        let kinds = || CallErrorKind::ALL.iter().map(|kind| kind.name().to_owned());
        let errors = kinds().zip(totals.errors).filter(|(_, errors)| *errors > 0);
        let messages = kinds().zip(totals.messages);
        Self {
            acknowledged: totals.acknowledged,
            unknown: totals.unknown,
            ops: totals.ops,
            errors: errors.collect(),
            messages: messages
                .filter_map(|(kind, said)| Some((kind, said?)))
                .collect(),
            latencies: totals.latencies,
            reads: BTreeMap::new(),
            slices: totals.slices,
            window_us,
            longest_gap_ms: all.longest_gap_ms(window_us),
            cpu_s: 0.0,
            max_rss_bytes: 0,
            counters,
            queue_waits: None,
            description,
        }
    }

    pub(super) fn add_reads(&mut self, readers: Vec<Reads>) {
        for reads in readers {
            for (kind, latencies) in Read::KINDS.into_iter().zip(&reads) {
                self.reads
                    .entry(kind.to_owned())
                    .or_default()
                    .add(latencies);
            }
        }
    }
}
