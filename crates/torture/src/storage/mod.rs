//! Faults below SQLite: a VFS whose calls fail, storage that forgets what was not synced, no memory.

pub mod calls;
pub(crate) mod faults;
mod log;
pub mod memory;
pub mod mounted;
pub mod play;
pub mod power;
pub mod replay;
pub mod script;
pub mod vfs;

pub use log::{CrashState, Image, Log, Loss};
