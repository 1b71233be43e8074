//! The end of one `Database` and the next opening of its file, and callers without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use roas_db::{Access, Config, Database, OpenError, RetryPolicy};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, RepositoryErrorKind};
use tempfile::tempdir;

use crate::support::{HeldLock, on_runtime, open_locked, poll_once, quick};

/// Runs a future as an executor that is not tokio's does.
fn without_runtime<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_dropped_database_can_be_opened_at_once_and_has_written_what_was_queued() {
    let folder = tempdir().unwrap();
    on_runtime(async {
        for id in 1..=30 {
            let database = Database::open(quick(folder.path())).await.unwrap();
            let repository = database.repository();
            let mut call = repository.record(message_with_id(id, member(1, 1), MIDNIGHT));
            // In the queue, or done.
            let _ = poll_once(&mut call).await;
            drop(call);
            drop(database);
        }
        let database = Database::open(quick(folder.path())).await.unwrap();
        assert_eq!(database.repository().counts().await.unwrap().messages, 30);
        database.close().await.unwrap();
    });
}

#[test]
fn a_closing_that_nobody_waits_for_is_waited_for_by_the_next_opening() {
    let folder = tempdir().unwrap();
    on_runtime(async {
        let database = Database::open(quick(folder.path())).await.unwrap();
        let mut closing = Box::pin(database.close());
        let _ = poll_once(&mut closing).await;
        drop(closing);
        let database = Database::open(quick(folder.path())).await.unwrap();
        database.close().await.unwrap();
    });
}

#[test]
fn a_database_that_is_open_is_refused_at_once() {
    let folder = tempdir().unwrap();
    // An hour: who waits for it does not come to an end.
    let patient = RetryPolicy::balanced().with_deadline(Duration::from_hours(1));
    on_runtime(async {
        let config = quick(folder.path()).retry(patient);
        let database = Database::open(config.clone()).await.unwrap();
        let error = Database::open(config).await.unwrap_err();
        assert!(matches!(error, OpenError::AlreadyOpen { .. }), "{error:?}");
        database.close().await.unwrap();
    });
}

#[test]
fn a_writer_that_does_not_come_to_its_end_is_waited_for_until_the_deadline() {
    let folder = tempdir().unwrap();
    let deadline = Duration::from_millis(200);
    on_runtime(async {
        let first = RetryPolicy::balanced().with_deadline(Duration::from_secs(20));
        let (database, repository, lock) = open_locked(&quick(folder.path()).retry(first)).await;
        let mut call = repository.record(message_with_id(1, member(1, 1), MIDNIGHT));
        assert!(poll_once(&mut call).await.is_pending());
        drop(database);
        let short = quick(folder.path()).retry(RetryPolicy::balanced().with_deadline(deadline));
        match Database::open(short).await.unwrap_err() {
            OpenError::StillClosing { waited, .. } => assert!(waited >= deadline, "{waited:?}"),
            error => panic!("{error:?}"),
        }
        drop(lock);
        call.await.unwrap();
        let database = Database::open(quick(folder.path())).await.unwrap();
        database.close().await.unwrap();
    });
}

#[test]
fn a_call_that_comes_too_late_says_how_the_database_ended() {
    let folder = tempdir().unwrap();
    let event = message_with_id(1, member(1, 1), MIDNIGHT);
    on_runtime(async {
        for (is_dropped, expected) in [(false, "was closed"), (true, "`Database` was dropped")] {
            let database = Database::open(quick(folder.path())).await.unwrap();
            let repository = database.repository();
            if is_dropped {
                drop(database);
            } else {
                database.close().await.unwrap();
            }
            for error in [
                repository.record(event).await.unwrap_err(),
                repository.try_record(event).await.unwrap_err(),
                repository.counts().await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), RepositoryErrorKind::Closed);
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    });
}

#[test]
fn opening_without_a_runtime_is_an_error() {
    let folder = tempdir().unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let config = quick(folder.path()).access(access);
        let error = without_runtime(Database::open(config)).unwrap_err();
        assert!(matches!(error, OpenError::NoRuntime { .. }), "{error:?}");
        assert!(error.to_string().contains("tokio runtime"), "{error}");
    }
}

#[test]
fn an_open_database_can_be_used_from_any_executor() {
    let folder = tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let open = |config: Config| runtime.block_on(Database::open(config)).unwrap();
    let database = open(quick(folder.path()));
    without_runtime(async {
        let repository = database.repository();
        let event = message_with_id(1, member(1, 1), MIDNIGHT);
        repository.record(event).await.unwrap();
        repository.try_record(event).await.unwrap();
        assert!(
            repository
                .find_member(event.member)
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(repository.counts().await.unwrap().messages, 1);
        database.maintain().await.unwrap();
        database.close().await.unwrap();
    });
    // Dropped where there is no runtime.
    drop(open(quick(folder.path())));
    let reading = open(quick(folder.path()).access(Access::ReadOnly));
    without_runtime(async {
        assert_eq!(reading.repository().counts().await.unwrap().messages, 1);
        reading.close().await.unwrap();
    });
}

/// With one of another runtime gone, there is none to close on.
#[test]
fn closing_on_a_runtime_that_is_gone_says_so_and_ends_the_writer() {
    let folder = tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime
        .block_on(Database::open(quick(folder.path())))
        .unwrap();
    let repository = database.repository();
    drop(runtime);
    let lock = HeldLock::take(quick(folder.path()).path());
    let (queued, is_queued) = mpsc::channel();
    let calling = thread::Builder::new().spawn(move || {
        let mut call = repository.record(message_with_id(1, member(1, 1), MIDNIGHT));
        assert!(without_runtime(poll_once(&mut call)).is_pending());
        queued.send(()).unwrap();
        without_runtime(call)
    });
    is_queued.recv().unwrap();
    let error = without_runtime(database.close()).unwrap_err();
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
    assert!(error.to_string().contains("runtime shut down"), "{error}");
    drop(lock);
    calling.unwrap().join().unwrap().unwrap();
    on_runtime(async {
        let database = Database::open(quick(folder.path())).await.unwrap();
        assert_eq!(database.repository().counts().await.unwrap().messages, 1);
        database.close().await.unwrap();
    });
}
