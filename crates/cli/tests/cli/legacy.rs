//! Databases of the original bot, from the operator's side.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, bytes, fixture};

const FIXTURES: [(&str, &str); 3] = [
    ("v23-meter", "2.3"),
    ("v240-duplicates", "2.4.0"),
    ("v241-primary-key", "2.4.1"),
];

fn old(name: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "roas.db",
        bytes(&fixture("legacy").join(format!("{name}.db"))),
    );
    folder
}

#[test]
fn reading_commands_name_the_version_and_leave_it_alone() {
    for (name, version) in FIXTURES {
        let folder = old(name);
        let before = bytes(&folder.path("roas.db"));
        let expected = format!("is a database of the original bot (version {version}");
        for line in [
            "stats",
            "leaderboard --guild 1",
            "--no-migrate adjust --guild 1 --user 2 --delta 1 --at 0",
        ] {
            let answer = folder.run(line);
            assert!(answer.failure().contains(&expected), "{line}: {answer:?}");
        }
        let status = folder.json("migrate --status");
        assert!(
            status["contents"].as_str().unwrap().contains(version),
            "{status}"
        );
        assert!(bytes(&folder.path("roas.db")) == before);
        assert_eq!(folder.names(), ["roas.db"]);
    }
}

#[test]
fn an_audit_says_what_the_description_says_and_changes_nothing() {
    for (name, _) in FIXTURES {
        let folder = old(name);
        let before = bytes(&folder.path("roas.db"));
        let answer = folder.run("audit --json");
        let expected: Value = serde_json::from_slice(&bytes(
            &fixture("legacy").join(format!("{name}.expected.json")),
        ))
        .unwrap();
        assert_eq!(
            answer.code,
            Some(if name == "v240-duplicates" { 4 } else { 0 })
        );
        let object = answer.object();
        for (key, wanted) in expected.as_object().unwrap() {
            if let Some(wanted) = wanted.as_f64() {
                let found = object[key].as_f64().unwrap_or(f64::NAN);
                assert!(
                    (found - wanted).abs() < 1e-6,
                    "{name}: {key} is {found}, not {wanted}"
                );
            }
        }
        assert_eq!(object["integrity"], "ok");
        assert!(
            folder
                .run("audit")
                .stdout
                .contains("`roas migrate` would run V1__")
        );
        assert!(bytes(&folder.path("roas.db")) == before);
        assert_eq!(folder.names(), ["roas.db"]);
    }
}

#[test]
fn an_audit_shows_the_top_ten_before_and_after_and_the_settings_that_change() {
    let folder = old("v23-meter");
    let audit = folder.json("audit");
    assert_eq!(audit["compared_at"], 1_754_992_333);
    let boards = audit["boards"].as_array().unwrap();
    assert_eq!(boards.len(), 3);
    for board in boards {
        assert_eq!(board["differing_members"], 0, "{board}");
        assert_eq!(board["original_above_zero"], board["above_zero"]);
        for place in board["places"].as_array().unwrap() {
            assert_eq!(place["original_score"], place["score"], "{place}");
            assert_eq!(place["original_rank"], place["rank"], "{place}");
        }
    }
    let text = folder.run("audit").stdout;
    assert!(
        text.contains(
            "Guild 375385303789211889: 15 above 0 in the original, 15 here; 0 of 300 differ"
        ),
        "{text}"
    );
    folder.run("migrate").text();
    let rules = folder.json("rules --guild 375385303789211889");
    assert_eq!(
        (
            &rules["gain_per_message"],
            &rules["decay_after_seconds"],
            &rules["decay_per_hour"]
        ),
        (&5.0.into(), &3_600.into(), &2.0.into())
    );

    let text = old("v240-duplicates").run("audit").stdout;
    assert!(text.contains("several rows"), "{text}");
    assert!(text.contains("score out of range"), "{text}");
}

#[test]
fn migrating_names_the_copy_and_the_way_back_gives_the_rows_back() {
    let folder = old("v240-duplicates");
    let rehearsed = folder.json("migrate --dry-run");
    assert_eq!(folder.names(), ["roas.db"]);
    let done = folder.json("migrate");
    for key in [
        "source_rows",
        "members",
        "duplicate_rows",
        "quarantined_rows",
    ] {
        assert_eq!(rehearsed["takeover"][key], done["takeover"][key]);
    }
    assert_eq!(done["takeover"]["members"], 904);
    assert!(fs::metadata(done["snapshot"].as_str().unwrap()).is_ok());
    assert_eq!(folder.json("stats")["members"], 904);
    assert_eq!(folder.json("check")["ok"], true);
    assert_eq!(folder.json("audit")["members"], 904);

    let undone = folder.json("rollback --to 0");
    assert!(fs::metadata(undone["snapshot"].as_str().unwrap()).is_ok());
    let audit = folder.run("audit --json").object();
    assert_eq!(audit["source_rows"], 1725);
    let text = folder.run("migrate --strategy latest");
    assert!(text.text().contains("The file as it was: "), "{text:?}");
    assert!(folder.run("rollback --to 0").text().contains("undone V1__"));
}

