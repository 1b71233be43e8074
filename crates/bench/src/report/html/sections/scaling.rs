//! Throughput against the number of tasks, and against the number of processes.

use std::collections::{BTreeMap, BTreeSet};

use crate::result::RunResult;

use super::super::charts::{Axis, Chart, Line, Marks, Style};
use super::super::format::{count, number_of, rate, short};
use super::super::markup::Page;
use super::super::shown::{failed, index, series_key};

/// Lines in one chart, at most.
const PER_CHART: usize = 8;

/// What is varied.
struct Variable {
    id: &'static str,
    title: &'static str,
    /// Of one and of more.
    names: (&'static str, &'static str),
    /// Its value in a run.
    of: fn(&RunResult) -> u32,
    /// What else has to be equal for runs to be on one line, where it is worth a word.
    beside: fn(&RunResult) -> Option<String>,
}

const VARIABLES: [Variable; 2] = [
    Variable {
        id: "tasks",
        title: "Throughput by tasks in each process",
        names: ("task", "tasks"),
        of: |run| run.tasks,
        beside: |run| {
            let processes = u64::from(run.processes);
            (processes != 1).then(|| number_of(processes, "process", "processes"))
        },
    },
    Variable {
        id: "processes",
        title: "Throughput by processes",
        names: ("process", "processes"),
        of: |run| run.processes,
        beside: |run| {
            Some(format!(
                "{} each",
                number_of(run.tasks.into(), "task", "tasks")
            ))
        },
    },
];

/// A line to be: the throughputs of its runs by the value of what is varied.
#[derive(Default)]
struct Series {
    key: String,
    at: BTreeMap<u32, Vec<f64>>,
    failed: bool,
}

impl Series {
    fn best(&self) -> f64 {
        self.at.values().flatten().copied().fold(0.0, f64::max)
    }
}

/// Writes the charts of both variables.
pub(in super::super) fn put(page: &mut Page, all: &[&RunResult]) {
    if all.is_empty() {
        page.paragraph("There are no runs to compare.");
        return;
    }
    let charts = VARIABLES.each_ref().map(|variable| charts(variable, all));
    if charts.iter().any(|charts| !charts.is_empty()) {
        page.put(format_args!("<div class=\"charts\">\n"));
        for chart in charts.iter().flatten() {
            chart.put(page);
        }
        page.put(format_args!("</div>\n"));
    }
    for (variable, charts) in VARIABLES.iter().zip(&charts) {
        if !charts.is_empty() {
            continue;
        }
        let value = (variable.of)(all[0]);
        let same = all.iter().all(|run| (variable.of)(run) == value);
        let (one, more) = variable.names;
        page.paragraph(&if same {
            let number = number_of(value.into(), one, more);
            format!("All runs had {number}, so there is no line over {more}.")
        } else {
            format!("No engine ran with different numbers of {more} and all else equal.")
        });
    }
}

/// The charts of one variable; none where no series has two values of it.
fn charts(variable: &Variable, all: &[&RunResult]) -> Vec<Chart> {
    let mut keys = Vec::new();
    let mut series = Vec::<Series>::new();
    for run in all {
        let value = (variable.of)(run);
        // Nothing runs in none, and 0 has no place on an axis of logarithms.
        if value == 0 || !run.ops_per_s.is_finite() {
            continue;
        }
        let key = name(variable, run, all);
        let place = index(&mut keys, key.clone());
        if place == series.len() {
            series.push(Series {
                key,
                ..Series::default()
            });
        }
        series[place]
            .at
            .entry(value)
            .or_default()
            .push(run.ops_per_s);
        series[place].failed |= failed(run);
    }
    series.retain(|series| series.at.len() > 1);
    if series.is_empty() {
        return Vec::new();
    }
    series.sort_by(|a, b| b.best().total_cmp(&a.best()));
    let values: BTreeSet<u32> = (series.iter())
        .flat_map(|series| series.at.keys().copied())
        .collect();
    let ticks: Vec<(f64, String)> = (values.iter())
        .map(|value| (f64::from(*value), count((*value).into())))
        .collect();
    let best = series[0].best();
    let least = (series.iter())
        .flat_map(|series| series.at.values().flatten().copied())
        .filter(|per_s| *per_s > 0.0)
        .fold(f64::INFINITY, f64::min);
    let parts = series.len().div_ceil(PER_CHART);
    let chunks = series.chunks(series.len().div_ceil(parts)).enumerate();
    let charts = chunks.map(|(part, chunk)| {
        let title = if parts == 1 {
            variable.title.to_owned()
        } else {
            format!(
                "{} ({} of {parts}, fastest first)",
                variable.title,
                part + 1
            )
        };
        let y = if best > least * 8.0 {
            Axis::log("operations/s, logarithmic", least, best, short)
        } else {
            Axis::linear("operations/s", best, short)
        };
        Chart {
            id: format!("by-{}-{part}", variable.id),
            title,
            description: described(variable, chunk),
            x: Axis::at(&format!("{}, logarithmic", variable.names.1), ticks.clone()),
            y,
            lines: lines(chunk),
            marks: Marks::All,
        }
    });
    charts.collect()
}

/// A series' name: engine and durability, then what differs among the runs of the report.
fn name(variable: &Variable, run: &RunResult, all: &[&RunResult]) -> String {
    let mut name = format!("{} {}", series_key(run), run.synchronous);
    let mut add = |part: &str| {
        name.push_str(", ");
        name.push_str(part);
    };
    if let Some(beside) = (variable.beside)(run) {
        add(&beside);
    }
    if all.iter().any(|other| other.keys != run.keys) {
        add(&run.keys);
    }
    let same_size = |other: &&RunResult| (other.guilds, other.members) == (run.guilds, run.members);
    if !all.iter().all(same_size) {
        add(&format!(
            "{} × {} members",
            count(run.guilds),
            count(run.members)
        ));
    }
    if all.iter().any(|other| other.readers != run.readers) {
        add(&number_of(run.readers.into(), "reader", "readers"));
    }
    if let Some(per_s) = run.rate_per_s {
        add(&format!("{}/s", rate(per_s)));
    }
    name
}

fn lines(series: &[Series]) -> Vec<Line> {
    let lines = series.iter().enumerate();
    lines
        .map(|(place, series)| Line {
            name: series.key.clone(),
            style: Style(place),
            points: (series.at.iter())
                .map(|(value, per_s)| (f64::from(*value), Some(median(per_s))))
                .collect(),
            failed: series.failed,
        })
        .collect()
}

fn described(variable: &Variable, series: &[Series]) -> String {
    let (one, more) = variable.names;
    let lines = series.iter().map(|series| {
        let points = series.at.iter().map(|(value, per_s)| {
            let number = number_of((*value).into(), one, more);
            format!("{} at {number}", rate(median(per_s)))
        });
        format!("{}: {}", series.key, points.collect::<Vec<_>>().join(", "))
    });
    lines.collect::<Vec<_>>().join(". ")
}

/// The median; of two in the middle, the lower. Never of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}
