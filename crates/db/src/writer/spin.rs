//! Spinning: waiting for the other thread without sleeping, for about as long as a wake-up takes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Spins until `is_ready`, for `limit` at most. Does nothing on one processor, where spinning would starve
/// the thread that is waited for.
pub(super) fn until(mut is_ready: impl FnMut() -> bool, limit: Duration) {
    if !several_processors() {
        return;
    }
    let since = Instant::now();
    while !is_ready() && since.elapsed() < limit {
        // Checking more often would contend for the cache line with the thread that writes it.
        for _ in 0..64 {
            std::hint::spin_loop();
        }
    }
}

/// Whether the calling task's runtime has other threads, which can run other callers while this one spins.
/// On a current-thread runtime each of many callers would find itself alone, and spin for that reason.
pub(super) fn has_other_workers() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() > 1)
}

fn several_processors() -> bool {
    static SEVERAL: LazyLock<bool> =
        LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    *SEVERAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_spins_only_on_a_multi_threaded_runtime() {
        assert!(!has_other_workers(), "outside a runtime");
        for (mut builder, looks) in [
            (tokio::runtime::Builder::new_current_thread(), false),
            (tokio::runtime::Builder::new_multi_thread(), true),
        ] {
            let runtime = builder.worker_threads(2).build().unwrap();
            assert_eq!(runtime.block_on(async { has_other_workers() }), looks);
        }
    }
}
