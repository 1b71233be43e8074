//! Concurrent callers. Their futures are polled together by the executor that runs the scenario.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{known, shown};
use crate::activity::{ActivityEvent, EventOutcome};
use crate::query::{ActivityCounts, Period};
use crate::repository::ActivityRepository;
use crate::testing::fixtures::{
    MIDNIGHT, at, delta, guild, member, message, message_with_id, score,
};
use crate::time::GuildTimeZone;

/// Enough callers that an adapter that batches writes has several in each batch.
const CALLERS: u32 = 200;

async fn record_at_once(
    repository: &dyn ActivityRepository,
    events: impl IntoIterator<Item = ActivityEvent>,
) -> Vec<EventOutcome> {
    let outcomes = join_all(events.into_iter().map(|event| repository.record(event))).await;
    outcomes
        .into_iter()
        .map(|outcome| outcome.expect("an event is recorded"))
        .collect()
}

/// Of many messages in one second, all count and one scores. Each caller gets a different count, as
/// if the calls had been sequential.
pub async fn concurrent_messages_of_one_member_all_count(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let events = (0..CALLERS).map(|_| message(member, MIDNIGHT));
    let outcomes = record_at_once(&*repository, events).await;
    let scored = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, EventOutcome::Scored(_)));
    assert_eq!(scored.count(), 1);
    let mut answered: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| shown(outcome).messages)
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=CALLERS.into()).collect::<Vec<u64>>());

    let record = known(&*repository, member).await;
    assert_eq!(
        (record.score, record.messages),
        (score(1.0), CALLERS.into())
    );
    let day = Period::Day(GuildTimeZone::default().day_of(at(MIDNIGHT)));
    let counted = repository
        .messages_in(member, day)
        .await
        .expect("messages are counted");
    assert_eq!(counted, u64::from(CALLERS));
}

/// Of many events with one id, by different members, one counts and the others are duplicates.
pub async fn concurrent_events_of_one_id_count_once(repository: Arc<dyn ActivityRepository>) {
    let events = (1..=CALLERS).map(|user| message_with_id(7, member(1, user.into()), MIDNIGHT));
    let outcomes = record_at_once(&*repository, events).await;
    let counted: Vec<_> = outcomes
        .into_iter()
        .filter(|outcome| *outcome != EventOutcome::Duplicate)
        .collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    let record = shown(counted[0]);
    assert_eq!(known(&*repository, record.member).await, record);
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(
        counts,
        ActivityCounts {
            members: 1,
            guilds: 1,
            messages: 1
        }
    );
}

/// No adjustment is lost, and each caller gets a different score.
pub async fn concurrent_adjustments_all_add_up(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let half = (0..CALLERS / 2).map(|_| repository.adjust_score(member, delta(0.5), at(MIDNIGHT)));
    let mut answered: Vec<_> = join_all(half)
        .await
        .into_iter()
        .map(|answer| answer.expect("a score is adjusted").score)
        .collect();
    answered.sort_unstable();
    let expected: Vec<_> = (1..=CALLERS / 2)
        .map(|count| score(f64::from(count) * 0.5))
        .collect();
    assert_eq!(answered, expected);
    assert_eq!(
        known(&*repository, member).await.score,
        score(f64::from(CALLERS / 2) * 0.5)
    );
    let rules = repository
        .guild_rules(guild(1))
        .await
        .expect("rules are read");
    assert!(
        f64::from(CALLERS / 2) * 0.5 <= rules.score.max_score(),
        "nothing was clamped"
    );
}

/// A batch takes effect at one moment: no other event is recorded between its events.
pub async fn concurrent_batches_are_not_mixed(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let batches = (0..CALLERS / 10).map(|_| {
        let singles = record_at_once(&*repository, [message(member, MIDNIGHT); 3]);
        let batch = repository.record_many(vec![message(member, MIDNIGHT); 7]);
        async {
            (
                singles.await.len(),
                batch.await.expect("a batch is recorded"),
            )
        }
    });
    for (singles, outcomes) in join_all(batches).await {
        assert_eq!((singles, outcomes.len()), (3, 7));
        let counts: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| shown(outcome).messages)
            .collect();
        let expected: Vec<_> = (counts[0]..).take(7).collect();
        assert_eq!(counts, expected);
    }
    assert_eq!(
        known(&*repository, member).await.messages,
        u64::from(CALLERS)
    );
}
