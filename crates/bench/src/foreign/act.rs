//! Foreign processes that hold what others need: the write lock, and snapshots.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rusqlite::Connection;

use super::ForeignCommand;
use super::serve::{Act, Done, Stop, hold};
use crate::engine::BoxError;

/// For how long the write lock is held, and left alone, in milliseconds.
const LOCK_MS: std::ops::RangeInclusive<u64> = 200..=2_000;

/// From one checkpoint to the next, in milliseconds.
const CHECKPOINT_PAUSE_MS: std::ops::RangeInclusive<u64> = 100..=1_000;

/// How long a TRUNCATE waits for readers. It holds the write lock meanwhile.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(1);

/// From one snapshot to the next.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the write lock.
#[derive(Debug)]
pub(super) struct Locking {
    connection: Connection,
    rng: Rng,
}

impl Locking {
    pub(super) fn new(
        mut connection: Connection,
        order: &ForeignCommand,
    ) -> Result<Self, BoxError> {
        // SQLite's own handler comes by every 100 ms in the end, and finds the lock taken every
        // time where the writers are busy.
        connection.busy_handler(Some(|_| {
            thread::sleep(Duration::from_millis(1));
            true
        }))?;
        Ok(Self {
            connection,
            rng: Rng::with_seed(order.seed ^ 0x10c),
        })
    }
}

impl Act for Locking {
    fn act(&mut self, stop: &Stop) -> Result<Done, BoxError> {
        let time = Duration::from_millis(self.rng.u64(LOCK_MS));
        let (took, _) = hold(&self.connection, "BEGIN IMMEDIATE", || Ok(stop.wait(time)))?;
        Ok(Done {
            took,
            cut_short: false,
            problems: Vec::new(),
        })
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(LOCK_MS))
    }
}

/// Cuts the WAL back.
#[derive(Debug)]
pub(super) struct Truncating {
    connection: Connection,
    rng: Rng,
}

impl Truncating {
    pub(super) fn new(connection: Connection, order: &ForeignCommand) -> Result<Self, BoxError> {
        connection.busy_timeout(CHECKPOINT_WAIT)?;
        Ok(Self {
            connection,
            rng: Rng::with_seed(order.seed ^ 0x7a1),
        })
    }
}

impl Act for Truncating {
    fn act(&mut self, _: &Stop) -> Result<Done, BoxError> {
        let since = Instant::now();
        let cut_short =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(Done {
            took: since.elapsed(),
            cut_short,
            problems: Vec::new(),
        })
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(CHECKPOINT_PAUSE_MS))
    }
}

/// Holds a snapshot.
#[derive(Debug)]
pub(super) struct Holding {
    connection: Connection,
    hold: Duration,
}

impl Holding {
    pub(super) const fn new(connection: Connection, order: &ForeignCommand) -> Self {
        Self {
            connection,
            hold: order.hold,
        }
    }

    /// What the snapshot holds.
    fn look(&self) -> Result<(i64, f64), BoxError> {
        let sql = "SELECT count(*), total(score) FROM activity_meter";
        let found = self
            .connection
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found)
    }
}

impl Act for Holding {
    const CHECKED: bool = true;

    fn act(&mut self, stop: &Stop) -> Result<Done, BoxError> {
        let (took, (before, after)) = hold(&self.connection, "BEGIN", || {
            let before = self.look()?;
            stop.wait(self.hold);
            Ok((before, self.look()?))
        })?;
        let is_same = before.0 == after.0 && before.1.to_bits() == after.1.to_bits();
        let changed = format!("a snapshot changed while it was held: {before:?}, then {after:?}");
        Ok(Done {
            took,
            cut_short: false,
            problems: Vec::from_iter((!is_same).then_some(changed)),
        })
    }

    fn pause(&mut self) -> Duration {
        SNAPSHOT_PAUSE
    }
}
