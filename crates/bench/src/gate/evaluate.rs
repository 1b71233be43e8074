//! Holding measured figures against thresholds.

use super::expression::{Expression, Metric, Subject};
use crate::compare::EngineSpec;
use crate::result::RunResult;
use crate::stats::{InvalidHistogram, Latencies, median};

/// The figures of one engine over all its runs: the median of their throughput, percentiles over
/// the operations of all of them, sums of their errors, and the worst of what is told of processes.
#[derive(Debug, Clone)]
pub struct Figures {
    ops: u64,
    errors: u64,
    lock_errors: u64,
    ops_per_s: Option<f64>,
    latencies: Latencies,
    fairness: Option<f64>,
    longest_gap_ms: Option<u64>,
}

impl Figures {
    /// Of these runs.
    ///
    /// # Errors
    ///
    /// [`InvalidHistogram`] where a run holds none.
    pub fn of(runs: &[RunResult]) -> Result<Self, InvalidHistogram> {
        let mut latencies = Latencies::new();
        for run in runs {
            latencies.add(&Latencies::decode(&run.histogram)?);
        }
        let gaps = runs.iter().flat_map(|run| &run.per_process);
        Ok(Self {
            ops: runs.iter().map(|run| run.ops).sum(),
            errors: runs.iter().flat_map(|run| run.errors.values()).sum(),
            lock_errors: runs.iter().map(|run| run.lock_errors).sum(),
            ops_per_s: median(runs.iter().map(|run| run.ops_per_s).collect()),
            latencies,
            fairness: runs.iter().filter_map(|run| run.fairness).reduce(f64::min),
            longest_gap_ms: gaps.map(|process| process.longest_gap_ms).max(),
        })
    }

    /// A metric, unless too few samples support it.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn metric(&self, metric: Metric) -> Option<f64> {
        let latency = self.latencies.percentiles();
        let calls = self.ops + self.errors;
        let share = |part: u64| (calls > 0).then(|| part as f64 / calls as f64);
        let number = |count: Option<u64>| count.map(|count| count as f64);
        match metric {
            Metric::P50 => number(latency.p50),
            Metric::P95 => number(latency.p95),
            Metric::P99 => number(latency.p99),
            Metric::P999 => number(latency.p999),
            Metric::Max => number(latency.max),
            Metric::ErrorRate => share(self.errors),
            Metric::SuccessRate => share(self.ops),
            Metric::Errors => number(Some(self.errors)),
            Metric::LockErrors => number(Some(self.lock_errors)),
            Metric::OpsPerS => self.ops_per_s,
            Metric::Fairness => self.fairness,
            Metric::LongestGap => number(self.longest_gap_ms.map(|ms| ms * 1_000)),
        }
    }
}

/// Whether one threshold was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was.
    pub kept: bool,
    /// The threshold, and what was measured.
    pub line: String,
}

/// Holds an expression against the figures of the engine that the gate is about, and of those that
/// it names.
///
/// A figure that too few samples support keeps no threshold: it has not been shown. Nor does a
/// ratio against 0, with one exception: no faults against no faults is the ratio 0, because the
/// first can have no fewer. Any figure above 0 against 0 is an infinite ratio.
pub fn evaluate<'a>(
    expression: &Expression,
    engine: &EngineSpec,
    figures: impl Fn(&EngineSpec) -> Option<&'a Figures>,
) -> Verdict {
    let metric = expression.metric;
    let of = |engine| figures(engine).and_then(|figures| figures.metric(metric));
    let shown = |figure: Option<f64>| {
        figure.map_or("too few samples".to_owned(), |figure| metric.shown(figure))
    };
    let (figure, measured) = match &expression.subject {
        Subject::Engine => {
            let figure = of(engine);
            (figure, shown(figure))
        }
        Subject::Ratio(above, below) => {
            let (a, b) = (of(above), of(below));
            let ratio = a.zip(b).and_then(|(a, b)| ratio(a, b, metric));
            let value = ratio.map_or("undefined".to_owned(), |ratio| format!("{ratio:.4}"));
            (
                ratio,
                format!("{value} ({above} {}, {below} {})", shown(a), shown(b)),
            )
        }
    };
    let holds = |figure| expression.operator.holds(figure, expression.threshold);
    let kept = figure.is_some_and(holds);
    let mark = if kept { '✓' } else { '✗' };
    Verdict {
        kept,
        line: format!("{mark} {}: {measured}", expression.text),
    }
}

