//! The parts of the page, one a file.

pub(super) mod comparison;
pub(super) mod details;
pub(super) mod environment;
pub(super) mod errors;
pub(super) mod metrics;
pub(super) mod over_time;
pub(super) mod percentiles;
pub(super) mod processes;
pub(super) mod scaling;
pub(super) mod summary;

use super::markup::{Page, Text};
use super::shown::{Panel, Shown};

/// A cell that says whether the check passed.
const VERIFIED: &str = "<span class=\"good\">✓ verified</span>";
/// The same, for a run whose figures do not count.
const NOT_VERIFIED: &str = "<strong class=\"bad\">✗ not verified</strong>";

/// The words for whether the check passed.
fn check(failed: bool) -> &'static str {
    if failed { NOT_VERIFIED } else { VERIFIED }
}

/// The class of a row of a table.
fn row_class(failed: bool) -> &'static str {
    if failed { " class=\"failed\"" } else { "" }
}

/// Opens a table in a box that scrolls by itself. Columns that begin with `#` hold figures.
fn open_table(page: &mut Page, name: &str, columns: &[&str]) {
    page.put(format_args!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">\n\
         <table>\n<thead>\n<tr>",
        name = Text(name)
    ));
    for column in columns {
        let (class, column) = match column.strip_prefix('#') {
            Some(column) => (" class=\"figure\"", column),
            None => ("", *column),
        };
        page.put(format_args!(
            "<th scope=\"col\"{class}>{}</th>",
            Text(column)
        ));
    }
    page.put(format_args!("</tr>\n</thead>\n<tbody>\n"));
}

fn close_table(page: &mut Page) {
    page.put(format_args!("</tbody>\n</table>\n</div>\n"));
}

/// A cell with a figure, which is already text of our own.
fn figure(page: &mut Page, text: &str) {
    page.put(format_args!("<td class=\"figure\">{}</td>", Text(text)));
}

/// Opens a row with the name of a run, marked where its check failed.
fn open_row(page: &mut Page, shown: &Shown<'_>) {
    let failed = shown.failed();
    let mark = if failed {
        "<br/><strong class=\"bad\">✗ not verified</strong>"
    } else {
        ""
    };
    page.put(format_args!(
        "<tr{}><th scope=\"row\">{}{mark}</th>",
        row_class(failed),
        Text(&shown.name)
    ));
}

/// Writes each panel's charts: by themselves where there is one panel, under headings to open
/// where there are more.
fn put_panels(page: &mut Page, panels: &[Panel<'_>], put: &dyn Fn(&mut Page, usize, &Panel<'_>)) {
    for (place, panel) in panels.iter().enumerate() {
        if panel.heading.is_empty() {
            put(page, place, panel);
            continue;
        }
        let open = if place == 0 { " open=\"open\"" } else { "" };
        page.put(format_args!(
            "<details{open}>\n<summary>{}</summary>\n",
            Text(&panel.heading)
        ));
        put(page, place, panel);
        page.put(format_args!("</details>\n"));
    }
}

/// Names in a sentence: `a, b and c`, and how many more where there are many.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 6;
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] if names.len() <= MOST => format!("{} and {last}", most.join(", ")),
        names => format!(
            "{} and {} more",
            names[..MOST].join(", "),
            names.len() - MOST
        ),
    }
}
