//! Restarts, kills and other processes: what was acknowledged stays, and what fails says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roas_db::{Config, Database, RetryPolicy, SqliteActivityRepository};
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message, message_with_id};
use roas_domain::{ActivityRepository, Effect, EventOutcome, RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::support::{on_runtime, query, quick, raw, start_process};

async fn open(config: &Config) -> Database {
    Database::open(config.clone()).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a neighbour past the adapter")]
fn neighbour(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// Records a message of a member of guild 1.
async fn record(
    repository: &SqliteActivityRepository,
    user: u64,
) -> Result<EventOutcome, RepositoryError> {
    repository.record(message(member(1, user), MIDNIGHT)).await
}

#[test]
fn an_event_counts_once_across_restarts() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let event = message_with_id(77, member(1, 2), MIDNIGHT);
    on_runtime(async {
        for expected_scored in [true, false, false] {
            let database = open(&config).await;
            let outcome = database.repository().record(event).await.unwrap();
            assert_eq!(
                matches!(outcome, EventOutcome::Scored(_)),
                expected_scored,
                "{outcome:?}"
            );
            assert_eq!(database.repository().counts().await.unwrap().messages, 1);
            database.close().await.unwrap();
        }
    });
}

#[test]
fn an_event_is_forgotten_when_its_window_has_passed_and_not_before() {
    let folder = tempdir().unwrap();
    let clock = ManualClock::new(at(MIDNIGHT));
    let config = quick(folder.path())
        .clock(Arc::new(clock.clone()))
        .remember_events_for(Duration::from_hours(1));
    // The event's own time plays no part: old messages are ingested, too.
    let event = message_with_id(77, member(1, 2), 1_000);
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        repository.record(event).await.unwrap();
        clock.advance(3_600);
        repository
            .record(message_with_id(78, member(1, 2), 1_000))
            .await
            .unwrap();
        assert_eq!(database.maintain().await.unwrap().forgotten_events, 0);
        assert_eq!(
            repository.record(event).await.unwrap(),
            EventOutcome::Duplicate
        );
        clock.advance(1);
        assert_eq!(database.maintain().await.unwrap().forgotten_events, 1);
        assert_ne!(
            repository.record(event).await.unwrap(),
            EventOutcome::Duplicate
        );
        database.close().await.unwrap();
    });
}

#[test]
fn the_planner_gets_its_statistics_beside_a_writer_that_goes_on() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let statistics = |path: &Path| {
        let tables = "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'activity_meter'";
        query::<i64>(path, tables)
    };
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        let events = |ids: std::ops::RangeInclusive<u64>| {
            ids.map(|id| message_with_id(id, member(1, id), MIDNIGHT))
                .collect()
        };
        repository.record_many(events(1..=500)).await.unwrap();
        database.maintain().await.unwrap();
        assert_eq!(statistics(config.path()), 1);
        // The writer's statements are made anew beneath it: the schema has one more table.
        repository.record_many(events(501..=600)).await.unwrap();
        database.maintain().await.unwrap();
        assert_eq!(database.writer_stats().reopened, 0);
        database.close().await.unwrap();
        // And the file is still one of ours.
        let again = open(&config).await;
        assert_eq!(again.repository().counts().await.unwrap().members, 600);
        again.close().await.unwrap();
    });
}

#[test]
fn many_old_events_are_forgotten_in_steps() {
    let folder = tempdir().unwrap();
    let clock = ManualClock::new(at(MIDNIGHT));
    let config = quick(folder.path()).clock(Arc::new(clock.clone()));
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        for first in [1, 4_001] {
            let events = (first..first + 4_000)
                .map(|id| message_with_id(id, member(1, 2), MIDNIGHT))
                .collect();
            repository.record_many(events).await.unwrap();
            clock.advance(4 * 24 * 3_600);
        }
        let report = database.maintain().await.unwrap();
        assert_eq!(report.forgotten_events, 4_000);
        assert_eq!(report.checkpointed_frames, report.wal_frames);
        database.close().await.unwrap();
    });
    assert_eq!(
        query::<i64>(config.path(), "SELECT min(event_id) FROM activity_event"),
        4_001
    );
}

