//! Migrations: plain SQL in `migrations/`, run here or by refinery's own program with the same result.
//!
//! refinery takes no lock between processes, so one is taken here: an exclusive lock on a file
//! beside the database, held from the second look at the schema to the end of the migration. All
//! migrations that are due, and their rows in the history, are one transaction.

mod history;
mod lock;
pub(crate) mod objects;
mod repair;
mod rollback;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use refinery::Migration;
use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;

use crate::admin::backup;
use crate::admin::integrity::Integrity;
use crate::admin::progress::{Phase, Watcher};
use crate::config::{Config, OnOldSchema};
use crate::connection::{AttemptError, ConnectionFactory, poll_until, unless_interrupted};
use crate::error::{OpenError, SqliteError, boxed, is_full};
use crate::files::{place_without_room, with_suffix};
use crate::lock::other_processes::other_processes;
use crate::partial::Partial;

pub use crate::admin::check::{CheckReport, check};
pub use crate::takeover::audit::{Audit, DuplicateKey, Reason, audit};
pub use crate::takeover::compare::{Board, Comparison, Place, ReplacedSetting};
pub use crate::takeover::foreign::{ForeignObject, Outlook};
pub(crate) use crate::takeover::legacy::inspect;
pub use crate::takeover::legacy::{Contents, LegacyKind};
pub use crate::takeover::since::{SinceTakeover, since_takeover};
pub use crate::takeover::{RowCounts, Strategy, Takeover};
use crate::takeover::{foreign, legacy};
pub use history::{AppliedMigration, MigrationName};
pub(crate) use history::{due, latest, migrations, name_of};
pub(crate) use lock::MigrationLock;
pub use repair::{RepairReport, repair};
pub use rollback::{RollbackOptions, RollbackReport, rollback};

use crate::takeover::set_strategy;
use history::{HISTORY_DDL, history, insert_history, names, version_of};

/// Where a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// The file's absolute path.
    pub path: PathBuf,
    /// What the file holds.
    pub contents: Contents,
    /// The schema's version; 0 where there is none.
    pub version: i32,
    /// The latest version that this program knows.
    pub latest: i32,
    /// The migrations the file has gone through, oldest first.
    pub applied: Vec<AppliedMigration>,
    /// The migrations still due, in order.
    pub pending: Vec<MigrationName>,
}

/// What a migration did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The file's absolute path.
    pub path: PathBuf,
    /// Whether the file is new.
    pub created: bool,
    /// The schema's version before; 0 where there was none.
    pub from: i32,
    /// The schema's version now.
    pub to: i32,
    /// The migrations that were applied, in order.
    pub applied: Vec<MigrationName>,
    /// The copy of the file as it was, where rows of the original bot were taken over.
    pub snapshot: Option<PathBuf>,
    /// What became of the original's rows, where this migration took them over.
    pub takeover: Option<Takeover>,
    /// How long it took, waiting included.
    pub elapsed: Duration,
}

/// How to migrate. The defaults are those of opening a database.
///
/// ```
/// use roas_db::migration::{MigrateOptions, Strategy};
///
/// let options = MigrateOptions::default().strategy(Strategy::Latest);
/// ```
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    strategy: Strategy,
    to: Option<i32>,
    snapshot: bool,
    watcher: Watcher,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            to: None,
            snapshot: true,
            watcher: Watcher::default(),
        }
    }
}

impl MigrateOptions {
    /// How to merge several rows of one member. Default: [`Strategy::Max`].
    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// The version to stop at. Default: the latest.
    #[must_use]
    pub fn to(self, version: i32) -> Self {
        Self {
            to: Some(version),
            ..self
        }
    }

    /// Whether to write a copy beside the file before rows of the original bot are taken over.
    /// Default: yes.
    #[must_use]
    pub fn snapshot(self, snapshot: bool) -> Self {
        Self { snapshot, ..self }
    }

    /// Who is told how far it is. Default: nobody.
    #[must_use]
    pub fn watcher(self, watcher: Watcher) -> Self {
        Self { watcher, ..self }
    }
}

