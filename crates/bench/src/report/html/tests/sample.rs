//! Results as runs leave them, made up from a seed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use crate::result::{
    CompareResult, CompareRow, EngineStats, Environment, FORMAT, Interval, Percentiles,
    ProcessResult, RunResult, Told, Verification, WalSizes,
};

use super::super::format::float;

/// What a made-up run is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) engine: &'static str,
    pub(super) tuning: Option<&'static str>,
    pub(super) tasks: u32,
    pub(super) processes: u32,
    pub(super) synchronous: &'static str,
    pub(super) ops_per_s: f64,
    pub(super) p50_us: f64,
    /// Failed calls for each that succeeds.
    pub(super) failing: f64,
    pub(super) seed: u64,
}

/// The engine with a figure near what it reached where it was measured.
pub(super) const METER: Shape = Shape {
    engine: "meter",
    tuning: None,
    tasks: 64,
    processes: 1,
    synchronous: "full",
    ops_per_s: 231_000.0,
    p50_us: 260.0,
    failing: 0.0,
    seed: 1,
};

const SECONDS: u32 = 10;
const SLICES_PER_SECOND: u32 = 4;

/// A run of the shape.
pub(super) fn run(shape: &Shape) -> RunResult {
    let mut rng = Rng::with_seed(shape.seed);
    let mut whole = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("bounds");
    let slices = SECONDS * SLICES_PER_SECOND;
    let stall = rng.u32(4..slices - 4);
    let timeline: Vec<Interval> = (0..slices)
        .map(|slice| {
            let slow = if slice == stall { 3.0 } else { 1.0 };
            let mut part: Vec<u64> = (0..400)
                .map(|_| latency(&mut rng, shape.p50_us * slow))
                .collect();
            part.sort_unstable();
            for us in &part {
                whole.saturating_record(*us);
            }
            let per_s = shape.ops_per_s / slow * (0.93 + 0.14 * rng.f64());
            Interval {
                at_s: f64::from(slice) / f64::from(SLICES_PER_SECOND),
                ops: whole_number(per_s / f64::from(SLICES_PER_SECOND)),
                errors: whole_number(per_s * shape.failing / f64::from(SLICES_PER_SECOND)),
                p50_us: Some(part[199]),
                p99_us: Some(part[395]),
                max_us: Some(part[399]),
                metrics: BTreeMap::new(),
            }
        })
        .collect();
    let ops = timeline.iter().map(|interval| interval.ops).sum::<u64>();
    let failed = timeline.iter().map(|interval| interval.errors).sum::<u64>();
    let mut errors = BTreeMap::new();
    if failed > 0 {
        errors.insert("locked".to_owned(), failed - failed / 5);
        errors.insert("busy".to_owned(), failed / 5);
    }
    let tuning = shape
        .tuning
        .map_or_else(String::new, |tuning| format!(" {tuning}"));
    let processes = match shape.processes {
        1 => String::new(),
        more => format!("{more} × "),
    };
    RunResult {
        format: FORMAT,
        label: format!(
            "{}{tuning} {processes}{} tasks {}",
            shape.engine, shape.tasks, shape.synchronous
        ),
        engine: shape.engine.to_owned(),
        tuning: shape.tuning.map(str::to_owned),
        tasks: shape.tasks,
        processes: shape.processes,
        readers: 0,
        guilds: 5,
        members: 1_000,
        keys: "zipf:1.1".to_owned(),
        synchronous: shape.synchronous.to_owned(),
        batch: None,
        mode: "closed".to_owned(),
        rate_per_s: None,
        seed: 42,
        warmup_s: 2.0,
        duration_s: f64::from(SECONDS),
        ops,
        ops_per_s: float(ops) / f64::from(SECONDS),
        lock_errors: failed,
        error_rate: float(failed) / float(ops + failed),
        success_rate: float(ops) / float(ops + failed),
        errors,
        latency_us: percentiles(&whole),
        read_latency_us: None,
        histogram: encode(&whole),
        engine_stats: None,
        per_process: processes_of(shape, ops, &mut rng),
        fairness: (shape.processes > 1).then_some(0.987),
        timeline,
        wal: None,
        neighbours: Vec::new(),
        verified: true,
        verification: Verification {
            acknowledged: ops,
            counted: ops,
            unknown: 0,
            integrity: "ok".to_owned(),
            unique_rows: true,
            problems: Vec::new(),
        },
        environment: environment(),
        command: format!(
            "roas-bench run --engine {} --tasks {} --processes {} --synchronous {} --duration 10s \
             --guilds 5 --members 1000 --keys zipf:1.1 --seed 42",
            shape.engine, shape.tasks, shape.processes, shape.synchronous
        ),
    }
}

