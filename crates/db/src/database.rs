//! A database: opens everything in the right order, owns the threads, closes in reverse.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use roas_domain::{Clock, RepositoryError, RepositoryErrorKind};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::{Access, Config, Durability, JournalMode};
use crate::connection::{ConnectionFactory, Writers};
use crate::error::{Ending, OpenError};
use crate::files::wal_path;
use crate::identity::OpenFiles;
use crate::lock::holder::LockHolder;
use crate::lock::other_processes::{OtherProcess, other_processes};
use crate::lock::retry::RetryPolicy;
use crate::maintenance::{self, Job, MaintenanceConfig, MaintenanceReport};
use crate::metrics::DbMetrics;
use crate::migration::Contents;
use crate::migration::{self, MigrateOptions, MigrationName};
use crate::reader::{ReaderPool, runtime_or};
use crate::repository::{SqliteActivityRepository, WriteHandle};
use crate::traceless::ReadConnection;
use crate::wal::backpressure::{Backpressure, default_limit_bytes};
use crate::writer::{self, WorkerConfig, Writer, WriterStats};

/// An open database: the writer, the readers and the maintenance of one file.
///
/// One `Database` a file and process; its [`repository`](Self::repository) is what is shared, and can
/// be used from any executor. Dropping it ends the intake of writes and lets those that are queued
/// finish in the background; [`close`](Self::close) waits for them, and so does the next
/// [`open`](Self::open) of the file in this process.
#[derive(Debug)]
pub struct Database {
    info: DatabaseInfo,
    readers: Arc<ReaderPool>,
    write_side: Option<WriteSide>,
    ending: Ending,
    /// The runtime that it was opened in, for callers outside any.
    runtime: Handle,
}

/// What only a database that is open for writing has.
#[derive(Debug)]
struct WriteSide {
    writer: Writer,
    worker: JoinHandle<()>,
    jobs: SyncSender<Job>,
    maintenance: JoinHandle<()>,
    clock: Arc<dyn Clock>,
    max_clock_skew: Option<Duration>,
    factory: ConnectionFactory,
}

/// What an open database turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseInfo {
    /// The file's absolute path.
    pub path: PathBuf,
    /// The schema's version.
    pub schema_version: i32,
    /// The version of the SQLite that is linked.
    pub sqlite_version: String,
    /// [`JournalMode::Delete`] if the file cannot have a WAL.
    pub journal_mode: JournalMode,
    /// Why it is [`JournalMode::Delete`]. A commit then blocks readers, and the aggressive retry
    /// policy applies.
    pub journal_fallback: Option<String>,
    /// What an acknowledged write of this process survives. For a database that is open read-only:
    /// what it would survive.
    pub synchronous: Durability,
    /// The size of the WAL that backpressure keeps to ([`Config::wal_limit`]), in bytes.
    pub wal_limit_bytes: u64,
    /// Whether opening created the file.
    pub created: bool,
    /// The migrations that opening applied.
    pub migrations_applied: Vec<MigrationName>,
}

/// How much room a database takes on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DatabaseSize {
    /// The database file.
    pub database_bytes: u64,
    /// The WAL beside it.
    pub wal_bytes: u64,
}

/// Who uses a database's file besides the one who asks. Only Linux tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FileUsers {
    /// The other processes that have it open, of those that the caller may look into.
    pub other_processes: Vec<OtherProcess>,
    /// Whoever holds its write lock, this process included.
    pub lock_holder: Option<LockHolder>,
}

