//! Files that are removed, renamed, replaced or spoiled under a database that is in use: nothing that
//! is acknowledged is lost.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use roas_db::{Access, Database, OpenError, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, Effect, RepositoryErrorKind};
use tempfile::tempdir;

use crate::support::{on_runtime, query, quick, raw, start_process};

/// A file beside the database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// By another process: in this one, closing a copied file would drop SQLite's locks.
fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Which events there would be, were all processes killed now.
fn after_a_kill(path: &Path) -> BTreeSet<u64> {
    let folder = tempdir().unwrap();
    let copy = folder.path().join("roas.db");
    run("cp", &[path, &copy]);
    let wal = beside(path, "-wal");
    if wal.exists() {
        run("cp", &[&wal, &beside(&copy, "-wal")]);
    }
    stored(&copy)
}

fn stored(path: &Path) -> BTreeSet<u64> {
    assert_eq!(query::<String>(path, "PRAGMA integrity_check"), "ok");
    let ids = "SELECT coalesce(group_concat(event_id), '') FROM activity_event";
    let ids: String = query(path, ids);
    let counted: i64 = query(
        path,
        "SELECT coalesce(sum(messages), 0) FROM activity_meter",
    );
    let ids: BTreeSet<u64> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
    assert_eq!(usize::try_from(counted).unwrap(), ids.len());
    ids
}

/// Records events one by one, each until it is acknowledged. An error may leave open whether it was
/// applied, and may not come again and again.
async fn record(repository: &SqliteActivityRepository, ids: std::ops::Range<u64>) {
    for id in ids {
        let event = message_with_id(id, member(1, id % 7 + 1), MIDNIGHT);
        let mut errors = Vec::new();
        while let Err(error) = repository.record(event).await {
            errors.push(error.to_string());
            assert!(errors.len() < 3, "{errors:?}");
        }
    }
}

