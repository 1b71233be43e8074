//! The engines on plain rusqlite: a connection for each session, and a [`Usage`] of it.

use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};

use super::sqlite::{Reader, describe, open};
use super::{
    BoxError, CallError, CallErrorKind, Counters, Description, Engine, Execution, ReadSession,
    Session, Stored, table,
};
use crate::operations::{Operation, prefill};
use crate::scenario::{Scenario, Synchronous};

/// After how many messages it is told how many there are.
const TELL_EVERY: u64 = 10_000;

/// How an engine uses SQLite.
pub(super) trait Usage: fmt::Debug + Send + Sync + 'static {
    /// The database's journal mode.
    const JOURNAL_MODE: &'static str;

    /// How long a connection waits for a lock.
    const BUSY_TIMEOUT: Duration;

    /// Where the sessions run.
    const EXECUTION: Execution = Execution::Threads;

    /// Stores operations in one transaction.
    fn write(connection: &Connection, operations: &[Operation]) -> Result<(), CallError>;

    /// How long a session waits before each further attempt at a transaction that met a lock.
    fn delays() -> impl Iterator<Item = Duration> + Send {
        iter::empty()
    }
}

/// The engine that a usage makes.
#[derive(Debug)]
pub(super) struct Plain<U> {
    database: PathBuf,
    synchronous: Synchronous,
    batch: usize,
    done: Arc<Done>,
    usage: PhantomData<U>,
}

impl<U: Usage> Plain<U> {
    pub(super) fn new(scenario: &Scenario, database: &Path) -> Self {
        Self {
            database: database.to_owned(),
            synchronous: scenario.synchronous,
            batch: if scenario.is_raw() {
                scenario.batch as usize
            } else {
                1
            },
            done: Arc::default(),
            usage: PhantomData,
        }
    }

    /// Makes the database and its table, and fills it where the scenario wants that.
    pub(super) fn prepare(
        scenario: &Scenario,
        database: &Path,
        stored: Stored<'_>,
    ) -> Result<(), BoxError> {
        let mut connection = open(database, OpenFlags::default())?;
        // One transaction, which nobody would roll back: its pages are written once, in the order of
        // the keys, and synced at its end.
        connection.pragma_update(None, "journal_mode", "off")?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(table::CREATE)?;
        if scenario.prefill {
            let mut upsert = transaction.prepare(table::UPSERT)?;
            let members = scenario.all_members();
            for (count, (member, at)) in (1..).zip(prefill(&members, scenario.prefill_over)) {
                let (guild, user) = (member.guild.to_i64(), member.user.to_i64());
                upsert.execute((guild, user, table::GAIN, at.get()))?;
                if count % TELL_EVERY == 0 {
                    stored(count);
                }
            }
        }
        transaction.commit()?;
        // Kept in the file, for WAL; for the others it is the default of every connection.
        connection.pragma_update(None, "journal_mode", U::JOURNAL_MODE)?;
        Ok(())
    }

    /// Opens one more connection.
    fn connect(&self) -> Result<Connection, BoxError> {
        let connection = open(&self.database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(U::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", self.synchronous.to_string())?;
        Ok(connection)
    }
}

#[async_trait]
impl<U: Usage> Engine for Plain<U> {
    fn execution(&self) -> Execution {
        U::EXECUTION
    }

    fn operations_per_call(&self) -> usize {
        self.batch
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(PlainSession::<U> {
            connection: self.connect()?,
            done: Arc::clone(&self.done),
            usage: PhantomData,
        }))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        Ok(Box::new(Reader(self.connect()?)))
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.done.counters())
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        Ok(describe(&self.connect()?)?)
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

struct PlainSession<U> {
    connection: Connection,
    done: Arc<Done>,
    usage: PhantomData<U>,
}

#[async_trait]
impl<U: Usage> Session for PlainSession<U> {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        let mut delays = U::delays();
        loop {
            let Err(failure) = U::write(&self.connection, operations) else {
                self.done.committed(operations.len());
                return Ok(());
            };
            let delay = match failure.kind {
                CallErrorKind::Locked => delays.next(),
                _ => None,
            };
            let Some(delay) = delay else {
                return Err(failure);
            };
            self.done.retried();
            tokio::time::sleep(delay).await;
        }
    }
}

/// What the sessions of an engine have done.
#[derive(Debug, Default)]
struct Done {
    batches: AtomicU64,
    operations: AtomicU64,
    retries: AtomicU64,
}

impl Done {
    fn committed(&self, operations: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.operations
            .fetch_add(operations as u64, Ordering::Relaxed);
    }

    fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            batches: get(&self.batches),
            operations: get(&self.operations),
            retries: get(&self.retries),
            ..Counters::default()
        }
    }
}
