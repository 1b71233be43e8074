//! An end in the midst of work: everybody is answered, what was acknowledged is there, what was
//! refused is not, and the file opens again at once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roas_db::{Config, Database};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, Effect, EventOutcome, RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tempfile::tempdir;
use tokio::runtime::{Builder, Runtime};

use crate::support::{HeldLock, fill, on_runtime, open_locked, poll_once, query, quick};

const TASKS: u64 = 64;

/// What was acknowledged before the end, where a runtime ends.
const ACKNOWLEDGED: RangeInclusive<u64> = 1..=20;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "it looks at the file past the adapter"
)]
fn stored_ids(path: &Path) -> BTreeSet<u64> {
    let connection = Connection::open(path).unwrap();
    let mut ids = connection
        .prepare("SELECT event_id FROM activity_event")
        .unwrap();
    let ids = ids.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    ids.map(|id| id.unwrap().cast_unsigned()).collect()
}

/// Every event that is stored is counted once, by its member and by its day, and the file is sound.
fn is_whole(path: &Path) {
    let one = |sql| query::<i64>(path, sql);
    let events = one("SELECT count(*) FROM activity_event");
    let by_member = one("SELECT coalesce(sum(messages), 0) FROM activity_meter");
    let by_day = one("SELECT coalesce(sum(msg_cnt), 0) FROM activity_daily");
    assert_eq!((by_member, by_day), (events, events));
    assert_eq!(query::<String>(path, "PRAGMA integrity_check"), "ok");
}

/// Opens the file anew and records an event of another guild. Threads of the database before it may
/// be ending still, where it was dropped and not closed: opening waits for them.
fn opens_and_records(config: &Config, id: u64) {
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let event = message_with_id(id, member(7, 1), MIDNIGHT);
        let outcome = database.repository().record(event).await.unwrap();
        assert_ne!(outcome, EventOutcome::Duplicate);
        database.close().await.unwrap();
    });
}

/// Records events of its own, one after the other, until it is refused. Answers the ids that were
/// acknowledged, the one that was not, and why.
async fn records_until_refused(
    repository: impl ActivityRepository,
    task: u64,
    acknowledged_by_all: Arc<AtomicU64>,
) -> (Vec<u64>, u64, RepositoryError) {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let id = number * TASKS + task + 1;
        match repository
            .record(message_with_id(id, member(1, task + 1), MIDNIGHT))
            .await
        {
            Ok(outcome) => {
                assert_ne!(outcome, EventOutcome::Duplicate);
                acknowledged.push(id);
                acknowledged_by_all.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return (acknowledged, id, error),
        }
    }
    unreachable!("the ids do not run out")
}

/// In queues with room for all of the tasks and for few of them, and with little done before and
/// much.
#[test]
fn a_close_under_load_answers_everyone_truly() {
    for (round, queue_capacity) in [4, 1_000].into_iter().cycle().take(12).enumerate() {
        let folder = tempdir().unwrap();
        let config = quick(folder.path()).queue_capacity(queue_capacity);
        let (acknowledged, refused) = on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let count = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let (repository, count) = (database.repository(), Arc::clone(&count));
                    tokio::spawn(records_until_refused(repository, task, count))
                })
                .collect();
            while count.load(Ordering::Relaxed) < round as u64 * TASKS {
                tokio::task::yield_now().await;
            }
            database.close().await.unwrap();
            let (mut acknowledged, mut refused) = (BTreeSet::new(), BTreeSet::new());
            for task in tasks {
                let (ids, id, error) = task.await.unwrap();
                acknowledged.extend(ids);
                refused.insert(id);
                assert_eq!(error.kind(), RepositoryErrorKind::Closed, "{error}");
                assert_eq!(error.effect(), Effect::NotApplied);
            }
            (acknowledged, refused)
        });
        assert_eq!(refused.len() as u64, TASKS);
        assert!(acknowledged.len() as u64 >= round as u64 * TASKS);
        // Nobody was left without an answer, so what is stored is known to the last event.
        assert_eq!(stored_ids(config.path()), acknowledged, "round {round}");
        is_whole(config.path());
        opens_and_records(&config, 1 << 40);
        is_whole(config.path());
    }
}

