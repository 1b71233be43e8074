//! Where the crate writes files of its own: never over the database, for the right owner, and nothing
//! is left behind.

#![expect(clippy::print_stdout, reason = "a test that was skipped says why")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roas_db::migration::{
    MigrateOptions, RollbackOptions, audit, check, migrate, migrate_with, rollback,
};
use roas_db::{Config, OpenError, Phase, Watcher, backup, restore};
use tempfile::tempdir;

use crate::support::{query, raw};

fn database(folder: &Path) -> Config {
    let config = Config::new(folder.join("roas.db"));
    migrate(&config).unwrap();
    config
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// `false` where the tests are not root's, which a line on stdout says.
fn is_root(folder: &Path) -> bool {
    let root = fs::metadata(folder).unwrap().uid() == 0;
    if !root {
        println!("SKIPPED: only root may give files away");
    }
    root
}

#[test]
fn a_copy_is_never_written_over_the_database_or_its_files() {
    let folder = tempdir().unwrap();
    let config = database(folder.path());
    let path = |name: &str| folder.path().join(name);
    fs::hard_link(config.path(), path("second-name")).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    for name in [
        "roas.db",
        "roas.db-wal",
        "roas.db-shm",
        "roas.db-journal",
        "roas.db-migrate.lock",
        "roas.db-turns.lock",
        "second-name",
    ] {
        for replace in [false, true] {
            let error = backup(&config, &path(name), replace, &Watcher::default()).unwrap_err();
            assert!(
                matches!(
                    error,
                    OpenError::OwnFile { .. } | OpenError::HardLinked { .. }
                ),
                "{name}: {error:?}"
            );
        }
    }
    fs::remove_file(path("second-name")).unwrap();
    // Nor over those of another database.
    fs::write(path("other.db"), "").unwrap();
    let error = backup(&config, &path("other.db-wal"), true, &Watcher::default()).unwrap_err();
    assert!(matches!(error, OpenError::SideFile { .. }), "{error:?}");
    let onto = Config::new(path("other.db-wal"));
    let error = restore(&onto, config.path(), true, &Watcher::default()).unwrap_err();
    assert!(matches!(error, OpenError::SideFile { .. }), "{error:?}");
    let error = migrate(&onto).unwrap_err();
    assert!(matches!(error, OpenError::SideFile { .. }), "{error:?}");
    assert!(fs::read_dir(folder.path()).unwrap().count() <= before + 1);
    assert!(check(&config).unwrap().findings.is_empty());
}

#[test]
fn a_restored_file_keeps_the_owner_and_the_mode_of_the_one_it_replaces() {
    let folder = tempdir().unwrap();
    let config = database(folder.path());
    let copy = folder.path().join("copy.db");
    backup(&config, &copy, false, &Watcher::default()).unwrap();
    fs::set_permissions(config.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let root = is_root(folder.path());
    if root {
        chown(config.path(), Some(12_345), Some(12_346)).unwrap();
    }
    restore(&config, &copy, true, &Watcher::default()).unwrap();
    let restored = fs::metadata(config.path()).unwrap();
    assert_eq!(restored.mode() & 0o777, 0o640);
    if root {
        assert_eq!((restored.uid(), restored.gid()), (12_345, 12_346));
        // Lock files that root makes for it are its owner's, too.
        let lock = fs::metadata(folder.path().join("roas.db-migrate.lock")).unwrap();
        assert_eq!(lock.mode() & 0o777, 0o600);
    }
}

#[test]
fn what_root_creates_in_a_folder_is_the_folders_owners() {
    let folder = tempdir().unwrap();
    if !is_root(folder.path()) {
        return;
    }
    chown(folder.path(), Some(12_345), Some(12_346)).unwrap();
    let config = database(folder.path());
    let copy = folder.path().join("copy.db");
    backup(&config, &copy, false, &Watcher::default()).unwrap();
    let restored = Config::new(folder.path().join("restored.db"));
    restore(&restored, &copy, false, &Watcher::default()).unwrap();
    for name in names(folder.path()) {
        let file = fs::metadata(folder.path().join(&name)).unwrap();
        // A copy that somebody asks for is his.
        let owner = if name == "copy.db" { 0 } else { 12_345 };
        assert_eq!(file.uid(), owner, "{name}");
    }
}

/// A database of the original bot with some rows.
fn legacy(path: &Path, rows: u32) {
    raw(
        path,
        &format!(
            "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL DEFAULT 0,
                 last_msg INTEGER DEFAULT 0, PRIMARY KEY (guild_id, user_id));
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO activity_meter SELECT 1, i, 5.0, 1755820800 FROM n"
        ),
    );
}

#[test]
fn an_interrupted_operation_leaves_the_file_as_it_was_and_nothing_beside_it() {
    type Operation = fn(&Config, &Path, &Watcher) -> Result<(), OpenError>;
    let operations: [(&str, Phase, Operation); 5] = [
        ("snapshot", Phase::Copying, |config, _, watcher| {
            migrate_with(config, &MigrateOptions::default().watcher(watcher.clone())).map(drop)
        }),
        ("migration", Phase::Migrating, |config, _, watcher| {
            migrate_with(config, &MigrateOptions::default().watcher(watcher.clone())).map(drop)
        }),
        ("verification", Phase::Verifying, |config, _, watcher| {
            migrate_with(config, &MigrateOptions::default().watcher(watcher.clone())).map(drop)
        }),
        ("backup", Phase::Copying, |config, target, watcher| {
            backup(config, target, false, watcher).map(drop)
        }),
        (
            "check of a backup",
            Phase::CheckingCopy,
            |config, target, watcher| backup(config, target, false, watcher).map(drop),
        ),
    ];
    for (name, phase, operation) in operations {
        let folder = tempdir().unwrap();
        let path = folder.path().join("bot.db");
        legacy(&path, 3_000);
        let flag = Arc::new(AtomicBool::new(false));
        let config = Config::new(&path).interrupt(Arc::clone(&flag));
        let set = Arc::clone(&flag);
        let watcher = Watcher::new(move |progress| {
            if progress.phase == phase {
                set.store(true, Ordering::Relaxed);
            }
        });
        let error = operation(&config, &folder.path().join("copy.db"), &watcher).unwrap_err();
        assert!(
            matches!(error, OpenError::Interrupted { .. }),
            "{name}: {error:?}"
        );
        let left = names(folder.path());
        let allowed = ["bot.db", "bot.db-migrate.lock"];
        assert!(
            left.iter().all(|name| allowed.contains(&name.as_str())),
            "{name}: {left:?}"
        );
        assert_eq!(
            query::<i64>(&path, "SELECT count(*) FROM activity_meter"),
            3_000
        );
        // And it goes through when it is not interrupted.
        flag.store(false, Ordering::Relaxed);
        migrate(&config).unwrap();
    }
}

#[test]
fn reading_operations_are_interrupted_too() {
    let folder = tempdir().unwrap();
    let config = database(folder.path());
    let flag = Arc::new(AtomicBool::new(true));
    let config = config.interrupt(flag);
    for error in [
        check(&config).unwrap_err(),
        audit(&config).unwrap_err(),
        rollback(&config, &RollbackOptions::to(0)).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::Interrupted { .. }), "{error:?}");
    }
    assert_eq!(names(folder.path()), ["roas.db", "roas.db-migrate.lock"]);
}

