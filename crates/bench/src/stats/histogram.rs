//! Latencies, as an `HdrHistogram`: 1 µs to 60 s, longer ones counted as 60 s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::result::Percentiles;

const LEAST_US: u64 = 1;
const GREATEST_US: u64 = 60_000_000;

/// How many samples a percentile needs: fewer than 1/(1−p) do not reach past it.
const SAMPLES_FOR_P95: u64 = 20;
const SAMPLES_FOR_P99: u64 = 100;
const SAMPLES_FOR_P999: u64 = 1_000;

/// Latencies in microseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// The text is no encoded histogram.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a histogram in base64: {0}")]
pub struct InvalidHistogram(String);

impl Latencies {
    /// None yet; figures are exact to 0.1 %.
    #[must_use]
    pub fn new() -> Self {
        Self::with_digits(3)
    }

    /// None yet; figures are exact to 1 %, at a tenth of the memory.
    #[must_use]
    pub fn coarse() -> Self {
        Self::with_digits(2)
    }

    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(LEAST_US, GREATEST_US, digits);
        Self(histogram.expect("the bounds are valid"))
    }

    /// Adds one.
    pub fn record(&mut self, latency_us: u64) {
        self.0.saturating_record(latency_us.max(LEAST_US));
    }

    /// Adds all of another's.
    ///
    /// # Panics
    ///
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// Those that came after `earlier`, which are some of these.
    ///
    /// # Panics
    ///
    /// Where `earlier` has any that these have not.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.0.subtract(&earlier.0).expect("some of these");
        self
    }

    /// How many there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles that there are enough samples for.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let samples = self.samples();
        let at = |percentile: f64, needed: u64| {
            (samples >= needed).then(|| self.0.value_at_quantile(percentile).min(GREATEST_US))
        };
        Percentiles {
            samples,
            mean: (samples > 0).then(|| self.0.mean()),
            p50: at(0.5, 1),
            p95: at(0.95, SAMPLES_FOR_P95),
            p99: at(0.99, SAMPLES_FOR_P99),
            p999: at(0.999, SAMPLES_FOR_P999),
            max: (samples > 0).then(|| self.0.max().min(GREATEST_US)),
        }
    }

    /// The V2 encoding, as base64.
    ///
    /// # Panics
    ///
    /// Never: the encoding is written to memory.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        let written = V2Serializer::new().serialize(&self.0, &mut bytes);
        written.expect("memory takes everything");
        STANDARD.encode(bytes)
    }

    /// Latencies by percentile, for a chart: pairs of 1/(1 − percentile) and milliseconds, with
    /// `per_decade` points for each power of ten, up to what the number of samples supports.
    #[must_use]
    pub fn curve(&self, per_decade: i32) -> Vec<(f64, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "drawn for people")]
        let float = |number: u64| number as f64;
        let samples = float(self.0.len());
        let steps = (0..).map(|step| 10_f64.powf(f64::from(step) / f64::from(per_decade)));
        steps
            .take_while(|one_in| *one_in <= samples)
            .map(|one_in| {
                let us = self.0.value_at_quantile(1.0 - 1.0 / one_in).max(LEAST_US);
                (one_in, float(us) / 1e3)
            })
            .collect()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`InvalidHistogram`] for anything else.
    pub fn decode(text: &str) -> Result<Self, InvalidHistogram> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| InvalidHistogram(error.to_string()))?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| InvalidHistogram(error.to_string()))?;
        if (histogram.low(), histogram.high()) == (LEAST_US, GREATEST_US) {
            Ok(Self(histogram))
        } else {
            Err(InvalidHistogram(
                "its bounds are not 1 us to 60 s".to_owned(),
            ))
        }
    }
}

/// As its encoding.
impl Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: impl IntoIterator<Item = u64>) -> Latencies {
        let mut all = Latencies::new();
        latencies
            .into_iter()
            .for_each(|latency| all.record(latency));
        all
    }

    #[test]
    fn a_percentile_needs_the_samples_that_support_it() {
        let known = |samples| {
            let found = of((0..samples).map(|_| 10)).percentiles();
            assert_eq!(found.samples, samples);
            [found.p50, found.p95, found.p99, found.p999, found.max].map(|figure| figure.is_some())
        };
        assert_eq!(known(0), [false, false, false, false, false]);
        assert_eq!(known(1), [true, false, false, false, true]);
        assert_eq!(known(19), [true, false, false, false, true]);
        assert_eq!(known(20), [true, true, false, false, true]);
        assert_eq!(known(99), [true, true, false, false, true]);
        assert_eq!(known(100), [true, true, true, false, true]);
        assert_eq!(known(999), [true, true, true, false, true]);
        assert_eq!(known(1_000), [true, true, true, true, true]);
    }

    #[test]
    fn percentiles_are_where_they_belong() {
        let found = of(1..=1_000).percentiles();
        let figures = [found.p50, found.p95, found.p99, found.p999, found.max];
        assert_eq!(figures.map(Option::unwrap), [500, 950, 990, 999, 1_000]);
        assert!((found.mean.unwrap() - 500.5).abs() < 1.0);
    }

    #[test]
    fn what_came_before_is_taken_away_again() {
        let warm_up = of([9_000, 10]);
        let mut all = warm_up.clone();
        all.add(&of([20, 30]));
        let found = all.since(&warm_up).percentiles();
        assert_eq!((found.samples, found.max), (2, Some(30)));
    }

    #[test]
    fn the_ends_are_held() {
        let found = of([0, 3_600_000_000]).percentiles();
        assert_eq!((found.p50, found.max), (Some(1), Some(GREATEST_US)));
    }

    #[test]
    fn merging_and_encoding_lose_nothing() {
        let mut both = of(1..=500);
        both.add(&of(501..=1_000));
        let read = Latencies::decode(&both.encode()).unwrap();
        assert_eq!(read.percentiles(), of(1..=1_000).percentiles());
        let mut coarse = Latencies::coarse();
        coarse.record(1_234);
        let mut read = Latencies::decode(&coarse.encode()).unwrap();
        read.add(&coarse);
        assert_eq!(read.samples(), 2);
        assert!(Latencies::decode("not base64!").is_err());
        assert!(Latencies::decode("AAAA").is_err());
    }
}