/// The writer has one request in its hands, the queue is full, and further callers wait for room:
/// those in the queue are carried out, those before it are refused.
#[test]
fn a_close_carries_out_what_is_queued_and_refuses_who_waits_for_room() {
    const CAPACITY: usize = 3;
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).queue_capacity(CAPACITY).batch_limit(1);
    on_runtime(async {
        let (database, repository, lock) = open_locked(&config).await;
        let queued = fill(&repository, CAPACITY, 1).await;
        let mut waits = repository.record(message_with_id(100, member(1, 1), MIDNIGHT));
        assert!(poll_once(&mut waits).await.is_pending());
        let mut closing = Box::pin(database.close());
        assert!(poll_once(&mut closing).await.is_pending());
        // From the moment on at which the closing is seen, nobody new is let in.
        let mut late = repository.try_record(message_with_id(101, member(1, 1), MIDNIGHT));
        while !matches!(
            poll_once(&mut late).await,
            std::task::Poll::Ready(Err(error)) if error.kind() == RepositoryErrorKind::Closed
        ) {
            tokio::task::yield_now().await;
            late = repository.try_record(message_with_id(101, member(1, 1), MIDNIGHT));
        }
        drop(lock);
        for call in queued {
            call.await.unwrap();
        }
        closing.await.unwrap();
        let refused = waits.await.map(drop).map_err(|error| error.kind());
        let stored = stored_ids(config.path());
        // Room may have come for it before the queue was closed.
        match refused {
            Ok(()) => assert!(stored.contains(&100)),
            Err(kind) => {
                assert_eq!(kind, RepositoryErrorKind::Closed);
                assert!(!stored.contains(&100));
            }
        }
        assert!((1..=CAPACITY as u64 + 1).all(|id| stored.contains(&id)));
        assert!(!stored.contains(&101));
        is_whole(config.path());
    });
}

/// A runtime with 20 events acknowledged, and calls of 64 tasks that cannot be answered, because the
/// write lock is held: some in the writer's hands, some queued, most waiting for room.
fn with_calls_in_flight(config: &Config) -> (Runtime, Database, HeldLock) {
    let runtime = runtime();
    let database = runtime.block_on(Database::open(config.clone())).unwrap();
    runtime.block_on(async {
        for id in ACKNOWLEDGED {
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            database.repository().record(event).await.unwrap();
        }
    });
    let lock = HeldLock::take(config.path());
    let (polled, all_polled) = std::sync::mpsc::channel();
    for task in 0..TASKS {
        let (repository, polled) = (database.repository(), polled.clone());
        runtime.spawn(async move {
            let mut call = repository.record(message_with_id(1_000 + task, member(2, 1), MIDNIGHT));
            assert!(poll_once(&mut call).await.is_pending());
            polled.send(()).unwrap();
            call.await.unwrap();
        });
    }
    for _ in 0..TASKS {
        all_polled.recv().unwrap();
    }
    (runtime, database, lock)
}

#[test]
fn a_database_whose_runtime_is_gone_is_closed_from_another() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).queue_capacity(8).batch_limit(4);
    let (runtime, database, lock) = with_calls_in_flight(&config);
    drop(runtime);
    drop(lock);
    on_runtime(async { database.close().await.unwrap() });

    opens_and_records(&config, 5_000);
    let stored = stored_ids(config.path());
    assert!(ACKNOWLEDGED.into_iter().all(|id| stored.contains(&id)));
    // Those that waited for room went with their tasks.
    let of_the_dropped = stored.range(1_000..5_000).count();
    assert!((8..=8 + 4).contains(&of_the_dropped), "{of_the_dropped}");
    is_whole(config.path());
}

/// As where a program's `main` ends: the database belongs to a task of the runtime.
#[test]
fn a_runtime_that_takes_the_database_with_it_loses_nothing() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).queue_capacity(8).batch_limit(4);
    let (runtime, database, lock) = with_calls_in_flight(&config);
    let (owned, until_dropped) = std::sync::mpsc::channel::<()>();
    runtime.spawn(async move {
        let _dropped_after = owned;
        let _its_owner = database;
        std::future::pending::<()>().await;
    });
    runtime.shutdown_background();
    drop(lock);
    until_dropped.recv().unwrap_err();

    opens_and_records(&config, 5_000);
    let stored = stored_ids(config.path());
    assert!(ACKNOWLEDGED.into_iter().all(|id| stored.contains(&id)));
    is_whole(config.path());
}

/// The callers live in another runtime than the one that the database was opened in, and outlive it.
#[test]
fn callers_of_another_runtime_are_answered_after_the_databases_is_gone() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let its_own = runtime();
    let database = its_own.block_on(Database::open(config.clone())).unwrap();
    let repository = database.repository();
    on_runtime(async {
        let lock = HeldLock::take(config.path());
        let mut calls = Vec::new();
        for task in 0..TASKS {
            let event = message_with_id(task + 1, member(1, task + 1), MIDNIGHT);
            let mut call = repository.record(event);
            assert!(poll_once(&mut call).await.is_pending());
            calls.push(call);
        }
        its_own.shutdown_background();
        drop(lock);
        for call in calls {
            call.await.unwrap();
        }
        database.close().await.unwrap();
    });
    assert_eq!(stored_ids(config.path()), (1..=TASKS).collect());
    opens_and_records(&config, 5_000);
    is_whole(config.path());
}
