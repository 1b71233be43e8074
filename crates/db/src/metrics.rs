//! What a database tells an exporter, through the facade of the crate [`metrics`]: the
//! program installs the recorder, before it opens the database. Without one, telling costs nothing.
//!
//! Every metric has the label `database`, the path of the configuration. The writer tells once a
//! transaction, never once an event; the maintenance with each checkpoint, which is every ten
//! seconds or more often.
//!
//! | name | kind | unit | meaning |
//! |---|---|---|---|
//! | [`QUEUE_DEPTH`] | gauge | requests | in the queue as a transaction begins, its own included |
//! | [`QUEUE_WAIT`] | histogram | seconds | how long the oldest request of a transaction was in the queue; no other was in it for longer |
//! | [`TRANSACTION_EVENTS`] | histogram | events | carried out by a committed transaction |
//! | [`COMMIT`] | histogram | seconds | the commit alone; its sync included where there is no WAL |
//! | [`SYNC`] | histogram | seconds | a sync of the WAL, for the callers of one or more transactions |
//! | [`BACKPRESSURE`] | histogram | seconds | waited between transactions because a reader keeps the WAL from starting over |
//! | [`LOCK_WAIT`] | histogram | seconds | slept for another process's lock, by a transaction that had to |
//! | [`RETRIES`] | counter | transactions | tried again; label `policy` |
//! | [`CHECKPOINTS`] | counter | checkpoints | labels `by` (`writer`, `maintenance`) and `result`: `whole`, `held_back` (a reader still needs old frames), `beside_another`, `failed` |
//! | [`WAL_HELD_BACK`] | gauge | seconds | since when no checkpoint copied the WAL whole: about the age of the oldest reader; 0 where the last one did |
//! | [`WAL`] | gauge | bytes | of the WAL's file, at the last checkpoint of the maintenance |

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Label, SharedString, Unit};

use crate::lock::retry::RetryPolicy;
use crate::wal::checkpoint::WalState;

/// Gauge: requests in the queue as a transaction begins.
pub const QUEUE_DEPTH: &str = "roas_db_queue_depth";
/// Histogram, in seconds: the wait of a transaction's oldest request, from its submission to the
/// transaction's first attempt.
pub const QUEUE_WAIT: &str = "roas_db_queue_wait_seconds";
/// Histogram: events carried out by a committed transaction.
pub const TRANSACTION_EVENTS: &str = "roas_db_transaction_events";
/// Histogram, in seconds: a commit that succeeded, without the WAL's sync.
pub const COMMIT: &str = "roas_db_commit_seconds";
/// Histogram, in seconds: a sync of the WAL that succeeded, under FULL.
pub const SYNC: &str = "roas_db_sync_seconds";
/// Histogram, in seconds: what the writer waited between two transactions because a reader keeps the WAL
/// from starting over; only where it did.
pub const BACKPRESSURE: &str = "roas_db_backpressure_seconds";
/// Histogram, in seconds: what a transaction slept for another process's lock; only of those that did.
pub const LOCK_WAIT: &str = "roas_db_lock_wait_seconds";
/// Counter: transactions tried again by the retry policy that the label `policy` names.
pub const RETRIES: &str = "roas_db_retries_total";
/// Counter: checkpoints, by who made them (label `by`) and how they ended (label `result`).
pub const CHECKPOINTS: &str = "roas_db_checkpoints_total";
/// Gauge, in seconds: since when readers keep the WAL from being copied whole.
pub const WAL_HELD_BACK: &str = "roas_db_wal_held_back_seconds";
/// Gauge: bytes of the WAL's file.
pub const WAL: &str = "roas_db_wal_bytes";

/// Who made a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Writer,
    Maintenance,
}

