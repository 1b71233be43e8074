//! Files that are no database of ours, and what stays of them: everything.

#![expect(clippy::print_stdout, reason = "a test that was skipped says why")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::{CommandOutput, Folder, bytes, fixture, message};

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

#[test]
fn without_permission_for_the_file_every_command_says_so() {
    let folder = Folder::new();
    folder.run(WRITES[1]).text();
    set_mode(&folder.path("roas.db"), 0o000);
    set_mode(&folder.path(""), 0o755);
    for line in READS.iter().chain(&WRITES) {
        let Some(answer) = unprivileged(&folder, line) else {
            return;
        };
        let failure = answer.failure();
        assert!(
            failure.contains("look at the permissions") || failure.contains("is read-only"),
            "{line}: {answer:?}"
        );
    }
}

#[test]
fn in_a_folder_that_cannot_be_written_to_no_database_is_created_or_written() {
    let folder = Folder::new();
    folder.run(WRITES[1]).text();
    let before = (bytes(&folder.path("roas.db")), folder.names());
    set_mode(&folder.path("roas.db"), 0o666);
    set_mode(&folder.path(""), 0o555);
    for line in WRITES.into_iter().skip(1) {
        let Some(answer) = unprivileged(&folder, line) else {
            return;
        };
        let failure = answer.failure();
        assert!(failure.contains("its folder"), "{line}: {answer:?}");
        let answer = unprivileged(&folder, &format!("--db new.db {line}"));
        let answer = answer.expect("the program was run a moment ago");
        assert!(
            answer.failure().contains("Permission denied"),
            "{line}: {answer:?}"
        );
    }
    set_mode(&folder.path(""), 0o755);
    assert!((bytes(&folder.path("roas.db")), folder.names()) == before);
}

