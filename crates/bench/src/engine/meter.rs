//! The activity meter, as a bot uses it: through the port.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use roas_db::{Config, Database, Durability};
use roas_domain::{
    ActivityEvent, ActivityRepository, EventOutcome, GuildRules, LeaderboardLimit,
    MAX_EVENTS_PER_CALL, MAX_SCORE_LIMIT, RepositoryError, RepositoryErrorKind, ScoreDelta,
};

use super::recorder::MetricsRecorder;
use super::{
    BoxError, CallError, CallErrorKind, Counters, Description, Engine, Execution, Read,
    ReadSession, Session, Stored,
};
use crate::operations::{Operation, prefill};
use crate::scenario::{Scenario, Synchronous};
use crate::stats::{Latencies, Tally};

/// What a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// A message under the full rule: score, daily count, deduplication.
    Record,
    /// The plain upsert: one point more.
    Adjust,
}

#[derive(Debug)]
pub(super) struct Meter {
    database: Database,
    recorder: MetricsRecorder,
    repository: Arc<dyn ActivityRepository>,
    write: Write,
}

impl Meter {
    /// Makes the database, with the ranks of its large guilds, which the maintenance thread would
    /// otherwise make during the run. Nothing of it has to survive the machine, so it is made under
    /// NORMAL, whatever the run is under. For [`Write::Adjust`] no score may stop at its maximum, because the sum
    /// of the scores is then the count of the operations.
    pub(super) async fn prepare(
        write: Write,
        scenario: &Scenario,
        database: &Path,
        stored: Stored<'_>,
    ) -> Result<(), BoxError> {
        let meter = Self::open_with(write, Durability::Normal, database).await?;
        let members = scenario.all_members();
        if write == Write::Adjust {
            let unbounded = GuildRules::default();
            let unbounded = GuildRules {
                score: unbounded.score.with_max_score(MAX_SCORE_LIMIT)?,
                ..unbounded
            };
            for guild in members.guilds() {
                meter
                    .repository
                    .set_guild_rules(guild, unbounded.clone())
                    .await?;
            }
        }
        if scenario.prefill {
            let mut events =
                prefill(&members, scenario.prefill_over).map(|(member, at)| ActivityEvent {
                    id: None,
                    member,
                    at,
                });
            let mut count = 0;
            loop {
                let some: Vec<_> = events.by_ref().take(MAX_EVENTS_PER_CALL).collect();
                if some.is_empty() {
                    break;
                }
                count += some.len() as u64;
                meter.repository.record_many(some).await?;
                stored(count);
            }
            meter.database.maintain().await?;
        }
        drop(meter.repository);
        meter.database.close().await?;
        Ok(())
    }

    pub(super) async fn open(
        write: Write,
        scenario: &Scenario,
        database: &Path,
    ) -> Result<Self, BoxError> {
        let durability = match scenario.synchronous {
            Synchronous::Full => Durability::Full,
            Synchronous::Normal => Durability::Normal,
        };
        Self::open_with(write, durability, database).await
    }

    async fn open_with(
        write: Write,
        durability: Durability,
        database: &Path,
    ) -> Result<Self, BoxError> {
        let recorder = MetricsRecorder::default();
        let config = Config::new(database)
            .durability(durability)
            .read_on_calling_thread(true);
        let opening = Database::open(config);
        let database = recorder.with_recorder(opening).await?;
        Ok(Self {
            recorder,
            repository: Arc::new(database.repository()),
            database,
            write,
        })
    }
}

#[async_trait]
impl Engine for Meter {
    fn execution(&self) -> Execution {
        Execution::Tasks
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        let repository = Arc::clone(&self.repository);
        Ok(match self.write {
            Write::Record => Box::new(Recording(repository)),
            Write::Adjust => Box::new(Adjusting {
                repository,
                delta: ScoreDelta::new(1.0)?,
            }),
        })
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        Ok(Box::new(Reading(Arc::clone(&self.repository))))
    }

    fn counters(&self) -> Option<Counters> {
        let stats = self.database.writer_stats();
        Some(Counters {
            batches: stats.batches,
            operations: stats.events,
            lock_waits: stats.lock_waits,
            lock_wait_us: u64::try_from(stats.lock_wait.as_micros()).unwrap_or(u64::MAX),
            retries: stats.retries,
        })
    }

    fn queue_waits(&self) -> Option<Latencies> {
        self.recorder.queue_waits()
    }

    fn take_metrics(&self) -> BTreeMap<String, Tally> {
        self.recorder.take()
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        let info = self.database.info();
        let pragmas = [
            ("journal_mode", info.journal_mode.to_string()),
            ("synchronous", info.synchronous.to_string()),
        ];
        Ok(Description {
            sqlite_version: info.sqlite_version.clone(),
            pragmas: BTreeMap::from(pragmas.map(|(name, value)| (name.to_owned(), value))),
        })
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        Ok(self.database.close().await?)
    }
}

struct Recording(Arc<dyn ActivityRepository>);

#[async_trait]
impl Session for Recording {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        for operation in operations {
            let outcome = self.0.record(operation.event()).await.map_err(failed)?;
            if outcome == EventOutcome::Duplicate {
                // Every operation has an id of its own.
                return Err(CallError::new(
                    CallErrorKind::Other,
                    "taken for a duplicate",
                ));
            }
        }
        Ok(())
    }
}

struct Adjusting {
    repository: Arc<dyn ActivityRepository>,
    delta: ScoreDelta,
}

#[async_trait]
impl Session for Adjusting {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        for operation in operations {
            let adjusted = self
                .repository
                .adjust_score(operation.member, self.delta, operation.at);
            adjusted.await.map_err(failed)?;
        }
        Ok(())
    }
}

struct Reading(Arc<dyn ActivityRepository>);

#[async_trait]
impl ReadSession for Reading {
    async fn read(&mut self, read: Read) -> Result<(), CallError> {
        match read {
            Read::Member(member) => self.0.find_member(member).await.map(drop),
            Read::Leaderboard(member, at) => {
                let top = self
                    .0
                    .top_scores(member.guild, at, LeaderboardLimit::default());
                top.await.map(drop)
            }
            Read::Rank(member, at) => self.0.score_rank(member, at).await.map(drop),
        }
        .map_err(failed)
    }
}

fn failed(error: RepositoryError) -> CallError {
    let kind = match error.kind() {
        RepositoryErrorKind::Busy { .. } => CallErrorKind::Busy,
        RepositoryErrorKind::Overloaded => CallErrorKind::Overloaded,
        RepositoryErrorKind::OutcomeUnknown => CallErrorKind::Unknown,
        RepositoryErrorKind::StorageFull
        | RepositoryErrorKind::ReadOnly
        | RepositoryErrorKind::Corrupt
        | RepositoryErrorKind::Unavailable => CallErrorKind::Io,
        _ => CallErrorKind::Other,
    };
    CallError::new(kind, error)
}
