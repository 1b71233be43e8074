//! Databases of the original bot: taken over, given back, taken over again.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::{
    Just, ProptestConfig, Strategy as Strategy2, any, prop_assert_eq, prop_oneof, proptest,
};
use roas_db::migration::{
    Contents, LegacyKind, MigrateOptions, RollbackOptions, RowCounts, Strategy, Takeover, audit,
    check, migrate, migrate_with, migration_status, repair, rollback,
};
use roas_db::{Config, Database, OpenError, RetryPolicy, Watcher, backup, restore};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message};
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;
use tempfile::{TempDir, tempdir};

use crate::support::{on_runtime, query, quick, raw, start_process};

pub(crate) const FIXTURES: [&str; 3] = ["v23-meter", "v240-duplicates", "v241-primary-key"];

/// The tables that taking over reads or writes.
const AFFECTED: &str = "'activity_meter', 'activity_daily', 'activity_settings', 'activity_event',
    'legacy_activity_meter', 'legacy_activity_daily', 'legacy_activity_settings', 'legacy_merged',
    'legacy_quarantined', 'legacy_takeover', 'meter', 'daily', 'report_channel',
    'activity_report_channel'";

pub(crate) fn fixture(name: &str) -> (TempDir, Config) {
    let folder = tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/legacy")
        .join(format!("{name}.db"));
    let config = quick(folder.path());
    #[expect(clippy::disallowed_methods, reason = "nothing has the fixture open")]
    std::fs::copy(source, config.path()).unwrap();
    (folder, config)
}

fn expected(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/legacy")
        .join(format!("{name}.expected.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "looks at the file past the adapter"
)]
fn connection(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// A table's schema and rows, storage classes included, as text. Further tables are left out.
pub(crate) fn dump(path: &Path) -> Vec<String> {
    let connection = connection(path);
    let mut statement = connection
        .prepare(&format!(
            "SELECT name, sql FROM sqlite_schema
             WHERE tbl_name IN ({AFFECTED}) AND sql IS NOT NULL ORDER BY name"
        ))
        .unwrap();
    let objects: Vec<(String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let mut lines = Vec::new();
    for (name, sql) in objects {
        let is_table = sql.starts_with("CREATE TABLE");
        lines.push(sql);
        if !is_table {
            continue;
        }
        let rowid = if lines.last().unwrap().contains("WITHOUT ROWID") {
            ""
        } else {
            "rowid, "
        };
        let mut rows = connection
            .prepare(&format!("SELECT {rowid}* FROM \"{name}\""))
            .unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..columns)
                .map(|column| row.get(column).unwrap())
                .collect();
            lines.push(format!("{name}: {values:?}"));
        }
    }
    lines
}

/// What the refinery program does: loads the folder at run time and runs it grouped.
pub(crate) fn refine(path: &Path) -> Result<(), refinery::Error> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let migrations = refinery::load_sql_migrations(folder).unwrap();
    refinery::Runner::new(&migrations)
        .set_grouped(true)
        .run(&mut connection(path))
        .map(drop)
}

