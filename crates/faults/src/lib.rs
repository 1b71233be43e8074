#![doc = include_str!("../README.md")]

pub mod calls;
mod log;
pub mod memory;
pub mod mounted;
pub mod outcome;
pub mod play;
pub mod power;
pub mod replay;
pub mod script;
pub mod vfs;

pub use log::{CrashState, Image, Log, Loss};
pub use outcome::{Broken, Findings};

/// A runtime with two threads, as sessions use it.
///
/// # Panics
///
/// Where the operating system has no thread left.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads")
}
