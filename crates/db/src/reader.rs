//! The readers: a small pool of read-only connections, used on tokio's blocking threads.
//!
//! A read is one short transaction, so that it sees one state of the database and never blocks a
//! checkpoint for long. Readers meet locks too (the recovery of a WAL, the last connection closing in
//! another process) and wait for them under the same policy as the writer.
//!
//! # Short queries on the calling thread
//!
//! Finding a member takes 20 µs, and the hop to a blocking thread and back two wake-ups. Where every
//! processor is busy, as beside a saturated writer, each wake-up may wait for another thread's time slice:
//! up to 4 ms, so that a member's p99 was 2.5 ms on two cores. On the calling thread it was 0.1 ms. That
//! blocks an executor's thread where the disk stalls, so it is a choice
//! ([`Config::read_on_calling_thread`](crate::Config::read_on_calling_thread)); docs/decisions/0008-short-reads-on-the-calling-thread.md says what it is
//! bounded by.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::connection::ConnectionFactory;
use crate::error::{
    Ending, Failure, OpenError, busy_error, ended_by_itself, is_contended, repository_error,
};
use crate::identity::{Fault, Identities, Lease, OpenFiles};
use crate::lock::busy;
use crate::lock::holder::LockHolder;
use crate::lock::retry::{Exhausted, Retry, RetryError};
use crate::migration::schema_changed;
use crate::traceless::{ReadConnection, disturbed};

/// SQLite's instructions between two looks at how many a query has had.
const INSTRUCTIONS_PER_LOOK: i32 = 1_000;

/// Looks after which a query is no longer short: a third of a millisecond. The ten best of a ranked guild
/// of a million take less.
const LOOKS: u32 = 16;

/// How often a database without a writer looks whether its files are still at their paths: for so long at
/// most it answers from files that others have replaced.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a query looks whether files that are lost are found again.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A connection, and what says that it is open.
#[derive(Debug)]
struct Reader {
    connection: ReadConnection,
    lease: Lease,
}

#[derive(Debug)]
pub(crate) struct ReaderPool {
    factory: ConnectionFactory,
    size: u32,
    /// The runtime that the database was opened in, for callers outside any.
    runtime: Handle,
    ending: Ending,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
    files: Arc<OpenFiles>,
    /// When the files were last looked at, where no writer of this process does that.
    looked: Option<Mutex<Instant>>,
    /// Held by the one caller that reads on its own thread; `None` where callers never do.
    calling_thread: Option<Mutex<()>>,
}

