//! Checkpoints: copying what the WAL holds into the database.
//!
//! A passive checkpoint copies without shutting anybody out. Beside a writer that never pauses it
//! never catches up with the last frames, and a WAL starts over only when it has been copied whole.
//! So there are two steps: the maintenance thread copies the bulk, syncs included, and where the WAL
//! has grown to its ceiling all the same, the writer copies the small rest between two of its own
//! transactions.
//!
//! A reader that keeps an old snapshot keeps the WAL from starting over: SQLite can then do nothing
//! but let it grow. From half of its limit on, the writer therefore waits between transactions, the
//! longer the less room is left ([`Pace`]). Transactions become fewer and larger, callers wait longer,
//! and nobody fails. The writers of several processes see the same WAL, and each waits for what all of
//! them have added to it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row, ffi};

use crate::metrics::{By, Meters};
use crate::wal;
use crate::wal::index::WalIndex;

/// Frames (pages of 4 KiB) that are not yet in the database, from which on the maintenance thread
/// copies them: SQLite's own default.
const CHECKPOINT_FRAMES: i64 = 1_000;

/// Frames in the WAL from which on the writer helps: 16 MiB.
const CEILING_FRAMES: i64 = 4_096;

/// Bytes of a frame: a page of 4 KiB and its header.
const FRAME_BYTES: u64 = 4_096 + 24;

/// For how long the room that is left in a WAL is to last, when it cannot start over.
const HORIZON: Duration = Duration::from_secs(30);

/// The longest wait between two transactions, for each process that writes. Beyond its limit a WAL
/// still grows, slowly: callers who fail would be worse.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many processes that holds for: more would wait longer than any policy lets its callers wait.
const MOST_PROCESSES: i64 = 16;

/// How fast a WAL that cannot start over may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    limit_frames: i64,
}

impl Pace {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_frames: i64::try_from(limit_bytes / FRAME_BYTES).unwrap_or(i64::MAX),
        }
    }

    /// How long to wait after a transaction that added `own` frames to a WAL that has `frames` now, and
    /// had `added` fewer after the transaction before: as long as the room that is left is to last for
    /// as much again. Where `added` is more, other processes write as well.
    fn pause(self, frames: i64, added: i64, own: i64) -> Duration {
        if frames <= self.limit_frames / 2 {
            return Duration::ZERO;
        }
        let processes = (added / own.max(1)).clamp(1, MOST_PROCESSES);
        let longest = LONGEST_PAUSE * u32::try_from(processes).unwrap_or(1);
        let left = u32::try_from(self.limit_frames - frames).unwrap_or(0);
        let added = u32::try_from(added).unwrap_or(u32::MAX);
        HORIZON
            .saturating_mul(added)
            .checked_div(left)
            .map_or(longest, |pause| pause.min(longest))
    }
}

/// How far a WAL has been copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalState {
    pub(crate) frames: i64,
    pub(crate) copied: i64,
}

impl WalState {
    /// As SQLite says it.
    const UNKNOWN: Self = Self {
        frames: -1,
        copied: -1,
    };

    /// Whether nothing was looked at, because somebody else's checkpoint is under way.
    pub(crate) const fn is_unknown(self) -> bool {
        self.frames < 0
    }

    /// Whether the next transaction can start the WAL over, where no reader is on it.
    pub(crate) const fn is_copied(self) -> bool {
        !self.is_unknown() && self.copied >= self.frames
    }

