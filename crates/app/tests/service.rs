//! The service over the in-memory repository, and over one that fails.

use std::sync::Arc;

use roas_app::service::{ActivityMeterService, MemberView, Places, Ranking};
use roas_domain::testing::fixtures::{
    MIDNIGHT, at, delta, guild, member, message, message_with_id, score, user, zone,
};
use roas_domain::testing::{ManualClock, MemoryRepository, MockActivityRepository};
use roas_domain::{
    ActivityCounts, ActivityRecord, EventOutcome, GuildRules, LeaderboardLimit, MessageEntry,
    Period, Rank, RepositoryError, RepositoryErrorKind, ScoreEntry, ScoreRules,
};

const HOUR: i64 = 3_600;

/// A service over an empty repository, at midnight.
fn empty() -> (ActivityMeterService, ManualClock) {
    let clock = ManualClock::new(at(MIDNIGHT));
    let repository = Arc::new(MemoryRepository::new());
    (
        ActivityMeterService::new(repository, Arc::new(clock.clone())),
        clock,
    )
}

fn over(repository: MockActivityRepository) -> ActivityMeterService {
    ActivityMeterService::new(
        Arc::new(repository),
        Arc::new(ManualClock::new(at(MIDNIGHT))),
    )
}

fn closed() -> RepositoryError {
    RepositoryError::new(RepositoryErrorKind::Closed, "closed")
}

fn record() -> ActivityRecord {
    let member = member(1, 7);
    ActivityRecord {
        member,
        score: score(5.0),
        last_message_at: at(MIDNIGHT),
        messages: 3,
    }
}

#[tokio::test]
async fn every_way_to_record_records() {
    let (service, _) = empty();
    let event = |id, seconds| message_with_id(id, member(1, 7), MIDNIGHT + seconds);
    assert!(matches!(
        service.record(event(1, 0)).await,
        Ok(EventOutcome::Scored(_))
    ));
    assert!(matches!(
        service.try_record(event(2, 1)).await,
        Ok(EventOutcome::CoolingDown(_))
    ));
    let outcomes = service
        .record_many(vec![event(2, 1), event(3, 60)])
        .await
        .unwrap();
    assert!(matches!(
        outcomes[..],
        [EventOutcome::Duplicate, EventOutcome::Scored(_)]
    ));
    let counts = service.counts().await.unwrap();
    assert_eq!(
        counts,
        ActivityCounts {
            members: 1,
            guilds: 1,
            messages: 3
        }
    );
}

#[tokio::test]
async fn an_adjustment_answers_the_record() {
    let (service, _) = empty();
    let record = service
        .adjust(member(1, 7), delta(5.0), at(MIDNIGHT))
        .await
        .unwrap();
    assert_eq!((record.score, record.messages), (score(5.0), 0));
}

#[tokio::test]
async fn an_unknown_member_is_none() {
    let (service, _) = empty();
    assert_eq!(service.member(member(1, 7), None).await.unwrap(), None);
}

