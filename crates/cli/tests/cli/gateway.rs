//! Real gateway traffic in at one end, correct scores and leaderboards out at the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{CommandOutput, Folder, bytes, fixture};

const OUTCOMES: [&str; 5] = ["scored", "cooling_down", "duplicate", "ignored", "rejected"];

fn expected() -> Value {
    serde_json::from_slice(&bytes(&fixture("gateway/messages.expected.json"))).unwrap()
}

fn messages() -> String {
    String::from_utf8(bytes(&fixture("gateway/messages.ndjson"))).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

/// Everything that the database holds, read through the leaderboards, is what is expected.
#[track_caller]
fn holds_what_is_expected(folder: &Folder, expected: &Value) {
    let totals = folder.json("stats");
    assert_eq!(totals["members"], expected["members"]);
    assert_eq!(totals["messages"], expected["messages"]);

    // Guild, user, score, last message, messages.
    let states = expected["states"].as_array().unwrap();
    let guilds: BTreeSet<_> = states
        .iter()
        .map(|state| state[0].as_str().unwrap())
        .collect();
    let (mut members, mut sum_score, mut sum_last) = (BTreeMap::new(), 0.0, 0);
    let (mut daily_rows, mut daily_messages) = (0, 0);
    for guild in &guilds {
        // Before a member's last message there is no decay: at time 0 scores are those stored.
        let scores = folder.json(&format!("leaderboard --guild {guild} --at 0 --limit 1000"));
        for entry in scores["entries"].as_array().unwrap() {
            let user = entry["user_id"].as_str().unwrap().to_owned();
            let (score, last) = (
                entry["score"].as_f64().unwrap(),
                entry["last_message_at"].as_i64().unwrap(),
            );
            sum_score += score;
            sum_last += last;
            members.insert(((*guild).to_owned(), user), (score, last, 0));
        }
        for day in 19..=25 {
            let line = format!("leaderboard --guild {guild} --by day --limit 1000");
            let day = folder.json(&format!("{line} --at 2025-08-{day}T12:00:00Z"));
            for entry in day["entries"].as_array().unwrap() {
                let user = entry["user_id"].as_str().unwrap().to_owned();
                let messages = entry["messages"].as_i64().unwrap();
                members.get_mut(&((*guild).to_owned(), user)).unwrap().2 += messages;
                daily_rows += 1;
                daily_messages += messages;
            }
        }
    }
    assert_eq!(members.len(), states.len());
    for state in states {
        let member = (
            state[0].as_str().unwrap().to_owned(),
            state[1].as_str().unwrap().to_owned(),
        );
        let (score, last, messages) = members[&member];
        assert!(close(score, state[2].as_f64().unwrap()), "{state}: {score}");
        assert_eq!(
            (Some(last), Some(messages)),
            (state[3].as_i64(), state[4].as_i64()),
            "{state}"
        );
    }
    assert!(
        close(sum_score, expected["sum_score"].as_f64().unwrap()),
        "{sum_score}"
    );
    assert_eq!(sum_last, expected["sum_last_msg"].as_i64().unwrap());
    assert_eq!(daily_rows, expected["daily_rows"].as_i64().unwrap());
    assert_eq!(daily_messages, expected["daily_messages"].as_i64().unwrap());

    // And one by one, for some of them.
    for state in states.iter().step_by(97) {
        let line = format!("member --guild {} --user {}", state[0], state[1]).replace('"', "");
        let member = folder.json(&line);
        assert!(close(
            member["stored_score"].as_f64().unwrap(),
            state[2].as_f64().unwrap()
        ));
        assert_eq!(
            (&member["last_message_at"], &member["messages"]),
            (&state[3], &state[4])
        );
    }
}

#[test]
fn the_fixture_comes_out_as_expected_however_many_are_in_flight_and_how_often() {
    let expected = expected();
    let input = fixture("gateway/messages.ndjson");
    for in_flight in [1, 1_024] {
        let folder = Folder::new();
        let line = format!("ingest {} --in-flight {in_flight}", input.display());
        let answer = folder.run(&format!("{line} --json"));
        let report = answer.json();
        assert_eq!(report["lines"], expected["lines"]);
        for outcome in OUTCOMES {
            assert_eq!(report[outcome], expected["outcomes"][outcome], "{outcome}");
        }
        for percentile in ["p50", "p95", "p99", "p999", "max"] {
            assert!(report["latency_us"][percentile].is_u64(), "{report}");
        }
        assert!(report["elapsed_ms"].is_u64() && report["events_per_s"].as_f64().unwrap() > 0.0);
        let rejected = answer
            .stderr
            .lines()
            .filter(|line| line.starts_with("line "))
            .count();
        assert_eq!(
            Some(rejected as u64),
            expected["outcomes"]["rejected"].as_u64()
        );
        holds_what_is_expected(&folder, &expected);

        let again = folder.json(&line);
        assert_eq!(
            (&again["scored"], &again["cooling_down"]),
            (&0.into(), &0.into())
        );
        let outcomes = &expected["outcomes"];
        let recorded: u64 = OUTCOMES[..3]
            .iter()
            .map(|outcome| outcomes[outcome].as_u64().unwrap())
            .sum();
        assert_eq!(again["duplicate"], recorded);
        holds_what_is_expected(&folder, &expected);
    }
}

#[test]
fn two_processes_at_once_lose_nothing_and_count_nothing_twice() {
    let expected = expected();
    let folder = Folder::new();
    let messages = messages();
    // Every other line: the busy members are in both halves.
    let half = |odd: usize| {
        let lines: Vec<_> = messages.lines().skip(odd).step_by(2).collect();
        lines.join("\n")
    };
    let children = [0, 1].map(|odd| {
        let name = format!("half-{odd}.ndjson");
        folder.write(&name, half(odd));
        folder.spawn(&format!("ingest {name} --json"))
    });
    let reports =
        children.map(|child| CommandOutput::from(child.wait_with_output().unwrap()).json());
    let sum = |key: &str| {
        reports
            .iter()
            .map(|report| report[key].as_u64().unwrap())
            .sum::<u64>()
    };
    for key in ["duplicate", "ignored", "rejected"] {
        assert_eq!(expected["outcomes"][key], sum(key), "{key}");
    }
    assert_eq!(expected["messages"], sum("scored") + sum("cooling_down"));
    let stats = folder.json("stats");
    assert_eq!(stats["members"], expected["members"]);
    assert_eq!(stats["messages"], expected["messages"]);
}
