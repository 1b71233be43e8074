//! What a recorder is told.

use std::path::Path;
use std::time::Duration;

use metrics::Key;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use roas_db::metrics::{
    CHECKPOINTS, COMMIT, LOCK_WAIT, QUEUE_DEPTH, QUEUE_WAIT, RETRIES, SYNC, TRANSACTION_EVENTS,
    WAL, WAL_HELD_BACK,
};
use roas_db::{Config, Database, Durability, RetryPolicy};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message, message_with_id};
use rusqlite::{Connection, OpenFlags};
use tempfile::tempdir;

use crate::support::{on_runtime, quick};

/// All that was told since the last look, histograms as their values.
struct Told(Vec<(Key, DebugValue)>);

impl Told {
    fn since_last(snapshotter: &Snapshotter) -> Self {
        let all = snapshotter.snapshot().into_vec().into_iter();
        let described = all.map(|(key, unit, description, value)| {
            let key = key.key().clone();
            assert!(unit.is_some() && description.is_some(), "{key}");
            (key, value)
        });
        Self(described.collect())
    }

    /// The one metric of that name and these labels, besides the database's.
    fn find(&self, name: &str, labels: &[(&str, &str)]) -> &DebugValue {
        let mut found = self.0.iter().filter(|(key, _)| {
            let has = |label: &str, value: Option<&str>| {
                key.labels().any(|found| {
                    found.key() == label && value.is_none_or(|value| found.value() == value)
                })
            };
            key.name() == name
                && has("database", None)
                && labels.iter().all(|&(label, value)| has(label, Some(value)))
        });
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("{name} {labels:?} is not told once");
        };
        value
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        match self.find(name, labels) {
            DebugValue::Counter(count) => *count,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn gauge(&self, name: &str) -> f64 {
        match self.find(name, &[]) {
            DebugValue::Gauge(value) => value.0,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn histogram(&self, name: &str) -> Vec<f64> {
        match self.find(name, &[]) {
            DebugValue::Histogram(values) => values.iter().map(|value| value.0).collect(),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Runs a scenario on a database that tells a recorder of its own.
fn recorded(config: Config, scenario: impl AsyncFnOnce(&Database, &Snapshotter)) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        on_runtime(async {
            let database = Database::open(config).await.unwrap();
            scenario(&database, &snapshotter).await;
            database.close().await.unwrap();
        });
    });
}

#[expect(clippy::disallowed_methods, reason = "a neighbour past the adapter")]
fn neighbour(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// Another connection, with a snapshot that it keeps.
fn reading(path: &Path) -> Connection {
    let reader = neighbour(path);
    reader.execute_batch("BEGIN").unwrap();
    reader
        .query_row("SELECT count(*) FROM activity_meter", [], |_| Ok(()))
        .unwrap();
    reader
}

/// Records an event while `holder` has the write lock, until that was tried again.
async fn is_tried_again(database: &Database, holder: &Connection) {
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let repository = database.repository();
    let waiting =
        tokio::spawn(async move { repository.record(message(member(1, 1), MIDNIGHT)).await });
    while database.writer_stats().retries == 0 {
        tokio::task::yield_now().await;
    }
    holder.execute_batch("ROLLBACK").unwrap();
    waiting.await.unwrap().unwrap();
}

fn close_to(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

#[test]
fn a_transaction_tells_its_size_its_wait_and_its_commit_once() {
    let folder = tempdir().unwrap();
    recorded(quick(folder.path()), async |database, snapshotter| {
        let events = vec![message(member(1, 1), MIDNIGHT); 7];
        database.repository().record_many(events).await.unwrap();
        let told = Told::since_last(snapshotter);
        assert_eq!(told.histogram(TRANSACTION_EVENTS), [7.0]);
        assert!(close_to(told.gauge(QUEUE_DEPTH), 1.0));
        let [waited, commit] = [QUEUE_WAIT, COMMIT].map(|name| match told.histogram(name)[..] {
            [seconds] => seconds,
            ref other => panic!("{name}: {other:?}"),
        });
        assert!(waited > 0.0 && commit > 0.0, "{waited} {commit}");
        assert!(told.histogram(LOCK_WAIT).is_empty());
        // The database's own counters say the same, to the microsecond.
        let stats = database.writer_stats();
        assert!(stats.queue_wait <= Duration::from_secs_f64(waited));
        assert_eq!(stats.longest_queue_wait, stats.queue_wait);
    });
}

#[test]
fn the_sync_behind_a_commit_is_told_under_full_alone() {
    for (durability, syncs) in [(Durability::Full, 1), (Durability::Normal, 0)] {
        let folder = tempdir().unwrap();
        let config = quick(folder.path()).durability(durability);
        recorded(config, async |database, snapshotter| {
            let event = message(member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
            let told = Told::since_last(snapshotter);
            let synced = told.histogram(SYNC);
            assert_eq!(synced.len(), syncs, "{durability:?}");
            assert!(synced.iter().all(|&seconds| seconds > 0.0), "{synced:?}");
            assert_eq!(told.histogram(COMMIT).len(), 1);
        });
    }
}

#[test]
fn a_wait_for_a_lock_and_the_retries_of_the_policy_are_told() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).retry(RetryPolicy::aggressive());
    let path = config.path().to_owned();
    recorded(config, async |database, snapshotter| {
        is_tried_again(database, &neighbour(&path)).await;
        let told = Told::since_last(snapshotter);
        assert!(told.counter(RETRIES, &[("policy", "aggressive")]) > 0);
        assert_eq!(told.counter(RETRIES, &[("policy", "balanced")]), 0);
        let slept: f64 = told.histogram(LOCK_WAIT).iter().sum();
        assert!(slept > 0.0);
    });
}

/// Whatever policy was asked for: a writer shuts readers out there, and they it.
#[test]
fn without_a_wal_it_is_the_aggressive_policy_by_which_is_tried_again() {
    const VFS: &str = "unix-dotfile";
    let folder = tempdir().unwrap();
    let config = quick(folder.path())
        .vfs(VFS)
        .retry(RetryPolicy::conservative());
    let path = config.path().to_owned();
    recorded(config, async |database, snapshotter| {
        #[expect(clippy::disallowed_methods, reason = "a neighbour past the adapter")]
        let holder = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), VFS).unwrap();
        is_tried_again(database, &holder).await;
        let told = Told::since_last(snapshotter);
        assert!(told.counter(RETRIES, &[("policy", "aggressive")]) > 0);
        assert_eq!(told.counter(RETRIES, &[("policy", "conservative")]), 0);
    });
}

#[test]
fn a_reader_that_holds_the_wal_back_is_told_until_it_has_gone() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let path = config.path().to_owned();
    let ended = |told: &Told, result| {
        told.counter(CHECKPOINTS, &[("by", "maintenance"), ("result", result)])
    };
    recorded(config, async |database, snapshotter| {
        let reader = reading(&path);
        let event = message(member(1, 1), MIDNIGHT);
        database.repository().record(event).await.unwrap();
        // It counts from the first checkpoint that was held back.
        database.maintain().await.unwrap();
        database.maintain().await.unwrap();
        let told = Told::since_last(snapshotter);
        assert!(ended(&told, "held_back") >= 2);
        assert!(told.gauge(WAL_HELD_BACK) > 0.0);
        assert!(told.gauge(WAL) > 0.0);

        reader.execute_batch("ROLLBACK").unwrap();
        database.maintain().await.unwrap();
        let told = Told::since_last(snapshotter);
        assert!(ended(&told, "whole") >= 1);
        assert!(close_to(told.gauge(WAL_HELD_BACK), 0.0));
    });
}

/// The maintenance copies sooner, and leaves what the reader needs: the WAL reaches the length from
/// which on the writer copies, too.
#[test]
fn a_checkpoint_of_the_writers_is_told_as_its_own() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).wal_limit(u64::MAX);
    let path = config.path().to_owned();
    recorded(config, async |database, snapshotter| {
        let _reader = reading(&path);
        // A commit writes a page at least, and the length is a few thousand.
        for id in 1..=10_000 {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
            let told = Told::since_last(snapshotter);
            let by_writer =
                |result| told.counter(CHECKPOINTS, &[("by", "writer"), ("result", result)]);
            assert_eq!(by_writer("whole"), 0);
            if by_writer("held_back") > 0 {
                return;
            }
        }
        panic!("the writer has made no checkpoint");
    });
}
