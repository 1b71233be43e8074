//! The loops on engines that are made for them, on paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::engine::{CallError, Description, Noop, Read};
use crate::operations::Operation;
use crate::stats::Latencies;

/// Answers each call after `usual`, but for one stall in which nobody is answered.
#[derive(Debug, Clone)]
struct Stalling {
    usual: Duration,
    stall: (Instant, Instant),
}

#[async_trait]
impl Engine for Stalling {
    fn execution(&self) -> Execution {
        Execution::Tasks
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(self.clone()))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        Ok(Box::new(Noop))
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        Ok(Description::default())
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

#[async_trait]
impl Session for Stalling {
    async fn write(&mut self, _: &[Operation]) -> Result<(), CallError> {
        tokio::time::sleep(self.usual).await;
        let (from, until) = self.stall;
        if (from..until).contains(&Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
        Ok(())
    }
}

/// Ten callers for five seconds; two seconds into it nobody is answered for 500 ms.
async fn with_a_stall(rate_per_s: Option<f64>) -> ProcessReport {
    let start = Instant::now() + Duration::from_millis(10);
    let stall = start + Duration::from_secs(2);
    let engine = Stalling {
        usual: Duration::from_millis(1),
        stall: (stall, stall + Duration::from_millis(500)),
    };
    let scenario = Scenario {
        tasks: 10,
        rate_per_s,
        warmup: Duration::ZERO,
        length: Length::Duration(Duration::from_secs(5)),
        ..Scenario::default()
    };
    run(Box::new(engine), scenario, start).await
}

async fn run(engine: Box<dyn Engine>, scenario: Scenario, start: Instant) -> ProcessReport {
    let driver = Driver::new(engine, scenario, 0).await.unwrap();
    let ran = driver.run(start, |_, _| {}).await.unwrap();
    ran.close().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let closed = with_a_stall(None).await.latencies.percentiles();
    let open = with_a_stall(Some(1_000.0)).await.latencies.percentiles();
    assert_eq!(open.samples, 5_000);
    assert!(open.p99.unwrap() >= 400_000, "{open:?}");
    assert!(closed.p99.unwrap() < 10_000, "{closed:?}");
    // Each of the ten callers saw it once all the same.
    assert!(closed.max.unwrap() >= 490_000, "{closed:?}");
    assert!(open.p50.unwrap() < 10_000, "{open:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_a_gap() {
    let report = with_a_stall(Some(1_000.0)).await;
    assert!(
        (490..=510).contains(&report.longest_gap_ms),
        "{}",
        report.longest_gap_ms
    );
    assert_eq!(report.acknowledged, 5_000);
}

/// Else a run of millions of operations would need more memory than what it measures.
#[tokio::test(start_paused = true)]
async fn a_run_of_unknown_length_has_as_many_slices_as_any() {
    let start = Instant::now();
    let engine = Stalling {
        usual: Duration::from_secs(1),
        stall: (start, start),
    };
    let scenario = Scenario {
        tasks: 1,
        warmup: Duration::ZERO,
        length: Length::Operations(300),
        ..Scenario::default()
    };
    let report = run(Box::new(engine), scenario, start).await;
    let slices = report.slices.all();
    assert!((60..=120).contains(&slices.len()), "{}", slices.len());
    assert_eq!(report.slices.length_us(), 4_000_000);
    assert_eq!(slices.iter().map(|slice| slice.ops).sum::<u64>(), 300);
}

#[tokio::test(start_paused = true)]
async fn calls_that_an_engine_never_gets_to_have_failed() {
    let start = Instant::now();
    let engine = Stalling {
        usual: Duration::from_secs(30),
        stall: (start, start),
    };
    let scenario = Scenario {
        tasks: 1,
        rate_per_s: Some(10.0),
        warmup: Duration::ZERO,
        length: Length::Duration(Duration::from_secs(10)),
        ..Scenario::default()
    };
    let report = run(Box::new(engine), scenario, start).await;
    assert_eq!((report.acknowledged, report.ops), (1, 0));
    assert_eq!(report.errors["overloaded"], 99);
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_left_out() {
    let start = Instant::now();
    let engine = Stalling {
        usual: Duration::from_millis(1),
        stall: (start, start + Duration::from_millis(900)),
    };
    let scenario = Scenario {
        tasks: 1,
        warmup: Duration::from_secs(1),
        length: Length::Duration(Duration::from_secs(1)),
        ..Scenario::default()
    };
    let report = run(Box::new(engine), scenario, start).await;
    assert!(
        report.acknowledged > report.ops && report.ops > 100,
        "{report:?}"
    );
    assert!(report.latencies.percentiles().max.unwrap() < 10_000);
}

#[tokio::test]
async fn as_many_operations_as_asked_for_and_reads_beside_them() {
    for rate_per_s in [None, Some(1e6)] {
        let scenario = Scenario {
            tasks: 3,
            readers: 2,
            rate_per_s,
            length: Length::Operations(1_000),
            ..Scenario::default()
        };
        let start = Instant::now();
        let report = run(Box::new(Noop), scenario, start).await;
        assert_eq!((report.ops, report.acknowledged), (1_000, 1_000));
        assert_eq!(report.latencies.samples(), 1_000);
        let kinds: Vec<_> = report.reads.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["leaderboard", "member", "rank"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_pause_reads_at_its_pace() {
    let start = Instant::now();
    let engine = Stalling {
        usual: Duration::from_millis(1),
        stall: (start, start),
    };
    let scenario = Scenario {
        tasks: 1,
        readers: 1,
        read_every: Some(Duration::from_millis(100)),
        warmup: Duration::ZERO,
        length: Length::Duration(Duration::from_secs(3)),
        ..Scenario::default()
    };
    let report = run(Box::new(engine), scenario, start).await;
    let reads = report.reads.values().map(Latencies::samples).sum::<u64>();
    assert_eq!(reads, 30);
}

#[test]
fn slices_are_neither_too_few_nor_too_many() {
    for (window_ms, slice_ms) in [(1_000, 50), (5_000, 100), (10_000, 250), (600_000, 10_000)] {
        let window = Duration::from_millis(window_ms);
        assert_eq!(slice(Some(window)), Duration::from_millis(slice_ms));
    }
}

/// Passes operations on, and keeps a list of them.
#[derive(Debug)]
struct Listing {
    engine: Box<dyn Engine>,
    list: Arc<Mutex<Vec<Operation>>>,
}

#[async_trait]
impl Engine for Listing {
    fn execution(&self) -> Execution {
        self.engine.execution()
    }

    fn operations_per_call(&self) -> usize {
        self.engine.operations_per_call()
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        let session = self.engine.session().await?;
        Ok(Box::new(ListingSession(session, Arc::clone(&self.list))))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        self.engine.reader().await
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        self.engine.describe().await
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        self.engine.close().await
    }
}

struct ListingSession(Box<dyn Session>, Arc<Mutex<Vec<Operation>>>);

#[async_trait]
impl Session for ListingSession {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        self.1.lock().unwrap().extend_from_slice(operations);
        self.0.write(operations).await
    }
}

#[async_trait]
impl ReadSession for ListingSession {
    async fn read(&mut self, _: Read) -> Result<(), CallError> {
        Ok(())
    }
}

#[cfg(feature = "engines")]
#[tokio::test(flavor = "multi_thread")]
async fn every_engine_is_offered_the_same_sequence() {
    use crate::engine::{BuiltIn, ENGINES, EngineSet};
    use crate::scenario::Synchronous;

    let mut offered = Vec::new();
    for (name, _) in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("bench.db");
        let scenario = Scenario {
            engine: name.to_owned(),
            tasks: 6,
            batch: 7,
            synchronous: Synchronous::Normal,
            length: Length::Operations(200),
            ..Scenario::default()
        };
        BuiltIn
            .prepare(&scenario, &database, &mut |_| {})
            .await
            .unwrap();
        let list = Arc::new(Mutex::new(Vec::new()));
        let engine = Listing {
            engine: BuiltIn.open(&scenario, &database).await.unwrap(),
            list: Arc::clone(&list),
        };
        run(Box::new(engine), scenario, Instant::now()).await;
        // A stable sort: each task's operations stay in the order in which they were offered.
        let mut list = Arc::try_unwrap(list).unwrap().into_inner().unwrap();
        list.sort_by_key(Operation::stream);
        offered.push((name, list));
    }
    let (_, first) = &offered[0];
    assert_eq!(first.len(), 200);
    for (name, list) in &offered {
        assert_eq!(list, first, "{name}");
    }
}
