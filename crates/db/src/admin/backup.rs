//! Copies of a database: snapshots before a migration, backups beside running writers, and back.
//!
//! A copy is made by SQLite, page for page, of one committed state, whatever is written meanwhile.
//! It is checked, synced, and only then given its name.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::admin::integrity::{Integrity, is_damage};
use crate::admin::progress::{Phase, Watcher};
use crate::config::Config;
use crate::connection::{AttemptError, ConnectionFactory, refuse_pathless, unless_interrupted};
use crate::error::{OpenError, is_full};
use crate::files::with_suffix;
use crate::files::{belongs_to_database, is_side_file, sync_folder};
use crate::migration::{self, Contents};
use crate::migration::{MigrationLock, refuse_other_processes, require_writable};
use crate::partial::{Existing, Partial};

/// What a backup or a restoration has written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The file that was read.
    pub from: PathBuf,
    /// The file that was written.
    pub to: PathBuf,
    /// What it holds.
    pub contents: Contents,
    /// Its size.
    pub bytes: u64,
    /// How long it took, the check included.
    pub elapsed: Duration,
}

/// Pages copied between two looks at the progress.
const PAGES_PER_STEP: i32 = 4_096;

/// Copies the database that `config` names to `target`, beside running writers, and checks the copy.
///
/// The copy is one committed state. It is a file of its own without a WAL, for its owner alone. A
/// file that is there already is refused, unless `replace` says otherwise; a symbolic link of that
/// name is never followed.
///
/// Blocks the calling thread, and holds a read transaction for as long: writers go on, but the WAL
/// grows meanwhile.
///
/// # Errors
///
/// [`OpenError`]; `target` is then as it was.
pub fn backup(
    config: &Config,
    target: &Path,
    replace: bool,
    watcher: &Watcher,
) -> Result<BackupReport, OpenError> {
    unless_interrupted(config, || {
        let started = Instant::now();
        let factory = ConnectionFactory::new(config)?;
        factory.refuse_lost_database()?;
        if !factory.path().exists() {
            return Err(OpenError::Missing {
                path: factory.path().to_owned(),
            });
        }
        let target = place_for(target)?;
        refuse_database_files(&target, &factory)?;
        let existing = existing_at(&target, replace)?;
        let (bytes, contents) = copy(&factory, &target, existing, None, watcher)?;
        Ok(BackupReport {
            from: factory.path().to_owned(),
            to: target,
            contents,
            bytes,
            elapsed: started.elapsed(),
        })
    })
}

/// Puts a copy of `source`, which is checked first, in the place of the database that `config` names.
///
/// A database that is there already is refused, unless `replace` says otherwise; then it must be open
/// in no other process, and its WAL and shared memory go with it. So does a WAL that has lost its
/// database. Until the new file has the name,
/// the old database is untouched.
///
/// Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`]; the database is then as it was.
pub fn restore(
    config: &Config,
    source: &Path,
    replace: bool,
    watcher: &Watcher,
) -> Result<BackupReport, OpenError> {
    unless_interrupted(config, || {
        let started = Instant::now();
        let factory = ConnectionFactory::new(config)?.claimed()?;
        let from = factory.at(source)?;
        if !from.path().exists() {
            return Err(OpenError::Missing {
                path: from.path().to_owned(),
            });
        }
        refuse_database_files(from.path(), &factory)?;
        if is_side_file(factory.path()) {
            return Err(OpenError::SideFile {
                path: factory.path().to_owned(),
            });
        }
        if !replace {
            factory.refuse_lost_database()?;
        }
        let existing = existing_at(factory.path(), replace)?;
        let lock = MigrationLock::acquire(&factory)?;
        if existing == Existing::Replace {
            require_writable(&factory)?;
            refuse_other_processes(&factory, &lock)?;
        }
        let partial = Partial::new(factory.path())?;
        let (bytes, contents) = fill(&from, &partial, watcher)?;
        factory.check_interrupt()?;
        if contents == Contents::Ours {
            factory.at(partial.path())?.leave_in_wal_mode()?;
        }
        if existing == Existing::Replace {
            let last = retire(&factory)?;
            partial.publish(existing, None)?;
            drop(last);
        } else {
            // A WAL without its database is of one that was deleted, and was to be replaced.
            remove_wal(&factory)?;
            let folder = factory.path().parent();
            partial.publish(existing, folder)?;
        }
        Ok(BackupReport {
            from: from.path().to_owned(),
            to: factory.path().to_owned(),
            contents,
            bytes,
            elapsed: started.elapsed(),
        })
    })
}

