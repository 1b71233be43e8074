//! Views, triggers and foreign keys of other modules beside a takeover: what they name, what they do,
//! and that the way back gives their text back.
#![expect(
    clippy::disallowed_methods,
    reason = "looks at the file past the adapter, as another module does"
)]

use std::fs;
use std::path::Path;

use roas_db::migration::{
    MigrateOptions, RollbackOptions, audit, check, migrate, migration_status, rehearse, repair,
    rollback,
};
use roas_db::{Config, Database, OpenError};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::legacy::refine;
use crate::support::{on_runtime, query, quick, raw};

const BROKEN_VIEW: &str = include_str!("../fixtures/cases/broken_view.sql");
const GUILD: u64 = 743_430_870_758_460_727;

fn file(sql: &str) -> (TempDir, Config) {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    raw(config.path(), &format!("PRAGMA foreign_keys = OFF; {sql}"));
    (folder, config)
}

type Object = (String, String, String, Option<String>);

/// Every row of the schema but for where its pages are.
fn schema(path: &Path) -> Vec<Object> {
    Connection::open(path)
        .unwrap()
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2")
        .unwrap()
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

/// The objects of `schema` that are none of the meter's tables.
fn others(schema: &[Object]) -> Vec<&Object> {
    let meters = ["activity_meter", "activity_daily", "activity_settings"];
    schema
        .iter()
        .filter(|(kind, _, table, _)| {
            kind == "trigger" || !meters.contains(&table.to_lowercase().as_str())
        })
        .collect()
}

/// Takes the file over as the library does, and as the refinery program does.
fn both_ways(sql: &str, then: impl Fn(&str, &Config)) {
    let (_folder, config) = file(sql);
    migrate(&config).unwrap();
    then("the library", &config);
    let (_folder, config) = file(sql);
    refine(config.path()).unwrap();
    then("refinery", &config);
}

/// Runs the scripts that undo the migrations, as `sqlite3` would.
fn undo_by_hand(path: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/rollback");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    for script in scripts.iter().rev() {
        let script = fs::read_to_string(script).unwrap();
        raw(path, &format!("BEGIN IMMEDIATE; {script} COMMIT;"));
    }
    raw(path, "DROP TABLE refinery_schema_history");
}

#[test]
fn foreign_objects_go_on_naming_the_meter_and_see_the_living_table() {
    let (_folder, before) = file(BROKEN_VIEW);
    let before = schema(before.path());
    both_ways(BROKEN_VIEW, |by, config| {
        let path = config.path();
        let after = schema(path);
        for object in others(&before) {
            assert!(after.contains(object), "{by}: {object:?}");
        }
        assert_eq!(query::<String>(path, "PRAGMA integrity_check"), "ok");
        // Moving the rows fired no trigger.
        assert_eq!(query::<i64>(path, "SELECT count(*) FROM score_log"), 0);
        let score =
            format!("SELECT score FROM activity_meter WHERE guild_id = {GUILD} AND user_id = 501");
        assert_eq!(query::<f64>(path, &score), 40.5, "{by}");

        raw(
            path,
            &format!("INSERT INTO bonus VALUES ({GUILD}, 501, 2.5)"),
        );
        assert_eq!(query::<f64>(path, &score), 43.0, "{by}");
        assert_eq!(
            query::<f64>(path, "SELECT score FROM score_log"),
            43.0,
            "{by}"
        );
        assert_eq!(
            query::<f64>(path, "SELECT score FROM busy_members WHERE user_id = 501"),
            43.0,
            "{by}"
        );
        raw(
            path,
            &format!("PRAGMA foreign_keys = ON; INSERT INTO badge VALUES ({GUILD}, 502, 'b')"),
        );
        let orphan = Connection::open(path).unwrap().execute_batch(&format!(
            "PRAGMA foreign_keys = ON; INSERT INTO badge VALUES ({GUILD}, 503, 'b')"
        ));
        assert!(orphan.is_err(), "{by}");

        // The writer's own rows fire the trigger as well.
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            for user in [501, 502] {
                let at = MIDNIGHT + 1_000_000;
                repository
                    .record(message(member(GUILD, user), at))
                    .await
                    .unwrap();
            }
            database.close().await.unwrap();
        });
        assert_eq!(
            query::<i64>(path, "SELECT count(*) FROM score_log"),
            3,
            "{by}"
        );
    });
}