    /// Copies what can be copied without waiting for anyone. Where a reader still needs old frames,
    /// the state says so, not an error.
    pub(crate) fn after_copying(connection: &Connection) -> rusqlite::Result<Self> {
        if !may_copy(connection)? {
            return Ok(Self::UNKNOWN);
        }
        Self::from(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// Copies all, and cuts the WAL file back to nothing. Waits for readers, under the busy
    /// handler, and holds the write lock meanwhile. Where it is not to be had, that is an error.
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

    /// Looks, and does nothing: tells the state beside another checkpoint, too.
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

/// Which of the threads of one database may checkpoint. SQLite refuses a checkpoint beside another
/// at once, and asks no busy handler: who is to come after the other waits here instead.
#[derive(Debug, Clone, Default)]
pub(crate) struct CopyingTurn(Arc<Mutex<()>>);

impl CopyingTurn {
    /// Waits until the other thread's checkpoint has ended.
    pub(crate) fn wait(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while the other thread is at it.
    fn take(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The writer's eye on the WAL.
pub(crate) struct WalWatch {
    /// Asks for a checkpoint by somebody else, without waiting.
    ask: Box<dyn Fn() + Send>,
    /// The WAL's length when the writer last helped, so that a reader that keeps the WAL from
    /// being copied whole does not cost a checkpoint with every commit.
    helped_at: i64,
    pace: Pace,
    /// The WAL's length after the transaction before.
    frames: i64,
    /// The same when it was last looked at, which a paused writer does until it goes on.
    seen: i64,
    turn: CopyingTurn,
}

impl WalWatch {
    pub(crate) fn new(pace: Pace, turn: CopyingTurn, ask: impl Fn() + Send + 'static) -> Self {
        Self {
            ask: Box::new(ask),
            turn,
            helped_at: 0,
            pace,
            frames: 0,
            seen: 0,
        }
    }

    /// Looks at the WAL after a commit, and sees to it where it has grown. Answers how long to wait
    /// before the next transaction, for the WAL's sake; an error where a sync has failed.
    pub(crate) fn after_commit(
        &mut self,
        connection: &Connection,
        meters: &Meters,
    ) -> rusqlite::Result<Duration> {
        // An error here is the next statement's to report.
        let Ok(wal) = WalState::now(connection) else {
            return Ok(Duration::ZERO);
        };
        let added = wal.frames - std::mem::replace(&mut self.frames, wal.frames);
        let own = wal.frames - std::mem::replace(&mut self.seen, wal.frames);
        if wal.frames < self.helped_at {
            self.helped_at = 0;
        }
        if wal.frames - wal.copied >= CHECKPOINT_FRAMES {
            (self.ask)();
        }
        if wal.frames >= CEILING_FRAMES && wal.frames - self.helped_at >= CHECKPOINT_FRAMES {
            self.helped_at = wal.frames;
            let copied = self
                .copy(connection)
                .inspect_err(|error| tracing::warn!(%error, "the writer's checkpoint failed"));
            meters.checkpointed(By::Writer, copied.as_ref().ok().copied(), Instant::now());
            refuse_failed_sync(copied)?;
        }
        Ok(self.pace.pause(wal.frames, added, own))
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

    /// Copies what can be copied; answers whether the WAL has no need to wait any longer. An error
    /// where a sync has failed.
    pub(crate) fn is_relieved(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some(wal) = refuse_failed_sync(self.copy(connection))? else {
            return Ok(false);
        };
        if !wal.is_unknown() {
            self.seen = wal.frames;
        }
        Ok(wal.is_copied())
    }

    /// Moves all that the WAL holds into the database, and empties it, after a sync of it that may
    /// have failed.
    ///
    /// The system does not try the same pages again, has them in its memory as if they were on the
    /// disk, and says nothing of it when the file is synced later. To whoever reads the WAL after a
    /// power cut it ends there, and what was acknowledged behind that place would be lost. Writing the
    /// same bytes once more is no way out: on ext4 what was allocated for a write that failed reads as
    /// zeros, whatever is written to it afterwards.
    pub(crate) fn begin_anew(&self, connection: &Connection) -> rusqlite::Result<()> {
        let _turn = self.turn.wait();
        WalState::after_truncating(connection)?;
        wal::sync::sync(connection)
    }

    /// Copies what can be copied, without waiting: where the maintenance is at it, nothing.
    fn copy(&self, connection: &Connection) -> rusqlite::Result<WalState> {
        match self.turn.take() {
            Some(_turn) => WalState::after_copying(connection),
            None => Ok(WalState::UNKNOWN),
        }
    }
}

/// A checkpoint that was held up or failed is tried again, but for one whose sync has failed: the system
/// tells that once, and what is committed from then on may not be on the disk although it was synced.
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

impl fmt::Debug for WalWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalWatch")
            .field("helped_at", &self.helped_at)
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

    const LIMIT: u64 = 64 * 1024 * 1024;

    /// How long a WAL gets in `seconds` of transactions of `own` frames each, which take a
    /// millisecond, of so many processes, while it cannot start over.
    fn grown_in(seconds: u64, processes: usize, own: i64) -> u64 {
        let pace = Pace::new(LIMIT);
        let mut frames = 0;
        // When each goes on, and the WAL's length after its transaction before.
        let mut writers = vec![(Duration::ZERO, 0); processes];
        let mut now = Duration::ZERO;
        while now < Duration::from_secs(seconds) {
            let (next, before) = writers.iter_mut().min().unwrap();
            now = now.max(*next) + Duration::from_millis(1);
            frames += own;
            *next = now + pace.pause(frames, frames - *before, own);
            *before = frames;
        }
        u64::try_from(frames).unwrap() * FRAME_BYTES
    }

    #[test]
    fn a_wal_that_cannot_start_over_for_half_a_minute_stays_within_its_limit() {
        for own in [3, 30, 130] {
            assert!(grown_in(30, 1, own) < LIMIT, "{own}");
        }
        // Even twice as long, where transactions are not too large.
        assert!(grown_in(60, 1, 30) < LIMIT);
    }

    #[test]
    fn processes_that_share_a_wal_keep_it_within_its_limit_together() {
        for (processes, own) in [(2, 130), (4, 130), (8, 63), (16, 63)] {
            assert!(grown_in(30, processes, own) < LIMIT, "{processes} x {own}");
        }
    }

    fn watch(turn: &CopyingTurn) -> WalWatch {
        WalWatch::new(Pace::new(LIMIT), turn.clone(), || ())
    }

    /// SQLite answers a checkpoint beside another one with frames of -1, not with an error.
    #[test]
    fn a_wal_that_somebody_else_is_copying_is_not_yet_relieved() {
        thread_local! {
            static WRITER: RefCell<Option<Connection>> = const { RefCell::new(None) };
            static SEEN: Cell<Option<(bool, WalState)>> = const { Cell::new(None) };
        }
        fn look(writer: &Connection) -> (bool, WalState) {
            let relieved = watch(&CopyingTurn::default()).is_relieved(writer).unwrap();
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
    fn a_writer_beside_whom_the_maintenance_copies_does_not_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Connection::open(folder.path().join("roas.db")).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a);")
            .unwrap();
        let turn = CopyingTurn::default();
        let mut watch = watch(&turn);

        let maintenance = turn.wait();
        assert!(!watch.is_relieved(&writer).unwrap());
        assert_eq!(WalState::now(&writer).unwrap().copied, 0);
        drop(maintenance);
        assert!(watch.is_relieved(&writer).unwrap());
    }

    #[test]
    fn up_to_half_of_the_limit_nobody_waits_and_nobody_waits_for_long() {
        let pace = Pace::new(LIMIT);
        let limit = i64::try_from(LIMIT / FRAME_BYTES).unwrap();
        assert_eq!(pace.pause(limit / 2, 1_000, 1_000), Duration::ZERO);
        assert!(pace.pause(limit / 2 + 1, 1, 1) > Duration::ZERO);
        for frames in [limit - 1, limit, limit * 10] {
            assert_eq!(pace.pause(frames, 1_000, 1_000), LONGEST_PAUSE);
            assert_eq!(pace.pause(frames, 4_000, 1_000), LONGEST_PAUSE * 4);
            assert_eq!(pace.pause(frames, 1_000, 1), LONGEST_PAUSE * 16);
        }
    }
}