/// The file does not shrink, and does not grow either while as many ids come as go.
#[test]
fn the_room_of_forgotten_events_is_used_again() {
    const IDS: u64 = 4_000;
    let folder = tempdir().unwrap();
    let clock = ManualClock::new(at(MIDNIGHT));
    let config = quick(folder.path()).clock(Arc::new(clock.clone()));
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        let mut pages = Vec::new();
        for week in 0..10 {
            let ids = week * IDS + 1..=(week + 1) * IDS;
            let events = ids.map(|id| message_with_id(id, member(1, 2), MIDNIGHT));
            repository.record_many(events.collect()).await.unwrap();
            let report = database.maintain().await.unwrap();
            assert_eq!(report.forgotten_events, if week == 0 { 0 } else { IDS });
            pages.push(query::<i64>(config.path(), "PRAGMA page_count"));
            clock.advance(8 * 24 * 3_600);
        }
        // In the second week, the ids of two are there for a moment. In none of the eight after it is
        // there more, but for pages that are not quite full.
        let of_a_week = pages[1] - pages[0];
        assert!(of_a_week > 10, "{pages:?}");
        assert!(pages[9] - pages[1] < of_a_week / 2, "{pages:?}");
        database.close().await.unwrap();
    });
}

#[test]
fn a_wal_that_grew_beside_a_long_reader_shrinks_when_it_has_gone() {
    const MIB: u64 = 1024 * 1024;
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        record(&repository, 1).await.unwrap();
        let reader = neighbour(config.path());
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM activity_meter")
            .unwrap();
        let mut user = 0;
        while database.size().wal_bytes < 40 * MIB {
            // Far apart, so that each touches a page of its own.
            let events = (0..4_000).map(|_| {
                user += 1_000_003;
                message(member(user % 97 + 1, user), MIDNIGHT)
            });
            repository.record_many(events.collect()).await.unwrap();
        }
        database.maintain().await.unwrap();
        assert!(
            database.size().wal_bytes >= 40 * MIB,
            "the reader still needs it"
        );
        reader.execute_batch("COMMIT").unwrap();
        database.maintain().await.unwrap();
        assert_eq!(database.size().wal_bytes, 0);
        database.close().await.unwrap();
    });
}

#[test]
fn an_event_that_was_acknowledged_survives_a_kill() {
    for round in 0..3 {
        let folder = tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let mut process = start_process(
            "recovery::records_until_killed",
            &[("ROAS_TEST_FOLDER", path)],
        );
        let mut acknowledged = BTreeSet::new();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        for line in lines {
            let line = line.unwrap();
            if let Some(id) = line.strip_prefix("ack ") {
                acknowledged.insert(id.parse::<i64>().unwrap());
            }
            if acknowledged.len() == 300 + 177 * round {
                process.kill().unwrap();
                break;
            }
        }
        process.wait().unwrap();
        // Opening recovers what the dead process left.
        let config = quick(folder.path());
        on_runtime(async { open(&config).await.close().await.unwrap() });
        let stored: BTreeSet<i64> = neighbour(config.path())
            .prepare("SELECT event_id FROM activity_event")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert!(stored.is_superset(&acknowledged));
        let counted = query::<i64>(config.path(), "SELECT sum(messages) FROM activity_meter");
        assert_eq!(usize::try_from(counted).unwrap(), stored.len());
        let by_day = query::<i64>(config.path(), "SELECT sum(msg_cnt) FROM activity_daily");
        assert_eq!(by_day, counted);
        assert_eq!(
            query::<String>(config.path(), "PRAGMA integrity_check"),
            "ok"
        );
    }
}