#[test]
fn the_way_back_gives_every_text_back() {
    let (_folder, before) = file(BROKEN_VIEW);
    let before = schema(before.path());
    both_ways(BROKEN_VIEW, |by, config| {
        rollback(config, &RollbackOptions::to(0)).unwrap();
        assert_eq!(before, schema(config.path()), "{by}");
        assert_eq!(
            query::<i64>(config.path(), "SELECT count(*) FROM score_log"),
            0
        );
    });
    both_ways(BROKEN_VIEW, |by, config| {
        undo_by_hand(config.path());
        assert_eq!(
            query::<i64>(config.path(), "SELECT count(*) FROM score_log"),
            0
        );
        // What takes an IF is the library's: the table that the original lacks stays, empty.
        raw(config.path(), "DROP TABLE activity_settings");
        assert_eq!(before, schema(config.path()), "{by}");
    });
}

/// Names in quotes of every kind, in any case, in comments and in strings.
const ODDLY_WRITTEN: &str = r#"
    CREATE TABLE "Activity_Meter"(guild_id INTEGER, user_id INTEGER, score REAL DEFAULT 0,
        last_msg INTEGER DEFAULT 0 CHECK ("Activity_Meter".last_msg >= 0), PRIMARY KEY (guild_id, user_id));
    CREATE INDEX "on activity_meter" /* ON activity_meter */ ON [ACTIVITY_METER] (score)
        WHERE activity_meter.score > 0;
    CREATE TABLE [activity_daily] (ymd, guild_id, user_id, msg_cnt, UNIQUE (ymd, guild_id, user_id));
    CREATE TABLE `activity_settings` (guild_id INTEGER PRIMARY KEY REFERENCES activity_settings (guild_id),
        max_score);
    INSERT INTO activity_meter VALUES (1, 2, 3.5, 100), (1, 3, 4.5, 200);
    INSERT INTO activity_daily VALUES ('20250822', 1, 2, 7);
    CREATE TABLE notes (guild_id, user_id, "activity_meter" TEXT DEFAULT 'activity_meter',
        FOREIGN KEY (user_id, guild_id) REFERENCES "ACTIVITY_METER" (user_id, guild_id) ON DELETE CASCADE);
    INSERT INTO notes VALUES (1, 2, 'stays');
    CREATE VIEW "activity_meter view" AS
        SELECT 'activity_meter' AS says, m.score -- from legacy_activity_meter
        FROM [Activity_Meter] AS m JOIN `activity_daily` USING (guild_id, user_id);
    CREATE VIEW broken AS SELECT nosuch FROM activity_meter;
    CREATE VIEW broken_too AS SELECT * FROM broken JOIN nowhere;
    CREATE TRIGGER "t1" AFTER INSERT ON "Activity_Meter" BEGIN UPDATE notes SET guild_id = 9; END;
    CREATE TRIGGER t2 AFTER INSERT ON notes BEGIN INSERT INTO nowhere VALUES (1); END;
    CREATE TRIGGER t3 INSTEAD OF INSERT ON "activity_meter view" BEGIN
        INSERT INTO [activity_meter] (guild_id, user_id, score, last_msg) VALUES (1, 9, 1, 1); END;
    CREATE TRIGGER t4 BEFORE DELETE ON activity_daily BEGIN DELETE FROM notes; END;
"#;

#[test]
fn odd_spellings_and_cascading_keys_survive_both_ways() {
    let (_folder, before) = file(ODDLY_WRITTEN);
    let before = schema(before.path());
    both_ways(ODDLY_WRITTEN, |by, config| {
        let path = config.path();
        let after = schema(path);
        for object in others(&before) {
            assert!(after.contains(object), "{by}: {object:?}");
        }
        let says = "SELECT says || score FROM \"activity_meter view\"";
        assert_eq!(query::<String>(path, says), "activity_meter3.5", "{by}");
        rollback(config, &RollbackOptions::to(1)).unwrap();
        migrate(config).unwrap();
        rollback(config, &RollbackOptions::to(0)).unwrap();
        assert_eq!(before, schema(path), "{by}");
        assert_eq!(query::<String>(path, says), "activity_meter3.5", "{by}");
        let notes = "SELECT guild_id || activity_meter FROM notes";
        assert_eq!(query::<String>(path, notes), "1stays", "{by}");
    });
    both_ways(ODDLY_WRITTEN, |by, config| {
        undo_by_hand(config.path());
        assert_eq!(before, schema(config.path()), "{by}");
        let notes = "SELECT guild_id || activity_meter FROM notes";
        assert_eq!(query::<String>(config.path(), notes), "1stays", "{by}");
    });
}

