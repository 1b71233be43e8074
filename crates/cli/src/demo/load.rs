//! Many tasks that write at full speed, and what came of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_domain::{
    ActivityEvent, EventOutcome, InvalidId, RepositoryError, RepositoryErrorKind, UnixSeconds,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::community::{Community, DAY_SECONDS, MessageIds};
use roas_app::latency::{LatencyRecorder, LatencySummary};
use roas_app::service::ActivityMeterService;

/// Concurrent tasks in each process.
pub(super) const TASKS: usize = 256;

/// One message in so many is delivered twice, as gateways do after a resume.
const REDELIVERED_ONE_IN: u32 = 200;

/// How a process is to load the database.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Tells the processes apart in the ids of their messages.
    pub(super) server: u64,
    /// When the simulated day begins.
    pub(super) begin: UnixSeconds,
    /// How long it takes in real time.
    pub(super) duration: Duration,
}

/// What a process did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Messages acknowledged as counted.
    pub(super) messages: u64,
    /// Messages delivered a second time, and acknowledged as duplicates.
    pub(super) duplicates: u64,
    /// Calls that failed because somebody else held the database.
    pub(super) lock_errors: u64,
    /// From the first message to the last acknowledgement.
    pub(super) elapsed_ms: u64,
    /// How long callers waited.
    #[serde(with = "Latency")]
    pub(super) latency_us: LatencySummary,
}

/// Reads what [`LatencySummary`] writes.
#[derive(Serialize, Deserialize)]
#[serde(remote = "LatencySummary")]
struct Latency {
    p50: Option<u64>,
    p95: Option<u64>,
    p99: Option<u64>,
    p999: Option<u64>,
    max: Option<u64>,
}

/// Why the load could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("a message that was delivered twice was counted twice")]
    CountedTwice,
    #[error("a new message was taken for one delivered twice")]
    NotCounted,
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("a task panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// The counts of one task.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    duplicates: u64,
    lock_errors: u64,
}

/// What all tasks of a process share.
#[derive(Debug)]
struct Shared {
    service: ActivityMeterService,
    community: Community,
    ids: MessageIds,
    load: Load,
    started: Instant,
    latency: Mutex<LatencyRecorder>,
}

impl Load {
    /// Lets [`TASKS`] tasks write until the day is over.
    pub(super) async fn run(self, service: ActivityMeterService) -> Result<LoadReport, LoadError> {
        let shared = Arc::new(Shared {
            service,
            community: Community::new()?,
            ids: MessageIds::of_server(self.server),
            started: Instant::now(),
            latency: Mutex::default(),
            load: self,
        });
        let mut tasks = JoinSet::new();
        for task in 0..TASKS as u64 {
            let seed = shared.load.server << 32 | task;
            tasks.spawn(Arc::clone(&shared).write(Rng::with_seed(seed)));
        }
        let mut report = LoadReport::default();
        // The first failure ends the others: the set aborts them when it is dropped.
        while let Some(counts) = tasks.join_next().await {
            let Counts {
                messages,
                duplicates,
                lock_errors,
            } = counts??;
            report.messages += messages;
            report.duplicates += duplicates;
            report.lock_errors += lock_errors;
        }
        report.elapsed_ms = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        report.latency_us = shared.recorder().summary();
        Ok(report)
    }
}

impl Shared {
    async fn write(self: Arc<Self>, mut rng: Rng) -> Result<Counts, LoadError> {
        let mut counts = Counts::default();
        while let Some(event) = self.next_event(&mut rng)? {
            match self.record(event).await? {
                None => {
                    counts.lock_errors += 1;
                    continue;
                }
                Some(EventOutcome::Duplicate) => return Err(LoadError::NotCounted),
                Some(_) => counts.messages += 1,
            }
            if rng.u32(0..REDELIVERED_ONE_IN) == 0 {
                match self.record(event).await? {
                    None => counts.lock_errors += 1,
                    Some(EventOutcome::Duplicate) => counts.duplicates += 1,
                    Some(_) => return Err(LoadError::CountedTwice),
                }
            }
        }
        Ok(counts)
    }

