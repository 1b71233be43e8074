//! Files that are no database of ours, and what stays of them: everything.

use std::fs;
use std::path::Path;

use crate::support::{Folder, bytes, fixture};

const READS: [&str; 4] = [
    "stats",
    "member --guild 1 --user 2",
    "leaderboard --guild 1",
    "rules --guild 1",
];

const WRITES: [&str; 4] = [
    "migrate",
    "adjust --guild 1 --user 2 --delta 1 --at 0",
    "rules --guild 1 --set cooldown_seconds=0",
    "ingest -",
];

/// Every command on `roas.db` fails, says `expected`, and leaves the folder as it was.
#[track_caller]
fn is_refused(folder: &Folder, expected: &str) {
    let db = folder.path("roas.db");
    let names = folder.names();
    let before = db.is_file().then(|| bytes(&db));
    for line in READS.into_iter().chain(WRITES) {
        for json in ["", " --json"] {
            let answer = folder.run(&format!("{line}{json}"));
            assert!(answer.failure().contains(expected), "{line}: {answer:?}");
        }
    }
    let answer = folder.run("migrate --dry-run");
    assert!(answer.failure().contains(expected), "{answer:?}");
    assert_eq!(folder.names(), names);
    assert_eq!(db.is_file().then(|| bytes(&db)), before);
}

#[test]
fn reading_commands_create_nothing() {
    let folder = Folder::new();
    for line in READS {
        let answer = folder.run(line);
        assert!(
            answer.failure().contains("there is no database at"),
            "{line}: {answer:?}"
        );
    }
    folder.run("migrate --status").text();
    folder.run("migrate --dry-run").text();
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn reading_commands_change_nothing() {
    let folder = Folder::new();
    folder
        .run("adjust --guild 1 --user 2 --delta 1 --at 0")
        .text();
    let state = || {
        let names = folder.names();
        let contents: Vec<_> = ["roas.db", "roas.db-wal"]
            .map(|name| folder.path(name))
            .iter()
            .map(|path| path.exists().then(|| bytes(path)))
            .collect();
        (names, contents)
    };
    let before = state();
    for line in READS
        .into_iter()
        .chain(["migrate --status", "migrate --dry-run"])
    {
        folder.run(line).text();
        assert!(state() == before, "{line}: {:?}", folder.names());
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = Folder::new();
    folder.write("roas.db", bytes(&fixture("schema/newer.db")));
    is_refused(&folder, "schema version 9999");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = Folder::new();
    folder.write(
        "roas.db",
        "小明 said: this is a text file, and a long enough one. ".repeat(40),
    );
    is_refused(&folder, "is not a SQLite database");
}

#[test]
fn a_folder_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path("roas.db")).unwrap();
    for line in READS.into_iter().chain(WRITES) {
        let answer = folder.run(line);
        assert!(
            answer.failure().contains("is a folder"),
            "{line}: {answer:?}"
        );
    }
    assert_eq!(folder.names(), ["roas.db"]);
}

#[test]
fn a_folder_that_does_not_exist_is_not_created() {
    let folder = Folder::new();
    for line in WRITES.into_iter().chain(["migrate --dry-run"]) {
        let answer = folder.run(&format!("--db nowhere/roas.db {line}"));
        assert!(
            answer.failure().contains("there is no folder"),
            "{line}: {answer:?}"
        );
    }
    for line in READS {
        let answer = folder.run(&format!("--db nowhere/roas.db {line}"));
        assert!(answer.failure().contains("nowhere"), "{line}: {answer:?}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_read_only_file_is_read_and_not_written() {
    let folder = Folder::new();
    folder
        .run("adjust --guild 1 --user 2 --delta 1 --at 0")
        .text();
    set_read_only(&folder.path("roas.db"));
    let before = bytes(&folder.path("roas.db"));
    for line in &WRITES[1..] {
        let answer = folder.run(line);
        assert!(
            answer.failure().contains("is read-only"),
            "{line}: {answer:?}"
        );
    }
    for line in READS {
        folder.run(line).text();
    }
    assert!(bytes(&folder.path("roas.db")) == before);
}

#[test]
fn an_empty_file_becomes_a_database_when_it_is_written_to() {
    let folder = Folder::new();
    folder.write("roas.db", "");
    for line in READS {
        let answer = folder.run(line);
        assert!(
            answer.failure().contains("holds no activity meter yet"),
            "{line}: {answer:?}"
        );
    }
    let answer = folder.run(&format!("--no-migrate {}", WRITES[1]));
    assert!(
        answer.failure().contains("run `roas migrate`"),
        "{answer:?}"
    );
    assert_eq!(bytes(&folder.path("roas.db")), [0; 0]);
    assert_eq!(folder.names(), ["roas.db"]);
    folder.run(WRITES[1]).text();
    assert_eq!(folder.json("stats")["members"], 1);
}

fn set_read_only(path: &Path) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions).unwrap();
}
