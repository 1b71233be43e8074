//! Checking a whole file: its pages and indexes, its schema and migration history.

use std::path::PathBuf;

use crate::admin::backup::{damage, is_damage};
use crate::config::Config;
use crate::connection::ConnectionFactory;
use crate::error::OpenError;
use crate::migration::status;
use crate::takeover::legacy::Contents;

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The file's absolute path.
    pub path: PathBuf,
    /// What it holds.
    pub contents: Contents,
    /// The schema's version; 0 where there is none.
    pub version: i32,
    /// What is wrong; empty where all is well.
    pub findings: Vec<String>,
}

/// Checks the database that `config` names: every page and index, references between tables, the
/// history of migrations against the tables, and that no row of the original bot was lost.
///
/// Reads only, beside running writers. Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`] where the file is missing or cannot be read at all.
pub fn check(config: &Config) -> Result<CheckReport, OpenError> {
    let factory = ConnectionFactory::new(config)?;
    let path = factory.path().to_owned();
    let connection = match std::fs::metadata(&path) {
        Ok(_) => factory.open_reader(factory.traceless_mode())?,
        Err(_) => return Err(OpenError::Missing { path }),
    };
    let mut report = CheckReport {
        path,
        contents: Contents::Empty,
        version: 0,
        findings: Vec::new(),
    };
    let looked = factory.retrying("check", || {
        let transaction = connection.unchecked_transaction()?;
        report.findings = damage(&transaction)?;
        let broken: i64 =
            transaction.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                row.get(0)
            })?;
        if broken > 0 {
            report
                .findings
                .push(format!("{broken} rows refer to rows that are missing"));
        }
        Ok(())
    });
    // Damage that SQLite cannot look past is a finding as well.
    match looked {
        Err(error) if is_damage(&error) => {
            report
                .findings
                .push("damaged beyond what the check can read: restore a backup".to_owned());
            return Ok(report);
        }
        looked => looked?,
    }
    drop(connection);
    match status(&factory) {
        Ok((status, obstacle)) => {
            report.contents = status.contents;
            report.version = status.version;
            report
                .findings
                .extend(obstacle.map(|obstacle| obstacle.to_string()));
        }
        Err(error @ OpenError::ForeignHistory { .. }) => report.findings.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(report)
}