/// The handles of one open database, made once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DbMetrics {
    pub(crate) queue_depth: Gauge,
    pub(crate) queue_wait: Histogram,
    pub(crate) transaction_events: Histogram,
    pub(crate) commit: Histogram,
    pub(crate) sync: Histogram,
    pub(crate) backpressure: Histogram,
    pub(crate) lock_wait: Histogram,
    retries: [(&'static str, Counter); 3],
    pub(crate) wal_bytes: Gauge,
    by_writer: Checkpoints,
    by_maintenance: Checkpoints,
    wal_held_back: Gauge,
    /// The first of the checkpoints in a row that a reader held back, whoever made them.
    held_back_since: Arc<Mutex<Option<Instant>>>,
}

#[derive(Clone)]
struct Checkpoints {
    whole: Counter,
    held_back: Counter,
    beside_another: Counter,
    failed: Counter,
}

impl DbMetrics {
    /// Handles from the recorder that the calling thread sees.
    pub(crate) fn new(database: impl Into<SharedString>) -> Self {
        describe();
        let database = Label::new("database", database.into());
        let labels = || vec![database.clone()];
        let checkpoints = |by: &'static str| {
            let ended = |result: &'static str| {
                let [by, result] = [Label::new("by", by), Label::new("result", result)];
                metrics::counter!(CHECKPOINTS, vec![database.clone(), by, result])
            };
            Checkpoints {
                whole: ended("whole"),
                held_back: ended("held_back"),
                beside_another: ended("beside_another"),
                failed: ended("failed"),
            }
        };
        let retries = |policy: RetryPolicy| {
            let label = Label::new("policy", policy.name());
            let counter = metrics::counter!(RETRIES, vec![database.clone(), label]);
            (policy.name(), counter)
        };
        Self {
            queue_depth: metrics::gauge!(QUEUE_DEPTH, labels()),
            queue_wait: metrics::histogram!(QUEUE_WAIT, labels()),
            transaction_events: metrics::histogram!(TRANSACTION_EVENTS, labels()),
            commit: metrics::histogram!(COMMIT, labels()),
            sync: metrics::histogram!(SYNC, labels()),
            backpressure: metrics::histogram!(BACKPRESSURE, labels()),
            lock_wait: metrics::histogram!(LOCK_WAIT, labels()),
            retries: [
                retries(RetryPolicy::aggressive()),
                retries(RetryPolicy::balanced()),
                retries(RetryPolicy::conservative()),
            ],
            wal_bytes: metrics::gauge!(WAL, labels()),
            by_writer: checkpoints("writer"),
            by_maintenance: checkpoints("maintenance"),
            wal_held_back: metrics::gauge!(WAL_HELD_BACK, labels()),
            held_back_since: Arc::default(),
        }
    }

    /// Tells of a transaction that is tried again.
    pub(crate) fn retried(&self, policy: &RetryPolicy) {
        for (name, counter) in &self.retries {
            if *name == policy.name() {
                counter.increment(1);
            }
        }
    }

    /// Tells of a checkpoint; `None` is one that failed.
    pub(crate) fn checkpointed(&self, by: By, wal: Option<WalState>, now: Instant) {
        let by = match by {
            By::Writer => &self.by_writer,
            By::Maintenance => &self.by_maintenance,
        };
        let Some(wal) = wal else {
            return by.failed.increment(1);
        };
        if wal.is_unknown() {
            return by.beside_another.increment(1);
        }
        let mut since = self
            .held_back_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held_back = if wal.is_copied() {
            by.whole.increment(1);
            *since = None;
            Duration::ZERO
        } else {
            by.held_back.increment(1);
            now.saturating_duration_since(*since.get_or_insert(now))
        };
        self.wal_held_back.set(held_back);
    }
}

impl std::fmt::Debug for DbMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DbMetrics").finish_non_exhaustive()
    }
}

/// As the facade wants it.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and sizes are far below 2^53"
)]
pub(crate) const fn as_f64(count: u64) -> f64 {
    count as f64
}

