//! `roas ingest` beside its counts: files that are not there, acknowledgements, strictness, signals.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{CommandOutput, Folder, fixture, keys, message};

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
            "failed",
            "ignored",
            "ignored_lines",
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
    let report = CommandOutput::from(child.wait_with_output().unwrap()).json();
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

/// What is rejected whole exits with 3 and says what it looks like; the last line says what to do.
#[test]
fn an_input_that_is_something_else_is_named_and_exits_with_3() {
    let raw = r#"{"id":"1","author":{"id":"2"},"timestamp":"2025-08-22T00:00:00Z"}"#;
    let utf_16: Vec<u8> = lines(1..3)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (input, looks, advice) in [
        (b"[\n{}\n]\n".to_vec(), "one JSON array", "jq -c '.[]'"),
        (
            format!("[{raw},{raw}]").into(),
            "one JSON array of messages without",
            "jq -c '.[] | {op: 0",
        ),
        (
            format!("{raw}\n{raw}\n").into(),
            "messages without the gateway's envelope",
            "d: (. + {guild_id",
        ),
        (
            b"{\n\"guild\": {\"id\": \"1\"},\n\"channel\": {}\n}".to_vec(),
            "DiscordChatExporter",
            "jq -c '.guild.id",
        ),
        (b"a,b,c\n1,2,3\n".to_vec(), "CSV", "export it as JSON"),
        (utf_16, "UTF-16", "iconv -f UTF-16"),
        (b"nothing\n".to_vec(), "expected one JSON object", "--help"),
    ] {
        let folder = Folder::new();
        folder.write("in.ndjson", &input);
        let answer = folder.run("ingest in.ndjson --json");
        assert_eq!(answer.code, Some(3), "{answer:?}");
        let report = answer.object();
        assert_eq!(report["rejected"], report["lines"], "{report}");
        let last = answer.stderr.lines().last().unwrap();
        let expected = "roas: no line of in.ndjson is a gateway payload: ";
        assert!(last.starts_with(expected), "{last}");
        assert!(last.contains(looks) && last.contains(advice), "{last}");
    }
}

/// What cannot hold one good line is refused at its beginning; of a file, before a database is made.
#[test]
fn a_compressed_input_or_a_database_is_refused_at_its_beginning() {
    for (input, looks) in [
        (&b"\x1F\x8B\x08\0\n\n"[..], "gzip; `gzip -dc"),
        (b"SQLite format 3\0\n", "a SQLite database; `roas --db"),
        (b"\xFF\xFE{\0\n\0", "text in UTF-16; `iconv"),
    ] {
        let folder = Folder::new();
        folder.write("in", input);
        let answer = folder.run("ingest in --json");
        assert!(answer.line_with_code(3).contains(looks), "{answer:?}");
        assert_eq!(folder.names(), ["in"]);

        let mut child = folder.spawn("ingest - --json");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let answer = CommandOutput::from(child.wait_with_output().unwrap());
        let line = answer.line_with_code(3);
        assert!(line.contains("stdin") && line.contains(looks), "{line}");
    }
}

#[test]
fn blank_lines_alone_are_no_fault() {
    let folder = Folder::new();
    folder.write("in", "\n\n");
    assert_eq!(folder.json("ingest in")["ignored_lines"]["blank"], 2);
}

#[test]
fn a_summary_says_why_lines_were_ignored() {
    let folder = Folder::new();
    let input = fixture("gateway/system_only.ndjson");
    let line = format!("ingest {}", input.display());
    let report = folder.json(&line);
    assert_eq!(
        (&report["scored"], &report["ignored"]),
        (&1.into(), &13.into())
    );
    assert_eq!(report["ignored_lines"]["system"], 13);
    let text = folder.run(&line);
    assert!(text.text().contains("13 (13 system messages)"), "{text:?}");
}

