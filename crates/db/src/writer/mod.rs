//! The writer: one thread a database and process, which owns the only read-write connection and
//! commits what has queued up together.
//!
//! ```text
//! callers ── Writer (handle, bounded queue) ──▶ Worker (thread) ── Batch ──▶ SQLite
//!    ▲                                             │ after COMMIT, and under FULL a sync of the WAL
//!    └───────────── one-shot replies ──────────────┘
//! ```
//!
//! No timer holds a batch back: a lone request commits at once, and while a commit is under way
//! the next batch grows by itself.
//!
//! # Architecture invariants
//!
//! A reply is sent after the commit that carries its request has returned, and under FULL after a
//! sync of the WAL that began later has returned, never before. Every
//! request that entered the queue is answered exactly once: with its result, or with the error
//! that kept it from being applied. The queue is bounded.

mod batch;
mod command;
mod queue;
mod recovery;
mod spin;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;

use super::sync::{self, AtomicBool};
use crate::error::{Ending, SqliteError, outcome_unknown};
use crate::lock::busy::Waited;
use crate::lock::retry::RetryPolicy;
use crate::metrics::{DbMetrics, as_f64};
use crate::wal;
use queue::{QueuePermit, Sender};

pub(crate) use command::{Command, RankTask, Reply, Work};
pub(crate) use worker::{Worker, WorkerConfig};

/// A handle to the writer. Cheap to clone; any number of tasks may use it at once.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    sender: Sender<Command>,
    shared: Arc<Shared>,
}

/// A handle and its worker, apart, so that tests can drive the worker without a thread.
pub(crate) fn pair(config: WorkerConfig, queue_capacity: usize) -> (Writer, Worker) {
    let (sender, receiver) = queue::queue(queue_capacity);
    let shared = Arc::new(Shared {
        closing: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
        fast_replies: AtomicU32::new(0),
        ending: config.ending.clone(),
        stats: Counters::default(),
        meters: config.meters.clone(),
    });
    (
        Writer {
            sender,
            shared: Arc::clone(&shared),
        },
        Worker::new(receiver, config, shared),
    )
}

/// State that handles and worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    closing: AtomicBool,
    panicked: AtomicBool,
    /// About how many requests in a row were alone in their transactions and answered within
    /// [`SPIN_FOR_REPLY`].
    fast_replies: AtomicU32,
    ending: Ending,
    stats: Counters,
    meters: DbMetrics,
}

/// How long a single caller spins for its reply within one poll, where the last replies came that fast. A
/// wake-up takes 15 to 20 us, more than most transactions of one request without a sync. A poll should not
/// take longer than 10 to 100 us
/// (<https://ryhl.io/blog/async-what-is-blocking/>).
const SPIN_FOR_REPLY: Duration = Duration::from_micros(50);

/// After so many transactions of one request in a row there is a single, sequential caller. Several callers
/// that spin would compete for the processors.
const SINGLE_CALLER_AFTER: u32 = 16;

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    commands: AtomicU64,
    events: AtomicU64,
    queue_wait_us: AtomicU64,
    longest_queue_wait_us: AtomicU64,
    lock_waits: AtomicU64,
    lock_wait_us: AtomicU64,
    retries: AtomicU64,
    reopened: AtomicU64,
    pauses: AtomicU64,
    paused_us: AtomicU64,
}

/// What the writer has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriterStats {
    /// Transactions committed.
    pub batches: u64,
    /// Requests that they answered. One that was refused because its guild's or member's row is invalid is
    /// among them.
    pub commands: u64,
    /// Events (and other single changes) of these requests.
    pub events: u64,
    /// How long the oldest request of each transaction was in the queue, in all: from its
    /// submission to the transaction's first attempt. No other request of it waited for longer.
    pub queue_wait: Duration,
    /// The longest such wait.
    pub longest_queue_wait: Duration,
    /// How often it slept for a lock that another process held.
    pub lock_waits: u64,
    /// How long it slept for such locks.
    pub lock_wait: Duration,
    /// Transactions tried again by the retry policy.
    pub retries: u64,
    /// How often a failed connection was opened anew.
    pub reopened: u64,
    /// How often it waited between transactions because a reader kept the WAL from starting over.
    pub pauses: u64,
    /// How long it waited for that, in all.
    pub paused: Duration,
}

impl Shared {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A transaction begins, with `depth` requests in the queue, of which the oldest that it
    /// carries has waited for `wait`.
    fn begun(&self, depth: usize, wait: Duration) {
        self.meters.queue_depth.set(as_f64(depth as u64));
        self.meters.queue_wait.record(wait);
        let (stats, wait) = (&self.stats, micros(wait));
        stats.queue_wait_us.fetch_add(wait, Ordering::Relaxed);
        stats
            .longest_queue_wait_us
            .fetch_max(wait, Ordering::Relaxed);
    }