/// What is done to the files, by name; whether what was acknowledged before stays.
type Vandal = (&'static str, fn(&Path), bool);

const VANDALS: [Vandal; 10] = [
    (
        "WAL removed",
        |path| fs::remove_file(beside(path, "-wal")).unwrap(),
        true,
    ),
    (
        "WAL renamed",
        |path| fs::rename(beside(path, "-wal"), beside(path, "-wal.tmp")).unwrap(),
        true,
    ),
    (
        "WAL replaced by an old copy",
        |path| fs::rename(beside(path, "-old"), beside(path, "-wal")).unwrap(),
        true,
    ),
    (
        "WAL overwritten with an old copy",
        |path| run("cp", &[&beside(path, "-old"), &beside(path, "-wal")]),
        false,
    ),
    (
        "WAL truncated",
        |path| {
            let wal = fs::OpenOptions::new()
                .write(true)
                .open(beside(path, "-wal"));
            wal.unwrap().set_len(0).unwrap();
        },
        false,
    ),
    (
        "shared memory removed",
        |path| fs::remove_file(beside(path, "-shm")).unwrap(),
        true,
    ),
    (
        "shared memory renamed",
        |path| fs::rename(beside(path, "-shm"), beside(path, "-shm.tmp")).unwrap(),
        true,
    ),
    (
        "shared memory replaced",
        |path| {
            run("cp", &[&beside(path, "-shm"), &beside(path, "-shm.new")]);
            fs::rename(beside(path, "-shm.new"), beside(path, "-shm")).unwrap();
        },
        true,
    ),
    (
        "both removed",
        |path| {
            for suffix in ["-wal", "-shm"] {
                fs::remove_file(beside(path, suffix)).unwrap();
            }
        },
        true,
    ),
    (
        "WAL removed, and another program has made one",
        |path| {
            fs::remove_file(beside(path, "-wal")).unwrap();
            run(
                "sh",
                &[
                    Path::new("-c"),
                    Path::new(": > \"$0\""),
                    &beside(path, "-wal"),
                ],
            );
        },
        true,
    ),
];

/// Records 20 events, of which the first are in an old copy of the WAL, has a vandal in, and looks what
/// a kill would leave after `then`.
async fn beset(vandal: Vandal, then: impl AsyncFn(&Database)) -> BTreeSet<u64> {
    let (name, spoil, keeps) = vandal;
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let path = config.path();
    let database = Database::open(config.clone()).await.unwrap();
    record(&database.repository(), 1..11).await;
    run("cp", &[&beside(path, "-wal"), &beside(path, "-old")]);
    database.maintain().await.unwrap();
    record(&database.repository(), 11..21).await;
    spoil(path);
    then(&database).await;
    let left = after_a_kill(path);
    if keeps {
        let before = (1..21).collect();
        assert!(left.is_superset(&before), "{name}: {left:?}");
    }
    database.close().await.unwrap();
    assert!(stored(path).is_superset(&left), "{name}");
    left
}

#[test]
fn what_is_acknowledged_around_lost_files_survives_a_kill() {
    for vandal in VANDALS {
        let left = on_runtime(beset(vandal, async |database| {
            let repository = database.repository();
            record(&repository, 21..31).await;
            // Readers see it, too, of a connection before and of a new one.
            let counts = repository.counts().await.unwrap();
            assert!(counts.messages >= 10, "{}: {counts:?}", vandal.0);
            assert!(database.writer_stats().reopened <= 1, "{}", vandal.0);
        }));
        let after = (21..31).collect();
        assert!(left.is_superset(&after), "{}: {left:?}", vandal.0);
    }
}

#[test]
fn an_idle_writer_saves_what_lost_files_hold() {
    for vandal in VANDALS.into_iter().filter(|(.., keeps)| *keeps) {
        on_runtime(beset(vandal, async |database| {
            database.maintain().await.unwrap();
        }));
    }
}

#[test]
fn a_writer_that_closes_saves_what_lost_files_hold() {
    for vandal in VANDALS.into_iter().filter(|(.., keeps)| *keeps) {
        on_runtime(async {
            let folder = tempdir().unwrap();
            let config = quick(folder.path());
            let database = Database::open(config.clone()).await.unwrap();
            record(&database.repository(), 1..11).await;
            run(
                "cp",
                &[
                    &beside(config.path(), "-wal"),
                    &beside(config.path(), "-old"),
                ],
            );
            record(&database.repository(), 11..21).await;
            (vandal.1)(config.path());
            database.close().await.unwrap();
            let all = (1..21).collect();
            assert!(stored(config.path()).is_superset(&all), "{}", vandal.0);
        });
    }
}

/// The other process has the WAL open as well, so that closing here is not the last and copies nothing.
#[test]
fn a_writer_that_closes_beside_another_saves_what_lost_files_hold() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        record(&database.repository(), 2..11).await;
        let folder = folder.path().to_str().unwrap();
        let variables = [("ROAS_TEST_FOLDER", folder)];
        let mut other = start_process("lost_files::has_it_open_until_killed", &variables);
        let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("open")));
        fs::remove_file(beside(config.path(), "-wal")).unwrap();
        database.close().await.unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
    });
    assert_eq!(after_a_kill(config.path()), (1..11).collect());
}

