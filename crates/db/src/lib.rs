#![doc = include_str!("../README.md")]

mod backup;
mod busy;
mod checkpoint;
mod config;
mod connection;
mod database;
mod error;
mod files;
mod holder;
mod maintenance;
pub mod metrics;
mod migration;
mod neighbours;
mod progress;
mod rank;
mod reader;
mod repository;
mod retry;
#[cfg(test)]
mod schedules;
mod sql;
mod sync;
mod turns;
mod wal_file;
mod writer;
// Not within the writer: `schedules` compiles that once more.
#[cfg(test)]
#[path = "writer/tests.rs"]
mod writer_tests;

pub use backup::{BackupReport, backup, restore};
pub use config::{Access, Config, Durability, OnOldSchema};
pub use database::{Database, DatabaseInfo, DatabaseSize, FileUsers};
pub use error::{OpenError, SqliteError};
pub use holder::LockHolder;
pub use maintenance::MaintenanceReport;
pub use migration::{
    AppliedMigration, Audit, CheckReport, Contents, DuplicateKey, LegacyKind, MigrateOptions,
    MigrationName, MigrationReport, MigrationStatus, Reason, RepairReport, RollbackOptions,
    RollbackReport, RowCounts, Strategy, Takeover, audit, check, migrate, migrate_with,
    migration_status, rehearse, repair, rollback,
};
pub use neighbours::Neighbour;
pub use progress::{Phase, Progress, Watcher};
pub use repository::SqliteActivityRepository;
pub use retry::RetryPolicy;
pub use writer::WriterStats;
