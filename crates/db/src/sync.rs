//! What the writer, its callers and its threads hand over to each other with.
//!
//! The writer names all of it as `super::sync`: the tests in `schedules` compile the writer once more,
//! beside a `sync` of their own, whose scheduler decides who goes on.

pub(crate) use std::sync::atomic::AtomicBool;
pub(crate) use std::thread;
use std::time::{Duration, Instant};

pub(crate) use tokio::runtime::Handle;
pub(crate) use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
pub(crate) use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, oneshot};

/// Whether so much time has passed since then, where that decides who goes on.
pub(crate) fn has_passed(time: Duration, since: Instant) -> bool {
    since.elapsed() >= time
}

/// A channel for who bounds by other means what is in it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where a queue bounds what is in it by a semaphore"
)]
pub(crate) fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    tokio::sync::mpsc::unbounded_channel()
}
