#![doc = include_str!("../README.md")]

mod admin;
mod claim;
mod config;
mod connection;
mod database;
mod error;
mod files;
mod identity;
mod invalid;
mod lock;
mod maintenance;
pub mod metrics;
pub mod migration;
mod partial;
mod rank;
mod reader;
mod recording_time;
mod repository;
#[cfg(test)]
mod schedules;
mod sql;
mod sqlite_file;
mod sync;
mod takeover;
mod traceless;
mod wal;
mod writer;
// Not within the writer: `schedules` compiles that once more.
#[cfg(test)]
#[path = "writer/tests.rs"]
mod writer_tests;

pub use admin::backup::{BackupReport, backup, restore};
pub use admin::progress::{Phase, Progress, Watcher};
pub use config::{Access, Config, Durability, JournalMode, OnOldSchema};
pub use database::{Database, DatabaseInfo, DatabaseSize, FileUsers};
pub use error::{OpenError, SqliteError};
pub use files::{belongs_to_database, is_same_file};
pub use invalid::InvalidRow;
pub use lock::holder::LockHolder;
pub use lock::other_processes::OtherProcess;
pub use lock::retry::RetryPolicy;
pub use maintenance::MaintenanceReport;
pub use repository::SqliteActivityRepository;
pub use writer::WriterStats;
