//! Tables for the terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Saved, bytes, duration, rate, reads, thousands};
use crate::result::{CompareResult, ForeignProcessResult, RunResult};

/// A run as a table.
#[must_use]
pub fn run_text(run: &RunResult) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("engine", run.label.clone());
    row(
        "members",
        format!("{} x {}, {}", run.guilds, run.members, run.keys),
    );
    let window = format!(
        "{:.1} s after {:.1} s of warm-up",
        run.duration_s, run.warmup_s
    );
    row("window", window);
    row("loop", loop_text(run));
    row(
        "operations",
        format!("{} ({}/s)", thousands(run.ops), rate(run.ops_per_s)),
    );
    row("errors", errors_text(run));
    let latency = &run.latency_us;
    for (name, value) in [
        ("p50", latency.p50),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("max", latency.max),
    ] {
        row(name, duration(value));
    }
    for (kind, reads) in run.read_latency_us.iter().flatten() {
        let figures = [reads.p50, reads.p99, reads.max].map(duration);
        let count = thousands(reads.samples);
        let [p50, p99, max] = figures;
        row(
            &format!("read {kind}"),
            format!("p50 {p50}, p99 {p99}, max {max} ({count} reads)"),
        );
    }
    if let Some(stats) = &run.engine_stats {
        if stats.batches > 0 {
            let batches = thousands(stats.batches);
            row(
                "transactions",
                format!("{batches}, {:.1} operations each", stats.mean_batch),
            );
        }
        if stats.lock_waits > 0 || stats.retries > 0 {
            let waited = duration(Some(stats.lock_wait_us));
            let (waits, retries) = (thousands(stats.lock_waits), thousands(stats.retries));
            row(
                "lock waits",
                format!("{waits}, {waited} in all; {retries} retries"),
            );
        }
        if let (Some(most), Some(end)) = (stats.wal_bytes_max, stats.wal_bytes_end) {
            let (most, end) = (bytes(most), bytes(end));
            row("WAL", format!("at most {most}, {end} at the end"));
        }
    }
    let cpu_s: f64 = run.per_process.iter().map(|process| process.cpu_s).sum();
    let memory = run
        .per_process
        .iter()
        .map(|process| process.max_rss_bytes)
        .max()
        .unwrap_or(0);
    row(
        "processor",
        format!("{cpu_s:.1} s; memory {} in a process", bytes(memory)),
    );
    if let Some(fairness) = run.fairness {
        row("fairness", format!("{fairness:.3}"));
        let gaps = run.per_process.iter();
        let gaps: Vec<_> = gaps
            .map(|process| process.longest_gap_ms.to_string())
            .collect();
        row("longest gaps", format!("{} ms", gaps.join(", ")));
    }
    for neighbour in &run.neighbours {
        row(&neighbour.neighbour, neighbour_text(neighbour));
    }
    row("database", verified_text(run));
    let environment = &run.environment;
    let place = format!(
        "{}, {} cores, {}, SQLite {}",
        environment.cpu, environment.cores, environment.file_system, environment.sqlite_version
    );
    row("machine", place);
    let mut text = format!("{table}\n");
    warnings(&mut text, run);
    text
}

/// What a foreign process did, in words.
fn neighbour_text(neighbour: &ForeignProcessResult) -> String {
    let ForeignProcessResult {
        neighbour,
        done,
        busy,
        total_s,
        longest_s,
        verified,
        ..
    } = neighbour;
    let what = match neighbour.as_str() {
        "lock" => "held the write lock",
        "vacuum-into" => "made copies",
        "backup" => "made backups",
        "truncate" => "ran checkpoints",
        "reader" => "held snapshots",
        _ => "acted",
    };
    let mut text = format!("{what}: {done}, {total_s:.1} s in all, the longest {longest_s:.2} s");
    if let Some(verified) = verified {
        let _ = write!(text, "; {verified} verified");
    }
    if *busy > 0 {
        let _ = write!(text, "; {busy} kept from it, or cut short");
    }
    text
}

