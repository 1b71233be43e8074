#![expect(missing_docs, reason = "the macros make public items")]
//! How many instructions the rule and a batch take: counted by valgrind, so that two builds can be
//! compared on a busy machine.
//!
//! ```sh
//! cargo install gungraun-runner --version 0.20.0
//! cargo bench -p roas-bench --bench instructions --features instructions
//! ```

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gungraun::{library_benchmark, library_benchmark_group, main};
use roas_bench::operations::Stream;
use roas_bench::scenario::Scenario;
use roas_domain::testing::MemoryRepository;
use roas_domain::{ActivityEvent, ActivityRecord, ActivityRepository, EventOutcome, ScoreRules};

/// So many messages of 5 × 1,000 members, by Zipf's law.
fn events(count: usize) -> Vec<ActivityEvent> {
    let members = Arc::new(Scenario::default().all_members());
    let stream = Stream::new(members, 1, 0).map(|operation| operation.event());
    stream.take(count).collect()
}

/// The in-memory repository never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("it waited"),
    }
}

#[library_benchmark]
#[bench::of_500(events(500))]
fn rule(events: Vec<ActivityEvent>) -> Option<ActivityRecord> {
    let rules = ScoreRules::default();
    let mut record = None;
    for event in &events {
        let (after, outcome) = ActivityRecord::after_event(record, black_box(event), &rules);
        black_box(outcome);
        record = Some(after);
    }
    record
}

#[library_benchmark]
#[bench::of_1(events(1))]
#[bench::of_50(events(50))]
#[bench::of_500(events(500))]
fn batch(events: Vec<ActivityEvent>) -> Vec<EventOutcome> {
    let repository = MemoryRepository::new();
    at_once(repository.record_many(black_box(events))).expect("recorded")
}

library_benchmark_group!(name = activity; benchmarks = rule, batch);
main!(library_benchmark_groups = activity);