/// Tells where the database at `path` stands. Reads only; creates nothing.
///
/// # Errors
///
/// [`OpenError`] where the file cannot be read, is no SQLite database, or has a history of
/// migrations that is not ours. A legacy database, a half-migrated one and a schema that is too new
/// are no errors here.
pub fn migration_status(path: &Path) -> Result<MigrationStatus, OpenError> {
    status(&ConnectionFactory::new(&Config::new(path))?).map(|(status, _)| status)
}

/// [`migrate_with`] the default options.
///
/// # Errors
///
/// [`OpenError`]; the file is then as it was.
pub fn migrate(config: &Config) -> Result<MigrationReport, OpenError> {
    migrate_with(config, &MigrateOptions::default())
}

/// Brings the database that `config` names to the current schema, creating it where there is none.
///
/// A database of the original bot is taken over: first a copy is written beside it, checked and
/// synced; then everything happens in one transaction, and is checked before it is committed. It
/// must be open in no other process. Once all that has succeeded, the file is put into WAL mode, where
/// that can be had.
///
/// Blocks the calling thread. Of several processes that do this at once, one migrates and the
/// others wait for it.
///
/// # Errors
///
/// [`OpenError`]; the file is then as it was.
pub fn migrate_with(
    config: &Config,
    options: &MigrateOptions,
) -> Result<MigrationReport, OpenError> {
    unless_interrupted(config, || {
        let factory = ConnectionFactory::new(config)?;
        let report = bring_up_to_date(&factory, OnOldSchema::Migrate, options)?;
        if !report.applied.is_empty()
            && let Err(error) = factory.leave_in_wal_mode()
        {
            // The first opening for writing tries again.
            tracing::warn!(path = %report.path.display(), %error, "migrated, but not yet in WAL mode");
        }
        Ok(report)
    })
}

/// Does what [`migrate_with`] would do on a copy, which is deleted afterwards. The copy lies beside
/// the database and takes as much room as a migration does.
///
/// A file that does not exist, or holds no table, is not copied: its migration has no rows to meet.
///
/// # Errors
///
/// Those of [`migrate_with`].
pub fn rehearse(config: &Config, options: &MigrateOptions) -> Result<MigrationReport, OpenError> {
    unless_interrupted(config, || {
        let started = Instant::now();
        let factory = ConnectionFactory::new(config)?;
        let before = checked_status(&factory)?;
        let to = target_version(&factory, &before, options)?;
        let mut report = MigrationReport {
            path: factory.path().to_owned(),
            created: before.contents == Contents::Missing,
            from: before.version,
            to,
            applied: names(&due(before.version, to)),
            snapshot: None,
            takeover: None,
            elapsed: Duration::ZERO,
        };
        let trivial = matches!(before.contents, Contents::Missing | Contents::Empty);
        if !trivial && !report.applied.is_empty() {
            refuse_obstacles(&factory, &before)?;
            let copy = Partial::new(&with_suffix(factory.path(), "-rehearsal"))?;
            backup::fill(&factory, &copy, &options.watcher)?;
            (report.applied, report.takeover) =
                run(&factory.at(copy.path())?, &before, to, options)
                    .map_err(|error| error.of_copy(factory.path()))?;
        }
        report.elapsed = started.elapsed();
        Ok(report)
    })
}

