//! What a run and a comparison come to, as they are saved: the field names are the JSON's.
//!
//! Units are in the names. Figures that too few samples support are `None` (`null`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// One scenario, run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// Engine and setting in a few words, such as `meter 256 tasks full`.
    pub label: String,
    /// The engine's name.
    pub engine: String,
    /// How a peer was set up: `default` (as its README shows) or `tuned`.
    pub tuning: Option<String>,
    /// Callers in each process.
    pub tasks: u32,
    /// Processes on the one file.
    pub processes: u32,
    /// Reading callers in each process, beside the writing ones.
    pub readers: u32,
    /// Guilds.
    pub guilds: u64,
    /// Members of each guild.
    pub members: u64,
    /// How members are drawn: `uniform`, `zipf:S` or `hot:K`.
    pub keys: String,
    /// `full` or `normal`.
    pub synchronous: String,
    /// Operations in a transaction, where the engine is told how many (`raw`).
    pub batch: Option<u32>,
    /// `closed` (a caller waits for its answer) or `open` (calls are due at a rate, and latency
    /// counts from when they were due).
    pub mode: String,
    /// Calls a second in all, in an open loop.
    pub rate_per_s: Option<f64>,
    /// The seed of the operations.
    pub seed: u64,
    /// How long it ran before the measured window, in seconds.
    pub warmup_s: f64,
    /// The measured window, in seconds.
    pub duration_s: f64,
    /// Operations acknowledged in the window.
    pub ops: u64,
    /// `ops / duration_s`.
    pub ops_per_s: f64,
    /// Failed operations by kind: `locked`, `busy`, `overloaded`, `unknown`, `io`, `other`.
    pub errors: BTreeMap<String, u64>,
    /// Those of kind `locked` and `busy`.
    pub lock_errors: u64,
    /// `errors / (ops + errors)`.
    pub error_rate: f64,
    /// `1 - error_rate`.
    pub success_rate: f64,
    /// Latencies of the acknowledged writes.
    pub latency_us: Percentiles,
    /// Latencies of the reads, by kind: `member`, `leaderboard`, `rank`.
    pub read_latency_us: Option<BTreeMap<String, Percentiles>>,
    /// The write latencies in microseconds: an `HdrHistogram` in its V2 encoding, as base64.
    pub histogram: String,
    /// What the engine knows of itself, over the window.
    pub engine_stats: Option<EngineStats>,
    /// Each process's part.
    pub per_process: Vec<ProcessResult>,
    /// Jain's index of the processes' throughput: 1 where all are equal, 1/n where one has all.
    pub fairness: Option<f64>,
    /// The window in slices.
    pub timeline: Vec<Interval>,
    /// The size of the WAL from the window's start until the processes closed the database.
    #[serde(default)]
    pub wal: Option<WalSizes>,
    /// What the foreign processes beside it did.
    #[serde(default)]
    pub neighbours: Vec<ForeignProcessResult>,
    /// Whether the database held exactly what was acknowledged.
    pub verified: bool,
    /// How that was found.
    pub verification: Verification,
    /// Where it ran.
    pub environment: Environment,
    /// The command that repeats it.
    pub command: String,
}

/// Latencies in microseconds. A percentile is `None` where too few samples support it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many latencies there are.
    pub samples: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<u64>,
    /// The 95th percentile; from 20 samples on.
    pub p95: Option<u64>,
    /// The 99th percentile; from 100 samples on.
    pub p99: Option<u64>,
    /// The 99.9th percentile; from 1,000 samples on.
    pub p999: Option<u64>,
    /// The greatest.
    pub max: Option<u64>,
}

/// What an engine knows of itself, over the window, summed over the processes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EngineStats {
    /// Transactions committed.
    pub batches: u64,
    /// Operations in a transaction, on average.
    pub mean_batch: f64,
    /// How often it slept for SQLite's lock.
    pub lock_waits: u64,
    /// How long it slept for SQLite's lock, in microseconds.
    pub lock_wait_us: u64,
    /// Transactions tried again.
    pub retries: u64,
    /// How long the oldest operation of each transaction waited in the engine's queue; the others
    /// waited no longer.
    pub queue_wait_us: Option<Percentiles>,
    /// The greatest size of the WAL that was seen.
    pub wal_bytes_max: Option<u64>,
    /// Its size when all callers were done and the neighbours gone, just before the processes
    /// closed the database.
    #[serde(default)]
    pub wal_bytes_end: Option<u64>,
}

/// The size of the WAL over time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WalSizes {
    /// From one look at it to the next.
    pub tick_ms: u64,
    /// Its size, from the window's start on; 0 where there was none.
    pub bytes: Vec<u64>,
}

