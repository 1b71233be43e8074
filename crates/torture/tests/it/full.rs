//! A full disk, in short; `roas-torture` has the long form.
#![expect(
    clippy::disallowed_methods,
    reason = "files are looked at past the adapter, while nothing has them open"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use roas_db::{Config, Database, OpenError, Watcher};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityEvent, ActivityRepository, RepositoryErrorKind};
use roas_torture::Broken;
use roas_torture::storage::calls::{Believed, FailingCalls};
use roas_torture::storage::mounted::{Mounted, PowerCut, cut_power};
use roas_torture::storage::script::Stored;
use roas_torture::storage::vfs::{FaultyVfs, SharedMemory, Syncs};

#[test]
fn a_full_disk_is_told_truly_and_survived() {
    for shared_memory in [SharedMemory::PassedThrough, SharedMemory::Missing] {
        let calls = FailingCalls::new(1, shared_memory);
        let folder = tempfile::tempdir().unwrap();
        let found = calls.fill(4_096 + 512, folder.path()).unwrap();
        assert!(found.states > 20, "{found:?}");
        assert!(found.figures["errors told"] > 50, "{found:?}");
    }
}

#[test]
fn an_acknowledgement_on_a_full_disk_is_found_out() {
    let calls = FailingCalls::new(1, SharedMemory::PassedThrough).believing(Believed::Everything);
    let folder = tempfile::tempdir().unwrap();
    let Broken(what) = calls.fill(16 * 1_024, folder.path()).unwrap_err();
    assert!(what.contains("was acknowledged and is lost"), "{what}");
}

/// Every file in `folder` but the lock's, with its bytes.
fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".lock"))
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect()
}

/// Carries an operation out beside a database of the original bot, with ever more room, until it
/// succeeds: before that, it fails with the error for a full disk, and leaves all as it was.
fn with_ever_more_room<T>(operation: impl Fn(&Config) -> Result<T, OpenError>) {
    const LEGACY: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../db/tests/fixtures/legacy/v240-duplicates.db"
    );
    let vfs = FaultyVfs::register();
    vfs.disk().set_syncs(Syncs::AreQuick);
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("roas.db")).vfs(vfs.name());
    fs::write(config.path(), fs::read(LEGACY).unwrap()).unwrap();
    let before = contents(folder.path());
    let mut refusals = 0;
    for room in (0..).step_by(4_096 + 512) {
        vfs.disk().set_room(Some(room));
        let result = operation(&config);
        let failed = vfs.disk().set_room(None);
        match result {
            Ok(_) => {
                assert_eq!(failed, 0);
                break;
            }
            Err(OpenError::Full { .. }) => refusals += 1,
            Err(error) => panic!("room for {room} bytes: {error:?}"),
        }
        assert!(
            contents(folder.path()) == before,
            "room for {room} bytes: something else than before is there"
        );
    }
    assert!(refusals > 3, "{refusals}");
}

#[test]
fn a_migration_on_a_full_disk_says_so_and_leaves_all_as_it_was() {
    with_ever_more_room(roas_db::migration::migrate);
}

#[test]
fn a_backup_on_a_full_disk_says_so_and_leaves_nothing_behind() {
    with_ever_more_room(|config| {
        let target = config.path().with_extension("backup");
        roas_db::backup(config, &target, false, &Watcher::default())
    });
}

/// Events in one call: more than a page of the database holds.
const TOGETHER: u64 = 100;

