//! `check`, `audit` and what checks a copy, on files that are damaged or hold what others made.
#![expect(
    clippy::disallowed_methods,
    reason = "files are spoiled past the adapter, while nothing has them open"
)]

use std::fs;
use std::path::Path;

use roas_db::migration::{Contents, audit, check, migrate, rehearse};
use roas_db::{Config, Database, OpenError, Watcher, backup};
use roas_domain::ActivityRepository;
use roas_domain::testing::fixtures::{MIDNIGHT, member, message};
use tempfile::{TempDir, tempdir};

use crate::legacy::fixture;
use crate::support::{on_runtime, query, quick, raw};

/// A database of ours with what `sql` makes in it.
fn with_foreign(sql: &str) -> (TempDir, Config) {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    migrate(&config).unwrap();
    raw(config.path(), sql);
    (folder, config)
}

/// A schema's text in place of another, as it is where a program brings functions of its own.
fn rewritten(sql: &str, name: &str, text: &str) -> String {
    format!(
        "{sql}; PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = '{text}' WHERE name = '{name}'"
    )
}

#[test]
fn a_reference_that_cannot_match_is_a_finding_about_its_table() {
    let (_folder, config) = with_foreign(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE office (office_id INTEGER, guild_id INTEGER);
         CREATE TABLE office_term (office_id INTEGER REFERENCES office (office_id));
         INSERT INTO office_term VALUES (1);
         CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER REFERENCES parent, other INTEGER REFERENCES nowhere (id));
         INSERT INTO child VALUES (1, 2), (3, NULL);
         CREATE VIEW broken AS SELECT o.nosuch FROM office o;
         UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1",
    );
    let report = check(&config).unwrap();
    let [child_nowhere, child_parent, term, history] = &report.findings[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        child_nowhere,
        "table `child`: 1 rows refer to rows of `nowhere` that are missing"
    );
    assert_eq!(
        child_parent,
        "table `child`: 2 rows refer to rows of `parent` that are missing"
    );
    assert_eq!(
        term,
        "table `office_term`: its references cannot be checked: \
         foreign key mismatch - \"office_term\" referencing \"office\""
    );
    // The meter's own checks were made as well.
    assert!(history.contains("version 1"), "{history}");
}

/// SQLite does not look at constraints where it may not write.
#[test]
fn a_broken_constraint_is_found_in_a_closed_file_and_beside_a_bot() {
    let (folder, config) = with_foreign(
        "CREATE TABLE t (n CHECK (n > 0)); PRAGMA ignore_check_constraints = ON;
         INSERT INTO t VALUES (-1)",
    );
    let finding = ["CHECK constraint failed in t"];
    assert_eq!(check(&config).unwrap().findings, finding);
    let bot = on_runtime(Database::open(config.clone())).unwrap();
    assert_eq!(check(&config).unwrap().findings, finding);
    on_runtime(bot.close()).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap();
    assert!(!files.into_iter().any(|file| {
        let name = file.unwrap().file_name();
        name.to_str().unwrap().ends_with("-wal")
    }));
}

/// An index, a column or a constraint that needs what only another program has.
#[test]
fn a_table_that_sqlite_cannot_check_is_a_finding_and_stops_neither_check_nor_copy() {
    for (sql, name, text, reason) in [
        (
            "CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES ('a'), ('b')",
            "i",
            "CREATE INDEX i ON t (fold(n))",
            "unknown function: fold()",
        ),
        (
            "CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES ('a'), ('b')",
            "i",
            "CREATE INDEX i ON t (n) WHERE fold(n) > 0",
            "unknown function: fold()",
        ),
        (
            "CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES ('a'), ('b')",
            "i",
            "CREATE INDEX i ON t (n COLLATE zh)",
            "no such collation sequence: zh",
        ),
        (
            "CREATE TABLE t (n); INSERT INTO t VALUES ('a')",
            "t",
            "CREATE TABLE t (n CHECK (fold(n) > 0))",
            "unknown function: fold()",
        ),
        (
            "CREATE TABLE t (n); INSERT INTO t VALUES ('a')",
            "t",
            "CREATE TABLE t (n, m TEXT AS (fold(n)))",
            "unknown function: fold()",
        ),
    ] {
        let (folder, config) = with_foreign(&rewritten(sql, name, text));
        let unchecked = format!("table `t`: {reason}");
        assert_eq!(
            check(&config).unwrap().findings,
            [format!("cannot be checked: {unchecked}")],
            "{text}"
        );
        let audit = audit(&config).unwrap();
        assert_eq!(audit.unchecked, [unchecked], "{text}");
        assert!(audit.has_findings() && audit.damage.is_empty());
        let copy = folder.path().join("copy.db");
        backup(&config, &copy, false, &Watcher::default()).unwrap();
        assert_eq!(
            check(&Config::new(copy)).unwrap().contents,
            Some(Contents::Ours)
        );
    }
}

