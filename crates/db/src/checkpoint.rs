//! Checkpoints: copying what the WAL holds into the database.
//!
//! A passive checkpoint copies without shutting anybody out. Beside a writer that never pauses it
//! never catches up with the last frames, and a WAL starts over only when it has been copied whole.
//! So there are two steps: the maintenance thread copies the bulk, syncs included, and where the WAL
//! has grown to its ceiling all the same, the writer copies the small rest between two of its own
//! transactions.

use std::fmt;

use rusqlite::Connection;

/// Frames (pages of 4 KiB) that are not yet in the database, from which on the maintenance thread
/// copies them: SQLite's own default.
const CHECKPOINT_FRAMES: i64 = 1_000;

/// Frames in the WAL from which on the writer helps: 16 MiB.
const CEILING_FRAMES: i64 = 4_096;

/// How far a WAL has been copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalState {
    pub(crate) frames: i64,
    pub(crate) copied: i64,
}

impl WalState {
    /// Copies what can be copied without waiting for anyone. Where a reader still needs old frames,
    /// the state says so, not an error.
    pub(crate) fn after_copying(connection: &Connection) -> rusqlite::Result<Self> {
        Self::from(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// Copies all, and cuts the WAL file back to nothing. Waits for readers, under the busy
    /// handler, and holds the write lock meanwhile.
    pub(crate) fn after_truncating(connection: &Connection) -> rusqlite::Result<Self> {
        Self::from(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Looks, and does nothing.
    fn now(connection: &Connection) -> rusqlite::Result<Self> {
        Self::from(connection, "PRAGMA wal_checkpoint(NOOP)")
    }

    fn from(connection: &Connection, checkpoint: &str) -> rusqlite::Result<Self> {
        connection.prepare_cached(checkpoint)?.query_row([], |row| {
            let (frames, copied) = (row.get(1)?, row.get(2)?);
            Ok(Self { frames, copied })
        })
    }
}

/// The writer's eye on the WAL.
pub(crate) struct WalWatch {
    /// Asks for a checkpoint by somebody else, without waiting.
    ask: Box<dyn Fn() + Send>,
    /// The WAL's length when the writer last helped, so that a reader that keeps the WAL from
    /// being copied whole does not cost a checkpoint with every commit.
    helped_at: i64,
}

impl WalWatch {
    pub(crate) fn new(ask: impl Fn() + Send + 'static) -> Self {
        Self {
            ask: Box::new(ask),
            helped_at: 0,
        }
    }

    /// Looks at the WAL after a commit, and sees to it where it has grown.
    pub(crate) fn after_commit(&mut self, connection: &Connection) {
        // An error here is the next statement's to report.
        let Ok(wal) = WalState::now(connection) else {
            return;
        };
        if wal.frames < self.helped_at {
            self.helped_at = 0;
        }
        if wal.frames - wal.copied >= CHECKPOINT_FRAMES {
            (self.ask)();
        }
        if wal.frames >= CEILING_FRAMES && wal.frames - self.helped_at >= CHECKPOINT_FRAMES {
            self.helped_at = wal.frames;
            if let Err(error) = WalState::after_copying(connection) {
                tracing::warn!(%error, "the writer's checkpoint failed");
            }
        }
    }
}

impl fmt::Debug for WalWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalWatch")
            .field("helped_at", &self.helped_at)
            .finish_non_exhaustive()
    }
}