/// A copy of the database beside it, named for `reason`; answers its path.
pub(crate) fn snapshot(
    factory: &ConnectionFactory,
    reason: &str,
    watcher: &Watcher,
) -> Result<PathBuf, OpenError> {
    let now = factory.now().to_string().replace([':', '-'], "");
    let mut number = 1;
    loop {
        let suffix = if number == 1 {
            format!("-{reason}-{now}")
        } else {
            format!("-{reason}-{now}-{number}")
        };
        let target = with_suffix(factory.path(), &suffix);
        match copy(
            factory,
            &target,
            Existing::Keep,
            Some(factory.path()),
            watcher,
        ) {
            Ok(_) => return Ok(target),
            // Two snapshots within a second, or a name that somebody has taken.
            Err(OpenError::Exists { .. }) if number < 1_000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Copies the database to `target`, checked and synced; a new file takes the owner of the one at `like`.
fn copy(
    factory: &ConnectionFactory,
    target: &Path,
    existing: Existing,
    like: Option<&Path>,
    watcher: &Watcher,
) -> Result<(u64, Contents), OpenError> {
    if existing == Existing::Keep && target.symlink_metadata().is_ok() {
        return Err(OpenError::Exists {
            path: target.to_owned(),
        });
    }
    let partial = Partial::new(target)?;
    let copied = fill(factory, &partial, watcher)?;
    factory.check_interrupt()?;
    partial.publish(existing, like)?;
    Ok(copied)
}

/// Copies the database into a file in the making, and checks it.
pub(crate) fn fill(
    factory: &ConnectionFactory,
    partial: &Partial,
    watcher: &Watcher,
) -> Result<(u64, Contents), OpenError> {
    let to = factory.at(partial.path())?;
    let mut target = to.open_plain()?;
    factory.reading("copy", |source| {
        copy_pages((factory, source), (&to, &mut target), watcher)
    })?;
    // A file by itself: what reads it later needs no right to create a WAL beside it.
    to.retrying("copy", || {
        target
            .query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
            .map_err(Into::into)
    })?;
    check_copy(factory, &to, &mut target, watcher)?;
    let contents =
        migration::inspect(&target).map_err(|error| factory.sqlite_error("read", error))?;
    target
        .close()
        .map_err(|(_, error)| to.sqlite_error("close", error))?;
    let bytes = std::fs::metadata(partial.path()).map_or(0, |file| file.len());
    Ok((bytes, contents))
}

/// Copies one committed state.
fn copy_pages(
    (original, source): (&ConnectionFactory, &Connection),
    (copy, target): (&ConnectionFactory, &mut Connection),
    watcher: &Watcher,
) -> Result<(), AttemptError> {
    // One transaction from the first page to the last: what others commit meanwhile neither shows up
    // nor makes the copy start over.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    // From here on nothing fails for a lock of the source, so that the copy is not begun again.
    let backup =
        Backup::new(source, target).map_err(|error| original.sqlite_error("copy", error))?;
    loop {
        original.check_interrupt()?;
        let step = backup.step(PAGES_PER_STEP).map_err(|error| {
            // What is written to is the copy; what is damaged, or locked, is the original.
            let of = if is_full(&error) { copy } else { original };
            of.sqlite_error("copy", error)
        })?;
        let progress = backup.progress();
        let total = u64::try_from(progress.pagecount).unwrap_or(0);
        let left = u64::try_from(progress.remaining).unwrap_or(0);
        watcher.tell(Phase::Copying, total.saturating_sub(left), total);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => {}
        }
    }
}

/// Fails where a copy of `original` is damaged. It was copied page for page, so the original is.
fn check_copy(
    original: &ConnectionFactory,
    copy: &ConnectionFactory,
    connection: &mut Connection,
    watcher: &Watcher,
) -> Result<(), OpenError> {
    let pages: u64 = connection
        .pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))
        .map_or(0, i64::unsigned_abs);
    let found = {
        let following = watcher
            .follow(
                original,
                connection,
                Phase::CheckingCopy,
                pages * STEPS_PER_CHECKED_PAGE,
            )
            .map_err(|error| copy.sqlite_error("check", error).of_copy(original.path()))?;
        Integrity::of(&following)
            .map_err(|error| copy.sqlite_error("check", error).of_copy(original.path()))?
    };
    for table in found.unchecked {
        tracing::warn!(path = %original.path().display(), %table, "a table could not be checked");
    }
    match found.damage.into_iter().next() {
        None => Ok(()),
        Some(finding) => Err(OpenError::Damaged {
            path: original.path().to_owned(),
            finding,
        }),
    }
}

