//! Figures as people read them. Units stand beside every figure, or in the head of its column.

/// A whole number as a float, for axes and ratios.
#[expect(
    clippy::cast_precision_loss,
    reason = "drawn and rounded; 2^53 microseconds are 285 years"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

/// The length of a list as a float.
pub(super) fn length(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

/// `1234567` as `1,234,567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Operations per second: whole above 100, with one decimal below.
pub(super) fn rate(per_s: f64) -> String {
    if !per_s.is_finite() {
        "–".to_owned()
    } else if per_s < 99.95 {
        format!("{per_s:.1}")
    } else {
        let rounded = format!("{per_s:.0}");
        rounded.parse().map_or(rounded, count)
    }
}

/// Three significant digits, without zeros that say nothing.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.09995 => 3,
        size if size >= 0.009_995 => 4,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Microseconds in the unit that suits them: `850 µs`, `1.23 ms`, `4.1 s`.
pub(super) fn micros(value: f64) -> String {
    if value < 999.5 {
        format!("{}\u{a0}µs", significant(value))
    } else if value < 999_500.0 {
        format!("{}\u{a0}ms", significant(value / 1e3))
    } else {
        format!("{}\u{a0}s", significant(value / 1e6))
    }
}

/// As [`micros`], with a dash for a figure that too few samples support.
pub(super) fn latency(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| micros(float(value)))
}

/// `400000` as `400k`, for axes.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e9 {
        format!("{}G", significant(value / 1e9))
    } else if size >= 1e6 {
        format!("{}M", significant(value / 1e6))
    } else if size >= 1e3 {
        format!("{}k", significant(value / 1e3))
    } else {
        significant(value)
    }
}

/// A share between 0 and 1 as a percentage. What is not nothing is never shown as 0.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.000_01 {
        "< 0.00001\u{a0}%".to_owned()
    } else {
        format!("{}\u{a0}%", significant(percent))
    }
}

/// Bytes in binary units.
pub(super) fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = float(value);
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{}\u{a0}{}", significant(amount), UNITS[unit])
}

/// Seconds, for windows and axes.
pub(super) fn seconds(value: f64) -> String {
    format!("{}\u{a0}s", significant(value))
}

/// `1 process`, `4 processes`.
pub(super) fn number_of(value: u64, one: &str, more: &str) -> String {
    format!(
        "{}\u{a0}{}",
        count(value),
        if value == 1 { one } else { more }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(412_345.6), "412,346");
        assert_eq!(rate(3.24), "3.2");
        assert_eq!(rate(f64::NAN), "–");
        assert_eq!(micros(850.0), "850\u{a0}µs");
        assert_eq!(micros(999.7), "1\u{a0}ms");
        assert_eq!(micros(1_234.0), "1.23\u{a0}ms");
        assert_eq!(micros(4_100_000.0), "4.1\u{a0}s");
        assert_eq!(latency(None), "–");
        assert_eq!(short(400_000.0), "400k");
        assert_eq!(short(1_250_000.0), "1.25M");
        assert_eq!(percent(0.0), "0\u{a0}%");
        assert_eq!(percent(0.031), "3.1\u{a0}%");
        assert_eq!(percent(1e-9), "< 0.00001\u{a0}%");
        assert_eq!(bytes(24 << 30), "24\u{a0}GiB");
        assert_eq!(number_of(1, "process", "processes"), "1\u{a0}process");
        assert_eq!(number_of(4, "process", "processes"), "4\u{a0}processes");
    }
}
