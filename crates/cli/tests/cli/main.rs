//! The program as its users meet it: the real binary, real files, real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod configuration;
mod damaged;
mod demo;
mod files;
mod gateway;
mod ingest;
mod legacy;
mod other_users;
mod reports;
mod support;
mod usage;
