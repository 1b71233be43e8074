//! Opening: what is created, what is refused, and what is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use roas_db::migration::{Contents, LegacyKind};
use roas_db::{
    Access, Config, Database, Durability, JournalMode, OnOldSchema, OpenError, RetryPolicy, Watcher,
};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use roas_domain::{ActivityRepository, RepositoryErrorKind};
use tempfile::tempdir;

use crate::support::{HeldLock, on_runtime, query, quick, raw};

fn open(config: Config) -> Result<Database, OpenError> {
    on_runtime(Database::open(config))
}

fn close(database: Database) {
    on_runtime(database.close()).unwrap();
}

/// Every file in `folder`, with its bytes.
#[expect(clippy::disallowed_methods, reason = "nothing has these files open")]
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Opening `path` for reading, and for writing without a migration, fails alike, and leaves the
/// folder as it was.
fn refused(path: &Path, expected: impl Fn(&OpenError) -> bool) {
    let folder = path.parent().unwrap();
    let before = contents(folder);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let config = Config::new(path)
            .access(access)
            .on_old_schema(OnOldSchema::Refuse);
        let error = open(config).unwrap_err();
        assert!(expected(&error), "{access:?}: {error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    assert!(
        contents(folder) == before,
        "the folder of {} has changed",
        path.display()
    );
}

#[test]
fn a_new_database_is_its_owners_alone_and_current() {
    let folder = tempdir().unwrap();
    let database = open(quick(folder.path())).unwrap();
    let info = database.info().clone();
    assert!(info.created);
    assert_eq!(info.journal_mode, JournalMode::Wal);
    assert_eq!(info.synchronous, Durability::Normal);
    assert_eq!(
        info.migrations_applied.len(),
        usize::try_from(info.schema_version).unwrap()
    );
    assert!(database.size().database_bytes > 0);
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("roas.db{suffix}"));
        assert_eq!(
            fs::metadata(&file).unwrap().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
    close(database);

    let again = open(quick(folder.path())).unwrap();
    assert!(!again.info().created);
    assert!(again.info().migrations_applied.is_empty());
    close(again);
    assert!(!folder.path().join("roas.db-wal").exists());
}

#[test]
fn a_folder_is_no_database() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a folder");
    fs::create_dir(&path).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = open(Config::new(&path).access(access)).unwrap_err();
        assert!(matches!(error, OpenError::IsFolder { .. }), "{error:?}");
    }
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let error = open(Config::new("/nowhere/at/all/roas.db")).unwrap_err();
    assert!(matches!(error, OpenError::NoFolder { .. }), "{error:?}");
    assert!(error.to_string().contains("`/nowhere/at/all`"), "{error}");
}

#[test]
fn what_is_not_sqlite_is_left_alone() {
    let folder = tempdir().unwrap();
    for (name, bytes) in [
        (
            "text.db",
            "this is no database, but it is a little longer than a header".repeat(20),
        ),
        ("short.db", "hello".to_owned()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(&path, |error| {
            matches!(error, OpenError::NotADatabase { .. })
        });
    }
}

#[test]
fn an_empty_file_becomes_a_database_when_it_is_written_to() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("roas.db");
    fs::write(&path, "").unwrap();
    let error = open(Config::new(&path).access(Access::ReadOnly)).unwrap_err();
    assert!(
        matches!(error, OpenError::NotInitialized { .. }),
        "{error:?}"
    );
    let database = open(Config::new(&path)).unwrap();
    assert!(!database.info().created);
    close(database);
}

