//! Checkpoints: copying what the WAL holds into the database.
//!
//! A passive checkpoint blocks neither readers nor writers. Beside a writer that never pauses it never
//! catches up with the last frames, and a WAL starts over only when all of it is copied. So there are two
//! steps: the maintenance thread copies most of it, syncs included, and where the WAL still grows to its
//! ceiling, the writer copies the small rest between two of its transactions.
//!
//! Where a reader keeps the WAL from starting over, it grows; `backpressure` says how long the writer then
//! waits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row, ffi};

use crate::metrics::{By, DbMetrics};
use crate::wal;
use crate::wal::backpressure::Backpressure;
use crate::wal::index::WalIndex;

/// The number of frames (pages of 4 KiB) not yet in the database at which the maintenance thread copies
/// them: SQLite's own default.
const CHECKPOINT_FRAMES: i64 = 1_000;

/// The number of frames in the WAL at which the writer copies, too: 16 MiB.
const CEILING_FRAMES: i64 = 4_096;

/// How far a WAL has been copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalState {
    pub(crate) frames: i64,
    pub(crate) copied: i64,
}

impl WalState {
    /// As SQLite reports it.
    const UNKNOWN: Self = Self {
        frames: -1,
        copied: -1,
    };

    /// Whether the state is unknown, because another checkpoint is running.
    pub(crate) const fn is_unknown(self) -> bool {
        self.frames < 0
    }

    /// Whether the next transaction can start the WAL over, where no reader uses it.
    pub(crate) const fn is_copied(self) -> bool {
        !self.is_unknown() && self.copied >= self.frames
    }

