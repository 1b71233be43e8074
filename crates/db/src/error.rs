//! What can go wrong, decided once, from SQLite's result codes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::ffi;
use thiserror::Error;

use crate::invalid::InvalidRow;
use crate::lock::holder::{LockHolder, held_by};
use crate::lock::other_processes::OtherProcess;
use crate::lock::retry::Exhausted;
use crate::migration::{ForeignObject, LegacyKind};

/// An error of SQLite or of its driver.
///
/// Wraps the driver's own type, which is no part of this crate's interface; its text and its
/// sources are kept. Cheap to clone, because one failure may be the answer to many callers.
#[derive(Debug, Clone)]
pub struct SqliteError(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// SQLite's own text for a lock that was not free says neither who holds it nor how long was waited; the
/// error that this one is the source of does. So it is only named.
impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.sqlite_error() {
            Some(error) if is_contended(&self.0) => {
                let name = match error.extended_code & 0xff {
                    ffi::SQLITE_BUSY => "SQLITE_BUSY",
                    ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
                    _ => "SQLITE_PROTOCOL",
                };
                write!(f, "{name} ({})", error.extended_code)
            }
            _ => self.0.fmt(f),
        }
    }
}

impl std::error::Error for SqliteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its text says that the database is locked, too.
        if is_contended(&self.0) {
            return None;
        }
        self.0.source()
    }
}

/// For errors whose cause may be of several kinds.
pub(crate) fn boxed(error: rusqlite::Error) -> Box<dyn std::error::Error + Send + Sync> {
    SqliteError::from(error).into()
}

impl SqliteError {
    /// SQLite's extended result code, where the error came from SQLite.
    #[must_use]
    pub fn extended_code(&self) -> Option<i32> {
        self.0.sqlite_error().map(|error| error.extended_code)
    }

    pub(crate) fn failure(&self) -> Failure {
        Failure::of(&self.0)
    }
}

