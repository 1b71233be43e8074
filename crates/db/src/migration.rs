//! Migrations: plain SQL in `migrations/`, run by refinery, embedded here or by its own program.
//!
//! refinery takes no lock between processes, so one is taken here: an exclusive lock on a file
//! beside the database, held from the second look at the schema to the end of the migration. All
//! migrations that are due, and their rows in the history, are one transaction.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use refinery::{Migration, Runner};
use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior};

use crate::config::{Config, OnOldSchema};
use crate::connection::{AttemptError, ConnectionFactory, poll_until, with_suffix};
use crate::error::{OpenError, is_contended};
use crate::legacy::{self, Contents, HISTORY_TABLE};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// A migration, as its file is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationName {
    /// Its place in the order.
    pub version: i32,
    /// What it does, in words joined by underscores.
    pub name: String,
}

impl std::fmt::Display for MigrationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

/// A migration that a file has gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its place in the order.
    pub version: i32,
    /// What it did.
    pub name: String,
    /// When, as RFC 3339.
    pub applied_on: String,
}

/// Where a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How long it took, waiting included.
    pub elapsed: Duration,
}

/// Tells where the database at `path` stands. Reads only; creates nothing.
///
/// # Errors
///
/// [`OpenError`] where the file cannot be read, is no SQLite database, or has a history of
/// migrations that is not ours. A legacy database and a schema that is too new are no errors here.
pub fn migration_status(path: &Path) -> Result<MigrationStatus, OpenError> {
    status(&ConnectionFactory::new(&Config::new(path))?)
}

/// Brings the database that `config` names to the current schema, creating it where there is none.
///
/// Blocks the calling thread. Of several processes that do this at once, one migrates and the
/// others wait for it.
///
/// # Errors
///
/// [`OpenError`]; the file is then as it was.
pub fn migrate(config: &Config) -> Result<MigrationReport, OpenError> {
    bring_up_to_date(&ConnectionFactory::new(config)?, OnOldSchema::Migrate)
}

/// [`migrate`], or the refusal to where `on_old_schema` says so.
pub(crate) fn bring_up_to_date(
    factory: &ConnectionFactory,
    on_old_schema: OnOldSchema,
) -> Result<MigrationReport, OpenError> {
    let started = Instant::now();
    let before = checked_status(factory)?;
    let report = |created, from: i32, applied| MigrationReport {
        path: factory.path().to_owned(),
        created,
        from,
        to: latest(),
        applied,
        elapsed: started.elapsed(),
    };
    if before.pending.is_empty() {
        return Ok(report(false, before.version, Vec::new()));
    }
    let path = factory.path().to_owned();
    if on_old_schema == OnOldSchema::Refuse {
        return Err(match before.contents {
            Contents::Missing => OpenError::Missing { path },
            _ => OpenError::SchemaTooOld {
                path,
                found: before.version,
                known: latest(),
            },
        });
    }
    require_writable(factory)?;

    let _lock = MigrationLock::acquire(factory)?;
    // Whoever held the lock before may have done the work.
    let before = checked_status(factory)?;
    if before.pending.is_empty() {
        return Ok(report(false, before.version, Vec::new()));
    }
    let created = factory.create_file()?;
    let (mut connection, _) = factory.open_writer()?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let applied = factory.retrying("migrate", || {
        runner()
            .run(&mut connection)
            .map_err(|error| migration_error(factory, error))
    })?;
    for migration in applied.applied_migrations() {
        tracing::info!(path = %factory.path().display(), %migration, "migration applied");
    }
    Ok(report(
        created,
        before.version,
        applied.applied_migrations().iter().map(name_of).collect(),
    ))
}