#[test]
#[ignore = "the process that an_event_that_was_acknowledged_survives_a_kill kills"]
fn records_until_killed() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    on_runtime(async {
        let database = open(&quick(Path::new(&folder))).await;
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let repository = database.repository();
                tokio::spawn(async move {
                    for number in 0_u64.. {
                        let id = number * 16 + task + 1;
                        let event = message_with_id(id, member(1, task % 5 + 1), MIDNIGHT);
                        repository.record(event).await.unwrap();
                        println!("ack {id}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_neighbour_that_holds_the_lock_for_less_than_the_deadline_is_waited_for() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).retry(RetryPolicy::aggressive());
    on_runtime(async {
        let database = open(&config).await;
        let holder = neighbour(config.path());
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let repository = database.repository();
        let waiting =
            tokio::spawn(async move { repository.record(message(member(1, 2), MIDNIGHT)).await });
        // Reads go on while the lock is held.
        for _ in 0..20 {
            assert_eq!(database.repository().counts().await.unwrap().messages, 0);
        }
        while database.writer_stats().lock_waits == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        holder.execute_batch("ROLLBACK").unwrap();
        assert!(matches!(
            waiting.await.unwrap(),
            Ok(EventOutcome::Scored(_))
        ));
        assert!(database.writer_stats().lock_wait > Duration::ZERO);
        database.close().await.unwrap();
    });
}

#[test]
fn past_the_deadline_callers_get_busy_and_nothing_was_applied() {
    let folder = tempdir().unwrap();
    let deadline = Duration::from_millis(300);
    let config = quick(folder.path()).retry(RetryPolicy::aggressive().with_deadline(deadline));
    on_runtime(async {
        let database = open(&config).await;
        let holder = neighbour(config.path());
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let began = Instant::now();
        let calls: Vec<_> = (0..50)
            .map(|user| {
                let repository = database.repository();
                tokio::spawn(async move {
                    let event = message_with_id(user + 1, member(1, user + 1), MIDNIGHT);
                    repository.record(event).await
                })
            })
            .collect();
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            let RepositoryErrorKind::Busy { waited, attempts } = error.kind() else {
                panic!("{error:?}");
            };
            assert!(waited >= deadline && attempts > 0, "{error}");
            assert!(error.is_retryable());
            assert_eq!(error.effect(), Effect::NotApplied);
        }
        assert!(began.elapsed() >= deadline);
        holder.execute_batch("ROLLBACK").unwrap();
        assert_eq!(database.repository().counts().await.unwrap().members, 0);
        // The writer is none the worse for it, and the ids were not remembered.
        let event = message_with_id(1, member(1, 1), MIDNIGHT);
        let outcome = database.repository().record(event).await.unwrap();
        assert!(matches!(outcome, EventOutcome::Scored(_)));
        database.close().await.unwrap();
    });
}

#[test]
fn a_file_that_was_moved_away_is_noticed_before_anything_is_acknowledged() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        record(&repository, 2).await.unwrap();
        let elsewhere = folder.path().join("elsewhere.db");
        fs::rename(config.path(), &elsewhere).unwrap();
        let error = record(&repository, 2).await.unwrap_err();
        // Before it is written, or, where the last look was a moment ago, before it is acknowledged.
        assert!(
            matches!(
                error.kind(),
                RepositoryErrorKind::Unavailable | RepositoryErrorKind::OutcomeUnknown
            ),
            "{error}"
        );
        assert!(error.to_string().contains("moved"), "{error}");
        let error = record(&repository, 2).await.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
        assert!(!config.path().exists(), "no empty file takes its place");
        // Put back, it is used again.
        fs::rename(&elsewhere, config.path()).unwrap();
        record(&repository, 2).await.unwrap();
        database.close().await.unwrap();
    });
}

#[test]
fn a_trigger_that_refuses_one_event_does_not_fail_the_others() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = open(&config).await;
        raw(
            config.path(),
            "CREATE TRIGGER no_thirteen BEFORE INSERT ON activity_meter WHEN new.user_id = 13
             BEGIN SELECT raise(ABORT, 'not thirteen'); END",
        );
        let calls: Vec<_> = (1..=20)
            .map(|user| {
                let repository = database.repository();
                tokio::spawn(async move {
                    repository
                        .adjust_score(member(1, user), delta(1.0), at(MIDNIGHT))
                        .await
                })
            })
            .collect();
        for (user, call) in (1_u64..).zip(calls) {
            let result = call.await.unwrap();
            assert_eq!(result.is_err(), user == 13, "{user}: {result:?}");
        }
        assert_eq!(database.repository().counts().await.unwrap().members, 19);
        database.close().await.unwrap();
    });
}

