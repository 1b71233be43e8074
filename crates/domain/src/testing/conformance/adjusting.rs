//! Adjustments of a score, and how they interact with events.

use std::sync::Arc;

use super::{known, record_all, set_score_rules, shown};
use crate::activity::{ActivityRecord, EventOutcome, MemberKey};
use crate::query::{ActivityCounts, Period, Rank};
use crate::repository::ActivityRepository;
use crate::score::ScoreRules;
use crate::testing::fixtures::{MIDNIGHT, at, delta, member, message, score};
use crate::time::GuildTimeZone;

async fn adjust(
    repository: &dyn ActivityRepository,
    member: MemberKey,
    points: f64,
    seconds: i64,
) -> ActivityRecord {
    let answer = repository
        .adjust_score(member, delta(points), at(seconds))
        .await;
    let answer = answer.expect("a score is adjusted");
    assert_eq!(
        known(repository, member).await,
        answer,
        "the returned record is the stored one"
    );
    answer
}

/// A member without messages is inserted, with the delta as the score.
pub async fn an_adjustment_inserts_an_unknown_member(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let answer = adjust(&*repository, member, 7.5, MIDNIGHT).await;
    let expected = ActivityRecord {
        member,
        score: score(7.5),
        last_message_at: at(MIDNIGHT),
        messages: 0,
    };
    assert_eq!(answer, expected);

    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(
        counts,
        ActivityCounts {
            members: 1,
            guilds: 1,
            messages: 0
        }
    );
    let rank = repository
        .score_rank(member, at(MIDNIGHT))
        .await
        .expect("a rank");
    assert_eq!(
        rank,
        Some(Rank {
            position: 1,
            members: 1
        })
    );
    let day = Period::Day(GuildTimeZone::default().day_of(at(MIDNIGHT)));
    assert_eq!(
        repository.messages_in(member, day).await.expect("a count"),
        0
    );
}

/// Deltas add up without decay and are clamped to 0 and the maximum, for new and known members.
pub async fn adjustments_add_up_within_zero_and_the_maximum(
    repository: Arc<dyn ActivityRepository>,
) {
    let one = member(1, 1);
    let steps = [
        (2.5, 2.5),
        (0.25, 2.75),
        (-1.0, 1.75),
        (-1e9, 0.0),
        (1e9, 100.0),
        (0.0, 100.0),
    ];
    for (day, (points, expected)) in (0..).zip(steps) {
        let answer = adjust(&*repository, one, points, MIDNIGHT + day * 86_400).await;
        assert_eq!(answer.score, score(expected), "after {points}");
    }
    assert_eq!(
        adjust(&*repository, member(1, 2), -3.0, MIDNIGHT)
            .await
            .score,
        score(0.0)
    );
    assert_eq!(
        adjust(&*repository, member(1, 3), 300.0, MIDNIGHT)
            .await
            .score,
        score(100.0)
    );

    let rules = ScoreRules::default()
        .with_max_score(10.0)
        .expect("legal rules");
    set_score_rules(&*repository, 2, rules).await;
    assert_eq!(
        adjust(&*repository, member(2, 1), 300.0, MIDNIGHT)
            .await
            .score,
        score(10.0)
    );
}

/// A member's last time never decreases.
pub async fn an_adjustment_keeps_the_later_time(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    record_all(&*repository, [message(member, MIDNIGHT)]).await;
    let earlier = adjust(&*repository, member, 1.0, MIDNIGHT - 500).await;
    assert_eq!(
        (earlier.score, earlier.last_message_at),
        (score(2.0), at(MIDNIGHT))
    );
    let later = adjust(&*repository, member, 1.0, MIDNIGHT + 500).await;
    assert_eq!(
        (later.score, later.last_message_at),
        (score(3.0), at(MIDNIGHT + 500))
    );
    assert_eq!(later.messages, 1);
}

/// An event continues from the score and time that an adjustment set.
pub async fn the_next_event_sees_an_adjustment(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    record_all(&*repository, [message(member, MIDNIGHT)]).await;
    let adjusted = adjust(&*repository, member, 20.0, MIDNIGHT + 60).await;
    assert_eq!(adjusted.score, score(21.0));

    // The adjustment sets the last time, so messages within the following minute cool down.
    let outcomes = record_all(
        &*repository,
        [100, 120].map(|after| message(member, MIDNIGHT + after)),
    )
    .await;
    let cooling = ActivityRecord {
        messages: 2,
        ..adjusted
    };
    assert_eq!(outcomes[0], EventOutcome::CoolingDown(cooling));
    let scored = ActivityRecord {
        score: score(22.0),
        last_message_at: at(MIDNIGHT + 120),
        messages: 3,
        ..adjusted
    };
    assert_eq!(outcomes[1], EventOutcome::Scored(scored));
}

/// A member that an adjustment created is known: the first event follows the rule for later ones,
/// with cooldown and decay.
pub async fn a_member_created_by_an_adjustment_has_no_first_message(
    repository: Arc<dyn ActivityRepository>,
) {
    let (soon, late) = (member(1, 1), member(1, 2));
    let made = adjust(&*repository, soon, 30.0, MIDNIGHT).await;
    let outcomes = record_all(&*repository, [message(soon, MIDNIGHT + 10)]).await;
    let expected = ActivityRecord {
        messages: 1,
        ..made
    };
    assert_eq!(outcomes, [EventOutcome::CoolingDown(expected)]);

    adjust(&*repository, late, 30.0, MIDNIGHT).await;
    let resumed = MIDNIGHT + 300 + 3_600;
    let record = shown(record_all(&*repository, [message(late, resumed)]).await[0]);
    assert_eq!((record.score, record.messages), (score(25.0), 1));
    assert_eq!(record.last_message_at, at(resumed));
}
