//! The original bot, restarted on a file that was taken over: what its statements do there, and that it
//! shows.

use std::path::Path;
use std::sync::Arc;

use roas_db::migration::{SinceTakeover, audit, check, migrate, since_takeover};
use roas_db::{Config, Database};
use roas_domain::ActivityRepository;
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{at, member, message};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::legacy::fixture;
use crate::support::{on_runtime, query};

const TAKEN_OVER: i64 = 1_760_000_000;
const NOW: i64 = TAKEN_OVER + 3_600;

/// A file that was taken over an hour ago.
fn taken_over(name: &str) -> (TempDir, Config) {
    let (folder, config) = fixture(name);
    let config = config.clock(Arc::new(ManualClock::new(at(TAKEN_OVER))));
    migrate(&config).unwrap();
    let config = config.clock(Arc::new(ManualClock::new(at(NOW))));
    (folder, config)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the original opens the file by itself"
)]
fn original(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "foreign_keys", 0).unwrap();
    connection
}

/// A message as 2.4 counts it, where the cooldown is over: every statement in a transaction of its own.
fn counted_by_v24(connection: &Connection, guild: i64, user: i64, score: f64, now: i64) {
    for table in [
        "activity_meter (guild_id INTEGER, user_id INTEGER)",
        "activity_daily (ymd TEXT)",
        "activity_settings (guild_id INTEGER PRIMARY KEY)",
        "activity_report_channel (guild_id INTEGER PRIMARY KEY, channel_id INTEGER)",
    ] {
        let sql = format!("CREATE TABLE IF NOT EXISTS {table}");
        connection.execute(&sql, []).unwrap();
    }
    let settings: i64 = connection
        .query_row(
            "SELECT count(*) FROM activity_settings WHERE guild_id = ?",
            [guild],
            |row| row.get(0),
        )
        .unwrap();
    if settings == 0 {
        let sql =
            "INSERT OR REPLACE INTO activity_settings (guild_id, report_channel_id, report_hour,
                max_score, gain_per_message, decay_after_seconds, decay_per_hour, cooldown_seconds,
                auto_report_enabled)
             VALUES (?, NULL, 8, 100.0, 1.0, 300, 6.0, 60, 1)";
        connection.execute(sql, [guild]).unwrap();
    }
    let sql = "INSERT INTO activity_daily (ymd, guild_id, user_id, msg_cnt) VALUES (?, ?, ?, 1)
         ON CONFLICT (ymd, guild_id, user_id) DO UPDATE SET msg_cnt = msg_cnt + 1";
    connection
        .execute(sql, params!["20251009", guild, user])
        .unwrap();
    let sql = "INSERT INTO activity_meter (guild_id, user_id, score, last_msg) VALUES (?, ?, ?, ?)
         ON CONFLICT (guild_id, user_id) DO UPDATE SET score = ?, last_msg = ?";
    connection
        .execute(sql, params![guild, user, score, now, score, now])
        .unwrap();
}

