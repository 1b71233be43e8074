//! Databases of the original bot: taken over, given back, taken over again.

use std::path::{Path, PathBuf};

use roas_db::{
    Config, Contents, Database, LegacyKind, MigrateOptions, RollbackOptions, Strategy, migrate,
    migrate_with, migration_status, rollback,
};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message};
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;
use tempfile::{TempDir, tempdir};

use crate::support::{on_runtime, query, quick, raw};

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
