//! A schema that somebody changes beside an open database.

use std::fs;
use std::path::Path;

use roas_db::migration::migrate;
use roas_db::{Access, Config, Database, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use roas_domain::{ActivityRepository, RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::support::{on_runtime, query, quick, raw};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// Runs the scripts in the rollback folder, the latest first, down to `version`, as another program
/// would.
fn roll_back_to(path: &Path, version: usize) {
    let mut scripts: Vec<_> = fs::read_dir(Path::new(FOLDER).join("rollback"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    for script in scripts.iter().skip(version).rev() {
        let script = fs::read_to_string(script).unwrap();
        raw(path, &format!("BEGIN IMMEDIATE; {script} COMMIT;"));
    }
}

async fn record(repository: &SqliteActivityRepository) -> Result<(), RepositoryError> {
    let event = message(member(1, 2), MIDNIGHT);
    repository.record(event).await.map(drop)
}

/// Opens a database with one message in it, lets `change` loose on the file, and answers what the
/// next message and the next question are told.
fn after(change: impl FnOnce(&Config)) -> (Result<(), RepositoryError>, Option<RepositoryError>) {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        record(&repository).await.unwrap();
        change(&config);
        let written = record(&repository).await;
        let read = repository.find_member(member(1, 2)).await.err();
        database.close().await.unwrap();
        (written, read)
    })
}

fn assert_refused(error: &RepositoryError, how: &str) {
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "{error:?}");
    let text = error.to_string();
    for part in [how, "nothing was applied", "open it anew"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_write_after_a_rollback_is_refused_and_says_why() {
    for version in [2, 1, 0] {
        let (written, _) = after(|config| roll_back_to(config.path(), version));
        assert_refused(&written.unwrap_err(), &format!("to version {version}"));
    }
}

#[test]
fn a_write_after_a_newer_migration_is_refused() {
    let (written, _) = after(|config| {
        raw(
            config.path(),
            "ALTER TABLE activity_meter ADD COLUMN mood TEXT;
             INSERT INTO refinery_schema_history
             VALUES (99, 'moods', '2030-01-01T00:00:00Z', '1')",
        );
    });
    assert_refused(&written.unwrap_err(), "to version 99");
}

#[test]
fn a_write_after_another_database_was_copied_over_is_refused() {
    let (written, _) = after(|config| {
        let other = config.path().with_file_name("other.db");
        raw(&other, "CREATE TABLE notes (text)");
        #[expect(clippy::disallowed_methods, reason = "as another program would")]
        let mut target = Connection::open(config.path()).unwrap();
        target
            .restore("main", &other, None::<fn(rusqlite::backup::Progress)>)
            .unwrap();
    });
    assert_refused(&written.unwrap_err(), "to version 0");
}

#[test]
fn a_missing_table_is_named_to_writers_and_readers() {
    let (written, read) = after(|config| raw(config.path(), "DROP TABLE activity_meter"));
    assert_refused(&written.unwrap_err(), "`activity_meter` is missing");
    assert_refused(&read.unwrap(), "`activity_meter` is missing");
}

#[test]
fn another_modules_table_is_no_reason_to_stop() {
    let (written, read) = after(|config| raw(config.path(), "CREATE TABLE notes (text)"));
    written.unwrap();
    assert!(read.is_none(), "{read:?}");
}

#[test]
fn a_reader_of_a_table_that_is_gone_is_told_so() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    migrate(&config).unwrap();
    on_runtime(async {
        let database = Database::open(config.clone().access(Access::ReadOnly))
            .await
            .unwrap();
        roll_back_to(config.path(), 0);
        let error = database
            .repository()
            .find_member(member(1, 2))
            .await
            .unwrap_err();
        assert_refused(&error, "to version 0");
        database.close().await.unwrap();
    });
}

#[test]
fn what_was_refused_is_taken_again_once_the_schema_is_back() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        record(&repository).await.unwrap();
        roll_back_to(config.path(), 2);
        assert_refused(&record(&repository).await.unwrap_err(), "to version 2");
        let messages = "SELECT sum(messages) FROM activity_meter";
        assert_eq!(query::<i64>(config.path(), messages), 1);
        migrate(&config).unwrap();
        record(&repository).await.unwrap();
        assert_eq!(query::<i64>(config.path(), messages), 2);
        database.close().await.unwrap();
    });
}
