//! The comparisons: one table each, with the spread of the runs drawn in.

use crate::result::{CompareResult, CompareRow};

use super::super::format::{count, latency, rate, significant};
use super::super::markup::{Page, Text};
use super::super::shown::failed;
use super::{check, close_table, figure, open_table, row_class};

/// The drawing of a spread, in pixels.
const WIDTH: f64 = 130.0;
/// Room for a mark at either end.
const EDGE: f64 = 7.0;

/// Writes a table for each comparison.
pub(in super::super) fn put(page: &mut Page, comparisons: &[CompareResult]) {
    if comparisons.is_empty() {
        page.paragraph("These are single runs; there is no comparison in this report.");
        return;
    }
    for comparison in comparisons {
        page.put(format_args!("<h3>{}</h3>\n", Text(&comparison.title)));
        if comparison.rows.is_empty() {
            page.paragraph("This comparison has no rows.");
            continue;
        }
        let rounds = comparison.rows.iter().map(|row| row.runs.len());
        let (least, most) = (rounds.clone().min(), rounds.max());
        let rounds = match (least, most) {
            (Some(least), Some(most)) if least != most => format!("{least} to {most} runs"),
            (_, Some(1)) => "one run".to_owned(),
            (_, most) => format!("{} runs", most.unwrap_or(0)),
        };
        page.paragraph(&format!(
            "Each row is {rounds}, taken in turns with the other rows: median, then the least and \
             the greatest. Ratios are to {}. The maximum is over all runs.",
            comparison.reference
        ));
        put_table(page, comparison);
    }
}

fn put_table(page: &mut Page, comparison: &CompareResult) {
    open_table(
        page,
        &format!("Comparison: {}", comparison.title),
        &[
            "setting",
            "#ops/s [min–max]",
            "logarithmic",
            "#ratio",
            "#p50",
            "#p99",
            "#p99.9",
            "#max",
            "#errors",
            "#lock errors",
        ],
    );
    let scale = Scale::of(&comparison.rows);
    for row in &comparison.rows {
        let bad = !row.verified || row.runs.iter().any(failed);
        let reference = if row.label == comparison.reference {
            " <span class=\"tag\">reference</span>"
        } else {
            ""
        };
        page.put(format_args!(
            "<tr{}><th scope=\"row\">{}<br/>{}{reference}</th>",
            row_class(bad),
            Text(&row.label),
            check(bad),
        ));
        page.put(format_args!(
            "<td class=\"figure\"><b>{}</b><br/><span class=\"small\">[{}–{}]</span></td>",
            Text(&rate(row.ops_per_s_median)),
            Text(&rate(row.ops_per_s_min)),
            Text(&rate(row.ops_per_s_max)),
        ));
        put_spread(page, row, &scale);
        let ratio = row.ratio.filter(|ratio| ratio.is_finite());
        figure(
            page,
            &ratio.map_or_else(
                || "–".to_owned(),
                |ratio| format!("{}×", significant(ratio)),
            ),
        );
        for value in [
            row.p50_us_median,
            row.p99_us_median,
            row.p999_us_median,
            row.max_us,
        ] {
            figure(page, &latency(value));
        }
        for value in [row.errors, row.lock_errors] {
            let class = if value == 0 { "" } else { " bad" };
            page.put(format_args!(
                "<td class=\"figure{class}\">{}</td>",
                count(value)
            ));
        }
        page.put(format_args!("</tr>\n"));
    }
    close_table(page);
}

/// The scale that the spreads of a table share.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(rows: &[CompareRow]) -> Self {
        let values = || {
            let values = rows
                .iter()
                .flat_map(|row| [row.ops_per_s_min, row.ops_per_s_max]);
            values.filter(|value| value.is_finite() && *value > 0.0)
        };
        Self {
            low: values().fold(f64::INFINITY, f64::min),
            high: values().fold(0.0, f64::max),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.5
        };
        EDGE + share * (WIDTH - 2.0 * EDGE)
    }
}

fn put_spread(page: &mut Page, row: &CompareRow, scale: &Scale) {
    let values = [row.ops_per_s_min, row.ops_per_s_median, row.ops_per_s_max];
    if !values.iter().all(|value| value.is_finite() && *value > 0.0) {
        page.put(format_args!("<td>nothing to draw</td>"));
        return;
    }
    let [min, median, max] = values.map(|value| scale.x(value));
    // The figures stand in the cell before, so that the drawing is not read out.
    page.put(format_args!(
        "<td><svg class=\"spread\" viewBox=\"0 0 {WIDTH} 24\" aria-hidden=\"true\">\
         <path class=\"grid\" d=\"M0 12H{WIDTH}\"/>\
         <path class=\"range\" d=\"M{min:.1} 12H{max:.1}M{min:.1} 7V17M{max:.1} 7V17\"/>\
         <circle cx=\"{median:.1}\" cy=\"12\" r=\"5\"/></svg></td>"
    ));
}