#[test]
fn a_read_only_file_is_refused_for_writing_and_good_for_reading() {
    let folder = tempdir().unwrap();
    close(open(quick(folder.path())).unwrap());
    let path = folder.path().join("roas.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let error = open(Config::new(&path)).unwrap_err();
    assert!(matches!(error, OpenError::ReadOnlyFile { .. }), "{error:?}");
    close(open(Config::new(&path).access(Access::ReadOnly)).unwrap());
}

#[test]
fn reading_leaves_no_trace() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("roas.db");
    let error = open(Config::new(&missing).access(Access::ReadOnly)).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(contents(folder.path()).is_empty());

    let database = open(quick(folder.path())).unwrap();
    let event = message(member(1, 2), MIDNIGHT);
    on_runtime(database.repository().record(event)).unwrap();
    close(database);

    let before = contents(folder.path());
    let reading = open(Config::new(&missing).access(Access::ReadOnly)).unwrap();
    assert_eq!(reading.info().journal_mode, JournalMode::Wal);
    on_runtime(async {
        let repository = reading.repository();
        let (one, two) = tokio::join!(repository.counts(), repository.find_member(member(1, 2)));
        assert_eq!(
            (one.unwrap().messages, two.unwrap().unwrap().messages),
            (1, 1)
        );
        let error = repository.record(event).await.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::ReadOnly);
        let error = reading.maintain().await.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::ReadOnly);
    });
    close(reading);
    assert!(contents(folder.path()) == before);
}

#[test]
fn reading_beside_a_writer_sees_its_commits_and_leaves_its_files() {
    let folder = tempdir().unwrap();
    let writing = open(quick(folder.path())).unwrap();
    on_runtime(writing.repository().record(message(member(1, 2), MIDNIGHT))).unwrap();
    let reading = open(quick(folder.path()).access(Access::ReadOnly)).unwrap();
    assert_eq!(
        on_runtime(reading.repository().counts()).unwrap().messages,
        1
    );
    close(reading);
    assert!(folder.path().join("roas.db-wal").exists());
    on_runtime(writing.repository().record(message(member(1, 2), MIDNIGHT))).unwrap();
    close(writing);
}

#[test]
fn the_same_file_is_opened_once_whatever_it_is_called() {
    let folder = tempdir().unwrap();
    let database = open(quick(folder.path())).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("roas.db"), &link).unwrap();
    let error = open(Config::new(&link)).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyOpen { .. }), "{error:?}");
    close(database);
    close(open(Config::new(&link)).unwrap());
}

#[test]
fn a_path_is_a_path_and_never_a_uri() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file:roas.db?mode=memory");
    close(open(Config::new(&path)).unwrap());
    assert!(path.exists());
}

/// SQLite's other programs read these as databases in memory, temporary ones, or URIs. Here they
/// would become files of these names in the working folder.
#[test]
fn what_names_no_file_is_refused() {
    let in_memory: fn(&OpenError) -> bool = |error| matches!(error, OpenError::InMemory { .. });
    let uri: fn(&OpenError) -> bool = |error| matches!(error, OpenError::Uri { .. });
    let no_path: fn(&OpenError) -> bool = |error| matches!(error, OpenError::NoPath);
    let before = fs::read_dir(".").unwrap().count();
    for (path, expected) in [
        (":memory:", in_memory),
        ("file::memory:", in_memory),
        ("file::memory:?cache=shared", in_memory),
        ("file:roas.db?mode=memory&cache=shared", in_memory),
        ("sqlite::memory:", in_memory),
        ("", no_path),
        ("file:roas.db", uri),
        ("file:///tmp/roas.db?mode=ro", uri),
        ("sqlite:roas.db", uri),
        ("sqlite://roas.db?mode=rwc", uri),
    ] {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let error = open(Config::new(path).access(access)).unwrap_err();
            assert!(expected(&error), "`{path}`: {error:?}");
        }
        let error = roas_db::migration::migrate(&Config::new(path)).unwrap_err();
        assert!(expected(&error), "`{path}`: {error:?}");
        let folder = tempdir().unwrap();
        let target = Path::new(path);
        close(open(quick(folder.path())).unwrap());
        let error = roas_db::backup(&quick(folder.path()), target, false, &Watcher::default());
        assert!(expected(&error.unwrap_err()), "`{path}`");
        let error = roas_db::restore(&quick(folder.path()), target, true, &Watcher::default());
        assert!(expected(&error.unwrap_err()), "`{path}`");
    }
    assert_eq!(fs::read_dir(".").unwrap().count(), before);
    let error = open(Config::new(":memory:")).unwrap_err().to_string();
    assert!(
        error.contains("roas_domain::testing::MemoryRepository"),
        "{error}"
    );
}