/// SQLite sorts in files of its own: a small disk for those is what has no room, not the database's.
#[test]
fn a_full_temporary_folder_is_named() {
    const CHILD: &str = "ROAS_TEST_TEMPORARY_FOLDER";
    let child = |database: &Path, temporary: &Path| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "written_files::a_full_temporary_folder_is_named",
                "--nocapture",
            ])
            .env(CHILD, database)
            .env("SQLITE_TMPDIR", temporary)
            .output()
            .unwrap()
    };
    if let Some(path) = std::env::var_os(CHILD) {
        println!("CHILD {:?}", migrate(&Config::new(path)).map(drop));
        return;
    }
    let folder = tempdir().unwrap();
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&temporary)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no file system can be mounted");
        return;
    }
    let path = folder.path().join("bot.db");
    legacy(&path, 100_000);
    let output = child(&path, &temporary);
    let unmounted = std::process::Command::new("umount")
        .arg(&temporary)
        .status();
    assert!(unmounted.unwrap().success());
    let said = String::from_utf8(output.stdout).unwrap();
    let error = said.lines().find(|line| line.contains("CHILD")).unwrap();
    assert!(
        error.contains("Full") && error.contains(temporary.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(
        query::<i64>(&path, "SELECT count(*) FROM activity_meter"),
        100_000
    );
    assert_eq!(
        names(folder.path()),
        ["bot.db", "bot.db-migrate.lock", "tmp"]
    );
}
