//! The connection factory: the only place that opens SQLite.
//!
//! # Architecture invariants
//!
//! Nothing else in the process opens a database file, its WAL or its shared memory, not even to
//! read a byte: closing any descriptor of a file drops all POSIX locks that the process holds on
//! it, SQLite's included, and another process may then commit over ours. Sizes and identities come from
//! `fs::metadata`, which opens nothing.
//!
//! Paths are made absolute and are never read as URIs; only the reading that leaves no trace makes one
//! of a path (see `traceless`). Every setting is read back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{Clock, UnixSeconds};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::claim::Claim;
use crate::config::{Config, Durability, JournalMode};
use crate::error::{Failure, OpenError, SqliteError, is_contended};
use crate::files::{create_private, is_side_file, take_owner_of, wal_path, with_suffix};
use crate::identity::{Identities, refuse_aliases};
use crate::lock::busy;
use crate::lock::holder::LockHolder;
use crate::lock::other_processes::keepers_of_lost_files;
use crate::lock::retry::{Retry, RetryError, RetryPolicy};
use crate::wal::checkpoint::WalState;
use crate::wal::index::WalIndex;

/// SQLite's first release that does not corrupt a database when a WAL is reset beside a checkpoint.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Pages that a writer and a reader keep in memory, in KiB (negative: that is how the pragma tells
/// KiB from pages).
const CACHE_SIZE_KIB: i64 = -16 * 1024;

/// Settings that every connection has. Some answer the new value and some do not: each is read back.
pub(crate) const COMMON_SETTINGS: [(&str, i64); 6] = [
    ("foreign_keys", 1),
    ("trusted_schema", 0),
    ("cell_size_check", 1),
    ("cache_size", CACHE_SIZE_KIB),
    ("temp_store", 2),
    ("mmap_size", 0),
];

/// Opens connections to one database file, each set up and checked alike.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionFactory {
    path: PathBuf,
    durability: Durability,
    retry: RetryPolicy,
    vfs: Option<String>,
    clock: Arc<dyn Clock>,
    interrupt: Option<Arc<AtomicBool>>,
    migration_wait: Duration,
    allow_aliases: bool,
    /// Since when somebody has waited for what is opened; since it is asked for, where nobody has.
    since: Option<Instant>,
    claim: Option<Arc<Claim>>,
}