#[test]
fn closing_answers_everyone_and_loses_nothing() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).queue_capacity(8);
    let acknowledged = on_runtime(async {
        let database = open(&config).await;
        let calls: Vec<_> = (0..500_u64)
            .map(|number| {
                let repository = database.repository();
                tokio::spawn(async move {
                    repository
                        .record(message_with_id(
                            number + 1,
                            member(1, number % 7 + 1),
                            MIDNIGHT,
                        ))
                        .await
                })
            })
            .collect();
        while database.writer_stats().events < 50 {
            tokio::task::yield_now().await;
        }
        let repository = database.repository();
        database.close().await.unwrap();
        let mut acknowledged = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => acknowledged += 1,
                Err(error) => {
                    assert_eq!(error.kind(), RepositoryErrorKind::Closed);
                    assert_eq!(error.effect(), Effect::NotApplied);
                }
            }
        }
        let late = record(&repository, 1).await.unwrap_err();
        assert_eq!(late.kind(), RepositoryErrorKind::Closed);
        let late = repository.counts().await.unwrap_err();
        assert_eq!(late.kind(), RepositoryErrorKind::Closed);
        acknowledged
    });
    assert!(acknowledged >= 50);
    assert_eq!(
        query::<i64>(config.path(), "SELECT sum(messages) FROM activity_meter"),
        acknowledged
    );
}

#[test]
fn a_file_that_was_closed_is_opened_again_whoever_still_has_a_handle() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = open(&config).await;
        let kept = database.repository();
        database.close().await.unwrap();
        let again = open(&config).await;
        again.repository().counts().await.unwrap();
        let error = kept.counts().await.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::Closed);
        again.close().await.unwrap();
    });
}

#[test]
fn dropping_the_database_ends_the_intake_and_frees_the_file() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = open(&config).await;
        let repository = database.repository();
        record(&repository, 1).await.unwrap();
        drop(database);
        let error = record(&repository, 1).await.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::Closed);
        drop(repository);
        // The threads end by themselves; then the file can be opened again.
        let again = loop {
            match Database::open(config.clone()).await {
                Ok(database) => break database,
                Err(roas_db::OpenError::AlreadyOpen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(again.repository().counts().await.unwrap().messages, 1);
        again.close().await.unwrap();
    });
}

/// POSIX locks belong to the process: closing any descriptor of the file would drop them all.
#[test]
#[cfg(target_os = "linux")]
#[expect(
    clippy::disallowed_methods,
    reason = "shows what reading the file would do"
)]
fn nothing_we_do_drops_the_locks_that_sqlite_holds() {
    use std::os::unix::fs::MetadataExt;

    // What SQLite holds for as long as the file is open: bytes of the database and of its shared memory.
    const SHARED: &str = " 1073741826 1073742335";
    const OPEN: &str = " 128 128";

    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    // The list is not read in one piece, and other threads lock and unlock meanwhile: look until seen.
    let holds = |bytes: &str| {
        let inodes: Vec<String> = ["", "-shm"]
            .iter()
            .filter_map(|suffix| fs::metadata(folder.path().join(format!("roas.db{suffix}"))).ok())
            .map(|file| format!(":{} ", file.ino()))
            .collect();
        let mine = format!(" {} ", std::process::id());
        (0..1_000).any(|_| {
            fs::read_to_string("/proc/locks")
                .unwrap()
                .lines()
                .filter(|line| line.ends_with(bytes) && line.contains(&mine))
                .any(|line| inodes.iter().any(|inode| line.contains(inode)))
        })
    };
    on_runtime(async {
        let database = open(&config).await;
        database
            .repository()
            .record(message(member(1, 2), MIDNIGHT))
            .await
            .unwrap();
        assert!(holds(SHARED) && holds(OPEN));
        assert!(database.size().database_bytes > 0);
        database.maintain().await.unwrap();
        roas_db::migration::migration_status(config.path()).unwrap();
        Database::open(config.clone()).await.unwrap_err();
        let reading = open(&config.clone().access(roas_db::Access::ReadOnly)).await;
        reading.repository().counts().await.unwrap();
        reading.close().await.unwrap();
        assert!(holds(SHARED), "the lock on the database was dropped");
        assert!(holds(OPEN), "the lock on the shared memory was dropped");
        // What would drop them does, or this test cannot fail.
        drop(fs::read(config.path()).unwrap());
        assert!(!holds(SHARED));
        database.close().await.unwrap();
    });
}