fn ratio(above: f64, below: f64, metric: Metric) -> Option<f64> {
    if below > 0.0 {
        Some(above / below)
    } else if above > 0.0 {
        Some(f64::INFINITY)
    } else {
        metric.counts_faults().then_some(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ops_per_s: f64, lock_errors: u64, latencies_us: u64) -> Figures {
        let mut latencies = Latencies::new();
        (1..=latencies_us).for_each(|latency| latencies.record(latency));
        Figures {
            ops: 99,
            errors: 1,
            lock_errors,
            ops_per_s: Some(ops_per_s),
            latencies,
            fairness: None,
            longest_gap_ms: Some(7),
        }
    }

    fn verdict(text: &str, meter: &Figures, baseline: &Figures) -> Verdict {
        let expression: Expression = text.parse().unwrap();
        evaluate(
            &expression,
            &"meter".parse().unwrap(),
            |engine| match engine.name.as_str() {
                "meter" => Some(meter),
                "baseline" => Some(baseline),
                _ => None,
            },
        )
    }

    #[test]
    fn figures_are_held_against_thresholds() {
        let (meter, baseline) = (figures(3_000.0, 1, 1_000), figures(1_500.0, 20, 10));
        for (text, kept, measured) in [
            ("p99<=990us", true, "990 us"),
            ("p99<990us", false, "990 us"),
            ("p50<1ms", true, "500 us"),
            ("success_rate>=99%", true, "99.0000 %"),
            ("error_rate<0.01", false, "1.0000 %"),
            ("ops_per_s>3000", false, "3000"),
            ("longest_gap<=7ms", true, "7.00 ms"),
            (
                "ratio(meter,baseline).ops_per_s==2",
                true,
                "2.0000 (meter 3000, baseline 1500)",
            ),
            (
                "ratio(meter,baseline).lock_errors<=0.1",
                true,
                "0.0500 (meter 1, baseline 20)",
            ),
            (
                "ratio(baseline,meter).lock_errors<=0.1",
                false,
                "20.0000 (baseline 20, meter 1)",
            ),
        ] {
            let verdict = verdict(text, &meter, &baseline);
            assert_eq!(verdict.kept, kept, "{text}");
            let mark = if kept { '✓' } else { '✗' };
            assert_eq!(verdict.line, format!("{mark} {text}: {measured}"));
        }
    }

    #[test]
    fn what_was_not_shown_keeps_no_threshold() {
        let (meter, baseline) = (figures(1.0, 0, 99), figures(1.0, 0, 1_000));
        for text in [
            "p99<1s",
            "p99>0us",
            "fairness>=0.5",
            "ratio(meter,baseline).p99<100",
            "ratio(meter,other).ops_per_s>0",
        ] {
            assert!(!verdict(text, &meter, &baseline).kept, "{text}");
        }
        let line = verdict("p99<1s", &meter, &baseline).line;
        assert_eq!(line, "✗ p99<1s: too few samples");
    }

    #[test]
    fn a_ratio_against_nothing_is_decided() {
        let faultless = figures(1.0, 0, 10);
        let faulty = figures(1.0, 5, 10);
        let idle = figures(0.0, 0, 10);
        let kept = |text: &str, meter, baseline| verdict(text, meter, baseline).kept;
        let locks = "ratio(meter,baseline).lock_errors<=0.1";
        assert!(kept(locks, &faultless, &faultless));
        assert!(kept(locks, &faultless, &faulty));
        assert!(!kept(locks, &faulty, &faultless));
        let throughput = "ratio(meter,baseline).ops_per_s>=1.5";
        assert!(kept(throughput, &faultless, &idle));
        assert!(!kept(throughput, &idle, &idle));
        assert!(!kept("ratio(meter,baseline).ops_per_s<=1.5", &idle, &idle));
    }
}