/// SQLite refuses a statement that has to look at such a key, not the key itself.
#[test]
fn a_foreign_key_that_cannot_match_the_meter_is_in_nobodys_way() {
    let sql = "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER);
         INSERT INTO activity_meter VALUES (1, 2, 3.5, 100), (1, 2, 1, 50), (1, 3, 4.5, 200);
         CREATE TABLE activity_daily (ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER);
         CREATE TABLE badge (user_id REFERENCES activity_meter (user_id));
         INSERT INTO badge VALUES (2)";
    let (_folder, before) = file(sql);
    let before = schema(before.path());
    both_ways(sql, |by, config| {
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            for user in [2, 3, 4] {
                repository
                    .record(message(member(1, user), MIDNIGHT))
                    .await
                    .unwrap();
            }
            database.close().await.unwrap();
        });
        rollback(config, &RollbackOptions::to(0)).unwrap();
        assert_eq!(before, schema(config.path()), "{by}");
        assert_eq!(
            query::<i64>(config.path(), "SELECT user_id FROM badge"),
            2,
            "{by}"
        );
        assert_eq!(
            query::<i64>(config.path(), "SELECT count(*) FROM activity_meter"),
            4
        );
    });
}

#[test]
fn tables_without_a_rowid_and_columns_of_its_name_are_taken_over_and_given_back() {
    for sql in [
        "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER,
             PRIMARY KEY (guild_id, user_id)) WITHOUT ROWID;
         CREATE TABLE activity_daily (ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER,
             PRIMARY KEY (ymd, guild_id, user_id)) WITHOUT ROWID;
         CREATE TABLE activity_settings (guild_id INTEGER PRIMARY KEY, max_score REAL) WITHOUT ROWID;
         CREATE TABLE activity_report_channel (guild_id PRIMARY KEY, channel_id) WITHOUT ROWID;",
        "CREATE TABLE activity_meter (rowid TEXT, guild_id, user_id, score REAL, last_msg);
         CREATE TABLE activity_daily (ymd, guild_id, user_id, msg_cnt, RowID, _rowid_, OID);
         CREATE TABLE activity_settings (guild_id, max_score, oid, _rowid_);
         CREATE TABLE activity_report_channel (guild_id, channel_id, rowid);",
    ] {
        let sql = format!(
            "{sql}
             INSERT INTO activity_meter (guild_id, user_id, score, last_msg)
                 VALUES (1, 2, 3.5, 100), (1, 3, 200, 200), (0, 4, 1, 1);
             INSERT INTO activity_daily (ymd, guild_id, user_id, msg_cnt)
                 VALUES ('20250822', 1, 2, 7), ('20250823', 1, 2, 1), ('nonsense', 1, 2, 1);
             INSERT INTO activity_settings (guild_id, max_score) VALUES (1, 150.0), (-1, 5);
             INSERT INTO activity_report_channel (guild_id, channel_id) VALUES (1, 5), (2, 0)"
        );
        let (_folder, config) = file(&sql);
        let before = (schema(config.path()), crate::legacy::dump(config.path()));
        let audited = roas_db::migration::audit(&config).unwrap().takeover;
        let counts = audited.kinds().map(|(_, rows)| (rows.source, rows.taken, rows.quarantined));
        assert_eq!(counts, [(3, 2, 1), (3, 2, 1), (2, 1, 1), (2, 1, 1)]);
        both_ways(&sql, |by, config| {
            let path = config.path();
            let found: String = query(
                path,
                "SELECT group_concat(user_id || ':' || score || ':' || messages, ' ') FROM activity_meter",
            );
            assert_eq!(found, "2:3.5:8 3:150.0:0", "{by}");
            on_runtime(async {
                let database = Database::open(config.clone()).await.unwrap();
                let repository = database.repository();
                for user in [2, 9] {
                    repository.record(message(member(1, user), MIDNIGHT)).await.unwrap();
                }
                database.close().await.unwrap();
            });
            rollback(config, &RollbackOptions::to(0)).unwrap();
            assert_eq!(before.0, schema(path), "{by}");
            let found: String = query(
                path,
                "SELECT group_concat(user_id || ':' || score || ':' || last_msg, ' ') FROM (
                     SELECT user_id, score, last_msg FROM activity_meter ORDER BY user_id)",
            );
            let wanted = format!("2:1.0:{MIDNIGHT} 3:200.0:200 4:1.0:1 9:1.0:{MIDNIGHT}");
            assert_eq!(found, wanted, "{by}");
        });
        migrate(&config).unwrap();
        rollback(&config, &RollbackOptions::to(0)).unwrap();
        assert_eq!(before, (schema(config.path()), crate::legacy::dump(config.path())));
    }
}

