//! Message counts by day and month, in the guild's time zone.

use std::sync::Arc;

use super::record_all;
use crate::activity::MemberKey;
use crate::query::{LeaderboardLimit, MessageEntry, Period};
use crate::repository::ActivityRepository;
use crate::score::GuildRules;
use crate::testing::fixtures::{
    MIDNIGHT, at, delta, guild, member, message, message_with_id, user, zone,
};
use crate::time::{Day, Month};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

async fn set_zone(repository: &dyn ActivityRepository, guild_id: u64, name: &str) {
    let rules = GuildRules {
        time_zone: zone(name),
        ..GuildRules::default()
    };
    repository
        .set_guild_rules(guild(guild_id), rules)
        .await
        .expect("rules are set");
}

async fn messages_in(repository: &dyn ActivityRepository, member: MemberKey, of: Period) -> u64 {
    repository
        .messages_in(member, of)
        .await
        .expect("messages are counted")
}

async fn assert_days(
    repository: &dyn ActivityRepository,
    member: MemberKey,
    expected: &[(&str, u64)],
) {
    for &(text, messages) in expected {
        let counted = messages_in(repository, member, Period::Day(day(text))).await;
        assert_eq!(counted, messages, "on {text}");
    }
}

/// A day begins at the guild's midnight, not at UTC's.
pub async fn messages_count_for_the_day_in_the_guilds_time_zone(
    repository: Arc<dyn ActivityRepository>,
) {
    set_zone(&*repository, 1, "Asia/Taipei").await;
    let taipei = member(1, 1);
    let utc = member(2, 1);
    // UTC's midnight is 8 in the morning in Taipei; the day there begins at 16:00 UTC.
    for seconds in [-1, 0, 16 * HOUR - 1, 16 * HOUR, 16 * HOUR + 5] {
        let events = [taipei, utc].map(|member| message(member, MIDNIGHT + seconds));
        record_all(&*repository, events).await;
    }
    let expected = [
        ("20250821", 0),
        ("20250822", 3),
        ("20250823", 2),
        ("20250824", 0),
    ];
    assert_days(&*repository, taipei, &expected).await;
    assert_days(
        &*repository,
        utc,
        &[("20250821", 1), ("20250822", 4), ("20250823", 0)],
    )
    .await;
}

/// In Berlin, 2025-03-30 has 23 hours and 2025-10-26 has 25.
pub async fn days_follow_daylight_saving_time(repository: Arc<dyn ActivityRepository>) {
    set_zone(&*repository, 1, "Europe/Berlin").await;
    let member = member(1, 1);
    let spring = 1_743_292_800; // 2025-03-30T00:00:00Z
    let autumn = 1_761_436_800; // 2025-10-26T00:00:00Z
    let bounds = [
        spring - HOUR,
        spring + 22 * HOUR,
        autumn - 2 * HOUR,
        autumn + 23 * HOUR,
    ];
    // The last second before each bound, and the bound itself.
    let events = bounds.into_iter().flat_map(|bound| [bound - 1, bound]);
    record_all(&*repository, events.map(|seconds| message(member, seconds))).await;
    let expected = [
        ("20250329", 1),
        ("20250330", 2),
        ("20250331", 1),
        ("20251025", 1),
        ("20251026", 2),
        ("20251027", 1),
    ];
    assert_days(&*repository, member, &expected).await;
}

/// A month's count is the sum of its days, from the first midnight to the last in the guild's zone.
pub async fn a_month_is_the_sum_of_its_days(repository: Arc<dyn ActivityRepository>) {
    set_zone(&*repository, 1, "Asia/Taipei").await;
    let member = member(1, 1);
    // Taipei's August, from 2025-07-31T16:00:00Z to 2025-08-31T16:00:00Z.
    let first = MIDNIGHT - 21 * DAY - 8 * HOUR;
    let end = first + 31 * DAY;
    let times = [
        first - 1,
        first,
        first + 1,
        MIDNIGHT,
        MIDNIGHT,
        MIDNIGHT + DAY,
        end - 1,
        end,
    ];
    record_all(&*repository, times.map(|seconds| message(member, seconds))).await;

    for (text, messages) in [("202507", 1), ("202508", 6), ("202509", 1), ("202408", 0)] {
        let month = month(text);
        assert_eq!(
            messages_in(&*repository, member, Period::Month(month)).await,
            messages
        );
        let mut sum = 0;
        for day in month.days() {
            sum += messages_in(&*repository, member, Period::Day(day)).await;
        }
        assert_eq!(sum, messages, "in {text}");
    }
}

