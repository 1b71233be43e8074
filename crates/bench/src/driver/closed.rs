//! The closed loop: a caller waits for its answer before it calls again, and latency is from the
//! call to the answer.
//!
//! What it cannot show: while the engine stalls nobody calls, so that a stall is one long latency
//! for each caller, however many calls would have been due.

use tokio::time::Instant;

use super::{PAUSE_AFTER_FAILURE, WritingCaller};

pub(super) async fn write(writer: WritingCaller) {
    let WritingCaller {
        mut session,
        mut operations,
        per_call,
        start,
        mut recorder,
        reached,
    } = writer;
    let until = recorder.window().until;
    let mut batch = Vec::with_capacity(per_call);
    tokio::time::sleep_until(start).await;
    loop {
        batch.clear();
        batch.extend(operations.by_ref().take(per_call));
        let called = Instant::now();
        if batch.is_empty() || until.is_some_and(|until| called >= until) {
            return;
        }
        let outcome = session.write(&batch).await;
        let failed = outcome.is_err();
        if !failed {
            reached.raise(&batch);
        }
        recorder.record(called, Instant::now(), batch.len() as u64, outcome);
        if failed {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        // An engine that never waits must not keep the thread from the other tasks.
        tokio::task::coop::consume_budget().await;
    }
}
