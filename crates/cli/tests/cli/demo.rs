//! The demo, at its shortest.

use crate::support::{Folder, keys};

#[test]
fn the_demo_counts_every_message_of_both_processes_once() {
    let folder = Folder::new();
    let demo = folder.json("demo --seconds 1 --db 小鎮.db");
    assert_eq!(
        keys(&demo),
        [
            "guild",
            "guild_id",
            "guilds",
            "leaderboard",
            "members",
            "messages_stored",
            "path",
            "second_process",
            "seconds",
            "this_process",
            "time_zone"
        ]
    );
    let count = |process: &str, key: &str| demo[process][key].as_u64().unwrap();
    let stored = demo["messages_stored"].as_u64().unwrap();
    assert!(count("this_process", "messages") > 0 && count("second_process", "messages") > 0);
    assert_eq!(
        count("this_process", "messages") + count("second_process", "messages"),
        stored
    );
    assert_eq!(
        count("this_process", "lock_errors") + count("second_process", "lock_errors"),
        0
    );
    assert_eq!(demo["leaderboard"].as_array().unwrap().len(), 10);

    // The database is kept, and is one like any other.
    assert_eq!(folder.json("stats --db 小鎮.db")["messages"], stored);
    let guild = demo["guild_id"].as_str().unwrap();
    let first = &demo["leaderboard"][0];
    let line = format!(
        "member --db 小鎮.db --guild {guild} --user {}",
        first["user_id"]
    );
    assert_eq!(
        folder.json(&line.replace('"', ""))["messages"],
        first["messages"]
    );
}

#[test]
fn the_demo_shows_people_a_leaderboard_and_what_to_do_next() {
    let folder = Folder::new();
    let mut command = folder.command(["demo", "--seconds", "1"]);
    command.env("TMPDIR", folder.path(""));
    let answer = crate::support::CommandOutput::of(command);
    let text = answer.text();
    for part in [
        "深夜食堂",
        "lock errors",
        "exactly those acknowledged",
        "roas leaderboard",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_demo_touches_no_database_that_is_there() {
    let folder = Folder::new();
    folder.run("migrate").text();
    let answer = folder.run("demo --seconds 1 --db roas.db");
    assert!(answer.failure().contains("exists already"), "{answer:?}");
    assert_eq!(folder.json("stats")["messages"], 0);
    let answer = folder.run("demo --seconds 1 --db nowhere/roas.db");
    assert!(
        answer.failure().contains("there is no folder"),
        "{answer:?}"
    );
}
