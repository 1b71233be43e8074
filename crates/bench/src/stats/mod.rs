//! Recording while a run is under way. What is saved of it is in [`crate::result`].

mod gaps;
mod histogram;
mod measurements;
mod slices;
mod tally;
mod totals;
mod usage;

pub use histogram::{InvalidHistogram, Latencies};
pub(crate) use measurements::micros;
pub use measurements::{Measurements, Recorder, Window};
pub use slices::{IntervalReport, Slices};
pub use tally::Tally;
pub use totals::Totals;
pub use usage::Usage;

/// Jain's index of fairness: (Σx)² / (n·Σx²). 1 where all are equal, 1/n where one has everything;
/// `None` for fewer than two, or where nobody has anything.
#[must_use]
pub fn jain(shares: &[f64]) -> Option<f64> {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    #[expect(clippy::cast_precision_loss, reason = "shares are few")]
    let n = shares.len() as f64;
    (shares.len() > 1 && squares > 0.0).then(|| sum * sum / (n * squares))
}

/// The median; of an even number of figures the mean of the middle two.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        n if n % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9)
    }

    #[test]
    fn fairness_is_one_for_equals_and_one_nth_for_a_monopoly() {
        assert!(close(jain(&[5.0; 8]), 1.0));
        assert!(close(jain(&[5.0, 0.0, 0.0, 0.0]), 0.25));
        assert!(close(jain(&[1.0, 3.0]), 0.8));
        assert_eq!(jain(&[5.0]), None);
        assert_eq!(jain(&[0.0, 0.0]), None);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert!(close(median(vec![3.0, 1.0, 2.0]), 2.0));
        assert!(close(median(vec![4.0, 1.0]), 2.5));
    }
}
