#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod driver;
pub mod engine;
mod environment;
pub mod execute;
pub mod foreign;
pub mod gate;
pub mod keys;
pub mod operations;
pub mod report;
pub mod result;
pub mod scenario;
pub mod stats;
#[cfg(feature = "engines")]
pub mod verify;
