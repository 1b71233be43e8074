//! The writer's thread: drains the queue, runs the requests as one transaction, and replies.

use std::collections::VecDeque;
use std::mem;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{Clock, RepositoryError, RepositoryErrorKind, UnixSeconds};
use rusqlite::Connection;
use tracing::field::Empty;

use crate::config::JournalMode;
use crate::connection::ConnectionFactory;
use crate::error::{
    Ending, Failure, SqliteError, busy_error, ended_by_itself, outcome_unknown, repository_error,
};
use crate::files::with_suffix;
use crate::identity::{Fault, OpenFiles};
use crate::lock::busy;
use crate::lock::holder::LockHolder;
use crate::lock::retry::{Exhausted, Retry};
use crate::lock::writer_lock::{self, WriterLock};
use crate::metrics::DbMetrics;
use crate::migration::{has_triggers, schema_changed};
use crate::reader::ReaderPool;
use crate::sql::WriteStatements;
use crate::wal::checkpoint::WalMonitor;
use crate::wal::index::WalIndex;

use super::Shared;
use super::batch::Batch;
use super::command::Command;
use super::queue::Receiver;
use super::recovery::LOOK_IS_GOOD_FOR;
use super::spin;
use super::sync::{Handle, has_passed, thread};

/// What a worker needs besides its queue.
#[derive(Debug)]
pub(crate) struct WorkerConfig {
    pub(crate) factory: ConnectionFactory,
    pub(crate) journal_mode: JournalMode,
    pub(crate) files: Arc<OpenFiles>,
    /// They close their connections when the files are lost.
    pub(crate) readers: Weak<ReaderPool>,
    pub(crate) batch_limit: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wal_monitor: WalMonitor,
    pub(crate) runtime: Handle,
    pub(crate) meters: DbMetrics,
    pub(crate) ending: Ending,
}

/// The worker: owns the receiving end of the queue and, while it runs, the connection.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) receiver: Receiver<Command>,
    pub(super) config: WorkerConfig,
    pub(super) shared: Arc<Shared>,
    /// Taken from the queue, not yet in a batch.
    pub(super) queue: VecDeque<Command>,
    batch: Batch,
    rng: Rng,
    /// The file's version as of the last transaction, where it was committed: as long as it stays, what
    /// the batch knows is so.
    data_version: Option<i64>,
    /// The schema's cookie when it was last looked at.
    schema_cookie: Option<i64>,
    /// Whether the schema had triggers then: they may change rows behind the batch's back.
    has_triggers: bool,
    /// Whether to spin for requests before sleeping.
    spins: bool,
    /// The lock between this process and others that write to the file.
    lock: WriterLock,
    /// Whether newly queued requests are drained into the open transaction. Not where each request runs in
    /// a transaction of its own.
    drains: bool,
    /// When the files were last looked at, all of them and their content, and found in their places.
    pub(super) looked: Option<Instant>,
    /// What the WAL held then.
    pub(super) tail: Option<WalIndex>,
    /// A connection to lost files whose content is not saved yet.
    pub(super) kept: Option<Connection>,
}

/// From how many callers on a task wakes them: waking one from a thread outside the runtime costs about a
/// microsecond, spawning a task about two.
const WAKE_IN_A_TASK: usize = 8;

/// How long the writer spins for requests before it sleeps, after a transaction of few callers: they are
/// about to call again, and a sleep with its wake-up costs about this much. Measured with 8 to 64 tasks: 10
/// to 25 % more throughput; with one task and no syncs, 35 to 43 us in place of 45 to 66. Longer gains
/// nothing, and after larger transactions it takes processor time from the callers.
const SPIN_FOR_REQUESTS: Duration = Duration::from_micros(30);
const SPIN_AFTER: RangeInclusive<usize> = 1..=100;

/// How often a paused writer checks whether the WAL can start over: the reader that prevents it is in
/// another process, which sends no notice.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Committed requests. Dropping them sends the replies, so that none is missed where a runtime that shuts
/// down drops the task.
struct Acknowledgements(Vec<Command>);

impl Drop for Acknowledgements {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Command::acknowledge);
    }
}

/// Why a session on one connection ended.
#[derive(Debug, PartialEq, Eq)]
enum SessionEnd {
    /// The queue is closed and empty.
    Drained,
    /// The connection must not be used any more.
    Broken,
    /// The connection's files are not at their paths any more.
    Lost,
}

