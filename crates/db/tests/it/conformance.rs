//! The SQLite repository passes the suite that every implementation of the port passes.

use std::sync::Arc;

use proptest::prelude::*;
use roas_db::{Config, Database, JournalMode};
use roas_domain::testing::conformance::{
    self, Scenario, agrees_with_the_model, lanes_end_as_the_model,
};
use roas_domain::testing::fixtures::{MIDNIGHT, at};
use roas_domain::testing::{ManualClock, strategies};

use crate::support::{on_runtime, quick};

/// Runs `scenario` on a new database, which must close cleanly afterwards.
fn run_with(configure: fn(Config) -> Config, scenario: impl AsyncFnOnce(Database) -> Database) {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(quick(folder.path()).max_clock_skew(None));
    on_runtime(async {
        let database = scenario(Database::open(config).await.unwrap()).await;
        database.close().await.unwrap();
    });
}

fn run(scenario: Scenario) {
    run_with(
        |config| config,
        async |database| {
            scenario(Arc::new(database.repository())).await;
            database
        },
    );
}

roas_domain::conformance_suite!(run);

#[test]
fn times_too_far_ahead_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(at(MIDNIGHT));
    let config = quick(folder.path()).clock(Arc::new(clock.clone()));
    on_runtime(async {
        let database = Database::open(config).await.unwrap();
        conformance::times_too_far_ahead_are_refused(Arc::new(database.repository()), clock).await;
        database.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_operations_agree_with_the_model(operations in strategies::operations()) {
        run_with(|config| config, async |database| {
            agrees_with_the_model(Arc::new(database.repository()), operations).await;
            database
        });
    }

    #[test]
    fn any_lanes_at_once_end_as_the_model(lanes in strategies::lanes()) {
        run_with(|config| config, async |database| {
            lanes_end_as_the_model(Arc::new(database.repository()), lanes).await;
            database
        });
    }

    /// Callers wait for room, and transactions take one request or two.
    #[test]
    fn any_lanes_through_a_narrow_queue_end_as_the_model(lanes in strategies::lanes()) {
        run_with(|config| config.queue_capacity(1).batch_limit(2).readers(1), async |database| {
            lanes_end_as_the_model(Arc::new(database.repository()), lanes).await;
            database
        });
    }
}

/// The suite again, where WAL is not to be had.
mod without_wal {
    use super::*;

    fn run(scenario: Scenario) {
        run_with(
            |config| config.vfs("unix-dotfile"),
            async |database| {
                assert_eq!(database.info().journal_mode, JournalMode::Delete);
                scenario(Arc::new(database.repository())).await;
                database
            },
        );
    }

    roas_domain::conformance_suite!(run);
}