    /// The next message; `None` once the day is over.
    fn next_event(&self, rng: &mut Rng) -> Result<Option<ActivityEvent>, InvalidId> {
        let Load {
            begin, duration, ..
        } = self.load;
        let elapsed = self.started.elapsed();
        if elapsed >= duration {
            return Ok(None);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "from 0 to the seconds of a day"
        )]
        let second = (elapsed.as_secs_f64() / duration.as_secs_f64() * DAY_SECONDS as f64) as i64;
        let at = begin.saturating_add(second);
        let member = self.community.someone(second, rng);
        Ok(Some(ActivityEvent {
            id: Some(self.ids.next(at)?),
            member,
            at,
        }))
    }

    /// Records an event; `None` where somebody else held the database for too long.
    async fn record(&self, event: ActivityEvent) -> Result<Option<EventOutcome>, RepositoryError> {
        let submitted = Instant::now();
        let outcome = self.service.record(event).await;
        self.recorder().record(submitted.elapsed());
        match outcome {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) if matches!(error.kind(), RepositoryErrorKind::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn recorder(&self) -> std::sync::MutexGuard<'_, LatencyRecorder> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadReport {
    /// Messages in a second.
    pub(super) fn messages_per_s(&self) -> u64 {
        self.messages.saturating_mul(1_000) / self.elapsed_ms.max(1)
    }
}

#[cfg(test)]
mod tests {
    use roas_domain::testing::{MemoryRepository, MockActivityRepository};
    use roas_domain::{ActivityRecord, MemberKey, Score, SystemClock};

    use super::*;

    fn load() -> Load {
        let begin = UnixSeconds::new(1_755_820_800).unwrap();
        Load {
            server: 3,
            begin,
            duration: Duration::from_millis(50),
        }
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_what_is_stored() {
        let repository = Arc::new(MemoryRepository::new());
        let service = ActivityMeterService::new(repository, Arc::new(SystemClock));
        let report = load().run(service.clone()).await.unwrap();
        assert!(report.messages > 0);
        assert_eq!(service.counts().await.unwrap().messages, report.messages);
        assert_eq!(report.lock_errors, 0);
        assert!(report.latency_us.max.is_some());
        let line = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<LoadReport>(&line).unwrap(), report);
    }

    #[tokio::test]
    async fn lock_errors_are_counted_and_other_errors_end_the_load() {
        let service = |kind| {
            let mut repository = MockActivityRepository::new();
            repository
                .expect_record()
                .returning(move |_| Err(RepositoryError::new(kind, "a test's own failure")));
            ActivityMeterService::new(Arc::new(repository), Arc::new(SystemClock))
        };
        let busy = RepositoryErrorKind::Busy {
            waited: Duration::from_secs(1),
            attempts: 3,
        };
        let report = load().run(service(busy)).await.unwrap();
        assert!(report.lock_errors > 0);
        assert_eq!(report.messages, 0);
        let error = load()
            .run(service(RepositoryErrorKind::StorageFull))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("a test's own failure"));
    }

    #[tokio::test]
    async fn a_repository_that_miscounts_is_found_out() {
        let service = |outcome| {
            let mut repository = MockActivityRepository::new();
            repository.expect_record().returning(move |_| Ok(outcome));
            ActivityMeterService::new(Arc::new(repository), Arc::new(SystemClock))
        };
        let error = load()
            .run(service(EventOutcome::Duplicate))
            .await
            .unwrap_err();
        assert!(matches!(error, LoadError::NotCounted), "{error}");
        let record = ActivityRecord {
            member: MemberKey {
                guild: "1".parse().unwrap(),
                user: "2".parse().unwrap(),
            },
            score: Score::ZERO,
            last_message_at: UnixSeconds::MIN,
            messages: 1,
        };
        let error = load()
            .run(service(EventOutcome::Scored(record)))
            .await
            .unwrap_err();
        assert!(matches!(error, LoadError::CountedTwice), "{error}");
    }
}
