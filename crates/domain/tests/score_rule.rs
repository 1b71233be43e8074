//! Properties of the scoring rule, for any events under any rules.

use proptest::collection::vec;
use proptest::prelude::*;
use roas_domain::testing::fixtures::{at, member, message, score};
use roas_domain::testing::strategies::{score_delta, score_rules, time};
use roas_domain::{ActivityEvent, ActivityRecord, EventOutcome, Score, ScoreRules, UnixSeconds};

fn event(at: UnixSeconds) -> ActivityEvent {
    ActivityEvent {
        id: None,
        member: member(1, 1),
        at,
    }
}

fn times() -> impl Strategy<Value = Vec<UnixSeconds>> {
    vec(time(), 1..40)
}

/// A member known by messages or by an adjustment, with a score within `rules`.
fn known_under(rules: ScoreRules) -> impl Strategy<Value = ActivityRecord> {
    (0.0..=rules.max_score(), time(), 0..1_000_u64).prop_map(|(points, last, messages)| {
        ActivityRecord {
            member: member(1, 1),
            score: score(points),
            last_message_at: last,
            messages,
        }
    })
}

fn rules_and_known() -> impl Strategy<Value = (ScoreRules, ActivityRecord)> {
    score_rules().prop_flat_map(|rules| (Just(rules), known_under(rules)))
}

fn run(times: &[UnixSeconds], rules: &ScoreRules) -> ActivityRecord {
    let step = |before, &at| Some(ActivityRecord::after_event(before, &event(at), rules).0);
    times.iter().fold(None, step).expect("there is an event")
}

/// The rule again, from the words of the README and with plain numbers: takes score and last time
/// before the event, and returns them after it.
fn from_the_readme(before: Option<(f64, i64)>, t: i64, rules: &ScoreRules) -> (f64, i64) {
    let (max, gain) = (rules.max_score(), rules.gain_per_message());
    let Some((s, l)) = before else {
        return (if gain < max { gain } else { max }, t);
    };
    let idle = t - l;
    if idle < 0 || idle < rules.cooldown_seconds() {
        return (s, l);
    }
    let mut after = s;
    if idle > rules.decay_after_seconds() {
        #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
        let seconds = (idle - rules.decay_after_seconds()) as f64;
        after -= rules.decay_per_hour() / 3_600.0 * seconds;
    }
    if after < 0.0 {
        after = 0.0;
    }
    after += gain;
    (if after > max { max } else { after }, t)
}

