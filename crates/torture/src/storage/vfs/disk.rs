//! What a [`super::FaultyVfs`] has been told to do, and what it has seen.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::ffi;

use crate::storage::log::{FileId, Log, Operation};

/// The kinds of call that SQLite makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting a file.
    Truncate,
    /// Asking for a file's size.
    Size,
    /// Taking a lock on the database file.
    Lock,
    /// Mapping a region of the shared memory.
    ShmMap,
    /// Taking a lock on the shared memory.
    ShmLock,
    /// Deleting a file.
    Delete,
    /// Asking whether a file is there.
    Access,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Truncate,
        Self::Size,
        Self::Lock,
        Self::ShmMap,
        Self::ShmLock,
        Self::Delete,
        Self::Access,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Truncate => "truncate",
            Self::Size => "size",
            Self::Lock => "lock",
            Self::ShmMap => "shm-map",
            Self::ShmLock => "shm-lock",
            Self::Delete => "delete",
            Self::Access => "access",
        }
    }

    /// The ways in which it can fail.
    #[must_use]
    pub const fn reasons(self) -> &'static [Reason] {
        match self {
            Self::Read => &[Reason::Io, Reason::TornIo],
            Self::Write => &[
                Reason::Io,
                Reason::TornIo,
                Reason::NoSpace,
                Reason::TornNoSpace,
            ],
            Self::Open | Self::ShmMap => &[Reason::Io, Reason::NoSpace],
            Self::Lock | Self::ShmLock => &[Reason::Io, Reason::Busy],
            _ => &[Reason::Io],
        }
    }
}

/// Why a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The device failed (EIO).
    Io,
    /// The device failed (EIO); half of the data was read or written before that showed.
    TornIo,
    /// There is no room (ENOSPC); nothing was written.
    NoSpace,
    /// There is no room (ENOSPC); half of the data was written before that showed.
    TornNoSpace,
    /// Somebody else has the lock.
    Busy,
    /// The device answers with zeros for what is there in the database, and with no error. Not among
    /// [`Call::reasons`]: what a page without a checksum says then, nobody can hold to anything.
    Misread,
}

impl Reason {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Io => "eio",
            Self::NoSpace => "enospc",
            Self::TornIo => "short-eio",
            Self::TornNoSpace => "short-enospc",
            Self::Busy => "busy",
            Self::Misread => "misread",
        }
    }

    /// The result code that the platform's VFS answers when the system call behind `call` fails so.
    pub(super) const fn code(self, call: Call) -> i32 {
        match (self, call) {
            (Self::Misread, _) => ffi::SQLITE_OK,
            (Self::Busy, _) => ffi::SQLITE_BUSY,
            (Self::NoSpace | Self::TornNoSpace, Call::Write) => ffi::SQLITE_FULL,
            (Self::NoSpace | Self::TornNoSpace, Call::ShmMap) => ffi::SQLITE_IOERR_SHMSIZE,
            (_, Call::Open) => ffi::SQLITE_CANTOPEN,
            (_, Call::Read) => ffi::SQLITE_IOERR_READ,
            (_, Call::Write) => ffi::SQLITE_IOERR_WRITE,
            (_, Call::Sync) => ffi::SQLITE_IOERR_FSYNC,
            (_, Call::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
            (_, Call::Size) => ffi::SQLITE_IOERR_FSTAT,
            (_, Call::Lock) => ffi::SQLITE_IOERR_LOCK,
            (_, Call::ShmMap) => ffi::SQLITE_IOERR_SHMMAP,
            (_, Call::ShmLock) => ffi::SQLITE_IOERR_SHMLOCK,
            (_, Call::Delete) => ffi::SQLITE_IOERR_DELETE,
            (_, Call::Access) => ffi::SQLITE_IOERR_ACCESS,
        }
    }
}

/// What a file is to SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// The database itself.
    Database,
    /// The write-ahead log.
    Wal,
    /// A rollback journal.
    Journal,
    /// Anything temporary.
    Other,
}

impl FileKind {
    pub(super) const fn of(flags: i32) -> Self {
        if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            Self::Database
        } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
            Self::Wal
        } else if flags & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL) != 0 {
            Self::Journal
        } else {
            Self::Other
        }
    }

    /// Whether the platform's VFS syncs the folder with the first sync of such a file that it was
    /// told to create.
    pub(super) const fn syncs_folder(self) -> bool {
        matches!(self, Self::Wal | Self::Journal)
    }
}

/// Which calls are to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    call: Call,
    reason: Reason,
    first: u64,
    count: u64,
}

impl Plan {
    /// The `n`-th call of a kind from now on fails, counted from 1, and no other.
    #[must_use]
    pub const fn once(call: Call, reason: Reason, n: u64) -> Self {
        Self::times(call, reason, n, 1)
    }

    /// The `n`-th call of a kind from now on fails, and those after it until the disk is mended.
    #[must_use]
    pub const fn from(call: Call, reason: Reason, n: u64) -> Self {
        Self::times(call, reason, n, u64::MAX)
    }

