//! What the meter tells of itself, through the facade that any exporter would use.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use roas_db::metrics::QUEUE_WAIT;

use crate::stats::{Latencies, Tally};

/// A recorder of the metrics of one database.
#[derive(Debug, Default)]
pub struct MetricsRecorder(Mutex<BTreeMap<String, Arc<Metric>>>);

/// One of them.
#[derive(Debug, Default)]
struct Metric(Mutex<MetricState>);

#[derive(Debug, Default)]
struct MetricState {
    /// Since it was asked last.
    tally: Tally,
    /// All of it, where it is the wait in the queue.
    waits: Option<Latencies>,
}

impl MetricsRecorder {
    /// Lets `opening` make its handles at this recorder, and at no other engine's.
    pub async fn with_recorder<T>(&self, opening: impl Future<Output = T>) -> T {
        let mut opening = pin!(opening);
        poll_fn(|cx| metrics::with_local_recorder(self, || opening.as_mut().poll(cx))).await
    }

    /// How long the oldest request of each transaction was in the queue, until now.
    pub(super) fn queue_waits(&self) -> Option<Latencies> {
        self.metrics().get(QUEUE_WAIT)?.state().waits.clone()
    }

    /// What each metric told since this was asked last, where it told anything.
    pub(super) fn take(&self) -> BTreeMap<String, Tally> {
        let metrics = self.metrics();
        let taken = metrics
            .iter()
            .map(|(name, metric)| (name.clone(), mem::take(&mut metric.state().tally)));
        taken.filter(|(_, tally)| tally.count > 0).collect()
    }

    fn metric(&self, key: &Key) -> Arc<Metric> {
        let mut metrics = self.metrics();
        let metric = metrics.entry(name_of(key)).or_insert_with(|| {
            let waits = (key.name() == QUEUE_WAIT).then(Latencies::new);
            Arc::new(Metric(Mutex::new(MetricState {
                tally: Tally::default(),
                waits,
            })))
        });
        Arc::clone(metric)
    }

    fn metrics(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Metric>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A metric's name, with the labels that tell it from others of the same name:
/// `roas_db_retries_total{policy=balanced}`.
fn name_of(key: &Key) -> String {
    let labels = key.labels().filter(|label| label.key() != "database");
    let labels: Vec<_> = labels
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    if labels.is_empty() {
        key.name().to_owned()
    } else {
        format!("{}{{{}}}", key.name(), labels.join(","))
    }
}

impl Metric {
    fn state(&self) -> MutexGuard<'_, MetricState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistogramFn for Metric {
    fn record(&self, value: f64) {
        let mut state = self.state();
        state.tally.add(value);
        if let Some(waits) = &mut state.waits {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time; the cast saturates"
            )]
            waits.record((value * 1e6).round() as u64);
        }
    }
}

/// What a counter counts was told as often, and is 1 each time.
impl CounterFn for Metric {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn increment(&self, count: u64) {
        self.state().tally.merge(&Tally {
            count,
            sum: count as f64,
            max: 1.0,
        });
    }

    fn absolute(&self, _: u64) {}
}

/// A gauge is what it is set to: nothing here counts up or down.
impl GaugeFn for Metric {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.state().tally.add(value);
    }
}

impl Recorder for MetricsRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_apart_by_their_labels() {
        let recorder = MetricsRecorder::default();
        let count = |result: &'static str| {
            let labels = [("database", "a"), ("by", "writer"), ("result", result)];
            metrics::with_local_recorder(&recorder, || metrics::counter!("ended_total", &labels))
        };
        let (whole, failed) = (count("whole"), count("failed"));
        whole.increment(2);
        whole.increment(1);
        let taken = recorder.take();
        assert_eq!(taken.len(), 1);
        let tally = taken["ended_total{by=writer,result=whole}"];
        assert_eq!((tally.count, tally.summary().unwrap().count), (3, 3));
        failed.increment(1);
        assert_eq!(
            recorder.take()["ended_total{by=writer,result=failed}"].count,
            1
        );
    }

    #[test]
    fn what_was_told_is_taken_once_and_waits_are_kept() {
        let recorder = MetricsRecorder::default();
        let (depth, wait) = metrics::with_local_recorder(&recorder, || {
            (
                metrics::gauge!("depth", "database" => "a"),
                metrics::histogram!(QUEUE_WAIT, "database" => "a"),
            )
        });
        for value in [4, 1, 7] {
            depth.set(value);
        }
        wait.record(0.002);

        let taken = recorder.take();
        let tally = |count, sum, max| Tally { count, sum, max };
        assert_eq!(taken["depth"], tally(3, 12.0, 7.0));
        assert_eq!(taken[QUEUE_WAIT], tally(1, 0.002, 0.002));
        assert!(recorder.take().is_empty());

        wait.record(0.001);
        let waits = recorder.queue_waits().unwrap().percentiles();
        assert_eq!((waits.samples, waits.max), (2, Some(2_000)));
    }
}
