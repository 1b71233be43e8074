//! Migrations: embedded, from the folder, by several processes at once, and what is refused.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use roas_db::migration::{
    Contents, MigrationStatus, RollbackOptions, migrate, migration_status, rollback,
};
use roas_db::{Database, OpenError};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::support::{on_runtime, query, quick, raw, start_process};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// The schema in full, as SQLite keeps it.
#[expect(
    clippy::disallowed_methods,
    reason = "looks at the file past the adapter"
)]
fn schema(path: &Path) -> Vec<(String, Option<String>)> {
    Connection::open(path)
        .unwrap()
        .prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

#[test]
fn status_and_migration_tell_the_same_story() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let before = migration_status(config.path()).unwrap();
    assert_eq!((before.contents, before.version), (Contents::Missing, 0));
    assert!(!config.path().exists());

    let report = migrate(&config).unwrap();
    assert!(report.created);
    assert_eq!((report.from, report.to), (0, before.latest));
    assert_eq!(report.applied, before.pending);

    let MigrationStatus {
        contents,
        version,
        pending,
        applied,
        ..
    } = migration_status(config.path()).unwrap();
    assert_eq!(
        (contents, version, pending),
        (Contents::Ours, before.latest, Vec::new())
    );
    let names: Vec<_> = applied
        .iter()
        .map(|done| (done.version, done.name.clone()))
        .collect();
    let due: Vec<_> = before
        .pending
        .iter()
        .map(|due| (due.version, due.name.clone()))
        .collect();
    assert_eq!(names, due);

    let again = migrate(&config).unwrap();
    assert!(!again.created && again.applied.is_empty());
    assert_eq!((again.from, again.to), (before.latest, before.latest));
}

/// What the refinery program does: loads the folder at run time and runs it grouped.
#[test]
fn the_folder_alone_gives_the_same_schema() {
    let folder = tempdir().unwrap();
    let (ours, theirs) = (quick(folder.path()), folder.path().join("refinery.db"));
    migrate(&ours).unwrap();
    let migrations = refinery::load_sql_migrations(FOLDER).unwrap();
    #[expect(clippy::disallowed_methods, reason = "as the refinery program does")]
    let mut connection = Connection::open(&theirs).unwrap();
    refinery::Runner::new(&migrations)
        .set_grouped(true)
        .run(&mut connection)
        .unwrap();
    drop(connection);
    assert_eq!(schema(ours.path()), schema(&theirs));
    let status = migration_status(&theirs).unwrap();
    assert_eq!(
        (status.contents, status.pending),
        (Contents::Ours, Vec::new())
    );
    on_runtime(async {
        let database = Database::open(roas_db::Config::new(&theirs)).await.unwrap();
        database
            .repository()
            .record(message(member(1, 2), MIDNIGHT))
            .await
            .unwrap();
        database.close().await.unwrap();
    });
}

