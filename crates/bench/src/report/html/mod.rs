//! Results as one self-contained HTML page: style and drawings are in it, it loads nothing.
//!
//! The page is made for a person who asks whether a setting is good enough: first whether the
//! figures may be believed at all, then the figures, then the charts behind them, then what is
//! needed to repeat them. It works on a phone, in the dark, without colour, and read aloud. The
//! same input always makes the same page.

mod charts;
mod format;
mod latencies;
mod markup;
mod sections;
mod shown;

#[cfg(test)]
mod tests;

use crate::result::{CompareResult, RunResult};

use markup::{Page, Text};
use sections::{
    comparison, details, environment, errors, metrics, over_time, percentiles, processes, scaling,
    summary,
};

/// The style sheet, which is put into the page.
const STYLE: &str = include_str!("style.css");

/// A part of the page: its id, its heading, and what writes it.
type Section<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Page));

/// Renders single runs and comparisons as one HTML page.
///
/// A run that did not pass its check is marked wherever it appears. Where a figure is missing (too
/// few samples, no timeline, one process), the page says so in a sentence.
#[must_use]
pub fn render(title: &str, runs: &[RunResult], comparisons: &[CompareResult]) -> String {
    let shown = shown::shown(runs, comparisons);
    let panels = shown::panels(&shown);
    let all: Vec<&RunResult> = (runs.iter())
        .chain(
            comparisons
                .iter()
                .flat_map(|comparison| &comparison.rows)
                .flat_map(|row| &row.runs),
        )
        .collect();
    let sections: [Section<'_>; 11] = [
        ("summary", "Summary", &|page| {
            summary::put(page, &shown, runs);
        }),
        ("comparison", "Comparison", &|page| {
            comparison::put(page, comparisons);
        }),
        ("percentiles", "Latency by percentile", &|page| {
            percentiles::put(page, &panels);
        }),
        ("over-time", "Over time", &|page| {
            over_time::put(page, &panels);
        }),
        ("metrics", "Metrics over time", &|page| {
            metrics::put(page, &panels);
        }),
        ("scaling", "Throughput by load", &|page| {
            scaling::put(page, &all);
        }),
        ("errors", "Errors", &|page| errors::put(page, &shown)),
        ("processes", "Processes", &|page| {
            processes::put(page, &shown);
        }),
        ("details", "Reads and engine", &|page| {
            details::put(page, &shown);
        }),
        ("environment", "Environment", &|page| {
            environment::put(page, &all);
        }),
        ("repeat", "Repeat it", &|page| {
            environment::put_commands(page, runs, comparisons);
        }),
    ];

    let mut page = Page::default();
    page.put(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n",
        title = Text(title)
    ));
    summary::put_verdict(&mut page, &shown);
    page.put(format_args!("<nav aria-label=\"Sections\">\n<ul>\n"));
    for (id, heading, _) in &sections {
        page.put(format_args!("<li><a href=\"#{id}\">{heading}</a></li>\n"));
    }
    page.put(format_args!("</ul>\n</nav>\n</header>\n<main>\n"));
    for (id, heading, put) in &sections {
        page.put(format_args!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n\
             <h2 id=\"{id}-heading\">{heading}</h2>\n"
        ));
        put(&mut page);
        page.put(format_args!("</section>\n"));
    }
    page.put(format_args!("</main>\n</body>\n</html>\n"));
    page.finish()
}
