//! What the meter tells of its queue, through the facade that any exporter would use.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use roas_db::metrics::QUEUE_WAIT;

use crate::stats::Latencies;

/// How long the oldest request of each transaction was in the queue. A recorder of that alone.
#[derive(Debug, Default)]
pub(super) struct QueueWaits(Arc<Waits>);

#[derive(Debug, Default)]
struct Waits(Mutex<Latencies>);

impl QueueWaits {
    /// All of them until now.
    pub(super) fn now(&self) -> Latencies {
        self.0.latencies().clone()
    }

    /// Lets `opening` make its handles at this recorder, and at no other engine's.
    pub(super) async fn told_by<T>(&self, opening: impl Future<Output = T>) -> T {
        let mut opening = pin!(opening);
        poll_fn(|cx| metrics::with_local_recorder(self, || opening.as_mut().poll(cx))).await
    }
}

impl Waits {
    fn latencies(&self) -> std::sync::MutexGuard<'_, Latencies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistogramFn for Waits {
    fn record(&self, seconds: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time; the cast saturates"
        )]
        self.latencies().record((seconds * 1e6).round() as u64);
    }
}

impl Recorder for QueueWaits {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == QUEUE_WAIT {
            Histogram::from_arc(Arc::clone(&self.0))
        } else {
            Histogram::noop()
        }
    }
}