/// Records until it is killed, whatever happens, and says what is acknowledged.
#[test]
#[ignore = "the process of processes_that_share_a_lost_file_lose_nothing"]
fn records_whatever_happens() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    let first: u64 = std::env::var("ROAS_TEST_FIRST").unwrap().parse().unwrap();
    on_runtime(async {
        let database = Database::open(quick(Path::new(&folder))).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let repository = database.repository();
                tokio::spawn(async move {
                    for number in 0_u64.. {
                        let id = first + number * 8 + task;
                        record(&repository, id..id + 1).await;
                        println!("ack {id}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn processes_that_share_a_lost_file_lose_nothing() {
    // Before the files are lost, and after.
    const ACKNOWLEDGED: usize = 150;
    for vandal in VANDALS.into_iter().filter(|(.., keeps)| *keeps) {
        let folder = tempdir().unwrap();
        let config = quick(folder.path());
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            record(&database.repository(), 1..11).await;
            run(
                "cp",
                &[
                    &beside(config.path(), "-wal"),
                    &beside(config.path(), "-old"),
                ],
            );
            database.close().await.unwrap();
        });
        let (sender, acknowledged) = mpsc::sync_channel(100_000);
        let mut processes: Vec<_> = ["1000", "1000000"]
            .into_iter()
            .map(|first| {
                let folder = folder.path().to_str().unwrap();
                let variables = [("ROAS_TEST_FOLDER", folder), ("ROAS_TEST_FIRST", first)];
                let mut process = start_process("lost_files::records_whatever_happens", &variables);
                let lines = BufReader::new(process.stdout.take().unwrap()).lines();
                let sender = sender.clone();
                std::thread::Builder::new()
                    .spawn(move || {
                        for line in lines.map_while(Result::ok) {
                            if let Some(id) = line.strip_prefix("ack ") {
                                let id: u64 = id.parse().unwrap();
                                let _ = sender.send(id);
                            }
                        }
                    })
                    .unwrap();
                process
            })
            .collect();
        drop(sender);
        let mut ids = BTreeSet::new();
        let mut wait = |count: usize| {
            let mut of_each = [0; 2];
            while of_each.iter().any(|acknowledged| *acknowledged < count) {
                let id = acknowledged.recv().expect(vandal.0);
                of_each[usize::from(id >= 1_000_000)] += 1;
                ids.insert(id);
            }
        };
        wait(ACKNOWLEDGED);
        (vandal.1)(config.path());
        wait(ACKNOWLEDGED);
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        ids.extend(acknowledged.iter());
        let left = stored(config.path());
        let lost: Vec<_> = ids.difference(&left).collect();
        assert!(
            lost.is_empty(),
            "{}: {} lost: {lost:?}",
            vandal.0,
            lost.len()
        );
    }
}

/// A second program, while the first has files that are not there any more, would make new ones, and
/// both write to the database.
#[test]
fn a_database_is_not_opened_beside_a_process_that_has_lost_its_files() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let folder = folder.path().to_str().unwrap();
    let variables = [("ROAS_TEST_FOLDER", folder)];
    let mut process = start_process("lost_files::has_it_open_until_killed", &variables);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("open")));
    fs::remove_file(beside(config.path(), "-wal")).unwrap();
    let policy = roas_db::RetryPolicy::aggressive().with_deadline(std::time::Duration::ZERO);
    let error = on_runtime(Database::open(config.clone().retry(policy))).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::SideFilesLost { .. }), "{text}");
    assert!(text.contains(&process.id().to_string()), "{text}");
    process.kill().unwrap();
    process.wait().unwrap();
    on_runtime(async { Database::open(config).await.unwrap().close().await.unwrap() });
}

#[test]
#[ignore = "the process of a_database_is_not_opened_beside_a_process_that_has_lost_its_files"]
fn has_it_open_until_killed() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    on_runtime(async {
        let database = Database::open(quick(Path::new(&folder))).await.unwrap();
        record(&database.repository(), 1..2).await;
        println!("\nopen");
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_reader_goes_on_with_the_file_that_took_the_place_of_its_own() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let path = config.path();
        let database = Database::open(config.clone()).await.unwrap();
        record(&database.repository(), 1..4).await;
        database.close().await.unwrap();
        run("cp", &[path, &beside(path, ".new")]);
        raw(
            &beside(path, ".new"),
            "PRAGMA journal_mode = WAL; DELETE FROM activity_meter",
        );

        let reading = config.clone().access(Access::ReadOnly);
        let reading = Database::open(reading).await.unwrap();
        assert_eq!(reading.repository().counts().await.unwrap().members, 3);
        fs::rename(beside(path, ".new"), path).unwrap();
        // Within a second, that is: it looks once in one.
        while reading.repository().counts().await.unwrap().members == 3 {
            tokio::task::yield_now().await;
        }
        reading.close().await.unwrap();
    });
}

#[test]
fn a_file_that_gets_another_name_is_not_written_to_until_that_is_gone() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        record(&repository, 1..4).await;
        let other = folder.path().join("snapshot.db");
        fs::hard_link(config.path(), &other).unwrap();
        // One that is under way may still be applied: it is in this name's WAL.
        let mut refused = 0;
        for id in 4..7 {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            if let Err(error) = repository.record(event).await {
                assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
                assert_eq!(error.effect(), Effect::NotApplied);
                assert!(error.to_string().contains("hard link"), "{error}");
                refused += 1;
            }
        }
        assert!(refused >= 2, "{refused}");
        fs::remove_file(&other).unwrap();
        record(&repository, 4..7).await;
        database.close().await.unwrap();
    });
    assert_eq!(stored(config.path()), (1..7).collect());
}

