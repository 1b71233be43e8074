//! What keeps a database in shape beside its writer: checkpoints, the forgetting of old event ids,
//! the upkeep of ranks and the planner's statistics, on a thread and a connection of their own, so that
//! no caller's commit waits for them. What has to be written, but for the statistics, goes through the
//! writer's queue in small steps, as any caller's.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{Clock, EventId, GuildId, RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::config::JournalMode;
use crate::connection::{ConnectionFactory, keep_from_checkpoint};
use crate::error::{Failure, busy_error, is_contended, repository_error};
use crate::files::wal_path;
use crate::identity::{Fault, Lease, OpenFiles};
use crate::lock::busy;
use crate::lock::holder::LockHolder;
use crate::lock::retry::{Retry, RetryError};
use crate::metrics::{By, DbMetrics, as_f64};
use crate::rank::{self, Health};
use crate::sql;
use crate::wal::backpressure::Backpressure;
use crate::wal::checkpoint::{CheckpointMutex, WalMonitor, WalState};
use crate::wal::index::WalIndex;
use crate::writer::{RankTask, Work, Writer};

/// How often event ids are looked through for old ones, and the planner's statistics brought up to
/// date.
const INTERVAL: Duration = Duration::from_mins(10);

/// How often the ranks of large guilds are looked after, and the WAL's size.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Ids looked at, and at most forgotten, in one step.
const IDS_PER_STEP: u32 = 2_000;

/// A WAL file that is larger than this is cut back in the next round. Not sooner, because it would
/// only grow again, and cutting holds the write lock.
const LARGE_WAL_BYTES: u64 = 32 * 1024 * 1024;

/// How long cutting the WAL back may wait for readers and writers, who all wait for it meanwhile.
const TRUNCATE_WAIT: Duration = Duration::from_millis(50);

/// How many requests may wait for the maintenance thread.
const JOBS: usize = 4;

/// What a round of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MaintenanceReport {
    /// Event ids that were older than the window, and are forgotten.
    pub forgotten_events: u64,
    /// Guilds whose ranks are kept.
    pub ranked_guilds: u64,
    /// Frames (pages) that the WAL holds.
    pub wal_frames: u64,
    /// Frames of those that the database has, too. Fewer where a reader still needs the old ones.
    pub checkpointed_frames: u64,
}

/// What the maintenance thread can be asked for.
#[derive(Debug)]
pub(crate) enum Job {
    Checkpoint,
    Round(oneshot::Sender<Result<MaintenanceReport, RepositoryError>>),
}

/// The maintenance thread's side.
#[derive(Debug)]
pub(crate) struct Maintenance {
    jobs: Receiver<Job>,
    copying: CheckpointMutex,
}

/// The writer's eye on the WAL, a sender for whoever asks for a round, and the thread's side.
pub(crate) fn channel(backpressure: Backpressure) -> (WalMonitor, SyncSender<Job>, Maintenance) {
    let (sender, jobs) = sync_channel(JOBS);
    let asker = sender.clone();
    // A full queue holds such a request already; without the thread, the writer copies alone.
    let ask = move || drop(asker.try_send(Job::Checkpoint));
    let copying = CheckpointMutex::default();
    let watch = WalMonitor::new(backpressure, copying.clone(), ask);
    (watch, sender, Maintenance { jobs, copying })
}

/// What the maintenance thread works with.
#[derive(Debug)]
pub(crate) struct MaintenanceConfig {
    pub(crate) factory: ConnectionFactory,
    pub(crate) journal_mode: JournalMode,
    pub(crate) files: Arc<OpenFiles>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) remember_events_for: Duration,
    pub(crate) rank_guilds_from: u64,
    pub(crate) meters: DbMetrics,
}

