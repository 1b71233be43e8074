//! One scenario from an empty folder to its result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::driver::{Coordinated, ProcessReport, Progress, RunError, Watcher, coordinate, runtime};
use crate::engine::{Counters, EngineSet};
use crate::result::{
    EngineStats, Environment, FORMAT, Interval, ProcessResult, RunResult, Verification,
};
use crate::scenario::Scenario;
use crate::stats::{IntervalReport, Latencies, Slices, jain};

/// The kinds of errors that are a lock's.
const LOCK_ERRORS: [&str; 2] = ["locked", "busy"];

/// Where a run's database lies: in a folder that goes with it, unless it is to be kept.
#[derive(Debug)]
pub struct DatabaseLocation {
    database: PathBuf,
    folder: Option<TempDir>,
}

impl DatabaseLocation {
    /// A new folder in `parent`, or where temporary files go.
    ///
    /// # Errors
    ///
    /// [`RunError::Files`] where it cannot be made.
    pub fn temporary(parent: Option<&Path>) -> Result<Self, RunError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("roas-bench-");
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let folder = folder.map_err(|source| RunError::Files {
            doing: "make a folder for the database",
            source,
        })?;
        Ok(Self {
            database: folder.path().join("bench.db"),
            folder: Some(folder),
        })
    }

    /// This file, which does not exist yet and is kept.
    ///
    /// # Errors
    ///
    /// [`RunError::Files`] where there is such a file.
    pub fn kept(database: &Path) -> Result<Self, RunError> {
        if std::fs::symlink_metadata(database).is_ok() {
            return Err(RunError::Files {
                doing: "use the database",
                source: std::io::Error::from(std::io::ErrorKind::AlreadyExists),
            });
        }
        Ok(Self {
            database: database.to_owned(),
            folder: None,
        })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Whether it goes with this value.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.folder.is_some()
    }

    /// The folder of the database.
    fn parent(&self) -> &Path {
        match self.database.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Executed {
    /// What is saved of it.
    pub result: RunResult,
    /// What one failed operation of each kind was told.
    pub messages: BTreeMap<String, String>,
}

/// Makes the database, runs the scenario on it in processes started from `executable`, and sums up
/// what they report. Whether the database holds what was acknowledged is not looked at yet.
///
/// # Errors
///
/// [`RunError`].
pub fn execute(
    engines: &dyn EngineSet,
    scenario: &Scenario,
    place: &DatabaseLocation,
    executable: &Path,
    mut progress: Option<Watcher<'_>>,
) -> Result<Executed, RunError> {
    let mut stored = |messages| {
        if let Some(progress) = &mut progress {
            progress(Progress::Prefilled(messages));
        }
    };
    let prepared = runtime()
        .map_err(|source| RunError::Files {
            doing: "start a runtime",
            source,
        })?
        .block_on(engines.prepare(scenario, place.database(), &mut stored));
    prepared.map_err(RunError::Prepare)?;
    let started = Environment::find(place.parent(), crate::engine::Description::default());
    let ran = coordinate(scenario, place.database(), executable, progress)?;
    Ok(Executed {
        result: sum_up(scenario, &ran, started),
        messages: ran
            .reports
            .into_iter()
            .flat_map(|report| report.messages)
            .collect(),
    })
}

/// The result of a scenario whose processes reported this.
fn sum_up(scenario: &Scenario, ran: &Coordinated, started: Environment) -> RunResult {
    let reports = &ran.reports;
    let sum = |part: fn(&ProcessReport) -> u64| reports.iter().map(part).sum::<u64>();
    let longest = |part: fn(&ProcessReport) -> u64| reports.iter().map(part).max().unwrap_or(0);
    let (ops, window_us) = (sum(|report| report.ops), longest(|report| report.window_us));
    let mut errors = BTreeMap::<String, u64>::new();
    let mut latencies = Latencies::new();
    let mut reads = BTreeMap::<String, Latencies>::new();
    let mut slices: Option<Slices> = None;
    for report in reports {
        for (kind, count) in &report.errors {
            *errors.entry(kind.clone()).or_default() += count;
        }
        latencies.add(&report.latencies);
        for (kind, latencies) in &report.reads {
            reads.entry(kind.clone()).or_default().add(latencies);
        }
        match &mut slices {
            Some(sum) => sum.add(&report.slices),
            None => slices = Some(report.slices.clone()),
        }
    }
    let failed: u64 = errors.values().sum();
    let lock_errors = LOCK_ERRORS
        .iter()
        .filter_map(|kind| errors.get(*kind))
        .sum();
    let error_rate = ratio(failed, ops + failed);
    let per_process: Vec<_> = reports.iter().map(process_result).collect();
    let shares: Vec<_> = per_process
        .iter()
        .map(|process| process.ops_per_s)
        .collect();
    let description = reports.first().map(|report| report.description.clone());
    let description = description.unwrap_or_default();
    RunResult {
        format: FORMAT,
        label: scenario.label(),
        engine: scenario.engine.clone(),
        tuning: scenario.tuning.clone(),
        tasks: scenario.tasks,
        processes: scenario.processes,
        readers: scenario.readers,
        guilds: scenario.guilds,
        members: scenario.members,
        keys: scenario.keys.to_string(),
        synchronous: scenario.synchronous.to_string(),
        batch: scenario.is_raw().then_some(scenario.batch),
        mode: if scenario.rate_per_s.is_some() {
            "open"
        } else {
            "closed"
        }
        .to_owned(),
        rate_per_s: scenario.rate_per_s,
        seed: scenario.seed,
        warmup_s: scenario.effective_warmup().as_secs_f64(),
        duration_s: seconds(window_us),
        ops,
        ops_per_s: per_second(ops, window_us),
        errors,
        lock_errors,
        error_rate,
        success_rate: 1.0 - error_rate,
        latency_us: latencies.percentiles(),
        read_latency_us: (scenario.readers > 0).then(|| {
            reads
                .into_iter()
                .map(|(kind, latencies)| (kind, latencies.percentiles()))
                .collect()
        }),
        histogram: latencies.encode(),
        engine_stats: engine_stats(ran),
        per_process,
        fairness: jain(&shares),
        timeline: slices.as_ref().map(timeline).unwrap_or_default(),
        wal: has_wal(ran).then(|| ran.wal.clone()),
        neighbours: ran.neighbours.clone(),
        verified: false,
        verification: Verification {
            acknowledged: sum(|report| report.acknowledged) + scenario.prefilled(),
            unknown: sum(|report| report.unknown),
            integrity: "not checked".to_owned(),
            ..Verification::default()
        },
        environment: Environment {
            sqlite_version: match description.sqlite_version {
                none if none.is_empty() => started.sqlite_version,
                version => version,
            },
            pragmas: description.pragmas,
            ..started
        },
        command: format!("roas-bench run {}", scenario.options().join(" ")),
    }
}

fn process_result(report: &ProcessReport) -> ProcessResult {
    ProcessResult {
        ops: report.ops,
        errors: report.errors.values().sum(),
        ops_per_s: per_second(report.ops, report.window_us),
        longest_gap_ms: report.longest_gap_ms,
        cpu_s: report.cpu_s,
        max_rss_bytes: report.max_rss_bytes,
    }
}

/// What the engines know of themselves; nothing, where there is nothing to know.
fn engine_stats(ran: &Coordinated) -> Option<EngineStats> {
    let has_wal = has_wal(ran);
    let counters = ran
        .reports
        .iter()
        .filter_map(|report| report.counters)
        .reduce(Counters::plus);
    if counters.is_none() && !has_wal {
        return None;
    }
    let counters = counters.unwrap_or_default();
    let queue_waits = ran
        .reports
        .iter()
        .filter_map(|report| report.queue_waits.clone())
        .reduce(|mut all, some| {
            all.add(&some);
            all
        });
    Some(EngineStats {
        batches: counters.batches,
        mean_batch: ratio(counters.operations, counters.batches),
        lock_waits: counters.lock_waits,
        lock_wait_us: counters.lock_wait_us,
        retries: counters.retries,
        queue_wait_us: queue_waits.map(|waits| waits.percentiles()),
        wal_bytes_max: ran.wal.bytes.iter().max().copied().filter(|_| has_wal),
        wal_bytes_end: ran.wal.bytes.last().copied().filter(|_| has_wal),
    })
}

/// Whether there was a WAL at any time.
fn has_wal(ran: &Coordinated) -> bool {
    ran.wal.bytes.iter().any(|bytes| *bytes > 0)
}

fn timeline(slices: &Slices) -> Vec<Interval> {
    let slice = |(index, interval): (u64, &IntervalReport)| {
        let latencies = interval.latencies.percentiles();
        Interval {
            at_s: seconds(index * slices.length_us()),
            ops: interval.ops,
            errors: interval.errors,
            p50_us: latencies.p50,
            p99_us: latencies.p99,
            max_us: latencies.max,
            metrics: (interval.metrics.iter())
                .filter_map(|(name, tally)| Some((name.clone(), tally.summary()?)))
                .collect(),
        }
    };
    (0..).zip(slices.all()).map(slice).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn seconds(us: u64) -> f64 {
    ratio(us, 1_000_000)
}

fn per_second(count: u64, us: u64) -> f64 {
    if us == 0 { 0.0 } else { ratio(count, us) * 1e6 }
}
