//! What SQLite's own check of a whole file finds, also where some of the file cannot be checked.
//!
//! `PRAGMA integrity_check` is one statement for all tables, and one table of another module fails it:
//! one whose index needs a function or a collation that only that module's program has. Such a table
//! is set apart, and the others are checked one by one.

use std::path::Path;

use rusqlite::Connection;

use crate::connection::ConnectionFactory;
use crate::error::{Failure, OpenError};
use crate::files::wal_path;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Integrity {
    /// Damage; empty where there is none.
    pub(crate) damage: Vec<String>,
    /// Tables that SQLite could not check, and why. That is not damage: the program that made them
    /// can read them.
    pub(crate) unchecked: Vec<String>,
}

/// Findings reported of a file, or of a table where each is checked by itself.
const FINDINGS: u32 = 20;

impl Integrity {
    /// Checks every page, index and constraint of the database that `connection` has open.
    ///
    /// A damaged file is a finding as far as SQLite gets at it, and an error where it does not.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut found = Self::default();
        found.check(connection)?;
        Ok(found)
    }

    fn check(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match check(connection, FINDINGS) {
            Ok(damage) => self.damage = damage,
            Err(error) if is_about_the_file(&error) => self.check_each_table(connection)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn check_each_table(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.check_table(connection, "sqlite_schema")?;
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for table in tables {
            self.check_table(connection, &table)?;
        }
        Ok(())
    }

    fn check_table(&mut self, connection: &Connection, table: &str) -> rusqlite::Result<()> {
        match check(connection, table) {
            Ok(damage) => self.damage.extend(damage),
            Err(error) if is_about_the_file(&error) => {
                let finding = format!("table `{table}`: {}", message(&error));
                if Failure::of(&error) == Failure::Corrupt {
                    self.damage.push(finding);
                } else {
                    self.unchecked.push(finding);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Checks a table, or everything up to a number of findings.
fn check(
    connection: &Connection,
    what: impl rusqlite::types::ToSql,
) -> rusqlite::Result<Vec<String>> {
    let mut findings = Vec::new();
    connection.pragma(None, "integrity_check", what, |row| {
        let text: String = row.get(0)?;
        findings.extend(
            text.lines()
                .filter(|line| *line != "ok" && !line.starts_with("***"))
                .map(str::to_owned),
        );
        Ok(())
    })?;
    Ok(findings)
}

/// Whether a statement failed for what is in the file. Locks, the disk and memory are other matters.
pub(crate) fn is_about_the_file(error: &rusqlite::Error) -> bool {
    matches!(Failure::of(error), Failure::Rejected | Failure::Corrupt)
}

/// What SQLite says, without the result code.
pub(crate) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

/// Whether an error says that the file is damaged, or no database.
pub(crate) fn is_damage(error: &OpenError) -> bool {
    match error {
        OpenError::NotADatabase { .. }
        | OpenError::WalWithoutDatabase { .. }
        | OpenError::Damaged { .. } => true,
        OpenError::Sqlite { source, .. } => {
            matches!(source.failure(), Failure::Corrupt | Failure::InvalidData)
        }
        _ => false,
    }
}

/// What is wrong with a file that could not be opened or read for `error`, which is damage.
///
/// SQLite refuses a file at sight whose size or schema cannot be right, and says no more than that it is
/// malformed. A connection that passes over that finds out which pages are.
pub(crate) fn diagnose(factory: &ConnectionFactory, error: &OpenError) -> Vec<String> {
    let cause = match error {
        OpenError::Damaged { finding, .. } => finding.clone(),
        OpenError::NotADatabase { .. } => "the file is not a SQLite database".to_owned(),
        OpenError::Sqlite { source, .. } => source.to_string(),
        error => error.to_string(),
    };
    let mut details = Integrity::default();
    if matches!(error, OpenError::Damaged { .. } | OpenError::Sqlite { .. }) {
        // As far as it goes: why the file cannot be read is said already.
        let _ = factory.salvaging(|connection| {
            details = Integrity::default();
            let _ = details.check(connection);
            Ok(())
        });
    }
    std::iter::once(cause).chain(details.damage).collect()
}

/// A finding about the file's size, which SQLite passes over. It takes a file without content for an
/// empty database, also one of a single byte, which it once wrote into new files itself. A page that is
/// cut short it fills with zeros; while a WAL is there, that may be a checkpoint under way.
pub(crate) fn size_fault(
    factory: &ConnectionFactory,
    connection: &Connection,
) -> rusqlite::Result<Option<String>> {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let size = bytes(factory.path());
    if size <= 1 {
        let finding = "the file is empty; if it held a database, restore a backup";
        return Ok(Some(finding.to_owned()));
    }
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let cut_short =
        !size.is_multiple_of(page.unsigned_abs().max(1)) && bytes(&wal_path(factory.path())) == 0;
    Ok(cut_short.then(|| {
        format!("the file was cut off: its {size} bytes are no whole number of pages of {page}")
    }))
}
