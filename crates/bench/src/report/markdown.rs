//! Tables in Markdown.

use std::fmt::Write as _;

use super::{bytes, duration, rate, reads, thousands};
use crate::result::{CompareResult, Environment, RunResult};

/// A run as a Markdown table of one row, with its environment and command.
#[must_use]
pub fn run_markdown(run: &RunResult) -> String {
    let latency = &run.latency_us;
    let [p50, p95, p99, p999, max] = [
        latency.p50,
        latency.p95,
        latency.p99,
        latency.p999,
        latency.max,
    ]
    .map(duration);
    let mut text = String::from(
        "| setting | ops/s | p50 | p95 | p99 | p99.9 | max | errors | lock errors | verified |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    let _ = writeln!(
        text,
        "| {} | {} | {p50} | {p95} | {p99} | {p999} | {max} | {} | {} | {} |",
        escaped(&run.label),
        rate(run.ops_per_s),
        thousands(run.errors.values().sum()),
        thousands(run.lock_errors),
        if run.verified { "yes" } else { "**no**" },
    );
    let _ = write!(
        text,
        "\n{} loop, {} members each in {} guilds, keys {}, {:.1} s.\n",
        capitalized(&run.mode),
        thousands(run.members),
        thousands(run.guilds),
        run.keys,
        run.duration_s
    );
    footer(&mut text, &run.environment, &run.command);
    text
}

/// A comparison as a Markdown table, with its environment and command.
#[must_use]
pub fn compare_markdown(result: &CompareResult) -> String {
    let mut text = format!(
        "### {}\n\n\
         | setting | ops/s | min to max | ratio | p50 | p99 | p99.9 | max | errors | lock errors | verified |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
        result.title
    );
    for row in &result.rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} to {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&row.label),
            rate(row.ops_per_s_median),
            rate(row.ops_per_s_min),
            rate(row.ops_per_s_max),
            row.ratio
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            duration(row.p50_us_median),
            duration(row.p99_us_median),
            duration(row.p999_us_median),
            duration(row.max_us),
            thousands(row.errors),
            thousands(row.lock_errors),
            if row.verified { "yes" } else { "**no**" },
        );
    }
    if result.rows.iter().any(|row| !reads(row).is_empty()) {
        text.push_str(
            "\n| setting | read | p50 | p99 | max | memory |\n|---|---|---:|---:|---:|---:|\n",
        );
        for row in &result.rows {
            for (kind, figures) in reads(row) {
                let [p50, p99, max] = figures.map(duration);
                let (label, memory) = (escaped(&row.label), bytes(row.max_rss_bytes()));
                let _ = writeln!(
                    text,
                    "| {label} | {kind} | {p50} | {p99} | {max} | {memory} |"
                );
            }
        }
    }
    let _ = writeln!(
        text,
        "\nRatios of throughput are against {}.",
        result.reference
    );
    if let Some(run) = result.rows.iter().flat_map(|row| &row.runs).next() {
        footer(&mut text, &run.environment, &result.command);
    }
    text
}

fn footer(text: &mut String, environment: &Environment, command: &str) {
    let Environment {
        cpu,
        cores,
        memory_bytes,
        os,
        kernel,
        file_system,
        sqlite_version,
        crate_version,
        commit,
        started_at,
        ..
    } = environment;
    let gib = memory_bytes / (1 << 30);
    let _ = write!(
        text,
        "\n{cpu}, {cores} cores, {gib} GiB; {os}, Linux {kernel}, {file_system}; SQLite \
         {sqlite_version}; roas-bench {crate_version} at {commit}; {started_at}.\n\n\
         ```sh\n{command}\n```\n"
    );
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
