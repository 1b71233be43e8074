//! How far simulated time has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use roas_domain::UnixSeconds;

use crate::operations::{Operation, begins_at};

/// The greatest time of any operation that this process was acknowledged: a reader's now. Clones
/// share it.
#[derive(Debug, Clone)]
pub(super) struct Reached(Arc<AtomicI64>);

impl Reached {
    /// Where simulated time begins.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(begins_at().get())))
    }

    /// Takes the times of operations that were acknowledged.
    pub(super) fn raise(&self, acknowledged: &[Operation]) {
        let Some(latest) = acknowledged
            .iter()
            .map(|operation| operation.at.get())
            .max()
        else {
            return;
        };
        // Time goes on with every tenth operation of a stream: to look first keeps the callers from
        // taking the line from one another for nothing.
        if latest > self.0.load(Ordering::Relaxed) {
            self.0.fetch_max(latest, Ordering::Relaxed);
        }
    }

    /// The time.
    pub(super) fn now(&self) -> UnixSeconds {
        let reached = self.0.load(Ordering::Relaxed);
        UnixSeconds::new(reached).unwrap_or_else(|_| begins_at())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::Stream;
    use crate::scenario::Scenario;

    #[test]
    fn now_is_the_latest_time_acknowledged_in_whatever_order() {
        let members = Arc::new(Scenario::default().all_members());
        let operations: Vec<_> = Stream::new(members, 1, 0).take(100).collect();
        let reached = Reached::new();
        assert_eq!(reached.now(), begins_at());
        reached.raise(&operations[50..]);
        assert_eq!(reached.now(), operations[99].at);
        reached.raise(&operations[..50]);
        reached.raise(&[]);
        assert_eq!(reached.now(), operations[99].at);
    }
}
