//! Waiting for the other side without going to sleep, for as long as a wake-up would take.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

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

fn several_processors() -> bool {
    static SEVERAL: LazyLock<bool> =
        LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    *SEVERAL
}
