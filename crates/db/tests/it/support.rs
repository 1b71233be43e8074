//! What the integration tests of this crate share.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files past the adapter"
)]

use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::Poll;

use roas_db::{Config, Database, Durability, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityRepository, EventOutcome, RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use rusqlite::types::FromSql;

/// A configuration for a database in `folder` that does not wait for the disk.
pub(crate) fn quick(folder: &Path) -> Config {
    Config::new(folder.join("roas.db"))
        .durability(Durability::Normal)
        .readers(2)
}

pub(crate) fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs statements as another program would.
pub(crate) fn raw(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Asks for one value as another program would.
pub(crate) fn query<T: FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

/// The write lock, in the hands of another connection until this is dropped.
#[must_use]
pub(crate) struct HeldLock(
    #[expect(dead_code, reason = "closing it is what gives the lock back")] Connection,
);

impl HeldLock {
    pub(crate) fn take(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }
}

/// A database that is open, and whose write lock another connection holds.
pub(crate) async fn open_locked(config: &Config) -> (Database, SqliteActivityRepository, HeldLock) {
    let database = Database::open(config.clone()).await.unwrap();
    let repository = database.repository();
    let lock = HeldLock::take(config.path());
    (database, repository, lock)
}

/// Polls a future once, with the waker of the task that asks.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

/// A call that waits for its answer.
pub(crate) type Waiting<'a> =
    Pin<Box<dyn Future<Output = Result<EventOutcome, RepositoryError>> + Send + 'a>>;

/// While the write lock is held: records events until the writer has one in its hands and
/// `capacity` more are queued, so that there is no room left and none comes. The database's limit
/// for a transaction has to be 1. The events' ids count from `first_id`, their guild is 9.
pub(crate) async fn fill(
    repository: &SqliteActivityRepository,
    capacity: usize,
    first_id: u64,
) -> Vec<Waiting<'_>> {
    let mut accepted = Vec::new();
    while accepted.len() < capacity + 1 {
        let id = first_id + accepted.len() as u64;
        let mut call = repository.try_record(message_with_id(id, member(9, 1), MIDNIGHT));
        match poll_once(&mut call).await {
            Poll::Pending => accepted.push(call),
            Poll::Ready(answer) => {
                assert_eq!(answer.unwrap_err().kind(), RepositoryErrorKind::Overloaded);
                // The writer's thread has not come to take its one yet.
                tokio::task::yield_now().await;
            }
        }
    }
    accepted
}

/// Starts `test` of the running test program, one that is ignored otherwise, as a process of its
/// own with `variables` in its environment.
pub(crate) fn start_process(test: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
