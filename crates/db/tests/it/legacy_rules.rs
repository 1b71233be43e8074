//! The rules by which the original bot's scores rose and fell come over with its rows.

use std::sync::Arc;

use roas_db::Database;
use roas_db::migration::{audit, migrate};
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{at, guild};
use roas_domain::{ActivityRepository, LeaderboardLimit};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::tempdir;

use crate::legacy::fixture;
use crate::support::{on_runtime, query, quick, raw};

/// Guild, gain, grace, decay an hour, cooldown, maximum, report hour: of every guild, in order.
#[expect(
    clippy::disallowed_methods,
    reason = "looks at the file past the adapter"
)]
fn rules(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT guild_id, gain_per_message, decay_after_seconds, decay_per_hour,
                cooldown_seconds, max_score, report_hour FROM activity_settings ORDER BY guild_id",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let values = (0..7).map(|column| match row.get::<_, Value>(column)? {
            Value::Integer(value) => Ok(value.to_string()),
            Value::Real(value) => Ok(format!("{value:.1}")),
            other => panic!("{other:?}"),
        });
        Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    });
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_guild_of_version_2_3_keeps_the_rules_of_2_3() {
    let (_folder, config) = fixture("v23-meter");
    migrate(&config).unwrap();
    let rules_v23 = "5.0 3600 2.0 60 100.0 8";
    assert_eq!(
        rules(config.path()),
        [
            375_385_303_789_211_889_u64,
            542_546_777_689_343_600,
            637_207_133_619_322_740
        ]
        .map(|guild| format!("{guild} {rules_v23}"))
    );
}

/// The rules are those of the version that counted in a guild last. Guilds 1 to 3 are in the tables
/// of 2.3 only, 4 to 8 in those of 2.4 as well, or only there.
#[test]
fn a_file_with_the_tables_of_both_versions_has_the_rules_of_each_guild() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    raw(
        config.path(),
        "CREATE TABLE meter (guild_id, user_id, score, last_msg);
         CREATE TABLE daily (ymd, guild_id, user_id, msg_cnt);
         CREATE TABLE report_channel (guild_id, channel_id);
         CREATE TABLE activity_meter (guild_id, user_id, score, last_msg);
         CREATE TABLE activity_daily (ymd, guild_id, user_id, msg_cnt);
         CREATE TABLE activity_report_channel (guild_id, channel_id);
         CREATE TABLE activity_settings (guild_id, max_score, gain_per_message, cooldown_seconds,
            decay_after_seconds, decay_per_hour);
         INSERT INTO meter VALUES (1, 1, 5, 100), (4, 1, 5, 100), (5, 1, 5, 100), (6, 1, 5, 100),
            (7, 1, 5, 100), (0, 1, 5, 100);
         INSERT INTO daily VALUES ('20250710', 2, 1, 3), ('20250710', 4, 1, 3);
         INSERT INTO report_channel VALUES (3, 9), (4, 9);
         INSERT INTO activity_meter VALUES (4, 2, 5, 100), (8, 1, 5, 100);
         INSERT INTO activity_daily VALUES ('20250710', 5, 1, 3);
         INSERT INTO activity_report_channel VALUES (6, 9);
         INSERT INTO activity_settings VALUES (7, 50, 2, 30, NULL, 4)",
    );
    migrate(&config).unwrap();
    assert_eq!(
        rules(config.path()),
        [
            "1 5.0 3600 2.0 60 100.0 8",
            "2 5.0 3600 2.0 60 100.0 8",
            "3 5.0 3600 2.0 60 100.0 8",
            "4 1.0 300 6.0 60 100.0 8",
            "5 1.0 300 6.0 60 100.0 8",
            "6 1.0 300 6.0 60 100.0 8",
            "7 2.0 300 4.0 30 50.0 8",
            "8 1.0 300 6.0 60 100.0 8",
        ]
    );
    assert_eq!(
        query::<i64>(config.path(), "SELECT count(*) FROM activity_meter"),
        7
    );
}

/// The original read its settings as `value or default`.
#[test]
fn a_stored_0_meant_the_default_and_becomes_it() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    raw(
        config.path(),
        "CREATE TABLE activity_meter (guild_id, user_id, score, last_msg);
         CREATE TABLE activity_settings (guild_id INTEGER PRIMARY KEY, report_hour, max_score,
            gain_per_message, decay_after_seconds, decay_per_hour, cooldown_seconds);
         INSERT INTO activity_settings VALUES (1, 0, 0, 0, 0, 0, 0),
            (2, '0', 0.0, '0.0', -0.0, '0', '0'), (3, 23, 10, 0.5, 1, 0.5, 1),
            (4, 24, -1, -1, -1, -1, -1), (5, 'x', 1e10, 1e10, 1e10, 1e10, 1e10)",
    );
    migrate(&config).unwrap();
    assert_eq!(
        rules(config.path()),
        [
            "1 1.0 300 6.0 60 100.0 8",
            "2 1.0 300 6.0 60 100.0 8",
            "3 0.5 1 0.5 1 10.0 23",
            "4 1.0 300 6.0 60 100.0 8",
            "5 1.0 300 6.0 60 100.0 8",
        ]
    );
}