impl ConnectionFactory {
    /// A factory for the file that `config` names, which need not exist yet.
    pub(crate) fn new(config: &Config) -> Result<Self, OpenError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(OpenError::SqliteTooOld {
                found: rusqlite::version(),
            });
        }
        let path = absolute(&config.path)?;
        if !config.allow_aliases {
            refuse_aliases(&path)?;
        }
        Ok(Self {
            path,
            durability: config.durability,
            retry: config.retry.clone(),
            vfs: config.vfs.clone(),
            clock: Arc::clone(&config.clock),
            interrupt: config.interrupt.clone(),
            migration_wait: config.migration_wait,
            allow_aliases: config.allow_aliases,
            since: None,
            claim: None,
        })
    }

    /// Claims the file for this process's one writer; the claim ends with the last clone. Waits, up to
    /// the policy's deadline, for a database that is closing.
    pub(crate) fn claimed(self) -> Result<Self, OpenError> {
        let claim = Claim::new(&self.path, self.retry.deadline())?;
        Ok(Self {
            claim: Some(Arc::new(claim)),
            ..self
        })
    }

    /// This factory without the claim, for connections that may outlive the writer.
    pub(crate) fn unclaimed(self) -> Self {
        Self {
            claim: None,
            ..self
        }
    }

    /// The claim on the file ends soon: who opens it waits for that.
    pub(crate) fn begin_closing(&self) {
        if let Some(claim) = &self.claim {
            claim.begin_closing();
        }
    }

    /// This factory for a request that was made at `since`: the time that it has waited counts.
    pub(crate) fn for_request(&self, since: Instant) -> Self {
        Self {
            since: Some(since),
            ..self.clone()
        }
    }

    /// Why a file that was opened for writing has no WAL.
    pub(crate) fn no_wal(&self) -> String {
        let vfs = self.vfs.as_deref().unwrap_or("of the system");
        format!("the VFS {vfs} gives the file no shared memory, which a WAL needs")
    }

    /// The file's absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file may have several names, or be mounted as a file.
    pub(crate) const fn allows_aliases(&self) -> bool {
        self.allow_aliases
    }

    pub(crate) fn vfs(&self) -> Option<&str> {
        self.vfs.as_deref()
    }

    pub(crate) const fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Whether a commit of the writer's connection, in this mode, still has to be synced before it is
    /// acknowledged.
    pub(crate) const fn syncs_wal_apart(&self, mode: JournalMode) -> bool {
        matches!(
            (self.durability, mode),
            (Durability::Full, JournalMode::Wal)
        )
    }

    /// How long to wait for another process that migrates the file.
    pub(crate) const fn migration_wait(&self) -> Duration {
        self.migration_wait
    }

    /// The time by the clock of the configuration.
    pub(crate) fn now(&self) -> UnixSeconds {
        self.clock.now()
    }

    /// A factory for another file, with the same settings.
    pub(crate) fn at(&self, path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            path: absolute(path)?,
            claim: None,
            ..self.clone()
        })
    }

    /// This factory with another policy, for the fallback without WAL.
    pub(crate) fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Creates the file, empty, for its owner alone (0600), who is that of the folder where root creates
    /// it; SQLite gives the WAL and the shared memory the same owner and mode. Answers whether it was this call that created it.
    pub(crate) fn create_file(&self) -> Result<bool, OpenError> {
        if is_side_file(&self.path) {
            let path = self.path.clone();
            return Err(OpenError::SideFile { path });
        }
        // Opening and closing a file that was not there cannot drop anyone's locks on it.
        match create_private(&self.path) {
            Ok(_) => {
                take_owner_of(self.path.parent().unwrap_or(&self.path), &self.path);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(OpenError::io(&self.path, "create", source)),
        }
    }

    /// Opens the writer's connection and puts the file into WAL mode, where that can be had.
    pub(crate) fn open_writer(&self) -> Result<(Connection, JournalMode), OpenError> {
        self.retrying("open", || {
            let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let mode = Self::set_journal_mode(&connection)?;
            let synchronous = match (self.durability, mode) {
                // EXTRA: a rollback journal whose removal was not synced with its folder comes back
                // after a power cut, and takes the transaction back that was acknowledged.
                (Durability::Full, JournalMode::Delete) => 3,
                // Under FULL, too: the writer then syncs the WAL itself, after the commit.
                (_, JournalMode::Wal) | (Durability::Normal, JournalMode::Delete) => 1,
            };
            self.apply(&connection, &COMMON_SETTINGS)?;
            self.apply(
                &connection,
                &[
                    ("synchronous", synchronous),
                    // SQLite would cut the WAL back within a commit, with the write lock held. On
                    // a file system mounted with `discard` that took up to 2.5 s, for every writer.
                    ("journal_size_limit", -1),
                    // Checkpoints, and the cutting back, are the maintenance thread's.
                    ("wal_autocheckpoint", 0),
                ],
            )?;
            Ok((connection, mode))
        })
    }

    /// Opens two writer's connections, which are known to have the files open that are at the paths.
    ///
    /// Waits where another process has files open that are not there any more: it copies their content
    /// into the database before it lets go of them.
    pub(crate) fn open_writers(&self) -> Result<Writers, OpenError> {
        self.once_found(|| self.joined_writers())
    }

    /// Waits until no other process has files of the database open that were removed.
    pub(crate) fn wait_for_lost_files(&self) -> Result<(), OpenError> {
        self.once_found(|| Ok((!self.are_lost_elsewhere()).then_some(())))
    }

    /// Whether another process has files open that are missing here: opened now, they would be made
    /// once more, and both would write to the database.
    fn are_lost_elsewhere(&self) -> bool {
        let is_missing = |suffix| !with_suffix(&self.path, suffix).exists();
        (is_missing("-wal") || is_missing("-shm")) && !keepers_of_lost_files(&self.path).is_empty()
    }

    fn once_found<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, OpenError>,
    ) -> Result<T, OpenError> {
        let waited = poll_until(self.retry.deadline(), || Ok(attempt().transpose()));
        match waited {
            Ok(Ok(opened)) => opened,
            Ok(Err(waited)) => Err(OpenError::SideFilesLost {
                path: self.path.clone(),
                by: keepers_of_lost_files(&self.path),
                waited,
            }),
            Err(error) => Err(OpenError::io(&self.path, "open", error)),
        }
    }

    /// One attempt at it. `None` where another process has to let go first.
    fn joined_writers(&self) -> Result<Option<Writers>, OpenError> {
        if self.are_lost_elsewhere() {
            return Ok(None);
        }
        let identities = |mode| {
            Identities::at(&self.path, mode == JournalMode::Wal)
                .map_err(|error| OpenError::io(&self.path, "look at", error))
        };
        // The first creates the files that are missing, and keeps them there while the others are
        // opened: what is at the paths before and after, these have open.
        let (caretaker, mode) = self.open_writer()?;
        self.join(&caretaker)?;
        let Ok(before) = identities(mode) else {
            return Ok(None);
        };
        let (writer, _) = self.open_writer()?;
        self.join(&writer)?;
        if mode == JournalMode::Wal {
            let usable = self.retrying("look at the WAL of", || Ok(has_usable_wal(&writer)?))?;
            if !usable || identities(mode).ok() != Some(before) {
                for connection in [&writer, &caretaker] {
                    keep_from_checkpoint(connection);
                }
                return Ok(None);
            }
        }
        Ok(Some(Writers {
            writer,
            caretaker,
            mode,
            files: before,
        }))
    }

    /// Has a connection open all of its files.
    fn join(&self, connection: &Connection) -> Result<(), OpenError> {
        self.retrying("read", || {
            let look = "SELECT count(*) FROM sqlite_schema";
            Ok(connection.query_row(look, [], |_| Ok(()))?)
        })
    }

    /// Puts the file into WAL mode for whoever opens it next, where that can be had.
    pub(crate) fn leave_in_wal_mode(&self) -> Result<(), OpenError> {
        self.open_writer().map(drop)
    }

    /// Opens a connection that changes the schema. The file keeps its journal mode, so that a
    /// migration that fails leaves it as it was to the byte; sorting large tables takes no more
    /// memory than sorting small ones.
    pub(crate) fn open_migrator(&self) -> Result<Connection, OpenError> {
        self.retrying("open", || {
            let connection = self.open_plain_attempt()?;
            self.apply(
                &connection,
                &[
                    ("synchronous", 2),
                    // Files, not memory; and runs that fit a processor's cache sort fastest.
                    ("temp_store", 1),
                    ("cache_size", -2_048),
                    ("wal_autocheckpoint", 1_000),
                ],
            )?;
            // Where SQLite is built without threads, it sorts on this one.
            connection.pragma_update(None, "threads", 2)?;
            Ok(connection)
        })
    }

    /// Opens a connection for reading and writing, and leaves the file's journal mode alone.
    pub(crate) fn open_plain(&self) -> Result<Connection, OpenError> {
        self.retrying("open", || self.open_plain_attempt())
    }

    /// One attempt of [`open_plain`](Self::open_plain), to go on with under one policy.
    pub(crate) fn open_plain_attempt(&self) -> Result<Connection, AttemptError> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.apply(&connection, &COMMON_SETTINGS)?;
        Ok(connection)
    }

    /// An empty database in memory.
    pub(crate) fn scratch() -> rusqlite::Result<Connection> {
        #[expect(clippy::disallowed_methods, reason = "this is the connection factory")]
        Connection::open_in_memory()
    }

    /// Opens a connection that only reads, beside a writer of this process.
    pub(crate) fn open_reader(&self) -> Result<Connection, OpenError> {
        self.retrying("read", || {
            let connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            self.apply(&connection, &COMMON_SETTINGS)?;
            self.apply(&connection, &[("query_only", 1)])?;
            Ok(connection)
        })
    }

    /// Runs `attempt` under the policy, with the busy handler's budget set.
    pub(crate) fn retrying<T>(
        &self,
        doing: &'static str,
        mut attempt: impl FnMut() -> Result<T, AttemptError>,
    ) -> Result<T, OpenError> {
        let since = self.since.unwrap_or_else(Instant::now);
        let result = Retry::new(&self.retry, since, Rng::new()).run(
            |error| matches!(error, AttemptError::Sqlite(error) if is_contended(error)),
            |budget| {
                busy::allow(budget);
                attempt()
            },
        );
        result.map_err(|error| match error {
            RetryError::Exhausted(exhausted, AttemptError::Sqlite(error)) => OpenError::Busy {
                path: self.path.clone(),
                waited: exhausted.waited,
                attempts: exhausted.attempts,
                holder: LockHolder::in_the_way(&self.path),
                source: SqliteError::from(error),
            },
            RetryError::Failed(AttemptError::Sqlite(error)) => self.sqlite_error(doing, error),
            RetryError::Exhausted(_, AttemptError::Open(error))
            | RetryError::Failed(AttemptError::Open(error)) => error,
        })
    }

    /// The error for a statement that failed while the file was being opened or migrated.
    pub(crate) fn sqlite_error(&self, doing: &'static str, error: rusqlite::Error) -> OpenError {
        let path = self.path.clone();
        match Failure::of(&error) {
            _ if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => {
                OpenError::Interrupted { path }
            }
            Failure::Corrupt
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
            {
                OpenError::NotADatabase { path }
            }
            Failure::Corrupt if error.sqlite_error_code().is_some() => OpenError::Damaged {
                path,
                finding: error.to_string(),
            },
            Failure::ReadOnly => OpenError::ReadOnlyFile { path },
            Failure::Contended => OpenError::Busy {
                waited: Duration::ZERO,
                attempts: 1,
                holder: LockHolder::in_the_way(&path),
                path,
                source: SqliteError::from(error),
            },
            Failure::Unusable
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) =>
            {
                OpenError::NoAccess {
                    path,
                    source: SqliteError::from(error),
                }
            }
            _ if no_room_to_open(&error) => OpenError::Full {
                path,
                source: SqliteError::from(error).into(),
            },
            _ => OpenError::Sqlite {
                path,
                doing,
                source: SqliteError::from(error),
            },
        }
    }

    /// Refuses a WAL without its database. What is in it was acknowledged, and may be all that there
    /// is of it; SQLite deletes it without a word when it opens an empty file beside it.
    pub(crate) fn refuse_lost_database(&self) -> Result<(), OpenError> {
        let holds_something = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let wal = wal_path(&self.path);
        // In this order: whoever is creating the database writes to its file before there is a WAL.
        if holds_something(&wal) && !holds_something(&self.path) {
            let path = self.path.clone();
            return Err(OpenError::WalWithoutDatabase { path, wal });
        }
        Ok(())
    }

    pub(crate) fn open(&self, access: OpenFlags) -> Result<Connection, AttemptError> {
        self.open_as(&self.path, access, self.vfs())
    }

    /// As [`open`](Self::open), by the name that SQLite is to know the file by.
    pub(crate) fn open_as(
        &self,
        name: &Path,
        access: OpenFlags,
        vfs: Option<&str>,
    ) -> Result<Connection, AttemptError> {
        self.refuse_lost_database()?;
        // A connection is used by one thread at a time; the path has no symbolic link left in it.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        #[expect(clippy::disallowed_methods, reason = "this is the connection factory")]
        let mut connection = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(name, flags, vfs)?,
            None => Connection::open_with_flags(name, flags)?,
        };
        // First of all: every other statement may meet a lock.
        busy::install(&mut connection)?;
        self.watch_interrupt(&mut connection)?;
        // A plan that looks at a parameter's value is made anew for each other value. For one join in
        // the writer's path that took as long as all the rest of a small transaction.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    /// Has SQLite ask between its steps whether to go on, where it may be interrupted.
    pub(crate) fn watch_interrupt(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        /// Some milliseconds.
        const STEPS_PER_LOOK: i32 = 100_000;
        let Some(interrupt) = self.interrupt.clone() else {
            return Ok(());
        };
        let is_interrupted = move || interrupt.load(Ordering::Relaxed);
        connection.progress_handler(STEPS_PER_LOOK, Some(is_interrupted))
    }

    /// Fails where the operation was interrupted.
    pub(crate) fn check_interrupt(&self) -> Result<(), OpenError> {
        if self.is_interrupted() {
            let path = self.path.clone();
            return Err(OpenError::Interrupted { path });
        }
        Ok(())
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        let flag = self.interrupt.as_ref();
        flag.is_some_and(|interrupt| interrupt.load(Ordering::Relaxed))
    }

    fn set_journal_mode(connection: &Connection) -> rusqlite::Result<JournalMode> {
        // Asked first, because switching needs the file to itself.
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode == "wal" {
            return Ok(JournalMode::Wal);
        }
        let switch = || -> rusqlite::Result<String> {
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        };
        let mode = match switch() {
            // SQLite asks no busy handler then. For an empty transaction it does.
            Err(error) if is_contended(&error) => {
                connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
                switch()?
            }
            mode => mode?,
        };
        if mode == "wal" {
            return Ok(JournalMode::Wal);
        }
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        Ok(JournalMode::Delete)
    }

    pub(crate) fn apply(
        &self,
        connection: &Connection,
        settings: &[(&'static str, i64)],
    ) -> Result<(), AttemptError> {
        for &(setting, wanted) in settings {
            connection.pragma_update(None, setting, wanted)?;
            let found = connection.pragma_query_value(None, setting, |row| row.get::<_, i64>(0));
            // A file system without memory mapping has no mmap_size to read back.
            let found = found.or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows if setting == "mmap_size" => Ok(0),
                error => Err(error),
            })?;
            if found != wanted {
                return Err(AttemptError::Open(OpenError::Setting {
                    path: self.path.clone(),
                    setting,
                    wanted,
                    found,
                }));
            }
        }
        Ok(())
    }
}

