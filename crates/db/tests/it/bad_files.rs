//! Files in a bad state: a clear error or recovery, and nothing overwritten.
#![expect(
    clippy::disallowed_methods,
    reason = "files are spoiled past the adapter, while nothing has them open"
)]

use std::fs;
use std::path::Path;

use roas_db::{Access, Config, Database, OpenError};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::support::{on_runtime, quick};

/// A closed database in `folder` that holds so many events of one member.
fn database_with(folder: &Path, events: u64) -> Config {
    let config = quick(folder);
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        for id in 1..=events {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
        }
        database.close().await.unwrap();
    });
    config
}

/// The database opens and holds so many events.
fn opens_with(config: Config, events: u64) {
    on_runtime(async {
        let database = Database::open(config).await.unwrap();
        assert_eq!(
            database.repository().counts().await.unwrap().messages,
            events
        );
        database.close().await.unwrap();
    });
}

/// The rollback journal of a transaction that had begun to change the file and was then cut off,
/// by the death of its process or the power.
#[test]
fn a_transaction_that_was_cut_off_half_way_is_rolled_back() {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let folder = tempdir().unwrap();
        let config = database_with(folder.path(), 3);
        let cut_off = tempdir().unwrap();
        let writer = Connection::open(config.path()).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE; UPDATE activity_meter SET messages = 9",
            )
            .unwrap();
        writer.cache_flush().unwrap();
        for file in ["roas.db", "roas.db-journal"] {
            fs::copy(folder.path().join(file), cut_off.path().join(file)).unwrap();
        }
        drop(writer);
        opens_with(quick(cut_off.path()).access(access), 3);
    }
}

/// What `database_with` leaves where its process dies: everything is in the WAL yet.
fn died_with(folder: &Path, events: u64) {
    let living = tempdir().unwrap();
    let config = quick(living.path());
    on_runtime(async {
        let database = Database::open(config).await.unwrap();
        for id in 1..=events {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
        }
        for file in ["roas.db", "roas.db-wal"] {
            fs::copy(living.path().join(file), folder.join(file)).unwrap();
        }
        database.close().await.unwrap();
    });
}

/// SQLite deletes a WAL where it finds no database, or an empty one, beside it.
#[test]
fn a_wal_without_its_database_is_refused_and_kept() {
    let folder = tempdir().unwrap();
    let [path, wal] = ["roas.db", "roas.db-wal"].map(|name| folder.path().join(name));
    died_with(folder.path(), 5);
    let [database, changes] = [&path, &wal].map(|file| fs::read(file).unwrap());
    for empty in [false, true] {
        fs::remove_file(&path).unwrap();
        if empty {
            fs::write(&path, "").unwrap();
        }
        let config = quick(folder.path());
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let error = on_runtime(Database::open(config.clone().access(access))).unwrap_err();
            assert!(
                matches!(error, OpenError::WalWithoutDatabase { .. }),
                "{error:?}"
            );
        }
        let copy = folder.path().join("copy.db");
        let watcher = roas_db::Watcher::default();
        roas_db::backup(&config, &copy, false, &watcher).unwrap_err();
        roas_db::migrate(&config).unwrap_err();
        assert!(!copy.exists());
        assert_eq!(path.exists(), empty);
        assert!(fs::read(&wal).unwrap() == changes, "the WAL has changed");
        fs::write(&path, &database).unwrap();
    }
    opens_with(quick(folder.path()), 5);
}

#[test]
fn a_wal_without_its_database_goes_with_a_restoration_that_may_replace_it() {
    let [folder, other] = [tempdir().unwrap(), tempdir().unwrap()];
    let wal = folder.path().join("roas.db-wal");
    let backup = database_with(other.path(), 2);
    for empty in [false, true] {
        died_with(folder.path(), 5);
        fs::remove_file(folder.path().join("roas.db")).unwrap();
        if empty {
            fs::write(folder.path().join("roas.db"), "").unwrap();
        }
        let config = quick(folder.path());
        let watcher = roas_db::Watcher::default();
        let error = roas_db::restore(&config, backup.path(), false, &watcher).unwrap_err();
        assert!(
            matches!(error, OpenError::WalWithoutDatabase { .. }),
            "{error:?}"
        );
        assert!(wal.exists());
        roas_db::restore(&config, backup.path(), true, &watcher).unwrap();
        opens_with(config, 2);
    }
}
