//! Files in a bad state: a clear error or recovery, and nothing overwritten.
#![expect(
    clippy::disallowed_methods,
    reason = "files are spoiled past the adapter, while nothing has them open"
)]

use std::fs;
use std::path::Path;

use roas_db::{Access, Config, Database};
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
