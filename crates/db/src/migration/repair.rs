//! Repairing a file whose migration history disagrees with its tables.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::admin::progress::Watcher;
use crate::config::Config;
use crate::connection::{ConnectionFactory, unless_interrupted};
use crate::error::OpenError;
use crate::migration::objects::{self, Presence};
use crate::migration::{
    MigrationLock, history, insert_history, migrations, refuse_other_processes, require_writable,
    status, verify,
};
use crate::takeover::legacy::{self, HISTORY_TABLE};

/// What was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The file's absolute path.
    pub path: PathBuf,
    /// The schema's version before, by the history.
    pub from: i32,
    /// The schema's version now.
    pub to: i32,
    /// What was done; empty where there was nothing to do.
    pub done: Vec<String>,
}

/// Makes the history of migrations say what the tables are.
///
/// A version whose tables are there to the letter, and whose row in the history is missing, gets its
/// row. A row in the history of a version of whose tables none is there is removed; [`crate::migration::migrate`]
/// then runs it. An index or a view that is missing is created. A file in which some tables of a
/// version are there and some are not has lost data, and is refused: that takes a backup.
///
/// The file must be open in no other process. Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`]; the file is then as it was.
pub fn repair(config: &Config) -> Result<RepairReport, OpenError> {
    unless_interrupted(config, || {
        let factory = ConnectionFactory::new(config)?.claimed()?;
        let path = factory.path().to_owned();
        if std::fs::metadata(&path).is_err() {
            return Err(OpenError::Missing { path });
        }
        require_writable(&factory)?;
        let lock = MigrationLock::acquire(&factory)?;
        let (before, _) = status(&factory)?;
        if before.version > before.latest {
            return Err(OpenError::SchemaTooNew {
                path,
                found: before.version,
                known: before.latest,
            });
        }
        refuse_other_processes(&factory, &lock)?;
        let mut connection = factory.open_migrator()?;
        factory.retrying("lock", || Ok(connection.execute_batch("BEGIN EXCLUSIVE")?))?;
        let applied: Vec<i32> = factory.retrying("read", || {
            let applied = history(&connection, &factory)?;
            Ok(applied.iter().map(|migration| migration.version).collect())
        })?;
        let sqlite = |error| factory.sqlite_error("repair", error);
        let plan = plan(&connection, &applied).map_err(sqlite)?;
        let steps = match plan {
            Ok(steps) => steps,
            Err(reason) => return Err(OpenError::Irreparable { path, reason }),
        };
        let mut done = Vec::new();
        for step in steps {
            carry_out(&factory, &connection, &step).map_err(sqlite)?;
            done.push(step.to_string());
        }
        let history = factory.retrying("read", || history(&connection, &factory))?;
        let left = objects::contradiction(&connection, &history).map_err(sqlite)?;
        if let Some(reason) = left {
            return Err(OpenError::Irreparable { path, reason });
        }
        verify(&factory, &mut connection, &Watcher::default())?;
        connection.execute_batch("COMMIT").map_err(sqlite)?;
        connection
            .close()
            .map_err(|(_, error)| factory.sqlite_error("close", error))?;
        Ok(RepairReport {
            path,
            from: before.version,
            to: status(&factory)?.0.version,
            done,
        })
    })
}

/// One thing to mend.
enum Step {
    AddToHistory(i32),
    RemoveFromHistory(i32),
    Create {
        kind: String,
        name: String,
        sql: String,
    },
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddToHistory(version) => {
                write!(
                    f,
                    "added version {version} to the history: its tables are there"
                )
            }
            Self::RemoveFromHistory(version) => write!(
                f,
                "removed version {version} from the history: none of its tables is there"
            ),
            Self::Create { kind, name, .. } => write!(f, "created the {kind} `{name}` anew"),
        }
    }
}

/// What is to be mended, or why it will not be.
fn plan(connection: &Connection, applied: &[i32]) -> rusqlite::Result<Result<Vec<Step>, String>> {
    let found = objects::objects(connection)?;
    let mut plan = Vec::new();
    // Above the first version that is not there, none can be.
    let mut ended = false;
    for step in objects::steps()? {
        let version = step.migration.version();
        let in_history = applied.contains(&version);
        match step.presence(&found) {
            Presence::Whole if ended => {
                return Ok(Err(format!(
                    "the tables of version {version} are there, and those of an earlier one are not"
                )));
            }
            Presence::Whole if !in_history => plan.push(Step::AddToHistory(version)),
            Presence::Whole => {}
            Presence::Absent => {
                ended = true;
                if in_history {
                    plan.push(Step::RemoveFromHistory(version));
                }
            }
            Presence::Part { missing, different } => {
                let lost: Vec<_> = missing
                    .iter()
                    .filter(|object| object.kind == "table")
                    .map(|object| format!("`{}`", object.name))
                    .collect();
                if !different.is_empty() {
                    return Ok(Err(format!(
                        "`{}` of version {version} is not as this program makes it",
                        different.join("`, `")
                    )));
                }
                if !lost.is_empty() || !in_history {
                    return Ok(Err(format!(
                        "of version {version} {} is missing, the rest is there: data was lost, \
                         restore a backup",
                        lost.join(", ")
                    )));
                }
                plan.extend(missing.into_iter().map(|object| Step::Create {
                    kind: object.kind,
                    name: object.name,
                    sql: object.sql,
                }));
            }
        }
    }
    Ok(Ok(plan))
}

fn carry_out(
    factory: &ConnectionFactory,
    connection: &Connection,
    step: &Step,
) -> rusqlite::Result<()> {
    match step {
        Step::AddToHistory(version) => {
            let migrations = migrations();
            let migration = migrations
                .iter()
                .find(|migration| migration.version() == *version);
            migration.map_or(Ok(()), |migration| {
                insert_history(connection, migration, factory.now())
            })
        }
        Step::RemoveFromHistory(version) => {
            connection.execute(
                "DELETE FROM refinery_schema_history WHERE version = ?1",
                [version],
            )?;
            if !legacy::has_rows(connection, HISTORY_TABLE)? {
                connection.execute_batch("DROP TABLE refinery_schema_history")?;
            }
            Ok(())
        }
        Step::Create { sql, .. } => connection.execute_batch(sql),
    }
}
