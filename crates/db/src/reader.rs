//! The readers: a small pool of read-only connections, used on tokio's blocking threads; for short
//! queries, where they are asked.
//!
//! A read is one short transaction, so that it sees one state of the database and never keeps a
//! checkpoint waiting for long. Readers meet locks too (the recovery of a WAL, the last connection
//! closing elsewhere) and wait for them under the same policy as the writer.
//!
//! # Short queries
//!
//! Looking a member up takes 20 µs, and the way to a blocking thread and back two wake-ups. Where
//! every processor has work, as beside a saturated writer, each of them may take as long as the
//! scheduler lets somebody else go on: up to 4 ms, so that a member's p99 was 2.5 ms on two cores. In
//! place it was 0.1 ms. docs/decisions/0008-short-reads-are-answered-in-place.md says what it is
//! bounded by.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::connection::{ConnectionFactory, ReaderMode};
use crate::error::{Ending, Failure, busy_error, ended_by_itself, is_contended, repository_error};
use crate::lock::busy;
use crate::lock::holder::LockHolder;
use crate::lock::retry::{Retry, RetryError};
use crate::migration::schema_changed;

/// SQLite's instructions between two looks at how many a query has had.
const INSTRUCTIONS_PER_LOOK: i32 = 1_000;

/// Looks after which a query is no longer short: a third of a millisecond. The ten best of a ranked guild
/// of a million take less.
const LOOKS: u32 = 16;

#[derive(Debug)]
pub(crate) struct ReaderPool {
    factory: ConnectionFactory,
    mode: ReaderMode,
    size: u32,
    /// The runtime that the database was opened in, for callers outside any.
    runtime: Handle,
    ending: Ending,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Held by the one caller that reads in place.
    in_place: Mutex<()>,
}

