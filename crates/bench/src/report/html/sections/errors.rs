//! Error rates by kind.

use std::collections::BTreeMap;

use super::super::format::{count, float, percent};
use super::super::markup::{Page, Text};
use super::super::shown::Shown;
use super::{close_table, figure, listed, open_row, open_table};

/// Writes a row for each run and kind of error, with a bar on a common scale.
pub(in super::super) fn put(page: &mut Page, shown: &[Shown<'_>]) {
    if shown.is_empty() {
        page.paragraph("There are no runs, and so no errors.");
        return;
    }
    let rows: Vec<Row<'_>> = shown.iter().flat_map(rows).collect();
    if rows.is_empty() {
        page.paragraph("No call failed in any run.");
        return;
    }
    let most = rows.iter().map(|row| row.share).fold(0.0, f64::max);
    page.paragraph("Failed calls as a share of all calls, over all runs of a setting.");
    open_table(
        page,
        "Error rates by kind",
        &["run", "kind", "#failed", "#share", "share, on one scale"],
    );
    for row in &rows {
        open_row(page, row.shown);
        page.put(format_args!("<td>{}</td>", Text(row.kind)));
        figure(page, &count(row.failed));
        figure(page, &percent(row.share));
        let width = if most > 0.0 {
            row.share / most * 100.0
        } else {
            0.0
        };
        page.put(format_args!(
            "<td><span class=\"bar\"><span style=\"width:{width:.1}%\"></span></span></td></tr>\n"
        ));
    }
    close_table(page);
    let clean: Vec<&str> = (shown.iter())
        .filter(|shown| shown.figures().errors == 0)
        .map(|shown| shown.name.as_str())
        .collect();
    if !clean.is_empty() {
        page.paragraph(&format!("No call failed in {}.", listed(&clean)));
    }
}

struct Row<'a> {
    shown: &'a Shown<'a>,
    kind: &'a str,
    failed: u64,
    share: f64,
}

fn rows<'a>(shown: &'a Shown<'a>) -> Vec<Row<'a>> {
    let mut kinds = BTreeMap::<&str, u64>::new();
    let mut calls = 0_u64;
    for run in &shown.all {
        calls = calls.saturating_add(run.ops);
        for (kind, failed) in &run.errors {
            calls = calls.saturating_add(*failed);
            *kinds.entry(kind).or_default() += failed;
        }
    }
    let kinds = kinds.into_iter().filter(|(_, failed)| *failed > 0);
    kinds
        .map(|(kind, failed)| Row {
            shown,
            kind,
            failed,
            share: float(failed) / float(calls),
        })
        .collect()
}