/// Runs a command line as somebody to whom permissions apply; `None`, and the reason on stdout, where
/// there is no becoming such a one.
fn unprivileged(folder: &Folder, line: &str) -> Option<CommandOutput> {
    const NOBODY: u32 = 65_534;
    let mut command = folder.command(line.split_whitespace());
    if fs::metadata(folder.path("")).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.output() {
        Ok(output) => Some(CommandOutput::from(output)),
        Err(error) => {
            println!("skipped: the program cannot be run as somebody else: {error}");
            None
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// No number of descriptors makes the program hang or lie; with enough of them it works.
#[test]
fn with_few_descriptors_a_command_works_or_says_why_not() {
    let folder = Folder::new();
    let mut recorded = 0.0;
    // Fewer, and neither the system's libraries nor the runtime start.
    for limit in 9..30 {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_roas"))
            .args(WRITES[1].split_whitespace())
            .env("ROAS_DB", folder.path("roas.db"));
        let answer = CommandOutput::of(command);
        if answer.code == Some(0) {
            recorded += 1.0;
        } else {
            answer.failure();
        }
    }
    assert!(recorded > 0.0 && recorded < 21.0, "{recorded}");
    let member = folder.json("member --guild 1 --user 2 --at 0");
    assert_eq!(member["score"], recorded, "{member}");
}

/// Whatever the memory, a command works, says why not, or dies, which is a kill: what was acknowledged is
/// stored, once, and the file is whole.
#[test]
fn with_little_memory_a_command_works_says_why_not_or_dies() {
    const EVENTS: u64 = 200;
    let folder = Folder::new();
    folder.run("migrate --db roas.db").text();
    let stored = || {
        let stats = folder.json("stats --db roas.db");
        stats["messages"].as_u64().unwrap()
    };
    let [mut worked, mut told, mut died] = [0; 3];
    let limits = (24_000..48_000).step_by(2_000);
    for (round, limit_kib) in (0..).zip(limits) {
        let mut input = String::new();
        for id in round * EVENTS + 1..=(round + 1) * EVENTS {
            writeln!(
                input,
                r#"{{"op":0,"t":"MESSAGE_CREATE","d":{{"id":"{id}","guild_id":"1","author":{{"id":"2"}},"timestamp":"2025-08-22T00:00:00Z"}}}}"#
            )
            .unwrap();
        }
        folder.write("input", input);
        folder.write("acks", "");
        for line in [
            "ingest input --ack acks",
            "leaderboard --guild 1",
            "member --guild 1 --user 2",
            &format!("backup {limit_kib}.db"),
        ] {
            let mut command = Command::new("bash");
            command
                .args([
                    "-c",
                    &format!("ulimit -v {limit_kib} && exec \"$0\" \"$@\""),
                ])
                .arg(env!("CARGO_BIN_EXE_roas"))
                .args(line.split_whitespace())
                .current_dir(folder.path(""))
                .env("ROAS_DB", "roas.db")
                // No address space for the memory of threads that do not use it.
                .env("MALLOC_ARENA_MAX", "1");
            let answer = CommandOutput::of(command);
            match answer.code {
                Some(0) => worked += 1,
                Some(1) => {
                    answer.failure();
                    told += 1;
                }
                // A signal; the runtime, which panics without threads; the system's own loader.
                None | Some(101 | 127) => died += 1,
                Some(_) => panic!("{limit_kib} KiB, {line}: {answer:?}"),
            }
        }

        folder.run("check --db roas.db").text();
        let acknowledged = fs::read_to_string(folder.path("acks")).unwrap();
        let acknowledged = round * EVENTS + acknowledged.lines().count() as u64;
        let found = stored();
        assert!(found >= acknowledged, "{found} of {acknowledged}");
        folder.run("ingest --db roas.db input").text();
        assert_eq!(stored(), (round + 1) * EVENTS);
    }
    // The limits are neither all too high nor all too low to show anything.
    assert!(worked > 0 && told + died > 0, "{worked} {told} {died}");
    for name in folder.names() {
        if name.ends_with("000.db") {
            folder.run(&format!("check --db {name}")).text();
        }
    }
}

/// The acknowledgements go to no file that the ids would destroy.
#[test]
fn acknowledgements_are_not_written_over_the_input_or_the_database() {
    let folder = Folder::new();
    folder.write("in.ndjson", message(1, 5, 6, "2025-08-22T00:00:00Z"));
    folder.run("ingest in.ndjson").text();
    fs::hard_link(folder.path("in.ndjson"), folder.path("again.ndjson")).unwrap();
    let before = folder.names();
    for ack in [
        "in.ndjson",
        "again.ndjson",
        "roas.db",
        "roas.db-wal",
        "roas.db-journal",
        "./roas.db-shm",
    ] {
        let answer = folder.run(&format!("ingest in.ndjson --ack {ack}"));
        assert_eq!(answer.code, Some(2), "{ack}: {answer:?}");
    }
    assert_eq!(folder.names(), before);
    let error = folder.run("backup roas.db --force");
    assert!(
        error.failure().contains("belongs to the database"),
        "{error:?}"
    );
    assert!(!error.stderr.contains("--force"), "{error:?}");
}

/// Ctrl-C in the middle of a copy: the bar shows that it is in the middle.
#[test]
fn an_interrupted_backup_says_what_became_of_the_file() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    let folder = Folder::new();
    folder.run("migrate").text();
    // Large enough that progress is shown, and that the check of the copy takes a while.
    let path = folder.path("roas.db");
    let filled = Command::new("python3")
        .args(["-c", "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1])\n\
            db.execute('CREATE TABLE ballast (a INTEGER PRIMARY KEY, b)')\n\
            db.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) \
                INSERT INTO ballast SELECT i, hex(randomblob(60)) FROM n')\n\
            db.execute('CREATE INDEX ballast_b ON ballast (b)')\n\
            db.commit()"])
        .arg(&path)
        .status();
    if !filled.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no python3");
        return;
    }
    let before = folder.names();
    let mut child = folder
        .command(["backup", "copy.db"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(
        line.contains("copying") || line.contains("checking"),
        "{line}"
    );
    let pid = child.id().to_string();
    let killed = Command::new("bash")
        .args(["-c", &format!("kill -INT {pid}")])
        .status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    let last = stderr
        .lines()
        .map(Result::unwrap)
        .last()
        .unwrap_or_default();
    assert_eq!(
        (status.code(), status.signal()),
        (Some(130), None),
        "{last}"
    );
    assert!(last.starts_with("roas: interrupted; "), "{last}");
    assert_eq!(folder.names(), before);
}
