//! Files in a bad state: a clear error or recovery, and nothing overwritten.
#![expect(
    clippy::disallowed_methods,
    reason = "files are spoiled past the adapter, while nothing has them open"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use roas_db::{Access, Config, Database, OpenError};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, RepositoryErrorKind};
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
        roas_db::migration::migrate(&config).unwrap_err();
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

/// What is left of a file is no database any more, or one that is damaged.
#[test]
fn a_file_that_was_cut_off_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let config = database_with(folder.path(), 3);
    let whole = fs::read(config.path()).unwrap();
    for length in [50, 100, 1_000, 4_096, whole.len() / 2, whole.len() - 4_096] {
        let cut = &whole[..length];
        fs::write(config.path(), cut).unwrap();
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let error = on_runtime(Database::open(config.clone().access(access))).unwrap_err();
            assert!(
                matches!(
                    error,
                    OpenError::Damaged { .. } | OpenError::NotADatabase { .. }
                ),
                "{length}: {error:?}"
            );
            assert!(fs::read(config.path()).unwrap() == cut, "{length}");
        }
    }
    fs::write(config.path(), &whole).unwrap();
    opens_with(config, 3);
}

#[test]
fn garbage_behind_a_header_is_damage() {
    let folder = tempdir().unwrap();
    let config = database_with(folder.path(), 3);
    let whole = fs::read(config.path()).unwrap();
    let mut spoiled = whole.clone();
    spoiled[100..4_096].fill(0xAA);
    fs::write(config.path(), &spoiled).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = on_runtime(Database::open(config.clone().access(access))).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
    assert!(fs::read(config.path()).unwrap() == spoiled);
}

#[test]
fn garbage_in_every_page_but_the_first_is_told_and_nothing_acknowledged() {
    let folder = tempdir().unwrap();
    let config = database_with(folder.path(), 3);
    let whole = fs::read(config.path()).unwrap();
    let mut told = 0;
    for from in (1..whole.len() / 4_096).map(|page| page * 4_096) {
        let mut spoiled = whole.clone();
        spoiled[from..].fill(0xAA);
        fs::write(config.path(), &spoiled).unwrap();
        on_runtime(async {
            let database = match Database::open(config.clone()).await {
                Ok(database) => database,
                Err(error) => {
                    assert!(
                        matches!(error, OpenError::Damaged { .. }),
                        "{from}: {error:?}"
                    );
                    return;
                }
            };
            let event = message_with_id(9, member(1, 1), MIDNIGHT);
            if let Err(error) = database.repository().record(event).await {
                assert_eq!(
                    error.kind(),
                    RepositoryErrorKind::Corrupt,
                    "{from}: {error}"
                );
                told += 1;
            } else {
                // None of the pages that it takes is spoiled.
                let found = database.repository().find_member(member(1, 1)).await;
                assert_eq!(found.unwrap().unwrap().messages, 4, "{from}");
            }
            database.close().await.unwrap();
        });
        // What a spoiled file has brought about goes with it.
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("roas.db{suffix}")));
        }
    }
    assert!(told > 0);
}

#[test]
fn shared_memory_that_is_garbage_is_made_anew() {
    for garbage in [vec![0xAA; 32_768], vec![0; 32_768], b"short".to_vec()] {
        let folder = tempdir().unwrap();
        died_with(folder.path(), 5);
        fs::write(folder.path().join("roas.db-shm"), garbage).unwrap();
        opens_with(quick(folder.path()), 5);
    }
}

#[test]
fn the_shared_memory_of_an_earlier_state_is_made_anew() {
    let folder = tempdir().unwrap();
    let living = tempdir().unwrap();
    on_runtime(async {
        let database = Database::open(quick(living.path())).await.unwrap();
        fs::copy(
            living.path().join("roas.db-shm"),
            folder.path().join("roas.db-shm"),
        )
        .unwrap();
        for id in 1..=5 {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
        }
        for file in ["roas.db", "roas.db-wal"] {
            fs::copy(living.path().join(file), folder.path().join(file)).unwrap();
        }
        database.close().await.unwrap();
    });
    opens_with(quick(folder.path()), 5);
}

#[test]
fn a_wal_that_was_cut_off_or_is_garbage_takes_nothing_else_along() {
    let folder = tempdir().unwrap();
    died_with(folder.path(), 5);
    let [path, wal] = ["roas.db", "roas.db-wal"].map(|name| folder.path().join(name));
    let [database, changes] = [&path, &wal].map(|file| fs::read(file).unwrap());
    let mut counts = Vec::new();
    for length in (0..changes.len()).step_by(1_024).chain([changes.len()]) {
        fs::write(&path, &database).unwrap();
        fs::write(&wal, &changes[..length]).unwrap();
        on_runtime(async {
            let database = Database::open(quick(folder.path())).await.unwrap();
            counts.push(database.repository().counts().await.unwrap().messages);
            database.close().await.unwrap();
        });
    }
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!((counts[0], counts.last()), (0, Some(&5)));

    let folder = tempdir().unwrap();
    let config = database_with(folder.path(), 3);
    fs::write(folder.path().join("roas.db-wal"), vec![0xAA; 8_192]).unwrap();
    opens_with(config, 3);
}

/// A link would lead writes to a file that somebody else has chosen.
#[test]
fn links_in_the_place_of_the_files_beside_a_database_are_not_followed() {
    for suffix in ["", "-wal", "-shm", "-migrate.lock"] {
        let folder = tempdir().unwrap();
        let config = quick(folder.path());
        if suffix.starts_with("-wal") || suffix.starts_with("-shm") {
            drop(database_with(folder.path(), 3));
        }
        let victim = folder.path().join("victim");
        let link = folder.path().join(format!("roas.db{suffix}"));
        symlink(&victim, &link).unwrap();
        let error = on_runtime(Database::open(config.clone())).unwrap_err();
        assert!(!victim.exists(), "{suffix}: {error:?}");
        assert!(link.is_symlink(), "{suffix}: {error:?}");
        if !suffix.is_empty() {
            fs::write(&victim, "somebody's").unwrap();
            let error = on_runtime(Database::open(config.clone())).unwrap_err();
            assert_eq!(
                fs::read(&victim).unwrap(),
                b"somebody's",
                "{suffix}: {error:?}"
            );
        }
        fs::remove_file(&link).unwrap();
        on_runtime(async {
            let database = Database::open(config).await.unwrap();
            database.close().await.unwrap();
        });
    }
}
