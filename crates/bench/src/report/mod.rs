//! Results for people to read, and for programs.

mod chart;
mod markdown;
mod page;
mod text;

use serde::Deserialize;

use crate::engine::Read;
use crate::result::{CompareResult, CompareRow, FORMAT, RunResult};

pub use markdown::{compare_markdown, run_markdown};
pub use page::render;
pub use text::{compare_text, run_text, saved_text};

/// A file of results.
#[derive(Debug, Clone)]
pub enum Saved {
    /// Of `roas-bench run`.
    Run(Box<RunResult>),
    /// Of `roas-bench compare` or `gate`.
    Compare(Box<CompareResult>),
}

impl Saved {
    /// Reads what `--json` or `--save` wrote.
    ///
    /// # Errors
    ///
    /// Says what the text is not.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
            rows: Option<serde_json::Value>,
        }
        let header: Header = serde_json::from_str(text)
            .map_err(|error| format!("not a result of roas-bench: {error}"))?;
        if header.format != FORMAT {
            let found = header.format;
            return Err(format!(
                "format {found} is not known; this program reads {FORMAT}"
            ));
        }
        let read = if header.rows.is_some() {
            serde_json::from_str(text).map(|result| Self::Compare(Box::new(result)))
        } else {
            serde_json::from_str(text).map(|result| Self::Run(Box::new(result)))
        };
        read.map_err(|error| format!("not a result of roas-bench: {error}"))
    }

    /// Label and throughput of each of its settings.
    #[must_use]
    pub fn throughput(&self) -> Vec<(String, f64)> {
        match self {
            Self::Run(run) => vec![(run.label.clone(), run.ops_per_s)],
            Self::Compare(compare) => {
                let rows = compare.rows.iter();
                rows.map(|row| (row.label.clone(), row.ops_per_s_median))
                    .collect()
            }
        }
    }
}

/// A duration for people: `950 us`, `1.50 ms`, `2.35 s`; a dash where there is none.
fn duration(us: Option<u64>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
    let value = |us: u64, divisor: f64| us as f64 / divisor;
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1_000 => format!("{us} us"),
        Some(us) if us < 1_000_000 => format!("{:.2} ms", value(us, 1e3)),
        Some(us) => format!("{:.2} s", value(us, 1e6)),
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The reads of a row by kind, with p50, p99 and the greatest latency; none where nobody read.
fn reads(row: &CompareRow) -> Vec<(&'static str, [Option<u64>; 3])> {
    let kinds = Read::KINDS.into_iter();
    kinds
        .filter_map(|kind| Some((kind, row.reads(kind)?)))
        .collect()
}

/// A rate with its thousands apart, without decimals from 100 on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are neither negative nor near 2^64"
)]
fn rate(per_s: f64) -> String {
    if per_s < 100.0 {
        format!("{per_s:.1}")
    } else {
        thousands(per_s.round() as u64)
    }
}

/// Bytes for people.
fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
    let mib = bytes as f64 / 1_048_576.0;
    format!("{mib:.1} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(rate(12.34), "12.3");
        assert_eq!(rate(98_765.4), "98,765");
        assert_eq!(duration(None), "-");
        assert_eq!(duration(Some(950)), "950 us");
        assert_eq!(duration(Some(1_500)), "1.50 ms");
        assert_eq!(duration(Some(2_345_000)), "2.35 s");
    }

    #[test]
    fn other_files_are_refused() {
        for (text, says) in [
            ("", "not a result"),
            ("{}", "not a result"),
            ("{\"format\": 2}", "format 2"),
            ("{\"format\": 1}", "not a result"),
            ("{\"format\": 1, \"rows\": 3}", "not a result"),
        ] {
            let error = Saved::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
