//! Where values fall, and which of them are named.

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

/// A value that is named beside the axis.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    /// The value.
    pub(super) at: f64,
    /// Its name.
    pub(super) label: String,
}

/// An axis: its ends, its ticks and what it measures.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What it measures, and in which unit.
    pub(super) title: String,
    scale: Scale,
    low: f64,
    high: f64,
    /// From low to high.
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// A linear axis from 0 to at least `high`, with round ticks.
    pub(crate) fn linear(title: &str, high: f64, name: fn(f64) -> String) -> Self {
        let high = if high.is_finite() && high > 0.0 {
            high
        } else {
            1.0
        };
        let step = round_up(high / 5.0);
        let steps = (high / step - 1e-9).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut place = 0.0;
        while place <= steps {
            let at = place * step;
            let label = name(at);
            ticks.push(Tick { at, label });
            place += 1.0;
        }
        Self {
            title: title.to_owned(),
            scale: Scale::Linear,
            low: 0.0,
            high: steps * step,
            ticks,
        }
    }

    /// A linear axis from 0 to exactly `high`: a time that ends when the run did.
    pub(crate) fn until(title: &str, high: f64, name: fn(f64) -> String) -> Self {
        let mut axis = Self::linear(title, high, name);
        if high.is_finite() && high > 0.0 {
            axis.high = high;
            axis.ticks.retain(|tick| tick.at <= high * (1.0 + 1e-9));
        }
        axis
    }

    /// A logarithmic axis around `low` to `high`, both above 0. Ticks at powers of ten, with steps
    /// of 1, 2 and 5 where the axis spans little.
    pub(crate) fn log(title: &str, low: f64, high: f64, name: fn(f64) -> String) -> Self {
        let low = if low.is_finite() && low > 0.0 {
            low
        } else {
            1.0
        };
        let high = if high.is_finite() && high > low {
            high
        } else {
            low * 10.0
        };
        let (low, high) = (
            round_down(low * (1.0 + 1e-9)),
            round_up(high * (1.0 - 1e-9)),
        );
        let steps: &[f64] = if high / low <= 200.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let mut ticks = Vec::new();
        let mut power = 10_f64.powf(low.log10().floor());
        while power <= high * 1.01 {
            for step in steps {
                let at = power * step;
                if at >= low * 0.99 && at <= high * 1.01 {
                    let label = name(at);
                    ticks.push(Tick { at, label });
                }
            }
            power *= 10.0;
        }
        Self {
            title: title.to_owned(),
            scale: Scale::Log,
            low,
            high,
            ticks,
        }
    }

    /// A logarithmic axis that names exactly the given values, which rise and are above 0, and
    /// leaves room beside the outermost of them.
    pub(crate) fn at(title: &str, ticks: Vec<(f64, String)>) -> Self {
        let low = ticks.first().map_or(1.0, |tick| tick.0);
        let high = ticks.last().map_or(1.0, |tick| tick.0);
        let room = (high / low).powf(0.06).max(1.15);
        Self {
            title: title.to_owned(),
            scale: Scale::Log,
            low: low / room,
            high: high * room,
            ticks: ticks
                .into_iter()
                .map(|(at, label)| Tick { at, label })
                .collect(),
        }
    }

    /// The axis of percentiles, on which each further nine takes as much room as the one before:
    /// values are 1/(1 − p), from 1 to at least `high`.
    pub(crate) fn percentiles(title: &str, high: f64) -> Self {
        let mut ticks = vec![
            tick(1.0, "0"),
            tick(2.0, "50\u{a0}%"),
            tick(10.0, "90\u{a0}%"),
        ];
        let mut at = 100.0;
        let mut name = "99".to_owned();
        while at <= high * 1.01 && at < 1e9 {
            ticks.push(tick(at, &format!("{name}\u{a0}%")));
            if !name.contains('.') {
                name.push('.');
            }
            name.push('9');
            at *= 10.0;
        }
        Self {
            title: title.to_owned(),
            scale: Scale::Log,
            low: 1.0,
            high: high.clamp(10.0, 1e9),
            ticks,
        }
    }

    /// Where a value falls, from 0 at the low end to 1 at the high end. What lies beyond an end is
    /// drawn on it.
    pub(super) fn position(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log if value <= 0.0 => 0.0,
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

fn tick(at: f64, label: &str) -> Tick {
    Tick {
        at,
        label: label.to_owned(),
    }
}

/// The next of 1, 2, 5, 10, 20, … at or above a value above 0.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|step| step * power >= value * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

/// The next of 1, 2, 5, 10, 20, … at or below a value above 0.
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [5.0, 2.0]
        .into_iter()
        .find(|step| step * power <= value * (1.0 + 1e-9));
    step.unwrap_or(1.0) * power
}

#[cfg(test)]
mod tests {
    use super::super::super::format::{micros, short};
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_has_round_ticks() {
        let axis = Axis::linear("ops/s", 412_345.0, short);
        assert_eq!(labels(&axis), ["0", "100k", "200k", "300k", "400k", "500k"]);
        assert!((axis.position(250_000.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_log_axis_names_powers_and_finer_steps_where_it_is_short() {
        let wide = Axis::log("latency", 12.0, 2_300_000.0, micros);
        assert_eq!(wide.ticks.len(), 6, "{:?}", labels(&wide));
        assert_eq!(labels(&wide)[2], "1\u{a0}ms");
        let short = Axis::log("latency", 120.0, 900.0, micros);
        assert_eq!(labels(&short).len(), 4, "{:?}", labels(&short));
    }

    #[test]
    fn each_nine_takes_the_same_room() {
        let axis = Axis::percentiles("percentile", 1_000.0);
        assert_eq!(
            labels(&axis),
            ["0", "50\u{a0}%", "90\u{a0}%", "99\u{a0}%", "99.9\u{a0}%"]
        );
        let [ninety, two, three] = [10.0, 100.0, 1_000.0].map(|at| axis.position(at));
        assert!((two - ninety - (three - two)).abs() < 1e-9);
    }

    #[test]
    fn values_without_sense_stay_inside() {
        for axis in [
            Axis::linear("x", f64::NAN, short),
            Axis::until("x", 0.0, short),
            Axis::log("x", 0.0, f64::INFINITY, short),
            Axis::log("x", 7.0, 7.0, short),
            Axis::at("x", Vec::new()),
        ] {
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
                let position = axis.position(value);
                assert!((0.0..=1.0).contains(&position), "{axis:?} {value}");
            }
        }
    }
}
