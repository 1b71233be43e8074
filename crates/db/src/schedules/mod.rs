//! The writer under a scheduler that decides at each step of a hand-over who goes on.
//!
//! What runs is the writer itself, handles, queue, worker and SQLite included, compiled once more
//! beside a [`sync`] whose calls shuttle schedules. A schedule depends on its seed alone, so that a
//! failure is repeated by the seed that the test names.

mod scenario;
mod store;
mod sync;
#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::duplicate_mod,
    reason = "the writer that the crate has, on other channels; what the schedules do not ask for is \
              used there"
)]
#[path = "../writer/mod.rs"]
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, UncontrolledNondeterminismCheckScheduler};
use shuttle::{FailurePersistence, Runner};

use scenario::Scenario;
use store::Store;
use sync::Flaw;

/// Schedules that one seed makes.
const SCHEDULES: usize = 10;

/// Points at which a PCT schedule changes its order of precedence.
const CHANGES: usize = 3;

/// SQLite needs more than shuttle's threads have.
const STACK_BYTES: usize = 1024 * 1024;

fn config() -> shuttle::Config {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
}

/// Runs the schedules of a seed; where one of them breaks a promise, says how, and names the seed.
fn run(store: &Arc<Store>, seed: u64) -> Result<(), String> {
    let scenario = Scenario::of(seed);
    let described = format!("seed {seed}, {scenario:?}");
    let store = Arc::clone(store);
    let schedule = move || scenario.run(&store);
    catch_unwind(AssertUnwindSafe(|| {
        if seed.is_multiple_of(2) {
            let scheduler = RandomScheduler::new_from_seed(seed, SCHEDULES);
            Runner::new(scheduler, config()).run(schedule)
        } else {
            let scheduler = PctScheduler::new_from_seed(seed, CHANGES, SCHEDULES);
            Runner::new(scheduler, config()).run(schedule)
        }
    }))
    .map(drop)
    .map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("{described}: {}", said.unwrap_or("?"))
    })
}

fn run_all(seeds: impl Iterator<Item = u64>) {
    let store = Arc::new(Store::new());
    for seed in seeds {
        if let Err(broken) = run(&store, seed) {
            panic!("{broken}");
        }
    }
}

#[test]
fn whatever_the_schedule_every_caller_is_answered_once() {
    run_all(0..200);
}

/// `ROAS_SEEDS=1000..3000 cargo test -p roas-db --lib schedules -- --ignored`; ten schedules a
/// seed.
#[test]
#[ignore = "the long form"]
fn whatever_the_schedule_every_caller_is_answered_once_at_length() {
    let seeds = std::env::var("ROAS_SEEDS").unwrap_or_else(|_| "0..10000".to_owned());
    let (first, end) = seeds.split_once("..").unwrap();
    run_all(first.parse().unwrap()..end.parse().unwrap());
}

/// Otherwise a seed would repeat nothing. Each schedule is run twice, and compared step by step.
#[test]
fn a_schedule_depends_on_its_seed_alone() {
    let store = Arc::new(Store::new());
    for seed in 0..40 {
        let (scenario, store) = (Scenario::of(seed), Arc::clone(&store));
        let scheduler = RandomScheduler::new_from_seed(seed, SCHEDULES);
        let twice = UncontrolledNondeterminismCheckScheduler::new(scheduler);
        Runner::new(twice, config()).run(move || scenario.run(&store));
    }
}

/// Whether the schedules find what they are for.
#[test]
fn a_mistake_in_a_hand_over_is_found() {
    const DEADLOCK: &str = "deadlock";
    let store = Arc::new(Store::new());
    for (flaw, said) in [
        (Flaw::LostAnswer, "the writer has panicked"),
        (Flaw::LostWakeUp, DEADLOCK),
        (Flaw::EndWithoutDraining, "the writer has panicked"),
        (Flaw::LostRoom, DEADLOCK),
        (Flaw::RefusedAndTaken, "told: the database is closed"),
    ] {
        sync::make(Some(flaw));
        let found = (0..1_000)
            .filter(|&seed| !Scenario::of(seed).fails())
            .find_map(|seed| run(&store, seed).err());
        sync::make(None);
        let found = found.unwrap_or_else(|| panic!("{flaw:?} is not found"));
        assert!(found.contains(said), "{flaw:?}: {found}");
    }
}
