//! What a metric told, in few figures.

use serde::{Deserialize, Serialize};

use crate::result::MetricSummary;

/// Values that were told, of which none is kept.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The greatest; none is below 0.
    pub max: f64,
}

impl Tally {
    /// Adds one.
    pub fn add(&mut self, value: f64) {
        self.merge(&Self {
            count: 1,
            sum: value,
            max: value,
        });
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// What it comes to, where anything was told.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn summary(&self) -> Option<MetricSummary> {
        (self.count > 0).then(|| MetricSummary {
            count: self.count,
            mean: self.sum / self.count as f64,
            max: self.max,
        })
    }
}