impl Maintenance {
    /// Works until nobody is left to ask for anything.
    pub(crate) fn run(self, connection: Connection, config: &MaintenanceConfig) {
        let mut caretaker = Caretaker {
            config,
            open: config.files.lease().map(|lease| (connection, lease)),
        };
        let mut next_round = Instant::now() + INTERVAL;
        let mut next_upkeep = Instant::now();
        loop {
            // Also while there is nothing to do: others wait until it is closed.
            caretaker.let_go_of_lost_files();
            let next = next_round.min(next_upkeep);
            match self
                .jobs
                .recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                Ok(Job::Checkpoint) => {
                    let Ok(Some(connection)) = caretaker.connection() else {
                        continue;
                    };
                    let _turn = self.copying.wait();
                    if let Err(error) = checkpoint(connection, config) {
                        tracing::warn!(%error, "a checkpoint failed");
                    }
                }
                Ok(Job::Round(reply)) => {
                    let connection = caretaker.look_after_files();
                    let _ = reply.send(connection.and_then(|open| self.round(open, config)));
                }
                Err(RecvTimeoutError::Timeout) if next_upkeep <= next_round => {
                    let kept = caretaker.look_after_files().and_then(|connection| {
                        maintain_ranks(connection, config)?;
                        self.shrink(connection, config)
                    });
                    if let Err(error) = kept {
                        warn_unless_closing(&error, "maintenance failed; it is tried again");
                    }
                    next_upkeep = Instant::now() + UPKEEP_INTERVAL;
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_round = Instant::now() + INTERVAL;
                    let connection = caretaker.look_after_files();
                    if let Err(error) = connection.and_then(|open| self.round(open, config)) {
                        warn_unless_closing(&error, "maintenance failed; it is tried again later");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn round(
        &self,
        connection: &Connection,
        config: &MaintenanceConfig,
    ) -> Result<MaintenanceReport, RepositoryError> {
        let forgotten_events = forget_old_events(connection, config)?;
        let guilds = retrying(config, "look for guilds", || rank::guilds(connection))?;
        each_guild(&guilds, |guild| verify(guild, connection, config))?;
        let ranked_guilds = maintain_ranks(connection, config)?;
        optimize(connection, config)?;
        let mut wal = self.shrink(connection, config)?;
        // Beside another process's checkpoint.
        if wal.is_unknown() {
            wal = retrying(config, "look at the WAL", || WalState::now(connection))?;
        }
        let count = |frames: i64| u64::try_from(frames).unwrap_or(0);
        Ok(MaintenanceReport {
            forgotten_events,
            ranked_guilds,
            wal_frames: count(wal.frames),
            checkpointed_frames: count(wal.copied),
        })
    }

    /// Checkpoints, and cuts a large WAL file back. After the writer, where that copies: it may be in
    /// the midst of all that a reader has held back.
    fn shrink(
        &self,
        connection: &Connection,
        config: &MaintenanceConfig,
    ) -> Result<WalState, RepositoryError> {
        let _turn = self.copying.wait();
        let wal = checkpoint(connection, config)?;
        let bytes = fs::metadata(wal_path(config.factory.path())).map_or(0, |file| file.len());
        config.meters.wal_bytes.set(as_f64(bytes));
        if bytes <= LARGE_WAL_BYTES {
            return Ok(wal);
        }
        busy::allow(TRUNCATE_WAIT);
        match WalState::after_truncating(connection) {
            Ok(after) => Ok(after),
            // Somebody is at work; there is another round.
            Err(error) if is_contended(&error) => Ok(wal),
            Err(error) => Err(repository_error("cut the WAL back", error)),
        }
    }
}

/// Logs a failure; not where it is that the database is being closed, which ends maintenance anywhere.
fn warn_unless_closing(error: &RepositoryError, message: &'static str) {
    if error.kind() != RepositoryErrorKind::Closed {
        tracing::warn!(%error, "{message}");
    }
}

/// The maintenance's connection, which it opens again where the files were lost and found.
struct Caretaker<'c> {
    config: &'c MaintenanceConfig,
    open: Option<(Connection, Lease)>,
}

impl Caretaker<'_> {
    fn let_go_of_lost_files(&mut self) {
        let files = &self.config.files;
        if let Some((connection, _)) = self.open.take_if(|(_, lease)| files.is_stale(lease)) {
            keep_from_checkpoint(&connection);
        }
    }

    /// The connection; `None` while the files are lost.
    fn connection(&mut self) -> Result<Option<&Connection>, RepositoryError> {
        self.let_go_of_lost_files();
        if self.open.is_none()
            && let Some(lease) = self.config.files.lease()
        {
            let opened = self.config.factory.open_writer().map_err(|error| {
                RepositoryError::with_source(error.kind(), "cannot open the database again", error)
            })?;
            self.open = Some((opened.0, lease));
        }
        Ok(self.open.as_ref().map(|(connection, _)| connection))
    }

    /// Has the writer look after files that are not in their places, so that what they hold is saved
    /// also where nobody writes; then as [`Self::connection`].
    fn look_after_files(&mut self) -> Result<&Connection, RepositoryError> {
        let config = self.config;
        let is_off = || match config.files.look() {
            Ok(()) | Err(Fault::Linked(..)) => config.files.is_lost(),
            Err(_) => true,
        };
        if is_off() || !self.has_whole_wal() {
            // Which would be in the way of opening them again.
            if let Some((connection, _)) = self.open.take() {
                keep_from_checkpoint(&connection);
            }
            config
                .writer
                .submit_blocking(|reply| Work::LookAfterFiles { reply })?;
        }
        self.connection()?.ok_or_else(|| {
            RepositoryError::new(
                RepositoryErrorKind::Unavailable,
                "a file of the database was removed or replaced, and is not open again yet",
            )
        })
    }

    /// Whether the WAL has what the index says; `true` where that is not known.
    fn has_whole_wal(&self) -> bool {
        let Some((connection, _)) = &self.open else {
            return true;
        };
        let is_whole = WalIndex::of(connection).and_then(|index| match index {
            Some(index) => index.is_in_wal_of(connection, None),
            None => Ok(true),
        });
        matches!(is_whole, Ok(true))
    }
}

/// Lets SQLite bring its planner's statistics up to date: of tables that it has none of, or that
/// have grown or shrunk tenfold since. It looks at a bounded number of rows, in one short write
/// transaction; where there is nothing to do, at each table's size alone.
///
/// A table of another module fails the statement for all where its index needs a function or a collation
/// that only that module's program has. Then the others are analysed one by one.
fn optimize(connection: &Connection, config: &MaintenanceConfig) -> Result<(), RepositoryError> {
    retrying(config, "look after the statistics", || {
        match connection.execute_batch(&format!("PRAGMA optimize = {OPTIMIZE}")) {
            Err(error) if Failure::of(&error) == Failure::Rejected => optimize_each(connection),
            done => done,
        }
    })
}

fn optimize_each(connection: &Connection) -> rusqlite::Result<()> {
    let statements: Vec<String> = connection
        .prepare(&format!("PRAGMA optimize = {}", OPTIMIZE | 1))?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    connection.pragma_update(None, "analysis_limit", 2_000)?;
    for statement in statements {
        match connection.execute_batch(&statement) {
            Err(error) if Failure::of(&error) == Failure::Rejected => {
                tracing::debug!(%error, statement, "a table could not be analysed");
            }
            done => done?,
        }
    }
    Ok(())
}

/// `0x02`: analyse what needs it; `0x10`: a bounded number of rows, 2,000 of each index; `0x10000`: look at
/// all tables, since this connection does not itself ask what readers ask, by which SQLite would choose
/// them. Together with `0x01` the statements are answered and not run.
const OPTIMIZE: u32 = 0x1_0012;

fn checkpoint(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<WalState, RepositoryError> {
    if config.journal_mode != JournalMode::Wal {
        return Ok(WalState::default());
    }
    let wal = retrying(config, "checkpoint the WAL", || {
        WalState::after_copying(connection)
    });
    let copied = wal.as_ref().ok().copied();
    config
        .meters
        .checkpointed(By::Maintenance, copied, Instant::now());
    wal
}

/// Goes through all remembered ids in small steps; the writer forgets the old ones of each step in
/// a transaction of its own, between its callers'.
fn forget_old_events(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<u64, RepositoryError> {
    let now = config.clock.now();
    let time = retrying(
        config,
        "read the time of recording",
        || match sql::find_recording_time(connection)? {
            Some(stored) => Ok(stored),
            None => sql::first_recording_time(connection, now),
        },
    )?;
    let before = time
        .observed(now)
        .forgets_before(config.remember_events_for);
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

/// Compares what is derived of a guild with its members' rows, which other programs may have changed, and
/// has the writer derive anew what differs.
fn verify(
    guild: GuildId,
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<(), RepositoryError> {
    let difference = retrying(config, "check a guild's ranks", || {
        let transaction = connection.unchecked_transaction()?;
        rank::verify(&transaction, guild)
    })?;
    if let Some(difference) = difference {
        tracing::warn!(
            %guild,
            difference = format_args!("the guild {difference}"),
            "another program has changed the guild's members; its ranks are rebuilt"
        );
        ask_writer(config, guild, RankTask::Discard)?;
        ask_writer(config, guild, RankTask::Recount)?;
    }
    Ok(())
}

/// Maintains the ranks of all large guilds. Returns how many these are.
fn maintain_ranks(
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<u64, RepositoryError> {
    let guilds = retrying(config, "look for large guilds", || {
        rank::large_guilds(connection, config.rank_guilds_from)
    })?;
    each_guild(&guilds, |guild| {
        maintain_ranks_of(guild, connection, config)
    })?;
    Ok(guilds.len() as u64)
}

/// Calls `maintain` with each guild. A row of one that cannot be read is no reason to leave the others.
fn each_guild(
    guilds: &[GuildId],
    maintain: impl Fn(GuildId) -> Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    for &guild in guilds {
        match maintain(guild) {
            Err(error) if error.kind() == RepositoryErrorKind::InvalidData => {
                tracing::warn!(%guild, %error, "the guild's ranks are not kept");
            }
            done => done?,
        }
    }
    Ok(())
}

/// Brings a guild's ranks up to date, in small steps; the writer carries each out in a transaction
/// between those of its callers.
fn maintain_ranks_of(
    guild: GuildId,
    connection: &Connection,
    config: &MaintenanceConfig,
) -> Result<(), RepositoryError> {
    let health = retrying(config, "check a guild's ranks", || {
        rank::health(connection, guild)
    })?;
    if health == Health::Stale {
        tracing::info!(%guild, "the guild's ranks are rebuilt");
        ask_writer(config, guild, RankTask::Discard)?;
    }
    if health != Health::Good {
        while ask_writer(config, guild, RankTask::Step)? {}
        let buckets = retrying(config, "sample a guild's members", || {
            rank::sample(connection, guild, config.clock.now())
        })?;
        ask_writer(config, guild, RankTask::Begin(Box::new(buckets)))?;
    }
    while ask_writer(config, guild, RankTask::Step)? {}
    Ok(())
}

/// Returns whether there is more to do.
fn ask_writer(
    config: &MaintenanceConfig,
    guild: GuildId,
    task: RankTask,
) -> Result<bool, RepositoryError> {
    config
        .writer
        .submit_blocking(|reply| Work::Rank { guild, task, reply })
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
            RetryError::Exhausted(exhausted, error) => {
                let holder = LockHolder::of(config.factory.path());
                busy_error(exhausted, holder.as_ref(), error.into())
            }
            RetryError::Failed(error) => repository_error(doing, error),
        })
}