#[tokio::test]
async fn a_member_is_seen_at_the_clocks_time_or_any_other() {
    let (service, clock) = empty();
    let member = member(1, 7);
    for seconds in [-HOUR, 0, 60, 120] {
        service
            .record(message(member, MIDNIGHT + seconds))
            .await
            .unwrap();
    }
    clock.set(at(MIDNIGHT + 120 + 300 + 600));

    let view = service.member(member, None).await.unwrap().unwrap();
    // The first point was gone by midnight but for what the decay took: 1 − 6·3300/3600 < 0.
    let record = ActivityRecord {
        member,
        score: score(3.0),
        last_message_at: at(MIDNIGHT + 120),
        messages: 4,
    };
    let now = at(MIDNIGHT + 1_020);
    let expected = MemberView {
        record,
        at: now,
        score: score(2.0),
        messages_today: 3,
        messages_this_month: 4,
        today: "20250822".parse().unwrap(),
        rank: Rank {
            position: 1,
            members: 1,
        },
    };
    assert_eq!(view, expected);

    let yesterday = service
        .member(member, Some(at(MIDNIGHT - 1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(yesterday.at, at(MIDNIGHT - 1));
    assert_eq!(
        (yesterday.messages_today, yesterday.messages_this_month),
        (1, 4)
    );
    let next_month = at(MIDNIGHT + 24 * HOUR * 14);
    let later = service
        .member(member, Some(next_month))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((later.messages_today, later.messages_this_month), (0, 0));
    assert_eq!(later.score, score(0.0));
}

#[tokio::test]
async fn the_guilds_zone_decides_what_today_is() {
    let (service, _) = empty();
    let new_york = GuildRules {
        time_zone: zone("America/New_York"),
        ..GuildRules::default()
    };
    service.set_rules(guild(1), new_york.clone()).await.unwrap();
    assert_eq!(service.rules(guild(1)).await.unwrap(), new_york);
    assert_eq!(
        service.rules(guild(2)).await.unwrap(),
        GuildRules::default()
    );

    let member = member(1, 7);
    for seconds in [-HOUR, 0] {
        service
            .record(message(member, MIDNIGHT + seconds))
            .await
            .unwrap();
    }
    let view = service.member(member, None).await.unwrap().unwrap();
    assert_eq!(
        (view.today.to_string().as_str(), view.messages_today),
        ("20250821", 2)
    );
    let board = service.leaderboard(guild(1), Ranking::Day, None, LeaderboardLimit::default());
    let Places::Messages { period, entries } = board.await.unwrap().places else {
        panic!()
    };
    assert_eq!(period, Period::Day("20250821".parse().unwrap()));
    assert_eq!(
        entries,
        [MessageEntry {
            rank: 1,
            user: user(7),
            messages: 2
        }]
    );
}

#[tokio::test]
async fn the_score_is_decayed_under_the_guilds_own_rules() {
    let (service, clock) = empty();
    let rules = ScoreRules::default().with_decay_per_hour(0.0).unwrap();
    let rules = GuildRules {
        score: rules,
        ..GuildRules::default()
    };
    service.set_rules(guild(1), rules).await.unwrap();
    for guild_id in [1, 2] {
        service
            .record(message(member(guild_id, 7), MIDNIGHT))
            .await
            .unwrap();
    }
    clock.advance(24 * HOUR);
    let seen = |guild_id| service.member(member(guild_id, 7), None);
    assert_eq!(seen(1).await.unwrap().unwrap().score, score(1.0));
    assert_eq!(seen(2).await.unwrap().unwrap().score, score(0.0));
}

#[tokio::test]
async fn leaderboards_rank_by_score_day_or_month() {
    let (service, clock) = empty();
    // User 8 writes most, but within the cooldown; user 9 wrote yesterday.
    for (user_id, seconds) in [
        (7, 0),
        (7, 60),
        (8, 0),
        (8, 1),
        (8, 2),
        (9, -5 * HOUR),
        (9, -4 * HOUR),
    ] {
        service
            .record(message(member(1, user_id), MIDNIGHT + seconds))
            .await
            .unwrap();
    }
    clock.set(at(MIDNIGHT + 60));
    let limit = LeaderboardLimit::new(2).unwrap();

    let board = service
        .leaderboard(guild(1), Ranking::Score, None, limit)
        .await
        .unwrap();
    assert_eq!(board.at, at(MIDNIGHT + 60));
    let entry = |rank, user_id, points, last| ScoreEntry {
        rank,
        user: user(user_id),
        score: score(points),
        last_message_at: at(MIDNIGHT + last),
    };
    assert_eq!(
        board.places,
        Places::Scores(vec![entry(1, 7, 2.0, 60), entry(2, 8, 1.0, 0)])
    );

    let count = |rank, user_id, messages| MessageEntry {
        rank,
        user: user(user_id),
        messages,
    };
    let day = Period::Day("20250822".parse().unwrap());
    let board = service
        .leaderboard(guild(1), Ranking::Day, None, limit)
        .await
        .unwrap();
    let entries = vec![count(1, 8, 3), count(2, 7, 2)];
    assert_eq!(
        board.places,
        Places::Messages {
            period: day,
            entries
        }
    );

    let month = Period::Month("202508".parse().unwrap());
    let ten = LeaderboardLimit::default();
    let board = service
        .leaderboard(guild(1), Ranking::Month, None, ten)
        .await
        .unwrap();
    let entries = vec![count(1, 8, 3), count(2, 7, 2), count(3, 9, 2)];
    assert_eq!(
        board.places,
        Places::Messages {
            period: month,
            entries
        }
    );

    let before = Some(at(MIDNIGHT - 1));
    let board = service
        .leaderboard(guild(1), Ranking::Day, before, ten)
        .await
        .unwrap();
    let Places::Messages { entries, .. } = board.places else {
        panic!("by messages")
    };
    assert_eq!(entries, [count(1, 9, 2)]);
}

#[tokio::test]
async fn errors_of_the_repository_come_through_unchanged() {
    let mut repository = MockActivityRepository::new();
    let overloaded = || RepositoryError::new(RepositoryErrorKind::Overloaded, "full");
    repository
        .expect_record()
        .times(1)
        .returning(|_| Err(closed()));
    repository
        .expect_try_record()
        .times(1)
        .returning(move |_| Err(overloaded()));
    repository
        .expect_record_many()
        .times(1)
        .returning(|_| Err(closed()));
    repository
        .expect_adjust_score()
        .times(1)
        .returning(|_, _, _| Err(closed()));
    repository
        .expect_top_scores()
        .times(1)
        .returning(|_, _, _| Err(closed()));
    repository
        .expect_guild_rules()
        .times(2)
        .returning(|_| Err(closed()));
    repository
        .expect_set_guild_rules()
        .times(1)
        .returning(|_, _| Err(closed()));
    repository
        .expect_counts()
        .times(1)
        .returning(|| Err(closed()));
    let service = over(repository);

    let event = message(member(1, 7), MIDNIGHT);
    let kinds = [
        service.record(event).await.unwrap_err().kind(),
        service.record_many(vec![event]).await.unwrap_err().kind(),
        service
            .adjust(member(1, 7), delta(1.0), at(0))
            .await
            .unwrap_err()
            .kind(),
        service
            .leaderboard(guild(1), Ranking::Score, None, LeaderboardLimit::default())
            .await
            .unwrap_err()
            .kind(),
        service
            .leaderboard(guild(1), Ranking::Day, None, LeaderboardLimit::default())
            .await
            .unwrap_err()
            .kind(),
        service.rules(guild(1)).await.unwrap_err().kind(),
        service
            .set_rules(guild(1), GuildRules::default())
            .await
            .unwrap_err()
            .kind(),
        service.counts().await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [RepositoryErrorKind::Closed; 8]);
    assert!(service.try_record(event).await.unwrap_err().is_retryable());
}

/// A repository that knows the member, of which one part is made to fail by the test.
fn knowing_the_member() -> MockActivityRepository {
    let mut repository = MockActivityRepository::new();
    repository
        .expect_find_member()
        .returning(|_| Ok(Some(record())));
    repository
        .expect_guild_rules()
        .returning(|_| Ok(GuildRules::default()));
    repository
}

#[tokio::test]
async fn a_member_is_not_shown_where_any_part_fails() {
    let mut unfound = MockActivityRepository::new();
    unfound.expect_find_member().returning(|_| Err(closed()));
    unfound
        .expect_guild_rules()
        .returning(|_| Ok(GuildRules::default()));

    let mut uncounted = knowing_the_member();
    uncounted
        .expect_messages_in()
        .returning(|_, _| Err(closed()));
    uncounted.expect_score_rank().returning(|_, _| {
        Ok(Some(Rank {
            position: 1,
            members: 1,
        }))
    });

    let mut unranked = knowing_the_member();
    unranked.expect_messages_in().returning(|_, _| Ok(3));
    unranked.expect_score_rank().returning(|_, _| Err(closed()));

    for repository in [unfound, uncounted, unranked] {
        let error = over(repository)
            .member(member(1, 7), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), RepositoryErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_member_that_is_gone_between_two_reads_is_none() {
    let mut repository = knowing_the_member();
    repository.expect_messages_in().returning(|_, _| Ok(0));
    repository.expect_score_rank().returning(|_, _| Ok(None));
    assert_eq!(
        over(repository).member(member(1, 7), None).await.unwrap(),
        None
    );
}
