//! What the tests of this crate, of its adapters and of its callers share. Behind the feature
//! `testing`; not for production.
//!
//! - [`MemoryRepository`] replaces a store in tests that need one that works;
//!   [`MockActivityRepository`] in those that need one that fails.
//! - [`Model`] specifies what a store must return: the port's contract, one call at a time.
//! - [`conformance`] tests an implementation against that contract; an adapter runs all of it with
//!   [`conformance_suite!`](crate::conformance_suite).
//! - [`strategies`] draws the events and [`Operation`]s for property tests.

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