/// The places that an audit foretells are those of the leaderboard after the migration, and in the
/// original's file no score changes: 15, 12 and 12 members above 0 ten minutes after the last message.
/// By the rules of 2.4 they would be 6, 3 and 3.
#[test]
fn an_audit_of_2_3_compares_the_top_ten_before_and_after() {
    let (_folder, config) = fixture("v23-meter");
    let comparison = audit(&config).unwrap().comparison;
    assert_eq!(comparison.at, 1_754_991_733 + 600);
    let numbers = comparison.boards.iter().map(|board| {
        (
            board.guild_id,
            board.members,
            board.original_above_zero,
            board.above_zero,
            board.differing_members,
        )
    });
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [
            (375_385_303_789_211_889, 300, 15, 15, 0),
            (542_546_777_689_343_600, 300, 12, 12, 0),
            (637_207_133_619_322_740, 300, 12, 12, 0),
        ]
    );
    let first = &comparison.boards[0].places[0];
    assert_eq!(
        (first.user_id, first.rank, first.original_rank),
        (628_869_674_669_062_447, 1, 1)
    );
    assert!(
        (first.original_score - 83.186_666_666).abs() < 1e-6,
        "{first:?}"
    );

    migrate(&config).unwrap();
    on_runtime(async {
        let database = Database::open(config).await.unwrap();
        for board in &comparison.boards {
            let board_guild = guild(board.guild_id.unsigned_abs());
            let moment = at(comparison.at);
            let top = database
                .repository()
                .top_scores(board_guild, moment, LeaderboardLimit::new(10).unwrap())
                .await;
            let found = top
                .unwrap()
                .into_iter()
                .map(|entry| (entry.rank, entry.user.get(), entry.score.get()));
            let foretold = board
                .places
                .iter()
                .map(|place| (place.rank, place.user_id.unsigned_abs(), place.score));
            assert_eq!(found.collect::<Vec<_>>(), foretold.collect::<Vec<_>>());
        }
        database.close().await.unwrap();
    });
}

#[test]
fn an_audit_says_whose_score_differs_and_why() {
    let folder = tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(1_755_900_000)));
    let config = quick(folder.path()).clock(clock);
    raw(
        config.path(),
        "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER);
         CREATE TABLE meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER);
         CREATE TABLE activity_settings (guild_id, decay_per_hour, decay_after_seconds, cooldown_seconds);
         INSERT INTO activity_meter VALUES
            (1, 1, 50, 1755800000),
            (1, 2, 10, 1755800000), (1, 2, 40, 1755799000),
            (1, 3, 30, 1755720000000),
            (1, 4, 150, 1755800000),
            (1, 5, 20, 2755800000),
            (2, 1, 50, 1755796700);
         INSERT INTO meter VALUES (1, 9, 5, 1755800000);
         INSERT INTO activity_settings VALUES (1, 0, NULL, 0), (2, 12, -600, 60)",
    );
    let comparison = audit(&config).unwrap().comparison;
    // A time in the future is not the latest: the clock stands before it.
    assert_eq!(comparison.at, 1_755_800_600);
    let [first, second] = &comparison.boards[..] else {
        panic!("{comparison:?}");
    };
    assert_eq!(
        (
            (first.members, first.differing_members),
            (first.original_above_zero, first.above_zero)
        ),
        ((6, 4), (5, 5))
    );
    let places: Vec<_> = first
        .places
        .iter()
        .map(|place| {
            (
                place.user_id,
                (place.original_rank, place.original_score),
                (place.rank, place.score),
                place.why.as_str(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            (4, (1, 149.5), (1, 99.5), "score out of range"),
            (1, (2, 49.5), (2, 49.5), ""),
            (2, (5, 9.5), (3, 39.5), "several rows"),
            (5, (4, 20.0), (4, 20.0), ""),
            (9, (6, 0.0), (5, 4.5), "only in the tables of 2.3"),
            (3, (3, 30.0), (6, 0.0), "time in milliseconds"),
        ]
    );
    // 3,900 s at 12 an hour began 600 s early in the original; the grace is 300 s here.
    let place = &second.places[0];
    assert_eq!((place.original_score, place.score), (35.0, 38.0));
    assert_eq!(place.why, "rules not allowed here");

    let replaced: Vec<_> = comparison
        .replaced
        .iter()
        .map(|replaced| {
            (
                replaced.guild_id,
                replaced.setting.as_str(),
                replaced.stored.as_str(),
                replaced.taken,
                replaced.is_zero,
            )
        })
        .collect();
    assert_eq!(comparison.replaced_settings, 3);
    assert_eq!(
        replaced,
        [
            (1, "cooldown_seconds", "0", 60.0, true),
            (1, "decay_per_hour", "0", 6.0, true),
            (2, "decay_after_seconds", "-600", 300.0, false),
        ]
    );
}
