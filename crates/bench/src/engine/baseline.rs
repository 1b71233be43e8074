//! A model of what the original set out to beat: a connection for each worker as a driver hands it
//! out (rollback journal, no busy timeout), and a deferred transaction that reads and then writes.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};

use super::sqlite::{Done, Setup, transaction};
use super::{
    BoxError, Counters, Description, Engine, Execution, Failure, ReadSession, Session, table,
};
use crate::operations::Operation;
use crate::scenario::Scenario;

#[derive(Debug)]
pub(super) struct Baseline {
    setup: Setup,
    done: Done,
}

impl Baseline {
    pub(super) fn new(scenario: &Scenario, database: &Path) -> Self {
        let setup = Setup {
            database: database.to_owned(),
            journal_mode: "delete",
            busy_timeout: Duration::ZERO,
            synchronous: scenario.synchronous,
        };
        Self {
            setup,
            done: Done::default(),
        }
    }

    pub(super) fn prepare(&self, scenario: &Scenario) -> Result<(), BoxError> {
        self.setup.prepare(scenario)
    }
}

#[async_trait]
impl Engine for Baseline {
    fn execution(&self) -> Execution {
        Execution::Threads
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(BaselineSession {
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

struct BaselineSession {
    connection: Connection,
    done: Done,
}

#[async_trait]
impl Session for BaselineSession {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        transaction(
            &self.connection,
            "BEGIN DEFERRED",
            operations,
            read_then_write,
        )?;
        self.done.committed(operations.len());
        Ok(())
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
