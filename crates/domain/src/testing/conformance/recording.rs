//! Events: what one changes, which ones count, and batches.

use std::sync::Arc;

use super::{known, record_all, set_score_rules, shown};
use crate::activity::{ActivityRecord, EventOutcome};
use crate::error::{Effect, RepositoryErrorKind};
use crate::query::{ActivityCounts, LeaderboardLimit, Period};
use crate::repository::{ActivityRepository, MAX_EVENTS_PER_CALL};
use crate::score::ScoreRules;
use crate::testing::fixtures::{MIDNIGHT, at, guild, member, message, message_with_id, score};
use crate::time::{GuildTimeZone, UnixSeconds};

/// A member's first message sets the score to the gain and the last time to its own.
pub async fn a_first_message_scores_the_gain(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let outcomes = record_all(&*repository, [message(member, MIDNIGHT)]).await;
    let expected = ActivityRecord {
        member,
        score: score(1.0),
        last_message_at: at(MIDNIGHT),
        messages: 1,
    };
    assert_eq!(outcomes, [EventOutcome::Scored(expected)]);
    assert_eq!(known(&*repository, member).await, expected);
}

/// A message before the end of the cooldown only raises the count; the one at its end scores.
pub async fn a_message_within_the_cooldown_is_counted_only(
    repository: Arc<dyn ActivityRepository>,
) {
    let member = member(1, 1);
    let messages = [0, 59, 60].map(|after| message(member, MIDNIGHT + after));
    let outcomes = record_all(&*repository, messages).await;
    let first = ActivityRecord {
        member,
        score: score(1.0),
        last_message_at: at(MIDNIGHT),
        messages: 1,
    };
    let third = ActivityRecord {
        score: score(2.0),
        last_message_at: at(MIDNIGHT + 60),
        messages: 3,
        ..first
    };
    assert_eq!(
        outcomes,
        [
            EventOutcome::Scored(first),
            EventOutcome::CoolingDown(ActivityRecord {
                messages: 2,
                ..first
            }),
            EventOutcome::Scored(third),
        ]
    );
    assert_eq!(known(&*repository, member).await, third);
}

/// A message older than the last one only raises the count, however late it is.
pub async fn a_late_message_is_counted_and_never_moves_time_back(
    repository: Arc<dyn ActivityRepository>,
) {
    let member = member(1, 1);
    let messages = [0, -1, -90_000].map(|after| message(member, MIDNIGHT + after));
    let outcomes = record_all(&*repository, messages).await;
    let expected = ActivityRecord {
        member,
        score: score(1.0),
        last_message_at: at(MIDNIGHT),
        messages: 3,
    };
    assert_eq!(outcomes[2], EventOutcome::CoolingDown(expected));
    assert_eq!(known(&*repository, member).await, expected);
}

/// After an hour and the grace, the score has lost 6 before the gain is added; after days it is 0
/// before the gain, not less.
pub async fn a_message_after_a_pause_pays_the_decay_first(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let score_at = |outcome: &EventOutcome| shown(*outcome).score;
    let active = (0..10).map(|minute| message(member, MIDNIGHT + minute * 60));
    let outcomes = record_all(&*repository, active).await;
    assert_eq!(outcomes.last().map(score_at), Some(score(10.0)));

    let resumed = MIDNIGHT + 540 + 300 + 3_600;
    let outcomes = record_all(&*repository, [message(member, resumed)]).await;
    assert_eq!(outcomes.last().map(score_at), Some(score(5.0)));

    let outcomes = record_all(&*repository, [message(member, resumed + 10 * 86_400)]).await;
    assert_eq!(outcomes.last().map(score_at), Some(score(1.0)));
}