/// The status, where it is one that this program can go on from.
pub(crate) fn checked_status(factory: &ConnectionFactory) -> Result<MigrationStatus, OpenError> {
    let status = status(factory)?;
    let path = factory.path().to_owned();
    match status.contents {
        Contents::Legacy(kind) => Err(OpenError::Legacy { path, kind }),
        _ if status.version > status.latest => Err(OpenError::SchemaTooNew {
            path,
            found: status.version,
            known: status.latest,
        }),
        _ => Ok(status),
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

fn status(factory: &ConnectionFactory) -> Result<MigrationStatus, OpenError> {
    let path = factory.path().to_owned();
    let (contents, applied) = if fs::metadata(&path).is_ok() {
        let connection = factory.open_reader(factory.traceless_mode())?;
        factory.retrying("read", || {
            let contents = legacy::inspect(&connection)?;
            Ok((contents, history(&connection, factory)?))
        })?
    } else {
        (Contents::Missing, Vec::new())
    };
    let version = applied.last().map_or(0, |last| last.version);
    let pending = migrations()
        .iter()
        .filter(|due| due.version() > version)
        .map(name_of)
        .collect();
    Ok(MigrationStatus {
        path,
        contents,
        version,
        latest: latest(),
        applied,
        pending,
    })
}

/// The history in the file, checked: refinery itself panics on rows that it did not write.
fn history(
    connection: &Connection,
    factory: &ConnectionFactory,
) -> Result<Vec<AppliedMigration>, AttemptError> {
    if !connection.table_exists(None, HISTORY_TABLE)? {
        return Ok(Vec::new());
    }
    let foreign = |reason: String| {
        AttemptError::Open(OpenError::ForeignHistory {
            path: factory.path().to_owned(),
            reason,
        })
    };
    let mut statement = connection.prepare(
        "SELECT version, name, applied_on, checksum, julianday(applied_on) IS NOT NULL
         FROM refinery_schema_history ORDER BY version",
    )?;
    let mut rows = statement.query([])?;
    let mut applied = Vec::new();
    let known = migrations();
    while let Some(row) = rows.next()? {
        let values: [Value; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let dated: bool = row.get(4)?;
        let [
            Value::Integer(version),
            Value::Text(name),
            Value::Text(applied_on),
            Value::Text(checksum),
        ] = values
        else {
            return Err(foreign(
                "it has a row that refinery did not write".to_owned(),
            ));
        };
        let (Ok(version), Ok(checksum), true) =
            (i32::try_from(version), checksum.parse::<u64>(), dated)
        else {
            return Err(foreign(format!(
                "the row of version {version} is malformed"
            )));
        };
        applied.push((
            AppliedMigration {
                version,
                name,
                applied_on,
            },
            checksum,
        ));
    }
    let version = applied.last().map_or(0, |(last, _)| last.version);
    // A newer program may have reasons of its own for what is in a newer history.
    if version <= latest() {
        for (AppliedMigration { version, name, .. }, checksum) in &applied {
            match known.iter().find(|ours| ours.version() == *version) {
                Some(ours) if ours.name() == name && ours.checksum() == *checksum => {}
                Some(ours) => {
                    return Err(foreign(format!(
                        "version {version} is `{}` there, and another migration here (`{}`)",
                        shown(name),
                        ours.name()
                    )));
                }
                None => {
                    return Err(foreign(format!(
                        "version {version} (`{}`) is not known here",
                        shown(name)
                    )));
                }
            }
        }
        let missing = known
            .iter()
            .filter(|ours| ours.version() <= version)
            .find(|ours| {
                applied
                    .iter()
                    .all(|(there, _)| there.version != ours.version())
            });
        if let Some(ours) = missing {
            return Err(foreign(format!(
                "version {} is missing there",
                ours.version()
            )));
        }
    }
    Ok(applied
        .into_iter()
        .map(|(migration, _)| migration)
        .collect())
}

/// A name that somebody else wrote: may be long, and may hold anything.
fn shown(name: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = name.chars().take(SHOWN).collect();
    shown.escape_debug().to_string()
}

fn runner() -> Runner {
    embedded::migrations::runner().set_grouped(true)
}

/// The embedded migrations, in order.
fn migrations() -> Vec<Migration> {
    let mut migrations = runner().get_migrations().clone();
    migrations.sort();
    migrations
}

/// The latest version that this program knows.
pub(crate) fn latest() -> i32 {
    migrations().last().map_or(0, Migration::version)
}

fn name_of(migration: &Migration) -> MigrationName {
    MigrationName {
        version: migration.version(),
        name: migration.name().to_owned(),
    }
}

/// Contention inside refinery is tried again like any other; all else ends the migration.
fn migration_error(factory: &ConnectionFactory, error: refinery::Error) -> AttemptError {
    use std::error::Error as _;
    let contended = error
        .source()
        .and_then(|source| source.downcast_ref::<rusqlite::Error>())
        .filter(|error| is_contended(error))
        .and_then(rusqlite::Error::sqlite_error)
        .copied();
    match contended {
        Some(code) => AttemptError::Sqlite(rusqlite::Error::SqliteFailure(code, None)),
        None => AttemptError::Open(OpenError::Migration {
            path: factory.path().to_owned(),
            source: Box::new(error),
        }),
    }
}

/// Held by the one process that migrates a file. The lock file stays: removing it would let two
/// processes lock two files of one name.
#[derive(Debug)]
struct MigrationLock {
    _file: fs::File,
}

impl MigrationLock {
    fn acquire(factory: &ConnectionFactory) -> Result<Self, OpenError> {
        let path = with_suffix(factory.path(), "-migrate.lock");
        let io = |doing| {
            let path = path.clone();
            move |source| OpenError::Io {
                path,
                doing,
                source,
            }
        };
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(io("create the lock file"))?;
        let locked = poll_until(factory.retry().deadline(), || match file.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        });
        match locked.map_err(io("lock"))? {
            Ok(()) => Ok(Self { _file: file }),
            Err(waited) => Err(OpenError::MigrationLocked {
                path: factory.path().to_owned(),
                waited,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_the_folder_is_a_migration_that_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        files.sort();
        // refinery skips a file whose name does not fit in silence.
        let embedded: Vec<String> = migrations()
            .iter()
            .map(|migration| format!("{}.sql", name_of(migration)))
            .collect();
        assert_eq!(files, embedded);
        assert_eq!(latest(), i32::try_from(embedded.len()).unwrap());
    }

    #[test]
    fn every_migration_has_its_rollback() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/rollback");
        for migration in migrations() {
            let undo = folder.join(format!("undo_{}.sql", name_of(&migration)));
            assert!(fs::metadata(&undo).is_ok(), "{}", undo.display());
        }
    }
}
