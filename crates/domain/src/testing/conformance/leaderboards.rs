//! Leaderboards by score, and ranks.

use std::sync::Arc;

use super::{known, record_all};
use crate::id::GuildId;
use crate::query::{LeaderboardLimit, Rank, ScoreEntry};
use crate::repository::ActivityRepository;
use crate::score::{Score, ScoreRules};
use crate::testing::fixtures::{MIDNIGHT, at, delta, guild, member, message, score, user};
use crate::time::UnixSeconds;

fn limit(places: u16) -> LeaderboardLimit {
    LeaderboardLimit::new(places).expect("a legal limit")
}

async fn top(
    repository: &dyn ActivityRepository,
    guild: GuildId,
    at: UnixSeconds,
    places: u16,
) -> Vec<ScoreEntry> {
    repository
        .top_scores(guild, at, limit(places))
        .await
        .expect("a leaderboard")
}

/// The users of a leaderboard, in order.
fn users(entries: &[ScoreEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.user.get()).collect()
}

/// Creates a member of guild 1 with `points`, last active `seconds` after midnight.
async fn give(repository: &dyn ActivityRepository, user_id: u64, points: f64, seconds: i64) {
    let adjusted = repository
        .adjust_score(member(1, user_id), delta(points), at(MIDNIGHT + seconds))
        .await;
    adjusted.expect("a score is adjusted");
}

/// The score at the requested time decides: a recently active member overtakes one whose higher
/// score has decayed since, and had not done so at an earlier time.
pub async fn a_leaderboard_ranks_by_the_score_at_the_time_asked_for(
    repository: Arc<dyn ActivityRepository>,
) {
    let (idle, active) = (1, 2);
    let active_since = 300 + 2 * 3_600;
    give(&*repository, idle, 20.0, 0).await;
    give(&*repository, active, 10.0, active_since).await;

    let entry = |rank, user_id, points, seconds| ScoreEntry {
        rank,
        user: user(user_id),
        score: score(points),
        last_message_at: at(MIDNIGHT + seconds),
    };
    // Two hours of decay cost the idle member 12 points.
    let later = top(&*repository, guild(1), at(MIDNIGHT + active_since), 10).await;
    assert_eq!(
        later,
        [entry(1, active, 10.0, active_since), entry(2, idle, 8.0, 0)]
    );
    let sooner = top(&*repository, guild(1), at(MIDNIGHT + 300 + 3_600), 10).await;
    assert_eq!(
        sooner,
        [
            entry(1, idle, 14.0, 0),
            entry(2, active, 10.0, active_since)
        ]
    );
    // Before a member's last message there is no decay.
    let before = top(&*repository, guild(1), at(0), 10).await;
    assert_eq!(
        before,
        [
            entry(1, idle, 20.0, 0),
            entry(2, active, 10.0, active_since)
        ]
    );

    for (time, first) in [(active_since, active), (300 + 3_600, idle)] {
        let rank = repository
            .score_rank(member(1, first), at(MIDNIGHT + time))
            .await;
        assert_eq!(
            rank.expect("a rank"),
            Some(Rank {
                position: 1,
                members: 2
            })
        );
    }
    // A query does not change what is stored.
    assert_eq!(
        known(&*repository, member(1, idle)).await.score,
        score(20.0)
    );
}