/// Why one attempt at a transaction failed. In all cases but `Unknown`, nothing was applied.
#[derive(Debug)]
enum Failed {
    Contended(rusqlite::Error),
    /// One of the requests is at fault.
    Rejected(rusqlite::Error),
    /// The store is at fault.
    Store(rusqlite::Error),
    /// The schema is not the one that the file was opened with, or the file has got another name.
    Refused(RepositoryError),
    /// The files beside the database are not at their paths: to be tried again with those that are.
    Lost,
    /// The commit failed in a way that leaves open whether it took effect.
    Unknown(RepositoryError),
}

impl Worker {
    pub(super) fn new(
        receiver: Receiver<Command>,
        config: WorkerConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let lock = WriterLock::at(
            &with_suffix(config.factory.path(), "-turns.lock"),
            config.factory.path(),
        );
        Self {
            receiver,
            config,
            shared,
            queue: VecDeque::new(),
            batch: Batch::default(),
            rng: Rng::new(),
            data_version: None,
            schema_cookie: None,
            has_triggers: false,
            spins: false,
            lock,
            drains: true,
            looked: None,
            tail: None,
            kept: None,
        }
    }

    /// Runs until the queue is closed and empty. A panic poisons the handles: the error is published, the
    /// queue closed, and the pending callers answered, in that order.
    pub(crate) fn run(mut self, connection: Connection) {
        let result = catch_unwind(AssertUnwindSafe(|| self.work(connection)));
        if result.is_err() {
            tracing::error!(
                path = %self.config.factory.path().display(),
                "the writer panicked; close the database and open it again"
            );
            self.shared.panicked.store(true, Ordering::Release);
            self.shared.closing.store(true, Ordering::Release);
            self.receiver.close();
            let refusal = self.shared.refusal();
            fail_all(self.queue.drain(..), &refusal);
            loop {
                let left = self.receiver.receive(self.config.batch_limit);
                if left.is_empty() {
                    return;
                }
                fail_all(left, &refusal);
            }
        }
    }

    fn work(&mut self, connection: Connection) {
        let mut connection = Some(connection);
        let mut fast_replies = false;
        loop {
            let current = if let Some(connection) = connection.take() {
                connection
            } else {
                // Not before there is a request: the cause may be gone by then. Readers cannot ask
                // for files that are lost.
                let asked = mem::take(&mut fast_replies) || self.receive();
                if !asked {
                    return;
                }
                match self.reopen() {
                    Ok(connection) => connection,
                    Err(error) => {
                        self.fail_queued(&error);
                        continue;
                    }
                }
            };
            match self.serve(&current) {
                SessionEnd::Drained => {
                    // Closing copies what a lost WAL holds only where no other process has it open.
                    if let Err(fault @ Fault::Lost(_)) = self.config.files.look() {
                        self.lose(&fault);
                        self.let_go(current);
                    }
                    return;
                }
                SessionEnd::Broken => {}
                SessionEnd::Lost => {
                    self.let_go(current);
                    fast_replies = true;
                }
            }
        }
    }

    /// Waits for requests and drains the queue; `false` where it is closed and empty.
    fn receive(&mut self) -> bool {
        while self.queue.is_empty() {
            if self.spins {
                spin::until(|| !self.receiver.is_empty(), SPIN_FOR_REQUESTS);
            }
            if self.receiver.is_empty() {
                self.lock.release();
            }
            // Checked before sleeping: the request that wakes for it may have been drained into a transaction.
            if self.shared.is_closing() {
                self.receiver.close();
            }
            let arrived = self.receiver.receive(self.config.batch_limit);
            if arrived.is_empty() {
                return false;
            }
            self.queue
                .extend(arrived.into_iter().filter(|command| !command.only_wakes()));
        }
        true
    }

    fn serve(&mut self, connection: &Connection) -> SessionEnd {
        self.data_version = None;
        let mut sql = match WriteStatements::prepare(connection) {
            Ok(sql) => sql,
            Err(error) => {
                let error = match schema_changed(connection, &self.config.factory) {
                    Ok(Some(changed)) => changed,
                    _ => repository_error("prepare the writer's statements", error),
                };
                fail_all(self.queue.drain(..), &error);
                return SessionEnd::Broken;
            }
        };
        loop {
            if !self.receive() {
                return SessionEnd::Drained;
            }
            self.shared.waited(self.lock.acquire());
            let commands = self.next_batch();
            if !self.transact(&mut sql, commands) {
                return if self.config.files.is_lost() {
                    SessionEnd::Lost
                } else {
                    SessionEnd::Broken
                };
            }
            if self.config.journal_mode == JournalMode::Wal {
                let WorkerConfig {
                    wal_monitor,
                    meters,
                    ..
                } = &mut self.config;
                let paused = wal_monitor
                    .after_commit(connection, meters)
                    .and_then(|pause| self.pause(connection, pause));
                if paused.is_err() {
                    return SessionEnd::Broken;
                }
            }
        }
    }

