//! What the engines told of their metrics over the measured window.

use std::collections::BTreeSet;

use crate::result::{RunResult, Told};

use super::super::charts::{Axis, Chart, Line, Marks, Style};
use super::super::format::{float, micros, short};
use super::super::markup::Page;
use super::super::shown::{Panel, Shown};
use super::put_panels;

/// Points of a line, at most: more are thinner than it.
const MOST_POINTS: usize = 120;

const MIB: f64 = 1_048_576.0;

/// Writes a chart for each metric that was told.
pub(in super::super) fn put(page: &mut Page, panels: &[Panel<'_>]) {
    let told = |panel: &Panel<'_>| !names(panel).is_empty();
    if !panels.iter().any(told) {
        page.paragraph("No engine told of its metrics.");
        return;
    }
    page.paragraph(
        "What the engine told through the metrics facade, as an exporter would have it: a value for \
         each transaction, but for the WAL's, which come with checkpoints. A point is a slice of the \
         window; where nothing was told in a slice, the line has a gap. What is counted (checkpoints \
         by who made them and how they ended, retries by policy) is there if it ever happened.",
    );
    put_panels(page, panels, &|page, place, panel| {
        let names = names(panel);
        if names.is_empty() {
            page.paragraph("None of these engines told of its metrics.");
            return;
        }
        page.put(format_args!("<div class=\"charts\">\n"));
        for (number, name) in names.into_iter().enumerate() {
            put_metric(page, &format!("metric-{number}-{place}"), panel, name);
        }
        page.put(format_args!("</div>\n"));
    });
}

/// The metrics that any run of a panel has.
fn names<'a>(panel: &Panel<'a>) -> BTreeSet<&'a str> {
    let timelines = panel.members.iter().map(|(shown, _)| &shown.run.timeline);
    timelines
        .flatten()
        .flat_map(|interval| interval.metrics.keys().map(String::as_str))
        .collect()
}

/// Of a counter how often in each slice; of others, the mean and the maximum of a lone run, and the
/// mean of each of several.
fn put_metric(page: &mut Page, id: &str, panel: &Panel<'_>, name: &str) {
    let metric = Metric::of(name);
    let line = |shown: &Shown<'_>, style, label: &str, pick: fn(&Told) -> f64| Line {
        name: label.to_owned(),
        style,
        points: points(shown.run, name)
            .map(|(at_s, told)| {
                // What was not counted did not happen.
                let told = told.or(metric.counts.then(Told::default));
                (at_s, told.map(|told| metric.shown(pick(&told))))
            })
            .collect(),
        failed: shown.failed(),
    };
    let pick: fn(&Told) -> f64 = if metric.counts {
        |told| float(told.count)
    } else {
        |told| told.mean
    };
    let lines: Vec<Line> = match panel.members.as_slice() {
        [(shown, _)] if !metric.counts => vec![
            line(shown, Style(0), "mean", |told| told.mean),
            line(shown, Style(2), "maximum", |told| told.max),
        ],
        members => members
            .iter()
            .map(|(shown, style)| line(shown, *style, &shown.name, pick))
            .filter(|line| line.points.iter().any(|(_, value)| value.is_some()))
            .collect(),
    };
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().map(|(at_s, _)| *at_s).fold(0.0, f64::max);
    let most = points().filter_map(|(_, value)| *value).fold(0.0, f64::max);
    let what = if metric.counts || panel.members.len() == 1 {
        ""
    } else {
        ": mean"
    };
    let described = panel.members.iter().map(|(shown, _)| {
        let told = shown.run.timeline.iter();
        let told = told.filter_map(|interval| interval.metrics.get(name));
        match told.copied().reduce(both) {
            Some(told) if metric.counts => format!("{}: {} in all", shown.name, told.count),
            Some(told) => format!("{}: {} at most", shown.name, metric.named(told.max)),
            None => format!("{}: not told", shown.name),
        }
    });
    let chart = Chart {
        id: id.to_owned(),
        title: format!("{}{what} ({name})", metric.title),
        description: described.collect::<Vec<_>>().join(". "),
        x: Axis::until("seconds of the window", end, short),
        y: Axis::linear(metric.axis, most, metric.tick),
        lines,
        marks: Marks::Some,
    };
    chart.put(page);
}

/// A run's slices, and what was told in each; several slices in one where there are too many.
fn points<'a>(run: &'a RunResult, name: &'a str) -> impl Iterator<Item = (f64, Option<Told>)> + 'a {
    let usable = |at_s: f64| at_s.is_finite() && at_s >= 0.0;
    let timeline: Vec<_> = (run.timeline.iter())
        .filter(|interval| usable(interval.at_s))
        .collect();
    let together = timeline.len().div_ceil(MOST_POINTS).max(1);
    let starts = (0..timeline.len()).step_by(together);
    starts.map(move |start| {
        let slices = timeline[start..].iter().take(together);
        let told = slices.filter_map(|interval| interval.metrics.get(name).copied());
        (timeline[start].at_s, told.reduce(both))
    })
}

fn both(one: Told, other: Told) -> Told {
    let count = one.count.saturating_add(other.count);
    let part = |told: Told| told.mean * float(told.count) / float(count.max(1));
    Told {
        count,
        mean: part(one) + part(other),
        max: one.max.max(other.max),
    }
}

/// How a metric is shown. The end of its name is its unit, as exporters want it.
#[derive(Debug)]
struct Metric {
    title: String,
    axis: &'static str,
    tick: fn(f64) -> String,
    /// How many of the shown unit the metric's own is.
    factor: f64,
    /// Whether it is a counter: how often counts, not what.
    counts: bool,
}

impl Metric {
    fn of(name: &str) -> Self {
        let name = name.split('{').next().unwrap_or(name);
        let counted = name.strip_suffix("_total");
        let (words, axis, tick, factor): (_, _, fn(f64) -> String, _) = if let Some(words) = counted
        {
            (words, "number in a slice", short, 1.0)
        } else if let Some(words) = name.strip_suffix("_seconds") {
            (words, "time", micros, 1e6)
        } else if let Some(words) = name.strip_suffix("_bytes") {
            (words, "MiB", short, 1.0 / MIB)
        } else {
            (name, "number", short, 1.0)
        };
        let words = words.strip_prefix("roas_db_").unwrap_or(words);
        let mut title = words.replace('_', " ").replace("wal", "WAL");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self {
            title,
            axis,
            tick,
            factor,
            counts: counted.is_some(),
        }
    }

    /// A value in the shown unit. Where it makes no sense, it is drawn at the bottom.
    fn shown(&self, value: f64) -> f64 {
        if value.is_finite() {
            (value * self.factor).max(0.0)
        } else {
            0.0
        }
    }

    fn named(&self, value: f64) -> String {
        let unit = if self.axis == "MiB" { "\u{a0}MiB" } else { "" };
        format!("{}{unit}", (self.tick)(self.shown(value)))
    }
}