#[test]
fn damage_beside_a_table_that_cannot_be_checked_is_found() {
    let (_folder, config) = with_foreign(&rewritten(
        "CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES ('a');
         CREATE TABLE u (n NOT NULL); INSERT INTO u VALUES (1);
         CREATE TABLE w (n); INSERT INTO w VALUES (NULL);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE w (n NOT NULL)' WHERE name = 'w'",
        "i",
        "CREATE INDEX i ON t (fold(n))",
    ));
    assert_eq!(
        check(&config).unwrap().findings,
        [
            "NULL value in w.n",
            "cannot be checked: table `t`: unknown function: fold()"
        ]
    );
}

/// What cannot be there but by accident, or because another program needs it.
#[test]
fn what_others_made_and_works_is_no_finding() {
    let (_folder, config) = with_foreign(&rewritten(
        "CREATE TABLE o (id); CREATE VIEW broken AS SELECT o.nosuch FROM o;
         CREATE TRIGGER t AFTER INSERT ON o BEGIN INSERT INTO nosuch VALUES (1); END;
         CREATE VIRTUAL TABLE words USING fts5 (x); INSERT INTO words VALUES ('hello');
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, '')",
        "v",
        "CREATE VIRTUAL TABLE v USING nosuchmodule (a, b)",
    ));
    assert_eq!(check(&config).unwrap().findings, [""; 0]);
}

fn spoil(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

#[test]
fn a_file_that_was_cut_off_is_a_finding_at_any_length() {
    let (_folder, config) = fixture("v241-primary-key");
    migrate(&config).unwrap();
    let whole = fs::read(config.path()).unwrap();
    let pages = whole.len() / 4_096;
    let lengths = (1..pages).map(|page| page * 4_096).chain([
        0,
        1,
        50,
        100,
        512,
        2_000,
        4_095,
        4_097,
        whole.len() - 1,
    ]);
    for length in lengths {
        fs::write(config.path(), &whole[..length]).unwrap();
        let checked = check(&config).unwrap();
        assert!(!checked.findings.is_empty(), "{length}: {checked:?}");
        let audited = audit(&config).unwrap();
        assert!(!audited.damage.is_empty(), "{length}: {audited:?}");
        if length > 1 {
            assert_ne!(checked.contents, Some(Contents::Empty), "{length}");
            assert_ne!(audited.contents, Some(Contents::Empty), "{length}");
        }
        // Which pages are missing, not only that something is wrong.
        if length % 4_096 == 0 && length * 2 >= whole.len() {
            let named = checked.findings.iter().any(|finding| {
                finding.contains("invalid page number") || finding.contains("table `")
            });
            assert!(named, "{length}: {checked:?}");
        }
    }
}

#[test]
fn pages_that_were_overwritten_are_a_finding_and_the_original_is_named() {
    let (folder, config) = fixture("v241-primary-key");
    let whole = fs::read(config.path()).unwrap();
    let copy = folder.path().join("copy.db");
    for page in (0..whole.len() / 4_096).step_by(10) {
        let mut spoiled = whole.clone();
        spoiled[page * 4_096..(page + 1) * 4_096].fill(0x5a);
        fs::write(config.path(), &spoiled).unwrap();
        let checked = check(&config).unwrap();
        assert!(!checked.findings.is_empty(), "{page}: {checked:?}");
        let audited = audit(&config).unwrap();
        assert!(!audited.damage.is_empty(), "{page}: {audited:?}");
        let options = roas_db::migration::MigrateOptions::default();
        for error in [
            migrate(&config).unwrap_err(),
            rehearse(&config, &options).unwrap_err(),
            backup(&config, &copy, false, &Watcher::default()).unwrap_err(),
        ] {
            match &error {
                OpenError::Damaged { path, .. } | OpenError::NotADatabase { path } => {
                    assert_eq!(path, config.path(), "{page}");
                }
                error => panic!("{page}: {error:?}"),
            }
        }
        assert!(!copy.exists());
        assert!(fs::read(config.path()).unwrap() == spoiled, "{page}");
    }
}

#[test]
fn what_is_no_database_is_a_finding() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    fs::write(config.path(), "guild,user,score\n1,2,3\n").unwrap();
    let report = check(&config).unwrap();
    assert_eq!(report.findings, ["the file is not a SQLite database"]);
    assert_eq!(report.contents, None);
    assert_eq!(audit(&config).unwrap().damage, report.findings);

    // A WAL alone: what it holds was acknowledged.
    fs::rename(config.path(), folder.path().join("roas.db-wal")).unwrap();
    let report = check(&config).unwrap();
    assert!(
        report.findings[0].contains("holds changes of a database that is missing"),
        "{report:?}"
    );
    assert!(matches!(
        backup(
            &config,
            &folder.path().join("copy.db"),
            false,
            &Watcher::default()
        ),
        Err(OpenError::WalWithoutDatabase { .. })
    ));
    fs::remove_file(folder.path().join("roas.db-wal")).unwrap();
    assert!(matches!(check(&config), Err(OpenError::Missing { .. })));
    fs::create_dir(config.path()).unwrap();
    assert!(matches!(check(&config), Err(OpenError::IsFolder { .. })));
}