#[test]
fn a_file_of_such_a_name_has_a_path() {
    let folder = tempdir().unwrap();
    for name in [":memory:", "file:roas.db", "memory", "a file:b"] {
        let path = folder.path().join(name);
        close(open(Config::new(&path)).unwrap());
        assert!(path.exists());
    }
}

#[test]
fn databases_of_the_original_bot_are_named_where_they_are_not_to_be_migrated() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy");
    for (name, expected) in [
        ("v23-meter.db", LegacyKind::V23),
        ("v240-duplicates.db", LegacyKind::V240),
        ("v241-primary-key.db", LegacyKind::V241),
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "nothing has the fixture open")]
        fs::copy(fixtures.join(name), &path).unwrap();
        refused(
            &path,
            |error| matches!(error, OpenError::Legacy { kind, .. } if *kind == expected),
        );
        let status = roas_db::migration::migration_status(&path).unwrap();
        assert_eq!(status.contents, Contents::Legacy(expected));
    }
}

#[test]
fn some_of_the_originals_tables_are_enough() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("partial.db");
    raw(
        &path,
        "CREATE TABLE activity_daily (ymd TEXT, guild_id, user_id, msg_cnt)",
    );
    refused(&path, |error| {
        matches!(
            error,
            OpenError::Legacy {
                kind: LegacyKind::Partial,
                ..
            }
        )
    });
}

#[test]
fn other_modules_tables_stay_and_work_beside_ours() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("roas.db");
    raw(
        &path,
        "CREATE TABLE meter (id INTEGER PRIMARY KEY, kwh REAL); INSERT INTO meter VALUES (1, 2)",
    );
    let error = open(quick(folder.path()).access(Access::ReadOnly)).unwrap_err();
    assert!(
        matches!(error, OpenError::NotInitialized { .. }),
        "{error:?}"
    );
    close(open(quick(folder.path())).unwrap());
    assert_eq!(query::<f64>(&path, "SELECT kwh FROM meter"), 2.0);
}

#[test]
fn an_old_schema_is_refused_where_it_is_not_to_be_migrated() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).on_old_schema(OnOldSchema::Refuse);
    let error = open(config.clone()).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(contents(folder.path()).is_empty());
    fs::write(folder.path().join("roas.db"), "").unwrap();
    let error = open(config.clone()).unwrap_err();
    assert!(
        matches!(error, OpenError::SchemaTooOld { found: 0, .. }),
        "{error:?}"
    );
    close(open(quick(folder.path())).unwrap());
    close(open(config).unwrap());
}

#[test]
fn opening_anew_after_a_failure_works() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("roas.db");
    fs::write(&path, "garbage".repeat(100)).unwrap();
    assert!(open(Config::new(&path)).is_err());
    fs::remove_file(&path).unwrap();
    close(open(Config::new(&path)).unwrap());
}

/// A current database in the journal mode that the refinery program leaves it in.
fn without_wal(config: &Config) {
    roas_db::migration::migrate(config).unwrap();
    raw(config.path(), "PRAGMA journal_mode = DELETE");
}

fn journal_mode(path: &Path) -> String {
    query(path, "PRAGMA journal_mode")
}

#[test]
fn what_was_migrated_or_restored_is_in_wal_mode_and_cleanly_closed() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let is_ready = |path: &Path| {
        assert_eq!(files(path), [path.to_owned()], "besides lock files");
        assert_eq!(journal_mode(path), "wal");
    };
    roas_db::migration::migrate(&config).unwrap();
    is_ready(config.path());

    let taken_over = folder.path().join("v240-duplicates.db");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy");
    #[expect(clippy::disallowed_methods, reason = "nothing has the fixture open")]
    fs::copy(fixtures.join("v240-duplicates.db"), &taken_over).unwrap();
    let options = roas_db::migration::MigrateOptions::default().snapshot(false);
    roas_db::migration::migrate_with(&Config::new(&taken_over), &options).unwrap();
    is_ready(&taken_over);

    let copy = folder.path().join("copy");
    roas_db::backup(&config, &copy, false, &Watcher::default()).unwrap();
    assert_eq!(journal_mode(&copy), "delete");
    let restored = folder.path().join("restored.db");
    let target = Config::new(&restored);
    roas_db::restore(&target, &copy, false, &Watcher::default()).unwrap();
    is_ready(&restored);
    without_wal(&target);
    roas_db::restore(&target, &copy, true, &Watcher::default()).unwrap();
    is_ready(&restored);
}