/// The file holds what the fixture's description says.
fn assert_expected(name: &str, path: &Path) {
    let expected = expected(name);
    let ask = |sql: &str| query::<f64>(path, sql);
    let found = |key: &str| match key {
        "members" => ask("SELECT count(*) FROM activity_meter"),
        "daily_messages" => ask("SELECT sum(msg_cnt) FROM activity_daily"),
        "report_channels" => {
            ask("SELECT count(*) FROM activity_settings WHERE report_channel_id IS NOT NULL")
        }
        "source_rows" => ask("SELECT source_rows FROM legacy_takeover WHERE kind = 'members'"),
        "duplicate_rows" => ask("SELECT count(*) FROM legacy_merged"),
        "quarantined_rows" => ask("SELECT count(*) FROM legacy_quarantined"),
        "sum_score" | "sum_score_max_strategy" => ask("SELECT sum(score) FROM activity_meter"),
        "sum_last_msg_max_strategy" => ask("SELECT sum(last_msg) FROM activity_meter"),
        other => panic!("an expectation that nobody checks: {other}"),
    };
    for (key, value) in expected.as_object().unwrap() {
        // What was in the rows, not what became of them: `audit`'s business.
        if ["note", "millisecond_timestamps", "out_of_range_scores"].contains(&key.as_str()) {
            continue;
        }
        let (found, wanted) = (found(key), value.as_f64().unwrap());
        assert!(
            (found - wanted).abs() < 1e-6,
            "{name}: {key} is {found}, not {wanted}"
        );
    }
    assert_eq!(
        query::<i64>(
            path,
            "SELECT count(*) FROM activity_settings WHERE time_zone <> 'Asia/Taipei'"
        ),
        0
    );
    assert_eq!(
        query::<i64>(
            path,
            "SELECT count(DISTINCT guild_id) FROM activity_meter
             WHERE guild_id NOT IN (SELECT guild_id FROM activity_settings)"
        ),
        0
    );
    assert_eq!(query::<String>(path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn the_fixtures_end_as_expected_by_the_library_by_opening_and_by_refinery() {
    for name in FIXTURES {
        let (_folder, by_library) = fixture(name);
        let report = migrate(&by_library).unwrap();
        assert_expected(name, by_library.path());
        assert_eq!(report.from, 0);
        let takeover = report.takeover.unwrap();
        for (_, rows) in takeover.kinds() {
            assert_eq!(rows.source, rows.taken + rows.merged + rows.quarantined);
        }
        assert_eq!(
            takeover.members.taken,
            query::<i64>(by_library.path(), "SELECT count(*) FROM activity_meter").unsigned_abs()
        );

        let (_folder, by_refinery) = fixture(name);
        refine(by_refinery.path()).unwrap();
        assert_expected(name, by_refinery.path());
        assert_eq!(dump(by_library.path()), dump(by_refinery.path()), "{name}");
        let status = migration_status(by_refinery.path()).unwrap();
        assert_eq!(
            (status.contents, status.pending),
            (Contents::Ours, Vec::new())
        );

        let (_folder, by_opening) = fixture(name);
        on_runtime(async {
            let database = Database::open(by_opening.clone()).await.unwrap();
            assert_eq!(database.info().migrations_applied, report.applied);
            database.close().await.unwrap();
        });
        assert_eq!(dump(by_library.path()), dump(by_opening.path()), "{name}");
    }
}

#[test]
fn up_down_and_up_again_meets_the_same_states() {
    for name in FIXTURES {
        let (_folder, config) = fixture(name);
        let legacy = dump(config.path());
        let kind = migration_status(config.path()).unwrap().contents;
        migrate(&config).unwrap();
        let ours = dump(config.path());

        rollback(&config, &RollbackOptions::to(1)).unwrap();
        assert_eq!(
            migration_status(config.path()).unwrap().contents,
            Contents::Legacy(LegacyKind::SetAside)
        );
        migrate(&config).unwrap();
        assert_eq!(ours, dump(config.path()), "{name}");

        let report = rollback(&config, &RollbackOptions::to(0)).unwrap();
        assert_eq!(report.contents, kind);
        assert_eq!(legacy, dump(config.path()), "{name}");
        migrate(&config).unwrap();
        assert_eq!(ours, dump(config.path()), "{name}");
    }
}

#[test]
fn an_audit_tells_beforehand_what_a_migration_does() {
    for name in FIXTURES {
        let (folder, config) = fixture(name);
        let before = dump(config.path());
        let audit = audit(&config).unwrap();
        assert_eq!(before, dump(config.path()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        for (key, wanted) in expected(name).as_object().unwrap() {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let found = match key.as_str() {
                "members" => audit.members as f64,
                "source_rows" => audit.takeover.members.source as f64,
                "duplicate_rows" => audit.takeover.members.merged as f64,
                "quarantined_rows" => audit.takeover.members.quarantined as f64,
                "millisecond_timestamps" => audit.millisecond_timestamps as f64,
                "out_of_range_scores" => audit.out_of_range_scores as f64,
                "daily_messages" => audit.daily_messages as f64,
                "report_channels" => audit.takeover.report_channels.taken as f64,
                "sum_score" | "sum_score_max_strategy" => audit.sum_scores[0],
                "sum_last_msg_max_strategy" => audit.sum_last_msg as f64,
                "note" => continue,
                other => panic!("an expectation that nobody checks: {other}"),
            };
            assert!(
                (found - wanted.as_f64().unwrap()).abs() < 1e-6,
                "{name}: {key} is {found}"
            );
        }
        assert_eq!(audit.has_findings(), name == "v240-duplicates");
        for (index, strategy) in Strategy::ALL.into_iter().enumerate() {
            let (_folder, config) = fixture(name);
            let report =
                migrate_with(&config, &MigrateOptions::default().strategy(strategy)).unwrap();
            assert_eq!(
                report.takeover.unwrap(),
                Takeover {
                    strategy,
                    ..audit.takeover
                }
            );
            let sum: f64 = query(config.path(), "SELECT sum(score) FROM activity_meter");
            assert!(
                (sum - audit.sum_scores[index]).abs() < 1e-6,
                "{name}, {strategy}: {sum}"
            );
        }
    }
}

#[test]
fn the_script_and_its_undoing_read_the_rows_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let shared = |path: &str| {
        let text = std::fs::read_to_string(folder.join(path)).unwrap();
        let (_, rest) = text.split_once("ATTACH").unwrap();
        rest.split_once("-- Up to here.").unwrap().0.to_owned()
    };
    assert_eq!(
        shared("V2__take_over_legacy.sql"),
        shared("rollback/undo_V2__take_over_legacy.sql")
    );
}

/// Every storage class in every column, and what becomes of it.
#[test]
fn odd_values_are_cleaned_merged_or_quarantined_with_the_reason() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    raw(
        config.path(),
        "CREATE TABLE activity_meter (guild_id, user_id, score, last_msg, note);
         INSERT INTO activity_meter VALUES
            (1, 2, 5, 100, 'a'), ('1', 2.0, '7.5', '200', 'b'), (' 01', '2', 'x', x'00', 'c'),
            (1, 3, 9e999, 1755000000123, NULL), (1, 4, -1, -5, NULL), (1, 5, NULL, 9e99, NULL),
            (0, 1, 1, 1, NULL), (-1, 1, 1, 1, NULL), (1.5, 1, 1, 1, NULL), (x'31', 1, 1, 1, NULL),
            ('9223372036854775808', 1, 1, 1, NULL), (9007199254740993.0, 1, 1, 1, NULL),
            ('1x', 1, 1, 1, NULL), (1, NULL, 1, 1, NULL), ('', '', '', '', '');
         CREATE TABLE activity_daily (ymd, guild_id, user_id, msg_cnt);
         INSERT INTO activity_daily VALUES ('20250710', 1, 2, 3), (20250710, '1', 2, '5'),
            ('20250230', 1, 2, 1), (NULL, 1, 2, 1), ('20250711', 1, 2, -4), ('20250712', 0, 2, 1);
         CREATE TABLE notes (guild_id, text); INSERT INTO notes VALUES (1, 'stays')",
    );
    let legacy = dump(config.path());
    let takeover = migrate(&config).unwrap().takeover.unwrap();
    assert_eq!(
        takeover.members,
        RowCounts {
            source: 15,
            taken: 4,
            merged: 2,
            quarantined: 9
        }
    );
    assert_eq!(
        takeover.days,
        RowCounts {
            source: 6,
            taken: 2,
            merged: 1,
            quarantined: 3
        }
    );
    let rows: String = query(
        config.path(),
        "SELECT group_concat(user_id || ':' || score || ':' || last_msg || ':' || messages, ' ')
         FROM activity_meter WHERE guild_id = 1",
    );
    assert_eq!(rows, "2:7.5:200:5 3:100.0:1755000000:0 4:0.0:0:0 5:0.0:0:0");
    let reasons: i64 = query(
        config.path(),
        "SELECT count(*) FROM legacy_quarantined WHERE reason LIKE '%guild_id%'
            AND source = 'activity_meter'",
    );
    assert_eq!(reasons, 8);
    rollback(&config, &RollbackOptions::to(0)).unwrap();
    assert_eq!(legacy, dump(config.path()));
    assert_eq!(
        query::<String>(config.path(), "SELECT text FROM notes"),
        "stays"
    );
}

#[test]
fn what_was_recorded_since_is_kept_on_the_way_down() {
    for (name, table, days) in [
        ("v23-meter", "meter", "daily"),
        ("v240-duplicates", "activity_meter", "activity_daily"),
    ] {
        let (_folder, config) = fixture(name);
        let rows: i64 = query(config.path(), &format!("SELECT count(*) FROM {table}"));
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            repository
                .record(message(member(1, 2), MIDNIGHT))
                .await
                .unwrap();
            repository
                .adjust_score(member(1, 3), delta(7.0), at(MIDNIGHT))
                .await
                .unwrap();
            database.close().await.unwrap();
        });
        for version in [1, 0] {
            rollback(&config, &RollbackOptions::to(version)).unwrap();
        }
        let found: f64 = query(
            config.path(),
            &format!("SELECT sum(score) FROM {table} WHERE guild_id = 1"),
        );
        assert_eq!(found, 8.0, "{name}");
        assert_eq!(
            query::<i64>(config.path(), &format!("SELECT count(*) FROM {table}")),
            rows + 2
        );
        let messages: i64 = query(
            config.path(),
            &format!("SELECT sum(msg_cnt) FROM {days} WHERE guild_id = 1"),
        );
        assert_eq!(messages, 1, "{name}");
        migrate(&config).unwrap();
        assert_eq!(
            query::<f64>(
                config.path(),
                "SELECT sum(score) FROM activity_meter WHERE guild_id = 1"
            ),
            8.0
        );
    }
}

#[test]
fn a_program_that_has_the_file_open_is_named() {
    let (_folder, config) = fixture("v240-duplicates");
    let config = config.retry(RetryPolicy::balanced().with_deadline(Duration::from_millis(200)));
    let mut holder = start_process(
        "legacy::holds_a_file_open",
        &[("ROAS_TEST_FILE", config.path().to_str().unwrap())],
    );
    let mut output = BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        output.read_line(&mut line).unwrap();
    }
    let before = dump(config.path());
    let error = migrate(&config).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(
        error.to_string().contains(&holder.id().to_string()),
        "{error}"
    );
    assert_eq!(before, dump(config.path()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    migrate(&config).unwrap();
}

#[test]
#[ignore = "a process of a_program_that_has_the_file_open_is_named"]
fn holds_a_file_open() {
    let connection = connection(Path::new(&std::env::var("ROAS_TEST_FILE").unwrap()));
    connection
        .query_row("SELECT count(*) FROM activity_meter", [], |_| Ok(()))
        .unwrap();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// What one round of the kill tests does.
fn operation(config: &Config, what: &str) {
    let other = config.path().with_file_name("other.db");
    match what {
        "migrate" => drop(migrate(config).unwrap()),
        "rollback" => drop(rollback(config, &RollbackOptions::to(0)).unwrap()),
        "backup" => drop(backup(config, &other, true, &Watcher::default()).unwrap()),
        "restore" => drop(restore(config, &other, true, &Watcher::default()).unwrap()),
        other => panic!("no such operation: {other}"),
    }
}

#[test]
#[ignore = "a process of the kill tests"]
fn does_an_operation() {
    let folder = PathBuf::from(std::env::var("ROAS_TEST_FOLDER").unwrap());
    println!("ready");
    operation(
        &quick(&folder),
        &std::env::var("ROAS_TEST_OPERATION").unwrap(),
    );
}

/// Kills `what` at random moments; the next start finds the old or the new state, whole.
#[expect(clippy::print_stdout, reason = "the long form tells its figures")]
fn kill_rounds(what: &str, rounds: u32, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut old, mut new) = (0, 0);
    let mut longest = Duration::from_millis(60);
    for round in 0..rounds {
        let (folder, config) = fixture("v240-duplicates");
        let other = folder.path().join("other.db");
        if what != "migrate" {
            migrate(&config).unwrap();
        }
        if what == "restore" {
            backup(&config, &other, false, &Watcher::default()).unwrap();
            rollback(&config, &RollbackOptions::to(0)).unwrap();
        }
        let watched = if what == "backup" {
            other
        } else {
            config.path().to_owned()
        };
        let state = || watched.exists().then(|| dump(&watched));
        let before = state();
        let mut process = start_process(
            "legacy::does_an_operation",
            &[
                ("ROAS_TEST_FOLDER", folder.path().to_str().unwrap()),
                ("ROAS_TEST_OPERATION", what),
            ],
        );
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            output.read_line(&mut line).unwrap();
        }
        let started = std::time::Instant::now();
        let delay = longest.mul_f64(rng.f64() * 1.2);
        while started.elapsed() < delay && process.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let _ = process.kill();
        if process.wait().unwrap().success() {
            longest = longest.min(started.elapsed()).max(Duration::from_millis(5));
        }
        // The next start recovers; nothing has changed but for the whole of it.
        let after = state();
        assert!(
            check(&config).unwrap().findings.is_empty(),
            "{what}, round {round}: {:?}",
            check(&config)
        );
        if after == before {
            old += 1;
        } else {
            operation(&config, what);
            assert_eq!(
                after,
                state(),
                "{what}, round {round}: neither the old nor the new state"
            );
            new += 1;
        }
    }
    println!("{what}: killed {rounds} times, {old} in the old state, {new} in the new one");
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_or_the_new_state() {
    for (what, seed) in [
        ("migrate", 1),
        ("rollback", 2),
        ("backup", 3),
        ("restore", 4),
    ] {
        kill_rounds(what, 8, seed);
    }
}

#[test]
#[ignore = "the long form: cargo test -p roas-db --test it -- --ignored killed_two_hundred_times"]
fn killed_two_hundred_times() {
    for (what, seed) in [
        ("migrate", 11),
        ("rollback", 12),
        ("backup", 13),
        ("restore", 14),
    ] {
        kill_rounds(what, 200, seed);
    }
}

/// Eight processes open an old file at one moment: one migrates, none fails.
fn eight_at_once(name: &str) {
    let (folder, config) = fixture(name);
    let path = folder.path().to_str().unwrap();
    let mut processes: Vec<_> = (0..8)
        .map(|_| start_process("migration::opens_when_told", &[("ROAS_TEST_FOLDER", path)]))
        .collect();
    let mut outputs: Vec<_> = processes
        .iter_mut()
        .map(|process| BufReader::new(process.stdout.take().unwrap()))
        .collect();
    for output in &mut outputs {
        let mut line = String::new();
        while !line.contains("ready") {
            output.read_line(&mut line).unwrap();
        }
    }
    for process in &mut processes {
        process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    for (mut process, mut output) in processes.into_iter().zip(outputs) {
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert!(process.wait().unwrap().success(), "{name}: {rest}");
    }
    let snapshots = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().contains("-before-v")
        })
        .count();
    assert_eq!(snapshots, 1, "{name}: one migration");
    assert_eq!(
        query::<i64>(
            config.path(),
            "SELECT messages FROM activity_meter WHERE guild_id = 1"
        ),
        8
    );
}

#[test]
fn eight_processes_that_start_on_an_old_file_all_come_up() {
    for name in FIXTURES {
        eight_at_once(name);
    }
}

#[test]
#[ignore = "the long form: cargo test -p roas-db --test it -- --ignored eight_processes_a_hundred_times"]
fn eight_processes_a_hundred_times() {
    for name in FIXTURES {
        for _ in 0..100 {
            eight_at_once(name);
        }
    }
}

#[test]
fn a_history_that_lies_is_noticed_and_mended() {
    for (sql, healed) in [
        (
            "DELETE FROM refinery_schema_history WHERE version = (SELECT max(version) FROM refinery_schema_history)",
            true,
        ),
        ("DROP TABLE refinery_schema_history", true),
        (
            "DELETE FROM refinery_schema_history WHERE version = 1",
            true,
        ),
        (
            "DELETE FROM refinery_schema_history WHERE version = 2",
            true,
        ),
        (
            "DELETE FROM refinery_schema_history WHERE version < 3",
            true,
        ),
        (
            "DELETE FROM refinery_schema_history WHERE version = 2; DROP TABLE legacy_merged",
            false,
        ),
        ("DROP TABLE activity_daily", false),
    ] {
        let (_folder, config) = fixture("v240-duplicates");
        migrate(&config).unwrap();
        let whole = dump(config.path());
        raw(config.path(), sql);
        let broken = dump(config.path());
        let error = migrate(&config).unwrap_err();
        assert!(
            matches!(error, OpenError::HalfMigrated { .. }),
            "{sql}: {error:?}"
        );
        assert_eq!(check(&config).unwrap().findings.len(), 1, "{sql}");
        match repair(&config) {
            Ok(report) => {
                assert!(healed, "{sql}");
                assert!(!report.done.is_empty());
                assert!(migrate(&config).unwrap().applied.is_empty());
                assert_eq!(whole, dump(config.path()));
            }
            Err(error) => {
                assert!(!healed, "{sql}: {error:?}");
                assert!(matches!(error, OpenError::Irreparable { .. }), "{error:?}");
                assert_eq!(broken, dump(config.path()));
            }
        }
    }
}

#[test]
fn a_history_without_its_tables_is_taken_back() {
    let (_folder, config) = fixture("v240-duplicates");
    let folder = tempdir().unwrap();
    let other = quick(folder.path());
    migrate(&other).unwrap();
    raw(
        config.path(),
        &format!(
            "ATTACH '{}' AS other;
             CREATE TABLE refinery_schema_history(version int4 PRIMARY KEY, name VARCHAR(255),
                 applied_on VARCHAR(255), checksum VARCHAR(255));
             INSERT INTO refinery_schema_history SELECT * FROM other.refinery_schema_history",
            other.path().display()
        ),
    );
    assert!(matches!(
        migrate(&config).unwrap_err(),
        OpenError::HalfMigrated { .. }
    ));
    assert_eq!(repair(&config).unwrap().to, 0);
    migrate(&config).unwrap();
    assert_expected("v240-duplicates", config.path());
}

#[test]
fn copies_are_private_never_overwrite_and_follow_no_link() {
    let (folder, config) = fixture("v241-primary-key");
    let report = migrate(&config).unwrap();
    let target = folder.path().join("copy.db");
    let victim = folder.path().join("victim");
    std::os::unix::fs::symlink(&victim, &target).unwrap();
    let watcher = Watcher::default();
    let error = backup(&config, &target, false, &watcher).unwrap_err();
    assert!(matches!(error, OpenError::Exists { .. }), "{error:?}");
    assert!(!victim.exists());
    backup(&config, &target, true, &watcher).unwrap();
    assert!(!victim.exists() && !target.is_symlink());
    for file in [&target, report.snapshot.as_ref().unwrap()] {
        assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(dump(config.path()), dump(&target));

    let error = restore(&config, &target, false, &watcher).unwrap_err();
    assert!(matches!(error, OpenError::Exists { .. }), "{error:?}");
    std::fs::write(folder.path().join("broken.db"), "no database").unwrap();
    let error = restore(&config, &folder.path().join("broken.db"), true, &watcher).unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    raw(
        config.path(),
        "PRAGMA journal_mode = WAL; DELETE FROM activity_meter",
    );
    restore(&config, &target, true, &watcher).unwrap();
    assert_eq!(dump(config.path()), dump(&target));
    for suffix in ["-wal", "-shm", "-journal"] {
        assert!(!folder.path().join(format!("roas.db{suffix}")).exists());
    }
}

#[test]
fn a_backup_beside_a_running_writer_is_one_state() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let target = folder.path().join("copy.db");
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        let writing = tokio::spawn(async move {
            for user in 1..2_000 {
                repository
                    .record(message(member(1, user), MIDNIGHT))
                    .await
                    .unwrap();
            }
        });
        for _ in 0..5 {
            let (config, target) = (config.clone(), target.clone());
            tokio::task::spawn_blocking(move || {
                backup(&config, &target, true, &Watcher::default())
            })
            .await
            .unwrap()
            .unwrap();
        }
        writing.await.unwrap();
        database.close().await.unwrap();
    });
    assert_eq!(
        query::<i64>(&target, "SELECT count(*) FROM activity_meter"),
        query::<i64>(&target, "SELECT sum(msg_cnt) FROM activity_daily")
    );
}