/// What a reader of any figure must know first.
fn warnings(text: &mut String, run: &RunResult) {
    if matches!(run.environment.file_system.as_str(), "tmpfs" | "ramfs") {
        let _ = writeln!(
            text,
            "The database was in memory: nothing was synced. See --dir."
        );
    }
    if cfg!(debug_assertions) {
        let _ = writeln!(text, "This is a debug build: its figures mean nothing.");
    }
}

fn loop_text(run: &RunResult) -> String {
    match run.rate_per_s {
        None => "closed: latency from the call to the answer".to_owned(),
        Some(per_s) => format!("open, {}/s: latency from when a call was due", rate(per_s)),
    }
}

fn errors_text(run: &RunResult) -> String {
    let kinds: Vec<_> = run
        .errors
        .iter()
        .map(|(kind, count)| format!("{kind} {}", thousands(*count)))
        .collect();
    if kinds.is_empty() {
        "none".to_owned()
    } else {
        format!("{} ({:.3} %)", kinds.join(", "), run.error_rate * 100.0)
    }
}

fn verified_text(run: &RunResult) -> String {
    let counted = thousands(run.verification.counted);
    if run.verified {
        format!("✓ holds the {counted} operations that were acknowledged")
    } else {
        format!("✗ {}", run.verification.problems.join("; "))
    }
}

/// A comparison as a table.
#[must_use]
pub fn compare_text(result: &CompareResult) -> String {
    let mut table = table(&[
        "setting", "ops/s", "min..max", "ratio", "p50", "p99", "p99.9", "max", "errors", "locks",
        "fair", "gap", "ok",
    ]);
    for row in &result.rows {
        let processes = || row.runs.iter().flat_map(|run| &run.per_process);
        let fairness = row
            .runs
            .iter()
            .filter_map(|run| run.fairness)
            .reduce(f64::min);
        let gap_ms = processes().map(|process| process.longest_gap_ms).max();
        table.add_row([
            row.label.clone(),
            rate(row.ops_per_s_median),
            format!("{}..{}", rate(row.ops_per_s_min), rate(row.ops_per_s_max)),
            row.ratio
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            duration(row.p50_us_median),
            duration(row.p99_us_median),
            duration(row.p999_us_median),
            duration(row.max_us),
            thousands(row.errors),
            thousands(row.lock_errors),
            fairness.map_or("-".to_owned(), |fairness| format!("{fairness:.3}")),
            gap_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            if row.verified { "✓" } else { "✗" }.to_owned(),
        ]);
    }
    let mut text = format!("{}\n{table}\n", result.title);
    if result.rows.iter().any(|row| !reads(row).is_empty()) {
        let mut table = self::table(&["setting", "read", "p50", "p99", "max", "memory"]);
        for row in &result.rows {
            for (kind, figures) in reads(row) {
                let [p50, p99, max] = figures.map(duration);
                let memory = bytes(row.max_rss_bytes());
                table.add_row([row.label.clone(), kind.to_owned(), p50, p99, max, memory]);
            }
        }
        let _ = writeln!(text, "{table}");
    }
    let _ = writeln!(
        text,
        "Medians over the rounds; max, errors, least fairness and longest gap over all of them. \
         Ratios are against {}.",
        result.reference
    );
    if let Some(run) = result.rows.iter().flat_map(|row| &row.runs).next() {
        warnings(&mut text, run);
    }
    text
}

/// A comparison beside a saved one: settings that both have.
#[must_use]
pub fn saved_text(now: &CompareResult, before: &Saved) -> String {
    let before = before.throughput();
    let mut table = table(&["setting", "saved ops/s", "ops/s now", "now / saved"]);
    for row in &now.rows {
        let Some((_, saved)) = before.iter().find(|(label, _)| *label == row.label) else {
            continue;
        };
        let ratio = (*saved > 0.0).then(|| row.ops_per_s_median / saved);
        table.add_row([
            row.label.clone(),
            rate(*saved),
            rate(row.ops_per_s_median),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    if table.row_count() == 0 {
        "No setting of the saved result is among these.\n".to_owned()
    } else {
        format!("Against the saved result\n{table}\n")
    }
}

/// A table whose columns, but for the first, are figures.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
