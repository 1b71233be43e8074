//! What can be set about a database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use roas_domain::{Clock, DEFAULT_MAX_CLOCK_SKEW, SystemClock};

use crate::lock::retry::RetryPolicy;

/// Where a database is and how it is to be used. The defaults suit a bot.
///
/// While it is open, nothing but SQLite may open its files (the database, its `-wal` and `-shm`), in
/// this process above all: `std::fs::copy`, `read` or `File::open` drop the locks that SQLite holds,
/// because the system drops all of a process's locks on a file when it closes any descriptor of it. Another
/// program may then remove the WAL under the writer. [`crate::backup`] copies a database that is in use.
///
/// ```
/// use roas_db::{Config, Durability, RetryPolicy};
///
/// let config = Config::new("roas.db")
///     .durability(Durability::Normal)
///     .retry(RetryPolicy::aggressive());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
    pub(crate) on_old_schema: OnOldSchema,
    pub(crate) durability: Durability,
    pub(crate) retry: RetryPolicy,
    pub(crate) readers: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) batch_limit: usize,
    pub(crate) remember_events_for: Duration,
    pub(crate) rank_guilds_from: u64,
    pub(crate) wal_limit_bytes: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_clock_skew: Option<Duration>,
    pub(crate) vfs: Option<String>,
    pub(crate) migration_wait: Duration,
    pub(crate) interrupt: Option<Arc<AtomicBool>>,
    pub(crate) read_on_calling_thread: bool,
    pub(crate) allow_aliases: bool,
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reading and writing. Creates the file where there is none.
    #[default]
    ReadWrite,
    /// Reading alone. Never creates or changes a file, whoever reads, and needs no right to write;
    /// writes fail with `ReadOnly`. The one exception is the rollback journal of a process without a
    /// WAL that was killed: it is rolled back where that is allowed, and is an error elsewhere.
    ReadOnly,
}

/// What to do with a schema that is older than the current one, or with a file that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOldSchema {
    /// Bring it to the current one.
    #[default]
    Migrate,
    /// Refuse to open it.
    Refuse,
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A killed process and a power cut: every commit is synced before it is acknowledged, as by
    /// `synchronous=FULL` (`EXTRA` where WAL is not to be had). Costs little, because commits are
    /// shared.
    #[default]
    Full,
    /// A killed process; a power cut may take the last commits before it (`synchronous=NORMAL`).
    /// The file stays consistent.
    Normal,
}

/// SQLite's journal mode of an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalMode {
    /// A write-ahead log: readers and the writer do not block each other.
    Wal,
    /// A rollback journal, the fallback if the file cannot have a WAL: a commit blocks readers.
    Delete,
}

impl JournalMode {
    /// `wal` or `delete`, as SQLite's `journal_mode` names them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for JournalMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Durability {
    /// `full` or `normal`, as SQLite's `synchronous` names them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }
}