/// Why a database could not be opened or migrated. Nothing was changed, unless the variant says so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path is empty.
    #[error("the path of the database is empty: give the path of a file")]
    NoPath,
    /// The path asks for a database in memory.
    #[error("`{}` names no file: a database is a file, which several connections share; for tests there is `roas_domain::testing::MemoryRepository` (feature `testing`), or a file in a temporary folder", path.display())]
    InMemory {
        /// What was given for a path.
        path: PathBuf,
    },
    /// The path is a URI.
    #[error("`{0}` is a URI: give the path alone, or `./{0}` for a file of that name", path.display())]
    Uri {
        /// What was given for a path.
        path: PathBuf,
    },
    /// The database was opened outside a tokio runtime.
    #[error("cannot open `{}` outside a tokio runtime: call it from an async function that one runs (`#[tokio::main]`, `Runtime::block_on`)", path.display())]
    NoRuntime {
        /// The path.
        path: PathBuf,
    },
    /// The path names a folder.
    #[error("`{}` is a folder: expected a database file", path.display())]
    IsFolder {
        /// The path.
        path: PathBuf,
    },
    /// The folder that the file should lie in does not exist.
    #[error("cannot create `{}`: there is no folder `{}`; create it first", path.display(), folder.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// There is no such file, and it was to be read only.
    #[error("there is no database at `{}`", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file is empty or has other modules' tables only, and it was to be read only.
    #[error("`{}` holds no activity meter yet", path.display())]
    NotInitialized {
        /// The path.
        path: PathBuf,
    },
    /// A file could not be opened: the database, or one of those beside it.
    #[error("`{}` cannot be opened: look at the permissions of the file and its folder, at links in the place of its `-wal` and `-shm`, and at how many files this process may have open", path.display())]
    NoAccess {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: SqliteError,
    },
    /// The file's permissions do not allow writing, or its folder's do not.
    #[error("`{}` is read-only: allow writing to it and to its folder (chmod u+w) or name another file", path.display())]
    ReadOnlyFile {
        /// The path.
        path: PathBuf,
    },
    /// A WAL or a rollback journal has to be brought into the database before it can be read, which
    /// takes the right to write there.
    #[error("`{}` is of somebody who was stopped while writing, and `{}` cannot be read without bringing it in, which takes the right to write there: copy both to a folder of your own, and read them there", beside.display(), path.display())]
    NeedsRecovery {
        /// The path.
        path: PathBuf,
        /// The WAL or the journal.
        beside: PathBuf,
    },
    /// The file is not a SQLite database.
    #[error("`{}` is not a SQLite database; it was left untouched", path.display())]
    NotADatabase {
        /// The path.
        path: PathBuf,
    },
    /// A WAL with changes in it lies where its database should be, which is missing or empty. SQLite
    /// would delete it.
    #[error("`{}` holds changes of a database that is missing or empty: put `{}` back beside it, or move it away; both were left untouched", wal.display(), path.display())]
    WalWithoutDatabase {
        /// The path.
        path: PathBuf,
        /// The WAL.
        wal: PathBuf,
    },
    /// The database has several names. Its WAL lies beside one of them, so that a program that opens it
    /// by another name does not see it, and both write over each other.
    #[error("`{}` has {links} names (hard links), and who opens it by another one does not see what is written by this: remove the other names, or put a copy in its place that has only one; snapshot tools make such links (`cp -l`, `rsync --link-dest`), a backup of the database does not need them", path.display())]
    HardLinked {
        /// The path of the database, or of the file beside it that has several names.
        path: PathBuf,
        /// How many.
        links: u64,
    },
    /// The database is mounted as a single file. Its WAL lies outside of what is mounted.
    #[error("`{}` is mounted as a single file, so that its WAL, with what was written last, lies outside of what is mounted and is lost with the container: mount the folder that it is in", path.display())]
    MountPoint {
        /// The path of the database, or of the file beside it that is mounted.
        path: PathBuf,
    },
    /// Another process has a WAL or a shared memory of this database open that is not at its path any
    /// more.
    #[error("the `-wal` or `-shm` of `{}` was removed, replaced or overwritten while another process has it open{} (waited {waited:.1?}): end that process, so that it copies what it has into the database, and try again", path.display(), named(by))]
    SideFilesLost {
        /// The path.
        path: PathBuf,
        /// The processes, as far as the system tells.
        by: Vec<OtherProcess>,
        /// How long was waited.
        waited: Duration,
    },
    /// The file is a database of the original bot, and it was not to be migrated.
    #[error("`{}` is a database of the original bot ({kind}) and has not been migrated", path.display())]
    Legacy {
        /// The path.
        path: PathBuf,
        /// Which of the original's schemas it has.
        kind: LegacyKind,
    },
    /// The schema is newer than this program knows.
    #[error("`{}` has schema version {found}, but this program knows only up to {known}: use a newer one", path.display())]
    SchemaTooNew {
        /// The path.
        path: PathBuf,
        /// The version found.
        found: i32,
        /// The latest version known.
        known: i32,
    },
    /// The schema is older than this program needs, and it was not to be migrated.
    #[error("`{}` has schema version {found}, but version {known} is needed", path.display())]
    SchemaTooOld {
        /// The path.
        path: PathBuf,
        /// The version found; 0 where there is none.
        found: i32,
        /// The version needed.
        known: i32,
    },
    /// The file has a table of the original bot's name that is of a shape unknown here.
    #[error("`{}` has a table `{table}` that is not taken over: {reason}; it was left untouched", path.display())]
    UnknownShape {
        /// The path.
        path: PathBuf,
        /// The table.
        table: String,
        /// What is the matter with it.
        reason: &'static str,
    },
    /// Objects of other modules keep the file from being migrated, or the meter from recording then.
    #[error("`{}` is not migrated: {}; it was left untouched", path.display(), list(objects))]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What is in the way, and why.
        objects: Vec<ForeignObject>,
    },
    /// The history of migrations in the file says something else than its tables.
    #[error("`{}` is half migrated: {reason}", path.display())]
    HalfMigrated {
        /// The path.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file cannot be mended without losing something.
    #[error("`{}` is not repaired: {reason}", path.display())]
    Irreparable {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A migration was asked for an older version than the file has.
    #[error("cannot migrate `{}` to schema version {wanted}: it already has version {found}", path.display())]
    MigratesDown {
        /// The path.
        path: PathBuf,
        /// The version asked for.
        wanted: i32,
        /// The version found.
        found: i32,
    },
    /// A rollback was asked for a newer version than the file has.
    #[error("cannot roll `{}` back to schema version {wanted}: it has only version {found}", path.display())]
    RollsBackUp {
        /// The path.
        path: PathBuf,
        /// The version asked for.
        wanted: i32,
        /// The version found.
        found: i32,
    },
    /// There is no such version to migrate or to roll back to.
    #[error("cannot bring `{}` to schema version {wanted}: {reason}", path.display())]
    NoSuchVersion {
        /// The path.
        path: PathBuf,
        /// The version asked for.
        wanted: i32,
        /// Why not.
        reason: String,
    },
    /// Another process has the file open, and would go on with a schema that is gone.
    #[error("`{}` is open in another process: {}; stop it first", path.display(), list(by))]
    InUse {
        /// The path.
        path: PathBuf,
        /// The processes.
        by: Vec<OtherProcess>,
    },
    /// The file to be written is there already.
    #[error("`{}` is there already; it was left untouched", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The file to be written is the database itself, or belongs to it: writing there would destroy it.
    #[error("`{}` belongs to the database `{}`; choose another file to write to", path.display(), database.display())]
    OwnFile {
        /// The path that was to be written.
        path: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// The path has the name of the WAL, the shared memory, the journal or a lock file of a database
    /// that is there.
    #[error("`{}` is the name of a file that belongs to another database; choose another name", path.display())]
    SideFile {
        /// The path.
        path: PathBuf,
    },
    /// The operation was interrupted ([`Config::interrupt`](crate::Config::interrupt)); the file is as it
    /// was.
    #[error("interrupted; `{}` is as it was", path.display())]
    Interrupted {
        /// The database.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("`{}` is damaged: {finding}; stop its users, keep a copy of it, and restore a backup", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// The first thing that SQLite found.
        finding: String,
    },
    /// The history of migrations in the file does not fit this program's.
    #[error("the migration history of `{}` does not fit this program: {reason}", path.display())]
    ForeignHistory {
        /// The path.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A migration failed; it was rolled back.
    #[error("cannot migrate `{}`; it is as it was", path.display())]
    Migration {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A script that undoes a migration failed; nothing of it stays.
    #[error("cannot roll `{}` back; it is as it was", path.display())]
    Rollback {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process was migrating the file for longer than the policy allows.
    #[error("another process has been migrating `{}` for {waited:.1?}; try again when it is done", path.display())]
    MigrationLocked {
        /// The path.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// Another connection kept the database, for longer than the policy allows.
    #[error("`{}` is in use by another connection (waited {waited:.1?}, {}{}); try again when it is free", path.display(), counted(*attempts), held_by(holder.as_ref()))]
    Busy {
        /// The path.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
        /// How often it was tried.
        attempts: u32,
        /// Who held it at the end, where the system tells.
        holder: Option<LockHolder>,
        /// The last attempt's error.
        #[source]
        source: SqliteError,
    },
    /// The database is open for writing in this process already.
    #[error("`{}` is open in this process already: share its `Database`, or close it first", path.display())]
    AlreadyOpen {
        /// The path.
        path: PathBuf,
    },
    /// A `Database` of this process on the file was closed or dropped, and its writer has not come to
    /// an end within the policy's deadline.
    #[error("`{}` is still closing in this process (waited {waited:.1?}): its queued writes are not done yet; try again later", path.display())]
    StillClosing {
        /// The path.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The SQLite that is linked has a known corruption bug.
    #[error(
        "SQLite {found} is too old: 3.51.3 or later is needed (it mends a corruption in WAL mode)"
    )]
    SqliteTooOld {
        /// The version found.
        found: &'static str,
    },
    /// No room is left on the disk, or under its quota.
    #[error("no room is left on the disk of `{}` (or under its quota); free some, and try again", path.display())]
    Full {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting did not take.
    #[error("cannot set {setting} to {wanted} on `{}`: it reads back as {found}", path.display())]
    Setting {
        /// The path.
        path: PathBuf,
        /// The pragma.
        setting: &'static str,
        /// What was set.
        wanted: i64,
        /// What it reads back as.
        found: i64,
    },
    /// An error of the operating system.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Any other error of SQLite.
    #[error("cannot {doing} `{}`", path.display())]
    Sqlite {
        /// The path.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: SqliteError,
    },
}

impl OpenError {
    /// The error of the operating system when it was `doing` something with `path`.
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                path,
                source: source.into(),
            },
            _ => Self::Io {
                path,
                doing,
                source,
            },
        }
    }

    /// The error about `original`, where it is about what was found in a copy of it.
    pub(crate) fn of_copy(mut self, original: &Path) -> Self {
        if let Self::Damaged { path, .. }
        | Self::NotADatabase { path }
        | Self::Migration { path, .. } = &mut self
        {
            original.clone_into(path);
        }
        self
    }

    /// What it means for whoever asked for something else than to open the file.
    pub(crate) fn kind(&self) -> RepositoryErrorKind {
        match self {
            Self::Busy {
                waited, attempts, ..
            } => RepositoryErrorKind::Busy {
                waited: *waited,
                attempts: *attempts,
            },
            Self::Full { .. } => RepositoryErrorKind::StorageFull,
            _ => RepositoryErrorKind::Unavailable,
        }
    }
}

/// Whether something failed because no room was left.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error
            .downcast_ref::<SqliteError>()
            .is_some_and(|error| error.failure() == Failure::Full)
    })
}

