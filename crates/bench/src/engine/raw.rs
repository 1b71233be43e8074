//! The physical limit: one connection on one thread, a prepared upsert, as many operations in a
//! transaction as asked for. Its latency is that of a transaction.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::sqlite::{Done, Setup, commit_failed, transaction, upsert};
use super::{BoxError, Counters, Description, Engine, Execution, Failure, ReadSession, Session};
use crate::operations::Operation;
use crate::scenario::Scenario;

#[derive(Debug)]
pub(super) struct Raw {
    setup: Setup,
    batch: usize,
    done: Done,
}

impl Raw {
    pub(super) fn new(scenario: &Scenario, database: &Path) -> Self {
        let setup = Setup {
            database: database.to_owned(),
            journal_mode: "wal",
            busy_timeout: Duration::from_secs(5),
            synchronous: scenario.synchronous,
        };
        Self {
            setup,
            batch: scenario.batch as usize,
            done: Done::default(),
        }
    }

    pub(super) fn prepare(&self, scenario: &Scenario) -> Result<(), BoxError> {
        self.setup.prepare(scenario)
    }
}

#[async_trait]
impl Engine for Raw {
    fn execution(&self) -> Execution {
        Execution::OneThread
    }

    fn operations_per_call(&self) -> usize {
        self.batch
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(RawSession {
            connection: self.setup.connect()?,
            done: self.done.clone(),
        }))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        self.setup.reader()
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.done.counters())
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        self.setup.describe()
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

struct RawSession {
    connection: Connection,
    done: Done,
}

#[async_trait]
impl Session for RawSession {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        match operations {
            // A transaction of its own around one statement would cost it two more.
            [operation] => upsert(&self.connection, operation).map_err(commit_failed)?,
            _ => transaction(&self.connection, "BEGIN IMMEDIATE", operations, upsert)?,
        }
        self.done.committed(operations.len());
        Ok(())
    }
}