impl Config {
    /// The defaults, for the database at `path`, a file's path. `:memory:`, an empty path and URIs
    /// (`file:`, `sqlite:`) are refused when the database is opened; tests use
    /// `roas_domain::testing::MemoryRepository` or a file in a temporary folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: Access::default(),
            on_old_schema: OnOldSchema::default(),
            durability: Durability::default(),
            retry: RetryPolicy::default(),
            readers: 4,
            queue_capacity: 8_192,
            batch_limit: 4_096,
            remember_events_for: Duration::from_hours(7 * 24),
            rank_guilds_from: 2_000,
            wal_limit_bytes: None,
            clock: Arc::new(SystemClock),
            max_clock_skew: Some(DEFAULT_MAX_CLOCK_SKEW),
            vfs: None,
            migration_wait: Duration::from_hours(1),
            interrupt: None,
            read_on_calling_thread: false,
            allow_aliases: false,
        }
    }

    /// Whether short reads (a member, a guild's rules, the top of a leaderboard by score) run on the thread
    /// that polls the call, for a third of a millisecond at most, in place of a blocking thread: by one
    /// caller at a time, on multi-threaded runtimes only. On two busy cores a member's p99 was 0.1 ms in
    /// place of 2.5 ms; a disk that stalls then blocks one of the executor's threads. Default: `false`.
    #[must_use]
    pub fn read_on_calling_thread(self, enabled: bool) -> Self {
        Self {
            read_on_calling_thread: enabled,
            ..self
        }
    }

    /// A flag by which an operation on the whole file (a migration, a rollback, a repair, an audit, a check,
    /// a backup, a restoration) is interrupted: once it is set, the operation fails with
    /// [`OpenError::Interrupted`](crate::OpenError::Interrupted) within moments, and the file is as it was. Not
    /// for [`Database::open`](crate::Database::open). Default: none.
    #[must_use]
    pub fn interrupt(self, flag: Arc<AtomicBool>) -> Self {
        Self {
            interrupt: Some(flag),
            ..self
        }
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to open it for. Default: reading and writing.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// What to do with an older schema. Default: migrate.
    #[must_use]
    pub fn on_old_schema(self, on_old_schema: OnOldSchema) -> Self {
        Self {
            on_old_schema,
            ..self
        }
    }

    /// What an acknowledged write survives. Default: a power cut.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// How to wait for locks. Default: [`RetryPolicy::balanced`].
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// How many connections may read at a time, at least 1. Default: 4.
    #[must_use]
    pub fn readers(self, readers: usize) -> Self {
        Self {
            readers: readers.max(1),
            ..self
        }
    }

    /// How many writes may wait in the queue, at least 1; further callers wait for room. Default:
    /// 8,192.
    #[must_use]
    pub fn queue_capacity(self, writes: usize) -> Self {
        Self {
            queue_capacity: writes.max(1),
            ..self
        }
    }

    /// How many events one transaction takes, at least 1. A single call with more of them is one
    /// transaction all the same. Default: 4,096.
    #[must_use]
    pub fn batch_limit(self, events: usize) -> Self {
        Self {
            batch_limit: events.max(1),
            ..self
        }
    }

    /// For how long after its recording an event's id is remembered at least. Default: 7 days.
    #[must_use]
    pub fn remember_events_for(self, window: Duration) -> Self {
        Self {
            remember_events_for: window,
            ..self
        }
    }

    /// From how many members on a guild's ranks are kept, so that leaderboards do not look at every
    /// member. Smaller guilds cost their writers nothing for it. Default: 2,000.
    #[must_use]
    pub fn rank_guilds_from(self, members: u64) -> Self {
        Self {
            rank_guilds_from: members,
            ..self
        }
    }

    /// How large the WAL may get while a reader keeps an old snapshot (a copy of a large database does so
    /// for minutes), in bytes. Up to half of it nothing is slowed down; from there on the writer waits
    /// between transactions, so that they become fewer and larger, and the WAL stays within one
    /// transaction of the limit for as long as callers can wait: the writer pauses for half of the retry
    /// policy's deadline at most, and no call fails for it. `u64::MAX` lets the WAL grow as it will.
    /// Default: 1 GiB, or a tenth of the disk's free room where that is less when the database is opened.
    #[must_use]
    pub fn wal_limit(self, bytes: u64) -> Self {
        Self {
            wal_limit_bytes: Some(bytes),
            ..self
        }
    }

    /// The clock by which event ids are remembered, members without a score leave the bands of the
    /// ranks, and times too far ahead are refused. Default: the machine's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// How far the time of an event or an adjustment may lie ahead of the clock, in whole seconds; further
    /// ahead it is refused with `InvalidRequest`. `None` takes any time: one date in the future then keeps
    /// its member from scoring until that date. Default: [`DEFAULT_MAX_CLOCK_SKEW`], 10 minutes.
    #[must_use]
    pub fn max_clock_skew(self, max_skew: impl Into<Option<Duration>>) -> Self {
        Self {
            max_clock_skew: max_skew.into(),
            ..self
        }
    }

    /// How long to wait for another process that is migrating the file; a process that died is not
    /// waited for. Default: an hour, which is enough for some hundred million rows.
    #[must_use]
    pub fn migration_wait(self, patience: Duration) -> Self {
        Self {
            migration_wait: patience,
            ..self
        }
    }

    /// Whether to open a database that has several names (hard links), or is mounted as a single file.
    /// Its WAL lies beside one of the names: a program that opens the file by another one does not see
    /// what is in it, both write over each other, and a container takes the WAL of a mounted file with
    /// it. Only for a file that nothing opens by another name, and whose WAL stays. Default: refused,
    /// when it is opened ([`crate::OpenError::HardLinked`], [`crate::OpenError::MountPoint`]) and with
    /// each write.
    #[must_use]
    pub fn allow_aliases(self, allow: bool) -> Self {
        Self {
            allow_aliases: allow,
            ..self
        }
    }

    /// The SQLite VFS to open files through, such as `unix-dotfile` on a file system without
    /// working POSIX locks. Default: SQLite's own choice. A VFS without shared memory cannot do
    /// WAL; the database then falls back to a rollback journal.
    #[must_use]
    pub fn vfs(self, name: impl Into<String>) -> Self {
        Self {
            vfs: Some(name.into()),
            ..self
        }
    }
}
