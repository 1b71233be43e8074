//! Waiting for the other side without going to sleep, for as long as a wake-up would take.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Looks until `there`, at most for `limit`. Not where there is one processor: whoever looks would keep
/// those from going on whom it waits for.
pub(super) fn until(mut there: impl FnMut() -> bool, limit: Duration) {
    if !several_processors() {
        return;
    }
    let since = Instant::now();
    while !there() && since.elapsed() < limit {
        // Looking more often would keep the memory from those who are to change it.
        for _ in 0..64 {
            std::hint::spin_loop();
        }
    }
}

/// Whether other tasks go on while the one that asks looks. Where its runtime has one thread, nobody else
/// could call meanwhile: each would be alone, and look for just that reason, however many there are.
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
    fn a_caller_looks_only_where_others_can_call_meanwhile() {
        assert!(!has_other_workers(), "who knows in what runtime");
        for (mut builder, looks) in [
            (tokio::runtime::Builder::new_current_thread(), false),
            (tokio::runtime::Builder::new_multi_thread(), true),
        ] {
            let runtime = builder.worker_threads(2).build().unwrap();
            assert_eq!(runtime.block_on(async { has_other_workers() }), looks);
        }
    }
}