impl ReaderPool {
    /// A pool of at most `size` connections, of which `first` is open: whether the database can be
    /// read is known before anyone asks.
    pub(crate) fn new(
        factory: ConnectionFactory,
        mode: ReaderMode,
        size: usize,
        first: Connection,
        runtime: Handle,
        ending: Ending,
    ) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            factory,
            mode,
            size,
            runtime,
            ending,
            permits: Arc::new(Semaphore::new(size as usize)),
            idle: Mutex::new(vec![first]),
            in_place: Mutex::new(()),
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
            .map_err(|_| self.ending.error())?;
        let pool = Arc::clone(self);
        let task = runtime_or(&self.runtime).spawn_blocking(move || {
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

    /// Runs `query` where it is called, if it is short; else as [`read`](Self::read) does.
    ///
    /// Cancel safe, as `read` is.
    pub(crate) async fn read_short<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        // Whoever reads in a loop lets the others have their turn.
        tokio::task::coop::consume_budget().await;
        match self.query_in_place(&query) {
            Some(value) => Ok(value),
            None => self.read(doing, query).await,
        }
    }

    /// Runs `query` on the calling thread, without waiting for anything but the disk. `None` where that
    /// cannot be, or has failed: who has time finds out why.
    fn query_in_place<T>(&self, query: impl Fn(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        if !has_other_workers() {
            return None;
        }
        let _alone = match self.in_place.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let _permit = self.permits.try_acquire().ok()?;
        let mut connection = self.lock_idle().pop()?;
        busy::allow(Duration::ZERO);
        let mut looks = 0;
        let is_long = move || {
            looks += 1;
            looks >= LOOKS
        };
        let limited = connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_long));
        let value = limited.and_then(|()| in_one_transaction(&connection, query));
        if connection.progress_handler(0, None::<fn() -> bool>).is_ok() {
            self.put_back(connection);
        }
        value.ok()
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
                in_one_transaction(&connection, &query)
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

fn in_one_transaction<T>(
    connection: &Connection,
    query: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Rolled back when dropped: there is nothing to commit.
    let transaction = connection.unchecked_transaction()?;
    let answer = query(&transaction)?;
    // Its statements may have seen several states then.
    if transaction.is_autocommit() {
        return Err(ended_by_itself());
    }
    Ok(answer)
}

/// The runtime of the calling task; `other` outside any.
pub(crate) fn runtime_or(other: &Handle) -> Handle {
    Handle::try_current().unwrap_or_else(|_| other.clone())
}

/// Whether others of the runtime's threads go on while this one waits for the disk.
fn has_other_workers() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread
            && runtime.metrics().num_workers() > 1
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread::{self, ThreadId};

    use tempfile::tempdir;

    use super::*;
    use crate::migration::migrate;
    use crate::{Config, RetryPolicy};

    /// While somebody has the whole file locked.
    #[tokio::test]
    async fn a_reader_that_has_to_be_opened_has_the_time_that_its_caller_has_left() {
        const DEADLINE: Duration = Duration::from_secs(5);
        let folder = tempdir().unwrap();
        let policy = RetryPolicy::aggressive().with_deadline(DEADLINE);
        let config = Config::new(folder.path().join("roas.db")).retry(policy);
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let first = factory.open_reader(ReaderMode::Alone).unwrap();
        let (runtime, ending) = (Handle::current(), Ending::default());
        let pool = ReaderPool::new(factory, ReaderMode::Alone, 1, first, runtime, ending);
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

    fn pool(folder: &Path, size: usize) -> Arc<ReaderPool> {
        let config = Config::new(folder.join("roas.db"));
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let first = factory.open_reader(ReaderMode::Alone).unwrap();
        let (runtime, ending) = (Handle::current(), Ending::default());
        Arc::new(ReaderPool::new(
            factory,
            ReaderMode::Alone,
            size,
            first,
            runtime,
            ending,
        ))
    }

    /// Which thread counted how far.
    fn count_to(number: i64) -> impl Fn(&Connection) -> rusqlite::Result<(ThreadId, i64)> {
        move |connection| {
            let count = connection.query_row(
                "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < ?1)
                 SELECT count(*) FROM step",
                [number],
                |row| row.get(0),
            )?;
            Ok((thread::current().id(), count))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_short_query_is_answered_where_it_is_asked_and_a_long_one_elsewhere() {
        let folder = tempdir().unwrap();
        let pool = pool(folder.path(), 1);
        let here = thread::current().id();
        // A query that was cut short leaves nothing behind for the next one.
        for _ in 0..3 {
            let short = pool.read_short("count", count_to(10)).await.unwrap();
            assert_eq!(short, (here, 10));
            let (there, far) = pool.read_short("count", count_to(100_000)).await.unwrap();
            assert_eq!(far, 100_000);
            assert_ne!(there, here);
        }
        pool.drain().await;
        assert!(pool.read_short("count", count_to(10)).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_caller_at_a_time_reads_in_place() {
        let folder = tempdir().unwrap();
        let pool = pool(folder.path(), 2);
        let (runtime, beside) = (Handle::current(), Arc::clone(&pool));
        let nested = move |_: &Connection| {
            let (runtime, beside) = (runtime.clone(), Arc::clone(&beside));
            let other = thread::Builder::new().spawn(move || {
                let read = beside.read_short("count", count_to(10));
                (thread::current().id(), runtime.block_on(read).unwrap().0)
            });
            let other = other.unwrap();
            Ok((thread::current().id(), other.join().unwrap()))
        };
        let (first, (second, elsewhere)) = pool.read_short("nest", nested).await.unwrap();
        assert_eq!(first, thread::current().id());
        assert_ne!(second, elsewhere);
        pool.drain().await;
    }

    #[tokio::test]
    async fn a_runtime_with_one_thread_is_never_held_up() {
        let folder = tempdir().unwrap();
        let pool = pool(folder.path(), 1);
        let (there, _) = pool.read_short("count", count_to(10)).await.unwrap();
        assert_ne!(there, thread::current().id());
        pool.drain().await;
    }

    #[tokio::test]
    async fn a_query_that_panics_is_told_and_costs_the_others_nothing() {
        let folder = tempdir().unwrap();
        let pool = pool(folder.path(), 1);
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
