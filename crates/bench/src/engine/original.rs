//! A model of the original: a connection for each worker, WAL, a busy timeout of 30 s, a deferred
//! transaction around an upsert with RETURNING, and its aggressive retry around that.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::sqlite::{Done, Setup, row, transaction};
use super::{
    BoxError, Counters, Description, Engine, Execution, Failure, FailureKind, ReadSession, Session,
    table,
};
use crate::operations::Operation;
use crate::scenario::Scenario;

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RETRIES: u32 = 10;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const DELAY_FACTOR: f64 = 1.5;
const MAX_DELAY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Original {
    setup: Setup,
    done: Done,
}

impl Original {
    pub(super) fn new(scenario: &Scenario, database: &Path) -> Self {
        let setup = Setup {
            database: database.to_owned(),
            journal_mode: "wal",
            busy_timeout: BUSY_TIMEOUT,
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
impl Engine for Original {
    fn execution(&self) -> Execution {
        Execution::Threads
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(OriginalSession {
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

struct OriginalSession {
    connection: Connection,
    done: Done,
}

#[async_trait]
impl Session for OriginalSession {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), Failure> {
        let mut delay = FIRST_DELAY;
        let mut retries = 0;
        loop {
            let begin = "BEGIN DEFERRED";
            match transaction(&self.connection, begin, operations, upsert_returning) {
                Ok(()) => {
                    self.done.committed(operations.len());
                    return Ok(());
                }
                Err(failure) if failure.kind == FailureKind::Locked && retries < MAX_RETRIES => {
                    retries += 1;
                    self.done.retried();
                    tokio::time::sleep(delay).await;
                    delay = delay.mul_f64(DELAY_FACTOR).min(MAX_DELAY);
                }
                Err(failure) => return Err(failure),
            }
        }
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
