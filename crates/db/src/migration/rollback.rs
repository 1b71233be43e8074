//! The way down: the scripts in `migrations/rollback/`, in one transaction with the history.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::admin::backup;
use crate::admin::progress::{Phase, Watcher};
use crate::config::Config;
use crate::connection::{ConnectionFactory, unless_interrupted};
use crate::error::{OpenError, boxed, is_full};
use crate::files::place_without_room;
use crate::migration::{
    MigrationLock, MigrationName, StepFailed, checked_status, refuse_other_processes,
    require_writable, verify,
};
use crate::takeover::legacy::{self, Contents, HISTORY_TABLE};

/// The scripts, each with the version and the name of the migration that it undoes.
const SCRIPTS: &[(i32, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/rollback.rs"));

/// How to roll back.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    to: i32,
    snapshot: bool,
    watcher: Watcher,
}

impl RollbackOptions {
    /// To the schema of version `version`; 0 is what was there before any migration.
    #[must_use]
    pub fn to(version: i32) -> Self {
        Self {
            to: version,
            snapshot: true,
            watcher: Watcher::default(),
        }
    }

    /// Whether to write a copy beside the file before. Default: yes.
    #[must_use]
    pub fn snapshot(self, snapshot: bool) -> Self {
        Self { snapshot, ..self }
    }

    /// Who is told how far it is. Default: nobody.
    #[must_use]
    pub fn watcher(self, watcher: Watcher) -> Self {
        Self { watcher, ..self }
    }
}

/// What was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RollbackReport {
    /// The file's absolute path.
    pub path: PathBuf,
    /// The schema's version before.
    pub from: i32,
    /// The schema's version now.
    pub to: i32,
    /// The migrations that were undone, the latest first.
    pub undone: Vec<MigrationName>,
    /// What the file holds now.
    pub contents: Contents,
    /// The copy of the file as it was.
    pub snapshot: Option<PathBuf>,
    /// How long it took, waiting included.
    pub elapsed: Duration,
}

/// Brings the database that `config` names back to an older schema.
///
/// What was taken over from the original bot goes back into its tables, which are then as they were,
/// duplicates, unusable rows, further columns and indexes included. What was recorded since is kept:
/// above version 0 in the meter's tables, at version 0 in the original's, a member's score and time
/// in the row of theirs with the greatest score, or in a new one. Rules, remembered events and message
/// counts have no place there.
///
/// The file must be open in no other process. A copy is written beside it first. Everything is one
/// transaction, and is checked before it is committed. Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`]; the file is then as it was.
pub fn rollback(config: &Config, options: &RollbackOptions) -> Result<RollbackReport, OpenError> {
    unless_interrupted(config, || {
        let started = Instant::now();
        let factory = ConnectionFactory::new(config)?.claimed()?;
        if checked_status(&factory)?.contents == Contents::Missing {
            return Err(OpenError::Missing {
                path: factory.path().to_owned(),
            });
        }
        require_writable(&factory)?;
        let lock = MigrationLock::acquire(&factory)?;
        let before = checked_status(&factory)?;
        let (path, wanted) = (factory.path().to_owned(), options.to);
        if wanted < 0 {
            return Err(OpenError::NoSuchVersion {
                path,
                wanted,
                reason: "versions start at 0".to_owned(),
            });
        }
        if wanted > before.version {
            return Err(OpenError::RollsBackUp {
                path,
                wanted,
                found: before.version,
            });
        }
        let mut report = RollbackReport {
            path,
            from: before.version,
            to: wanted,
            undone: Vec::new(),
            contents: before.contents,
            snapshot: None,
            elapsed: Duration::ZERO,
        };
        if options.to < before.version {
            refuse_other_processes(&factory, &lock)?;
            if options.snapshot {
                let reason = format!("before-rollback-to-v{}", options.to);
                report.snapshot = Some(backup::snapshot(&factory, &reason, &options.watcher)?);
            }
            let result = run(&factory, before.version, options);
            if let (Err(_), Some(snapshot)) = (&result, &report.snapshot) {
                let _ = std::fs::remove_file(snapshot);
            }
            (report.undone, report.contents) = result?;
        }
        report.elapsed = started.elapsed();
        Ok(report)
    })
}

