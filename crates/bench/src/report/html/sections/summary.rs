//! Whether the figures may be believed, and the figures that matter most.

use crate::result::RunResult;

use super::super::format::{count, float, latency, number_of, percent, rate, seconds};
use super::super::markup::{Page, Text};
use super::super::shown::{Shown, failed, load};
use super::{check, listed};

/// Cards on the page, at most. More are a table, and there is one.
const MOST_CARDS: usize = 12;
/// How latency counts in an open loop.
const OPEN: &str = "Calls were due at a fixed rate (open loop), and latency counts from when a call \
    was due, so that a stall shows in full.";
/// How latency counts in a closed loop.
const CLOSED: &str = "Each task waited for its answer before its next call (closed loop): throughput \
    is the most that so many tasks reach, and a stall delays few calls, so that percentiles hide it; \
    look at the maximum.";

/// Writes the verdict over all runs.
pub(in super::super) fn put_verdict(page: &mut Page, shown: &[Shown<'_>]) {
    let all = shown.iter().map(|shown| shown.all.len()).sum::<usize>();
    let bad: Vec<&Shown<'_>> = shown.iter().filter(|shown| shown.failed()).collect();
    if shown.is_empty() {
        page.paragraph("There are no runs in this report.");
    } else if bad.is_empty() {
        let runs = number_of(u64::try_from(all).unwrap_or(u64::MAX), "run", "runs");
        page.put(format_args!(
            "<p class=\"verdict\"><span class=\"good\">✓ {} verified.</span> After each run the \
             database held exactly what was acknowledged, was intact, and had one row for each \
             member.</p>\n",
            Text(&runs)
        ));
    } else {
        let bad_runs = (bad.iter())
            .map(|shown| shown.all.iter().filter(|run| failed(run)).count().max(1))
            .sum::<usize>();
        page.put(format_args!(
            "<div class=\"alarm\" role=\"alert\">\n<p><strong>✗ {bad_runs} of {all} runs did not \
             pass the check after the run. Their figures do not count.</strong></p>\n<ul>\n"
        ));
        for shown in bad {
            page.put(format_args!(
                "<li><strong>{}</strong>: {}</li>\n",
                Text(&shown.name),
                Text(&problems(shown))
            ));
        }
        page.put(format_args!("</ul>\n</div>\n"));
    }
}

/// What is wrong with a run, in words.
fn problems(shown: &Shown<'_>) -> String {
    let mut problems = Vec::<String>::new();
    for run in &shown.all {
        let check = &run.verification;
        let before = problems.len();
        problems.extend(check.problems.iter().cloned());
        if failed(run) && problems.len() == before {
            problems.push(format!(
                "{} acknowledged, {} counted, integrity check: {}",
                count(check.acknowledged),
                count(check.counted),
                check.integrity
            ));
        }
    }
    problems.dedup();
    if problems.is_empty() {
        "the comparison says so and does not say why".to_owned()
    } else {
        problems.join("; ")
    }
}

/// Writes a card for each run; where there are too many, for those given by themselves, and for the
/// fastest of the comparisons that passed its check.
pub(in super::super) fn put(page: &mut Page, shown: &[Shown<'_>], runs: &[RunResult]) {
    if shown.is_empty() {
        page.paragraph("Nothing to show.");
        return;
    }
    put_loop(page, shown);
    let cards: Vec<&Shown<'_>> = if shown.len() <= MOST_CARDS {
        shown.iter().collect()
    } else {
        // Those given by themselves come first.
        let (single, rows) = shown.split_at(runs.len());
        let fastest = (rows.iter().filter(|row| !row.failed()))
            .max_by(|a, b| a.figures().ops_per_s.total_cmp(&b.figures().ops_per_s));
        single.iter().take(MOST_CARDS).chain(fastest).collect()
    };
    page.put(format_args!("<div class=\"cards\">\n"));
    for shown in &cards {
        put_card(page, shown);
    }
    page.put(format_args!("</div>\n"));
    match shown.len() - cards.len() {
        0 => {}
        _ if cards.len() > runs.len() => page.put(format_args!(
            "<p>The fastest of {} settings; all are in the \
             <a href=\"#comparison\">comparison</a>.</p>\n",
            shown.len() - runs.len()
        )),
        more => page.paragraph(&format!("And {more} more, in the charts below.")),
    }
}

/// Says how latency was counted: a closed loop hides stalls, and the reader has to know.
fn put_loop(page: &mut Page, shown: &[Shown<'_>]) {
    let named = |open: bool| -> Vec<&str> {
        let chosen = shown
            .iter()
            .filter(|shown| (shown.run.mode == "open") == open);
        chosen.map(|shown| shown.name.as_str()).collect()
    };
    let (open, closed) = (named(true), named(false));
    match (open.is_empty(), closed.is_empty()) {
        (true, _) => page.paragraph(CLOSED),
        (_, true) => page.paragraph(OPEN),
        _ => {
            page.paragraph(&format!("{}: {OPEN}", listed(&open)));
            page.paragraph(&format!("{}: {CLOSED}", listed(&closed)));
        }
    }
}

fn put_card(page: &mut Page, shown: &Shown<'_>) {
    let figures = shown.figures();
    let failed = shown.failed();
    let class = if failed { "card failed" } else { "card" };
    let run = shown.run;
    let repeats = match shown.all.len() {
        0 | 1 => String::new(),
        more => format!(", median of {more} runs"),
    };
    page.put(format_args!(
        "<article class=\"{class}\">\n<h3>{}</h3>\n<p class=\"check\">{}</p>\n\
         <p class=\"big\"><b>{}</b> ops/s</p>\n<dl>\n",
        Text(&shown.name),
        check(failed),
        Text(&rate(figures.ops_per_s)),
    ));
    let latencies = [
        ("p50", figures.p50),
        ("p99", figures.p99),
        ("max", figures.max),
    ];
    for (name, value) in latencies {
        page.put(format_args!(
            "<div><dt>{name}</dt><dd>{}</dd></div>\n",
            Text(&latency(value))
        ));
    }
    let ops = shown.all.iter().map(|run| run.ops).sum::<u64>();
    let errors = match figures.errors {
        0 => "0".to_owned(),
        errors => format!(
            "{} ({}), {} of them locks",
            count(errors),
            percent(float(errors) / float(ops.saturating_add(errors))),
            count(figures.lock_errors)
        ),
    };
    let class = if figures.errors == 0 {
        ""
    } else {
        " class=\"bad\""
    };
    page.put(format_args!(
        "<div class=\"whole\"><dt>errors</dt><dd{class}>{}</dd></div>\n</dl>\n\
         <p class=\"small\">{}, synchronous {}, {}{repeats}</p>\n</article>\n",
        Text(&errors),
        Text(&load(run)),
        Text(&run.synchronous),
        Text(&seconds(run.duration_s)),
    ));
}
