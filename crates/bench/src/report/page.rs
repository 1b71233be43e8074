//! Results as one self-contained HTML page: it loads nothing, and works on a phone and in the dark.
//!
//! First whether the figures may be believed, then the figures, then the charts behind them, then
//! what is needed to repeat them.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{Chart, Line, MOST_LINES};
use super::{bytes, duration, rate, reads, thousands};
use crate::result::{CompareResult, CompareRow, RunResult};
use crate::stats::Latencies;

const STYLE: &str = include_str!("page.css");

/// Points of a latency chart for each power of ten of 1/(1 − percentile).
const POINTS_PER_DECADE: i32 = 12;

/// Renders single runs and comparisons as one page.
///
/// A run that did not pass its check is marked wherever it appears.
#[must_use]
pub fn render(title: &str, runs: &[RunResult], comparisons: &[CompareResult]) -> String {
    let compared = (comparisons.iter())
        .flat_map(|comparison| &comparison.rows)
        .flat_map(|row| &row.runs);
    let all: Vec<&RunResult> = runs.iter().chain(compared).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (verdict(&all))
                @for comparison in comparisons { (comparison_section(comparison)) }
                @for run in runs { (run_section(run)) }
                (environment(&all))
            }
        }
    };
    page.into_string()
}

/// Whether a run's check failed, or found a problem.
fn failed(run: &RunResult) -> bool {
    !run.verified || !run.verification.problems.is_empty()
}

fn verdict(all: &[&RunResult]) -> Markup {
    let bad: BTreeSet<&str> = (all.iter())
        .filter(|run| failed(run))
        .map(|run| run.label.as_str())
        .collect();
    html! {
        @if all.is_empty() {
            p { "There are no runs." }
        } @else if bad.is_empty() {
            p { "✓ All " (all.len()) " runs were verified: each database held exactly what was acknowledged." }
        } @else {
            p.bad { "✗ The figures of these do not count, because their check failed: "
                @for label in &bad { (label) "; " }
            }
        }
    }
}

fn comparison_section(comparison: &CompareResult) -> Markup {
    let rows = &comparison.rows;
    let middle: Vec<&RunResult> = rows.iter().filter_map(median_run).collect();
    html! {
        h2 { (comparison.title) }
        div.table { table {
            thead { tr {
                @for column in ["setting", "ops/s", "min to max", "ratio", "p50", "p99", "p99.9", "max",
                    "errors", "lock errors", "verified"] { th scope="col" { (column) } }
            } }
            tbody { @for row in rows { tr {
                td { (row.label) }
                td { (rate(row.ops_per_s_median)) }
                td { (rate(row.ops_per_s_min)) " to " (rate(row.ops_per_s_max)) }
                td { @if let Some(ratio) = row.ratio { (format!("{ratio:.2}")) } @else { "-" } }
                @for us in [row.p50_us_median, row.p99_us_median, row.p999_us_median, row.max_us] {
                    td { (duration(us)) }
                }
                td { (thousands(row.errors)) }
                td { (thousands(row.lock_errors)) }
                (checked(!row.verified || row.runs.iter().any(failed)))
            } } }
        } }
        p { "Ratios of throughput are against " (comparison.reference) "." }
        (read_table(rows))
        (figure("Throughput by tasks", by_load("tasks", &middle, |run| run.tasks)))
        (figure("Throughput by processes", by_load("processes", &middle, |run| run.processes)))
        @for runs in middle.chunks(MOST_LINES) { (latencies(runs)) (over_time(runs)) }
        (command(&comparison.command))
    }
}

/// The run of a row with the median throughput.
fn median_run(row: &CompareRow) -> Option<&RunResult> {
    let mut runs: Vec<&RunResult> = row.runs.iter().collect();
    runs.sort_by(|one, other| one.ops_per_s.total_cmp(&other.ops_per_s));
    runs.get(runs.len() / 2).copied()
}

fn read_table(rows: &[CompareRow]) -> Markup {
    html! { @if rows.iter().any(|row| !reads(row).is_empty()) {
        div.table { table {
            thead { tr { @for column in ["setting", "read", "p50", "p99", "max", "memory"] {
                th scope="col" { (column) }
            } } }
            tbody { @for row in rows { @for (kind, figures) in reads(row) { tr {
                td { (row.label) }
                td { (kind) }
                @for us in figures { td { (duration(us)) } }
                td { (bytes(row.max_rss_bytes())) }
            } } } }
        } }
    } }
}

fn run_section(run: &RunResult) -> Markup {
    let latency = &run.latency_us;
    html! {
        h2 { (run.label) }
        div.table { table {
            thead { tr { @for column in ["setting", "ops/s", "p50", "p95", "p99", "p99.9", "max", "errors",
                "lock errors", "verified"] { th scope="col" { (column) } } } }
            tbody { tr {
                td { (run.label) }
                td { (rate(run.ops_per_s)) }
                @for us in [latency.p50, latency.p95, latency.p99, latency.p999, latency.max] {
                    td { (duration(us)) }
                }
                td { (thousands(run.errors.values().sum())) }
                td { (thousands(run.lock_errors)) }
                (checked(failed(run)))
            } }
        } }
        @for problem in &run.verification.problems { p.bad { (problem) } }
        (latencies(&[run]))
        (over_time(&[run]))
        @for (metric, chart) in metrics(run) { (figure(&metric, chart)) }
        (command(&run.command))
    }
}

