//! Reading beside the writers: members, leaderboards and ranks in turns, in a closed loop, as of the
//! time that the writers have come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::PAUSE_AFTER_FAILURE;
use super::reached::Reached;
use crate::engine::{Read, ReadSession};
use crate::keys::Members;
use crate::stats::{Latencies, Recorder};

/// The latencies of the reads in the window, by the index of their kind.
pub(super) type Reads = [Latencies; Read::KINDS.len()];

/// When a reader reads, and where that is put down.
pub(super) struct Pace {
    /// When it begins.
    pub(super) start: Instant,
    /// Its pause after each read.
    pub(super) every: Option<Duration>,
    /// The time as of which it reads.
    pub(super) reached: Reached,
    /// Whether it is to end.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) recorder: Recorder,
}

/// Reads until it is stopped, or the window ends. A read that fails counts to the run's errors: a
/// reader is not to be told that the database is locked either.
pub(super) async fn read(
    mut session: Box<dyn ReadSession>,
    members: Members,
    seed: u64,
    pace: Pace,
) -> Reads {
    let Pace {
        start,
        every,
        reached,
        stop,
        mut recorder,
    } = pace;
    let mut rng = Rng::with_seed(seed);
    let window = recorder.window();
    let mut reads = Reads::default();
    tokio::time::sleep_until(start).await;
    for turn in 0_u64.. {
        let member = members.draw(&mut rng);
        let read = match turn % 3 {
            0 => Read::Member(member),
            1 => Read::Leaderboard(member, reached.now()),
            _ => Read::Rank(member, reached.now()),
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
        if let Some(pause) = every {
            let next = answered + pause;
            tokio::time::sleep_until(window.until.map_or(next, |until| next.min(until))).await;
        }
        tokio::task::coop::consume_budget().await;
    }
    reads
}
