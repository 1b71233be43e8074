//! How long calls took: a recorder over a histogram, and the percentiles that it comes to.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The least and the greatest latency that are told apart: 1 µs and 60 s. What lies beyond is
/// recorded as the bound.
const BOUNDS_MICROS: (u64, u64) = (1, 60_000_000);

/// Digits that percentiles keep: they are off by less than a thousandth, at 136 KiB a recorder.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Collects latencies in constant memory.
///
/// ```
/// use std::time::Duration;
/// use roas_app::latency::LatencyRecorder;
///
/// let mut recorder = LatencyRecorder::new();
/// recorder.record(Duration::from_micros(250));
/// let summary = recorder.summary();
/// assert_eq!((summary.p50, summary.p99, summary.max), (Some(250), None, Some(250)));
/// ```
#[derive(Debug, Clone)]
pub struct LatencyRecorder {
    histogram: Histogram<u64>,
    /// The histogram knows its maximum only to its own precision.
    max_micros: u64,
}

impl LatencyRecorder {
    /// A recorder without samples.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "the histogram accepts these constants"
    )]
    pub fn new() -> Self {
        let (least, greatest) = BOUNDS_MICROS;
        let histogram = Histogram::new_with_bounds(least, greatest, SIGNIFICANT_DIGITS)
            .expect("constants that the histogram accepts");
        Self {
            histogram,
            max_micros: 0,
        }
    }

    /// Adds one sample, cut off to whole microseconds.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Adds `samples` samples of the same latency, as of the events that one call carried.
    pub fn record_many(&mut self, latency: Duration, samples: u64) {
        if samples == 0 {
            return;
        }
        let (least, greatest) = BOUNDS_MICROS;
        let micros = u64::try_from(latency.as_micros())
            .unwrap_or(greatest)
            .clamp(least, greatest);
        self.histogram.saturating_record_n(micros, samples);
        self.max_micros = self.max_micros.max(micros);
    }

    /// Adds what another recorder collected.
    #[expect(
        clippy::missing_panics_doc,
        reason = "all recorders have the same bounds"
    )]
    pub fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("all recorders have the same bounds and precision");
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.histogram.len()
    }

    /// The percentiles of the samples so far.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let samples = self.samples();
        let quantile = |quantile: f64, at_least: u64| {
            (samples >= at_least).then(|| {
                self.histogram
                    .value_at_quantile(quantile)
                    .min(self.max_micros)
            })
        };
        LatencySummary {
            p50: quantile(0.5, 1),
            p95: quantile(0.95, 20),
            p99: quantile(0.99, 100),
            p999: quantile(0.999, 1_000),
            max: (samples > 0).then_some(self.max_micros),
        }
    }
}

impl Default for LatencyRecorder {
    fn default() -> Self {
        Self::new()
    }
}

/// Latencies in microseconds, from 1 µs to 60 s; longer ones count as 60 s.
///
/// A percentile is there only where at least one sample lies beyond it: with fewer, it would be the
/// maximum by another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LatencySummary {
    /// Half of the samples took no longer. From one sample on.
    pub p50: Option<u64>,
    /// 95 % of the samples took no longer. From 20 samples on.
    pub p95: Option<u64>,
    /// 99 % of the samples took no longer. From 100 samples on.
    pub p99: Option<u64>,
    /// 99.9 % of the samples took no longer. From 1,000 samples on.
    pub p999: Option<u64>,
    /// The longest. From one sample on; exact up to 60 s.
    pub max: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(micros: impl IntoIterator<Item = u64>) -> LatencyRecorder {
        let mut recorder = LatencyRecorder::new();
        for micros in micros {
            recorder.record(Duration::from_micros(micros));
        }
        recorder
    }

    #[test]
    fn without_samples_nothing_is_claimed() {
        assert_eq!(LatencyRecorder::new().summary(), LatencySummary::default());
        let mut recorder = LatencyRecorder::new();
        recorder.record_many(Duration::from_secs(1), 0);
        assert_eq!(recorder.summary(), LatencySummary::default());
    }

    #[test]
    fn a_percentile_appears_with_the_samples_that_support_it() {
        let present = |samples: u64| {
            let LatencySummary {
                p50,
                p95,
                p99,
                p999,
                max,
            } = recorder(1..=samples).summary();
            [p50, p95, p99, p999, max].map(|value| value.is_some())
        };
        assert_eq!(present(1), [true, false, false, false, true]);
        assert_eq!(present(19), [true, false, false, false, true]);
        assert_eq!(present(20), [true, true, false, false, true]);
        assert_eq!(present(99), [true, true, false, false, true]);
        assert_eq!(present(100), [true, true, true, false, true]);
        assert_eq!(present(999), [true, true, true, false, true]);
        assert_eq!(present(1_000), [true; 5]);
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let summary = recorder(1..=1_000).summary();
        assert_eq!((summary.p50, summary.p95), (Some(500), Some(950)));
        assert_eq!(
            (summary.p99, summary.p999, summary.max),
            (Some(990), Some(999), Some(1_000))
        );
    }

    #[test]
    fn what_lies_beyond_the_bounds_counts_as_the_bound() {
        let mut recorder = LatencyRecorder::new();
        recorder.record(Duration::ZERO);
        assert_eq!(recorder.summary().max, Some(1));
        recorder.record(Duration::MAX);
        assert_eq!(
            (recorder.samples(), recorder.summary().max),
            (2, Some(60_000_000))
        );
    }

    #[test]
    fn no_percentile_exceeds_the_longest() {
        let mut recorder = LatencyRecorder::new();
        recorder.record_many(Duration::from_micros(4_097_001), 1_000);
        let summary = recorder.summary();
        assert_eq!(
            (summary.p999, summary.max),
            (Some(4_097_001), Some(4_097_001))
        );
    }

    #[test]
    fn merging_is_recording_it_all_in_one() {
        let mut merged = recorder(1..=400);
        merged.merge(&recorder(401..=1_000));
        assert_eq!(merged.summary(), recorder(1..=1_000).summary());
        merged.merge(&LatencyRecorder::new());
        assert_eq!(merged.samples(), 1_000);
    }
}
