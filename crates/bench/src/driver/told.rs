//! What an engine tells of its metrics, in the slices of the window.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::stats::{Tally, Window};

/// Listens to an engine at the end of every slice.
#[derive(Debug)]
pub(super) struct Told {
    /// What was told in each of those that have ended.
    pub(super) slices: Vec<BTreeMap<String, Tally>>,
    length: Duration,
    until: Option<Instant>,
    /// When the slice that is under way ends; nothing after the window.
    ends: Option<Instant>,
}

impl Told {
    /// Of a window that begins now, in slices of this length.
    pub(super) fn new(window: Window, length: Duration) -> Self {
        let mut told = Self {
            slices: Vec::new(),
            length,
            until: window.until,
            ends: None,
        };
        told.ends = told.end_of_slice_from(window.from);
        told
    }

    fn end_of_slice_from(&self, start: Instant) -> Option<Instant> {
        let end = start + self.length;
        match self.until {
            Some(until) => (start < until).then_some(end.min(until)),
            None => Some(end),
        }
    }

    /// When to listen next, at the latest.
    pub(super) fn due(&self, tick: Instant) -> Instant {
        self.ends.map_or(tick, |ends| ends.min(tick))
    }

    /// Takes what was told where a slice has ended, or all is over. Who comes late by more than a
    /// slice finds all of it in the first.
    pub(super) fn listen(&mut self, engine: &dyn Engine, is_over: bool) {
        let now = Instant::now();
        let Some(ended) = self.ends.filter(|ends| *ends <= now || is_over) else {
            return;
        };
        self.slices.push(engine.told());
        self.ends = self.end_of_slice_from(ended);
        while let Some(ended) = self.ends.filter(|ends| *ends <= now) {
            self.slices.push(BTreeMap::new());
            self.ends = self.end_of_slice_from(ended);
        }
    }
}
