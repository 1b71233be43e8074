//! The open loop: calls are due at a fixed rate, whatever the engine does, and latency counts from
//! when a call was due.
//!
//! A caller that is late begins its next call at once, and the wait before it is part of that
//! call's latency: a stall shows in every call that was due meanwhile (coordinated omission).

use std::time::Duration;

use tokio::time::Instant;

use super::WritingCaller;

/// How much later than asked for tokio's timer may wake a caller that waits for its next call: its
/// wheel turns in milliseconds. That much is the tester's doing and not counted as latency; what
/// goes beyond it is.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);

/// For how long calls that were due in the window are still begun after it, at least. What is left
/// then failed: the engine does not keep up with the rate.
const GRACE: Duration = Duration::from_secs(10);

/// When the calls of one caller are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    first_s: f64,
    period_s: f64,
}

impl Pace {
    /// `rate` operations a second over all callers, of which this is the n-th of so many: their
    /// calls are evenly spaced.
    #[expect(clippy::cast_precision_loss, reason = "calls take few operations")]
    pub(super) fn new(rate: f64, per_call: usize, (turn, callers): (u32, u32)) -> Self {
        let spacing_s = per_call as f64 / rate;
        Self {
            first_s: spacing_s * f64::from(turn),
            period_s: spacing_s * f64::from(callers),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "calls are far fewer than 2^53")]
    fn due(&self, call: u64) -> Duration {
        Duration::try_from_secs_f64(self.first_s + self.period_s * call as f64)
            .unwrap_or(Duration::MAX)
    }

    /// How many calls are due before so much time has passed.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is as good as never"
    )]
    fn calls_within(&self, time: Duration) -> u64 {
        ((time.as_secs_f64() - self.first_s) / self.period_s)
            .ceil()
            .max(0.0) as u64
    }
}

pub(super) async fn write(writer: WritingCaller, pace: Pace) {
    let WritingCaller {
        mut session,
        mut operations,
        per_call,
        start,
        mut recorder,
        reached,
    } = writer;
    let window = recorder.window();
    let give_up = window
        .until
        .map(|until| until + window.length().unwrap_or(GRACE).max(GRACE));
    let is_due_in_window =
        |due: Option<Instant>| due.filter(|due| window.until.is_none_or(|until| *due < until));
    let mut batch = Vec::with_capacity(per_call);
    tokio::time::sleep_until(start).await;
    for call in 0.. {
        let Some(due) = is_due_in_window(start.checked_add(pace.due(call))) else {
            return;
        };
        batch.clear();
        batch.extend(operations.by_ref().take(per_call));
        if batch.is_empty() {
            return;
        }
        let now = Instant::now();
        if give_up.is_some_and(|give_up| now >= give_up) {
            let length = window.until.map(|until| until.duration_since(start));
            let left = pace
                .calls_within(length.unwrap_or_default())
                .saturating_sub(call);
            recorder.never_begun(left * per_call as u64);
            return;
        }
        let counted_from = if now < due {
            tokio::time::sleep_until(due).await;
            Instant::now().min(due + TIMER_RESOLUTION)
        } else {
            due
        };
        let outcome = session.write(&batch).await;
        if outcome.is_ok() {
            reached.raise(&batch);
        }
        recorder.record(counted_from, Instant::now(), batch.len() as u64, outcome);
        tokio::task::coop::consume_budget().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_all_callers_are_evenly_spaced() {
        let due = |place, call| Pace::new(1_000.0, 1, (place, 4)).due(call).as_micros();
        let all: Vec<_> = (0..3)
            .flat_map(|call| (0..4).map(move |place| due(place, call)))
            .collect();
        assert_eq!(all, (0..12).map(|call| call * 1_000).collect::<Vec<_>>());
        assert_eq!(Pace::new(1_000.0, 50, (0, 1)).due(2).as_millis(), 100);
    }

    #[test]
    fn calls_are_counted_up_to_a_time() {
        let pace = Pace::new(1_000.0, 1, (2, 4));
        let within = |ms| pace.calls_within(Duration::from_millis(ms));
        assert_eq!([0, 2, 3, 6, 7, 100].map(within), [0, 0, 1, 1, 2, 25]);
    }
}
