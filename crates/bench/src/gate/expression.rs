//! Reading an expression: `p99<100ms`, `ratio(meter,baseline).ops_per_s>=1.5`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::compare::EngineSpec;

/// One threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// As it was written.
    pub text: String,
    /// Of whom.
    pub subject: Subject,
    /// Of what.
    pub metric: Metric,
    /// How it compares.
    pub operator: Operator,
    /// With what: microseconds for latencies, a share of 1 for rates of errors and success.
    pub threshold: f64,
}

/// Whose metric it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// That of the engine which the gate is about.
    Engine,
    /// The first's over the second's.
    Ratio(EngineSpec, EngineSpec),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The median latency.
    P50,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The greatest latency.
    Max,
    /// Failed operations over all.
    ErrorRate,
    /// Acknowledged operations over all.
    SuccessRate,
    /// Failed operations.
    Errors,
    /// Those that met a lock.
    LockErrors,
    /// Acknowledged operations a second.
    OpsPerS,
    /// Jain's index over the processes.
    Fairness,
    /// The longest time in which a process had nothing acknowledged.
    LongestGap,
}

/// How a figure compares with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
}

/// The text is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}`: {problem}")]
pub struct InvalidExpression {
    text: String,
    problem: String,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Time,
    Share,
    Plain,
}

const METRICS: [(&str, Metric); 12] = [
    ("p50", Metric::P50),
    ("p95", Metric::P95),
    ("p99", Metric::P99),
    ("p999", Metric::P999),
    ("max", Metric::Max),
    ("error_rate", Metric::ErrorRate),
    ("success_rate", Metric::SuccessRate),
    ("errors", Metric::Errors),
    ("lock_errors", Metric::LockErrors),
    ("ops_per_s", Metric::OpsPerS),
    ("fairness", Metric::Fairness),
    ("longest_gap", Metric::LongestGap),
];

