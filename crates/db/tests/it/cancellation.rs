//! A call that is dropped, at every point at which it waits: it is whole or absent, and nobody else
//! notices.
//!
//! The write lock is held by another connection, so that the writer has taken one request and waits
//! with it, and the queue behind it is full: from there on each poll of a call gets exactly as far as
//! the scenario lets it.

use std::pin::Pin;

use roas_db::{Config, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message_with_id};
use roas_domain::{ActivityRepository, MemberKey, RepositoryError};
use tempfile::tempdir;

use crate::support::{HeldLock, fill, on_runtime, open_locked, poll_once, query, quick};

const CAPACITY: usize = 2;

/// The id of the event, or of the first of the events, of the call that is dropped.
const DROPPED_ID: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Record,
    RecordMany,
    AdjustScore,
}

/// Where a call is when it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// It was made and never polled.
    NotPolled,
    /// The queue is full.
    WaitingForRoom,
    /// There is room now, and the call has not been polled since.
    GrantedRoom,
    /// It is in the queue.
    WaitingForTheAnswer,
    /// It was answered, and has not been polled since.
    Answered,
}

impl Point {
    /// A call is carried out from the moment on at which it is in the queue.
    fn is_applied(self) -> bool {
        matches!(self, Self::WaitingForTheAnswer | Self::Answered)
    }
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), RepositoryError>> + Send + 'a>>;

impl Operation {
    fn call(self, repository: &SqliteActivityRepository, member: MemberKey) -> Call<'_> {
        let event = move |number| message_with_id(DROPPED_ID + number, member, MIDNIGHT);
        Box::pin(async move {
            match self {
                Self::Record => repository.record(event(0)).await.map(drop),
                Self::RecordMany => {
                    let events = (0..3).map(event).collect();
                    repository.record_many(events).await.map(drop)
                }
                Self::AdjustScore => repository
                    .adjust_score(member, delta(5.0), at(MIDNIGHT))
                    .await
                    .map(drop),
            }
        })
    }

    /// How many messages the member has where the call took effect.
    fn messages(self) -> i64 {
        match self {
            Self::Record => 1,
            Self::RecordMany => 3,
            Self::AdjustScore => 0,
        }
    }
}

/// Drops a call of `operation` at `point`, with one call before it in the writer's hands, a full
/// queue, and another call behind it.
async fn drop_call(operation: Operation, point: Point, config: &Config) {
    let (database, repository, lock) = open_locked(config).await;
    let before = fill(&repository, CAPACITY, 1).await;
    let mut call = operation.call(&repository, member(1, 1));
    if point != Point::NotPolled {
        assert!(poll_once(&mut call).await.is_pending());
    }
    let mut behind = repository.record(message_with_id(500, member(2, 1), MIDNIGHT));
    assert!(poll_once(&mut behind).await.is_pending());

    if matches!(point, Point::NotPolled | Point::WaitingForRoom) {
        drop(call);
        drop(lock);
        for answer in before {
            answer.await.unwrap();
        }
    } else {
        drop(lock);
        for answer in before {
            answer.await.unwrap();
        }
        if point == Point::GrantedRoom {
            drop(call);
        } else {
            let lock = HeldLock::take(config.path());
            assert!(poll_once(&mut call).await.is_pending());
            if point == Point::WaitingForTheAnswer {
                drop(call);
                drop(lock);
            } else {
                drop(lock);
                // Behind it in the queue, and so answered after it.
                let next = message_with_id(501, member(2, 1), MIDNIGHT);
                repository.record(next).await.unwrap();
                drop(call);
            }
        }
    }
    behind.await.unwrap();

    // All of the queue's room is there again: the writer is idle and need not take anything from it.
    let lock = HeldLock::take(config.path());
    let mut after = Vec::new();
    for number in 0..CAPACITY as u64 {
        let mut call = repository.try_record(message_with_id(600 + number, member(2, 1), MIDNIGHT));
        assert!(poll_once(&mut call).await.is_pending());
        after.push(call);
    }
    drop(lock);
    for call in after {
        call.await.unwrap();
    }
    database.close().await.unwrap();
}

fn dropped_at_every_point(operation: Operation) {
    for point in [
        Point::NotPolled,
        Point::WaitingForRoom,
        Point::GrantedRoom,
        Point::WaitingForTheAnswer,
        Point::Answered,
    ] {
        let folder = tempdir().unwrap();
        let config = quick(folder.path()).queue_capacity(CAPACITY).batch_limit(1);
        on_runtime(drop_call(operation, point, &config));

        let one = |sql| query::<i64>(config.path(), sql);
        let applied = if point.is_applied() {
            (1, operation.messages(), operation.messages())
        } else {
            (0, 0, 0)
        };
        let found = (
            one("SELECT count(*) FROM activity_meter WHERE guild_id = 1"),
            one("SELECT coalesce(sum(messages), 0) FROM activity_meter WHERE guild_id = 1"),
            one("SELECT count(*) FROM activity_event WHERE event_id >= 1000"),
        );
        assert_eq!(found, applied, "{operation:?} {point:?}");
        // Its neighbours, all of them, once: those before it, those behind it and the last ones.
        let neighbours = match point {
            Point::Answered => 7,
            _ => 6,
        };
        let found = (
            one("SELECT sum(messages) FROM activity_meter WHERE guild_id <> 1"),
            one("SELECT count(*) FROM activity_event WHERE event_id < 1000"),
        );
        assert_eq!(found, (neighbours, neighbours), "{operation:?} {point:?}");
        assert_eq!(
            query::<String>(config.path(), "PRAGMA integrity_check"),
            "ok"
        );
    }
}

#[test]
fn a_dropped_record_is_whole_or_absent_at_every_point() {
    dropped_at_every_point(Operation::Record);
}

#[test]
fn a_dropped_record_many_is_whole_or_absent_at_every_point() {
    dropped_at_every_point(Operation::RecordMany);
}

#[test]
fn a_dropped_adjustment_is_whole_or_absent_at_every_point() {
    dropped_at_every_point(Operation::AdjustScore);
}
