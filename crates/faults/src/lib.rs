#![doc = include_str!("../README.md")]

mod log;
pub mod outcome;
pub mod vfs;

pub use log::{CrashState, Image, Log, Loss};
pub use outcome::{Broken, Findings};