fn describe() {
    metrics::describe_gauge!(
        QUEUE_DEPTH,
        Unit::Count,
        "Requests in the writer's queue as a transaction begins"
    );
    metrics::describe_histogram!(
        QUEUE_WAIT,
        Unit::Seconds,
        "How long the oldest request of a transaction was in the queue"
    );
    metrics::describe_histogram!(
        TRANSACTION_EVENTS,
        Unit::Count,
        "Events carried out by a committed transaction"
    );
    metrics::describe_histogram!(COMMIT, Unit::Seconds, "The commit");
    metrics::describe_histogram!(SYNC, Unit::Seconds, "A sync of the WAL, after commits");
    metrics::describe_histogram!(
        BACKPRESSURE,
        Unit::Seconds,
        "What the writer waited because a reader keeps the WAL from starting over"
    );
    metrics::describe_histogram!(
        LOCK_WAIT,
        Unit::Seconds,
        "What a transaction slept for another process's lock"
    );
    metrics::describe_counter!(RETRIES, Unit::Count, "Transactions tried again");
    metrics::describe_counter!(CHECKPOINTS, Unit::Count, "Checkpoints of the WAL");
    metrics::describe_gauge!(
        WAL_HELD_BACK,
        Unit::Seconds,
        "Since when readers keep the WAL from being copied whole"
    );
    metrics::describe_gauge!(WAL, Unit::Bytes, "The WAL's file");
}

#[cfg(test)]
mod tests {
    use metrics::Key;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

    use super::*;

    /// What was told since the last look.
    fn told(snapshotter: &Snapshotter) -> Vec<(Key, DebugValue)> {
        let all = snapshotter.snapshot().into_vec().into_iter();
        all.map(|(key, _, _, value)| (key.key().clone(), value))
            .collect()
    }

    fn label<'k>(key: &'k Key, name: &str) -> &'k str {
        let label = key.labels().find(|label| label.key() == name);
        label.map_or("", Label::value)
    }

    #[test]
    fn a_checkpoint_counts_to_its_result_and_a_wal_is_held_back_since_the_first_that_was() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let meters = metrics::with_local_recorder(&recorder, || DbMetrics::new("roas.db"));
        let start = Instant::now();
        let wal = |frames, copied| Some(WalState { frames, copied });
        for (at, by, wal, result, held_back) in [
            (0, By::Writer, wal(9, 9), "whole", Some(0.0)),
            (1, By::Maintenance, wal(9, 4), "held_back", Some(0.0)),
            (3, By::Writer, wal(9, 5), "held_back", Some(2.0)),
            // Neither says anything of the readers.
            (4, By::Writer, wal(-1, -1), "beside_another", None),
            (5, By::Maintenance, None, "failed", None),
            (8, By::Maintenance, wal(9, 8), "held_back", Some(7.0)),
            (9, By::Writer, wal(9, 9), "whole", Some(0.0)),
            (20, By::Writer, wal(9, 1), "held_back", Some(0.0)),
        ] {
            meters.checkpointed(by, wal, start + Duration::from_secs(at));
            let by = match by {
                By::Writer => "writer",
                By::Maintenance => "maintenance",
            };
            for (key, value) in told(&snapshotter) {
                match (key.name(), value) {
                    (CHECKPOINTS, value) => {
                        let is_it = (label(&key, "by"), label(&key, "result")) == (by, result);
                        let expected = DebugValue::Counter(u64::from(is_it));
                        assert_eq!(value, expected, "after {at} s: {key}");
                    }
                    (WAL_HELD_BACK, DebugValue::Gauge(seconds)) => {
                        let held_back = held_back.unwrap_or(seconds.0);
                        assert!(
                            (seconds.0 - held_back).abs() < 1e-9,
                            "after {at} s: {seconds}"
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_retry_counts_to_its_policy_alone() {
        let recorder = DebuggingRecorder::new();
        let meters = metrics::with_local_recorder(&recorder, || DbMetrics::new("roas.db"));
        meters.retried(&RetryPolicy::conservative());
        let told = told(&recorder.snapshotter());
        let of_retries = told.iter().filter(|(key, _)| key.name() == RETRIES);
        let mut retries: Vec<_> = of_retries
            .map(|(key, value)| (label(key, "policy"), value))
            .collect();
        retries.sort_unstable_by_key(|(policy, _)| *policy);
        let [none, one] = [0, 1].map(DebugValue::Counter);
        let expected = [
            ("aggressive", &none),
            ("balanced", &none),
            ("conservative", &one),
        ];
        assert_eq!(retries, expected);
    }
}
