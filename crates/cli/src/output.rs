//! Stdout: one JSON object for programs, or text and tables for people. Nothing else writes there.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::error::CliError;

/// What a command answers: the same facts as JSON and as text.
pub(crate) trait Report: Serialize {
    /// The answer for people, of whole lines.
    fn text(&self, style: Style) -> String;
}

/// How tables look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether headings are emphasised: only on a terminal, and never where `NO_COLOR` is set.
    pub(crate) emphasis: bool,
}

/// Where a command's answer goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    style: Style,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            style: Style {
                emphasis: io::stdout().is_terminal() && !plain,
            },
        }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer.
    pub(crate) fn report(self, report: &impl Report) -> Result<(), CliError> {
        if self.json {
            Self::object(report)
        } else {
            write_stdout(&report.text(self.style))
        }
    }

    /// Prints an object for another program, whatever the format.
    pub(crate) fn object(object: &impl Serialize) -> Result<(), CliError> {
        let object = serde_json::to_string(object)
            .map_err(|error| CliError::Other(format!("cannot write JSON: {error}")))?;
        write_stdout(&format!("{object}\n"))
    }

    /// Prints lines for people alone, such as what comes next.
    pub(crate) fn say(self, text: &str) -> Result<(), CliError> {
        if self.json {
            Ok(())
        } else {
            write_stdout(text)
        }
    }
}

/// A reader that has seen enough (`roas … | head -1`) is no failure.
fn write_stdout(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Io {
            what: "cannot write to stdout".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// A column's heading, and to which side its cells go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    Left(&'static str),
    Right(&'static str),
}

/// A table of whole lines. It fits itself to the terminal's width; elsewhere it is as wide as it
/// needs to be.
pub(crate) fn table(
    style: Style,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|column| {
        let (Column::Left(heading) | Column::Right(heading)) = column;
        let cell = Cell::new(heading);
        if style.emphasis {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    }));
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in columns.iter().enumerate() {
        if let (Column::Right(_), Some(column)) = (column, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// Names and values below each other, the values aligned.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in facts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<width$}  {value}");
    }
    text
}

/// A whole number with its thousands apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in the unit that fits it.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Microseconds in the unit that fits them; a dash where there is no figure.
pub(crate) fn duration_us(us: Option<u64>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    match us {
        None => "–".to_owned(),
        Some(us @ 0..1_000) => format!("{us} µs"),
        Some(us @ 1_000..1_000_000) => format!("{:.2} ms", us as f64 / 1e3),
        Some(us) => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { emphasis: false };

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn durations_choose_their_unit() {
        assert_eq!(duration_us(None), "–");
        assert_eq!(duration_us(Some(999)), "999 µs");
        assert_eq!(duration_us(Some(1_500)), "1.50 ms");
        assert_eq!(duration_us(Some(2_000_000)), "2.00 s");
    }

    #[test]
    fn tables_align_wide_characters_and_carry_no_escapes() {
        let text = table(
            PLAIN,
            &[Column::Left("member"), Column::Right("score")],
            [
                vec!["小明".into(), "1.00".into()],
                vec!["Kai".into(), "100.00".into()],
            ],
        );
        assert_eq!(
            text,
            "┌────────┬────────┐\n\
             │ member ┆  score │\n\
             ╞════════╪════════╡\n\
             │ 小明   ┆   1.00 │\n\
             │ Kai    ┆ 100.00 │\n\
             └────────┴────────┘\n"
        );
    }

    #[test]
    fn facts_align_their_values() {
        assert_eq!(
            facts([("a", "1".into()), ("long", "2".into())]),
            "a     1\nlong  2\n"
        );
        assert_eq!(facts([]), "");
    }
}
