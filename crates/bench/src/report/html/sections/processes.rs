//! How evenly several processes on one file were served.

use super::super::format::{bytes, count, number_of, rate, significant};
use super::super::markup::{Page, Text};
use super::super::shown::Shown;
use super::{close_table, figure, open_row, open_table};

/// Processes of a run that get a row each, at most.
const MOST_ROWS: usize = 64;
/// A process that is not served for longer than this was left out.
const LONG_GAP_MS: u64 = 1_000;

/// Writes an overview of the runs with several processes, and each process's part below it.
pub(in super::super) fn put(page: &mut Page, shown: &[Shown<'_>]) {
    let several: Vec<&Shown<'_>> = (shown.iter())
        .filter(|shown| shown.run.processes > 1 || shown.run.per_process.len() > 1)
        .collect();
    if several.is_empty() {
        page.paragraph("No run had more than one process, so there is no fairness to show.");
        return;
    }
    page.paragraph(
        "Fairness is Jain's index of the processes' throughput: 1 where all got the same, 1/n where \
         one of n got everything. The longest gap is the longest time in which a process saw no \
         call succeed.",
    );
    open_table(
        page,
        "Fairness between processes",
        &[
            "run",
            "#processes",
            "#fairness",
            "#slowest",
            "#fastest",
            "#longest gap",
        ],
    );
    for shown in &several {
        put_overview(page, shown);
    }
    close_table(page);
    for shown in several {
        put_processes(page, shown);
    }
}

fn put_overview(page: &mut Page, shown: &Shown<'_>) {
    open_row(page, shown);
    let parts = &shown.run.per_process;
    figure(page, &count(shown.run.processes.into()));
    let fairness = shown.run.fairness.filter(|index| index.is_finite());
    figure(
        page,
        &fairness.map_or_else(|| "–".to_owned(), |index| format!("{index:.3}")),
    );
    if parts.is_empty() {
        page.put(format_args!(
            "<td colspan=\"3\">no figures by process came with this run</td></tr>\n"
        ));
        return;
    }
    let speeds = || parts.iter().map(|part| part.ops_per_s);
    figure(
        page,
        &format!("{}/s", rate(speeds().fold(f64::INFINITY, f64::min))),
    );
    figure(page, &format!("{}/s", rate(speeds().fold(0.0, f64::max))));
    let gap = parts
        .iter()
        .map(|part| part.longest_gap_ms)
        .max()
        .unwrap_or(0);
    put_gap(page, gap);
    page.put(format_args!("</tr>\n"));
}

fn put_gap(page: &mut Page, gap_ms: u64) {
    let class = if gap_ms >= LONG_GAP_MS { " bad" } else { "" };
    page.put(format_args!(
        "<td class=\"figure{class}\">{}\u{a0}ms</td>",
        count(gap_ms)
    ));
}

fn put_processes(page: &mut Page, shown: &Shown<'_>) {
    let parts = &shown.run.per_process;
    if parts.is_empty() {
        return;
    }
    page.put(format_args!(
        "<details>\n<summary>{}, process by process</summary>\n",
        Text(&shown.name)
    ));
    open_table(
        page,
        &format!("Processes of {}", shown.name),
        &[
            "process",
            "#ops/s",
            "share of the fastest",
            "#errors",
            "#longest gap",
            "#processor time",
            "#memory, at most",
        ],
    );
    let fastest = parts.iter().map(|part| part.ops_per_s).fold(0.0, f64::max);
    for (place, part) in parts.iter().take(MOST_ROWS).enumerate() {
        page.put(format_args!("<tr><th scope=\"row\">{}</th>", place + 1));
        figure(page, &rate(part.ops_per_s));
        let share = if fastest > 0.0 {
            part.ops_per_s / fastest * 100.0
        } else {
            0.0
        };
        page.put(format_args!(
            "<td><span class=\"bar\"><span style=\"width:{share:.1}%\"></span></span></td>"
        ));
        figure(page, &count(part.errors));
        put_gap(page, part.longest_gap_ms);
        figure(page, &format!("{}\u{a0}s", significant(part.cpu_s)));
        figure(page, &bytes(part.max_rss_bytes));
        page.put(format_args!("</tr>\n"));
    }
    close_table(page);
    if parts.len() > MOST_ROWS {
        let more = u64::try_from(parts.len() - MOST_ROWS).unwrap_or(u64::MAX);
        page.paragraph(&format!(
            "And {}.",
            number_of(more, "more process", "more processes")
        ));
    }
    page.put(format_args!("</details>\n"));
}