/// [`migrate_with`], or the refusal to where `on_old_schema` says so.
pub(crate) fn bring_up_to_date(
    factory: &ConnectionFactory,
    on_old_schema: OnOldSchema,
    options: &MigrateOptions,
) -> Result<MigrationReport, OpenError> {
    let started = Instant::now();
    // While another process migrates, the file may not be readable for long.
    let mut lock = if MigrationLock::is_held(factory) {
        Some(MigrationLock::acquire(factory)?)
    } else {
        None
    };
    let mut before = checked_status(factory)?;
    let mut to = target_version(factory, &before, options)?;
    let mut report = MigrationReport {
        path: factory.path().to_owned(),
        created: false,
        from: before.version,
        to: before.version,
        applied: Vec::new(),
        snapshot: None,
        takeover: None,
        elapsed: started.elapsed(),
    };
    if before.version >= to {
        return Ok(report);
    }
    let path = factory.path().to_owned();
    if on_old_schema == OnOldSchema::Refuse {
        return Err(match before.contents {
            Contents::Missing => OpenError::Missing { path },
            Contents::Legacy(kind) => OpenError::Legacy { path, kind },
            _ => OpenError::SchemaTooOld {
                path,
                found: before.version,
                known: latest(),
            },
        });
    }
    require_writable(factory)?;

    if lock.is_none() {
        lock = Some(MigrationLock::acquire(factory)?);
        // Whoever held the lock before may have done the work.
        before = checked_status(factory)?;
        to = target_version(factory, &before, options)?;
        (report.from, report.to) = (before.version, before.version);
        if before.version >= to {
            report.elapsed = started.elapsed();
            return Ok(report);
        }
    }
    refuse_obstacles(factory, &before)?;
    report.created = factory.create_file()?;
    let takes_over = matches!(before.contents, Contents::Legacy(_));
    if takes_over {
        if let Some(lock) = &lock {
            refuse_other_processes(factory, lock)?;
        }
        if options.snapshot {
            let reason = format!("before-v{to}");
            report.snapshot = Some(backup::snapshot(factory, &reason, &options.watcher)?);
        }
    }
    let result = run(factory, &before, to, options);
    if let (Err(_), Some(snapshot)) = (&result, &report.snapshot) {
        // The file is as it was: the copy is of no use, and every further attempt writes another.
        let _ = fs::remove_file(snapshot);
    }
    (report.applied, report.takeover) = result?;
    report.to = to;
    for migration in &report.applied {
        tracing::info!(path = %factory.path().display(), %migration, "migration applied");
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Refuses a first migration that objects of other modules keep from succeeding, or after which nothing
/// could be recorded.
fn refuse_obstacles(
    factory: &ConnectionFactory,
    before: &MigrationStatus,
) -> Result<(), OpenError> {
    if before.version > 0 || matches!(before.contents, Contents::Missing | Contents::Empty) {
        return Ok(());
    }
    let mut objects = factory.reading("read", |connection| {
        // Whatever the version to stop at: the writer's statements need the latest.
        Ok(foreign::examine(
            connection,
            &due(before.version, latest()),
        )?)
    })?;
    objects.retain(|object| matches!(object.outlook, Outlook::InTheWay(_)));
    if objects.is_empty() {
        return Ok(());
    }
    Err(OpenError::InTheWay {
        path: factory.path().to_owned(),
        objects,
    })
}

/// The version to migrate to, if it is this or a later one.
fn target_version(
    factory: &ConnectionFactory,
    before: &MigrationStatus,
    options: &MigrateOptions,
) -> Result<i32, OpenError> {
    let wanted = options.to.unwrap_or_else(latest);
    let path = factory.path().to_owned();
    if wanted < 0 {
        Err(OpenError::NoSuchVersion {
            path,
            wanted,
            reason: "versions start at 0".to_owned(),
        })
    } else if wanted > latest() {
        Err(OpenError::NoSuchVersion {
            path,
            wanted,
            reason: format!("this program knows only up to {}", latest()),
        })
    } else if wanted < before.version {
        Err(OpenError::MigratesDown {
            path,
            wanted,
            found: before.version,
        })
    } else {
        Ok(wanted)
    }
}

/// Runs the migrations up to `to`, as the refinery program does: each script and its row in the
/// history, all of them in one transaction. refinery's own runner would commit before anything could
/// be checked.
fn run(
    factory: &ConnectionFactory,
    before: &MigrationStatus,
    to: i32,
    options: &MigrateOptions,
) -> Result<(Vec<MigrationName>, Option<Takeover>), OpenError> {
    let takes_over = matches!(before.contents, Contents::Legacy(_));
    let mut connection = factory.open_migrator()?;
    factory.retrying("lock", || Ok(connection.execute_batch("BEGIN EXCLUSIVE")?))?;
    // The refinery program takes no lock file.
    let version = factory.retrying("read", || Ok(version_of(&history(&connection, factory)?)))?;
    let due = due(version, to);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        let path = factory.path().to_owned();
        if is_full(&*source) {
            OpenError::Full {
                path: place_without_room(&path),
                source,
            }
        } else {
            OpenError::Migration { path, source }
        }
    };
    let steps = if takes_over {
        legacy::source_rows(&connection).unwrap_or(0) * STEPS_PER_LEGACY_ROW
    } else {
        0
    };
    {
        let following = options
            .watcher
            .follow(factory, &mut connection, Phase::Migrating, steps)
            .map_err(|error| failed(boxed(error)))?;
        apply(factory, &following, &due, options.strategy).map_err(|error| failed(error.into()))?;
    }
    if takes_over {
        verify(factory, &mut connection, &options.watcher)?;
    }
    factory.check_interrupt()?;
    connection
        .execute_batch("COMMIT")
        .map_err(|error| failed(boxed(error)))?;
    let takeover = if takes_over && due.iter().any(|migration| migration.version() == TAKEOVER) {
        Takeover::read(&connection).map_err(|error| factory.sqlite_error("read", error))?
    } else {
        None
    };
    connection
        .close()
        .map_err(|(_, error)| factory.sqlite_error("close", error))?;
    Ok((names(&due), takeover))
}

/// The migration that takes the original's rows over.
const TAKEOVER: i32 = 2;

/// About how many steps of the virtual machine taking over a row takes; for the progress alone.
const STEPS_PER_LEGACY_ROW: u64 = 330;

fn apply(
    factory: &ConnectionFactory,
    connection: &Connection,
    due: &[Migration],
    strategy: Strategy,
) -> Result<(), StepFailed> {
    let step = |migration: &Migration| {
        let migration = name_of(migration).to_string();
        move |error: rusqlite::Error| StepFailed {
            migration,
            source: error.into(),
        }
    };
    for migration in due {
        if migration.version() == TAKEOVER {
            set_strategy(connection, strategy).map_err(step(migration))?;
        }
        connection
            .execute_batch(HISTORY_DDL)
            .and_then(|()| connection.execute_batch(migration.sql().unwrap_or_default()))
            .and_then(|()| insert_history(connection, migration, factory.now()))
            .map_err(step(migration))?;
    }
    Ok(())
}

/// A migration's script failed.
#[derive(Debug, thiserror::Error)]
#[error("{migration}: {source}")]
struct StepFailed {
    migration: String,
    #[source]
    source: SqliteError,
}

/// Looks through the whole file before a change to it is committed.
pub(crate) fn verify(
    factory: &ConnectionFactory,
    connection: &mut Connection,
    watcher: &Watcher,
) -> Result<(), OpenError> {
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap_or(0);
    let steps = pages.unsigned_abs() * backup::STEPS_PER_CHECKED_PAGE;
    let found = watcher
        .follow(factory, connection, Phase::Verifying, steps)
        .and_then(|following| Integrity::of(&following))
        .map_err(|error| factory.sqlite_error("check", error))?;
    match found.damage.into_iter().next() {
        None => Ok(()),
        Some(finding) => Err(OpenError::Damaged {
            path: factory.path().to_owned(),
            finding,
        }),
    }
}

/// The status, where it is one that this program can go on from.
pub(crate) fn checked_status(factory: &ConnectionFactory) -> Result<MigrationStatus, OpenError> {
    let (status, obstacle) = status(factory)?;
    let path = factory.path().to_owned();
    if status.version > status.latest {
        return Err(OpenError::SchemaTooNew {
            path,
            found: status.version,
            known: status.latest,
        });
    }
    match obstacle {
        None => Ok(status),
        Some(Obstacle::UnknownShape(table, reason)) => Err(OpenError::UnknownShape {
            path,
            table,
            reason,
        }),
        Some(Obstacle::HalfMigrated(reason)) => Err(OpenError::HalfMigrated { path, reason }),
    }
}

/// The file's permissions are asked themselves, because to a privileged user nothing is read-only.
pub(crate) fn require_writable(factory: &ConnectionFactory) -> Result<(), OpenError> {
    match fs::metadata(factory.path()) {
        Ok(file) if file.permissions().readonly() => Err(OpenError::ReadOnlyFile {
            path: factory.path().to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Waits until no other process has the file open but those that wait for `lock`.
///
/// Whoever only looks at the file is gone in a moment. A bot stays, and would go on with a schema
/// that is no more.
pub(crate) fn refuse_other_processes(
    factory: &ConnectionFactory,
    lock: &MigrationLock,
) -> Result<(), OpenError> {
    /// Longer than any look at a file takes.
    const PATIENCE: Duration = Duration::from_secs(3);
    let patience = PATIENCE.min(factory.retry().deadline());
    let mut found = Vec::new();
    let gone = poll_until(patience, || {
        found = other_processes(factory.path(), Some(&lock.path));
        Ok(found.is_empty().then_some(()))
    });
    match gone {
        Ok(Ok(())) => Ok(()),
        _ => Err(OpenError::InUse {
            path: factory.path().to_owned(),
            by: found,
        }),
    }
}

/// Why a file cannot be gone on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A table, and what is the matter with it.
    UnknownShape(String, &'static str),
    HalfMigrated(String),
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownShape(table, reason) => write!(f, "table `{table}`: {reason}"),
            Self::HalfMigrated(reason) => f.write_str(reason),
        }
    }
}

pub(crate) fn status(
    factory: &ConnectionFactory,
) -> Result<(MigrationStatus, Option<Obstacle>), OpenError> {
    let path = factory.path().to_owned();
    let (contents, applied, obstacle) = if fs::metadata(&path).is_ok() {
        factory.reading("read", |connection| {
            // One transaction, so that all answers are of one state.
            let transaction = connection.unchecked_transaction()?;
            let contents = legacy::inspect(&transaction)?;
            let applied = history(&transaction, factory)?;
            let obstacle = match objects::contradiction(&transaction, &applied)? {
                Some(reason) => Some(Obstacle::HalfMigrated(reason)),
                None => legacy::unknown_shape(&transaction, contents)?
                    .map(|(table, reason)| Obstacle::UnknownShape(table, reason)),
            };
            Ok((contents, applied, obstacle))
        })?
    } else {
        factory.refuse_lost_database()?;
        (Contents::Missing, Vec::new(), None)
    };
    let version = version_of(&applied);
    let status = MigrationStatus {
        path,
        contents,
        version,
        latest: latest(),
        applied,
        pending: names(&due(version, latest())),
    };
    Ok((status, obstacle))
}

/// Whether somebody has put triggers in. The schema has none of its own.
pub(crate) fn has_triggers(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger')",
        [],
        |row| row.get(0),
    )
}

/// The error for a schema that was changed beside an open database; `None` where the file has the one
/// that this program works with.
pub(crate) fn schema_changed(
    connection: &Connection,
    factory: &ConnectionFactory,
) -> rusqlite::Result<Option<RepositoryError>> {
    let unavailable = |how: String| {
        RepositoryError::new(
            RepositoryErrorKind::Unavailable,
            format!(
                "the schema was changed{how} while the database was open; nothing was applied; \
                 close and open it anew"
            ),
        )
    };
    // Whether a table exists is answered from memory, which this brings up to date.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let history = match history(connection, factory) {
        Ok(history) => history,
        Err(AttemptError::Sqlite(error)) => return Err(error),
        Err(AttemptError::Open(error)) => return Ok(Some(unavailable(format!(" ({error})")))),
    };
    let version = version_of(&history);
    if version != latest() {
        return Ok(Some(unavailable(format!(" to version {version}"))));
    }
    let contradiction = objects::contradiction(connection, &history)?;
    Ok(contradiction.map(|reason| unavailable(format!(" ({reason})"))))
}
