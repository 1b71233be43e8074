//! Which runs the page shows, under which names, and which of them share a chart.

use std::collections::BTreeMap;

use crate::result::{CompareResult, CompareRow, RunResult};

use super::charts::Style;
use super::format::{number_of, rate};

/// Lines in one chart, at most: there are as many colours.
const PER_CHART: usize = 8;

/// One line of the page's charts: a run given by itself, or a row of a comparison, of which the
/// run with the median throughput is drawn.
#[derive(Debug, Clone)]
pub(super) struct Shown<'a> {
    /// Its label, with a number where others have the same.
    pub(super) name: String,
    /// The run that is drawn.
    pub(super) run: &'a RunResult,
    /// All runs of it.
    pub(super) all: Vec<&'a RunResult>,
    /// The row, if it is one.
    row: Option<&'a CompareRow>,
}

/// The figures of a run, or the medians of a row's runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) ops_per_s: f64,
    pub(super) p50: Option<u64>,
    pub(super) p99: Option<u64>,
    pub(super) max: Option<u64>,
    pub(super) errors: u64,
    pub(super) lock_errors: u64,
}

impl Shown<'_> {
    /// Whether a check failed, or says itself that something is wrong.
    pub(super) fn failed(&self) -> bool {
        self.row.is_some_and(|row| !row.verified) || self.all.iter().any(|run| failed(run))
    }

    /// The figures to show first.
    pub(super) fn figures(&self) -> Figures {
        match self.row {
            Some(row) => Figures {
                ops_per_s: row.ops_per_s_median,
                p50: row.p50_us_median,
                p99: row.p99_us_median,
                max: row.max_us,
                errors: row.errors,
                lock_errors: row.lock_errors,
            },
            None => Figures {
                ops_per_s: self.run.ops_per_s,
                p50: self.run.latency_us.p50,
                p99: self.run.latency_us.p99,
                max: self.run.latency_us.max,
                errors: self.run.errors.values().sum(),
                lock_errors: self.run.lock_errors,
            },
        }
    }
}

/// Whether a run's check failed, or says itself that something is wrong.
pub(super) fn failed(run: &RunResult) -> bool {
    !run.verified || !run.verification.problems.is_empty()
}

/// The runs to show: those given by themselves, then the rows of the comparisons. Rows without a
/// run have nothing to draw and are in their table alone.
pub(super) fn shown<'a>(runs: &'a [RunResult], comparisons: &'a [CompareResult]) -> Vec<Shown<'a>> {
    let mut names = BTreeMap::<String, u32>::new();
    let mut unique = |label: &str| {
        let used = names.entry(label.to_owned()).or_default();
        *used += 1;
        match *used {
            1 => label.to_owned(),
            number => format!("{label} ({number})"),
        }
    };
    let single = runs
        .iter()
        .map(|run| (run.label.as_str(), run, vec![run], None));
    let rows = comparisons.iter().flat_map(|comparison| &comparison.rows);
    let rows = rows.filter_map(|row| {
        let run = median(&row.runs)?;
        Some((
            row.label.as_str(),
            run,
            row.runs.iter().collect(),
            Some(row),
        ))
    });
    let chosen = single.chain(rows);
    chosen
        .map(|(label, run, all, row)| Shown {
            name: unique(label),
            run,
            all,
            row,
        })
        .collect()
}

/// The run with the median throughput; of two in the middle, the slower.
fn median(runs: &[RunResult]) -> Option<&RunResult> {
    let mut sorted: Vec<&RunResult> = runs.iter().collect();
    sorted.sort_by(|a, b| a.ops_per_s.total_cmp(&b.ops_per_s));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// Runs that share a chart.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    /// What they have in common; nothing where all runs fit into one chart.
    pub(super) heading: String,
    /// The runs and how their lines look.
    pub(super) members: Vec<(&'a Shown<'a>, Style)>,
}

/// Deals the runs out to charts: all into one where they fit, otherwise those that ran under the
/// same conditions together, the fastest first. A series looks the same in all charts.
pub(super) fn panels<'a>(shown: &'a [Shown<'a>]) -> Vec<Panel<'a>> {
    if shown.len() <= PER_CHART {
        let members: Vec<_> = (shown.iter().enumerate())
            .map(|(place, shown)| (shown, Style(place)))
            .collect();
        return Vec::from_iter((!members.is_empty()).then_some(Panel {
            heading: String::new(),
            members,
        }));
    }
    let mut series = Vec::new();
    let mut groups: Vec<(String, Vec<(&Shown<'_>, Style)>)> = Vec::new();
    for shown in shown {
        let condition = condition(shown.run);
        let place = index(&mut series, series_key(shown.run));
        let found = groups.iter().position(|(heading, _)| *heading == condition);
        let group = found.unwrap_or_else(|| {
            groups.push((condition, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push((shown, Style(place)));
    }
    let mut panels = Vec::new();
    for (condition, mut members) in groups {
        members.sort_by(|(a, _), (b, _)| b.run.ops_per_s.total_cmp(&a.run.ops_per_s));
        let parts = members.len().div_ceil(PER_CHART);
        for (part, chunk) in members.chunks(members.len().div_ceil(parts)).enumerate() {
            let heading = if parts == 1 {
                condition.clone()
            } else {
                format!("{condition} ({} of {parts}, fastest first)", part + 1)
            };
            panels.push(Panel {
                heading,
                members: apart(chunk),
            });
        }
    }
    panels
}

/// The same members, no two of which look the same.
fn apart<'a>(members: &[(&'a Shown<'a>, Style)]) -> Vec<(&'a Shown<'a>, Style)> {
    let mut used = Vec::new();
    let mut result = Vec::new();
    for (shown, Style(wish)) in members {
        let mut style = *wish;
        while used.contains(&style) {
            style += PER_CHART;
        }
        used.push(style);
        result.push((*shown, Style(style)));
    }
    result
}

/// The place of a key in a list, to whose end it is added where it is new.
pub(super) fn index(keys: &mut Vec<String>, key: String) -> usize {
    keys.iter()
        .position(|known| *known == key)
        .unwrap_or_else(|| {
            keys.push(key);
            keys.len() - 1
        })
}

/// What a run is a run of: engine, tuning, batch.
pub(super) fn series_key(run: &RunResult) -> String {
    let tuning = run.tuning.as_ref().map(|tuning| format!(" {tuning}"));
    let batch = run.batch.map(|batch| format!(" batch\u{a0}{batch}"));
    let [tuning, batch] = [tuning, batch].map(Option::unwrap_or_default);
    format!("{}{tuning}{batch}", run.engine)
}

/// The load a run was under.
pub(super) fn load(run: &RunResult) -> String {
    let mut parts = vec![
        format!(
            "{} × {}",
            number_of(run.processes.into(), "process", "processes"),
            number_of(run.tasks.into(), "task", "tasks"),
        ),
        format!("{} keys", run.keys),
    ];
    if run.readers > 0 {
        parts.push(number_of(run.readers.into(), "reader", "readers"));
    }
    parts.push(match run.rate_per_s {
        Some(per_s) => format!("open loop at {}/s", rate(per_s)),
        None => format!("{} loop", run.mode),
    });
    parts.join(", ")
}

/// Load and durability: what runs must share to be compared.
fn condition(run: &RunResult) -> String {
    format!("{}, synchronous {}", load(run), run.synchronous)
}