/// A file that was migrated before V1 and V2 left other modules' objects alone.
#[test]
fn a_file_that_the_earlier_text_migrated_is_used_and_given_back() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/migrations");
    let earlier = refinery::load_sql_migrations(folder).unwrap();
    let sql = BROKEN_VIEW
        .replace("CREATE VIEW office_holders", "-- ")
        .replace("REFERENCES office (office_id)", "");
    let (_folder, config) = file(&sql);
    let path = config.path();
    let before = schema(path);
    refinery::Runner::new(&earlier)
        .set_grouped(true)
        .run(&mut Connection::open(path).unwrap())
        .unwrap();
    let turned: String = query(
        path,
        "SELECT sql FROM sqlite_schema WHERE name = 'busy_members'",
    );
    assert!(turned.contains("\"legacy_activity_meter\""), "{turned}");

    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        repository
            .record(message(member(GUILD, 501), MIDNIGHT))
            .await
            .unwrap();
        database.close().await.unwrap();
    });
    assert_eq!(check(&config).unwrap().findings, [""; 0]);
    assert!(repair(&config).unwrap().done.is_empty());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let migrations = refinery::load_sql_migrations(folder).unwrap();
    refinery::Runner::new(&migrations)
        .set_grouped(true)
        .set_abort_divergent(false)
        .run(&mut Connection::open(path).unwrap())
        .unwrap();
    assert!(migration_status(path).unwrap().pending.is_empty());
    rollback(&config, &RollbackOptions::to(0)).unwrap();
    assert_eq!(before, schema(path));
    migrate(&config).unwrap();
    for object in others(&before) {
        assert!(schema(path).contains(object), "{object:?}");
    }
}

/// What the audit says of each object, and whether there are findings.
fn audited(config: &Config) -> (Vec<String>, bool) {
    let before = schema(config.path());
    let audit = audit(config).unwrap();
    assert_eq!(before, schema(config.path()));
    let objects = audit
        .foreign_objects
        .iter()
        .map(ToString::to_string)
        .collect();
    (objects, audit.has_findings())
}

#[test]
fn an_audit_names_what_does_not_work_and_what_goes_on_with_the_meter() {
    let (_folder, config) = file(BROKEN_VIEW);
    let broken = [
        "view `office_holders` does not work already: no such column: o.status",
        "a foreign key of table `office_term` does not work already: \
            foreign key mismatch - \"office_term\" referencing \"office\"",
    ];
    let sound = [
        "a foreign key of table `badge` works with the meter's tables",
        "trigger `bonus_counts` works with the meter's tables",
        "view `busy_members` works with the meter's tables",
        "trigger `log_scores` works with the meter's tables",
    ];
    for _ in 0..2 {
        let (objects, findings) = audited(&config);
        assert!(findings);
        assert_eq!(objects.len(), broken.len() + sound.len(), "{objects:?}");
        for expected in broken.iter().chain(&sound) {
            assert!(
                objects.iter().any(|object| object == expected),
                "{expected}: {objects:?}"
            );
        }
        migrate(&config).unwrap();
    }
}

