//! More calls than the disk takes: those who do not wait are told so, those who wait succeed, and
//! what is kept in memory has a bound.

use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, Effect, EventOutcome, RepositoryErrorKind};
use tempfile::tempdir;

use crate::support::{fill, on_runtime, open_locked, poll_once, query, quick};

#[test]
fn while_the_lock_is_held_some_are_refused_at_once_and_others_wait_and_succeed() {
    const CAPACITY: usize = 4;
    let folder = tempdir().unwrap();
    let config = quick(folder.path()).queue_capacity(CAPACITY).batch_limit(1);
    on_runtime(async {
        let (database, repository, lock) = open_locked(&config).await;
        let accepted = fill(&repository, CAPACITY, 1).await;

        let event = message_with_id(100, member(1, 1), MIDNIGHT);
        // Not one wait: the answer is there at the first poll.
        let std::task::Poll::Ready(refused) = poll_once(&mut repository.try_record(event)).await
        else {
            panic!("a call that does not wait has waited");
        };
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::Overloaded);
        assert_eq!(error.effect(), Effect::NotApplied);
        assert!(error.is_retryable());

        let mut waits = repository.record(event);
        assert!(poll_once(&mut waits).await.is_pending());
        drop(lock);
        // The same id: what was refused had left nothing behind.
        assert!(matches!(waits.await.unwrap(), EventOutcome::Scored(_)));
        for call in accepted {
            call.await.unwrap();
        }
        database.close().await.unwrap();
    });
}

/// However many call while nothing can be written, what they asked for is kept for as many as the
/// queue and one transaction hold, and for no more.
#[test]
fn while_the_disk_stalls_the_number_of_requests_in_memory_is_bounded() {
    const CAPACITY: usize = 16;
    const BATCH_LIMIT: usize = 8;
    const CALLERS: u64 = 5_000;
    let folder = tempdir().unwrap();
    let config = quick(folder.path())
        .queue_capacity(CAPACITY)
        .batch_limit(BATCH_LIMIT);
    on_runtime(async {
        let (database, repository, lock) = open_locked(&config).await;
        let mut accepted = Vec::new();
        let mut refused = 0;
        for number in 0..CALLERS {
            let event = message_with_id(number + 1, member(1, number % 50 + 1), MIDNIGHT);
            let mut call = repository.try_record(event);
            match poll_once(&mut call).await {
                std::task::Poll::Pending => accepted.push(call),
                std::task::Poll::Ready(answer) => {
                    assert_eq!(answer.unwrap_err().kind(), RepositoryErrorKind::Overloaded);
                    refused += 1;
                    // Lets the writer take what it can.
                    tokio::task::yield_now().await;
                }
            }
        }
        // The queue is full, and the writer has one transaction in its hands at most.
        let bound = CAPACITY..=CAPACITY + BATCH_LIMIT;
        assert!(bound.contains(&accepted.len()), "{}", accepted.len());
        assert_eq!(accepted.len() as u64 + refused, CALLERS);
        drop(lock);
        let accepted_calls = accepted.len();
        for call in accepted {
            call.await.unwrap();
        }
        database.close().await.unwrap();
        let stored = query::<i64>(config.path(), "SELECT count(*) FROM activity_event");
        assert_eq!(usize::try_from(stored).unwrap(), accepted_calls);
    });
}
