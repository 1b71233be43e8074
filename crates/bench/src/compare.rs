//! Several settings side by side: which they are, and what their runs come to.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::result::{CompareResult, CompareRow, FORMAT, Percentiles, RunResult};
use crate::scenario::{Scenario, Synchronous};
use crate::stats::median;

/// An engine, and for `raw` its batch: `meter`, `raw:500`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineSpec {
    /// The engine's name.
    pub name: String,
    /// Operations in a transaction, where that is told.
    pub batch: Option<u32>,
}

/// The text names no engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no engine: expected a name, or raw:N")]
pub struct InvalidEngine(String);

impl FromStr for EngineSpec {
    type Err = InvalidEngine;

    fn from_str(text: &str) -> Result<Self, InvalidEngine> {
        let invalid = || InvalidEngine(text.to_owned());
        let (name, batch) = match text.split_once(':') {
            Some(("raw", batch)) => ("raw", Some(batch.parse().map_err(|_| invalid())?)),
            Some(_) => return Err(invalid()),
            None => (text, None),
        };
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if name.is_empty() || !name.chars().all(is_part) {
            return Err(invalid());
        }
        Ok(Self {
            name: name.to_owned(),
            batch,
        })
    }
}

impl fmt::Display for EngineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.batch {
            Some(batch) => write!(f, "{}:{batch}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The axes along which settings differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The engines.
    pub engines: Vec<EngineSpec>,
    /// How many writing callers in each process.
    pub tasks: Vec<u32>,
    /// How many processes.
    pub processes: Vec<u32>,
    /// What an acknowledged write survives.
    pub synchronous: Vec<Synchronous>,
    /// How many members of each guild.
    pub members: Vec<u64>,
}

impl Matrix {
    /// All settings, each once. `raw` is one caller in one process, however many the others are.
    #[must_use]
    pub fn settings(&self, base: &Scenario) -> Vec<Scenario> {
        let mut settings = Vec::<Scenario>::new();
        for &members in &self.members {
            let base = Scenario {
                members,
                ..base.clone()
            };
            for &synchronous in &self.synchronous {
                for &processes in &self.processes {
                    for &tasks in &self.tasks {
                        for engine in &self.engines {
                            let scenario =
                                with_engine(&base, engine, tasks, processes, synchronous);
                            if settings
                                .iter()
                                .all(|other| other.label() != scenario.label())
                            {
                                settings.push(scenario);
                            }
                        }
                    }
                }
            }
        }
        settings
    }
}

/// `base` with another engine and another load.
#[must_use]
pub fn with_engine(
    base: &Scenario,
    engine: &EngineSpec,
    tasks: u32,
    processes: u32,
    synchronous: Synchronous,
) -> Scenario {
    let mut scenario = Scenario {
        engine: engine.name.clone(),
        batch: engine.batch.unwrap_or(base.batch),
        tasks,
        processes,
        synchronous,
        ..base.clone()
    };
    if scenario.is_raw() {
        (scenario.tasks, scenario.processes) = (1, 1);
    }
    scenario
}

impl CompareRow {
    /// The latencies of the reads of a kind: the medians of p50 and p99, and the greatest of all,
    /// in microseconds. Nothing where nobody read.
    #[must_use]
    pub fn reads(&self, kind: &str) -> Option<[Option<u64>; 3]> {
        let reads = self.runs.iter();
        let reads: Vec<_> = reads
            .map(|run| run.read_latency_us.as_ref()?.get(kind))
            .collect::<Option<_>>()?;
        let of = |figure: fn(&Percentiles) -> Option<u64>| {
            median_us(
                reads
                    .iter()
                    .map(|read| figure(read))
                    .collect::<Option<_>>()?,
            )
        };
        let max = reads.iter().filter_map(|read| read.max).max();
        Some([of(|read| read.p50), of(|read| read.p99), max])
    }

