//! What the command line accepts, and how it refuses the rest.

use std::process::Stdio;

use crate::support::{CommandOutput, Folder};

const WRITES: [&str; 2] = [
    "adjust --guild 1 --user 2 --delta 1 --at 0",
    "rules --guild 1 --set cooldown_seconds=0",
];

#[test]
fn global_options_stand_before_the_command_and_after_it() {
    let folder = Folder::new();
    folder.run("migrate --db a.db").text();
    // The limit follows the disk's free room, where that is small.
    let stats = |line| {
        let mut stats = folder.run(line).json();
        stats["wal_limit_bytes"].take();
        stats
    };
    let before = stats("--db a.db --json -v stats");
    let after = stats("stats --db a.db --json -v");
    assert_eq!(before, after);
    assert!(!folder.path("roas.db").exists());
}

#[test]
fn bad_values_are_wrong_usage_and_change_nothing() {
    let folder = Folder::new();
    for (line, expected) in [
        ("member --guild 0 --user 1", "`0` is not a valid guild id"),
        (
            "member --guild 1 --user 9223372036854775808",
            "is not a valid user id",
        ),
        ("leaderboard --guild abc", "`abc` is not a valid guild id"),
        (
            "adjust --guild 9223372036854775808 --user 1 --delta 1 --at 1",
            "not a valid guild id",
        ),
        (
            "adjust --guild 1 --user 0 --delta 1 --at 1",
            "not a valid user id",
        ),
        (
            "adjust --guild 1 --user 1 --delta NaN --at 1",
            "expected a number from",
        ),
        (
            "adjust --guild 1 --user 1 --delta inf --at 1",
            "expected a number from",
        ),
        (
            "adjust --guild 1 --user 1 --delta -inf --at 1",
            "expected a number from",
        ),
        (
            "adjust --guild 1 --user 1 --delta 1e300 --at 1",
            "expected a number from",
        ),
        (
            "adjust --guild 1 --user 1 --delta -1000000001 --at 1",
            "expected a number from",
        ),
        (
            "adjust --guild 1 --user 1 --delta 1 --at 1755820801000",
            "looks like milliseconds",
        ),
        ("adjust --guild 1 --user 1 --delta 1 --at -1", "before 1970"),
        (
            "adjust --guild 1 --user 1 --delta 1 --at tomorrow",
            "RFC 3339",
        ),
        ("adjust --guild 1 --user 1 --delta 1", "--at"),
        (
            "member --guild 1 --user 1 --at 1755820801000",
            "looks like milliseconds",
        ),
        (
            "leaderboard --guild 1 --at 1755820801000",
            "looks like milliseconds",
        ),
        ("leaderboard --guild 1 --by week", "score, day, month"),
        ("leaderboard --guild 1 --limit 0", "1 to 1000"),
        ("leaderboard --guild 1 --limit 99999", "1 to 1000"),
        (
            "rules --guild 1 --set time_zone=Mars/Olympus",
            "Mars/Olympus",
        ),
        (
            "rules --guild 1 --set cooldown_seconds=-1",
            "cooldown_seconds",
        ),
        (
            "rules --guild 1 --set decay_per_hour=-0.5",
            "decay_per_hour",
        ),
        (
            "rules --guild 1 --set gain_per_message=NaN",
            "gain_per_message",
        ),
        ("rules --guild 1 --set max_score=0", "max_score"),
        ("rules --guild 1 --set cooldown=5", "cooldown_seconds"),
        ("rules --guild 1 --set cooldown_seconds", "key=value"),
        ("ingest - --in-flight 0", "1 to 65536"),
        ("ingest", "<FILE>"),
        ("demo --seconds 0", "1..=600"),
        ("migrate --status --dry-run", "cannot be used with"),
        ("frobnicate", "frobnicate"),
        ("", "Usage"),
    ] {
        let answer = folder.run(line);
        assert!(
            answer.usage_error().contains(expected),
            "{line}: {answer:?}"
        );
        let answer = folder.run(&format!("{line} --json"));
        answer.usage_error();
    }
    let answer = folder.run("migrate --no-migrate");
    assert!(
        answer.line_with_code(2).contains("contradict"),
        "{answer:?}"
    );
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn negative_deltas_are_read_in_every_form() {
    let folder = Folder::new();
    for (delta, score) in [("10", 10.0), ("-2.5", 7.5), ("-1e0", 6.5)] {
        let line = format!("adjust --guild 1 --user 2 --delta {delta} --at 100");
        assert_eq!(folder.json(&line)["score"], score);
    }
    assert_eq!(
        folder.json("adjust --guild 1 --user 2 --delta=-.5 --at 100")["score"],
        6.0
    );
}

#[test]
fn help_teaches_every_command() {
    let folder = Folder::new();
    let help = folder.run("--help");
    for part in [
        "migrate",
        "ingest",
        "leaderboard",
        "ROAS_DB",
        "roas.toml",
        "Exit codes",
    ] {
        assert!(help.text().contains(part), "{part}");
    }
    assert!(!help.stdout.contains("demo-worker"));
    for command in [
        "migrate",
        "ingest",
        "member",
        "leaderboard",
        "adjust",
        "rules",
        "stats",
        "demo",
    ] {
        let help = folder.run(&format!("{command} --help"));
        assert!(help.text().contains("Example"), "{command}");
        assert!(help.stdout.contains("--db <FILE>"), "{command}");
    }
    assert!(
        folder
            .run("ingest --help")
            .stdout
            .contains("[default: 1024]")
    );
    assert!(
        folder
            .run("leaderboard --help")
            .stdout
            .contains("[default: score]")
    );
    assert_eq!(
        folder.run("--version").text(),
        format!("roas {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = Folder::new();
    folder.run("migrate").text();
    let mut child = folder
        .command(["stats"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let answer = CommandOutput::from(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
}

#[test]
fn no_migrate_creates_no_database() {
    let folder = Folder::new();
    folder.write("in.ndjson", "");
    for line in WRITES.into_iter().chain(["ingest in.ndjson"]) {
        let answer = folder.run(&format!("--no-migrate {line}"));
        assert!(answer.failure().contains("no database at"), "{answer:?}");
    }
    assert_eq!(folder.names(), ["in.ndjson"]);
    folder.run("migrate").text();
    for line in WRITES {
        folder.run(&format!("{line} --no-migrate")).text();
    }
}
