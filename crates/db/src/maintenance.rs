//! What keeps a database in shape beside its writer: checkpoints and the forgetting of old event
//! ids, on a thread and a connection of their own, so that no caller's commit waits for them.
//!
//! A passive checkpoint copies what the WAL holds into the database without shutting anybody out.
//! Beside a writer that never pauses it never catches up with the last frames, and a WAL starts
//! over only when it has been copied whole. So there are two steps: the maintenance thread copies
//! the bulk, syncs included, and where the WAL has grown to its ceiling all the same, the writer
//! copies the small rest between two of its own transactions.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{Clock, EventId, RepositoryError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::busy;
use crate::connection::{ConnectionFactory, JournalMode};
use crate::error::{busy_error, is_contended, repository_error};
use crate::retry::{Retry, RetryError};
use crate::sql;
use crate::writer::{Work, Writer};

/// Frames (pages of 4 KiB) that are not yet in the database, from which on the maintenance thread
/// copies them: SQLite's own default.
const CHECKPOINT_FRAMES: i64 = 1_000;

/// Frames in the WAL from which on the writer helps: 16 MiB.
const CEILING_FRAMES: i64 = 4_096;

/// How often event ids are looked through for old ones.
const INTERVAL: Duration = Duration::from_mins(10);

/// Ids looked at, and at most forgotten, in one step.
const IDS_PER_STEP: u32 = 2_000;

/// How many requests may wait for the maintenance thread.
const JOBS: usize = 4;

/// What a round of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintenanceReport {
    /// Event ids that were older than the window, and are forgotten.
    pub forgotten_events: u64,
    /// Frames (pages) that the WAL holds.
    pub wal_frames: u64,
    /// Frames of those that the database has, too. Fewer where a reader still needs the old ones.
    pub checkpointed_frames: u64,
}

#[derive(Debug)]
pub(crate) enum Job {
    Checkpoint,
    Round(oneshot::Sender<Result<MaintenanceReport, RepositoryError>>),
}

/// How far a WAL has been copied.
#[derive(Debug, Clone, Copy)]
struct WalState {
    frames: i64,
    copied: i64,
}

impl WalState {
    /// `mode` is one of this module's literals. A checkpoint that could not finish says so in its
    /// row, not by an error.
    fn after(connection: &Connection, mode: &'static str) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
            .query_row([], |row| {
                Ok(Self {
                    frames: row.get(1)?,
                    copied: row.get(2)?,
                })
            })
    }
}

/// The writer's eye on the WAL.
#[derive(Debug)]
pub(crate) struct WalWatch {
    jobs: SyncSender<Job>,
    /// The WAL's length when the writer last helped, so that a reader that keeps the WAL from
    /// being copied whole does not cost a checkpoint with every commit.
    helped_at: i64,
}

impl WalWatch {
    /// Looks at the WAL after a commit, and sees to it where it has grown.
    pub(crate) fn after_commit(&mut self, connection: &Connection) {
        // NOOP tells the state and does nothing. An error here is the next statement's to report.
        let Ok(wal) = WalState::after(connection, "NOOP") else {
            return;
        };
        if wal.frames < self.helped_at {
            self.helped_at = 0;
        }
        if wal.frames - wal.copied >= CHECKPOINT_FRAMES
            && let Err(TrySendError::Disconnected(_)) = self.jobs.try_send(Job::Checkpoint)
        {
            tracing::warn!("the maintenance thread is gone; the writer checkpoints alone");
        }
        if wal.frames >= CEILING_FRAMES && wal.frames - self.helped_at >= CHECKPOINT_FRAMES {
            self.helped_at = wal.frames;
            if let Err(error) = WalState::after(connection, "PASSIVE") {
                tracing::warn!(%error, "the writer's checkpoint failed");
            }
        }
    }
}

/// The maintenance thread's side.
#[derive(Debug)]
pub(crate) struct Maintenance {
    jobs: Receiver<Job>,
}

/// The writer's eye, a sender for whoever asks for a round, and the thread's side.
pub(crate) fn channel() -> (WalWatch, SyncSender<Job>, Maintenance) {
    let (sender, jobs) = sync_channel(JOBS);
    (
        WalWatch {
            jobs: sender.clone(),
            helped_at: 0,
        },
        sender,
        Maintenance { jobs },
    )
}

/// What the maintenance thread works with.
#[derive(Debug)]
pub(crate) struct MaintenanceConfig {
    pub(crate) factory: ConnectionFactory,
    pub(crate) journal_mode: JournalMode,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) remember_events_for: Duration,
}

impl Maintenance {
    /// Works until nobody is left to ask for anything.
    pub(crate) fn run(self, connection: &Connection, config: &MaintenanceConfig) {
        let mut next_round = Instant::now() + INTERVAL;
        loop {
            match self
                .jobs
                .recv_timeout(next_round.saturating_duration_since(Instant::now()))
            {
                Ok(Job::Checkpoint) => {
                    if let Err(error) = checkpoint(connection, config) {
                        tracing::warn!(%error, "a checkpoint failed");
                    }
                }
                Ok(Job::Round(reply)) => {
                    let _ = reply.send(round(connection, config));
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_round = Instant::now() + INTERVAL;
                    if let Err(error) = round(connection, config) {
                        tracing::warn!(%error, "maintenance failed; it is tried again later");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn round(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<MaintenanceReport, RepositoryError> {
    let forgotten_events = forget_old_events(connection, config)?;
    let wal = checkpoint(connection, config)?;
    let count = |frames: i64| u64::try_from(frames).unwrap_or(0);
    Ok(MaintenanceReport {
        forgotten_events,
        wal_frames: count(wal.frames),
        checkpointed_frames: count(wal.copied),
    })
}

fn checkpoint(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<WalState, RepositoryError> {
    if config.journal_mode != JournalMode::Wal {
        return Ok(WalState {
            frames: 0,
            copied: 0,
        });
    }
    retrying(config, "checkpoint the WAL", || {
        WalState::after(connection, "PASSIVE")
    })
}

/// Goes through all remembered ids in small steps; the writer forgets the old ones of each step in
/// a transaction of its own, between its callers'.
fn forget_old_events(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<u64, RepositoryError> {
    let window = i64::try_from(config.remember_events_for.as_secs()).unwrap_or(i64::MAX);
    let before = config.clock.now().saturating_add(window.saturating_neg());
    let (mut forgotten, mut after) = (0, None::<EventId>);
    loop {
        let step = retrying(config, "look for old event ids", || {
            sql::remembered_events(connection, after, before, IDS_PER_STEP)
        })?;
        let Some(&(last, _)) = step.last() else {
            return Ok(forgotten);
        };
        after = Some(last);
        let ids: Vec<EventId> = step
            .into_iter()
            .filter(|(_, old)| *old)
            .map(|(id, _)| id)
            .collect();
        if !ids.is_empty() {
            forgotten +=
                config
                    .writer
                    .submit_blocking(|reply| Work::Forget { ids, before, reply })?;
        }
    }
}

fn retrying<T>(
    config: &MaintenanceConfig,
    doing: &str,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> Result<T, RepositoryError> {
    Retry::new(config.factory.retry(), Instant::now(), Rng::new())
        .run(is_contended, |budget| {
            busy::allow(budget);
            attempt()
        })
        .map_err(|error| match error {
            RetryError::Exhausted(exhausted, error) => busy_error(exhausted, error.into()),
            RetryError::Failed(error) => repository_error(doing, error),
        })
}