/// What a foreign process did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ForeignProcessResult {
    /// Its kind: `lock`, `vacuum-into`, `backup`, `truncate`, `reader`.
    pub neighbour: String,
    /// How often it did what it does: held the lock, made a copy, ran a checkpoint, held a
    /// snapshot.
    pub done: u64,
    /// How often a lock of others kept it from that, or from doing it to the end.
    pub busy: u64,
    /// How long that took, or was held, in all, in seconds.
    pub total_s: f64,
    /// The longest of it, in seconds.
    pub longest_s: f64,
    /// How many of its copies were intact and complete, or of its snapshots unchanged at their
    /// end; `None` where there is nothing to check.
    pub verified: Option<u64>,
    /// What is wrong with what it did or saw.
    pub problems: Vec<String>,
}

/// One process's part of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessResult {
    /// Operations acknowledged in the window.
    pub ops: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Operations acknowledged a second.
    pub ops_per_s: f64,
    /// The longest time in the window without an acknowledged operation.
    pub longest_gap_ms: u64,
    /// Processor time over the window, in seconds.
    pub cpu_s: f64,
    /// The most memory that was resident, in bytes.
    pub max_rss_bytes: u64,
}

/// A slice of the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Where the slice begins, in seconds from the window's start.
    pub at_s: f64,
    /// Operations acknowledged in it.
    pub ops: u64,
    /// Operations that failed in it.
    pub errors: u64,
    /// The median latency.
    pub p50_us: Option<u64>,
    /// The 99th percentile.
    pub p99_us: Option<u64>,
    /// The greatest latency.
    pub max_us: Option<u64>,
    /// What the engine told of its metrics, by their names, over all processes.
    #[serde(default)]
    pub metrics: BTreeMap<String, MetricSummary>,
}

/// The values of a metric in a slice, in the metric's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricSummary {
    /// How many were told: of most metrics, one for each transaction; of a counter what it counted.
    pub count: u64,
    /// Their mean; 1 for a counter.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

/// What a look into the database after the run found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verification {
    /// Operations acknowledged from the first to the last, warm-up and prefill included.
    pub acknowledged: u64,
    /// Operations that the database holds.
    pub counted: u64,
    /// Operations whose outcome the engine could not know: each may have been applied or not.
    pub unknown: u64,
    /// What `PRAGMA integrity_check` said.
    pub integrity: String,
    /// Whether every member has one row.
    pub unique_rows: bool,
    /// What is wrong; nothing in a verified run.
    pub problems: Vec<String>,
}

/// Where a run took place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's name.
    pub cpu: String,
    /// How many processors the program may use.
    pub cores: u32,
    /// The machine's memory.
    pub memory_bytes: u64,
    /// The operating system's name and version.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// The type of the file system that the database was on.
    pub file_system: String,
    /// The version of the SQLite that the engine links.
    pub sqlite_version: String,
    /// The engine's settings.
    pub pragmas: BTreeMap<String, String>,
    /// The version of this crate.
    pub crate_version: String,
    /// The commit that the source was at.
    pub commit: String,
    /// When the run began (RFC 3339).
    pub started_at: String,
}

/// Several settings, run in turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareResult {
    /// [`FORMAT`].
    pub format: u32,
    /// What is compared.
    pub title: String,
    /// One row a setting.
    pub rows: Vec<CompareRow>,
    /// The label of the row that the ratios are against.
    pub reference: String,
    /// The command that repeats it.
    pub command: String,
}

/// One setting of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareRow {
    /// The setting in a few words.
    pub label: String,
    /// Its runs, one a round.
    pub runs: Vec<RunResult>,
    /// The median of the runs' throughput.
    pub ops_per_s_median: f64,
    /// The least.
    pub ops_per_s_min: f64,
    /// The greatest.
    pub ops_per_s_max: f64,
    /// The median of the runs' medians; `None`, as those that follow, where a run has none.
    pub p50_us_median: Option<u64>,
    /// The median of the runs' 99th percentiles.
    pub p99_us_median: Option<u64>,
    /// The median of the runs' 99.9th percentiles.
    pub p999_us_median: Option<u64>,
    /// The greatest latency of all runs.
    pub max_us: Option<u64>,
    /// Failed operations, over all runs.
    pub errors: u64,
    /// Of these, those that met a lock.
    pub lock_errors: u64,
    /// Whether every run was verified.
    pub verified: bool,
    /// `ops_per_s_median` over the reference's; `None` where the reference has none.
    pub ratio: Option<f64>,
}
