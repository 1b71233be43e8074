//! The migrations that this program knows, and the history of those that a file has gone through.

use refinery::Migration;
use roas_domain::UnixSeconds;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::connection::{AttemptError, ConnectionFactory};
use crate::error::OpenError;
use crate::takeover::legacy::HISTORY_TABLE;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// A migration, as its file is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationName {
    /// Its place in the order.
    pub version: i32,
    /// What it does, in words joined by underscores.
    pub name: String,
}

impl std::fmt::Display for MigrationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

/// A migration that a file has gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedMigration {
    /// Its place in the order.
    pub version: i32,
    /// What it did.
    pub name: String,
    /// When, as RFC 3339.
    pub applied_on: String,
}

/// Checksums of earlier texts of migrations that left the meter's tables as today's do.
///
/// Before the first release, versions 1 and 2 rewrote other modules' views, triggers and foreign keys.
/// A file that they migrated is used and rolled back like any other.
const EARLIER: [(i32, u64); 2] = [
    (1, 15_659_694_321_870_689_169),
    (2, 14_184_741_746_347_188_947),
];

/// As refinery creates it.
pub(super) const HISTORY_DDL: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));";

/// Adds a migration to the history, as refinery does.
pub(crate) fn insert_history(
    connection: &Connection,
    migration: &Migration,
    now: UnixSeconds,
) -> rusqlite::Result<()> {
    connection.execute_batch(HISTORY_DDL)?;
    connection
        .execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             VALUES (?1, ?2, ?3, ?4)",
            (
                migration.version(),
                migration.name(),
                now.to_string(),
                migration.checksum().to_string(),
            ),
        )
        .map(drop)
}

/// The version of a file with this history; 0 where it has none.
pub(super) fn version_of(history: &[AppliedMigration]) -> i32 {
    history.last().map_or(0, |last| last.version)
}

/// The migrations above `version`, up to `to`, in order.
pub(crate) fn due(version: i32, to: i32) -> Vec<Migration> {
    migrations()
        .into_iter()
        .filter(|migration| (version + 1..=to).contains(&migration.version()))
        .collect()
}

pub(super) fn names(migrations: &[Migration]) -> Vec<MigrationName> {
    migrations.iter().map(name_of).collect()
}

/// The history in the file, checked: refinery itself panics on rows that it did not write. It may lack a
/// version, which `objects::contradiction` finds.
pub(crate) fn history(
    connection: &Connection,
    factory: &ConnectionFactory,
) -> Result<Vec<AppliedMigration>, AttemptError> {
    if !connection.table_exists(None, HISTORY_TABLE)? {
        return Ok(Vec::new());
    }
    let foreign = |reason: String| {
        AttemptError::Open(OpenError::ForeignHistory {
            path: factory.path().to_owned(),
            reason,
        })
    };
    let mut statement = connection.prepare(
        "SELECT version, name, applied_on, checksum, julianday(applied_on) IS NOT NULL
         FROM refinery_schema_history ORDER BY version",
    )?;
    let mut rows = statement.query([])?;
    let mut applied = Vec::new();
    let known = migrations();
    while let Some(row) = rows.next()? {
        let values: [Value; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let dated: bool = row.get(4)?;
        let [
            Value::Integer(version),
            Value::Text(name),
            Value::Text(applied_on),
            Value::Text(checksum),
        ] = values
        else {
            return Err(foreign(
                "it has a row that refinery did not write".to_owned(),
            ));
        };
        let (Ok(version), Ok(checksum), true) =
            (i32::try_from(version), checksum.parse::<u64>(), dated)
        else {
            return Err(foreign(format!(
                "the row of version {version} is malformed"
            )));
        };
        applied.push((
            AppliedMigration {
                version,
                name,
                applied_on,
            },
            checksum,
        ));
    }
    let version = applied.last().map_or(0, |(last, _)| last.version);
    // A newer program may have reasons of its own for what is in a newer history.
    if version <= latest() {
        for (AppliedMigration { version, name, .. }, checksum) in &applied {
            match known.iter().find(|ours| ours.version() == *version) {
                Some(ours)
                    if ours.name() == name
                        && (ours.checksum() == *checksum
                            || EARLIER.contains(&(*version, *checksum))) => {}
                Some(ours) => {
                    return Err(foreign(format!(
                        "version {version} is `{}` there, and another migration here (`{}`)",
                        shown(name),
                        ours.name()
                    )));
                }
                None => {
                    return Err(foreign(format!(
                        "version {version} (`{}`) is not known here",
                        shown(name)
                    )));
                }
            }
        }
    }
    Ok(applied
        .into_iter()
        .map(|(migration, _)| migration)
        .collect())
}

/// A name that somebody else wrote: may be long, and may hold anything.
fn shown(name: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = name.chars().take(SHOWN).collect();
    shown.escape_debug().to_string()
}

/// The embedded migrations, in order.
pub(crate) fn migrations() -> Vec<Migration> {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    migrations
}

/// The latest version that this program knows.
pub(crate) fn latest() -> i32 {
    migrations().last().map_or(0, Migration::version)
}

pub(crate) fn name_of(migration: &Migration) -> MigrationName {
    MigrationName {
        version: migration.version(),
        name: migration.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_in_the_folder_is_a_migration_that_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        files.sort();
        // refinery skips a file whose name does not fit in silence.
        let embedded: Vec<String> = migrations()
            .iter()
            .map(|migration| format!("{}.sql", name_of(migration)))
            .collect();
        assert_eq!(files, embedded);
        assert_eq!(latest(), i32::try_from(embedded.len()).unwrap());
    }
}
