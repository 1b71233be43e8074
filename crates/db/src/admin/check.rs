//! Checking a whole file: its pages and indexes, its schema and migration history.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::admin::integrity::{
    Integrity, diagnose, is_about_the_file, is_damage, message, size_fault,
};
use crate::config::Config;
use crate::connection::{ConnectionFactory, whole_unless_interrupted};
use crate::error::OpenError;
use crate::migration::status;
use crate::rank;
use crate::sql::invalid_rules;
use crate::takeover::legacy::Contents;
use crate::takeover::since::SinceTakeover;

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The file's absolute path.
    pub path: PathBuf,
    /// What it holds; `None` where the file is so damaged, or so little a database, that it cannot be
    /// told.
    pub contents: Option<Contents>,
    /// The schema's version; 0 where there is none.
    pub version: i32,
    /// What is wrong; empty where all is well.
    pub findings: Vec<String>,
}

/// Checks the database that `config` names: every page and index, references between tables, the
/// history of migrations against the tables, that guilds' rules can be read, that no row of the original
/// bot was lost, and the ranks against the members that they are derived from.
///
/// A fault in a table of another module is a finding about that table. Reads only, beside running
/// writers. Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`] where the file is missing, may not be read, or stays locked. Damage is a finding.
pub fn check(config: &Config) -> Result<CheckReport, OpenError> {
    whole_unless_interrupted(config, || {
        let factory = ConnectionFactory::new(config)?;
        let mut report = CheckReport {
            path: factory.path().to_owned(),
            contents: None,
            version: 0,
            findings: Vec::new(),
        };
        match look_through(&factory, &mut report) {
            Err(error) if is_damage(&error) => {
                // What it was about may be among the findings already.
                for finding in diagnose(&factory, &error) {
                    if !report.findings.contains(&finding) {
                        report.findings.push(finding);
                    }
                }
            }
            looked => looked?,
        }
        Ok(report)
    })
}

fn look_through(factory: &ConnectionFactory, report: &mut CheckReport) -> Result<(), OpenError> {
    factory.refuse_lost_database()?;
    if std::fs::metadata(factory.path()).is_err() {
        return Err(OpenError::Missing {
            path: report.path.clone(),
        });
    }
    let found = factory.checking(|connection| {
        let transaction = connection.unchecked_transaction()?;
        let Integrity { damage, unchecked } = Integrity::of(&transaction)?;
        let unchecked = unchecked
            .iter()
            .map(|what| format!("cannot be checked: {what}"));
        Ok(size_fault(factory, &transaction)?
            .into_iter()
            .chain(damage)
            .chain(unchecked)
            .chain(dangling(&transaction)?)
            .chain(written_since(&transaction, factory)?)
            .collect::<Vec<_>>())
    })?;
    report.findings.extend(found);
    match status(factory) {
        Ok((status, obstacle)) => {
            report.contents = Some(status.contents);
            report.version = status.version;
            if status.version > status.latest {
                let known = status.latest;
                report.findings.push(format!(
                    "schema version {} is newer than this program, which knows versions up to {known}: \
                     use a newer one",
                    status.version
                ));
            }
            let has_our_tables = report.contents == Some(Contents::Ours)
                && status.version <= status.latest
                && obstacle.is_none();
            report
                .findings
                .extend(obstacle.map(|obstacle| obstacle.to_string()));
            if has_our_tables {
                let invalid =
                    factory.reading("check", |connection| Ok(invalid_rules(connection)?))?;
                report
                    .findings
                    .extend(invalid.iter().map(ToString::to_string));
                if status.version == status.latest {
                    let differences = factory.reading("check the ranks", |connection| {
                        let transaction = connection.unchecked_transaction()?;
                        Ok(rank::differences(&transaction)?)
                    })?;
                    report.findings.extend(differences);
                }
            }
        }
        Err(error @ OpenError::ForeignHistory { .. }) => report.findings.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// A finding about what another program has written since a takeover.
fn written_since(
    connection: &Connection,
    factory: &ConnectionFactory,
) -> rusqlite::Result<Option<String>> {
    let since = match SinceTakeover::read(connection, factory.now()) {
        // Tables that are missing or damaged are findings of the other checks.
        Err(error) if is_about_the_file(&error) => None,
        since => since?,
    };
    Ok(since.filter(|since| since.is_any()).map(|since| {
        format!(
            "another program, perhaps the original bot, has written since the takeover: {since}"
        )
    }))
}

/// Rows that refer to rows which are missing, and tables whose references cannot be resolved: table by
/// table, because one of the latter fails the check of all.
fn dangling(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let tables: Vec<String> = connection
        .prepare(
            "SELECT name FROM sqlite_schema AS s WHERE type = 'table' AND EXISTS (
                SELECT 1 FROM pragma_foreign_key_list(s.name)) ORDER BY name",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(
        "SELECT parent, count(*) FROM pragma_foreign_key_check(?1) GROUP BY parent ORDER BY parent",
    )?;
    let mut findings = Vec::new();
    for table in tables {
        let broken = statement
            .query_map([&table], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<(String, i64)>>>);
        match broken {
            Ok(broken) => findings.extend(broken.into_iter().map(|(parent, rows)| {
                format!("table `{table}`: {rows} rows refer to rows of `{parent}` that are missing")
            })),
            Err(error) if is_about_the_file(&error) => findings.push(format!(
                "table `{table}`: its references cannot be checked: {}",
                message(&error)
            )),
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}
