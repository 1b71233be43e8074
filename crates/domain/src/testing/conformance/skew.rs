//! Times ahead of the repository's clock.

use std::sync::Arc;

use super::{known, record_all};
use crate::activity::{ActivityEvent, ActivityRecord};
use crate::error::{Effect, RepositoryError, RepositoryErrorKind};
use crate::query::ActivityCounts;
use crate::repository::{ActivityRepository, DEFAULT_MAX_CLOCK_SKEW};
use crate::testing::ManualClock;
use crate::testing::fixtures::{at, delta, member, message, message_with_id};
use crate::time::{Clock, UnixSeconds};

/// Every write refuses a time more than ten minutes ahead of the clock and leaves nothing behind:
/// no member, no score, no event id. A time ten minutes ahead is accepted, and so is any time in
/// the past.
///
/// Expects an empty repository that uses `clock` and allows [`DEFAULT_MAX_CLOCK_SKEW`]. An adapter
/// calls this from a test of its own.
pub async fn times_too_far_ahead_are_refused(
    repository: Arc<dyn ActivityRepository>,
    clock: ManualClock,
) {
    let one = member(1, 1);
    let now = clock.now().get();
    let latest = now + DEFAULT_MAX_CLOCK_SKEW.as_secs().cast_signed();
    for ahead in [latest + 1, latest + 100_000_000, UnixSeconds::MAX.get()] {
        let event = message_with_id(7, one, ahead);
        assert_refused(repository.record(event).await, now, ahead);
        assert_refused(repository.try_record(event).await, now, ahead);
        let good = message_with_id(8, one, now);
        assert_refused(repository.record_many(vec![good, event]).await, now, ahead);
        let adjusted = repository.adjust_score(one, delta(1.0), at(ahead)).await;
        assert_refused(adjusted, now, ahead);
    }
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(counts, ActivityCounts::default());

    let taken: Vec<ActivityEvent> = [(7, 0), (8, now - 3_600), (9, now), (10, latest)]
        .map(|(id, time)| message_with_id(id, one, time))
        .to_vec();
    let batch = repository.record_many(taken[..3].to_vec()).await;
    assert_eq!(batch.expect("a batch is recorded").len(), 3);
    record_all(&*repository, [taken[3]]).await;
    let ActivityRecord {
        last_message_at,
        messages,
        ..
    } = known(&*repository, one).await;
    assert_eq!((last_message_at, messages), (at(latest), 4));
    let adjusted = repository.adjust_score(one, delta(1.0), at(latest)).await;
    adjusted.expect("a score is adjusted");

    clock.advance(1);
    record_all(&*repository, [message(one, latest + 1)]).await;
    clock.set(UnixSeconds::MAX);
    record_all(&*repository, [message(one, UnixSeconds::MAX.get())]).await;
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, RepositoryError>, now: i64, ahead: i64) {
    let error = answer.expect_err("a time too far ahead is refused");
    assert_eq!(error.kind(), RepositoryErrorKind::InvalidRequest, "{error}");
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(!error.is_retryable());
    let text = error.to_string();
    for time in [now, ahead] {
        assert!(text.contains(&at(time).to_string()), "{text}");
    }
}