fn checked(failed: bool) -> Markup {
    html! { @if failed { td.bad { "✗ no" } } @else { td { "✓ yes" } } }
}

fn command(command: &str) -> Markup {
    html! { @if !command.is_empty() { pre { code { (command) } } } }
}

fn figure(caption: &str, chart: Chart<'_>) -> Markup {
    html! { @if let Some(svg) = chart.svg() {
        figure { figcaption { (caption) } (PreEscaped(svg)) }
    } }
}

/// Throughput over what is varied, a line for each engine whose runs differ in nothing else.
fn by_load<'a>(x: &'a str, runs: &[&RunResult], varied: fn(&RunResult) -> u32) -> Chart<'a> {
    let mut lines = BTreeMap::<String, BTreeMap<u32, f64>>::new();
    for run in runs {
        let other = match (x, run.processes) {
            ("tasks", 1) => String::new(),
            ("tasks", processes) => format!(", {processes} processes"),
            _ => format!(", {} tasks each", run.tasks),
        };
        let engine = match &run.tuning {
            Some(tuning) => format!("{} {tuning}", run.engine),
            None => run.engine.clone(),
        };
        let name = format!("{engine} {}{other}", run.synchronous);
        lines
            .entry(name)
            .or_default()
            .insert(varied(run), run.ops_per_s);
    }
    let mut lines: Vec<Line> = (lines.into_iter())
        .filter(|(_, points)| points.len() > 1)
        .map(|(name, points)| Line {
            name,
            points: (points.into_iter())
                .map(|(x, y)| (f64::from(x), y))
                .collect(),
        })
        .collect();
    lines.truncate(MOST_LINES);
    Chart {
        x,
        y: "operations/s",
        log_x: true,
        log_y: true,
        lines,
    }
}

fn latencies(runs: &[&RunResult]) -> Markup {
    let lines = (runs.iter())
        .filter_map(|run| Some((run, Latencies::decode(&run.histogram).ok()?)))
        .map(|(run, latencies)| Line {
            name: run.label.clone(),
            points: latencies.curve(POINTS_PER_DECADE),
        });
    let chart = Chart {
        x: "one call in …",
        y: "takes at least … ms",
        log_x: true,
        log_y: true,
        lines: lines.collect(),
    };
    figure("Latency by percentile", chart)
}

fn over_time(runs: &[&RunResult]) -> Markup {
    let lines = |value: &dyn Fn(&RunResult) -> Vec<(f64, f64)>| -> Vec<Line> {
        let lines = runs.iter().map(|run| Line {
            name: run.label.clone(),
            points: value(run),
        });
        lines.collect()
    };
    let throughput = lines(&|run| {
        let times = run.timeline.iter().map(|slice| slice.at_s);
        let step = times
            .clone()
            .zip(times.skip(1))
            .map(|(one, next)| next - one)
            .next();
        let step = step.filter(|step| *step > 0.0).unwrap_or(1.0);
        let slices = run.timeline.iter();
        slices
            .map(|slice| (slice.at_s, float(slice.ops) / step))
            .collect()
    });
    let p99 = lines(&|run| {
        let slices = run.timeline.iter();
        slices
            .filter_map(|slice| Some((slice.at_s, float(slice.p99_us?) / 1e3)))
            .collect()
    });
    let wal = lines(&|run| {
        let sizes = run.wal.iter().flat_map(|wal| {
            let step_s = float(wal.tick_ms) / 1e3;
            let sizes = wal.bytes.iter().zip(0_u32..);
            sizes.map(move |(bytes, tick)| (f64::from(tick) * step_s, float(*bytes) / 1_048_576.0))
        });
        sizes.collect()
    });
    let charts = [
        ("Throughput over time", "operations/s", false, throughput),
        ("p99 over time", "ms", true, p99),
        ("Size of the WAL over time", "MiB", false, wal),
    ];
    html! { @for (caption, y, log_y, lines) in charts {
        (figure(caption, Chart { x: "seconds", y, log_x: false, log_y, lines }))
    } }
}

/// Each metric that the engine emitted, over time: its mean and its greatest value in each slice.
fn metrics(run: &RunResult) -> Vec<(String, Chart<'static>)> {
    let names: BTreeSet<&String> = run
        .timeline
        .iter()
        .flat_map(|slice| slice.metrics.keys())
        .collect();
    let chart = |name: &String| {
        let line = |title: &str, value: fn(&crate::result::MetricSummary) -> f64| Line {
            name: title.to_owned(),
            points: (run.timeline.iter())
                .filter_map(|slice| Some((slice.at_s, value(slice.metrics.get(name)?))))
                .collect(),
        };
        let lines = if name.contains("_total") {
            vec![line("in each slice", |metric| float(metric.count))]
        } else {
            vec![
                line("mean", |metric| metric.mean),
                line("greatest", |metric| metric.max),
            ]
        };
        let y = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.contains(unit));
        (
            name.clone(),
            Chart {
                x: "seconds",
                y: y.unwrap_or("number"),
                log_x: false,
                log_y: false,
                lines,
            },
        )
    };
    names.into_iter().map(chart).collect()
}

