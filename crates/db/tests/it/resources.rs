//! What the machine runs out of, and clocks that jump: errors that say so, and all works again.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use roas_db::{Config, Database, OpenError, Watcher};
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message_with_id};
use roas_domain::{
    ActivityRepository, EventOutcome, LeaderboardLimit, RepositoryError, RepositoryErrorKind,
};
use tempfile::tempdir;

use crate::support::{on_runtime, quick};

/// Descriptors that the process of a test may have: a runtime and a database take fewer.
const DESCRIPTORS: u32 = 64;

#[test]
fn without_descriptors_callers_are_told_and_all_works_when_there_are_some_again() {
    let folder = tempdir().unwrap();
    let mut process = Command::new("bash")
        .args([
            "-c",
            &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "resources::uses_up_its_descriptors",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("ROAS_TEST_FOLDER", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    (process.stdout.take().unwrap())
        .read_to_string(&mut output)
        .unwrap();
    assert!(process.wait().unwrap().success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}

/// All the descriptors that this process can still have.
fn all_descriptors() -> Vec<OwnedFd> {
    let input = std::io::stdin();
    std::iter::from_fn(|| input.as_fd().try_clone_to_owned().ok())
        .take(DESCRIPTORS as usize)
        .collect()
}

#[test]
#[ignore = "a process of without_descriptors_callers_are_told_and_all_works_when_there_are_some_again"]
fn uses_up_its_descriptors() {
    let folder = std::env::var("ROAS_TEST_FOLDER").unwrap();
    let config = Config::new(Path::new(&folder).join("roas.db")).readers(4);
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        let event = |id| message_with_id(id, member(1, 1), MIDNIGHT);
        repository.record(event(1)).await.unwrap();

        let taken = all_descriptors();
        assert!(taken.len() < DESCRIPTORS as usize, "there is no limit");
        // The writer has all that it needs, and so has one reader.
        repository.record(event(2)).await.unwrap();
        assert_eq!(repository.counts().await.unwrap().messages, 2);
        // The others do not, unless they come one after the other.
        let reads: Vec<_> = (0..16)
            .map(|_| {
                let repository = repository.clone();
                tokio::spawn(async move { repository.counts().await })
            })
            .collect();
        for read in reads {
            match read.await.unwrap() {
                Ok(counts) => assert_eq!(counts.messages, 2),
                Err(error) => assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "{error}"),
            }
        }
        database.maintain().await.unwrap();
        let other = Config::new(Path::new(&folder).join("other.db"));
        let copy = Path::new(&folder).join("copy.db");
        let refusals = [
            Database::open(other.clone()).await.map(drop).unwrap_err(),
            Database::open(other.clone()).await.map(drop).unwrap_err(),
            roas_db::backup(&config, &copy, false, &Watcher::default())
                .map(drop)
                .unwrap_err(),
        ];
        for error in refusals {
            assert!(
                matches!(error, OpenError::Io { .. } | OpenError::NoAccess { .. }),
                "{error:?}"
            );
        }
        assert!(!copy.exists());

        drop(taken);
        repository.record(event(3)).await.unwrap();
        let reads = (0..4).map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move { repository.counts().await.unwrap().messages })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap(), 3);
        }
        let opened = Database::open(other).await.unwrap();
        opened.close().await.unwrap();
        roas_db::backup(&config, &copy, false, &Watcher::default()).unwrap();
        drop(repository);
        database.close().await.unwrap();
    });
}

/// Scores depend on the events' own times alone, and an id is remembered by the clock: hours to and
/// fro are far less than its window.
#[test]
fn a_clock_that_jumps_by_hours_changes_no_score_and_forgets_nothing() {
    const HOURS: i64 = 3_600;
    let jumps = [6, -12, 24, -48, 40, -10];
    let play = |jumps: &[i64]| {
        let folder = tempdir().unwrap();
        let clock = ManualClock::new(at(MIDNIGHT + 1_000 * HOURS));
        let config = quick(folder.path())
            .clock(Arc::new(clock.clone()))
            .remember_events_for(Duration::from_hours(24 * 7));
        on_runtime(async {
            let database = Database::open(config).await.unwrap();
            let repository = database.repository();
            let limit = LeaderboardLimit::new(10).unwrap();
            for (number, jump) in (1..).zip(jumps) {
                let now = at(MIDNIGHT + 60 * i64::try_from(number).unwrap());
                let event = message_with_id(number, member(1, number % 3 + 1), now.get());
                repository.record(event).await.unwrap();
                clock.advance(jump * HOURS);
                let again = repository.record(event).await.unwrap();
                assert_eq!(again, EventOutcome::Duplicate, "{number}");
                repository
                    .adjust_score(member(1, 1), delta(1.0), now)
                    .await
                    .unwrap();
                let report = database.maintain().await.unwrap();
                assert_eq!(report.forgotten_events, 0, "{number}");
            }
            let end = at(MIDNIGHT + 1_000);
            let top = repository
                .top_scores(member(1, 1).guild, end, limit)
                .await?;
            let counts = repository.counts().await?;
            database.close().await?;
            Ok::<_, RepositoryError>((top, counts))
        })
        .unwrap()
    };
    assert_eq!(play(&jumps), play(&[0; 6]));
}

/// How long is waited is told by a clock that nobody sets.
#[test]
fn a_wait_for_a_lock_ends_by_its_deadline_whatever_the_clock_says() {
    let folder = tempdir().unwrap();
    let clock = ManualClock::new(at(MIDNIGHT));
    let config = quick(folder.path())
        .clock(Arc::new(clock.clone()))
        .max_clock_skew(None)
        .retry(roas_db::RetryPolicy::aggressive().with_deadline(Duration::from_millis(100)));
    on_runtime(async {
        for jump in [-100, 100] {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            let event = message_with_id(1, member(1, 1), MIDNIGHT);
            #[expect(clippy::disallowed_methods, reason = "a neighbour past the adapter")]
            let neighbour = rusqlite::Connection::open(config.path()).unwrap();
            neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
            let waiting = tokio::spawn({
                let repository = repository.clone();
                async move { repository.record(event).await }
            });
            clock.advance(jump * 3_600);
            let error = waiting.await.unwrap().unwrap_err();
            let RepositoryErrorKind::Busy { waited, .. } = error.kind() else {
                panic!("{error}");
            };
            assert!(waited >= Duration::from_millis(100), "{waited:?}");
            neighbour.execute_batch("ROLLBACK").unwrap();
            drop(repository);
            database.close().await.unwrap();
        }
    });
}