impl Database {
    /// Opens a database.
    ///
    /// For reading and writing: creates the file where there is none, brings an older schema to the
    /// current one (unless [`crate::OnOldSchema::Refuse`] says otherwise), and starts the writer. For
    /// reading only: creates and changes nothing.
    ///
    /// Needs a tokio runtime; the work is done on its blocking threads.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; no thread is left running. Where this process has the file open for writing
    /// already: [`OpenError::AlreadyOpen`] at once; where that `Database` is closing or was dropped,
    /// [`OpenError::StillClosing`] after the retry policy's deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo a migration that was begun; it completes.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let path = config.path.clone();
        let Ok(runtime) = Handle::try_current() else {
            return Err(OpenError::NoRuntime { path });
        };
        // Here, because a recorder may be the calling thread's alone.
        let meters = DbMetrics::new(path.display().to_string());
        let open = move || match config.access {
            Access::ReadWrite => Self::open_for_writing(&config, runtime, meters),
            Access::ReadOnly => Self::open_for_reading(&config, runtime),
        };
        let database = tokio::task::spawn_blocking(open)
            .await
            .unwrap_or_else(|error| {
                let source = std::io::Error::other(error);
                Err(OpenError::Io {
                    path,
                    doing: "open",
                    source,
                })
            })?;
        if let (Some(reason), Some(_)) = (&database.info.journal_fallback, &database.write_side) {
            tracing::warn!(
                path = %database.info.path.display(),
                reason,
                "no WAL is to be had; falling back to a rollback journal and the aggressive policy"
            );
        }
        Ok(database)
    }

    fn open_for_writing(
        config: &Config,
        runtime: Handle,
        meters: DbMetrics,
    ) -> Result<Self, OpenError> {
        let factory = ConnectionFactory::new(config)?.claimed()?;
        migration::require_writable(&factory)?;
        factory.wait_for_lost_files()?;
        let options = MigrateOptions::default();
        let migrated = migration::bring_up_to_date(&factory, config.on_old_schema, &options)?;
        let Writers {
            writer: connection,
            caretaker,
            mode: journal_mode,
            files,
        } = factory.open_writers()?;
        let files = OpenFiles::of_writer(&factory, files);
        let factory = match journal_mode {
            JournalMode::Wal => factory,
            // Without WAL every commit shuts readers out for a moment: ask often, for as long as
            // the caller's own policy allows.
            JournalMode::Delete => {
                let deadline = config.retry.deadline();
                factory.with_retry(RetryPolicy::aggressive().with_deadline(deadline))
            }
        };
        let io = |doing| {
            let path = factory.path().to_owned();
            move |source| OpenError::Io {
                path,
                doing,
                source,
            }
        };
        let first = ReadConnection::plain(factory.open_reader()?);
        // A handle that somebody keeps beyond the end must not keep the file claimed.
        let reading = factory.clone().unclaimed();
        let ending = Ending::default();
        let readers = ReaderPool::new(
            reading,
            config.readers,
            first,
            runtime.clone(),
            ending.clone(),
            Arc::clone(&files),
        );
        let readers = Arc::new(readers.on_calling_thread(config.read_on_calling_thread));

        let wal_limit_bytes = wal_limit_bytes(config, &factory);
        let (wal_monitor, jobs, maintenance) =
            maintenance::channel(Backpressure::new(wal_limit_bytes));
        let (writer, worker) = writer::pair(
            WorkerConfig {
                factory: factory.clone(),
                journal_mode,
                files: Arc::clone(&files),
                readers: Arc::downgrade(&readers),
                batch_limit: config.batch_limit,
                clock: Arc::clone(&config.clock),
                wal_monitor,
                runtime: runtime.clone(),
                meters: meters.clone(),
                ending: ending.clone(),
            },
            config.queue_capacity,
        );
        let maintenance_config = MaintenanceConfig {
            factory: factory.clone(),
            journal_mode,
            files,
            writer: writer.clone(),
            clock: Arc::clone(&config.clock),
            remember_events_for: config.remember_events_for,
            rank_guilds_from: config.rank_guilds_from,
            meters,
        };
        // Where the second thread cannot be started, dropping the handle ends the first.
        let worker = Builder::new()
            .name("roas-writer".to_owned())
            .spawn(move || worker.run(connection))
            .map_err(io("start the writer of"))?;
        let maintenance = Builder::new()
            .name("roas-maintenance".to_owned())
            .spawn(move || maintenance.run(caretaker, &maintenance_config))
            .inspect_err(|_| {
                factory.begin_closing();
                writer.close();
            })
            .map_err(io("start the maintenance of"))?;
        Ok(Self {
            info: DatabaseInfo {
                created: migrated.created,
                migrations_applied: migrated.applied,
                ..info(&factory, config, journal_mode, migrated.to)
            },
            readers,
            write_side: Some(WriteSide {
                writer,
                worker,
                jobs,
                maintenance,
                clock: Arc::clone(&config.clock),
                max_clock_skew: config.max_clock_skew,
                factory,
            }),
            ending,
            runtime,
        })
    }

    fn open_for_reading(config: &Config, runtime: Handle) -> Result<Self, OpenError> {
        let factory = ConnectionFactory::new(config)?;
        let status = migration::checked_status(&factory)?;
        let path = factory.path().to_owned();
        match status.contents {
            Contents::Missing => return Err(OpenError::Missing { path }),
            Contents::Legacy(kind) => return Err(OpenError::Legacy { path, kind }),
            Contents::Empty | Contents::Foreign => {
                return Err(OpenError::NotInitialized { path });
            }
            _ if !status.pending.is_empty() => {
                let (found, known) = (status.version, status.latest);
                return Err(OpenError::SchemaTooOld { path, found, known });
            }
            Contents::Ours => {}
        }
        let first = factory.retrying("read", || factory.open_reading())?;
        let journal_mode = first
            .journal_mode()
            .map_err(|error| factory.sqlite_error("read", error))?;
        let files = OpenFiles::of_readers(&factory, journal_mode)?;
        let ending = Ending::default();
        let info = info(&factory, config, journal_mode, status.version);
        let readers = ReaderPool::new(
            factory,
            config.readers,
            first,
            runtime.clone(),
            ending.clone(),
            files,
        );
        Ok(Self {
            info,
            readers: Arc::new(readers.on_calling_thread(config.read_on_calling_thread)),
            write_side: None,
            ending,
            runtime,
        })
    }

    /// The port on this database. All clones share the one writer.
    #[must_use]
    pub fn repository(&self) -> SqliteActivityRepository {
        let write = self.write_side.as_ref().map(|side| WriteHandle {
            writer: side.writer.clone(),
            clock: Arc::clone(&side.clock),
            max_clock_skew: side.max_clock_skew,
        });
        SqliteActivityRepository::new(write, Arc::clone(&self.readers))
    }

    /// What the database turned out to be.
    #[must_use]
    pub const fn info(&self) -> &DatabaseInfo {
        &self.info
    }

    /// How much room it takes now; 0 for a file that is not there.
    #[must_use]
    pub fn size(&self) -> DatabaseSize {
        let bytes = |path| fs::metadata(path).map_or(0, |file| file.len());
        DatabaseSize {
            database_bytes: bytes(self.info.path.clone()),
            wal_bytes: bytes(wal_path(&self.info.path)),
        }
    }

    /// Who else uses the file now, as far as the system tells the caller.
    #[must_use]
    pub fn users(&self) -> FileUsers {
        FileUsers {
            other_processes: other_processes(&self.info.path, None),
            lock_holder: LockHolder::of(&self.info.path),
        }
    }

    /// What the writer has done; nothing, where the database is open for reading only.
    #[must_use]
    pub fn writer_stats(&self) -> WriterStats {
        self.write_side
            .as_ref()
            .map(|side| side.writer.stats())
            .unwrap_or_default()
    }

    /// Runs a round of maintenance now: forgets event ids that are older than the window, brings the
    /// ranks of large guilds and the planner's statistics up to date, and checkpoints the WAL. The
    /// maintenance thread does the same every ten minutes, ranks and WAL every ten seconds.
    ///
    /// # Errors
    ///
    /// `ReadOnly` where the database is open for reading only, and whatever a write can fail with.
    ///
    /// # Cancel safety
    ///
    /// A round that was begun completes.
    pub async fn maintain(&self) -> Result<MaintenanceReport, RepositoryError> {
        let Some(side) = &self.write_side else {
            return Err(RepositoryError::new(
                RepositoryErrorKind::ReadOnly,
                "the database was opened for reading only",
            ));
        };
        let (reply, report) = oneshot::channel();
        let jobs = side.jobs.clone();
        // The thread may be in the middle of a checkpoint, and its queue full.
        let send = runtime_or(&self.runtime).spawn_blocking(move || jobs.send(Job::Round(reply)));
        if !matches!(send.await, Ok(Ok(()))) {
            return Err(self.ending.error());
        }
        report.await.unwrap_or_else(|_| Err(self.ending.error()))
    }

    /// Ends the intake, carries out what is queued, answers every caller, and closes all
    /// connections; the last one of all processes moves the WAL into the database.
    ///
    /// # Errors
    ///
    /// `Unavailable` where a thread of the database had panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the closing, only the waiting for it.
    pub async fn close(mut self) -> Result<(), RepositoryError> {
        self.ending.closed();
        let readers = Arc::clone(&self.readers);
        let side = self.write_side.take();
        if let Some(side) = &side {
            side.begin_closing();
        }
        let runtime = runtime_or(&self.runtime);
        let joining = runtime.clone();
        let closing = runtime.spawn(async move {
            let Some(WriteSide {
                writer,
                worker,
                jobs,
                maintenance,
                ..
            }) = side
            else {
                readers.drain().await;
                return true;
            };
            let joined = join(&joining, worker).await;
            readers.drain().await;
            // The worker is gone, so this was the last sender. The maintenance's connection is the
            // last one, and may write: SQLite then removes the WAL.
            drop(jobs);
            let joined = joined & join(&joining, maintenance).await;
            joined && !writer.has_panicked()
        });
        let unavailable = |why| Err(RepositoryError::new(RepositoryErrorKind::Unavailable, why));
        match closing.await {
            Ok(true) => Ok(()),
            Err(error) if error.is_cancelled() => unavailable(
                "the tokio runtime shut down while the database was closing; what was acknowledged \
                 is in the file, and what is queued is still written",
            ),
            _ => unavailable(
                "a thread of the database had panicked; what was acknowledged is in the file",
            ),
        }
    }
}