/// What lies beside the database at `path` and begins with its name, but for lock files.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut found: Vec<_> = contents(path.parent().unwrap())
        .into_keys()
        .filter(|file| {
            let file = file.file_name().unwrap().to_str().unwrap();
            file.starts_with(name) && !file.contains(".lock")
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_reader_that_keeps_the_first_opening_waiting_is_named() {
    let folder = tempdir().unwrap();
    let deadline = Duration::from_millis(300);
    let config = quick(folder.path()).retry(RetryPolicy::aggressive().with_deadline(deadline));
    without_wal(&config);
    let reader = reading(config.path());
    let error = open(config.clone()).unwrap_err();
    let OpenError::Busy { waited, holder, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(*waited >= deadline, "{waited:?}");
    let holder = holder.as_ref().map(roas_db::LockHolder::pid);
    assert_eq!(holder, Some(std::process::id()));
    let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    });
    let text: String = text.map(ToString::to_string).collect();
    assert!(text.contains("held by this process itself"), "{text}");
    assert!(!text.contains("locked"), "{text}");
    drop(reader);
    let database = open(config).unwrap();
    assert_eq!(database.info().journal_mode, JournalMode::Wal);
    close(database);
}

/// A connection of another program in the midst of a read transaction.
#[expect(
    clippy::disallowed_methods,
    reason = "another program looks past the adapter"
)]
fn reading(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    connection
        .query_row("SELECT count(*) FROM activity_meter", [], |_| Ok(()))
        .unwrap();
    connection
}

/// SQLite asks no busy handler for the lock that a change of the journal takes: without one of our own
/// waiting, the attempts would be used up while somebody else writes for a moment.
#[test]
fn the_first_opening_of_a_migrated_file_waits_for_a_lock_within_its_attempt() {
    let folder = tempdir().unwrap();
    let deadline = Duration::from_millis(300);
    let config = quick(folder.path()).retry(RetryPolicy::aggressive().with_deadline(deadline));
    without_wal(&config);
    let lock = HeldLock::take(config.path());
    match open(config.clone()).unwrap_err() {
        OpenError::Busy {
            waited, attempts, ..
        } => {
            assert!(waited >= deadline, "{waited:?}");
            assert_eq!(attempts, 1);
        }
        error => panic!("{error:?}"),
    }
    drop(lock);
    let database = open(config).unwrap();
    assert_eq!(database.info().journal_mode, JournalMode::Wal);
    close(database);
}

#[test]
fn a_database_without_a_wal_says_why_and_says_it_in_the_log() {
    let folder = tempdir().unwrap();
    let log = folder.path().join("log");
    let said = |config: Config| {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(fs::File::create(&log).unwrap())
            .finish();
        let database = tracing::subscriber::with_default(subscriber, || open(config).unwrap());
        let info = database.info().clone();
        close(database);
        (info, fs::read_to_string(&log).unwrap())
    };
    let (info, log_lines) = said(quick(folder.path()).vfs("unix-dotfile"));
    assert_eq!(info.journal_mode, JournalMode::Delete);
    let reason = info.journal_fallback.unwrap();
    assert!(reason.contains("unix-dotfile"), "{reason}");
    assert_eq!(
        log_lines.matches("no WAL is to be had").count(),
        1,
        "{log_lines}"
    );
    assert!(
        log_lines.contains("WARN") && log_lines.contains(&reason),
        "{log_lines}"
    );

    // Whoever only reads cannot know more than that there is none, and warns of nothing.
    let (info, log_lines) = said(quick(folder.path()).access(Access::ReadOnly));
    assert_eq!(info.journal_mode, JournalMode::Delete);
    assert!(info.journal_fallback.is_some());
    assert!(!log_lines.contains("WAL"), "{log_lines}");

    let (info, log_lines) = said(quick(folder.path()));
    assert_eq!(
        (info.journal_mode, info.journal_fallback),
        (JournalMode::Wal, None)
    );
    assert!(!log_lines.contains("WAL"), "{log_lines}");
}
