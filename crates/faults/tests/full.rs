//! A full disk, in short; `roas-bench torture` has the long form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a test that was skipped says why")]
#![expect(
    clippy::disallowed_methods,
    reason = "files are looked at past the adapter, while nothing has them open"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use roas_db::{Config, Database, OpenError, Watcher};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, RepositoryErrorKind};
use roas_faults::Broken;
use roas_faults::calls::{Believed, FailingCalls};
use roas_faults::vfs::{FaultyVfs, SharedMemory, Syncs};

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
    with_ever_more_room(roas_db::migrate);
}

#[test]
fn a_backup_on_a_full_disk_says_so_and_leaves_nothing_behind() {
    with_ever_more_room(|config| {
        let target = config.path().with_extension("backup");
        roas_db::backup(config, &target, false, &Watcher::default())
    });
}

/// A small file system of its own.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Runs `mount` with these arguments and an empty folder; says why not, where that does not work.
    fn new(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(arguments)
            .arg(folder.path())
            .output();
        match output {
            Ok(output) if output.status.success() => return Some(Self(folder)),
            Ok(output) => println!("skipped: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => println!("skipped: there is no mount: {error}"),
        }
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
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

#[test]
fn a_full_tmpfs_is_told_and_survived() {
    if let Some(mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=3m", "tmpfs"]) {
        roas_faults::runtime().block_on(fill(mounted.0.path()));
    }
}

#[test]
fn a_full_ext4_is_told_and_survived() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(8 * 1024 * 1024).unwrap();
    let path = image.path().to_str().unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", path]).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: mkfs.ext4 does not work here");
        return;
    }
    if let Some(mounted) = Mounted::new(&["-o", "loop", path]) {
        roas_faults::runtime().block_on(fill(mounted.0.path()));
    }
}
