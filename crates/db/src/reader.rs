//! The readers: a small pool of read-only connections, used on tokio's blocking threads.
//!
//! A read is one short transaction, so that it sees one state of the database and never keeps a
//! checkpoint waiting for long. Readers meet locks too (the recovery of a WAL, the last connection
//! closing elsewhere) and wait for them under the same policy as the writer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::busy;
use crate::connection::{ConnectionFactory, ReaderMode};
use crate::error::{Failure, busy_error, closed, ended_by_itself, is_contended, repository_error};
use crate::holder::LockHolder;
use crate::migration::schema_changed;
use crate::retry::{Retry, RetryError};

#[derive(Debug)]
pub(crate) struct ReaderPool {
    factory: ConnectionFactory,
    mode: ReaderMode,
    size: u32,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl ReaderPool {
    /// A pool of at most `size` connections, of which `first` is open: whether the database can be
    /// read is known before anyone asks.
    pub(crate) fn new(
        factory: ConnectionFactory,
        mode: ReaderMode,
        size: usize,
        first: Connection,
    ) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            factory,
            mode,
            size,
            permits: Arc::new(Semaphore::new(size as usize)),
            idle: Mutex::new(vec![first]),
        }
    }

    /// Runs `query` on a connection, in one read transaction. `doing` completes "cannot …".
    ///
    /// Cancel safe: a query that was begun is finished on its thread, and its result dropped.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let since = Instant::now();
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        let pool = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = pool.query(since, doing, query);
            // The connection is back in the pool before the next reader may take one.
            drop(permit);
            result
        });
        task.await.unwrap_or_else(|error| {
            let message = format!("cannot {doing}: the reader did not finish");
            Err(RepositoryError::with_source(
                RepositoryErrorKind::Unavailable,
                message,
                error,
            ))
        })
    }

    fn query<T>(
        &self,
        since: Instant,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RepositoryError> {
        let idle = self.lock_idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self
                .factory
                .for_request(since)
                .open_reader(self.mode)
                .map_err(|error| {
                    RepositoryError::with_source(error.kind(), format!("cannot {doing}"), error)
                })?,
        };
        let result =
            Retry::new(self.factory.retry(), since, Rng::new()).run(is_contended, |budget| {
                busy::allow(budget);
                // Rolled back when dropped: there is nothing to commit.
                let transaction = connection.unchecked_transaction()?;
                let answer = query(&transaction)?;
                // Its statements may have seen several states then.
                if transaction.is_autocommit() {
                    return Err(ended_by_itself());
                }
                Ok(answer)
            });
        match result {
            Ok(value) => {
                self.put_back(connection);
                Ok(value)
            }
            Err(RetryError::Exhausted(exhausted, error)) => {
                self.put_back(connection);
                let holder = LockHolder::of(self.factory.path());
                Err(busy_error(exhausted, holder.as_ref(), error.into()))
            }
            // Not put back: the next reader opens a fresh one.
            Err(RetryError::Failed(error)) => {
                // A table that is gone, most likely.
                let changed = if Failure::of(&error) == Failure::Rejected {
                    schema_changed(&connection, &self.factory).ok().flatten()
                } else {
                    None
                };
                Err(changed.unwrap_or_else(|| repository_error(doing, error)))
            }
        }
    }

    fn put_back(&self, connection: Connection) {
        // Under the lock that `close` takes, so that no connection slips in behind it.
        let mut idle = self.lock_idle();
        if !self.permits.is_closed() {
            idle.push(connection);
        }
    }

    /// Waits for the queries under way and those that wait for a connection, then closes.
    pub(crate) async fn drain(&self) {
        let all = self.permits.acquire_many(self.size).await;
        self.close();
        drop(all);
    }

    /// Lets no further reader in and closes the connections that are idle; one in use closes when
    /// its query is done.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.lock_idle().clear();
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::tempdir;

    use super::*;
    use crate::{Config, RetryPolicy, migrate};

    /// While somebody has the whole file locked.
    #[test]
    fn a_reader_that_has_to_be_opened_has_the_time_that_its_caller_has_left() {
        const DEADLINE: Duration = Duration::from_secs(5);
        let folder = tempdir().unwrap();
        let policy = RetryPolicy::aggressive().with_deadline(DEADLINE);
        let config = Config::new(folder.path().join("roas.db")).retry(policy);
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let first = factory.open_reader(ReaderMode::Alone).unwrap();
        let pool = ReaderPool::new(factory, ReaderMode::Alone, 1, first);
        pool.lock_idle().clear();
        let neighbour = pool.factory.open_plain().unwrap();
        neighbour
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
            .unwrap();

        let asked_at = Instant::now().checked_sub(DEADLINE).unwrap();
        let error = pool.query(asked_at, "look", |_| Ok(())).unwrap_err();
        let RepositoryErrorKind::Busy { waited, attempts } = error.kind() else {
            panic!("{error}");
        };
        assert!(waited >= DEADLINE);
        assert_eq!(attempts, 1, "{error}");
    }

    #[tokio::test]
    async fn a_query_that_panics_is_told_and_costs_the_others_nothing() {
        let folder = tempdir().unwrap();
        let config = Config::new(folder.path().join("roas.db"));
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let first = factory.open_reader(ReaderMode::Alone).unwrap();
        let pool = Arc::new(ReaderPool::new(factory, ReaderMode::Alone, 1, first));
        // More often than there are readers: a permit that was lost would be waited for for ever.
        for _ in 0..3 {
            let error = pool
                .read::<()>("look", |_| panic!("a defect"))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "{error}");
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("panicked"), "{source}");
            let one = pool.read("look", |connection| {
                connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))
            });
            assert_eq!(one.await.unwrap(), 1);
        }
        pool.drain().await;
    }
}
