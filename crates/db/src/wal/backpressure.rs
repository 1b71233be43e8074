//! Backpressure: how long the writer waits where a reader keeps the WAL from starting over.
//!
//! A WAL starts over only when all of it is in the database and no reader uses it. Beside a reader
//! that keeps a snapshot, a copy of a large database for example, SQLite can only let it grow. Disk is
//! cheaper than latency, so nothing happens up to half of the limit; from there on the writer waits
//! between its transactions, the longer the less room is left. Transactions become fewer and larger,
//! and no caller fails: where the limit is reached all the same, one transaction is run each time
//! that half of the callers' deadline has passed.

use std::path::Path;
use std::time::Duration;

use crate::files::free_bytes;

/// Bytes of a frame: a page of 4 KiB and its header.
const FRAME_BYTES: u64 = 4_096 + 24;

/// The limit where none is set, and the share of the free disk that it may take at most.
const DEFAULT_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
const SHARE_OF_FREE_DISK: u64 = 10;

/// For how long the room that is left is to last.
const HORIZON: Duration = Duration::from_secs(30);

/// The limit for the database at `path` where none is set: 1 GiB, or a tenth of the disk's free room.
pub(crate) fn default_limit_bytes(path: &Path) -> u64 {
    let free = path.parent().and_then(free_bytes).unwrap_or(u64::MAX);
    DEFAULT_LIMIT_BYTES.min(free / SHARE_OF_FREE_DISK)
}

/// How fast a WAL that cannot start over may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backpressure {
    limit_frames: i64,
}

impl Backpressure {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_frames: i64::try_from(limit_bytes / FRAME_BYTES).unwrap_or(i64::MAX),
        }
    }

    pub(crate) const fn limit_frames(self) -> i64 {
        self.limit_frames
    }

    /// Whether a WAL of so many frames slows its writers down.
    pub(crate) const fn applies_to(self, frames: i64) -> bool {
        frames > self.limit_frames / 2
    }

    /// How long to wait after a transaction, until the WAL can start over at the latest. The WAL has
    /// `frames` now, and had `added` fewer after the transaction before: those of other processes
    /// count, so that all writers together grow it as slowly as one would. The room that is left then
    /// shrinks by the same share in each second, whatever the size of transactions.
    pub(crate) fn pause(self, frames: i64, added: i64) -> Duration {
        if !self.applies_to(frames) {
            return Duration::ZERO;
        }
        let left = u32::try_from(self.limit_frames - frames).unwrap_or(0);
        let added = u32::try_from(added.max(1)).unwrap_or(u32::MAX);
        HORIZON
            .saturating_mul(added)
            .checked_div(left)
            .unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 * 1024 * 1024;
    const DEADLINE: Duration = Duration::from_secs(30);

    /// How far beyond its limit a WAL gets in ten minutes in which it cannot start over, in transactions
    /// of `own` frames that take a millisecond each, of so many processes; and when the limit is reached.
    fn grown(processes: usize, own: i64) -> (i64, Option<Duration>) {
        let backpressure = Backpressure::new(LIMIT);
        let mut frames = 0;
        let mut reached = None;
        // When each goes on, and the WAL's length after its transaction before.
        let mut writers = vec![(Duration::ZERO, 0); processes];
        let mut now = Duration::ZERO;
        while now < Duration::from_mins(10) {
            let (next, before) = writers.iter_mut().min().unwrap();
            now = now.max(*next) + Duration::from_millis(1);
            frames += own;
            if frames > backpressure.limit_frames {
                reached.get_or_insert(now);
            }
            *next = now
                + backpressure
                    .pause(frames, frames - *before)
                    .min(DEADLINE / 2);
            *before = frames;
        }
        (frames - backpressure.limit_frames, reached)
    }

    #[test]
    fn a_wal_stays_within_its_limit_whatever_the_size_of_transactions() {
        for own in [3, 30, 130, 1_500] {
            let (beyond, reached) = grown(1, own);
            assert!(
                reached.is_none_or(|at| at > Duration::from_secs(20)),
                "{own}: {reached:?}"
            );
            // As long as callers wait: then one transaction in each half of their deadline.
            assert!(beyond <= own * 40, "{own}: {beyond}");
        }
    }

    #[test]
    fn processes_that_share_a_wal_keep_it_within_its_limit_together() {
        for (processes, own) in [(2, 130), (4, 130), (8, 63), (16, 63)] {
            let (_, reached) = grown(processes, own);
            assert!(
                reached.is_none_or(|at| at > Duration::from_secs(30)),
                "{processes} x {own}: {reached:?}"
            );
        }
    }

    #[test]
    fn up_to_half_of_the_limit_nobody_waits_and_beyond_it_until_it_is_relieved() {
        let backpressure = Backpressure::new(LIMIT);
        let limit = i64::try_from(LIMIT / FRAME_BYTES).unwrap();
        assert_eq!(backpressure.pause(limit / 2, 1_000), Duration::ZERO);
        assert!(backpressure.pause(limit / 2 + 1, 1) > Duration::ZERO);
        assert!(backpressure.pause(limit - 1, 1) >= HORIZON);
        assert_eq!(backpressure.pause(limit, 1), Duration::MAX);
        assert_eq!(backpressure.pause(limit * 10, 1_000), Duration::MAX);
        assert_eq!(
            Backpressure::new(u64::MAX).pause(1 << 40, 9),
            Duration::ZERO
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_default_leaves_most_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path()).unwrap();
        let limit = default_limit_bytes(&folder.path().join("roas.db"));
        assert!(
            limit > 0 && limit <= DEFAULT_LIMIT_BYTES && limit <= free,
            "{limit} {free}"
        );
    }
}