fn any_value() -> impl Strategy2<Value = Value> {
    prop_oneof![
        4 => (1_i64..5).prop_map(Value::Integer),
        1 => any::<i64>().prop_map(Value::Integer),
        1 => Just(Value::Null),
        1 => prop_oneof![Just(f64::INFINITY), Just(-0.0), Just(1e18), Just(2.0), any::<f64>()]
            .prop_map(|real| if real.is_nan() { Value::Null } else { Value::Real(real) }),
        1 => "( ?[0-9]{0,20}|[a-z0-9.+-]{0,6}|20250[1-9]1[0-9])".prop_map(Value::Text),
        1 => proptest::collection::vec(any::<u8>(), 0..4).prop_map(Value::Blob),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever is in the rows, they are conserved, and come back.
    #[test]
    fn arbitrary_rows_are_conserved(
        rows in proptest::collection::vec([any_value(), any_value(), any_value(), any_value()], 0..30),
        kinds in proptest::collection::vec(0_usize..6, 30),
        typed in any::<bool>(),
    ) {
        let folder = tempdir().unwrap();
        let config = quick(folder.path());
        let [id, real] = if typed { ["INTEGER", "REAL"] } else { ["", ""] };
        raw(config.path(), &format!(
            "CREATE TABLE activity_meter (guild_id {id}, user_id {id}, score {real}, last_msg {id});
             CREATE TABLE activity_daily (ymd, guild_id {id}, user_id {id}, msg_cnt {id});
             CREATE TABLE activity_settings (guild_id {id}, max_score, cooldown_seconds, report_channel_id);
             CREATE TABLE meter (guild_id, user_id, score, last_msg);
             CREATE TABLE daily (ymd, guild_id, user_id, msg_cnt);
             CREATE TABLE report_channel (guild_id, channel_id, a, b)"
        ));
        let tables = ["activity_meter", "activity_daily", "activity_settings", "meter", "daily", "report_channel"];
        {
            let connection = connection(config.path());
            for (row, kind) in rows.iter().zip(&kinds) {
                let sql = format!("INSERT INTO {} VALUES (?1, ?2, ?3, ?4)", tables[*kind]);
                connection.execute(&sql, rusqlite::params_from_iter(row)).unwrap();
            }
        }
        let legacy = dump(config.path());
        let audited = audit(&config).unwrap();
        let takeover = migrate(&config).unwrap().takeover.unwrap_or_default();
        prop_assert_eq!(takeover, audited.takeover);
        prop_assert_eq!(takeover.source_rows(), rows.len() as u64);
        for (_, rows) in takeover.kinds() {
            prop_assert_eq!(rows.source, rows.taken + rows.merged + rows.quarantined);
        }
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            assert_eq!(repository.counts().await.unwrap().members, takeover.members.taken);
            for guild in 1..5 {
                let guild = roas_domain::GuildId::new(guild).unwrap();
                repository.guild_rules(guild).await.unwrap();
                repository.top_scores(guild, at(MIDNIGHT), roas_domain::LeaderboardLimit::default()).await.unwrap();
            }
            database.close().await.unwrap();
        });
        prop_assert_eq!(check(&config).unwrap().findings, Vec::<String>::new());
        rollback(&config, &RollbackOptions::to(0)).unwrap();
        prop_assert_eq!(legacy, dump(config.path()));
    }
}