impl WriteSide {
    /// Ends the intake, and lets the next opening of the file wait for the end.
    fn begin_closing(&self) {
        self.factory.begin_closing();
        self.writer.close();
    }
}

/// Answers whether the thread ended as it should.
async fn join(runtime: &Handle, thread: JoinHandle<()>) -> bool {
    matches!(
        runtime.spawn_blocking(move || thread.join()).await,
        Ok(Ok(()))
    )
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ending.dropped();
        if let Some(side) = &self.write_side {
            side.begin_closing();
            self.readers.close();
        }
    }
}

/// The limit that is set, or the default for the file's disk.
fn wal_limit_bytes(config: &Config, factory: &ConnectionFactory) -> u64 {
    config
        .wal_limit_bytes
        .unwrap_or_else(|| default_limit_bytes(factory.path()))
}

/// What can be known of a file without a WAL by reading it alone.
const NOT_YET_WAL: &str = "the file has not been opened for writing since it was made, copied or \
    restored, or could not have a WAL then";

/// What a database that opening did not change turned out to be.
fn info(
    factory: &ConnectionFactory,
    config: &Config,
    journal_mode: JournalMode,
    schema_version: i32,
) -> DatabaseInfo {
    DatabaseInfo {
        path: factory.path().to_owned(),
        schema_version,
        sqlite_version: rusqlite::version().to_owned(),
        journal_mode,
        journal_fallback: match (journal_mode, config.access) {
            (JournalMode::Wal, _) => None,
            (JournalMode::Delete, Access::ReadWrite) => Some(factory.no_wal()),
            (JournalMode::Delete, Access::ReadOnly) => Some(NOT_YET_WAL.to_owned()),
        },
        synchronous: config.durability,
        wal_limit_bytes: wal_limit_bytes(config, factory),
        created: false,
        migrations_applied: Vec::new(),
    }
}