#[test]
fn versions_that_cannot_be_reached_are_named() {
    let folder = old("v241-primary-key");
    for (line, expected) in [
        ("migrate --to 999", "knows only up to"),
        ("migrate --to -1", "unexpected argument"),
        ("migrate --strategy least", "expected max, sum or latest"),
        ("rollback --to 1", "`roas migrate --to 1` goes up to it"),
    ] {
        let answer = folder.run(line);
        assert!(answer.stderr.contains(expected), "{line}: {answer:?}");
        assert_ne!(answer.code, Some(0));
    }
    assert_eq!(folder.json("migrate --to 1")["to"], 1);
    assert!(folder.run("stats").failure().contains("set aside"));
    folder.run("migrate").text();
    assert!(
        folder
            .run("migrate --to 1")
            .failure()
            .contains("roas rollback --to 1")
    );
}

#[test]
fn backups_come_back_and_nothing_is_overwritten_unasked() {
    let folder = old("v241-primary-key");
    folder.run("migrate").text();
    assert_eq!(folder.json("backup copy.db")["integrity"], "ok");
    assert!(
        folder
            .run("backup copy.db")
            .failure()
            .contains("is there already; it was left untouched; `--force` replaces it")
    );
    assert!(
        folder
            .run("backup --force copy.db")
            .text()
            .contains("checked and synced")
    );
    folder
        .run("adjust --guild 1 --user 2 --delta 1 --at 0")
        .text();
    assert!(
        folder
            .run("restore copy.db")
            .failure()
            .contains("is there already; it was left untouched; `--force` replaces it")
    );
    assert_eq!(folder.json("stats")["members"], 901);
    folder.run("restore --force copy.db").text();
    assert_eq!(folder.json("stats")["members"], 900);
    folder.run("--db elsewhere.db restore copy.db").text();
    assert_eq!(folder.json("--db elsewhere.db stats")["members"], 900);
    assert!(
        folder
            .run("restore nowhere.db")
            .failure()
            .contains("nowhere.db")
    );
}

#[test]
fn a_whole_file_needs_no_repair() {
    let folder = Folder::new();
    folder.run("migrate").text();
    assert!(folder.run("repair").text().contains("nothing to repair"));
    assert_eq!(folder.json("repair")["done"], serde_json::json!([]));
    assert!(folder.run("check").text().contains("all is well"));
    assert_eq!(
        folder.json("rollback --to 0")["contents"],
        "an empty database"
    );
}

#[test]
fn a_taken_over_file_that_nobody_else_writes_to_says_so() {
    let folder = old("v23-meter");
    folder.run("migrate").text();
    let nothing = serde_json::json!({"old_rows": 0, "uncounted_messages": 0});
    assert_eq!(folder.json("stats")["since_takeover"], nothing);
    assert_eq!(folder.json("audit")["since_takeover"], nothing);
    assert!(!folder.run("stats").stdout.contains("Another program"));
    folder.run("check").text();
    let fresh = Folder::new();
    fresh.run("migrate").text();
    assert_eq!(fresh.json("stats")["since_takeover"], Value::Null);
}

#[test]
fn an_audit_names_objects_of_other_modules_and_a_migration_leaves_them() {
    let folder = Folder::new();
    folder.write("roas.db", bytes(&fixture("cases").join("broken_view.db")));
    let audit = folder.run("audit --json");
    assert_eq!(audit.code, Some(4), "{audit:?}");
    let object = audit.object();
    let objects = object["foreign_objects"].as_array().unwrap();
    let sound: Vec<_> = objects
        .iter()
        .map(|object| {
            (
                object["name"].as_str().unwrap(),
                object["sound"].as_bool().unwrap(),
            )
        })
        .collect();
    for expected in [
        ("badge", true),
        ("bonus_counts", true),
        ("busy_members", true),
        ("log_scores", true),
        ("office_holders", false),
        ("office_term", false),
    ] {
        assert!(sound.contains(&expected), "{expected:?}: {sound:?}");
    }
    let audit = folder.run("audit");
    assert_eq!(audit.code, Some(4), "{audit:?}");
    let line = "view `office_holders` does not work already: no such column: o.status";
    assert!(audit.stdout.contains(line), "{audit:?}");
    assert_eq!(folder.json("migrate")["takeover"]["members"], 2);
    assert_eq!(
        folder.json("rollback --to 0")["contents"],
        "a database of the original bot (version 2.4.0: `activity_meter` without `created_at` and `updated_at`)"
    );
}
