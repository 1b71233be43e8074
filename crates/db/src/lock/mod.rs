//! Waiting for SQLite's locks: polling, retrying, queueing between processes, and naming the holder.

pub(crate) mod busy;
pub(crate) mod holder;
pub(crate) mod other_processes;
pub(crate) mod retry;
pub(crate) mod writer_lock;