/// A late message counts for the day it was written on. A duplicate and an adjustment count for
/// none.
pub async fn a_late_message_counts_for_its_own_day(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    let events = [
        message_with_id(1, member, MIDNIGHT + DAY),
        message_with_id(2, member, MIDNIGHT),
        message_with_id(2, member, MIDNIGHT + 2 * DAY),
    ];
    record_all(&*repository, events).await;
    let adjusted = repository
        .adjust_score(member, delta(5.0), at(MIDNIGHT + 2 * DAY))
        .await;
    adjusted.expect("a score is adjusted");
    assert_days(
        &*repository,
        member,
        &[("20250822", 1), ("20250823", 1), ("20250824", 0)],
    )
    .await;
}

/// Sorted by messages in the period, ties by user id. Members without a message in it, and members
/// of other guilds, are left out.
pub async fn a_leaderboard_by_messages_ranks_by_count_and_then_by_user_id(
    repository: Arc<dyn ActivityRepository>,
) {
    let wrote = [
        (1, 8, 2, 0),
        (1, 3, 2, 0),
        (1, 5, 3, 0),
        (1, 4, 1, 0),
        (1, 4, 4, 1),
        (2, 6, 9, 0),
    ];
    for (guild, user, messages, days_later) in wrote {
        let event = message(member(guild, user), MIDNIGHT + days_later * DAY);
        record_all(&*repository, vec![event; messages]).await;
    }
    let adjusted = repository
        .adjust_score(member(1, 7), delta(50.0), at(MIDNIGHT))
        .await;
    adjusted.expect("a score is adjusted");

    let first = Period::Day(day("20250822"));
    let whole = Period::Month(month("202508"));
    for (period, limit, expected) in [
        (first, 10, vec![(5, 3), (3, 2), (8, 2), (4, 1)]),
        (first, 2, vec![(5, 3), (3, 2)]),
        (Period::Day(day("20250823")), 10, vec![(4, 4)]),
        (whole, 10, vec![(4, 5), (5, 3), (3, 2), (8, 2)]),
        (whole, 1, vec![(4, 5)]),
        (Period::Day(day("20250824")), 10, vec![]),
        (Period::Month(month("202509")), 10, vec![]),
    ] {
        let limit = LeaderboardLimit::new(limit).expect("a legal limit");
        let entries = repository.top_messages(guild(1), period, limit).await;
        let expected: Vec<_> = (1..)
            .zip(expected)
            .map(|(rank, (id, messages))| MessageEntry {
                rank,
                user: user(id),
                messages,
            })
            .collect();
        assert_eq!(
            entries.expect("a leaderboard"),
            expected,
            "{period:?}, {limit:?}"
        );
    }
}

/// Messages already counted stay on their day; messages recorded after the change use the new zone.
pub async fn a_new_time_zone_holds_for_later_messages_only(
    repository: Arc<dyn ActivityRepository>,
) {
    let member = member(1, 1);
    let evening = message(member, MIDNIGHT + 20 * HOUR);
    record_all(&*repository, [evening, evening]).await;
    set_zone(&*repository, 1, "Asia/Taipei").await;
    assert_days(&*repository, member, &[("20250822", 2), ("20250823", 0)]).await;
    record_all(&*repository, [evening]).await;
    assert_days(&*repository, member, &[("20250822", 2), ("20250823", 1)]).await;
    let whole = Period::Month(month("202508"));
    assert_eq!(messages_in(&*repository, member, whole).await, 3);
}