    fn committed(&self, commands: usize, events: usize, commit: Duration) {
        self.meters.transaction_events.record(as_f64(events as u64));
        self.meters.commit.record(commit);
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        };
        add(&self.stats.batches, 1);
        add(&self.stats.commands, commands);
        add(&self.stats.events, events);
    }

    /// Syncs the WAL for transactions whose commits have returned.
    fn sync(&self, connection: &Connection) -> Result<(), RepositoryError> {
        let since = Instant::now();
        wal::sync::sync(connection).map_err(|error| {
            RepositoryError::with_source(
                RepositoryErrorKind::OutcomeUnknown,
                outcome_unknown("the commit could not be synced").to_string(),
                SqliteError::from(error),
            )
        })?;
        self.meters.sync.record(since.elapsed());
        Ok(())
    }

    /// Counts towards the detection of a single caller; called before the replies are sent.
    fn answered(&self, commands: &[Command]) {
        let before = self.fast_replies.load(Ordering::Relaxed);
        let now = match commands {
            [alone] if alone.submitted_at.elapsed() < SPIN_FOR_REPLY => {
                before.saturating_add(1).min(4 * SINGLE_CALLER_AFTER)
            }
            // One slow reply, because of a checkpoint for example, does not end the spinning.
            [_] => before / 2,
            _ => 0,
        };
        self.fast_replies.store(now, Ordering::Relaxed);
    }

    fn waited(&self, waited: Waited) {
        if waited.sleeps > 0 {
            self.stats
                .lock_waits
                .fetch_add(waited.sleeps, Ordering::Relaxed);
            self.stats
                .lock_wait_us
                .fetch_add(micros(waited.time), Ordering::Relaxed);
            self.meters.lock_wait.record(waited.time);
        }
    }

    fn retried(&self, policy: &RetryPolicy) {
        self.meters.retried(policy);
        self.stats.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn paused(&self, time: Duration) {
        self.meters.backpressure.record(time);
        self.stats.pauses.fetch_add(1, Ordering::Relaxed);
        self.stats
            .paused_us
            .fetch_add(micros(time), Ordering::Relaxed);
    }

    fn reopened(&self) {
        self.stats.reopened.fetch_add(1, Ordering::Relaxed);
    }

    /// The error for a request that was not queued.
    fn refusal(&self) -> RepositoryError {
        if self.panicked.load(Ordering::Acquire) {
            RepositoryError::new(
                RepositoryErrorKind::Unavailable,
                "the writer has panicked; nothing was applied, open the database anew",
            )
        } else {
            self.ending.error()
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Writer {
    /// Puts a request into the queue, waiting for room, and waits for its answer.
    ///
    /// Cancel safe: dropped before the request is in the queue, nothing happens; dropped after, the
    /// request is carried out all the same.
    pub(crate) async fn submit<T>(
        &self,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, RepositoryError> {
        let submitted_at = Instant::now();
        self.check_open()?;
        let permit = self
            .sender
            .permit()
            .await
            .map_err(|_| self.shared.refusal())?;
        self.exchange(permit, submitted_at, work).await
    }

    /// As [`Self::submit`], but fails at once where the queue is full.
    pub(crate) async fn try_submit<T>(
        &self,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, RepositoryError> {
        let submitted_at = Instant::now();
        self.check_open()?;
        let permit = self
            .sender
            .try_permit()
            .map_err(|_| self.shared.refusal())?
            .ok_or_else(|| {
                RepositoryError::new(
                    RepositoryErrorKind::Overloaded,
                    "the queue of writes is full; nothing was applied, try again later",
                )
            })?;
        self.exchange(permit, submitted_at, work).await
    }

    async fn exchange<T>(
        &self,
        permit: QueuePermit<'_, Command>,
        submitted_at: Instant,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, RepositoryError> {
        let (reply, answer) = Reply::pair();
        let work = work(reply);
        permit
            .send(Command { submitted_at, work })
            .map_err(|_| self.shared.refusal())?;
        if self.shared.fast_replies.load(Ordering::Relaxed) >= SINGLE_CALLER_AFTER
            && spin::has_other_workers()
        {
            spin::until(|| !answer.is_empty(), SPIN_FOR_REPLY);
        }
        // The worker drops a reply unsent only when it panics.
        answer
            .await
            .unwrap_or_else(|_| Err(outcome_unknown("the writer has panicked")))
    }

    /// As [`Self::submit`], for threads outside the runtime.
    pub(crate) fn submit_blocking<T>(
        &self,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, RepositoryError> {
        let submitted_at = Instant::now();
        self.check_open()?;
        let (reply, answer) = Reply::pair();
        let work = work(reply);
        self.sender
            .blocking_permit()
            .and_then(|place| place.send(Command { submitted_at, work }))
            .map_err(|_| self.shared.refusal())?;
        answer
            .blocking_recv()
            .unwrap_or_else(|_| Err(outcome_unknown("the writer has panicked")))
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.shared.panicked.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), RepositoryError> {
        if self.shared.is_closing() {
            Err(self.shared.refusal())
        } else {
            Ok(())
        }
    }

    /// Closes the queue. What is in it is still carried out and answered. Does not wait.
    pub(crate) fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        // Wakes a worker that sleeps on an empty queue.
        self.sender.close(Command {
            submitted_at: Instant::now(),
            work: Work::Close,
        });
    }

    /// How many more requests the queue has room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.sender.room()
    }

    pub(crate) fn stats(&self) -> WriterStats {
        let stats = &self.shared.stats;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterStats {
            batches: get(&stats.batches),
            commands: get(&stats.commands),
            events: get(&stats.events),
            queue_wait: Duration::from_micros(get(&stats.queue_wait_us)),
            longest_queue_wait: Duration::from_micros(get(&stats.longest_queue_wait_us)),
            lock_waits: get(&stats.lock_waits),
            lock_wait: Duration::from_micros(get(&stats.lock_wait_us)),
            retries: get(&stats.retries),
            reopened: get(&stats.reopened),
            pauses: get(&stats.pauses),
            paused: Duration::from_micros(get(&stats.paused_us)),
        }
    }
}