fn environment(all: &[&RunResult]) -> Markup {
    let Some(environment) = all.first().map(|run| &run.environment) else {
        return Markup::default();
    };
    let facts = [
        (
            "processor",
            format!("{}, {} cores", environment.cpu, environment.cores),
        ),
        ("memory", bytes(environment.memory_bytes)),
        (
            "system",
            format!(
                "{}, Linux {}, {}",
                environment.os, environment.kernel, environment.file_system
            ),
        ),
        ("SQLite", environment.sqlite_version.clone()),
        (
            "roas-bench",
            format!("{} at {}", environment.crate_version, environment.commit),
        ),
        ("started", environment.started_at.clone()),
    ];
    html! {
        h2 { "Environment of the first run" }
        div.table { table { tbody {
            @for (name, value) in &facts { tr { th scope="row" { (name) } td { (value) } } }
            @for (name, value) in &environment.pragmas { tr { th scope="row" { "PRAGMA " (name) } td { (value) } } }
        } } }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "drawn for people, a pixel is coarser"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with two slices and a histogram.
    fn run(label: &str, tasks: u32, verified: bool) -> RunResult {
        let mut latencies = Latencies::new();
        for us in 1..2_000 {
            latencies.record(us);
        }
        let slice = r#""ops":500,"errors":0,"p50_us":90,"p99_us":900,"max_us":2000,"metrics":
            {"roas_db_commit_seconds":{"count":3,"mean":0.01,"max":0.02}}"#;
        let text = format!(
            r#"{{"format":1,"label":{label},"engine":"meter","tuning":null,"tasks":{tasks},"processes":1,
            "readers":0,"guilds":5,"members":1000,"keys":"zipf:1.1","synchronous":"full","batch":null,
            "mode":"closed","rate_per_s":null,"seed":1,"warmup_s":0.2,"duration_s":1,"ops":1000,
            "ops_per_s":{tasks}e3,"errors":{{}},"lock_errors":0,"error_rate":0,"success_rate":1,
            "latency_us":{{"samples":0}},"read_latency_us":null,"histogram":"{histogram}",
            "engine_stats":null,"per_process":[],"fairness":null,
            "timeline":[{{"at_s":0.0,{slice}}},{{"at_s":0.5,{slice}}}],"verified":{verified},
            "verification":{{"acknowledged":0,"counted":0,"unknown":0,"integrity":"ok",
            "unique_rows":true,"problems":[]}},
            "environment":{{"cpu":"","cores":2,"memory_bytes":0,"os":"","kernel":"","file_system":"",
            "sqlite_version":"","pragmas":{{"synchronous":"2"}},"crate_version":"","commit":"",
            "started_at":""}},"command":"roas-bench run"}}"#,
            label = serde_json::to_string(label).unwrap(),
            histogram = latencies.encode(),
        );
        serde_json::from_str(&text).unwrap()
    }

    fn comparison(runs: Vec<RunResult>) -> CompareResult {
        let row = |run: RunResult| CompareRow {
            label: run.label.clone(),
            ops_per_s_median: run.ops_per_s,
            ops_per_s_min: run.ops_per_s,
            ops_per_s_max: run.ops_per_s,
            p50_us_median: None,
            p99_us_median: None,
            p999_us_median: None,
            max_us: None,
            errors: 0,
            lock_errors: 0,
            verified: run.verified,
            ratio: None,
            runs: vec![run],
        };
        CompareResult {
            format: 1,
            title: "Two loads".to_owned(),
            rows: runs.into_iter().map(row).collect(),
            reference: "raw:1".to_owned(),
            command: String::new(),
        }
    }

    #[test]
    fn the_page_has_its_tables_and_charts_and_loads_nothing() {
        let compared = comparison(vec![run("8", 8, true), run("64", 64, true)]);
        let page = render("Load", &[run("alone", 8, true)], &[compared]);
        for part in [
            "All 3 runs were verified",
            "Throughput by tasks",
            "Latency by percentile",
            "p99 over time",
            "roas_db_commit_seconds",
            "PRAGMA synchronous",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["src=", "@import", "url(", "<script", "<link", "<iframe"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_run_that_failed_its_check_is_marked() {
        let page = render("Load", &[], &[comparison(vec![run("wrong", 8, false)])]);
        assert!(
            page.contains("do not count") && page.contains("wrong; "),
            "{page}"
        );
        assert!(page.contains("✗ no"));
    }

    #[test]
    fn markup_in_a_file_from_elsewhere_is_text() {
        let hostile = "</title><script>alert('1')</script>";
        let page = render(hostile, &[run(hostile, 8, false)], &[]);
        assert!(!page.contains("<script"));
        assert!(render("Nothing", &[], &[]).contains("There are no runs"));
    }
}
