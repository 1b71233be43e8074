//! What readers beside the writers saw, and what the engine knows of itself.

use crate::result::Percentiles;

use super::super::format::{bytes, count, float, latency, micros, significant};
use super::super::markup::{Page, Text};
use super::super::shown::Shown;
use super::{close_table, figure, open_row, open_table};

/// Writes a table of the reads and one of the engines' own figures, where there are any.
pub(in super::super) fn put(page: &mut Page, shown: &[Shown<'_>]) {
    page.put(format_args!("<h3>Reads beside the writes</h3>\n"));
    put_reads(page, shown);
    page.put(format_args!("<h3>The engine</h3>\n"));
    put_engines(page, shown);
}

fn put_reads(page: &mut Page, shown: &[Shown<'_>]) {
    let reads: Vec<(&Shown<'_>, &str, &Percentiles)> = (shown.iter())
        .flat_map(|shown| {
            let kinds = shown.run.read_latency_us.iter().flatten();
            kinds.map(move |(kind, latency)| (shown, kind.as_str(), latency))
        })
        .collect();
    if reads.is_empty() {
        page.paragraph("No run had readers beside the writers.");
        return;
    }
    open_table(
        page,
        "Latencies of reads",
        &[
            "run", "read", "#reads", "#p50", "#p95", "#p99", "#p99.9", "#max",
        ],
    );
    for (shown, kind, read) in reads {
        open_row(page, shown);
        page.put(format_args!("<td>{}</td>", Text(kind)));
        figure(page, &count(read.samples));
        for value in [read.p50, read.p95, read.p99, read.p999, read.max] {
            figure(page, &latency(value));
        }
        page.put(format_args!("</tr>\n"));
    }
    close_table(page);
}

fn put_engines(page: &mut Page, shown: &[Shown<'_>]) {
    let known: Vec<_> = (shown.iter())
        .filter_map(|shown| Some((shown, shown.run.engine_stats.as_ref()?)))
        .collect();
    if known.is_empty() {
        page.paragraph("These engines tell nothing of themselves.");
        return;
    }
    page.paragraph(
        "Transactions, the operations that shared one, how often and how long the engine slept for \
         SQLite's lock, and how long the oldest operation of each transaction waited in its queue.",
    );
    open_table(
        page,
        "What the engines know of themselves",
        &[
            "run",
            "#transactions",
            "#ops each",
            "#lock waits",
            "#waited for locks",
            "#retries",
            "#queue p50",
            "#queue p99",
            "#queue max",
            "#WAL, at most",
        ],
    );
    for (shown, stats) in known {
        open_row(page, shown);
        // Of an engine that does not count, only the size of its WAL is known.
        let counts = stats.batches > 0;
        for known in [
            count(stats.batches),
            significant(stats.mean_batch),
            count(stats.lock_waits),
            micros(float(stats.lock_wait_us)),
            count(stats.retries),
        ] {
            figure(page, if counts { &known } else { "–" });
        }
        let queue = stats.queue_wait_us.as_ref();
        for pick in [
            |queue: &Percentiles| queue.p50,
            |queue: &Percentiles| queue.p99,
            |queue: &Percentiles| queue.max,
        ] {
            figure(page, &latency(queue.and_then(pick)));
        }
        figure(
            page,
            &stats.wal_bytes_max.map_or_else(|| "–".to_owned(), bytes),
        );
        page.put(format_args!("</tr>\n"));
    }
    close_table(page);
}