/// How many hundred thousands of steps of SQLite's virtual machine a migration and its undoing take,
/// with `rows` members of whom a part was recorded again since.
fn steps(schema: &str, tables: [&str; 2], rows: u32) -> [usize; 2] {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    let [meter, daily] = tables;
    raw(
        config.path(),
        &format!(
            "PRAGMA foreign_keys = OFF; {schema};
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {rows})
                 SELECT i FROM n;
             INSERT INTO {meter} (guild_id, user_id, score, last_msg)
                 SELECT 1 + i % 50, 1 + i * 7919 % {rows}, i % 100, 1755000000 + i FROM n;
             INSERT INTO {daily} (ymd, guild_id, user_id, msg_cnt)
                 SELECT '202507' || (10 + i % 20), 1 + i % 50, 1 + i * 7919 % {rows}, i % 9 FROM n;
             CREATE TABLE badge (guild_id, user_id, FOREIGN KEY (guild_id, user_id) REFERENCES {meter});
             INSERT INTO badge SELECT guild_id, user_id FROM {meter}"
        ),
    );
    let counter = || {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counting = std::sync::Arc::clone(&count);
        let watcher = Watcher::new(move |progress| {
            if progress.phase == roas_db::Phase::Migrating {
                counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        (watcher, count)
    };
    let (watcher, up) = counter();
    migrate_with(
        &config,
        &MigrateOptions::default().snapshot(false).watcher(watcher),
    )
    .unwrap();
    raw(
        config.path(),
        "UPDATE activity_meter SET score = score / 2, messages = messages + 1 WHERE user_id % 3 = 0;
         UPDATE activity_daily SET msg_cnt = msg_cnt + 1 WHERE user_id % 3 = 0;
         INSERT INTO activity_meter SELECT guild_id, user_id + 1000000, score, last_msg, messages
             FROM activity_meter WHERE user_id % 5 = 0",
    );
    let (watcher, down) = counter();
    rollback(
        &config,
        &RollbackOptions::to(0).snapshot(false).watcher(watcher),
    )
    .unwrap();
    [up, down].map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
}

/// A join that finds no key takes the square of the rows, and seven hours for a million.
#[test]
fn a_rollback_grows_with_the_rows_and_takes_no_more_than_the_migration() {
    for (schema, tables) in [
        (
            "CREATE TABLE activity_meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER);
             CREATE TABLE activity_daily (ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER,
                 PRIMARY KEY (ymd, guild_id, user_id))",
            ["activity_meter", "activity_daily"],
        ),
        (
            "CREATE TABLE meter (guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER,
                 PRIMARY KEY (guild_id, user_id));
             CREATE TABLE daily (ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER,
                 PRIMARY KEY (ymd, guild_id, user_id))",
            ["meter", "daily"],
        ),
        (
            "CREATE TABLE activity_meter (guild_id, user_id, score, last_msg);
             CREATE TABLE activity_daily (ymd, guild_id, user_id, msg_cnt)",
            ["activity_meter", "activity_daily"],
        ),
    ] {
        let [up, down] = steps(schema, tables, 2_000);
        // 6 a thousand rows. Were it the square: 150 for these.
        assert!(up <= 20 && down <= up, "{tables:?}: {up} up, {down} down");
    }
}