/// The same run with what readers saw and what the engine knows of itself.
pub(super) fn with_details(mut run: RunResult) -> RunResult {
    run.readers = 2;
    let reads = ["leaderboard", "member"].map(|kind| (kind.to_owned(), run.latency_us.clone()));
    run.read_latency_us = Some(BTreeMap::from(reads));
    run.engine_stats = Some(EngineStats {
        batches: run.ops / 120,
        mean_batch: 119.7,
        lock_waits: 12,
        lock_wait_us: 48_211,
        retries: 1,
        queue_wait_us: Some(run.latency_us.clone()),
        wal_bytes_max: Some(12 << 20),
        wal_bytes_end: Some(4 << 20),
    });
    for (slice, interval) in (0..).zip(&mut run.timeline) {
        let told = |mean: f64, max: f64| Told {
            count: interval.ops / 120,
            mean,
            max,
        };
        let stirred = 1.0 + f64::from(slice % 7) / 10.0;
        let mut metrics = BTreeMap::from([
            ("roas_db_queue_depth", told(61.0 * stirred, 64.0 * stirred)),
            ("roas_db_queue_wait_seconds", told(0.000_2 * stirred, 0.003)),
            ("roas_db_transaction_events", told(119.7 * stirred, 256.0)),
            ("roas_db_commit_seconds", told(0.000_1, 0.002_5 * stirred)),
        ]);
        // Few transactions wait for another process, and few checkpoints tell of the WAL.
        if slice % 10 == 3 {
            metrics.insert("roas_db_lock_wait_seconds", told(0.000_5, 0.001));
            metrics.insert("roas_db_wal_bytes", told(4_194_304.0, 8_388_608.0));
            let twice = Told {
                count: 2,
                ..told(1.0, 1.0)
            };
            metrics.insert("roas_db_checkpoints_total{by=writer,result=whole}", twice);
        }
        interval.metrics = metrics
            .into_iter()
            .map(|(name, told)| (name.to_owned(), told))
            .collect();
    }
    run.wal = Some(WalSizes {
        tick_ms: 100,
        bytes: (0..SECONDS * 10)
            .map(|tick| u64::from(tick % 40) * (12 << 20) / 39)
            .chain([4 << 20])
            .collect(),
    });
    run
}

/// The same run, as it would be with an engine that lost an acknowledged call.
pub(super) fn unverified(mut run: RunResult) -> RunResult {
    run.verified = false;
    run.verification.counted -= 17;
    run.verification.problems = vec![format!(
        "{} operations were acknowledged, the database holds {}",
        run.verification.acknowledged, run.verification.counted
    )];
    run
}

/// A comparison of the shapes, three runs each; the first is the reference.
pub(super) fn comparison(title: &str, shapes: &[Shape]) -> CompareResult {
    let mut rows: Vec<CompareRow> = shapes.iter().map(row).collect();
    let reference = rows[0].ops_per_s_median;
    for row in &mut rows {
        row.ratio = Some(row.ops_per_s_median / reference);
    }
    CompareResult {
        format: FORMAT,
        title: title.to_owned(),
        reference: rows[0].label.clone(),
        rows,
        command: "roas-bench compare --engines baseline,original,meter --rounds 3".to_owned(),
    }
}

fn row(shape: &Shape) -> CompareRow {
    let runs: Vec<RunResult> = (0..3)
        .map(|round| {
            run(&Shape {
                seed: shape.seed * 10 + round,
                ops_per_s: shape.ops_per_s * (0.94 + 0.06 * float(round)),
                ..*shape
            })
        })
        .collect();
    let middle = &runs[1];
    CompareRow {
        label: middle.label.clone(),
        ops_per_s_median: middle.ops_per_s,
        ops_per_s_min: runs[0].ops_per_s,
        ops_per_s_max: runs[2].ops_per_s,
        p50_us_median: middle.latency_us.p50,
        p99_us_median: middle.latency_us.p99,
        p999_us_median: middle.latency_us.p999,
        max_us: runs.iter().filter_map(|run| run.latency_us.max).max(),
        errors: runs.iter().flat_map(|run| run.errors.values()).sum(),
        lock_errors: runs.iter().map(|run| run.lock_errors).sum(),
        verified: true,
        ratio: None,
        runs,
    }
}

/// A latency around a median, with a tail as commits have it.
fn latency(rng: &mut Rng, p50_us: f64) -> u64 {
    let bell: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let tail = if rng.f64() < 0.004 {
        4.0 + 30.0 * rng.f64()
    } else {
        1.0
    };
    whole_number(p50_us * (bell * 0.45).exp() * tail).max(1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and small by construction"
)]
fn whole_number(value: f64) -> u64 {
    value as u64
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let mut serializer = V2Serializer::new();
    serializer
        .serialize(histogram, &mut bytes)
        .expect("a vector takes everything");
    STANDARD.encode(bytes)
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    Percentiles {
        samples: histogram.len(),
        mean: Some(histogram.mean()),
        p50: Some(histogram.value_at_quantile(0.5)),
        p95: Some(histogram.value_at_quantile(0.95)),
        p99: Some(histogram.value_at_quantile(0.99)),
        p999: Some(histogram.value_at_quantile(0.999)),
        max: Some(histogram.max()),
    }
}

fn processes_of(shape: &Shape, ops: u64, rng: &mut Rng) -> Vec<ProcessResult> {
    let each = ops / u64::from(shape.processes);
    (0..shape.processes)
        .map(|_| {
            let ops = each - rng.u64(0..=each / 8);
            ProcessResult {
                ops,
                errors: 0,
                ops_per_s: float(ops) / f64::from(SECONDS),
                longest_gap_ms: if shape.engine == "meter" {
                    rng.u64(5..200)
                } else {
                    1_840
                },
                cpu_s: 7.25,
                max_rss_bytes: 41 << 20,
            }
        })
        .collect()
}

fn environment() -> Environment {
    let pragmas = [
        ("journal_mode", "wal"),
        ("synchronous", "full"),
        ("cache_size", "-16384"),
    ];
    Environment {
        cpu: "Example CPU @ 2.60GHz".to_owned(),
        cores: 2,
        memory_bytes: 24 << 30,
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        kernel: "6.1.0-18-amd64".to_owned(),
        file_system: "ext4".to_owned(),
        sqlite_version: "3.51.3".to_owned(),
        pragmas: BTreeMap::from(pragmas.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        crate_version: "0.1.0".to_owned(),
        commit: "0123abc".to_owned(),
        started_at: "2025-08-22T12:00:00Z".to_owned(),
    }
}
