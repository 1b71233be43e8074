//! The answers of every command: their JSON, and that people get text.

use serde_json::json;

use crate::support::{Folder, keys, message};

#[test]
fn migrate_tells_what_it_did_what_it_would_do_and_what_is_there() {
    let folder = Folder::new();
    let keys_of_all = [
        "applied", "created", "from", "latest", "mode", "path", "pending", "to",
    ];

    let dry = folder.json("migrate --dry-run");
    assert!(
        keys_of_all.iter().all(|key| keys(&dry).contains(key)),
        "{dry}"
    );
    assert_eq!(
        (&dry["from"], &dry["created"], &dry["applied"]),
        (&json!(0), &json!(false), &json!([]))
    );
    assert_eq!(dry["contents"], "no file");
    let pending = dry["pending"].as_array().unwrap();
    assert!(pending[0].as_str().unwrap().starts_with("V1__"), "{dry}");

    let status = folder.json("migrate --status");
    assert_eq!(
        (&status["to"], &status["pending"]),
        (&json!(0), &dry["pending"])
    );
    assert!(folder.run("migrate --status").text().contains("pending"));
    assert!(
        folder
            .run("migrate --dry-run")
            .text()
            .contains("would apply V1__")
    );

    let done = folder.json("migrate");
    assert_eq!(keys(&done), keys_of_all);
    assert_eq!((&done["from"], &done["to"]), (&json!(0), &dry["to"]));
    assert_eq!(
        (&done["created"], &done["applied"]),
        (&json!(true), &dry["pending"])
    );
    assert_eq!(done["pending"], json!([]));

    let again = folder.json("migrate");
    assert_eq!(
        (&again["created"], &again["applied"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(again["from"], again["to"]);
    assert!(folder.run("migrate").text().contains("nothing to do"));
    assert!(
        folder
            .run("migrate --dry-run")
            .text()
            .contains("nothing to do")
    );

    let status = folder.json("migrate --status");
    assert_eq!(
        (&status["applied"], &status["pending"]),
        (&dry["pending"], &json!([]))
    );
    assert!(folder.run("migrate --status").text().contains("applied"));
}

#[test]
fn adjust_answers_the_record() {
    let folder = Folder::new();
    let record = folder.json("adjust --guild 5 --user 6 --delta 7.5 --at 1755820801");
    assert_eq!(
        record,
        json!({
            "guild_id": "5", "user_id": "6", "score": 7.5,
            "last_message_at": 1_755_820_801, "messages": 0
        })
    );
    let text = folder.run("adjust --guild 5 --user 6 --delta 1000 --at 2020-01-01T00:00:00Z");
    assert!(text.text().contains("100.00"), "{text:?}");
    assert!(text.stdout.contains("2025-08-22T00:00:01Z"), "{text:?}");
}

#[test]
fn member_tells_all_there_is_to_know() {
    let folder = Folder::new();
    let lines = [
        message(11, 5, 6, "2025-08-21T23:00:00.5+00:00"),
        message(12, 5, 6, "2025-08-22T00:00:00+00:00"),
        message(13, 5, 7, "2025-08-22T00:00:01+00:00"),
    ];
    folder.write("in.ndjson", lines.join("\n"));
    folder.run("ingest in.ndjson").text();

    // One point each hour, with six points of decay an hour: the score is 1 after every message,
    // and half an hour later 1 − 6/3600 · (1800 − 300) < 0.
    let at = 1_755_820_800;
    let member = folder.json(&format!("member --guild 5 --user 6 --at {at}"));
    assert_eq!(
        member,
        json!({
            "guild_id": "5", "user_id": "6", "at": at, "score": 1.0, "stored_score": 1.0,
            "last_message_at": at, "messages": 2, "today": "20250822", "messages_today": 1,
            "messages_this_month": 2, "rank": 1, "members": 2
        })
    );
    let later = folder.json(&format!("member --guild 5 --user 7 --at {}", at + 600));
    // 599 s idle, of which 299 s decay: 1 − 299/600.
    assert!(
        (later["score"].as_f64().unwrap() - (1.0 - 299.0 / 600.0)).abs() < 1e-9,
        "{later}"
    );
    assert_eq!(
        (&later["stored_score"], &later["rank"]),
        (&json!(1.0), &json!(1))
    );
    let text = folder.run(&format!("member --guild 5 --user 7 --at {at}"));
    assert!(text.text().contains("of 2"), "{text:?}");
}

#[test]
fn an_unknown_member_is_a_failure() {
    let folder = Folder::new();
    folder.run("migrate").text();
    for json in ["", " --json"] {
        let answer = folder.run(&format!("member --guild 5 --user 6{json}"));
        assert_eq!(answer.failure(), "no record of user 6 in guild 5");
    }
}

#[test]
fn leaderboards_rank_by_score_day_and_month() {
    let folder = Folder::new();
    let lines: Vec<_> = (0..15)
        .map(|n| {
            message(
                100 + n,
                5,
                60 + n % 3,
                &format!("2025-08-{:02}T12:00:00Z", 21 + n % 2),
            )
        })
        .chain([message(200, 5, 60, "2025-08-22T18:00:00Z")])
        .collect();
    folder.write("in.ndjson", lines.join("\n"));
    folder.run("ingest in.ndjson").text();

    let score = folder.json("leaderboard --guild 5 --at 2025-08-22T18:00:00Z");
    assert_eq!(
        (&score["guild_id"], &score["by"]),
        (&json!("5"), &json!("score"))
    );
    assert_eq!(score["at"], 1_755_885_600);
    assert_eq!(
        score["entries"][0],
        json!({"rank": 1, "user_id": "60", "score": 1.0, "last_message_at": 1_755_885_600})
    );
    assert_eq!(score["entries"].as_array().unwrap().len(), 3);

    let day = folder.json("leaderboard --guild 5 --by day --at 2025-08-21T00:00:00Z --limit 2");
    assert_eq!(
        (&day["by"], &day["period"]),
        (&json!("day"), &json!("20250821"))
    );
    assert_eq!(
        day["entries"],
        json!([
            {"rank": 1, "user_id": "60", "messages": 3},
            {"rank": 2, "user_id": "62", "messages": 3},
        ])
    );
    let month = folder.json("leaderboard --guild 5 --by month --at 2025-08-01T00:00:00Z");
    assert_eq!(
        (&month["period"], &month["entries"][0]["messages"]),
        (&json!("202508"), &json!(6))
    );

    let text = folder.run("leaderboard --guild 5 --by month --at 2025-08-01T00:00:00Z");
    assert!(text.text().contains("messages of 202508"), "{text:?}");
    assert!(
        !text.stdout.contains('\u{1b}'),
        "escapes in a pipe: {text:?}"
    );
    assert!(
        folder
            .run("leaderboard --guild 9")
            .text()
            .contains("nobody yet")
    );
    assert_eq!(folder.json("leaderboard --guild 9")["entries"], json!([]));
}

#[test]
fn rules_are_shown_and_set() {
    let folder = Folder::new();
    folder.run("migrate").text();
    let defaults = json!({
        "guild_id": "5", "max_score": 100.0, "gain_per_message": 1.0, "cooldown_seconds": 60,
        "decay_after_seconds": 300, "decay_per_hour": 6.0, "time_zone": "UTC"
    });
    assert_eq!(folder.json("rules --guild 5"), defaults);

    let set =
        "rules --guild 5 --set cooldown_seconds=0 --set time_zone=asia/taipei --set max_score=50";
    let mut expected = defaults.clone();
    expected["cooldown_seconds"] = json!(0);
    expected["time_zone"] = json!("Asia/Taipei");
    expected["max_score"] = json!(50.0);
    assert_eq!(folder.json(set), expected);
    assert_eq!(folder.json("rules --guild 5"), expected);
    assert_eq!(folder.json("rules --guild 6")["cooldown_seconds"], 60);
    assert!(folder.run("rules --guild 5").text().contains("Asia/Taipei"));

    // One that is wrong keeps the others from being set.
    folder
        .run("rules --guild 5 --set max_score=70 --set cooldown_seconds=-1")
        .usage_error();
    assert_eq!(folder.json("rules --guild 5"), expected);
}

#[test]
fn stats_tell_how_much_there_is_and_how_it_is_run() {
    let folder = Folder::new();
    let lines = [
        message(1, 5, 6, "2025-08-22T00:00:00Z"),
        message(2, 6, 6, "2025-08-22T00:00:00Z"),
    ];
    folder.write("in.ndjson", lines.join("\n"));
    folder.run("ingest in.ndjson").text();
    let stats = folder.json("stats");
    assert_eq!(
        keys(&stats),
        [
            "database_bytes",
            "guilds",
            "journal_fallback",
            "journal_mode",
            "members",
            "messages",
            "open_in",
            "path",
            "schema_version",
            "sqlite_version",
            "synchronous",
            "wal_bytes",
            "wal_limit_bytes",
            "write_lock_pid"
        ]
    );
    assert_eq!(
        (&stats["members"], &stats["guilds"], &stats["messages"]),
        (&json!(2), &json!(2), &json!(2))
    );
    assert_eq!(
        (&stats["journal_mode"], &stats["synchronous"]),
        (&json!("wal"), &json!("full"))
    );
    assert!(stats["database_bytes"].as_u64().unwrap() > 0);
    assert_eq!(stats["journal_fallback"], json!(null));
    assert_eq!(
        (&stats["open_in"], &stats["write_lock_pid"]),
        (&json!([]), &json!(null))
    );
    assert!(folder.run("stats").text().contains("journal mode"));
}

#[test]
fn stats_tell_why_a_file_has_no_wal() {
    let folder = Folder::new();
    folder.write("in.ndjson", message(1, 5, 6, "2025-08-22T00:00:00Z"));
    folder.run("ingest in.ndjson").text();
    folder.run("backup copy.db").text();
    let stats = folder.json("stats --db copy.db");
    assert_eq!(stats["journal_mode"], json!("delete"));
    let reason = stats["journal_fallback"].as_str().unwrap();
    assert!(
        reason.contains("has not been opened for writing"),
        "{reason}"
    );
    let shown = folder.run("stats --db copy.db");
    let text = shown.text();
    assert!(text.contains(&format!("delete: {reason}")), "{text}");

    folder
        .run("rules --db copy.db --guild 5 --set max_score=70")
        .text();
    let stats = folder.json("stats --db copy.db");
    assert_eq!(
        (&stats["journal_mode"], &stats["journal_fallback"]),
        (&json!("wal"), &json!(null))
    );
}

/// Closing interrupts the first maintenance, which is none of the user's concern.
#[test]
fn a_short_command_on_a_large_guild_leaves_no_warning() {
    let folder = Folder::new();
    let lines: Vec<_> = (1..=2_500)
        .map(|id| message(id, 5, id, "2025-08-22T00:00:00Z"))
        .collect();
    folder.write("in.ndjson", lines.join("\n"));
    folder.run("ingest in.ndjson").text();
    for _ in 0..5 {
        let answer = folder.run("adjust --guild 5 --user 6 --delta 1 --at 1755820801");
        answer.text();
        assert_eq!(answer.stderr, "");
    }
}
