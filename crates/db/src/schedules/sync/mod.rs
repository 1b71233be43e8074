//! What stands in for [`crate::sync`] where shuttle schedules: the same calls with the same meaning,
//! and before each of their effects a point at which any other thread may go on.
//!
//! A [`Flaw`] is a mistake that they can be told to make, so that the schedules are seen to find it.

mod channel;
pub(crate) mod oneshot;
mod semaphore;

use std::cell::Cell;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use channel::{UnboundedReceiver, UnboundedSender, unbounded_channel};
pub(crate) use semaphore::{Semaphore, SemaphorePermit, TryAcquireError};
pub(crate) use shuttle::sync::atomic::AtomicBool;
pub(crate) use shuttle::thread;

/// Never: a schedule must not be a matter of time.
pub(crate) const fn has_passed(_time: Duration, _since: Instant) -> bool {
    false
}

/// A mistake in a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// An answer does not arrive.
    LostAnswer,
    /// Between the look into an empty queue and the sleep, nobody is heard.
    LostWakeUp,
    /// A queue that is closed forgets what is in it.
    EndWithoutDraining,
    /// Room in the queue is not given back.
    LostRoom,
    /// A request that is refused is taken all the same.
    RefusedAndTaken,
}

thread_local! {
    static FLAW: Cell<Option<Flaw>> = const { Cell::new(None) };
}

/// Has the schedules of the calling thread make a mistake, or none.
pub(crate) fn make(flaw: Option<Flaw>) {
    FLAW.set(flaw);
}

fn makes(flaw: Flaw) -> bool {
    FLAW.get() == Some(flaw)
}

/// All schedules' threads are one to the system: while one of them unwinds, locks of the others count as
/// poisoned.
fn unpoisoned<T>(lock: LockResult<T>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// A runtime, as far as the writer needs one.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    /// Whether it is shutting down: tasks are dropped before they have begun.
    pub(crate) ends: bool,
}

impl Handle {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !self.ends {
            drop(shuttle::future::spawn(task));
        }
    }
}