/// No message raises the score above the guild's maximum, not even the first.
pub async fn the_maximum_holds(repository: Arc<dyn ActivityRepository>) {
    let rules = ScoreRules::default()
        .with_max_score(2.5)
        .and_then(|rules| rules.with_gain_per_message(2.0))
        .expect("legal rules");
    set_score_rules(&*repository, 1, rules).await;
    let steady = (0..3).map(|minute| message(member(1, 1), MIDNIGHT + minute * 60));
    let scores: Vec<_> = record_all(&*repository, steady)
        .await
        .into_iter()
        .map(|outcome| shown(outcome).score)
        .collect();
    assert_eq!(scores, [score(2.0), score(2.5), score(2.5)]);

    let greedy = rules.with_gain_per_message(9.0).expect("legal rules");
    set_score_rules(&*repository, 1, greedy).await;
    let outcomes = record_all(&*repository, [message(member(1, 2), MIDNIGHT)]).await;
    assert_eq!(shown(outcomes[0]).score, score(2.5));
}

/// Without ids, equal events all count.
pub async fn events_without_an_id_always_count(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let outcomes = record_all(&*repository, [message(member, MIDNIGHT); 5]).await;
    assert!(!outcomes.contains(&EventOutcome::Duplicate), "{outcomes:?}");
    assert_eq!(known(&*repository, member).await.messages, 5);
}

/// An event that was recorded before changes nothing, whichever operation records it.
pub async fn the_same_id_counts_once(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let event = message_with_id(7, member, MIDNIGHT);
    record_all(&*repository, [event]).await;
    let before = known(&*repository, member).await;

    assert_eq!(
        record_all(&*repository, [event]).await,
        [EventOutcome::Duplicate]
    );
    let tried = repository
        .try_record(event)
        .await
        .expect("an event is tried");
    assert_eq!(tried, EventOutcome::Duplicate);
    let batch = repository
        .record_many(vec![event])
        .await
        .expect("a batch is recorded");
    assert_eq!(batch, [EventOutcome::Duplicate]);

    assert_eq!(known(&*repository, member).await, before);
    let day = Period::Day(GuildTimeZone::default().day_of(at(MIDNIGHT)));
    assert_eq!(
        repository
            .messages_in(member, day)
            .await
            .expect("messages are counted"),
        1
    );
}

