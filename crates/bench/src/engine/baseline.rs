//! A model of what the original set out to beat: a connection for each worker as a driver hands it
//! out (rollback journal, no busy timeout), and a deferred transaction that reads and then writes.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::plain::Usage;
use super::sqlite::transaction;
use super::{CallError, table};
use crate::operations::Operation;

#[derive(Debug)]
pub(super) struct Baseline;

impl Usage for Baseline {
    const JOURNAL_MODE: &'static str = "delete";
    const BUSY_TIMEOUT: Duration = Duration::ZERO;

    fn write(connection: &Connection, operations: &[Operation]) -> Result<(), CallError> {
        transaction(connection, "BEGIN DEFERRED", operations, read_then_write)
    }
}

fn read_then_write(connection: &Connection, operation: &Operation) -> rusqlite::Result<()> {
    let key = (
        operation.member.guild.to_i64(),
        operation.member.user.to_i64(),
    );
    let at = operation.at.get();
    let found: Option<(f64, i64, i64)> = connection
        .prepare_cached(table::SELECT)?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (sql, score, last, messages) = match found {
        Some((score, last, messages)) => {
            let score = (score + table::GAIN).clamp(0.0, table::MAX_SCORE);
            (table::UPDATE, score, last.max(at), messages + 1)
        }
        None => (table::INSERT, table::GAIN, at, 1),
    };
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute((key.0, key.1, score, last, messages))?;
    Ok(())
}
