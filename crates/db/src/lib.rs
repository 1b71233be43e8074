#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod audit;
mod backup;
mod busy;
mod checkpoint;
mod config;
mod connection;
mod database;
mod error;
mod files;
mod holder;
mod legacy;
mod maintenance;
mod migration;
mod neighbours;
mod progress;
mod rank;
mod reader;
mod repair;
mod repository;
mod retry;
mod rollback;
mod schema;
mod sql;
mod takeover;
mod writer;

pub use audit::{Audit, DuplicateKey, Reason, audit};
pub use backup::{BackupReport, backup, restore};
pub use config::{Access, Config, Durability, OnOldSchema};
pub use database::{Database, DatabaseInfo, DatabaseSize};
pub use error::{OpenError, SqliteError};
pub use holder::LockHolder;
pub use legacy::{Contents, LegacyKind};
pub use maintenance::MaintenanceReport;
pub use migration::{
    AppliedMigration, MigrateOptions, MigrationName, MigrationReport, MigrationStatus, migrate,
    migrate_with, migration_status, rehearse,
};
pub use neighbours::Neighbour;
pub use progress::{Phase, Progress, Watcher};
pub use repair::{CheckReport, RepairReport, check, repair};
pub use repository::SqliteActivityRepository;
pub use retry::RetryPolicy;
pub use rollback::{RollbackOptions, RollbackReport, rollback};
pub use takeover::{RowCounts, Strategy, Takeover};
pub use writer::WriterStats;
