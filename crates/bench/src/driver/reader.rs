//! Reading beside the writers: members, leaderboards and ranks in turns, in a closed loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use tokio::time::Instant;

use super::PAUSE_AFTER_FAILURE;
use crate::engine::{Read, ReadSession};
use crate::keys::Members;
use crate::stats::{Latencies, Recorder};

/// The latencies of the reads in the window, by the index of their kind.
pub(super) type Reads = [Latencies; Read::KINDS.len()];

/// Reads until it is stopped, or the window ends. A read that fails counts to the run's errors: a
/// reader is not to be told that the database is locked either.
pub(super) async fn read(
    mut session: Box<dyn ReadSession>,
    members: Members,
    seed: u64,
    start: Instant,
    mut recorder: Recorder,
    stop: Arc<AtomicBool>,
) -> Reads {
    let mut rng = Rng::with_seed(seed);
    let window = recorder.window();
    let mut reads = Reads::default();
    tokio::time::sleep_until(start).await;
    for turn in 0_u64.. {
        let member = members.draw(&mut rng);
        let read = match turn % 3 {
            0 => Read::Member(member),
            1 => Read::Leaderboard(member),
            _ => Read::Rank(member),
        };
        let called = Instant::now();
        if window.until.is_some_and(|until| called >= until) || stop.load(Ordering::Relaxed) {
            break;
        }
        let outcome = session.read(read).await;
        let answered = Instant::now();
        match outcome {
            Ok(()) if answered >= window.from => {
                let latency = answered.duration_since(called).as_micros();
                reads[read.kind()].record(u64::try_from(latency).unwrap_or(u64::MAX));
            }
            Ok(()) => {}
            Err(failure) => {
                recorder.read_failed(called, answered, failure);
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        tokio::task::coop::consume_budget().await;
    }
    reads
}
