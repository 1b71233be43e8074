//! The rules by which the original bot's scores rose and fell come over with its rows.

use roas_db::migration::migrate;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::tempdir;

use crate::legacy::fixture;
use crate::support::{query, quick, raw};

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