impl ReaderPool {
    /// A pool of at most `size` connections, of which `first` is open: whether the database can be
    /// read is known before anyone asks.
    pub(crate) fn new(
        factory: ConnectionFactory,
        size: usize,
        first: ReadConnection,
        runtime: Handle,
        ending: Ending,
        files: Arc<OpenFiles>,
    ) -> Self {
        let lease = files.lease().filter(|_| first.can_be_kept());
        let first = lease.map(|lease| Reader {
            connection: first,
            lease,
        });
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            factory,
            size,
            runtime,
            ending,
            permits: Arc::new(Semaphore::new(size as usize)),
            idle: Mutex::new(first.into_iter().collect()),
            looked: (!files.have_writer()).then(|| Mutex::new(Instant::now())),
            files,
            calling_thread: None,
        }
    }

    /// The same pool, whose short queries run on the calling thread where that is enabled.
    pub(crate) fn on_calling_thread(self, enabled: bool) -> Self {
        Self {
            calling_thread: enabled.then(Mutex::default),
            ..self
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

    /// Runs `query` on the calling thread, if it is short and that is enabled; else as
    /// [`read`](Self::read) does.
    ///
    /// Cancel safe, as `read` is.
    pub(crate) async fn read_short<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let Some(alone) = &self.calling_thread else {
            return self.read(doing, query).await;
        };
        // A task that reads in a loop yields to others.
        tokio::task::coop::consume_budget().await;
        match self.query_on_calling_thread(alone, &query) {
            Some(value) => Ok(value),
            None => self.read(doing, query).await,
        }
    }

    /// Runs `query` on the calling thread, without waiting for anything but the disk. `None` where that is
    /// not possible or fails; the blocking read then finds out why.
    fn query_on_calling_thread<T>(
        &self,
        alone: &Mutex<()>,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if !has_other_workers() {
            return None;
        }
        let _alone = match alone.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let _permit = self.permits.try_acquire().ok()?;
        self.look();
        let Reader {
            mut connection,
            lease,
        } = self.lock_idle().pop()?;
        if self.files.is_stale(&lease) {
            return None;
        }
        busy::allow(Duration::ZERO);
        let mut looks = 0;
        let is_long = move || {
            looks += 1;
            looks >= LOOKS
        };
        let limited = connection
            .connection_mut()
            .progress_handler(INSTRUCTIONS_PER_LOOK, Some(is_long));
        let value = limited.and_then(|()| in_one_transaction(&connection, query));
        // What was read of files that were lost meanwhile may be of others.
        let is_good = !self.files.is_stale(&lease);
        let unlimited = connection
            .connection_mut()
            .progress_handler(0, None::<fn() -> bool>);
        if unlimited.is_ok() {
            self.put_back(Reader { connection, lease });
        }
        value.ok().filter(|_| is_good)
    }

    /// Looks at the files now and then, where no writer does.
    fn look(&self) {
        let Some(looked) = &self.looked else {
            return;
        };
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < LOOK_EVERY {
            return;
        }
        *looked = Instant::now();
        if let Err(fault @ (Fault::Lost(_) | Fault::Moved(_))) = self.files.look()
            && self.files.lose()
        {
            tracing::error!(
                path = %self.factory.path().display(),
                "{fault}; what is at the paths now is opened"
            );
        }
    }

    /// A connection to the files that are at the paths. Waits while they are lost.
    fn take(&self, since: Instant, doing: &'static str) -> Result<Reader, RepositoryError> {
        self.look();
        loop {
            let idle = self.lock_idle().pop();
            match idle {
                Some(reader) if !self.files.is_stale(&reader.lease) => return Ok(reader),
                Some(_) => continue,
                None => {}
            }
            if let Some(lease) = self.files.lease() {
                let connection = self.open(since).map_err(|error| {
                    RepositoryError::with_source(error.kind(), format!("cannot {doing}"), error)
                })?;
                return Ok(Reader { connection, lease });
            }
            if self.looked.is_some() && self.files.are_closed() {
                let files = Identities::at(self.factory.path(), true)
                    .or_else(|_| Identities::at(self.factory.path(), false));
                if let Ok(files) = files {
                    self.files.found(files);
                    continue;
                }
            }
            if since.elapsed() >= self.factory.retry().deadline() {
                return Err(RepositoryError::new(
                    RepositoryErrorKind::Unavailable,
                    format!(
                        "cannot {doing}: a file of `{}` was removed or replaced while it was open",
                        self.factory.path().display()
                    ),
                ));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn open(&self, since: Instant) -> Result<ReadConnection, OpenError> {
        let factory = self.factory.for_request(since);
        if self.files.have_writer() {
            return factory.open_reader().map(ReadConnection::plain);
        }
        let connection = factory.retrying("read", || factory.open_reading())?;
        if connection.can_be_kept() {
            self.files.have_wal();
        }
        Ok(connection)
    }

    fn query<T>(
        &self,
        since: Instant,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, RepositoryError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let reader = self.take(since, doing)?;
            let answer = self.query_on(&reader, since, doing, &query);
            // What was read of files that were lost meanwhile may be of others.
            if self.files.is_stale(&reader.lease) {
                continue;
            }
            if !reader.connection.was_undisturbed() {
                let exhausted = Exhausted {
                    waited: since.elapsed(),
                    attempts,
                };
                if exhausted.waited < self.factory.retry().deadline() {
                    continue;
                }
                let holder = LockHolder::of(self.factory.path());
                return Err(busy_error(exhausted, holder.as_ref(), disturbed().into()));
            }
            return match answer {
                Ok(answer) => {
                    self.put_back(reader);
                    answer
                }
                // Not put back: the next reader opens a fresh one.
                Err(error) => Err(error),
            };
        }
    }

    /// Runs `query` on a connection. The outer error where that is not to be used any more.
    fn query_on<T>(
        &self,
        Reader { connection, .. }: &Reader,
        since: Instant,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Result<T, RepositoryError>, RepositoryError> {
        let result =
            Retry::new(self.factory.retry(), since, Rng::new()).run(is_contended, |budget| {
                busy::allow(budget);
                in_one_transaction(connection, &query)
            });
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(RetryError::Exhausted(exhausted, error)) => {
                let holder = LockHolder::of(self.factory.path());
                let busy = busy_error(exhausted, holder.as_ref(), error.into());
                Ok(Err(busy))
            }
            Err(RetryError::Failed(error)) => {
                // A table that is gone, most likely.
                let changed = if Failure::of(&error) == Failure::Rejected {
                    schema_changed(connection, &self.factory).ok().flatten()
                } else {
                    None
                };
                Err(changed.unwrap_or_else(|| repository_error(doing, error)))
            }
        }
    }

    fn put_back(&self, reader: Reader) {
        // Under the lock that `close` takes, so that no connection slips in behind it.
        let mut idle = self.lock_idle();
        if reader.connection.can_be_kept()
            && !self.permits.is_closed()
            && !self.files.is_stale(&reader.lease)
        {
            idle.push(reader);
        }
    }

    /// Closes the connections that are idle.
    pub(crate) fn close_idle(&self) {
        self.lock_idle().clear();
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

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
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
        let first = ReadConnection::plain(factory.open_reader().unwrap());
        let (runtime, ending) = (Handle::current(), Ending::default());
        let files = files(&factory);
        let pool = ReaderPool::new(factory, 1, first, runtime, ending, files);
        pool.lock_idle().clear();
        let other = pool.factory.open_plain().unwrap();
        other
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

    fn files(factory: &ConnectionFactory) -> Arc<OpenFiles> {
        OpenFiles::of_writer(factory, Identities::at(factory.path(), false).unwrap())
    }

    fn pool(folder: &Path, size: usize) -> Arc<ReaderPool> {
        let config = Config::new(folder.join("roas.db"));
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let first = ReadConnection::plain(factory.open_reader().unwrap());
        let (runtime, ending) = (Handle::current(), Ending::default());
        let files = files(&factory);
        let pool = ReaderPool::new(factory, size, first, runtime, ending, files);
        Arc::new(pool.on_calling_thread(true))
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
