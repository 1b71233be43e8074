//! Latency by percentile, from the saved histograms.

use super::super::charts::{Axis, Chart, Line, Marks};
use super::super::format::{latency, micros};
use super::super::latencies::by_percentile;
use super::super::markup::Page;
use super::super::shown::Panel;
use super::{listed, put_panels};

/// The lines of one panel.
type Lines = Vec<Line>;

/// Writes a chart for each panel, all on the same axes.
pub(in super::super) fn put(page: &mut Page, panels: &[Panel<'_>]) {
    let mut missing = Vec::new();
    let drawn: Vec<Lines> = panels
        .iter()
        .map(|panel| lines(panel, &mut missing))
        .collect();
    let points = || {
        let lines = drawn.iter().flatten();
        lines.flat_map(|line| line.points.iter().filter_map(|(x, y)| Some((*x, (*y)?))))
    };
    let widest = points().map(|(x, _)| x).fold(0.0, f64::max);
    let low = points().map(|(_, y)| y).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, y)| y).fold(0.0, f64::max);
    if widest > 0.0 {
        page.paragraph(
            "How long the slowest calls took: at 99.9 %, one call in 1,000 took longer. Lower and \
             flatter is better.",
        );
        put_panels(page, panels, &|page, place, panel| {
            if drawn[place].is_empty() {
                page.paragraph("None of these runs has latencies to draw.");
                return;
            }
            let chart = Chart {
                id: format!("percentiles-{place}"),
                title: "Latency by percentile".to_owned(),
                description: description(panel),
                x: Axis::percentiles("percentile of calls", widest),
                y: Axis::log("latency, logarithmic", low, high, micros),
                lines: drawn[place].clone(),
                marks: Marks::Some,
            };
            page.put(format_args!("<div class=\"charts\">\n"));
            chart.put(page);
            page.put(format_args!("</div>\n"));
        });
    }
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        page.paragraph(&format!(
            "No histogram that can be read came with {}.",
            listed(&names)
        ));
    } else if panels.is_empty() {
        page.paragraph("There are no latencies to draw.");
    }
}

fn lines(panel: &Panel<'_>, missing: &mut Vec<String>) -> Lines {
    let mut lines = Vec::new();
    for (shown, style) in &panel.members {
        match by_percentile(&shown.run.histogram) {
            Some(points) => lines.push(Line {
                name: shown.name.clone(),
                style: *style,
                points,
                failed: shown.failed(),
            }),
            None => missing.push(shown.name.clone()),
        }
    }
    lines
}

fn description(panel: &Panel<'_>) -> String {
    let runs = panel.members.iter().map(|(shown, _)| {
        let latencies = &shown.run.latency_us;
        format!(
            "{}: p50 {}, p99 {}, p99.9 {}, max {}",
            shown.name,
            latency(latencies.p50),
            latency(latencies.p99),
            latency(latencies.p999),
            latency(latencies.max)
        )
    });
    runs.collect::<Vec<_>>().join(". ")
}