/// The wait was in vain: whom to look for is what its error is for.
#[test]
#[cfg(target_os = "linux")]
fn the_error_of_a_wait_in_vain_names_the_process_that_holds_the_lock() {
    let folder = tempdir().unwrap();
    let deadline = Duration::from_millis(100);
    let config = quick(folder.path()).retry(RetryPolicy::aggressive().with_deadline(deadline));
    on_runtime(async {
        let database = open(&config).await;
        let path = folder.path().to_str().unwrap();
        let mut holder = start_process(
            "recovery::holds_the_write_lock",
            &[("ROAS_TEST_FOLDER", path)],
        );
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("held")));
        let event = message_with_id(1, member(1, 2), MIDNIGHT);
        let error = database.repository().record(event).await.unwrap_err();
        let named = format!("the lock is held by process {} (`", holder.id());
        assert!(error.to_string().contains(&named), "{error}");
        let users = database.users();
        assert_eq!(users.lock_holder.map(|user| user.pid()), Some(holder.id()));
        assert!(
            users
                .other_processes
                .iter()
                .any(|user| user.pid == holder.id())
        );
        // It lets go when it is told so.
        drop(holder.stdin.take());
        holder.wait().unwrap();
        let users = database.users();
        assert_eq!(users.lock_holder, None);
        assert!(
            users
                .other_processes
                .iter()
                .all(|user| user.pid != holder.id())
        );
        database.repository().record(event).await.unwrap();
        database.close().await.unwrap();
    });
}

#[test]
#[ignore = "the process of the_error_of_a_wait_in_vain_names_the_process_that_holds_the_lock"]
fn holds_the_write_lock() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    let holder = neighbour(&Path::new(&folder).join("roas.db"));
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("held");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A host whose clock stands in 1972 until it is set, whatever the file held before.
#[test]
fn an_id_is_remembered_when_the_clock_is_put_right() {
    const YEAR: i64 = 365 * 24 * 3_600;
    for history in [false, true] {
        let folder = tempdir().unwrap();
        let clock = ManualClock::new(at(MIDNIGHT));
        let config = quick(folder.path()).clock(Arc::new(clock.clone()));
        on_runtime(async {
            let next = |id| message_with_id(id, member(1, 2), 1_000);
            if history {
                let database = open(&config).await;
                for id in 1..10 {
                    database.repository().record(next(id)).await.unwrap();
                    clock.advance(24 * 3_600);
                }
                database.close().await.unwrap();
            }
            for (round, jump) in (1..).zip([-50, 50, 20, -20, -50, 50]) {
                clock.advance(jump * YEAR);
                let event = next(1_000 * round);
                let database = open(&config).await;
                let repository = database.repository();
                repository.record(event).await.unwrap();
                database.maintain().await.unwrap();
                database.close().await.unwrap();

                // The next recordings and rounds come after another jump.
                clock.advance(-jump * YEAR);
                let database = open(&config).await;
                let repository = database.repository();
                repository.record(next(1_000 * round + 1)).await.unwrap();
                database.maintain().await.unwrap();
                let again = repository.record(event).await.unwrap();
                assert_eq!(again, EventOutcome::Duplicate, "{history} {round}");
                database.close().await.unwrap();
            }
        });
    }
}