#[test]
fn a_schema_that_cannot_be_read_is_a_finding_and_its_object_named() {
    let (_folder, config) =
        with_foreign(&rewritten("CREATE TABLE t (a)", "t", "CREATE TABLE t (a"));
    let report = check(&config).unwrap();
    assert_eq!(report.contents, None);
    assert!(
        report.findings[0].contains("malformed database schema (t)"),
        "{report:?}"
    );
}

#[test]
fn a_newer_schema_is_a_finding_of_a_check() {
    let (_folder, config) = with_foreign(
        "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')",
    );
    let report = check(&config).unwrap();
    assert_eq!(
        (report.contents, report.version),
        (Some(Contents::Ours), 99)
    );
    assert!(
        report.findings[0].starts_with("schema version 99 is newer than this program"),
        "{report:?}"
    );
}

#[test]
fn damage_that_leaves_the_contents_readable_says_both() {
    let (_folder, config) = fixture("v23-meter");
    spoil(config.path(), |content| {
        let last = content.len() - 4_096;
        content[last..].fill(0);
    });
    let report = check(&config).unwrap();
    assert!(matches!(report.contents, Some(Contents::Legacy(_))));
    assert!(!report.findings.is_empty());
}

/// The planner's statistics are those of all tables, and one of another module cannot be read.
#[test]
fn maintenance_goes_on_beside_a_table_that_sqlite_cannot_read() {
    let sql = "CREATE TABLE t (n); CREATE INDEX i ON t (n); INSERT INTO t VALUES ('a'), ('b')";
    for text in [
        "CREATE INDEX i ON t (fold(n))",
        "CREATE INDEX i ON t (n COLLATE zh)",
    ] {
        let (_folder, config) = with_foreign(&rewritten(sql, "i", text));
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let event = message(member(1, 2), MIDNIGHT);
            database.repository().record(event).await.unwrap();
            database.maintain().await.unwrap();
            database.close().await.unwrap();
        });
        let analysed: i64 = query(
            config.path(),
            "SELECT count(*) FROM sqlite_stat1 WHERE tbl IN ('activity_meter', 'activity_daily')",
        );
        assert_eq!(analysed, 2, "{text}");
    }
}
