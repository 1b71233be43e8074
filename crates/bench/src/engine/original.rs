//! A model of the original: a connection for each worker, WAL, a busy timeout of 30 s, a deferred
//! transaction around an upsert with RETURNING, and its aggressive retry around that.

use std::iter;
use std::time::Duration;

use rusqlite::Connection;

use super::plain::Usage;
use super::sqlite::{row, transaction};
use super::{CallError, table};
use crate::operations::Operation;

const MAX_RETRIES: usize = 10;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const DELAY_FACTOR: f64 = 1.5;
const MAX_DELAY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Original;

impl Usage for Original {
    const JOURNAL_MODE: &'static str = "wal";
    const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

    fn write(connection: &Connection, operations: &[Operation]) -> Result<(), CallError> {
        transaction(connection, "BEGIN DEFERRED", operations, upsert_returning)
    }

    fn delays() -> impl Iterator<Item = Duration> + Send {
        let longer = |delay: &Duration| Some(delay.mul_f64(DELAY_FACTOR).min(MAX_DELAY));
        iter::successors(Some(FIRST_DELAY), longer).take(MAX_RETRIES)
    }
}

fn upsert_returning(connection: &Connection, operation: &Operation) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(table::UPSERT_RETURNING)?;
    let mut rows = statement.query(row(operation))?;
    while let Some(row) = rows.next()? {
        std::hint::black_box((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?));
    }
    Ok(())
}
