//! The saved histogram of a run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::format::float;

/// Points for each power of ten of 1/(1 − p).
const POINTS_PER_DECADE: f64 = 12.0;

/// The latencies of a histogram by percentile: pairs of 1/(1 − p) and microseconds, up to the
/// percentile that one sample in all supports. `None` where it cannot be read or is empty.
pub(super) fn by_percentile(encoded: &str) -> Option<Vec<(f64, Option<f64>)>> {
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .ok()?;
    if histogram.is_empty() {
        return None;
    }
    let samples = float(histogram.len());
    let at = |one_in: f64| {
        let value = histogram.value_at_quantile(1.0 - 1.0 / one_in);
        // An axis of logarithms has no 0; a microsecond is what was measured with.
        (one_in, Some(float(value).max(1.0)))
    };
    let mut points = Vec::new();
    let mut step = 0.0;
    loop {
        let one_in = 10_f64.powf(step / POINTS_PER_DECADE);
        if one_in >= samples {
            break;
        }
        points.push(at(one_in));
        step += 1.0;
    }
    points.push(at(samples));
    Some(points)
}
