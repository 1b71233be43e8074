//! The longest time in which nothing was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};

/// The milliseconds of a window in which something was acknowledged: a bit for each.
///
/// Shared by all workers of a process. A millisecond's bit is written once and only read after
/// that, so that it costs a worker next to nothing.
#[derive(Debug)]
pub(super) struct Gaps {
    bits: Vec<AtomicU64>,
}

/// As much as is kept of a run whose length is not known beforehand.
const LONGEST_MS: u64 = 3_600_000;

impl Gaps {
    /// For a window of this length, or for an hour.
    pub(super) fn new(window_ms: Option<u64>) -> Self {
        let ms = window_ms.unwrap_or(LONGEST_MS);
        let words = usize::try_from(ms / 64 + 1).unwrap_or(0);
        Self {
            bits: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Something was acknowledged, so long after the window's start.
    pub(super) fn acknowledged(&self, at_ms: u64) {
        let word = usize::try_from(at_ms / 64)
            .ok()
            .and_then(|index| self.bits.get(index));
        let bit = 1 << (at_ms % 64);
        if let Some(word) = word
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The longest time without, in the window's first `window_ms`, its ends included.
    pub(super) fn longest_ms(&self, window_ms: u64) -> u64 {
        let (mut longest, mut current) = (0, 0);
        for at_ms in 0..window_ms {
            let word = usize::try_from(at_ms / 64)
                .ok()
                .and_then(|index| self.bits.get(index));
            let Some(word) = word else { break };
            if word.load(Ordering::Relaxed) >> (at_ms % 64) & 1 == 1 {
                current = 0;
            } else {
                current += 1;
                longest = longest.max(current);
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_found_wherever_it_is() {
        let gaps = Gaps::new(Some(1_000));
        assert_eq!(gaps.longest_ms(1_000), 1_000);
        gaps.acknowledged(400);
        gaps.acknowledged(500);
        assert_eq!(gaps.longest_ms(1_000), 499);
        gaps.acknowledged(900);
        assert_eq!(gaps.longest_ms(1_000), 400);
        for at in 0..1_000 {
            gaps.acknowledged(at);
        }
        assert_eq!(gaps.longest_ms(1_000), 0);
        gaps.acknowledged(1_000_000);
    }
}
