//! The physical limit: one connection on one thread, a prepared upsert, as many operations in a
//! transaction as asked for. Its latency is that of a transaction.

use std::time::Duration;

use rusqlite::Connection;

use super::plain::Usage;
use super::sqlite::{commit_failed, transaction, upsert};
use super::{CallError, Execution};
use crate::operations::Operation;

#[derive(Debug)]
pub(super) struct Raw;

impl Usage for Raw {
    const JOURNAL_MODE: &'static str = "wal";
    const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
    const EXECUTION: Execution = Execution::OneThread;

    fn write(connection: &Connection, operations: &[Operation]) -> Result<(), CallError> {
        match operations {
            // A transaction of its own around one statement would cost it two more.
            [operation] => upsert(connection, operation).map_err(commit_failed),
            _ => transaction(connection, "BEGIN IMMEDIATE", operations, upsert),
        }
    }
}