    /// The `n`-th call of a kind from now on fails, and further ones, `count` in all.
    #[must_use]
    pub const fn times(call: Call, reason: Reason, n: u64, count: u64) -> Self {
        Self {
            call,
            reason,
            first: n,
            count,
        }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            call,
            reason,
            first,
            count,
        } = self;
        write!(f, "{} {first} fails with {}", call.name(), reason.name())?;
        match count {
            1 => Ok(()),
            &u64::MAX => f.write_str(", and all after it"),
            count => write!(f, ", {count} times"),
        }
    }
}

/// What a sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syncs {
    /// It waits for the disk.
    #[default]
    Reach,
    /// It answers at once. Where no power is really cut this changes nothing but the time taken,
    /// and the log records the sync all the same.
    AreQuick,
    /// It answers at once and does nothing, as a disk does that lies: the log does not record it.
    Lie,
}

/// The disk under a [`super::FaultyVfs`].
#[derive(Debug, Default)]
pub struct Disk {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    plan: Option<Plan>,
    seen: u64,
    failed: u64,
    refused: u64,
    calls: HashMap<Call, u64>,
    syncs: Syncs,
    room: Option<u64>,
    log: Option<Log>,
}

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes calls fail, from now on and by `plan` alone.
    pub fn arm(&self, plan: Plan) {
        let mut inner = self.inner();
        inner.plan = Some(plan);
        inner.seen = 0;
        inner.failed = 0;
    }

    /// Lets all calls succeed again, and answers how many failed since the disk was armed.
    pub fn mend(&self) -> u64 {
        let mut inner = self.inner();
        inner.plan = None;
        inner.failed
    }

    /// How many calls have failed since the disk was armed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.inner().failed
    }

    /// How many calls of a kind there were since the count was last taken.
    #[must_use]
    pub fn take_calls(&self) -> Vec<(Call, u64)> {
        let mut calls = std::mem::take(&mut self.inner().calls);
        Call::ALL
            .into_iter()
            .map(|call| (call, calls.remove(&call).unwrap_or(0)))
            .collect()
    }

    /// What syncs do.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.inner().syncs = syncs;
    }

    /// Leaves room for so many bytes in the folder of a file that grows, whoever wrote what is there;
    /// `None` for as many as there are. Answers how many calls failed for want of room since it was
    /// last set.
    pub fn set_room(&self, bytes: Option<u64>) -> u64 {
        let mut inner = self.inner();
        inner.room = bytes;
        std::mem::take(&mut inner.refused)
    }

    /// Begins to record what is written. All files that are opened have to be new.
    pub fn record(&self) {
        self.inner().log = Some(Log::default());
    }

    /// Puts a mark into the record, at this point in the order of all writes.
    pub fn mark(&self, mark: u64) {
        if let Some(log) = &mut self.inner().log {
            log.push(Operation::Mark(mark));
        }
    }

    /// Ends the recording.
    ///
    /// # Panics
    ///
    /// Where none was begun.
    #[must_use]
    pub fn take_log(&self) -> Log {
        self.inner().log.take().expect("a recording was begun")
    }

    /// Counts a call, and answers why it is to fail, where it is.
    pub(super) fn admit(&self, call: Call) -> Result<(), Reason> {
        let mut inner = self.inner();
        *inner.calls.entry(call).or_default() += 1;
        let Some(plan) = inner.plan.filter(|plan| plan.call == call) else {
            return Ok(());
        };
        inner.seen += 1;
        if inner.seen >= plan.first && inner.seen - plan.first < plan.count {
            inner.failed += 1;
            return Err(plan.reason);
        }
        Ok(())
    }

    pub(super) fn syncs(&self) -> Syncs {
        self.inner().syncs
    }

    /// A file was opened.
    pub(super) fn opened(&self, path: &Path) -> Option<FileId> {
        self.inner().log.as_mut().map(|log| log.opened(path))
    }

    /// Whether there is room for a file to grow to `end`. The folder is asked, because files come and
    /// go in it of which SQLite does not tell its VFS.
    pub(super) fn has_room(&self, path: &Path, end: u64) -> bool {
        let Some(room) = self.inner().room else {
            return true;
        };
        let size = fs::metadata(path).map_or(0, |file| file.len());
        let fits = end <= size || path.parent().map_or(0, used) + end - size <= room;
        if !fits {
            self.inner().refused += 1;
        }
        fits
    }

    pub(super) fn written(&self, file: Option<FileId>, offset: u64, data: &[u8]) {
        let mut inner = self.inner();
        if let (Some(log), Some(file)) = (&mut inner.log, file) {
            let data = data.into();
            log.push(Operation::Write { file, offset, data });
        }
    }

    pub(super) fn truncated(&self, file: Option<FileId>, size: u64) {
        let mut inner = self.inner();
        if let (Some(log), Some(file)) = (&mut inner.log, file) {
            log.push(Operation::Truncate { file, size });
        }
    }

    pub(super) fn synced(&self, file: Option<FileId>, folder: bool) {
        if let (Some(log), Some(file)) = (&mut self.inner().log, file) {
            log.push(Operation::Sync { file, folder });
        }
    }

    pub(super) fn deleted(&self, path: &Path, folder_synced: bool) {
        if let Some(log) = &mut self.inner().log {
            log.deleted(path, folder_synced);
        }
    }
}

/// How many bytes the files in a folder take.
fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}