#[test]
fn rolling_back_leaves_nothing_of_ours() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    raw(
        config.path(),
        "CREATE TABLE notes (text); INSERT INTO notes VALUES ('stays')",
    );
    migrate(&config).unwrap();
    let mut undo: Vec<_> = fs::read_dir(Path::new(FOLDER).join("rollback"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    undo.sort();
    for script in undo.iter().rev() {
        let script = fs::read_to_string(script).unwrap();
        raw(config.path(), &format!("BEGIN IMMEDIATE; {script} COMMIT;"));
    }
    let status = migration_status(config.path()).unwrap();
    assert_eq!(status.version, 0);
    assert_eq!(
        query::<String>(config.path(), "SELECT text FROM notes"),
        "stays"
    );
    assert_eq!(
        query::<i64>(
            config.path(),
            "SELECT count(*) FROM refinery_schema_history"
        ),
        0
    );
}

/// Those of the folder, up to a version, as the refinery program runs them.
fn migrate_to(path: &Path, version: i32) {
    let migrations = refinery::load_sql_migrations(FOLDER).unwrap();
    #[expect(clippy::disallowed_methods, reason = "as the refinery program does")]
    let mut connection = Connection::open(path).unwrap();
    refinery::Runner::new(&migrations)
        .set_grouped(true)
        .set_target(refinery::Target::Version(version))
        .run(&mut connection)
        .unwrap();
}

#[test]
fn a_rollback_leads_to_the_schema_that_the_migration_found() {
    let folder = tempdir().unwrap();
    for version in 1..migration_status(quick(folder.path()).path())
        .unwrap()
        .latest
    {
        let folder = tempdir().unwrap();
        let (up, down) = (folder.path().join("up.db"), quick(folder.path()));
        migrate_to(&up, version);
        migrate(&down).unwrap();
        rollback(&down, &RollbackOptions::to(version).snapshot(false)).unwrap();
        assert_eq!(schema(&up), schema(down.path()), "version {version}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    migrate(&config).unwrap();
    raw(
        config.path(),
        "INSERT INTO refinery_schema_history VALUES (99, 'from_the_future', '2030-01-01T00:00:00Z', '1');
         UPDATE refinery_schema_history SET checksum = '2' WHERE version = 1",
    );
    let error = migrate(&config).unwrap_err();
    assert!(
        matches!(error, OpenError::SchemaTooNew { found: 99, .. }),
        "{error:?}"
    );
    assert_eq!(migration_status(config.path()).unwrap().version, 99);
}

#[test]
fn a_history_that_is_not_ours_is_refused_and_never_a_panic() {
    for (sql, reason) in [
        (
            "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1",
            "another migration here",
        ),
        (
            "UPDATE refinery_schema_history SET name = 'users' WHERE version = 1",
            "`users`",
        ),
        (
            "UPDATE refinery_schema_history SET checksum = 'abc' WHERE version = 1",
            "malformed",
        ),
        (
            "UPDATE refinery_schema_history SET applied_on = 'yesterday' WHERE version = 1",
            "malformed",
        ),
        (
            "UPDATE refinery_schema_history SET applied_on = NULL WHERE version = 1",
            "did not write",
        ),
        (
            "UPDATE refinery_schema_history SET version = 0 WHERE version = 1",
            "not known here",
        ),
        (
            "UPDATE refinery_schema_history SET version = 1e300 WHERE version = 1",
            "did not write",
        ),
    ] {
        let folder = tempdir().unwrap();
        let config = quick(folder.path());
        migrate(&config).unwrap();
        raw(config.path(), sql);
        let error = migrate(&config).unwrap_err();
        assert!(
            matches!(error, OpenError::ForeignHistory { .. }),
            "{sql}: {error:?}"
        );
        assert!(error.to_string().contains(reason), "{sql}: {error}");
    }
}

/// Eight processes open a new file at one moment: one creates and migrates it, none fails.
#[test]
fn processes_that_start_at_once_all_come_up() {
    for _ in 0..5 {
        let folder = tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let mut processes: Vec<_> = (0..8)
            .map(|_| start_process("migration::opens_when_told", &[("ROAS_TEST_FOLDER", path)]))
            .collect();
        let mut lines = processes
            .iter_mut()
            .map(|process| process.stdout.take().unwrap());
        let mut outputs: Vec<_> = lines.by_ref().collect();
        for output in &mut outputs {
            let mut ready = String::new();
            while !ready.contains("ready") {
                let mut byte = [0];
                output.read_exact(&mut byte).unwrap();
                ready.push(byte[0].into());
            }
        }
        for process in &mut processes {
            process.stdin.take().unwrap().write_all(b"go\n").unwrap();
        }
        for (mut process, mut output) in processes.into_iter().zip(outputs) {
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            assert!(process.wait().unwrap().success(), "{rest}");
        }
        let database = folder.path().join("roas.db");
        assert_eq!(
            query::<i64>(&database, "SELECT sum(messages) FROM activity_meter"),
            8
        );
        assert_eq!(
            query::<i64>(&database, "SELECT count(*) FROM refinery_schema_history"),
            i64::from(migration_status(&database).unwrap().latest)
        );
    }
}

#[test]
#[ignore = "a process of processes_that_start_at_once_all_come_up"]
fn opens_when_told() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    on_runtime(async {
        let database = Database::open(quick(Path::new(&folder))).await.unwrap();
        database
            .repository()
            .record(message(member(1, 2), MIDNIGHT))
            .await
            .unwrap();
        database.close().await.unwrap();
    });
}
