//! `roas ingest` beside its counts: files that are not there, acknowledgements, strictness, signals.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Answer, Folder, keys, message};

fn lines(ids: impl Iterator<Item = u64>) -> String {
    ids.map(|id| message(id, 5, 60 + id % 7, "2025-08-22T00:00:00Z") + "\n")
        .collect()
}

fn acknowledged(folder: &Folder, name: &str) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(folder.path(name)).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn an_input_that_cannot_be_read_is_refused_before_a_database_is_made() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("folder")).unwrap();
    folder.write("in.ndjson", lines(1..3));
    for (line, expected) in [
        ("ingest nowhere.ndjson", "cannot read nowhere.ndjson"),
        ("ingest folder", "it is a folder"),
        (
            "ingest in.ndjson --ack nowhere/acks",
            "cannot write to nowhere/acks",
        ),
        ("ingest in.ndjson --ack folder", "cannot write to folder"),
    ] {
        let answer = folder.run(line);
        assert!(answer.failure().contains(expected), "{line}: {answer:?}");
    }
    assert_eq!(folder.names(), ["folder", "in.ndjson"]);
}

#[test]
fn the_database_itself_is_no_input_and_takes_no_acknowledgements() {
    let folder = Folder::new();
    folder.write("in.ndjson", lines(1..3));
    folder.run("migrate").text();
    for line in [
        "ingest roas.db",
        "ingest in.ndjson --ack ./roas.db",
        "ingest in.ndjson --ack roas.db-wal",
    ] {
        let answer = folder.run(line);
        assert!(
            answer.line_with_code(2).contains("part of the database"),
            "{line}: {answer:?}"
        );
    }
    assert_eq!(folder.json("stats")["messages"], 0);
}

#[test]
fn stdin_is_read_and_an_empty_input_is_a_good_one() {
    let folder = Folder::new();
    let report = folder.json("ingest -");
    assert_eq!(
        (&report["lines"], &report["events_per_s"]),
        (&0.into(), &0.0.into())
    );
    assert!(
        report["latency_us"]
            .as_object()
            .unwrap()
            .values()
            .all(serde_json::Value::is_null)
    );
    assert_eq!(
        keys(&report),
        [
            "cooling_down",
            "duplicate",
            "elapsed_ms",
            "events_per_s",
            "ignored",
            "latency_us",
            "lines",
            "rejected",
            "scored"
        ]
    );

    let mut child = folder.spawn("ingest - --json");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines(1..8).as_bytes())
        .unwrap();
    let report = Answer::from(child.wait_with_output().unwrap()).json();
    assert_eq!(report["scored"], 7);
}

#[test]
fn acknowledgements_are_appended_one_a_line() {
    let folder = Folder::new();
    folder.write("in.ndjson", lines(1..500));
    folder.write("acks", "1000\n20");
    folder.run("ingest in.ndjson --ack acks").text();
    let expected: BTreeSet<_> = (1..500).chain([1000, 20]).collect();
    assert_eq!(acknowledged(&folder, "acks"), expected);
    let text = std::fs::read_to_string(folder.path("acks")).unwrap();
    assert!(text.starts_with("1000\n20\n") && text.ends_with('\n'));
    assert_eq!(text.lines().count(), 501);

    // A duplicate was recorded before, which is as good.
    folder.run("ingest in.ndjson --ack again").text();
    assert_eq!(acknowledged(&folder, "again"), (1..500).collect());
}

#[test]
fn rejected_lines_are_named_and_only_strictness_minds_them() {
    let folder = Folder::new();
    let input = format!("{}not json\n{}{{\"op\":1}}\n[]\n", lines(1..3), lines(3..5));
    folder.write("in.ndjson", input);
    let answer = folder.run("ingest in.ndjson");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let named: Vec<_> = answer
        .stderr
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(named, ["line 3", "line 7"]);

    let folder = Folder::new();
    folder.write("in.ndjson", format!("not json\n{}", lines(1..4)));
    let answer = folder.run("ingest in.ndjson --strict --json");
    assert_eq!(answer.code, Some(3), "{answer:?}");
    let report = answer.object();
    assert_eq!(
        (&report["scored"], &report["rejected"]),
        (&3.into(), &1.into())
    );
    assert_eq!(folder.json("stats")["messages"], 3);

    folder.write("good.ndjson", lines(1..4));
    folder.run("ingest good.ndjson --strict").text();
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_named() {
    let folder = Folder::new();
    folder.write("in.ndjson", lines(1..3_000));
    let answer = folder.run("ingest in.ndjson --ack /dev/full");
    assert!(
        answer.failure().contains("/dev/full: No space left"),
        "{answer:?}"
    );

    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = folder.command(["stats"]);
    command.stdout(full).stderr(Stdio::piped());
    let answer = Answer::from(command.spawn().unwrap().wait_with_output().unwrap());
    assert!(
        answer
            .failure()
            .contains("cannot write to stdout: No space left"),
        "{answer:?}"
    );
}

#[test]
fn a_text_summary_is_for_people() {
    let folder = Folder::new();
    folder.write("in.ndjson", lines(1..1_500));
    let text = folder.run("ingest in.ndjson");
    assert!(text.text().contains("lines              1,499"), "{text:?}");
    assert!(
        !text.stdout.contains('\u{1b}') && !text.stdout.contains('\r'),
        "{text:?}"
    );
}

/// Waits until the file of acknowledgements has all of `ids`: their events are committed then.
#[cfg(unix)]
fn wait_for_acks(folder: &Folder, ids: std::ops::Range<u64>, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let ids: BTreeSet<_> = ids.collect();
    while acknowledged_whole(folder) != ids {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the program ended by itself"
        );
        assert!(Instant::now() < deadline, "no acknowledgements came");
        std::thread::yield_now();
    }
}

/// What is acknowledged, but for a last line that is still being written.
#[cfg(unix)]
fn acknowledged_whole(folder: &Folder) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(folder.path("acks")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    // The shell has a `kill` of its own; as a program it is not everywhere.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .status();
    assert!(status.unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_order_while_it_waits_for_input() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let folder = Folder::new();
        let mut child = folder.spawn("ingest - --json --ack acks");
        let mut input = child.stdin.take().unwrap();
        input.write_all(lines(1..300).as_bytes()).unwrap();
        wait_for_acks(&folder, 1..300, &mut child);
        signal(&child, name);
        // The input stays open: nothing but the signal ends the program.
        let answer = Answer::from(child.wait_with_output().unwrap());
        drop(input);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        let report = answer.object();
        assert_eq!(
            (&report["lines"], &report["interrupted"]),
            (&299.into(), &true.into())
        );
        assert_eq!(folder.json("stats")["messages"], 299);
    }
}

#[cfg(unix)]
#[test]
fn what_is_acknowledged_survives_a_kill() {
    let folder = Folder::new();
    let mut child = folder.spawn("ingest - --ack acks");
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines(1..2_000).as_bytes()).unwrap();
    wait_for_acks(&folder, 1..2_000, &mut child);
    signal(&child, "KILL");
    child.wait().unwrap();
    assert_eq!(folder.json("stats")["messages"], 1_999);
    folder.write("in.ndjson", lines(1..2_000));
    assert_eq!(folder.json("ingest in.ndjson")["duplicate"], 1_999);
}