fn run(
    factory: &ConnectionFactory,
    from: i32,
    options: &RollbackOptions,
) -> Result<(Vec<MigrationName>, Contents), OpenError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        let path = factory.path().to_owned();
        if is_full(&*source) {
            OpenError::Full {
                path: place_without_room(&path),
                source,
            }
        } else {
            OpenError::Rollback { path, source }
        }
    };
    let mut undone = Vec::new();
    let mut connection = factory.open_migrator()?;
    // Giving rows back is no event for other modules' triggers, and foreign keys of theirs that do not
    // match would refuse it.
    let quiet = connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .and_then(|_| connection.pragma_update(None, "foreign_keys", 0));
    quiet.map_err(|error| factory.sqlite_error("open", error))?;
    factory.retrying("lock", || Ok(connection.execute_batch("BEGIN EXCLUSIVE")?))?;
    {
        let following = options
            .watcher
            .follow(factory, &mut connection, Phase::Migrating, 0)
            .map_err(|error| failed(boxed(error)))?;
        // Before the scripts put into them what was recorded since.
        let stand_ins = if options.to == 0 {
            empty_stand_ins(&following).map_err(|error| failed(boxed(error)))?
        } else {
            Vec::new()
        };
        for version in (options.to + 1..=from).rev() {
            let (_, name, script) = SCRIPTS
                .iter()
                .find(|(of, _, _)| *of == version)
                .ok_or_else(|| failed(format!("nothing undoes version {version}").into()))?;
            let name = MigrationName {
                version,
                name: (*name).to_owned(),
            };
            undo(&following, version, script).map_err(|source| {
                let migration = name.to_string();
                let source = source.into();
                failed(StepFailed { migration, source }.into())
            })?;
            undone.push(name);
        }
        if options.to == 0 {
            give_back(&following, &stand_ins).map_err(|error| failed(boxed(error)))?;
        }
    }
    verify(factory, &mut connection, &options.watcher)?;
    let contents = legacy::inspect(&connection).map_err(|error| failed(boxed(error)))?;
    factory.check_interrupt()?;
    connection
        .execute_batch("COMMIT")
        .map_err(|error| failed(boxed(error)))?;
    connection
        .close()
        .map_err(|(_, error)| factory.sqlite_error("close", error))?;
    Ok((undone, contents))
}

/// Runs a script. Most remove their row from the history themselves.
fn undo(connection: &Connection, version: i32, script: &str) -> rusqlite::Result<()> {
    connection.execute_batch(script)?;
    connection
        .execute(
            "DELETE FROM refinery_schema_history WHERE version = ?1",
            [version],
        )
        .map(drop)
}

/// The tables that V1 creates, empty, where the original has none of the name, and their columns.
const STAND_INS: [(&str, &str); 3] = [
    ("activity_meter", "(guild_id, user_id, score, last_msg)"),
    ("activity_daily", "(ymd, guild_id, user_id, msg_cnt)"),
    ("activity_settings", "(guild_id, max_score)"),
];

/// What SQL cannot say without an IF: brings a file at version 0 to the shape that it had.
///
/// What was recorded since is in the tables of 2.4's names now. A bot of version 2.3 looks for it in
/// its own, where these exist. Tables that were only stand-ins go, where nothing is in them, and so
/// does the history.
fn give_back(connection: &Connection, stand_ins: &[&'static str]) -> rusqlite::Result<()> {
    let meter = ["guild_id", "user_id", "score", "last_msg"];
    if stand_ins.contains(&"activity_meter") && legacy::has_columns(connection, "meter", &meter)? {
        connection.execute_batch(
            "UPDATE main.meter SET score = r.score, last_msg = r.last_msg FROM main.activity_meter AS r
             WHERE meter.guild_id = r.guild_id AND meter.user_id = r.user_id;
             INSERT INTO main.meter (guild_id, user_id, score, last_msg)
             SELECT guild_id, user_id, score, last_msg FROM main.activity_meter AS r
             WHERE NOT EXISTS (SELECT 1 FROM main.meter AS m
                 WHERE m.guild_id = r.guild_id AND m.user_id = r.user_id);
             DELETE FROM main.activity_meter",
        )?;
    }
    let daily = ["ymd", "guild_id", "user_id", "msg_cnt"];
    if stand_ins.contains(&"activity_daily") && legacy::has_columns(connection, "daily", &daily)? {
        connection.execute_batch(
            "UPDATE main.daily SET msg_cnt = r.msg_cnt FROM main.activity_daily AS r
             WHERE daily.ymd = r.ymd AND daily.guild_id = r.guild_id AND daily.user_id = r.user_id;
             INSERT INTO main.daily (ymd, guild_id, user_id, msg_cnt)
             SELECT ymd, guild_id, user_id, msg_cnt FROM main.activity_daily AS r
             WHERE NOT EXISTS (SELECT 1 FROM main.daily AS d
                 WHERE d.ymd = r.ymd AND d.guild_id = r.guild_id AND d.user_id = r.user_id);
             DELETE FROM main.activity_daily",
        )?;
    }
    for name in stand_ins {
        if !legacy::has_rows(connection, name)? {
            connection.execute_batch(&format!("DROP TABLE main.{name}"))?;
        }
    }
    if connection.table_exists(Some("main"), HISTORY_TABLE)?
        && !legacy::has_rows(connection, HISTORY_TABLE)?
    {
        connection.execute_batch("DROP TABLE refinery_schema_history")?;
    }
    Ok(())
}

/// Which of the tables that are set aside were never the original's.
fn empty_stand_ins(connection: &Connection) -> rusqlite::Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for (name, columns) in STAND_INS {
        let set_aside = format!("legacy_{name}");
        let is_stand_in: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1 AND sql = ?2)",
            [
                &set_aside,
                &format!("CREATE TABLE \"{set_aside}\" {columns}"),
            ],
            |row| row.get(0),
        )?;
        if is_stand_in && !legacy::has_rows(connection, &set_aside)? {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::{migrations, name_of};

    #[test]
    fn every_migration_has_its_rollback() {
        let undone: Vec<_> = SCRIPTS
            .iter()
            .map(|(version, name, _)| MigrationName {
                version: *version,
                name: (*name).to_owned(),
            })
            .collect();
        let mut migrations: Vec<_> = migrations().iter().map(name_of).collect();
        migrations.sort_by_key(ToString::to_string);
        assert_eq!(undone, migrations);
    }
}