    /// Backpressure: waits until the WAL can start over, for `pause` at most. Closing the database ends the
    /// wait. Fails where a sync fails.
    fn pause(&mut self, connection: &Connection, pause: Duration) -> rusqlite::Result<()> {
        // A request that arrives during the pause keeps half of its deadline for the lock.
        let pause = pause.min(self.config.factory.retry().deadline() / 2);
        if pause.is_zero() {
            return Ok(());
        }
        self.lock.release();
        let began = Instant::now();
        let until = began + pause;
        while !self.shared.is_closing() && !self.config.wal_monitor.can_restart(connection)? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.config.wal_monitor.log_backpressure();
            thread::sleep(left.min(POLL_INTERVAL));
        }
        self.shared.paused(began.elapsed());
        Ok(())
    }

    /// The next requests of the queue, up to the limit in events, at least one.
    fn next_batch(&mut self) -> Vec<Command> {
        let mut events = 0;
        let fitting = self
            .queue
            .iter()
            .take_while(|command| {
                let fits = events == 0 || events + command.events() <= self.config.batch_limit;
                events += command.events();
                fits
            })
            .count();
        self.queue.drain(..fitting).collect()
    }

    /// Runs the requests as one transaction under the retry policy, and answers all of them. `false` where
    /// the connection must not be used any more.
    fn transact(&mut self, sql: &mut WriteStatements<'_>, mut commands: Vec<Command>) -> bool {
        while let Some(since) = commands.iter().map(|command| command.submitted_at).min() {
            let policy = self.config.factory.retry();
            let deadline = policy.deadline();
            let mut retry = Retry::new(policy, since, self.rng.fork());
            let depth = commands.len() + self.queue.len() + self.receiver.len();
            let waited = since.elapsed();
            self.shared.begun(depth, waited);
            let span = tracing::debug_span!(
                "transaction",
                queue_depth = depth,
                queue_wait = ?waited,
                attempts = Empty,
                requests = Empty,
                events = Empty,
                commit = Empty,
            )
            .entered();
            let (exhausted, error) = loop {
                busy::allow(retry.begin_attempt(Instant::now()));
                let attempt = self
                    .attempt(sql, &mut commands)
                    .map_err(|failed| self.blame_files(sql.connection(), failed));
                self.shared.waited(busy::take_waited());
                match attempt {
                    Ok(commit) => {
                        let events = commands.iter().map(Command::events).sum();
                        self.shared.committed(commands.len(), events, commit);
                        if !span.is_disabled() {
                            span.record("attempts", retry.attempts());
                            span.record("requests", commands.len());
                            span.record("events", events);
                            span.record("commit", tracing::field::debug(commit));
                        }
                        self.spins = SPIN_AFTER.contains(&commands.len());
                        return self.finish(sql.connection(), commands);
                    }
                    Err(Failed::Contended(error)) => match retry.next_delay(Instant::now()) {
                        Ok(delay) => {
                            self.shared.retried(self.config.factory.retry());
                            self.lock.release();
                            thread::sleep(delay);
                        }
                        Err(exhausted) => break (exhausted, error),
                    },
                    // One request is at fault: run each in a transaction of its own, so that the others
                    // succeed.
                    Err(Failed::Rejected(_)) if commands.len() > 1 => {
                        return self.one_by_one(sql, commands);
                    }
                    Err(Failed::Rejected(error)) => {
                        // A misread page would stay in the connection's cache.
                        let usable = Failure::of(&error) != Failure::Corrupt;
                        fail_all(commands, &repository_error("carry out the request", error));
                        return usable;
                    }
                    Err(Failed::Store(error)) => {
                        let usable =
                            matches!(Failure::of(&error), Failure::Full | Failure::ReadOnly);
                        fail_all(commands, &repository_error("write to the database", error));
                        return usable;
                    }
                    // Keep the connection: the schema may be restored.
                    Err(Failed::Refused(error)) => {
                        fail_all(commands, &error);
                        return true;
                    }
                    Err(Failed::Lost) => {
                        commands.extend(self.queue.drain(..));
                        self.queue = commands.into();
                        return false;
                    }
                    Err(Failed::Unknown(error)) => {
                        fail_all(commands, &error);
                        return false;
                    }
                }
            };
            let now = Instant::now();
            let (expired, rest) = split_expired(commands, deadline, now);
            span.record("attempts", exhausted.attempts);
            tracing::warn!(
                waited = ?exhausted.waited,
                attempts = exhausted.attempts,
                failed = expired.len(),
                "the write lock could not be acquired"
            );
            let error = SqliteError::from(error);
            let holder = LockHolder::of(self.config.factory.path());
            for command in expired {
                let waited = now.saturating_duration_since(command.submitted_at);
                let exhausted = Exhausted {
                    waited,
                    ..exhausted
                };
                command.fail(busy_error(exhausted, holder.as_ref(), error.clone()));
            }
            commands = rest;
        }
        true
    }

    /// Answers the callers of a committed transaction, once it is as durable as promised. `false` where the
    /// sync fails.
    fn finish(&mut self, connection: &Connection, commands: Vec<Command>) -> bool {
        if self.syncs_apart() {
            // Other processes write while the disk syncs.
            self.lock.release_if_contended();
            if let Err(error) = self.shared.sync(connection) {
                fail_all(commands, &error);
                return false;
            }
        }
        self.acknowledge(commands);
        true
    }

    /// Answers the callers of a committed transaction. Many are woken by a task: inside the runtime that
    /// costs a fraction of what it costs from another thread, and the writer can begin the next transaction.
    /// Few are woken directly.
    fn acknowledge(&self, commands: Vec<Command>) {
        self.shared.answered(&commands);
        let answers = Acknowledgements(commands);
        if answers.0.len() >= WAKE_IN_A_TASK {
            self.config.runtime.spawn(async move { drop(answers) });
        }
    }

    /// Whether the WAL is synced by the writer, after the commit.
    pub(super) fn syncs_apart(&self) -> bool {
        self.config
            .factory
            .syncs_wal_apart(self.config.journal_mode)
    }

    /// Drains newly queued requests into the open transaction, until none is queued or the limit is reached.
    /// The callers of the transaction before call again while this one is applied and written, and the fixed
    /// cost of a commit is then paid once for all.
    ///
    /// Stops when the transaction has been open for [`writer_lock::MAX_HOLD`]: its callers and other processes
    /// wait for its end, and callers that do not wait for replies could keep it open for ever.
    fn drain_into_transaction(
        &mut self,
        sql: &mut WriteStatements<'_>,
        now: UnixSeconds,
        began: Instant,
        commands: &mut Vec<Command>,
    ) -> rusqlite::Result<()> {
        // What triggers do to a row that is written here would not be seen.
        let drains = self.drains && !self.has_triggers;
        let mut events: usize = commands.iter().map(Command::events).sum();
        let mut written = commands.len();
        loop {
            while drains
                && self.queue.is_empty()
                && events < self.config.batch_limit
                && !has_passed(writer_lock::MAX_HOLD, began)
            {
                let Some(mut command) = self.receiver.try_receive() else {
                    break;
                };
                if command.only_wakes() {
                    continue;
                }
                events += command.events();
                let applied = self.batch.apply(sql, now, &mut command.work);
                commands.push(command);
                applied?;
            }
            if commands.len() == written {
                return Ok(());
            }
            self.batch.flush(sql)?;
            written = commands.len();
        }
    }

    /// Runs each request in a transaction of its own. Where the connection breaks, the remaining ones wait for
    /// the next connection.
    fn one_by_one(&mut self, sql: &mut WriteStatements<'_>, commands: Vec<Command>) -> bool {
        self.drains = false;
        let mut commands = VecDeque::from(commands);
        let mut usable = true;
        while usable && let Some(command) = commands.pop_front() {
            usable = self.transact(sql, vec![command]);
        }
        self.drains = true;
        commands.append(&mut self.queue);
        self.queue = commands;
        usable
    }

    /// Forgets what is cached of another version of the file, and checks the schema again where it has changed.
    /// Called within the transaction: until its end no other process can change either.
    fn check_for_changes(
        &mut self,
        sql: &mut WriteStatements<'_>,
        known: Option<i64>,
    ) -> Result<i64, Failed> {
        let version = sql.data_version().map_err(Failed::of)?;
        if known == Some(version) && !self.has_triggers {
            self.batch.begin();
            return Ok(version);
        }
        self.batch.forget();
        let cookie = sql.schema_cookie().map_err(Failed::of)?;
        if self.schema_cookie != Some(cookie) {
            match schema_changed(sql.connection(), &self.config.factory) {
                Ok(None) => {
                    self.has_triggers = has_triggers(sql.connection()).map_err(Failed::of)?;
                    self.schema_cookie = Some(cookie);
                }
                Ok(Some(changed)) => return Err(Failed::Refused(changed)),
                Err(error) => return Err(Failed::of(error)),
            }
        }
        Ok(version)
    }

    /// One attempt at the transaction. On success it is committed, to the file that was opened; returns how
    /// long the commit took.
    fn attempt(
        &mut self,
        sql: &mut WriteStatements<'_>,
        commands: &mut Vec<Command>,
    ) -> Result<Duration, Failed> {
        // Set again when this transaction is committed.
        let known = self.data_version.take();
        sql.begin().map_err(Failed::of)?;
        let version = self
            .check_for_changes(sql, known)
            .and_then(|version| {
                let is_asked = commands.iter().any(Command::asks_for_files);
                let is_unchanged = known == Some(version) && !is_asked;
                self.look_before_writing(sql.connection(), is_unchanged)?;
                Ok(version)
            })
            .map_err(|failed| undo(sql, failed))?;
        if sql.is_autocommit() {
            return Err(Failed::Store(ended_by_itself()));
        }
        let (now, began) = (self.config.clock.now(), Instant::now());
        let applied = commands
            .iter_mut()
            .try_for_each(|command| self.batch.apply(sql, now, &mut command.work))
            .and_then(|()| self.batch.flush(sql))
            .and_then(|()| self.drain_into_transaction(sql, now, began, commands));
        if let Err(error) = applied {
            return Err(undo(sql, Failed::of(error)));
        }
        if sql.is_autocommit() {
            return Err(Failed::Unknown(outcome_unknown(
                "the transaction was rolled back, at an unknown statement",
            )));
        }
        let before_commit = Instant::now();
        if let Err(error) = sql.commit() {
            let rolled_back = sql.is_autocommit() || sql.rollback().is_ok();
            return Err(match Failure::of(&error) {
                // Refused before anything was durable, and rolled back. On a full disk the commit record is
                // cut off.
                Failure::Contended if rolled_back => Failed::Contended(error),
                Failure::Full | Failure::Rejected if rolled_back => Failed::Store(error),
                _ => Failed::Unknown(RepositoryError::with_source(
                    RepositoryErrorKind::OutcomeUnknown,
                    outcome_unknown("the commit failed").to_string(),
                    SqliteError::from(error),
                )),
            });
        }
        let commit = before_commit.elapsed();
        match self.look_after_commit(sql.connection()) {
            Ok(()) => {
                self.data_version = Some(version);
                Ok(commit)
            }
            Err(fault) => Err(Failed::Unknown(outcome_unknown(&fault.to_string()))),
        }
    }

    /// Looks, under the write lock, whether what is about to be written goes into files that others
    /// find. Not where that was done a moment ago and nobody has written since.
    fn look_before_writing(
        &mut self,
        connection: &Connection,
        is_unchanged: bool,
    ) -> Result<(), Failed> {
        if is_unchanged && self.has_just_looked() {
            return Ok(());
        }
        self.looked = None;
        let fault = match self.config.files.look() {
            // Certain, under the lock.
            Ok(()) if self.is_in_wal_now(connection).map_err(Failed::Store)? => {
                self.looked = Some(Instant::now());
                return Ok(());
            }
            Ok(()) => Fault::Overwritten(self.config.files.wal().to_owned()),
            Err(fault) => fault,
        };
        match fault {
            Fault::Lost(_) | Fault::Overwritten(_) => {
                self.lose(&fault);
                Err(Failed::Lost)
            }
            Fault::Linked(..) | Fault::Moved(_) => {
                let error = RepositoryError::new(
                    RepositoryErrorKind::Unavailable,
                    format!("{fault}; nothing was applied"),
                );
                Err(Failed::Refused(error))
            }
        }
    }

    fn has_just_looked(&self) -> bool {
        self.looked
            .is_some_and(|looked| !has_passed(LOOK_IS_GOOD_FOR, looked))
    }

    /// Where what a transaction failed with may come of its files, and these are lost: that.
    fn blame_files(&mut self, connection: &Connection, failed: Failed) -> Failed {
        let (Failed::Store(error) | Failed::Rejected(error)) = &failed else {
            return failed;
        };
        if !matches!(Failure::of(error), Failure::Unusable | Failure::Corrupt) {
            return failed;
        }
        let fault = match self.config.files.look() {
            Err(fault @ Fault::Lost(_)) => fault,
            _ if !self.is_in_wal(connection) => {
                Fault::Overwritten(self.config.files.wal().to_owned())
            }
            _ => return failed,
        };
        self.lose(&fault);
        Failed::Lost
    }

    /// Looks whether a transaction that is committed is in the files that others find: at the names of
    /// the database and the WAL always, and at the rest where the last such look was not a moment ago, or
    /// the WAL may have been truncated since.
    fn look_after_commit(&mut self, connection: &Connection) -> Result<(), Fault> {
        let looked = if self.has_just_looked() {
            self.config.files.look_at_names()
        } else {
            self.config.files.look().map(|()| true)
        };
        match looked {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // It is in this name's WAL as what was acknowledged before is. The next is refused.
            Err(Fault::Linked(..)) => {
                self.looked = None;
                return Ok(());
            }
            Err(fault) => {
                self.looked = None;
                if matches!(fault, Fault::Lost(_)) {
                    self.lose(&fault);
                }
                return Err(fault);
            }
        }
        self.looked = None;
        if !self.is_in_wal(connection) {
            let fault = Fault::Overwritten(self.config.files.wal().to_owned());
            self.lose(&fault);
            return Err(fault);
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// Whether the WAL has what is committed, and what it had at the last look. Others may be writing to
    /// it: what looks wrong is looked at again under the write lock.
    fn is_in_wal(&mut self, connection: &Connection) -> bool {
        if let Ok(true) = self.is_in_wal_now(connection) {
            return true;
        }
        busy::allow(self.config.factory.retry().deadline() / 2);
        let locked = connection.execute_batch("BEGIN IMMEDIATE").is_ok();
        let is_there = self.is_in_wal_now(connection);
        if locked && connection.execute_batch("ROLLBACK").is_err() {
            return false;
        }
        matches!(is_there, Ok(true))
    }

    fn is_in_wal_now(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        if self.config.journal_mode != JournalMode::Wal {
            return Ok(true);
        }
        let Some(index) = WalIndex::of(connection)? else {
            return Ok(true);
        };
        let is_there = index.is_in_wal_of(connection, self.tail.as_ref())?;
        if is_there {
            self.tail = Some(index);
        }
        Ok(is_there)
    }
}

/// Rolls back a transaction that `failed`. Nothing of it was committed, whether or not the rollback succeeds.
fn undo(sql: &mut WriteStatements<'_>, failed: Failed) -> Failed {
    match sql.rollback() {
        Ok(()) => failed,
        // SQLite has rolled back itself, as it does on serious errors.
        Err(_) if sql.is_autocommit() => failed,
        Err(error) => Failed::Store(error),
    }
}

impl Failed {
    fn of(error: rusqlite::Error) -> Self {
        match Failure::of(&error) {
            Failure::Contended => Self::Contended(error),
            // Corrupt may be a page that one request alone has to read.
            Failure::Rejected | Failure::InvalidData | Failure::Corrupt => Self::Rejected(error),
            Failure::Full | Failure::ReadOnly | Failure::Unusable => Self::Store(error),
        }
    }
}

/// Requests whose deadline has passed, and the rest, which keep the time they have left. Where the attempts
/// ran out before any deadline, all count as expired.
pub(super) fn split_expired(
    commands: impl IntoIterator<Item = Command>,
    deadline: Duration,
    now: Instant,
) -> (Vec<Command>, Vec<Command>) {
    let (expired, rest): (Vec<_>, Vec<_>) = commands
        .into_iter()
        .partition(|command| now.saturating_duration_since(command.submitted_at) >= deadline);
    if expired.is_empty() {
        (rest, expired)
    } else {
        (expired, rest)
    }
}

pub(super) fn fail_all(commands: impl IntoIterator<Item = Command>, error: &RepositoryError) {
    for command in commands {
        command.fail(error.clone());
    }
}