#[test]
fn a_file_with_several_names_is_opened_only_where_that_is_insisted_on() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let path = config.path();
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        record(&database.repository(), 1..4).await;
        let [snapshot, of_wal] =
            ["snapshot.db", "snapshot.db-wal"].map(|name| folder.path().join(name));
        database.close().await.unwrap();
        fs::hard_link(path, &snapshot).unwrap();
        for access in [Access::ReadWrite, Access::ReadOnly] {
            for name in [path, &snapshot] {
                let config = roas_db::Config::new(name).access(access);
                let error = Database::open(config).await.unwrap_err();
                assert!(
                    matches!(error, OpenError::HardLinked { links: 2, .. }),
                    "{error}"
                );
            }
        }
        let insisting = config.clone().allow_aliases(true);
        let database = Database::open(insisting).await.unwrap();
        record(&database.repository(), 4..7).await;
        // One name, but not one WAL.
        fs::remove_file(&snapshot).unwrap();
        fs::hard_link(beside(path, "-wal"), &of_wal).unwrap();
        let error = Database::open(config.clone().access(Access::ReadOnly))
            .await
            .unwrap_err();
        let OpenError::HardLinked { path: linked, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(linked, beside(path, "-wal").canonicalize().unwrap());
        fs::remove_file(of_wal).unwrap();
        // A symbolic link is another name that leads to the same one.
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(path, &link).unwrap();
        let reading = roas_db::Config::new(link).access(Access::ReadOnly);
        let reading = Database::open(reading).await.unwrap();
        assert_eq!(reading.repository().counts().await.unwrap().messages, 6);
        reading.close().await.unwrap();
        database.close().await.unwrap();
    });
}

/// Where this may not mount, the list of mounts is parsed alone (`identity::tests`).
#[test]
fn a_file_that_is_mounted_by_itself_is_refused_and_its_folder_is_not() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        database.close().await.unwrap();
    });
    let script = "mount --bind \"$0\" \"$0\" 2> /dev/null || exit 77; exec \"$@\"";
    let itself = std::env::current_exe().unwrap();
    for (mounted, expected) in [(config.path(), "refused"), (folder.path(), "opened")] {
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(mounted)
            .arg(&itself)
            .args([
                "lost_files::says_whether_it_opens",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("ROAS_TEST_FOLDER", folder.path())
            .output();
        match output {
            Ok(output) if output.status.success() => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(
                    said.lines().any(|line| line == expected),
                    "{mounted:?}: {said}"
                );
            }
            output => println!("SKIPPED: nothing can be mounted here: {output:?}"),
        }
    }
}

#[test]
#[ignore = "the process of a_file_that_is_mounted_by_itself_is_refused_and_its_folder_is_not"]
fn says_whether_it_opens() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    let config = quick(Path::new(&folder));
    for config in [config.clone(), config.access(Access::ReadOnly)] {
        match on_runtime(Database::open(config)) {
            Ok(database) => {
                println!("\nopened");
                on_runtime(database.close()).unwrap();
            }
            Err(OpenError::MountPoint { .. }) => println!("\nrefused"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Closing a copied file drops the locks that SQLite holds for this process, so that the next program
/// takes itself for the last one, and removes the WAL when it closes. Newer versions of SQLite notice by
/// the locks on the shared memory; `python3`'s may be older. Where there is none, nothing is removed.
#[test]
#[expect(clippy::disallowed_methods, reason = "what a bot must not do")]
fn a_copy_by_the_process_itself_loses_nothing() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let path = config.path();
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        record(&repository, 1..4).await;
        let mut removed = 0;
        for round in 0..3 {
            fs::copy(path, beside(path, ".copy")).unwrap();
            let program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                           c.execute('SELECT count(*) FROM activity_meter').fetchall(); c.close()";
            let other = Command::new("python3")
                .args(["-c", program])
                .arg(path)
                .status();
            if !other.is_ok_and(|status| status.success()) {
                println!("SKIPPED: no python3 with SQLite");
            }
            removed += usize::from(!beside(path, "-wal").exists());
            let ids = 10 * (round + 1)..10 * (round + 2);
            record(&repository, ids).await;
        }
        println!("the WAL was removed {removed} times of 3");
        let all = (1..4).chain(10..40).collect();
        assert!(after_a_kill(path).is_superset(&all));
        database.close().await.unwrap();
    });
}