fn named(by: &[OtherProcess]) -> String {
    if by.is_empty() {
        String::new()
    } else {
        format!(": {}", list(by))
    }
}

fn list(items: &[impl ToString]) -> String {
    let names: Vec<_> = items.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// What a failure of SQLite means for whoever asked, by its result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Somebody else holds a lock: the transaction may be tried again.
    Contended,
    /// The statement broke a rule of the schema, or SQLite refused it: this request's own fault.
    Rejected,
    /// No room left.
    Full,
    /// The database cannot be written to.
    ReadOnly,
    /// A row holds a value that the domain does not allow. SQLite finds nothing wrong with it: most
    /// likely somebody edited it.
    InvalidData,
    /// The database is damaged, or is none.
    Corrupt,
    /// The connection or its file is not to be trusted any more.
    Unusable,
}

impl Failure {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
            return match error {
                E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::Utf8Error(..) => Self::InvalidData,
                _ => Self::Rejected,
            };
        };
        // Extended codes carry the primary one in their lowest byte.
        match code & 0xff {
            // PROTOCOL is a lost race for the WAL's locks.
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => Self::Contended,
            ffi::SQLITE_FULL => Self::Full,
            ffi::SQLITE_READONLY => Self::ReadOnly,
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Self::Corrupt,
            ffi::SQLITE_IOERR
            | ffi::SQLITE_CANTOPEN
            | ffi::SQLITE_NOMEM
            | ffi::SQLITE_PERM
            | ffi::SQLITE_AUTH
            | ffi::SQLITE_NOLFS => Self::Unusable,
            _ => Self::Rejected,
        }
    }
}