#[test]
fn version_2_4_counts_in_the_meters_own_tables_and_shows() {
    let (_folder, config) = taken_over("v241-primary-key");
    let (guild, user): (i64, i64) = (
        query(config.path(), "SELECT min(guild_id) FROM activity_meter"),
        query(
            config.path(),
            "SELECT user_id FROM activity_meter ORDER BY guild_id, user_id",
        ),
    );
    // What this program records itself is no sign of another one.
    let [ours_guild, ours_user] = [guild, user].map(i64::unsigned_abs);
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        for key in [member(ours_guild, ours_user), member(7, 8)] {
            let event = message(key, TAKEN_OVER + 60);
            database.repository().record(event).await.unwrap();
        }
        database.close().await.unwrap();
    });
    assert_eq!(
        since_takeover(&config).unwrap(),
        Some(SinceTakeover::default())
    );
    assert_eq!(check(&config).unwrap().findings, [""; 0]);

    let connection = original(config.path());
    counted_by_v24(&connection, guild, user, 41.0, TAKEN_OVER + 120);
    counted_by_v24(&connection, guild, user, 42.0, TAKEN_OVER + 240);
    counted_by_v24(&connection, 9, 1, 1.0, TAKEN_OVER + 240);
    // The one with a retry, which adds to the score.
    let sql = "INSERT INTO activity_meter (guild_id, user_id, score, last_msg) VALUES (?, ?, ?, ?)
         ON CONFLICT (guild_id, user_id) DO UPDATE SET score = MIN(?, score + ?), last_msg = ?
         RETURNING score, last_msg";
    let now = TAKEN_OVER + 360;
    let score: f64 = connection
        .query_row(
            sql,
            params![guild, user, 1.5, now, 100.0, 1.5, now],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(score, 43.5);
    drop(connection);

    // Its scores replace the meter's, and its messages are in the days alone.
    let since = SinceTakeover {
        old_rows: 0,
        uncounted_messages: 3,
    };
    assert_eq!(since_takeover(&config).unwrap(), Some(since));
    let audit = audit(&config).unwrap();
    assert_eq!(audit.since_takeover, Some(since));
    assert!(audit.has_findings());
    assert_eq!(
        check(&config).unwrap().findings,
        [
            "another program, perhaps the original bot, has written since the takeover: \
             3 messages in the days' counts only",
            "guild 9 counts 0 members and has 1: another program has changed its members; the next \
             maintenance of the meter corrects that"
        ]
    );
}

#[test]
fn version_2_3_goes_on_in_its_own_tables_and_shows() {
    let (_folder, config) = taken_over("v23-meter");
    let before: f64 = query(config.path(), "SELECT sum(score) FROM activity_meter");
    assert_eq!(
        since_takeover(&config).unwrap(),
        Some(SinceTakeover::default())
    );
    let connection = original(config.path());
    for (guild, user) in [(375_385_303_789_211_889_i64, 1), (5, 6)] {
        let now = TAKEN_OVER + 120;
        let sql = "INSERT INTO meter VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET score = ?, last_msg = ?";
        connection
            .execute(sql, params![guild, user, 5.0, now, 5.0, now])
            .unwrap();
        let sql = "INSERT INTO daily VALUES (?, ?, ?, 1)
             ON CONFLICT DO UPDATE SET msg_cnt = msg_cnt + 1";
        connection
            .execute(sql, params!["20251009", guild, user])
            .unwrap();
    }
    drop(connection);
    assert_eq!(
        query::<f64>(config.path(), "SELECT sum(score) FROM activity_meter"),
        before
    );
    let since = SinceTakeover {
        old_rows: 2,
        uncounted_messages: 0,
    };
    assert_eq!(since_takeover(&config).unwrap(), Some(since));
    assert_eq!(audit(&config).unwrap().since_takeover, Some(since));
    assert_eq!(
        check(&config).unwrap().findings,
        [
            "another program, perhaps the original bot, has written since the takeover: \
             2 rows in the original's own tables"
        ]
    );
}

/// What was in the file at the takeover says nothing: times in the future, days of a member without a
/// row; nor does a table of another module that has the name.
#[test]
fn what_was_there_before_is_no_sign() {
    let (_folder, config) = fixture("v240-duplicates");
    let connection = original(config.path());
    connection
        .execute_batch(
            "CREATE TABLE meter (name TEXT, last_msg INTEGER);
             INSERT INTO meter VALUES ('gas', 1760000100);
             INSERT INTO activity_meter VALUES (1, 1, 5, 2760000000);
             INSERT INTO activity_daily VALUES ('20251009', 1, 2, 7), ('20251009', 1, 1, 7)",
        )
        .unwrap();
    drop(connection);
    let config = config.clock(Arc::new(ManualClock::new(at(TAKEN_OVER))));
    migrate(&config).unwrap();
    let config = config.clock(Arc::new(ManualClock::new(at(NOW))));
    assert_eq!(
        since_takeover(&config).unwrap(),
        Some(SinceTakeover::default())
    );
}

#[test]
fn a_file_that_was_not_taken_over_has_nothing_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::support::quick(folder.path());
    migrate(&config).unwrap();
    assert_eq!(since_takeover(&config).unwrap(), None);
}