    /// Copies what can be copied without waiting. Where a reader still needs old frames, the state says so;
    /// that is no error.
    pub(crate) fn after_copying(connection: &Connection) -> rusqlite::Result<Self> {
        if !may_copy(connection)? {
            return Ok(Self::UNKNOWN);
        }
        Self::from(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// Copies all, and truncates the WAL file to zero bytes. Waits for readers, under the busy handler, while
    /// it holds the write lock; fails where it times out.
    pub(crate) fn after_truncating(connection: &Connection) -> rusqlite::Result<Self> {
        let statement = &mut connection.prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?;
        let held = || {
            let busy = ffi::Error::new(ffi::SQLITE_BUSY);
            rusqlite::Error::SqliteFailure(busy, None)
        };
        if !may_copy(connection)? {
            return Err(held());
        }
        let (busy, wal) = statement.query_row([], |row| Ok((row.get(0)?, Self::from_row(row)?)))?;
        if busy { Err(held()) } else { Ok(wal) }
    }

    /// Reads the state without copying; works beside another checkpoint.
    pub(crate) fn now(connection: &Connection) -> rusqlite::Result<Self> {
        Self::from(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    fn from(connection: &Connection, checkpoint: &str) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(checkpoint)?
            .query_row([], Self::from_row)
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (frames, copied) = (row.get(1)?, row.get(2)?);
        Ok(Self { frames, copied })
    }
}

/// Whether the WAL that the connection has open holds what is to be copied: from one that was truncated
/// and written to again, SQLite would copy a hole into the database. Beside a writer it may answer `false`
/// where all is well; then there is another checkpoint.
fn may_copy(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(match WalIndex::of(connection)? {
        Some(index) => index.is_copied() || index.is_in_wal_of(connection, None)?,
        None => true,
    })
}

/// Lets one thread of a database checkpoint at a time. SQLite refuses a second checkpoint at once, without
/// calling the busy handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckpointMutex(Arc<Mutex<()>>);

impl CheckpointMutex {
    /// Waits until the other thread's checkpoint has ended, and locks.
    pub(crate) fn wait(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks; `None` while the other thread checkpoints.
    fn take(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Monitors the WAL for the writer.
pub(crate) struct WalMonitor {
    /// Requests a checkpoint by the maintenance thread, without waiting.
    ask: Box<dyn Fn() + Send>,
    /// The WAL's length at the writer's last checkpoint, so that a reader that prevents a whole one does not
    /// cost a checkpoint with every commit.
    checkpointed_at: i64,
    backpressure: Backpressure,
    /// The WAL's length after the transaction before.
    frames: i64,
    /// Whether it was logged that the writer is slowed down.
    is_logged: bool,
    turn: CheckpointMutex,
}

impl WalMonitor {
    pub(crate) fn new(
        backpressure: Backpressure,
        turn: CheckpointMutex,
        ask: impl Fn() + Send + 'static,
    ) -> Self {
        Self {
            ask: Box::new(ask),
            turn,
            checkpointed_at: 0,
            backpressure,
            frames: 0,
            is_logged: false,
        }
    }

    /// Checks the WAL after a commit, and checkpoints where it has grown. Returns how long to wait before the
    /// next transaction (backpressure); an error where a sync failed.
    pub(crate) fn after_commit(
        &mut self,
        connection: &Connection,
        meters: &DbMetrics,
    ) -> rusqlite::Result<Duration> {
        // The next statement reports the error.
        let Ok(wal) = WalState::now(connection) else {
            return Ok(Duration::ZERO);
        };
        let added = wal.frames - std::mem::replace(&mut self.frames, wal.frames);
        if wal.frames < self.checkpointed_at {
            self.checkpointed_at = 0;
        }
        if wal.frames - wal.copied >= CHECKPOINT_FRAMES {
            (self.ask)();
        }
        if wal.frames >= CEILING_FRAMES && wal.frames - self.checkpointed_at >= CHECKPOINT_FRAMES {
            self.checkpointed_at = wal.frames;
            let copied = self
                .copy(connection)
                .inspect_err(|error| tracing::warn!(%error, "the writer's checkpoint failed"));
            meters.checkpointed(By::Writer, copied.as_ref().ok().copied(), Instant::now());
            refuse_failed_sync(copied)?;
        }
        if !self.backpressure.applies_to(wal.frames) {
            self.is_logged = false;
        }
        Ok(self.backpressure.pause(wal.frames, added))
    }

    /// Has the maintenance thread look at what there is to do.
    pub(crate) fn wake_maintenance(&self) {
        (self.ask)();
    }

    /// Waits until the maintenance thread's checkpoint has ended, and makes one.
    pub(crate) fn copy_in_turn(&self, connection: &Connection) -> rusqlite::Result<WalState> {
        let _turn = self.turn.wait();
        WalState::after_copying(connection)
    }

    /// Copies what can be copied; returns whether the WAL can start over. An error where a sync failed.
    pub(crate) fn can_restart(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some(wal) = refuse_failed_sync(self.copy(connection))? else {
            return Ok(false);
        };
        Ok(wal.is_copied())
    }

    /// Logs, once until the WAL is small again, that the writer waits.
    pub(crate) fn log_backpressure(&mut self) {
        if !std::mem::replace(&mut self.is_logged, true) {
            tracing::warn!(
                wal_frames = self.frames,
                limit_frames = self.backpressure.limit_frames(),
                "a reader keeps the WAL from starting over; writes are slowed down until it ends"
            );
        }
    }

    /// Moves all that the WAL holds into the database, and empties it, after a sync of it that may
    /// have failed.
    ///
    /// After a failed sync the kernel does not write the same pages again, keeps them in memory as if they
    /// were on the disk, and reports later syncs as successful. After a power cut the WAL would end at that
    /// place, and what was acknowledged after it would be lost. Writing the same bytes again does not help: on
    /// ext4, blocks that were allocated for a failed write read as zeros, whatever is written to them later.
    pub(crate) fn truncate_after_failed_sync(
        &self,
        connection: &Connection,
    ) -> rusqlite::Result<()> {
        let _turn = self.turn.wait();
        WalState::after_truncating(connection)?;
        wal::sync::sync(connection)
    }

    /// Copies what can be copied; nothing while the maintenance thread checkpoints.
    fn copy(&self, connection: &Connection) -> rusqlite::Result<WalState> {
        match self.turn.take() {
            Some(_turn) => WalState::after_copying(connection),
            None => Ok(WalState::UNKNOWN),
        }
    }
}

/// A checkpoint that was blocked or failed is retried, except where a sync failed: the kernel reports that
/// once, and what is committed from then on may not be on the disk although it was synced.
fn refuse_failed_sync(copied: rusqlite::Result<WalState>) -> rusqlite::Result<Option<WalState>> {
    match copied {
        Ok(wal) => Ok(Some(wal)),
        Err(error)
            if error
                .sqlite_error()
                .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_FSYNC) =>
        {
            Err(error)
        }
        Err(_) => Ok(None),
    }
}

impl fmt::Debug for WalMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalMonitor")
            .field("checkpointed_at", &self.checkpointed_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "several connections to one file, past the factory"
)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn watch(turn: &CheckpointMutex) -> WalMonitor {
        WalMonitor::new(Backpressure::new(u64::MAX), turn.clone(), || ())
    }

    /// SQLite answers a checkpoint beside another one with frames of -1, not with an error.
    #[test]
    fn a_wal_cannot_start_over_during_another_checkpoint() {
        thread_local! {
            static WRITER: RefCell<Option<Connection>> = const { RefCell::new(None) };
            static SEEN: Cell<Option<(bool, WalState)>> = const { Cell::new(None) };
        }
        fn look(writer: &Connection) -> (bool, WalState) {
            let relieved = watch(&CheckpointMutex::default())
                .can_restart(writer)
                .unwrap();
            (relieved, WalState::now(writer).unwrap())
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roas.db");
        let open = || Connection::open(&path).unwrap();
        let writer = open();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a);")
            .unwrap();
        let reader = open();
        reader.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1);").unwrap();
        WRITER.set(Some(writer));

        // It waits for the reader, and has the checkpoint's lock meanwhile.
        let mut copying = open();
        copying
            .busy_handler(Some(|_| {
                SEEN.set(WRITER.with_borrow(|writer| writer.as_ref().map(look)));
                false
            }))
            .unwrap();
        WalState::after_truncating(&copying).unwrap_err();
        let (relieved, beside) = SEEN.get().unwrap();
        assert!(!relieved);
        assert!(beside.frames > beside.copied, "{beside:?}");

        reader.execute_batch("COMMIT;").unwrap();
        let (relieved, _) = WRITER.with_borrow(|writer| look(writer.as_ref().unwrap()));
        assert!(relieved);
    }

    #[test]
    fn a_writer_does_not_wait_for_the_maintenance_threads_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Connection::open(folder.path().join("roas.db")).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a);")
            .unwrap();
        let turn = CheckpointMutex::default();
        let mut watch = watch(&turn);

        let maintenance = turn.wait();
        assert!(!watch.can_restart(&writer).unwrap());
        assert_eq!(WalState::now(&writer).unwrap().copied, 0);
        drop(maintenance);
        assert!(watch.can_restart(&writer).unwrap());
    }
}
