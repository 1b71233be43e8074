//! The adapter from outside: one program, so that it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::float_cmp, reason = "what is stored comes back to the bit")]

mod bad_files;
mod between_transactions;
mod cancellation;
mod check;
mod concurrency;
mod conformance;
mod foreign_objects;
mod invalid_rows;
mod legacy;
mod legacy_rules;
mod lost_files;
mod metrics;
mod migration;
mod opening;
mod original_beside;
mod overload;
mod ranks;
mod recovery;
mod reopening;
mod resources;
mod schema_change;
mod shutdown;
mod support;
mod traceless;
mod written_files;