#[test]
fn an_audit_names_what_the_new_tables_break_or_leave_behind() {
    let sql = "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER,
             updated_at TEXT, PRIMARY KEY (guild_id, user_id));
         CREATE TABLE activity_report_channel (guild_id INTEGER PRIMARY KEY, channel_id INTEGER);
         CREATE TABLE log (what);
         CREATE VIEW updated AS SELECT user_id, m.updated_at FROM activity_meter AS m;
         CREATE VIEW in_quotes AS SELECT \"updated_at\", \"a text\" FROM activity_meter;
         CREATE VIEW by_rowid AS SELECT rowid FROM activity_meter;
         CREATE VIEW texts AS SELECT \"a text\" AS says FROM activity_meter;
         CREATE VIEW channels AS SELECT * FROM activity_report_channel;
         CREATE TRIGGER stamped AFTER UPDATE OF updated_at ON activity_meter BEGIN
             INSERT INTO log VALUES (1); END;
         CREATE TRIGGER touch AFTER INSERT ON log BEGIN UPDATE activity_meter SET updated_at = 1; END;
         CREATE TRIGGER parting AFTER DELETE ON activity_meter BEGIN
             INSERT INTO log VALUES (old.updated_at); END;
         CREATE TRIGGER channel AFTER INSERT ON activity_report_channel BEGIN INSERT INTO log VALUES (1); END;
         CREATE TRIGGER apart AFTER DELETE ON log BEGIN SELECT 1; END;
         CREATE TABLE stamp (at REFERENCES activity_meter (updated_at));
         CREATE UNIQUE INDEX one_stamp ON activity_meter (updated_at);
         CREATE TABLE apart_too (id PRIMARY KEY REFERENCES apart_too)";
    let (_folder, config) = file(sql);
    let (mut objects, findings) = audited(&config);
    assert!(findings);
    objects.sort();
    let expected = [
        "a foreign key of table `stamp` will not work any more: \
            foreign key mismatch - \"stamp\" referencing \"activity_meter\"",
        "trigger `channel` depends on `activity_report_channel`, which nothing writes to any more",
        "trigger `parting` will not work any more: no such column: old.updated_at",
        "trigger `stamped` will not work any more: no change of `activity_meter` fires it",
        "trigger `touch` will not work any more: no such column: updated_at",
        "view `by_rowid` will not work any more: no such column: rowid",
        "view `channels` depends on `activity_report_channel`, which nothing writes to any more",
        "view `in_quotes` will not work any more: no such column: activity_meter.updated_at",
        "view `texts` works with the meter's tables",
        "view `updated` will not work any more: no such column: m.updated_at",
    ];
    assert_eq!(objects, expected);
    // None of them keeps the meter from recording.
    migrate(&config).unwrap();
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        repository
            .record(message(member(1, 2), MIDNIGHT))
            .await
            .unwrap();
        database.close().await.unwrap();
    });
}

const METER: &str = "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL,
    last_msg INTEGER, note TEXT, PRIMARY KEY (guild_id, user_id))";

#[test]
fn what_is_in_the_way_is_named_by_the_audit_and_by_the_refusal() {
    for (sql, expected) in [
        ("CREATE TABLE activity_event (mine)", "table `activity_event` is in the way: the meter needs this name"),
        ("CREATE TABLE Activity_Guild (mine)", "table `Activity_Guild` is in the way"),
        ("CREATE TABLE legacy_merged (mine)", "table `legacy_merged` is in the way"),
        ("CREATE TABLE t (a); CREATE INDEX activity_daily ON t (a)", "index `activity_daily` is in the way"),
        ("CREATE VIEW activity_meter AS SELECT 1 AS guild_id, 2 AS user_id", "view `activity_meter` is in the way"),
        ("CREATE TABLE legacy_activity_meter (mine)", "table `legacy_activity_meter` is in the way"),
        ("CREATE TABLE quiet_activity_meter (mine)", "migration `V2__take_over_legacy` is in the way"),
        (
            "CREATE TABLE log (what);
             CREATE TRIGGER noted AFTER UPDATE ON activity_meter BEGIN INSERT INTO log VALUES (new.note); END",
            "trigger `noted` is in the way: nothing could be recorded (no such column: new.note)",
        ),
        (
            "CREATE TABLE badge (user_id REFERENCES activity_meter (user_id));
             CREATE TRIGGER fires AFTER INSERT ON activity_meter BEGIN SELECT 1; END",
            "a foreign key of table `badge` is in the way: nothing could be recorded (foreign key mismatch",
        ),
    ] {
        let apart = if sql.contains("AFTER") { METER } else { "CREATE TABLE apart (a)" };
        let (folder, config) = file(&format!("{apart}; {sql}"));
        let before = schema(config.path());
        let (objects, findings) = audited(&config);
        assert!(findings && objects.iter().any(|object| object.contains(expected)), "{objects:?}");
        for error in [
            migrate(&config).unwrap_err(),
            rehearse(&config, &MigrateOptions::default()).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::InTheWay { .. }), "{sql}: {error:?}");
            assert!(error.to_string().contains(expected), "{sql}: {error}");
        }
        assert_eq!(before, schema(config.path()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|entry| {
            entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "db")
        }).count(), 1, "no copy");
    }
}
