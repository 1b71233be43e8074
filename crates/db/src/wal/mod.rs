//! The write-ahead log: checkpoints, its size, and its sync after a commit.

pub(crate) mod backpressure;
pub(crate) mod checkpoint;
pub(crate) mod index;
pub(crate) mod sync;
