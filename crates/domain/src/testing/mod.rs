//! What tests of this crate, of its adapters and of its callers share. Behind the feature
//! `testing`, and never part of a program.
//!
//! - [`MemoryRepository`] stands in for a store wherever a test needs one that works;
//!   [`MockActivityRepository`] where it needs one that fails.
//! - [`Model`] says what a store must answer: the port's contract, run one call at a time.
//! - [`conformance`] holds every implementation to that contract; an adapter runs all of it with
//!   [`conformance_suite!`](crate::conformance_suite).
//! - [`strategies`] makes the events and [`Operation`]s that its property tests run.

mod clock;
pub mod conformance;
pub mod fixtures;
mod memory;
mod operation;
pub mod strategies;

pub use clock::ManualClock;
pub use memory::{MemoryRepository, Model};
pub use operation::{Operation, OperationOutput};

pub use crate::repository::MockActivityRepository;
