//! A recorded stream of 4,000 payloads, against what an independent implementation made of it.

use std::io::{BufRead, BufReader};

use roas_app::ingest::{IngestSummary, ingest};
use roas_domain::testing::{MemoryRepository, Model};
use roas_domain::{GuildRules, ScoreRules};
use serde::Deserialize;

use crate::support::{Notes, Unsteady, options, service};

const MESSAGES: &[u8] = include_bytes!("../fixtures/gateway/messages.ndjson");
const EXPECTED: &str = include_str!("../fixtures/gateway/messages.expected.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    rules: ExpectedRules,
    lines: u64,
    outcomes: Outcomes,
    members: u64,
    messages: u64,
    sum_score: f64,
    sum_last_msg: i64,
    daily_rows: usize,
    daily_messages: u64,
    /// Guild, user, score, time of the last scoring message, messages.
    states: Vec<(String, String, f64, i64, u64)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRules {
    max_score: f64,
    gain: f64,
    cooldown: i64,
    grace: i64,
    per_hour: f64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Outcomes {
    scored: u64,
    cooling_down: u64,
    duplicate: u64,
    ignored: u64,
    rejected: u64,
}

fn expected() -> Expected {
    serde_json::from_str(EXPECTED).expect("the fixture's shape")
}

fn input() -> impl BufRead + Send + 'static {
    BufReader::new(MESSAGES)
}

fn outcomes(summary: &IngestSummary) -> Outcomes {
    assert!(summary.is_balanced() && !summary.interrupted, "{summary:?}");
    Outcomes {
        scored: summary.scored,
        cooling_down: summary.cooling_down,
        duplicate: summary.duplicate,
        ignored: summary.ignored,
        rejected: summary.rejected,
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits)
}

fn assert_expected_state(model: &Model) {
    let expected = expected();
    let counts = model.counts();
    assert_eq!(counts.members, expected.states.len() as u64);
    assert_eq!(
        (counts.members, counts.messages),
        (expected.members, expected.messages)
    );
    let total: f64 = model.records().map(|record| record.score.get()).sum();
    assert_eq!(rounded(total, 6).to_bits(), expected.sum_score.to_bits());
    let times: i64 = model
        .records()
        .map(|record| record.last_message_at.get())
        .sum();
    assert_eq!(times, expected.sum_last_msg);
    assert_eq!(model.day_counts().count(), expected.daily_rows);
    let messages: u64 = model.day_counts().map(|(_, _, messages)| messages).sum();
    assert_eq!(messages, expected.daily_messages);

    let states = model.records().map(|record| {
        let (guild, user) = (
            record.member.guild.to_string(),
            record.member.user.to_string(),
        );
        let (score, last) = (rounded(record.score.get(), 9), record.last_message_at.get());
        (guild, user, score, last, record.messages)
    });
    // Both are in the order of the ids.
    for (state, expected) in states.zip(expected.states) {
        assert_eq!(state, expected);
    }
}

#[test]
fn the_fixture_was_made_with_the_default_rules() {
    let ExpectedRules {
        max_score,
        gain,
        cooldown,
        grace,
        per_hour,
    } = expected().rules;
    let rules = ScoreRules::default()
        .with_max_score(max_score)
        .and_then(|rules| rules.with_gain_per_message(gain))
        .and_then(|rules| rules.with_cooldown_seconds(cooldown))
        .and_then(|rules| rules.with_decay_after_seconds(grace))
        .and_then(|rules| rules.with_decay_per_hour(per_hour));
    assert_eq!(rules.unwrap(), GuildRules::default().score);
}

#[tokio::test]
async fn the_stream_comes_to_what_is_expected_and_once_more_changes_nothing() {
    for in_flight in [1, 1_024] {
        let (service, repository) = service(MemoryRepository::new());
        let mut notes = Notes::default();
        let summary = ingest(input(), &service, &options(in_flight), &mut notes)
            .await
            .unwrap();
        assert_eq!(summary.lines, expected().lines);
        assert_eq!(outcomes(&summary), expected().outcomes);
        assert_eq!(notes.acknowledged.len() as u64, summary.acknowledged());
        assert_eq!(notes.rejected.len() as u64, summary.rejected);
        let first = repository.snapshot().unwrap();
        assert_expected_state(&first);

        let again = ingest(input(), &service, &options(in_flight), &mut ())
            .await
            .unwrap();
        let Outcomes {
            ignored, rejected, ..
        } = expected().outcomes;
        let duplicate = summary.acknowledged();
        let all_known = Outcomes {
            scored: 0,
            cooling_down: 0,
            duplicate,
            ignored,
            rejected,
        };
        assert_eq!(outcomes(&again), all_known);
        assert_eq!(repository.snapshot().unwrap(), first);
    }
}

#[tokio::test]
async fn the_stream_comes_to_the_same_where_calls_overtake_each_other() {
    for in_flight in [1, 1_024] {
        let (service, repository) = service(Unsteady::new(20_250_822, in_flight, None));
        let summary = ingest(input(), &service, &options(in_flight), &mut ())
            .await
            .unwrap();
        assert_eq!(outcomes(&summary), expected().outcomes);
        assert_expected_state(&repository.inner().snapshot().unwrap());
        assert_eq!(
            in_flight > 1,
            repository.most_outstanding() > 1,
            "calls overlap"
        );
    }
}
