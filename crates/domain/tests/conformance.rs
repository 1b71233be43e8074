//! The in-memory repository passes the suite that every implementation must pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use roas_domain::DEFAULT_MAX_CLOCK_SKEW;
use roas_domain::testing::conformance::{
    self, Scenario, agrees_with_the_model, lanes_end_as_the_model,
};
use roas_domain::testing::{ManualClock, MemoryRepository, Model, Operation, fixtures, strategies};

/// The in-memory repository never waits, so a future that is not ready after one poll is a bug.
fn ready(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(()));
}

fn run(scenario: Scenario) {
    ready(scenario(Arc::new(MemoryRepository::new())));
}

roas_domain::conformance_suite!(run);

proptest! {
    #[test]
    fn any_operations_agree_with_the_model(operations in strategies::operations()) {
        ready(agrees_with_the_model(Arc::new(MemoryRepository::new()), operations));
    }

    #[test]
    fn any_lanes_end_as_the_model(lanes in strategies::lanes()) {
        ready(lanes_end_as_the_model(Arc::new(MemoryRepository::new()), lanes));
    }

    /// The precondition of [`lanes_end_as_the_model`]: the model ends the same if lanes are
    /// interleaved.
    #[test]
    fn lanes_do_not_depend_on_how_they_interleave(lanes in strategies::lanes()) {
        let mut one_by_one = Model::new();
        for operation in lanes.iter().flatten() {
            operation.apply(&mut one_by_one).unwrap();
        }
        let mut in_turns = Model::new();
        for turn in 0..lanes.iter().map(Vec::len).max().unwrap() {
            for operation in lanes.iter().filter_map(|lane| lane.get(turn)) {
                operation.apply(&mut in_turns).unwrap();
            }
        }
        prop_assert_eq!(one_by_one, in_turns);
    }

    /// The model counts each message exactly once, whatever the operations.
    #[test]
    fn the_model_counts_every_message_once(operations in strategies::operations()) {
        let mut model = Model::new();
        let mut counted = 0;
        let mut ids = BTreeSet::new();
        for operation in &operations {
            operation.apply(&mut model).unwrap();
            for event in operation.events() {
                counted += u64::from(event.id.is_none_or(|id| ids.insert(id)));
            }
        }
        let by_day: u64 = model.day_counts().map(|(_, _, messages)| messages).sum();
        prop_assert_eq!((model.counts().messages, by_day), (counted, counted));
    }
}

#[test]
fn times_too_far_ahead_are_refused() {
    let clock = ManualClock::new(fixtures::at(fixtures::MIDNIGHT));
    let repository =
        MemoryRepository::new().with_clock(Arc::new(clock.clone()), DEFAULT_MAX_CLOCK_SKEW);
    ready(conformance::times_too_far_ahead_are_refused(
        Arc::new(repository),
        clock,
    ));
}

#[test]
fn a_snapshot_is_what_the_repository_holds() {
    let mut model = Model::new();
    let event = fixtures::message_with_id(1, fixtures::member(1, 1), fixtures::MIDNIGHT);
    Operation::Record(event).apply(&mut model).unwrap();
    assert_ne!(model, Model::new());
    let repository = MemoryRepository::from(model.clone());
    assert_eq!(repository.snapshot().unwrap(), model);
}

/// A scenario that the macro does not list would silently not run.
#[test]
fn the_macro_lists_every_scenario() {
    /// They take more parameters than a repository.
    const CALLED_BY_NAME: [&str; 3] = [
        "agrees_with_the_model",
        "lanes_end_as_the_model",
        "times_too_far_ahead_are_refused",
    ];
    let sources = [
        include_str!("../src/testing/conformance/adjusting.rs"),
        include_str!("../src/testing/conformance/calendar.rs"),
        include_str!("../src/testing/conformance/concurrency.rs"),
        include_str!("../src/testing/conformance/leaderboards.rs"),
        include_str!("../src/testing/conformance/model.rs"),
        include_str!("../src/testing/conformance/recording.rs"),
        include_str!("../src/testing/conformance/rules.rs"),
        include_str!("../src/testing/conformance/skew.rs"),
    ];
    let written: BTreeSet<_> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .filter(|name| !CALLED_BY_NAME.contains(name))
        .collect();
    let face = include_str!("../src/testing/conformance/mod.rs");
    let (_, list) = face.split_once("@each $run;\n").unwrap();
    let (list, _) = list.split_once('}').unwrap();
    let listed: BTreeSet<_> = list.split_whitespace().collect();
    assert_eq!(written, listed);
    assert_eq!(
        face.matches("\nmod ").count(),
        sources.len(),
        "a module is not checked"
    );
}