/// The connections of a database that is open for writing, and the files they have open.
#[derive(Debug)]
pub(crate) struct Writers {
    pub(crate) writer: Connection,
    pub(crate) caretaker: Connection,
    pub(crate) mode: JournalMode,
    pub(crate) files: Identities,
}

/// Whether the WAL that a connection has open holds all that is not in the database; a WAL that is
/// not the one that the index was made for is started over first, where nothing is missing.
fn has_usable_wal(connection: &Connection) -> rusqlite::Result<bool> {
    let quick = WalIndex::of(connection)?;
    if let Some(index) = quick
        && index.is_in_wal_of(connection, None)?
    {
        return Ok(true);
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let looked = WalIndex::of(connection).and_then(|index| match index {
        Some(index) => Ok((index.is_in_wal_of(connection, None)?, index.is_copied())),
        None => Ok((true, true)),
    });
    connection.execute_batch("ROLLBACK")?;
    let (is_in_wal, is_copied) = looked?;
    if !is_in_wal && is_copied {
        // What is written behind the last frame would lie behind a hole.
        WalState::after_truncating(connection)?;
    }
    Ok(is_in_wal || is_copied)
}

/// Has a connection close without a checkpoint, and without removing what is at the WAL's path: what
/// it has open is not that, or is not to be copied.
pub(crate) fn keep_from_checkpoint(connection: &Connection) {
    // Only a connection that is not open refuses.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Why one attempt at opening failed.
#[derive(Debug)]
pub(crate) enum AttemptError {
    Sqlite(rusqlite::Error),
    Open(OpenError),
}

impl From<rusqlite::Error> for AttemptError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<OpenError> for AttemptError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

/// Whether a file could not be opened for want of room. The shared memory is a file, too, and SQLite
/// does not say why it did not grow; want of room is the reason by far. In a commit that must not be
/// taken for it: by then the changes may be in the WAL.
fn no_room_to_open(error: &rusqlite::Error) -> bool {
    Failure::of(error) == Failure::Full
        || error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Refuses what other programs of SQLite read as a database without a file, or as a URI. Here it would
/// name a file in the working folder.
pub(crate) fn refuse_pathless(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err(OpenError::NoPath);
    }
    let is_uri = [&b"file:"[..], b"sqlite:"]
        .iter()
        .any(|scheme| bytes.starts_with(scheme));
    let in_memory = bytes == b":memory:"
        || is_uri
            && [&b":memory:"[..], b"mode=memory"]
                .iter()
                .any(|name| bytes.windows(name.len()).any(|part| part == *name));
    if in_memory {
        Err(OpenError::InMemory { path })
    } else if is_uri {
        Err(OpenError::Uri { path })
    } else {
        Ok(())
    }
}

/// Runs an operation on the whole file. Where it fails after an interrupt, that is why.
pub(crate) fn unless_interrupted<T>(
    config: &Config,
    operation: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    operation().map_err(|error| interrupted(config).unwrap_or(error))
}

/// As [`unless_interrupted`], for one whose report is worth something only when it is whole.
pub(crate) fn whole_unless_interrupted<T>(
    config: &Config,
    operation: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let done = operation();
    interrupted(config).map_or(done, Err)
}

fn interrupted(config: &Config) -> Option<OpenError> {
    let is_interrupted = config.interrupt.as_ref()?.load(Ordering::Relaxed);
    let path = config.path.clone();
    is_interrupted.then_some(OpenError::Interrupted { path })
}

/// The absolute path that `path` names, symbolic links resolved: one file, one name.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    refuse_pathless(path)?;
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        doing: "find",
        source,
    };
    match fs::canonicalize(path) {
        Ok(found) if found.is_dir() => Err(OpenError::IsFolder {
            path: path.to_owned(),
        }),
        Ok(found) => Ok(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or_else(|| io(error))?;
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            match fs::canonicalize(folder) {
                Ok(folder) => Ok(folder.join(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::NoFolder {
                    path: path.to_owned(),
                    folder: folder.to_owned(),
                }),
                Err(error) => Err(io(error)),
            }
        }
        Err(error) => Err(io(error)),
    }
}

/// Sleeps until `ready` answers something, at most until `deadline` has passed.
pub(crate) fn poll_until<T>(
    deadline: Duration,
    mut ready: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Result<T, Duration>> {
    let since = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(Ok(value));
        }
        if since.elapsed() >= deadline {
            return Ok(Err(since.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