    /// The most memory that was resident in a process, in bytes.
    #[must_use]
    pub fn max_rss_bytes(&self) -> u64 {
        let processes = self.runs.iter().flat_map(|run| &run.per_process);
        let memory = processes.map(|process| process.max_rss_bytes);
        memory.max().unwrap_or(0)
    }
}

/// The order in which settings run in a round: each round begins one setting later, so that none
/// always comes after the same neighbour.
pub fn turns(settings: usize, round: u32) -> impl Iterator<Item = usize> {
    (0..settings).map(move |turn| (turn + round as usize) % settings)
}

/// What the runs of the settings come to. `reference` is the label of one of them.
#[must_use]
pub fn sum_up(
    title: String,
    runs: Vec<(String, Vec<RunResult>)>,
    reference: String,
    command: String,
) -> CompareResult {
    let mut rows: Vec<_> = runs
        .into_iter()
        .map(|(label, runs)| row(label, runs))
        .collect();
    let base = rows
        .iter()
        .find(|row| row.label == reference)
        .map(|row| row.ops_per_s_median)
        .filter(|base| *base > 0.0);
    for row in &mut rows {
        row.ratio = base.map(|base| row.ops_per_s_median / base);
    }
    CompareResult {
        format: FORMAT,
        title,
        rows,
        reference,
        command,
    }
}

fn row(label: String, runs: Vec<RunResult>) -> CompareRow {
    let throughput = || runs.iter().map(|run| run.ops_per_s);
    // Of all runs or of none: the median of those that were slow enough, or fast enough, to have
    // enough samples would be another figure.
    let of = |figure: fn(&RunResult) -> Option<u64>| {
        median_us(runs.iter().map(figure).collect::<Option<_>>()?)
    };
    CompareRow {
        ops_per_s_median: median(throughput().collect()).unwrap_or(0.0),
        ops_per_s_min: throughput().reduce(f64::min).unwrap_or(0.0),
        ops_per_s_max: throughput().reduce(f64::max).unwrap_or(0.0),
        p50_us_median: of(|run| run.latency_us.p50),
        p99_us_median: of(|run| run.latency_us.p99),
        p999_us_median: of(|run| run.latency_us.p999),
        max_us: runs.iter().filter_map(|run| run.latency_us.max).max(),
        errors: runs.iter().flat_map(|run| run.errors.values()).sum(),
        lock_errors: runs.iter().map(|run| run.lock_errors).sum(),
        verified: !runs.is_empty() && runs.iter().all(|run| run.verified),
        ratio: None,
        label,
        runs,
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "latencies are at most a minute"
)]
fn median_us(latencies: Vec<u64>) -> Option<u64> {
    let latencies = latencies.into_iter().map(|us| us as f64).collect();
    median(latencies).map(|us| us.round() as u64)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::result::{Environment, Verification};

    /// A run with nothing in it but these figures.
    pub(crate) fn run(ops_per_s: f64, p99: Option<u64>) -> RunResult {
        RunResult {
            format: FORMAT,
            label: "some".to_owned(),
            engine: "some".to_owned(),
            tuning: None,
            tasks: 1,
            processes: 1,
            readers: 0,
            guilds: 1,
            members: 1,
            keys: "uniform".to_owned(),
            synchronous: "full".to_owned(),
            batch: None,
            mode: "closed".to_owned(),
            rate_per_s: None,
            seed: 1,
            warmup_s: 0.0,
            duration_s: 1.0,
            ops: 1,
            ops_per_s,
            errors: [("locked".to_owned(), 2), ("io".to_owned(), 1)].into(),
            lock_errors: 2,
            error_rate: 0.75,
            success_rate: 0.25,
            latency_us: Percentiles {
                p99,
                max: p99,
                ..Percentiles::default()
            },
            read_latency_us: None,
            histogram: crate::stats::Latencies::new().encode(),
            engine_stats: None,
            per_process: Vec::new(),
            fairness: None,
            timeline: Vec::new(),
            wal: None,
            neighbours: Vec::new(),
            verified: true,
            verification: Verification::default(),
            environment: Environment::default(),
            command: String::new(),
        }
    }

    fn spec(text: &str) -> EngineSpec {
        text.parse().unwrap()
    }

    #[test]
    fn engines_read_back() {
        for name in ["meter", "raw:500", "meter-adjust", "r2d2_sqlite"] {
            assert_eq!(spec(name).to_string(), name);
        }
        for wrong in ["", "raw:", "raw:x", "meter:2", "a b", "a,b"] {
            assert!(wrong.parse::<EngineSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_setting_once() {
        let matrix = Matrix {
            engines: vec![spec("meter"), spec("raw:1"), spec("raw:500")],
            tasks: vec![8, 64],
            processes: vec![1, 4],
            synchronous: vec![Synchronous::Full, Synchronous::Normal],
            members: vec![1_000],
        };
        let settings = matrix.settings(&Scenario::default());
        let labels: Vec<_> = settings.iter().map(Scenario::label).collect();
        assert_eq!(
            labels,
            [
                "meter 8 tasks full",
                "raw:1 full",
                "raw:500 full",
                "meter 64 tasks full",
                "meter 4x8 tasks full",
                "meter 4x64 tasks full",
                "meter 8 tasks normal",
                "raw:1 normal",
                "raw:500 normal",
                "meter 64 tasks normal",
                "meter 4x8 tasks normal",
                "meter 4x64 tasks normal",
            ]
        );
        assert!(
            settings
                .into_iter()
                .all(|setting| setting.validated().is_ok())
        );
    }

    #[test]
    fn sizes_are_settings_of_their_own() {
        let matrix = Matrix {
            engines: vec![spec("meter"), spec("raw:1")],
            tasks: vec![8, 64],
            processes: vec![1],
            synchronous: vec![Synchronous::Full],
            members: vec![1_000, 1_000_000],
        };
        let settings = matrix.settings(&Scenario::default());
        let sizes: Vec<_> = settings
            .iter()
            .map(|setting| (setting.label(), setting.members))
            .collect();
        assert_eq!(
            sizes,
            [
                ("meter 8 tasks full".to_owned(), 1_000),
                ("raw:1 full".to_owned(), 1_000),
                ("meter 64 tasks full".to_owned(), 1_000),
                ("meter 8 tasks full 1000000 members".to_owned(), 1_000_000),
                ("raw:1 full 1000000 members".to_owned(), 1_000_000),
                ("meter 64 tasks full 1000000 members".to_owned(), 1_000_000),
            ]
        );
    }

    #[test]
    fn rounds_begin_at_different_settings() {
        let of = |round| turns(3, round).collect::<Vec<_>>();
        assert_eq!(
            (of(0), of(1), of(4)),
            (vec![0, 1, 2], vec![1, 2, 0], vec![1, 2, 0])
        );
    }

    #[test]
    fn rows_are_medians_sums_and_ratios() {
        let runs = vec![
            (
                "slow".to_owned(),
                vec![
                    run(100.0, Some(30)),
                    run(300.0, Some(20)),
                    run(200.0, Some(10)),
                ],
            ),
            ("fast".to_owned(), vec![run(500.0, Some(10))]),
        ];
        let result = sum_up(String::new(), runs, "slow".to_owned(), String::new());
        let [slow, fast] = &result.rows[..] else {
            panic!("two rows")
        };
        assert_eq!(slow.ops_per_s_median.to_bits(), 200_f64.to_bits());
        assert_eq!((slow.ops_per_s_min, slow.ops_per_s_max), (100.0, 300.0));
        assert_eq!(
            (slow.p99_us_median, slow.p50_us_median, slow.max_us),
            (Some(20), None, Some(30))
        );
        assert_eq!((slow.errors, slow.lock_errors, slow.verified), (9, 6, true));
        assert_eq!((slow.ratio, fast.ratio), (Some(1.0), Some(2.5)));
    }

    #[test]
    fn a_percentile_that_one_run_lacks_has_no_median() {
        let runs = vec![("some".to_owned(), vec![run(1.0, Some(30)), run(1.0, None)])];
        let result = sum_up(String::new(), runs, "some".to_owned(), String::new());
        assert_eq!(result.rows[0].p99_us_median, None);
    }

    #[test]
    fn reads_are_medians_of_the_rounds_and_the_greatest_of_all() {
        let reading = |p50, p99| {
            let latencies = Percentiles {
                p50: Some(p50),
                p99,
                max: Some(10 * p50),
                ..Percentiles::default()
            };
            RunResult {
                read_latency_us: Some([("rank".to_owned(), latencies)].into()),
                ..run(1.0, None)
            }
        };
        let rounds = vec![reading(1, Some(7)), reading(3, None), reading(2, Some(9))];
        let runs = vec![
            ("read".to_owned(), rounds),
            ("written".to_owned(), vec![run(1.0, None)]),
        ];
        let result = sum_up(String::new(), runs, "read".to_owned(), String::new());
        let [read, written] = &result.rows[..] else {
            panic!("two rows")
        };
        assert_eq!(read.reads("rank"), Some([Some(2), None, Some(30)]));
        assert_eq!((read.reads("member"), written.reads("rank")), (None, None));
    }

    #[test]
    fn a_reference_without_throughput_gives_no_ratios() {
        let runs = vec![
            ("none".to_owned(), vec![run(0.0, None)]),
            ("some".to_owned(), vec![]),
        ];
        let result = sum_up(String::new(), runs, "none".to_owned(), String::new());
        assert!(result.rows.iter().all(|row| row.ratio.is_none()));
        assert!(!result.rows[1].verified);
    }
}