pub(crate) fn is_contended(error: &rusqlite::Error) -> bool {
    Failure::of(error) == Failure::Contended
}

/// The error for a transaction that was begun and is over. SQLite rolls back by itself on a serious error,
/// and does not always answer with it: not where it reads the planner's statistics with the schema. What
/// follows would be carried out statement by statement.
pub(crate) fn ended_by_itself() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_IOERR),
        Some("the transaction was rolled back while the schema was read".to_owned()),
    )
}

/// The port's error for a failed statement. `doing` completes "cannot …".
pub(crate) fn repository_error(doing: &str, error: rusqlite::Error) -> RepositoryError {
    let error = match InvalidRow::take_from(error) {
        Ok(row) => {
            let message = format!("cannot {doing}: {row}");
            return RepositoryError::with_source(RepositoryErrorKind::InvalidData, message, row);
        }
        Err(error) => error,
    };
    let (kind, advice) = match Failure::of(&error) {
        Failure::Contended => (
            RepositoryErrorKind::Busy {
                waited: Duration::ZERO,
                attempts: 1,
            },
            "the database is held by another connection",
        ),
        Failure::Rejected => (
            RepositoryErrorKind::Internal,
            "SQLite refused the statement",
        ),
        Failure::Full => (
            RepositoryErrorKind::StorageFull,
            "no room is left on the disk (or under its quota); free some, and try again",
        ),
        Failure::ReadOnly => (
            RepositoryErrorKind::ReadOnly,
            "the database cannot be written to",
        ),
        Failure::InvalidData => (
            RepositoryErrorKind::InvalidData,
            "a row holds a value that does not belong there",
        ),
        Failure::Corrupt => (
            RepositoryErrorKind::Corrupt,
            "the database is damaged; stop its users and restore a backup",
        ),
        Failure::Unusable => (
            RepositoryErrorKind::Unavailable,
            "the file or its disk failed; look at the cause, the next call opens it anew",
        ),
    };
    RepositoryError::with_source(
        kind,
        format!("cannot {doing}: {advice}"),
        SqliteError::from(error),
    )
}