proptest! {
    #[test]
    fn a_score_is_a_number_from_zero_to_the_maximum(times in times(), rules in score_rules()) {
        let mut state = None;
        for &at in &times {
            let (record, _) = ActivityRecord::after_event(state, &event(at), &rules);
            prop_assert!((0.0..=rules.max_score()).contains(&record.score.get()), "{:?}", record);
            prop_assert!(record.score.get().is_sign_positive());
            prop_assert_eq!(Score::new(record.score.get()), Ok(record.score));
            state = Some(record);
        }
    }

    #[test]
    fn an_adjusted_score_is_a_number_from_zero_to_the_maximum(
        (rules, before) in rules_and_known(),
        is_known: bool,
        delta in score_delta(),
        at in time(),
    ) {
        let before = is_known.then_some(before);
        let after = ActivityRecord::after_adjustment(before, member(1, 1), delta, at, &rules);
        prop_assert!((0.0..=rules.max_score()).contains(&after.score.get()), "{:?}", after);
        prop_assert!(after.score.get().is_sign_positive());
        prop_assert_eq!(after.messages, before.map_or(0, |before| before.messages));
        prop_assert!(after.last_message_at >= at);
    }

    #[test]
    fn every_message_counts_in_any_order(times in times(), rules in score_rules()) {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let reversed: Vec<_> = sorted.iter().rev().copied().collect();
        for order in [&times, &sorted, &reversed] {
            prop_assert_eq!(run(order, &rules).messages, times.len() as u64);
        }
    }

    #[test]
    fn time_never_runs_backwards(times in times(), rules in score_rules()) {
        let mut state: Option<ActivityRecord> = None;
        for &at in &times {
            let (record, _) = ActivityRecord::after_event(state, &event(at), &rules);
            if let Some(before) = state {
                prop_assert!(record.last_message_at >= before.last_message_at);
            }
            state = Some(record);
        }
    }

    #[test]
    fn a_late_message_or_one_within_the_cooldown_changes_only_the_count(
        (rules, before) in rules_and_known(),
        at in time(),
    ) {
        let (after, outcome) = ActivityRecord::after_event(Some(before), &event(at), &rules);
        let idle = at.get() - before.last_message_at.get();
        prop_assert_eq!(after.messages, before.messages + 1);
        if idle < 0 || idle < rules.cooldown_seconds() {
            prop_assert_eq!(outcome, EventOutcome::CoolingDown(after));
            prop_assert_eq!(ActivityRecord { messages: before.messages, ..after }, before);
        } else {
            prop_assert_eq!(outcome, EventOutcome::Scored(after));
            prop_assert_eq!(after.last_message_at, at);
        }
    }

    #[test]
    fn a_redelivered_message_never_raises_the_score_twice(
        times in times(),
        rules in score_rules().prop_filter("with a cooldown", |rules| rules.cooldown_seconds() > 0),
    ) {
        let once = run(&times, &rules);
        let late: Vec<_> = times.iter().chain(&times).copied().collect();
        let twice = run(&late, &rules);
        // If the first delivery did not score, the second must not either: both times are at or
        // before the last time, or within its cooldown.
        prop_assert_eq!(twice.score, once.score);
        prop_assert_eq!(twice.last_message_at, once.last_message_at);
    }

    #[test]
    fn a_score_never_rises_over_time(
        (rules, member) in rules_and_known(),
        one in time(),
        other in time(),
    ) {
        let (sooner, later) = (one.min(other), one.max(other));
        let decayed = |at| rules.decayed(member.score, member.last_message_at, at);
        prop_assert!(decayed(later) <= decayed(sooner));
        prop_assert!(decayed(sooner) <= member.score);
        prop_assert!(decayed(later) >= Score::ZERO);
    }

    #[test]
    fn a_score_does_not_decay_within_the_grace(
        (rules, member) in rules_and_known(),
        before in 0..=7_200_i64,
    ) {
        let last = member.last_message_at;
        let within = (rules.decay_after_seconds() - before).max(0);
        for at in [UnixSeconds::MIN, last, last.saturating_add(within)] {
            prop_assert_eq!(rules.decayed(member.score, last, at), member.score);
        }
    }

    #[test]
    fn a_message_that_scores_adds_the_gain_to_the_decayed_score(
        (rules, before) in rules_and_known(),
        at in time(),
    ) {
        let (after, outcome) = ActivityRecord::after_event(Some(before), &event(at), &rules);
        if matches!(outcome, EventOutcome::Scored(_)) {
            let left = rules.decayed(before.score, before.last_message_at, at).get();
            let expected = (left + rules.gain_per_message()).min(rules.max_score());
            prop_assert_eq!(after.score, score(expected));
        }
    }

    #[test]
    fn without_a_grace_decay_in_two_steps_is_decay_in_one(
        (rules, member) in rules_and_known(),
        first in 0..100_000_i64,
        second in 0..100_000_i64,
    ) {
        let rules = rules.with_decay_after_seconds(0).unwrap();
        let last = at(1_000_000);
        let (middle, end) = (last.saturating_add(first), last.saturating_add(first + second));
        let stepwise = rules.decayed(rules.decayed(member.score, last, middle), middle, end).get();
        let at_once = rules.decayed(member.score, last, end).get();
        // Three roundings, each of at most one part in 2^53 of the score or of what it lost.
        let tolerance = 1e-15 * (member.score.get() + rules.decay_per_hour() * 100.0);
        prop_assert!((stepwise - at_once).abs() <= tolerance, "{stepwise} {at_once}");
    }

    #[test]
    fn without_decay_and_cooldown_a_score_is_the_gain_for_each_message(
        gain in 0..50_u32,
        mut times in times(),
    ) {
        times.sort_unstable();
        let rules = ScoreRules::default()
            .with_gain_per_message(f64::from(gain))
            .and_then(|rules| rules.with_max_score(1e9))
            .and_then(|rules| rules.with_cooldown_seconds(0))
            .and_then(|rules| rules.with_decay_per_hour(0.0))
            .unwrap();
        let messages = u32::try_from(times.len()).unwrap();
        prop_assert_eq!(run(&times, &rules).score, score(f64::from(gain * messages)));
    }

    #[test]
    fn the_rule_is_as_the_readme_states_it(times in times(), rules in score_rules()) {
        let mut state = None;
        let mut plain = None;
        for &at in &times {
            let (record, _) = ActivityRecord::after_event(state, &event(at), &rules);
            let expected = from_the_readme(plain, at.get(), &rules);
            prop_assert_eq!(record.score, score(expected.0));
            prop_assert_eq!(record.last_message_at.get(), expected.1);
            (state, plain) = (Some(record), Some(expected));
        }
    }
}

/// Without a cooldown, a message in the same second as the last one is not late and scores. A
/// message that is delivered twice then scores twice, unless it has an id.
#[test]
fn without_a_cooldown_the_same_second_scores_again() {
    let rules = ScoreRules::default().with_cooldown_seconds(0).unwrap();
    let (first, _) = ActivityRecord::after_event(None, &message(member(1, 1), 100), &rules);
    let (again, _) = ActivityRecord::after_event(Some(first), &message(member(1, 1), 100), &rules);
    assert_eq!(again.score, score(2.0));
    let (late, _) = ActivityRecord::after_event(Some(again), &message(member(1, 1), 99), &rules);
    assert_eq!((late.score, late.messages), (score(2.0), 3));
}