/// An id identifies the message: another member, guild or time does not make it a different event.
pub async fn the_same_id_counts_once_for_any_member_and_time(
    repository: Arc<dyn ActivityRepository>,
) {
    let first = message_with_id(7, member(1, 1), MIDNIGHT);
    let others = [
        message_with_id(7, member(1, 2), MIDNIGHT),
        message_with_id(7, member(2, 1), MIDNIGHT),
        message_with_id(7, member(1, 1), MIDNIGHT + 3_600),
        message_with_id(7, member(1, 1), MIDNIGHT - 3_600),
    ];
    record_all(&*repository, [first]).await;
    let before = known(&*repository, first.member).await;
    assert_eq!(
        record_all(&*repository, others).await,
        [EventOutcome::Duplicate; 4]
    );
    assert_eq!(known(&*repository, first.member).await, before);
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

/// Within a batch the first event with an id counts, and later ones are duplicates.
pub async fn the_same_id_counts_once_within_a_batch(repository: Arc<dyn ActivityRepository>) {
    let batch = vec![
        message_with_id(7, member(1, 1), MIDNIGHT),
        message_with_id(7, member(1, 1), MIDNIGHT + 60),
        message_with_id(8, member(1, 1), MIDNIGHT + 120),
        message_with_id(7, member(1, 2), MIDNIGHT),
    ];
    let outcomes = repository
        .record_many(batch)
        .await
        .expect("a batch is recorded");
    assert_eq!(shown(outcomes[0]).messages, 1);
    assert_eq!(outcomes[1], EventOutcome::Duplicate);
    let record = shown(outcomes[2]);
    assert_eq!((record.score, record.messages), (score(2.0), 2));
    assert_eq!(outcomes[3], EventOutcome::Duplicate);
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(
        counts,
        ActivityCounts {
            members: 1,
            guilds: 1,
            messages: 2
        }
    );
}

/// If there is space, `try_record` does what `record` does.
pub async fn try_record_records_as_record_does(repository: Arc<dyn ActivityRepository>) {
    let (tried, recorded) = (member(1, 1), member(2, 1));
    for after in [0, 30, 60, 4_000, 10] {
        let one = repository
            .try_record(message(tried, MIDNIGHT + after))
            .await;
        let other = repository.record(message(recorded, MIDNIGHT + after)).await;
        let one = shown(one.expect("an event is tried"));
        let other = shown(other.expect("an event is recorded"));
        assert_eq!(
            ActivityRecord {
                member: recorded,
                ..one
            },
            other
        );
        assert_eq!(known(&*repository, tried).await, one);
    }
}

/// A batch is applied in the given order, so each outcome shows the effect of those before it.
pub async fn a_batch_returns_outcomes_in_order(repository: Arc<dyn ActivityRepository>) {
    let (one, two) = (member(1, 1), member(1, 2));
    let batch = vec![
        message(one, MIDNIGHT),
        message(two, MIDNIGHT + 5),
        message(one, MIDNIGHT + 60),
        message(one, MIDNIGHT + 30),
        message(two, MIDNIGHT),
    ];
    let outcomes = repository
        .record_many(batch)
        .await
        .expect("a batch is recorded");
    let record = |member, points, last, messages| ActivityRecord {
        member,
        score: score(points),
        last_message_at: at(MIDNIGHT + last),
        messages,
    };
    assert_eq!(
        outcomes,
        [
            EventOutcome::Scored(record(one, 1.0, 0, 1)),
            EventOutcome::Scored(record(two, 1.0, 5, 1)),
            EventOutcome::Scored(record(one, 2.0, 60, 2)),
            EventOutcome::CoolingDown(record(one, 2.0, 60, 3)),
            EventOutcome::CoolingDown(record(two, 1.0, 5, 2)),
        ]
    );
    assert_eq!(known(&*repository, one).await, record(one, 2.0, 60, 3));
    assert_eq!(known(&*repository, two).await, record(two, 1.0, 5, 2));
}

/// No events, no outcomes, no change.
pub async fn an_empty_batch_changes_nothing(repository: Arc<dyn ActivityRepository>) {
    let outcomes = repository
        .record_many(Vec::new())
        .await
        .expect("an empty batch is recorded");
    assert!(outcomes.is_empty(), "{outcomes:?}");
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(counts, ActivityCounts::default());
}

/// The largest batch that the port allows is recorded in full.
pub async fn a_batch_of_the_largest_size_is_recorded(repository: Arc<dyn ActivityRepository>) {
    let batch: Vec<_> = (0_u64..)
        .take(MAX_EVENTS_PER_CALL)
        .map(|index| message_with_id(index + 1, member(1, index % 7 + 1), MIDNIGHT))
        .collect();
    let outcomes = repository
        .record_many(batch.clone())
        .await
        .expect("a batch is recorded");
    assert_eq!(outcomes.len(), MAX_EVENTS_PER_CALL);
    for (event, outcome) in batch.iter().zip(outcomes) {
        assert_eq!(shown(outcome).member, event.member);
    }
    let counts = repository.counts().await.expect("a repository counts");
    let messages = MAX_EVENTS_PER_CALL as u64;
    assert_eq!(
        counts,
        ActivityCounts {
            members: 7,
            guilds: 1,
            messages
        }
    );
}

/// A batch with one event more is refused as a whole, and its ids are not remembered.
pub async fn a_batch_that_is_too_large_is_refused_and_changes_nothing(
    repository: Arc<dyn ActivityRepository>,
) {
    let known_before = message_with_id(1, member(1, 1), MIDNIGHT);
    record_all(&*repository, [known_before]).await;
    let before = known(&*repository, known_before.member).await;

    let fresh = message_with_id(2, member(1, 1), MIDNIGHT + 60);
    let error = repository
        .record_many(vec![fresh; MAX_EVENTS_PER_CALL + 1])
        .await
        .expect_err("a batch that is too large is refused");
    assert_eq!(error.kind(), RepositoryErrorKind::InvalidRequest);
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(!error.is_retryable());
    assert_eq!(known(&*repository, known_before.member).await, before);

    let outcomes = record_all(&*repository, [fresh]).await;
    assert_eq!(shown(outcomes[0]).messages, 2);
}

/// Nothing is returned for a member who never wrote, whether or not the guild has others, and
/// querying does not create a member.
pub async fn nothing_is_known_of_an_unknown_member(repository: Arc<dyn ActivityRepository>) {
    record_all(&*repository, [message(member(1, 1), MIDNIGHT)]).await;
    let day = GuildTimeZone::default().day_of(at(MIDNIGHT));
    let limit = LeaderboardLimit::default();
    for stranger in [member(1, 2), member(2, 1), member(2, 2)] {
        assert_eq!(
            repository.find_member(stranger).await.expect("a lookup"),
            None
        );
        let rank = repository
            .score_rank(stranger, at(MIDNIGHT))
            .await
            .expect("a rank");
        assert_eq!(rank, None);
        for period in [Period::Day(day), Period::Month(day.month())] {
            let messages = repository
                .messages_in(stranger, period)
                .await
                .expect("a count");
            assert_eq!(messages, 0);
        }
    }
    let scores = repository.top_scores(guild(2), at(MIDNIGHT), limit).await;
    assert_eq!(scores.expect("a leaderboard"), []);
    let messages = repository
        .top_messages(guild(2), Period::Day(day), limit)
        .await;
    assert_eq!(messages.expect("a leaderboard"), []);
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

/// Ids from 1 to 2^63 − 1 are stored unchanged, and sorted.
pub async fn the_smallest_and_largest_ids_are_stored_unchanged(
    repository: Arc<dyn ActivityRepository>,
) {
    const MAX: u64 = i64::MAX as u64;
    let members = [
        member(1, 1),
        member(1, MAX),
        member(MAX, 1),
        member(MAX, MAX),
    ];
    for (id, member) in [1, MAX, 2, MAX - 1].into_iter().zip(members) {
        let event = message_with_id(id, member, MIDNIGHT);
        let outcomes = record_all(&*repository, [event, event]).await;
        assert_eq!(shown(outcomes[0]).member, member);
        assert_eq!(outcomes[1], EventOutcome::Duplicate);
    }
    for member in members {
        let record = known(&*repository, member).await;
        assert_eq!((record.member, record.messages), (member, 1));
    }
    for guild_id in [1, MAX] {
        let limit = LeaderboardLimit::default();
        let entries = repository
            .top_scores(guild(guild_id), at(MIDNIGHT), limit)
            .await;
        let users: Vec<_> = entries
            .expect("a leaderboard")
            .iter()
            .map(|entry| entry.user.get())
            .collect();
        assert_eq!(users, [1, MAX]);
    }
}

/// Times from 1970 to 5138 are stored unchanged, in every query.
pub async fn the_first_and_last_times_are_stored_unchanged(
    repository: Arc<dyn ActivityRepository>,
) {
    let limit = LeaderboardLimit::default();
    let zone = GuildTimeZone::default();
    for (guild_id, time) in [(1, UnixSeconds::MIN), (2, UnixSeconds::MAX)] {
        let member = member(guild_id, 1);
        let outcomes = record_all(&*repository, [message(member, time.get())]).await;
        assert_eq!(shown(outcomes[0]).last_message_at, time);
        assert_eq!(known(&*repository, member).await.last_message_at, time);
        let day = zone.day_of(time);
        for period in [Period::Day(day), Period::Month(day.month())] {
            assert_eq!(
                repository
                    .messages_in(member, period)
                    .await
                    .expect("a count"),
                1
            );
        }
        for asked in [UnixSeconds::MIN, UnixSeconds::MAX] {
            let entries = repository.top_scores(member.guild, asked, limit).await;
            let entries = entries.expect("a leaderboard");
            assert_eq!(entries[0].last_message_at, time);
            let left = if asked > time { 0.0 } else { 1.0 };
            assert_eq!(entries[0].score, score(left));
        }
    }
    // From the first time to the last: everything decays except the gain.
    let outcomes = record_all(
        &*repository,
        [message(member(1, 1), UnixSeconds::MAX.get())],
    )
    .await;
    let record = shown(outcomes[0]);
    assert_eq!(
        (record.score, record.last_message_at),
        (score(1.0), UnixSeconds::MAX)
    );
}