/// The port's error for a lock that was not had within the policy; `holder` has it now.
pub(crate) fn busy_error(
    exhausted: Exhausted,
    holder: Option<&LockHolder>,
    error: SqliteError,
) -> RepositoryError {
    let Exhausted { waited, attempts } = exhausted;
    RepositoryError::with_source(
        RepositoryErrorKind::Busy { waited, attempts },
        format!(
            "the database was held by another connection (waited {waited:.1?}, {}{}); \
             nothing was applied, try again later",
            counted(attempts),
            held_by(holder)
        ),
        error,
    )
}

fn counted(attempts: u32) -> String {
    match attempts {
        1 => "1 attempt".to_owned(),
        _ => format!("{attempts} attempts"),
    }
}

/// The port's error for a commit of which nobody knows whether it took effect.
pub(crate) fn outcome_unknown(why: &str) -> RepositoryError {
    RepositoryError::new(
        RepositoryErrorKind::OutcomeUnknown,
        format!(
            "{why}; whether the write was applied cannot be known, recording the same event again \
             is safe where it carries an id"
        ),
    )
}

/// How a database came to its end. All its handles share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending(Arc<OnceLock<&'static str>>);

impl Ending {
    /// By `Database::close`.
    pub(crate) fn closed(&self) {
        let _ = self.0.set("the database was closed");
    }

    /// Its `Database` was dropped.
    pub(crate) fn dropped(&self) {
        let _ = self.0.set(
            "the `Database` was dropped, which closes it: keep it for as long as its repositories \
             are used",
        );
    }

    /// The port's error for a call that came too late.
    pub(crate) fn error(&self) -> RepositoryError {
        let how = self.0.get().copied().unwrap_or("the database is closed");
        RepositoryError::new(RepositoryErrorKind::Closed, how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Failure {
        Failure::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn retryability_is_decided_by_the_result_code() {
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_BUSY_TIMEOUT,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_LOCKED_SHAREDCACHE,
            ffi::SQLITE_PROTOCOL,
        ] {
            assert_eq!(failure(code), Failure::Contended, "{code}");
        }
        for (code, expected) in [
            (ffi::SQLITE_FULL, Failure::Full),
            (ffi::SQLITE_READONLY_DBMOVED, Failure::ReadOnly),
            (ffi::SQLITE_CORRUPT_INDEX, Failure::Corrupt),
            (ffi::SQLITE_NOTADB, Failure::Corrupt),
            (ffi::SQLITE_IOERR_FSYNC, Failure::Unusable),
            (ffi::SQLITE_CANTOPEN, Failure::Unusable),
            (ffi::SQLITE_CONSTRAINT_CHECK, Failure::Rejected),
            (ffi::SQLITE_ERROR, Failure::Rejected),
        ] {
            assert_eq!(failure(code), expected, "{code}");
        }
    }

    #[test]
    fn a_message_that_speaks_of_locks_does_not_make_an_error_retryable() {
        let error = rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_ERROR),
            Some("database is locked".to_owned()),
        );
        assert!(!is_contended(&error));
    }

    /// With all of its sources, as a program shows it.
    #[test]
    fn no_text_of_ours_says_that_the_database_is_locked() {
        let chain = |error: &dyn std::error::Error| {
            std::iter::successors(Some(error), |error| error.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": ")
        };
        for (code, name) in [
            (ffi::SQLITE_BUSY, "SQLITE_BUSY (5)"),
            (ffi::SQLITE_BUSY_RECOVERY, "SQLITE_BUSY (261)"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "SQLITE_BUSY (517)"),
            (ffi::SQLITE_LOCKED, "SQLITE_LOCKED (6)"),
            (ffi::SQLITE_LOCKED_SHAREDCACHE, "SQLITE_LOCKED (262)"),
            (ffi::SQLITE_PROTOCOL, "SQLITE_PROTOCOL (15)"),
        ] {
            for message in [None, Some("database is locked".to_owned())] {
                let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), message);
                let text = chain(&repository_error("record the event", error));
                assert!(!text.contains("locked"), "{text}");
                assert!(text.ends_with(name), "{text}");
            }
        }
    }

    #[test]
    fn errors_of_the_port_keep_kind_and_source() {
        use std::error::Error as _;
        let full = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let error = repository_error("record the event", full);
        assert_eq!(error.kind(), RepositoryErrorKind::StorageFull);
        let source = error
            .source()
            .and_then(|source| source.downcast_ref::<SqliteError>());
        assert_eq!(
            source.and_then(SqliteError::extended_code),
            Some(ffi::SQLITE_FULL)
        );
    }
}