#[test]
fn one_message_from_the_future_is_rejected_and_the_rest_counts_as_without_it() {
    let input = std::fs::read_to_string(fixture("gateway/fut.ndjson")).unwrap();
    let without: Vec<_> = input
        .lines()
        .filter(|line| !line.contains("2052-"))
        .collect();
    let without = without.join("\n");
    let [with, control] = [Folder::new(), Folder::new()];
    with.write("in", &input);
    control.write("in", &without);
    let answer = with.run("ingest in --json");
    let report = answer.json();
    let expected = control.json("ingest in");
    assert_eq!(report["rejected"], 1);
    for key in ["scored", "cooling_down", "ignored"] {
        assert_eq!(report[key], expected[key], "{key}");
    }
    assert!(
        answer
            .stderr
            .starts_with("line 2: the time 2052-08-22T00:00:00Z is "),
        "{answer:?}"
    );
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    let board = "leaderboard --guild 743430870758460727 --at 2025-08-23T00:00:00Z";
    assert_eq!(with.json(board), control.json(board));

    // The rejected one was not remembered, and counts once the limit is off.
    with.write("roas.toml", "max_clock_skew_seconds = 'off'");
    assert_eq!(with.json("ingest in")["scored"], 1);
    // All of them: the clock is wrong, and not the input's format.
    let ahead = message(1, 5, 60, "2052-08-22T00:00:00Z");
    control.write("ahead", ahead);
    let answer = control.run("ingest ahead");
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    let answer = control.run("adjust --guild 1 --user 2 --delta 1 --at 2052-08-22T00:00:00Z");
    assert!(
        answer.failure().contains("2052-08-22T00:00:00Z"),
        "{answer:?}"
    );
}

/// A database whose guild 2 has a time zone that does not exist.
fn with_unreadable_rules() -> Folder {
    let folder = Folder::new();
    folder.run("migrate").text();
    let path = folder.path("roas.db");
    #[expect(clippy::disallowed_methods, reason = "no process of ours has it open")]
    let database = rusqlite::Connection::open(path).unwrap();
    let sql = "INSERT INTO activity_settings (guild_id, time_zone) VALUES (2, 'Asia/Tapei')";
    database.execute_batch(sql).unwrap();
    folder
}

#[test]
fn one_guilds_unreadable_settings_fail_its_own_lines_until_they_are_set() {
    let folder = with_unreadable_rules();
    let time = "2025-08-22T00:00:00Z";
    let input: String = (1..=300)
        .map(|id| message(id, id % 3 + 1, 60 + id % 7, time) + "\n")
        .collect();
    folder.write("in.ndjson", &input);
    let answer = folder.run("ingest in.ndjson --json --ack acks");
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let report = answer.object();
    assert_eq!(
        (&report["lines"], &report["failed"], &report["rejected"]),
        (&300.into(), &100.into(), &0.into())
    );
    let expected: BTreeSet<_> = (1..=300).filter(|id| id % 3 != 1).collect();
    assert_eq!(acknowledged(&folder, "acks"), expected);
    assert_eq!(answer.stderr.lines().count(), 101, "{answer:?}");
    let first = answer.stderr.lines().next().unwrap();
    for part in [
        "line ",
        "guild 2 in `activity_settings`",
        "`time_zone`",
        "`Asia/Tapei`",
        "; `roas rules --guild 2 --set time_zone=…` corrects it",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(!answer.stderr.contains("damaged"), "{answer:?}");
    let last = answer.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("roas: 100 messages were not recorded"),
        "{last}"
    );

    let line = folder.run("rules --guild 2");
    assert!(line.failure().contains("--set time_zone=…"), "{line:?}");
    let line = folder.run("rules --guild 2 --set max_score=50");
    assert!(line.failure().contains("--set time_zone=…"), "{line:?}");
    let set = folder.json("rules --guild 2 --set time_zone=Asia/Taipei --set max_score=50");
    assert_eq!(
        (&set["time_zone"], &set["max_score"]),
        (&"Asia/Taipei".into(), &50.0.into())
    );
    let report = folder.json("ingest in.ndjson --ack acks");
    assert_eq!(
        (&report["duplicate"], &report["failed"]),
        (&200.into(), &0.into())
    );
    assert_eq!(acknowledged(&folder, "acks"), (1..=300).collect());
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
    let answer = CommandOutput::from(command.spawn().unwrap().wait_with_output().unwrap());
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
        let answer = CommandOutput::from(child.wait_with_output().unwrap());
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
