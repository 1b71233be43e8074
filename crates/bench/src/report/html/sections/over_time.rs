//! Latency, throughput and the size of the WAL over the measured window.

use crate::result::{Interval, RunResult, WalSizes};

use super::super::charts::{Axis, Chart, Line, Marks, Style};
use super::super::format::{bytes, float, length, micros, rate, seconds, short};
use super::super::markup::Page;
use super::super::shown::{Panel, Shown};
use super::{listed, put_panels};

/// Slices in a chart, at most: more are thinner than a line.
const MOST_SLICES: usize = 120;
/// Throughputs that differ by more than this share no linear axis.
const MOST_APART: f64 = 8.0;

/// A slice of a chart: one or more intervals of the timeline.
#[derive(Debug, Clone, Copy)]
struct Slice {
    at_s: f64,
    ops_per_s: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// A run's slices. Those of a panel come in the order of its members.
type Slices = Vec<Slice>;

/// Writes each panel's charts, all on the same axes but for throughput.
pub(in super::super) fn put(page: &mut Page, panels: &[Panel<'_>]) {
    let drawn: Vec<Vec<Slices>> = panels
        .iter()
        .map(|panel| {
            panel
                .members
                .iter()
                .map(|(shown, _)| slices(shown.run))
                .collect()
        })
        .collect();
    let all = || drawn.iter().flatten().flatten();
    if all().next().is_none() {
        page.paragraph("No run came with a timeline, so there is nothing to draw over time.");
        return;
    }
    let end = all().map(|slice| slice.at_s).fold(0.0, f64::max);
    let latencies = || {
        all()
            .flat_map(|slice| [slice.p50, slice.p99, slice.max])
            .flatten()
    };
    let low = latencies().fold(f64::INFINITY, f64::min);
    let high = latencies().fold(0.0, f64::max);
    page.paragraph(
        "Each point is a slice of the measured window. An even line is a steady run; a peak in the \
         maximum is a stall, and so is a gap in a latency, where no call ended.",
    );
    put_panels(page, panels, &|page, place, panel| {
        let slices = &drawn[place];
        if slices.iter().all(Vec::is_empty) {
            page.paragraph("None of these runs has a timeline.");
            return;
        }
        page.put(format_args!("<div class=\"charts\">\n"));
        put_throughput(page, place, panel, slices, end);
        if high > 0.0 {
            for (part, title, lines) in latency_charts(panel, slices) {
                let chart = Chart {
                    id: format!("latency-{part}-{place}"),
                    title,
                    description: described(panel, |shown| {
                        let latency = &shown.run.latency_us;
                        format!(
                            "maximum of the run {}",
                            super::super::format::latency(latency.max)
                        )
                    }),
                    x: Axis::until("seconds of the window", end, short),
                    y: Axis::log("latency, logarithmic", low, high, micros),
                    lines,
                    marks: Marks::Some,
                };
                chart.put(page);
            }
        }
        put_wal(page, place, panel);
        page.put(format_args!("</div>\n"));
        if high <= 0.0 {
            page.paragraph("The timelines have too few calls in a slice to show latencies.");
        }
    });
    put_missing(page, panels, &drawn);
}

fn put_throughput(page: &mut Page, place: usize, panel: &Panel<'_>, slices: &[Slices], end: f64) {
    let means: Vec<f64> = (panel.members.iter().zip(slices))
        .filter(|(_, slices)| !slices.is_empty())
        .map(|((shown, _), _)| shown.run.ops_per_s)
        .filter(|mean| *mean > 0.0)
        .collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(0.0, f64::max);
    let peak = (slices.iter().flatten())
        .map(|slice| slice.ops_per_s)
        .fold(0.0, f64::max);
    let apart = most > least * MOST_APART;
    let y = if apart {
        // A slice that is a tenth of the slowest run's mean is drawn at the bottom, with the zeros.
        Axis::log(
            "operations/s, logarithmic; 0 at the bottom",
            least / 10.0,
            peak,
            short,
        )
    } else {
        Axis::linear("operations/s", peak, short)
    };
    let chart = Chart {
        id: format!("throughput-{place}"),
        title: "Throughput over time".to_owned(),
        description: described(panel, |shown| {
            format!(
                "{} operations a second on average",
                rate(shown.run.ops_per_s)
            )
        }),
        x: Axis::until("seconds of the window", end, short),
        y,
        lines: lines(panel, slices, |slice| Some(slice.ops_per_s)),
        marks: Marks::Some,
    };
    chart.put(page);
}

/// How large the WAL was, of the runs that know.
fn put_wal(page: &mut Page, place: usize, panel: &Panel<'_>) {
    let lines: Vec<Line> = (panel.members.iter())
        .filter_map(|(shown, style)| {
            let points = wal_sizes(shown.run.wal.as_ref()?);
            (!points.is_empty()).then(|| Line {
                name: shown.name.clone(),
                style: *style,
                points,
                failed: shown.failed(),
            })
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return;
    }
    // A WAL is looked at until the last caller has its answer, and then once more.
    let end = points().map(|(at_s, _)| *at_s).fold(0.0, f64::max);
    let peak = points().filter_map(|(_, mib)| *mib).fold(0.0, f64::max);
    let chart = Chart {
        id: format!("wal-{place}"),
        title: "Size of the WAL over time".to_owned(),
        description: described(panel, |shown| {
            let sizes = shown.run.wal.iter().flat_map(|wal| &wal.bytes);
            sizes.max().map_or_else(
                || "the size of the WAL is not known".to_owned(),
                |most| format!("{} at most", bytes(*most)),
            )
        }),
        x: Axis::until("seconds from the start of the window", end, short),
        y: Axis::linear("MiB", peak, short),
        lines,
        marks: Marks::Some,
    };
    chart.put(page);
}

/// Seconds and MiB. In at most [`MOST_SLICES`] slices, of which the largest size is shown.
fn wal_sizes(wal: &WalSizes) -> Vec<(f64, Option<f64>)> {
    const MIB: f64 = 1_048_576.0;
    let together = wal.bytes.len().div_ceil(MOST_SLICES).max(1);
    let chunks = wal.bytes.chunks(together).enumerate();
    chunks
        .map(|(place, sizes)| {
            let at_s = length(place * together) * float(wal.tick_ms) / 1_000.0;
            let most = sizes.iter().max().map(|most| float(*most) / MIB);
            (at_s, most)
        })
        .collect()
}

/// One chart of three lines for a lone run, three charts of one line a run for several.
fn latency_charts(panel: &Panel<'_>, slices: &[Slices]) -> Vec<(&'static str, String, Vec<Line>)> {
    type Pick = fn(&Slice) -> Option<f64>;
    let picks: [(&str, &str, Pick); 3] = [
        ("p50", "p50", |slice| slice.p50),
        ("p99", "p99", |slice| slice.p99),
        ("max", "maximum", |slice| slice.max),
    ];
    if let ([(shown, _)], [slices]) = (panel.members.as_slice(), slices) {
        let lines = picks
            .into_iter()
            .enumerate()
            .map(|(place, (_, name, pick))| Line {
                name: name.to_owned(),
                style: Style(place),
                points: slices
                    .iter()
                    .map(|slice| (slice.at_s, pick(slice)))
                    .collect(),
                failed: shown.failed(),
            });
        return vec![("all", "Latency over time".to_owned(), lines.collect())];
    }
    let charts = picks.into_iter().map(|(part, name, pick)| {
        let title = format!("Latency over time: {name}");
        (part, title, lines(panel, slices, pick))
    });
    charts.collect()
}

fn lines(panel: &Panel<'_>, slices: &[Slices], pick: impl Fn(&Slice) -> Option<f64>) -> Vec<Line> {
    let members = panel.members.iter().zip(slices);
    members
        .filter(|(_, slices)| !slices.is_empty())
        .map(|((shown, style), slices)| Line {
            name: shown.name.clone(),
            style: *style,
            points: slices
                .iter()
                .map(|slice| (slice.at_s, pick(slice)))
                .collect(),
            failed: shown.failed(),
        })
        .collect()
}

fn described(panel: &Panel<'_>, figure: impl Fn(&Shown<'_>) -> String) -> String {
    let members = panel.members.iter();
    let runs = members.map(|(shown, _)| {
        let window = seconds(shown.run.duration_s);
        format!("{}: {}, window {window}", shown.name, figure(shown))
    });
    runs.collect::<Vec<_>>().join(". ")
}

fn put_missing(page: &mut Page, panels: &[Panel<'_>], drawn: &[Vec<Slices>]) {
    let mut missing = Vec::new();
    for (panel, slices) in panels.iter().zip(drawn) {
        for ((shown, _), slices) in panel.members.iter().zip(slices) {
            if slices.is_empty() {
                missing.push(shown.name.as_str());
            }
        }
    }
    if !missing.is_empty() {
        page.paragraph(&format!("No timeline came with {}.", listed(&missing)));
    }
}

/// A run's timeline in at most [`MOST_SLICES`] slices. Of the intervals in a slice, the median's
/// mean is shown, and of the others the worst.
fn slices(run: &RunResult) -> Slices {
    let timeline: Vec<(&Interval, f64)> = (run.timeline.iter().enumerate())
        .filter(|(_, interval)| interval.at_s.is_finite() && interval.at_s >= 0.0)
        .map(|(place, interval)| (interval, seconds_of(run, place)))
        .collect();
    let together = timeline.len().div_ceil(MOST_SLICES).max(1);
    let chunks = timeline.chunks(together);
    chunks
        .map(|chunk| {
            let ops = chunk.iter().map(|(interval, _)| interval.ops).sum::<u64>();
            let seconds = chunk.iter().map(|(_, seconds)| seconds).sum::<f64>();
            let worst = |pick: fn(&Interval) -> Option<u64>| {
                let values = chunk.iter().filter_map(|(interval, _)| pick(interval));
                values.max().map(|value| float(value).max(1.0))
            };
            let medians: Vec<f64> = (chunk.iter())
                .filter_map(|(interval, _)| interval.p50_us.map(float))
                .collect();
            let mean = medians.iter().sum::<f64>() / length(medians.len());
            Slice {
                at_s: chunk[0].0.at_s,
                ops_per_s: if seconds > 0.0 {
                    float(ops) / seconds
                } else {
                    0.0
                },
                p50: mean.is_finite().then_some(mean.max(1.0)),
                p99: worst(|interval| interval.p99_us),
                max: worst(|interval| interval.max_us),
            }
        })
        .collect()
}

/// How long an interval is: to the next, or to the end of the window.
fn seconds_of(run: &RunResult, place: usize) -> f64 {
    let at = run.timeline[place].at_s;
    match run.timeline.get(place + 1) {
        Some(next) => next.at_s - at,
        None => run.duration_s - at,
    }
}