/// Equal scores are ordered by user id, whatever the order of insertion, and also if they are equal
/// only after decay.
pub async fn equal_scores_rank_by_user_id(repository: Arc<dyn ActivityRepository>) {
    for user_id in [9, 2, 11, 5] {
        give(&*repository, user_id, 4.0, 0).await;
    }
    give(&*repository, 1, 10.0, -3_600).await;
    let entries = top(&*repository, guild(1), at(MIDNIGHT + 300), 10).await;
    assert_eq!(users(&entries), [1, 2, 5, 9, 11]);
    assert!(
        entries.iter().all(|entry| entry.score == score(4.0)),
        "{entries:?}"
    );
    assert_eq!(
        entries.iter().map(|entry| entry.rank).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    for (position, user_id) in (1..).zip([1, 2, 5, 9, 11]) {
        let rank = repository
            .score_rank(member(1, user_id), at(MIDNIGHT + 300))
            .await;
        assert_eq!(
            rank.expect("a rank"),
            Some(Rank {
                position,
                members: 5
            })
        );
    }
}

/// A leaderboard returns the first entries, at most as many as requested.
pub async fn a_leaderboard_stops_at_its_limit(repository: Arc<dyn ActivityRepository>) {
    for user_id in 1..=12_u32 {
        give(&*repository, user_id.into(), f64::from(user_id), 0).await;
    }
    let all = top(&*repository, guild(1), at(MIDNIGHT), LeaderboardLimit::MAX).await;
    assert_eq!(users(&all), (1..=12).rev().collect::<Vec<_>>());
    for places in [1, 5, 11, 12, 13] {
        let entries = top(&*repository, guild(1), at(MIDNIGHT), places).await;
        assert_eq!(entries, all[..usize::from(places).min(12)]);
    }
}

/// Members of other guilds do not appear, not even with the same user id.
pub async fn a_leaderboard_shows_its_own_guild_only(repository: Arc<dyn ActivityRepository>) {
    let events = [(1, 1), (1, 2), (2, 2), (2, 3), (3, 4)];
    record_all(
        &*repository,
        events.map(|(guild, user)| message(member(guild, user), MIDNIGHT)),
    )
    .await;
    for (guild_id, expected) in [(1, vec![1, 2]), (2, vec![2, 3]), (3, vec![4]), (4, vec![])] {
        let entries = top(&*repository, guild(guild_id), at(MIDNIGHT), 10).await;
        assert_eq!(users(&entries), expected, "guild {guild_id}");
    }
    let rank = repository
        .score_rank(member(2, 3), at(MIDNIGHT))
        .await
        .expect("a rank");
    assert_eq!(
        rank,
        Some(Rank {
            position: 2,
            members: 2
        })
    );
    assert_eq!(
        repository
            .score_rank(member(1, 3), at(MIDNIGHT))
            .await
            .expect("a rank"),
        None
    );
}

/// Members whose score has decayed to 0, or never rose, are ranked.
pub async fn members_at_zero_are_ranked(repository: Arc<dyn ActivityRepository>) {
    give(&*repository, 3, 5.0, 0).await;
    give(&*repository, 2, 0.0, 0).await;
    give(&*repository, 1, 7.0, -100 * 86_400).await;
    let entries = top(&*repository, guild(1), at(MIDNIGHT), 10).await;
    assert_eq!(users(&entries), [3, 1, 2]);
    assert_eq!(entries[1].score, Score::ZERO);
    assert_eq!(entries[2].score, Score::ZERO);
    let rank = repository
        .score_rank(member(1, 2), at(MIDNIGHT))
        .await
        .expect("a rank");
    assert_eq!(
        rank,
        Some(Rank {
            position: 3,
            members: 3
        })
    );
}

/// In a guild of fifty members, with ties, members at 0 and custom rules, each member's rank is its
/// position on the leaderboard, and the leaderboard shows the decayed scores in order.
pub async fn every_rank_agrees_with_the_leaderboard(repository: Arc<dyn ActivityRepository>) {
    const MEMBERS: u32 = 50;
    // A rate that is not a binary fraction, so that a store that computes differently is found.
    let rules = ScoreRules::default()
        .with_decay_per_hour(7.3)
        .and_then(|rules| rules.with_decay_after_seconds(120))
        .expect("legal rules");
    super::set_score_rules(&*repository, 1, rules).await;
    for user_id in 1..=MEMBERS {
        let began = i64::from(user_id * 37 % 11) * 1_800;
        let points = f64::from(user_id % 6);
        give(&*repository, user_id.into(), points, began).await;
        let messages = i64::from(user_id % 4);
        let events = (1..=messages)
            .map(|minute| message(member(1, user_id.into()), MIDNIGHT + began + minute * 60));
        record_all(&*repository, events).await;
    }
    // Members with the same ids in another guild must not count.
    record_all(
        &*repository,
        (1..=9).map(|user| message(member(2, user), MIDNIGHT)),
    )
    .await;

    for time in [
        0,
        MIDNIGHT,
        MIDNIGHT + 3_700,
        MIDNIGHT + 11_111,
        MIDNIGHT + 86_400,
    ] {
        let entries = top(&*repository, guild(1), at(time), LeaderboardLimit::MAX).await;
        assert_eq!(entries.len(), MEMBERS as usize);
        for pair in entries.windows(2) {
            let in_order = pair[0].score > pair[1].score
                || (pair[0].score == pair[1].score && pair[0].user < pair[1].user);
            assert!(in_order, "{pair:?}");
        }
        for (position, entry) in (1..).zip(&entries) {
            assert_eq!(entry.rank, position);
            let member = member(1, entry.user.get());
            let record = known(&*repository, member).await;
            let expected = rules.decayed(record.score, record.last_message_at, at(time));
            assert_eq!(entry.score, expected);
            let rank = repository
                .score_rank(member, at(time))
                .await
                .expect("a rank");
            assert_eq!(
                rank,
                Some(Rank {
                    position,
                    members: MEMBERS.into()
                })
            );
        }
    }
}