// The longer ones first: `<` begins `<=` too.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Metric {
    const fn unit(self) -> Unit {
        match self {
            Self::P50 | Self::P95 | Self::P99 | Self::P999 | Self::Max | Self::LongestGap => {
                Unit::Time
            }
            Self::ErrorRate | Self::SuccessRate => Unit::Share,
            Self::Errors | Self::LockErrors | Self::OpsPerS | Self::Fairness => Unit::Plain,
        }
    }

    /// Whether it counts faults: then none against none is no fault.
    #[must_use]
    pub const fn counts_faults(self) -> bool {
        matches!(self, Self::ErrorRate | Self::Errors | Self::LockErrors)
    }

    /// A figure of this metric for people.
    #[must_use]
    pub fn shown(self, figure: f64) -> String {
        match self.unit() {
            Unit::Time if figure < 1e3 => format!("{figure:.0} us"),
            Unit::Time if figure < 1e6 => format!("{:.2} ms", figure / 1e3),
            Unit::Time => format!("{:.2} s", figure / 1e6),
            Unit::Share => format!("{:.4} %", figure * 100.0),
            Unit::Plain if self == Self::Fairness => format!("{figure:.3}"),
            Unit::Plain => format!("{figure:.0}"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = METRICS.iter().find(|(_, metric)| metric == self);
        f.write_str(name.map_or("?", |(name, _)| name))
    }
}

impl Operator {
    /// Whether `left` compares with `right` so.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "== means equal: it is for counts")]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl FromStr for Expression {
    type Err = InvalidExpression;

    fn from_str(text: &str) -> Result<Self, InvalidExpression> {
        let invalid = |problem: String| InvalidExpression {
            text: text.to_owned(),
            problem,
        };
        let compact: String = text.split_whitespace().collect();
        let at = compact
            .find(['<', '>', '='])
            .ok_or_else(|| invalid("expected <, <=, >, >= or ==".to_owned()))?;
        let (left, right) = compact.split_at(at);
        let (operator, right) = OPERATORS
            .into_iter()
            .find_map(|(sign, operator)| Some((operator, right.strip_prefix(sign)?)))
            .ok_or_else(|| invalid("expected <, <=, >, >= or ==".to_owned()))?;
        let (subject, name) = subject(left).map_err(invalid)?;
        let metric = METRICS.iter().find(|(metric, _)| *metric == name);
        let metric = metric.map(|(_, metric)| *metric).ok_or_else(|| {
            let known: Vec<_> = METRICS.iter().map(|(metric, _)| *metric).collect();
            invalid(format!(
                "there is no metric `{name}`; there are {}",
                known.join(", ")
            ))
        })?;
        let unit = match subject {
            Subject::Engine => metric.unit(),
            Subject::Ratio(..) => Unit::Plain,
        };
        let threshold = threshold(right, unit).map_err(invalid)?;
        Ok(Self {
            text: compact,
            subject,
            metric,
            operator,
            threshold,
        })
    }
}

/// `metric` or `ratio(a,b).metric`.
fn subject(left: &str) -> Result<(Subject, &str), String> {
    let Some(rest) = left.strip_prefix("ratio(") else {
        return Ok((Subject::Engine, left));
    };
    let expected = || "expected ratio(ENGINE,ENGINE).METRIC".to_owned();
    let (engines, metric) = rest.split_once(").").ok_or_else(expected)?;
    let (above, below) = engines.split_once(',').ok_or_else(expected)?;
    let spec = |name: &str| {
        name.parse::<EngineSpec>()
            .map_err(|error| error.to_string())
    };
    Ok((Subject::Ratio(spec(above)?, spec(below)?), metric))
}

fn threshold(text: &str, unit: Unit) -> Result<f64, String> {
    // The longer ones first: `s` ends `ms` too.
    let (number, suffix) = ["us", "ms", "s", "%"]
        .into_iter()
        .find_map(|suffix| Some((text.strip_suffix(suffix)?, suffix)))
        .unwrap_or((text, ""));
    let number: f64 = number
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| format!("`{text}` is no threshold: expected a number"))?;
    match (unit, suffix) {
        (Unit::Time, "us") | (Unit::Share | Unit::Plain, "") => Ok(number),
        (Unit::Time, "ms") => Ok(number * 1e3),
        (Unit::Time, "s") => Ok(number * 1e6),
        (Unit::Share, "%") => Ok(number / 100.0),
        (Unit::Time, _) => Err(format!(
            "`{text}` is no time: expected us, ms or s behind it"
        )),
        (Unit::Share, _) => Err(format!("`{text}` is no rate: expected a share of 1, or %")),
        (Unit::Plain, _) => Err(format!("`{text}` is no plain number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Expression {
        text.parse().unwrap()
    }

    #[test]
    fn expressions_are_read() {
        let expression = read("p99 < 100 ms");
        assert_eq!(expression.text, "p99<100ms");
        assert_eq!(
            (expression.metric, expression.operator),
            (Metric::P99, Operator::Less)
        );
        assert_eq!(expression.threshold.to_bits(), 100_000_f64.to_bits());
        let figures = [
            ("max<=2s", 2e6),
            ("p50<=15us", 15.0),
            ("error_rate<=0", 0.0),
            ("success_rate>=99%", 0.99),
            ("lock_errors==0", 0.0),
            ("ops_per_s>=1e3", 1_000.0),
            ("ratio(a,b).p99<2", 2.0),
        ];
        for (text, threshold) in figures {
            assert_eq!(
                read(text).threshold.to_bits(),
                f64::to_bits(threshold),
                "{text}"
            );
        }
        let ratio = read("ratio(meter, raw:500).ops_per_s >= 0.3");
        let [meter, raw] = ["meter", "raw:500"].map(|name| name.parse().unwrap());
        assert_eq!(ratio.subject, Subject::Ratio(meter, raw));
    }

    #[test]
    fn every_metric_can_be_named() {
        for (name, metric) in METRICS {
            assert_eq!(metric.to_string(), name);
            let unit = if metric.unit() == Unit::Time {
                "ms"
            } else {
                ""
            };
            assert_eq!(read(&format!("{name}>1{unit}")).metric, metric);
        }
    }

    #[test]
    fn what_is_no_threshold_is_refused_and_says_why() {
        for (text, says) in [
            ("", "expected <"),
            ("p99", "expected <"),
            ("p99=1ms", "expected <"),
            ("p98<1ms", "no metric `p98`"),
            ("<1ms", "no metric ``"),
            ("p99<100", "us, ms or s"),
            ("p99<ms", "expected a number"),
            ("p99<infs", "expected a number"),
            ("p99<1h", "expected a number"),
            ("error_rate<1ms", "share of 1"),
            ("ops_per_s>1%", "plain number"),
            ("ratio(a,b).p99<2ms", "plain number"),
            ("ratio(a).p99<2", "ratio(ENGINE,ENGINE)"),
            ("ratio(a,b)p99<2", "ratio(ENGINE,ENGINE)"),
            ("ratio(a,b:2).p99<2", "names no engine"),
            ("ratio(a,b).x<2", "no metric `x`"),
        ] {
            let error = text.parse::<Expression>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
