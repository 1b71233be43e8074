//! What an engine tells of its metrics, in the slices of the window.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::stats::{Slices, Window, micros};

/// Listens to an engine at the end of every slice.
#[derive(Debug)]
pub(super) struct MetricSlices {
    /// What was told in each of those that have ended.
    pub(super) slices: Slices,
    window: Window,
    /// When the slice that is under way began and ends; nothing after the window.
    current: Option<(Instant, Instant)>,
}

impl MetricSlices {
    /// Of a window that begins now, in slices of this length at first.
    pub(super) fn new(window: Window, length: Duration) -> Self {
        let mut slices = Self {
            slices: Slices::of(micros(length)),
            window,
            current: None,
        };
        slices.current = slices.slice_from(window.from);
        slices
    }

    fn slice_from(&self, start: Instant) -> Option<(Instant, Instant)> {
        let end = start + Duration::from_micros(self.slices.length_us());
        match self.window.until {
            Some(until) => (start < until).then_some((start, end.min(until))),
            None => Some((start, end)),
        }
    }

    /// When to listen next, at the latest.
    pub(super) fn due(&self, tick: Instant) -> Instant {
        self.current.map_or(tick, |(_, ends)| ends.min(tick))
    }

    /// Takes what was told where a slice has ended, or all is over. Who comes late by more than a
    /// slice finds all of it in the first.
    pub(super) fn listen(&mut self, engine: &dyn Engine, is_over: bool) {
        let now = Instant::now();
        let ended = |(_, ends): &(Instant, Instant)| *ends <= now || is_over;
        let Some((start, _)) = self.current.filter(ended) else {
            return;
        };
        let since_us = micros(start.duration_since(self.window.from));
        self.slices.at(since_us).add_metrics(&engine.take_metrics());
        while let Some((_, ends)) = self.current.filter(|(_, ends)| *ends <= now) {
            self.current = self.slice_from(ends);
        }
    }
}