/// Fills a file system of a few MiB until writes fail, reads on, makes room, and writes on.
async fn fill(folder: &Path) {
    let ballast = folder.join("ballast");
    let config = Config::new(folder.join("roas.db"));
    let database = Database::open(config.clone()).await.unwrap();
    fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let repository = database.repository();
    let batch = |number: u64| {
        let ids = number * TOGETHER + 1..=(number + 1) * TOGETHER;
        ids.map(|id| message_with_id(id, member(1, id), MIDNIGHT))
            .collect()
    };
    let mut written = 0;
    let error = loop {
        match repository.record_many(batch(written)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), RepositoryErrorKind::StorageFull, "{error}");
    let messages = async || repository.counts().await.unwrap().messages;
    assert_eq!(messages().await, written * TOGETHER);
    if let Err(error) = database.maintain().await {
        assert_eq!(error.kind(), RepositoryErrorKind::StorageFull, "{error}");
    }
    assert_eq!(messages().await, written * TOGETHER);

    fs::remove_file(&ballast).unwrap();
    repository.record_many(batch(written)).await.unwrap();
    assert_eq!(messages().await, (written + 1) * TOGETHER);
    drop(repository);
    database.close().await.unwrap();
    let database = Database::open(config).await.unwrap();
    let messages = database.repository().counts().await.unwrap().messages;
    assert_eq!(messages, (written + 1) * TOGETHER);
    database.close().await.unwrap();
}

/// Runs a test in a file system of its own, where the machine lets it mount one.
fn within(mounted: Result<Mounted, String>, test: impl AsyncFnOnce(&Path)) {
    match mounted {
        Ok(mounted) => roas_torture::runtime().block_on(test(mounted.folder())),
        Err(reason) => println!("skipped: {reason}"),
    }
}

#[test]
fn a_full_tmpfs_is_told_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    within(Mounted::tmpfs(3, &folder.path().join("mounted")), fill);
}

#[test]
fn a_full_ext4_is_told_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let [image, mounted] = ["image", "mounted"].map(|name| folder.path().join(name));
    within(Mounted::ext4(&image, 8, &mounted), fill);
}

/// Records events, a call each, and answers which of them were not acknowledged.
async fn record(
    repository: &impl ActivityRepository,
    ids: RangeInclusive<u64>,
) -> Vec<(ActivityEvent, RepositoryErrorKind)> {
    let mut refused = Vec::new();
    for event in ids.map(|id| message_with_id(id, member(1, id), MIDNIGHT)) {
        if let Err(error) = repository.record(event).await {
            refused.push((event, error.kind()));
        }
    }
    refused
}

/// A disk that takes writes, and has no room for them when they are synced, for a while: an ext4 in a
/// sparse image on a file system that is full. Then the power goes.
#[test]
fn a_sync_that_failed_loses_nothing_of_what_was_acknowledged_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let [memory, mounted] = ["memory", "mounted"].map(|name| folder.path().join(name));
    let image = memory.join("image");
    let disk = Mounted::tmpfs(24, &memory)
        .and_then(|memory| Ok((memory, Mounted::ext4(&image, 64, &mounted)?)));
    let (_memory, disk) = match disk {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let config = Config::new(mounted.join("roas.db"));

    let refused = roas_torture::runtime().block_on(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        assert_eq!(record(&repository, 1..=100).await, []);
        let ballast = memory.join("ballast");
        fs::write(&ballast, vec![1; 24 * 1_024 * 1_024]).unwrap_err();
        let refused = record(&repository, 101..=110).await;
        fs::remove_file(ballast).unwrap();
        assert_eq!(record(&repository, 111..=400).await, []);

        cut_power(&mounted, PowerCut::AtOnce).unwrap();
        drop(repository);
        // It fails or not: the disk is gone.
        let _ = database.close().await;
        refused
    });
    assert!(!refused.is_empty(), "there was room");
    for (_, kind) in &refused {
        use RepositoryErrorKind::{OutcomeUnknown, StorageFull, Unavailable};
        assert!(
            matches!(kind, OutcomeUnknown | StorageFull | Unavailable),
            "{kind:?}"
        );
    }

    disk.unmount().unwrap();
    let _disk = Mounted::image(&image, &mounted).unwrap();
    roas_torture::runtime().block_on(async {
        let database = Database::open(config).await.unwrap();
        let repository = database.repository();
        for (event, _) in &refused {
            repository.record(*event).await.unwrap();
        }
        // None is lost, and none of those that were tried again counts twice.
        assert_eq!(repository.counts().await.unwrap().messages, 400);
        drop(repository);
        database.close().await.unwrap();
    });
    Stored::in_file(&mounted.join("roas.db"), None).unwrap();
}