/// About how many steps of the virtual machine SQLite takes to check a page.
pub(crate) const STEPS_PER_CHECKED_PAGE: u64 = 400;

/// Moves all that is in the WAL or the journal of a database that is about to be replaced into it, so
/// that nothing of it is left to be played into its successor. Answers a connection that shuts
/// everyone else out.
fn retire(factory: &ConnectionFactory) -> Result<Option<Connection>, OpenError> {
    let retired = factory.retrying("replace", || {
        let connection = factory.open_plain_attempt()?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(connection)
    });
    match retired {
        Ok(connection) => Ok(Some(connection)),
        // It is damaged, or none: its WAL can be played into nothing, and was to be replaced with it.
        Err(error) if is_damage(&error) => {
            remove_wal(factory)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn remove_wal(factory: &ConnectionFactory) -> Result<(), OpenError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let path = with_suffix(factory.path(), suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(crate::files::io_error(&path, "remove")(error));
            }
            _ => {}
        }
    }
    sync_folder(factory.path())
}

/// The absolute path of a file that is to be written. Its folder's symbolic links are resolved, its
/// own are not.
fn place_for(target: &Path) -> Result<PathBuf, OpenError> {
    refuse_pathless(target)?;
    if target.is_dir() {
        return Err(OpenError::IsFolder {
            path: target.to_owned(),
        });
    }
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = std::fs::canonicalize(folder).map_err(|_| OpenError::NoFolder {
        path: target.to_owned(),
        folder: folder.to_owned(),
    })?;
    match target.file_name() {
        Some(name) => Ok(folder.join(name)),
        None => Err(OpenError::IsFolder {
            path: target.to_owned(),
        }),
    }
}

/// Refuses a path to write to (or to restore from) that is the database's own, or that of a file of
/// another database.
fn refuse_database_files(path: &Path, database: &ConnectionFactory) -> Result<(), OpenError> {
    let path = path.to_owned();
    if belongs_to_database(&path, database.path()) {
        let database = database.path().to_owned();
        return Err(OpenError::OwnFile { path, database });
    }
    if is_side_file(&path) {
        return Err(OpenError::SideFile { path });
    }
    Ok(())
}

fn existing_at(path: &Path, replace: bool) -> Result<Existing, OpenError> {
    match path.symlink_metadata() {
        Err(_) => Ok(Existing::Keep),
        // Not a pipe or a device such as `/dev/null`, which root could replace.
        Ok(found) if replace && (found.is_file() || found.is_symlink()) => Ok(Existing::Replace),
        Ok(_) => Err(OpenError::Exists {
            path: path.to_owned(),
        }),
    }
}
