#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod busy;
mod checkpoint;
mod config;
mod connection;
mod database;
mod error;
mod holder;
mod legacy;
mod maintenance;
mod migration;
mod reader;
mod repository;
mod retry;
mod sql;
mod writer;

pub use config::{Access, Config, Durability, OnOldSchema};
pub use database::{Database, DatabaseInfo, DatabaseSize};
pub use error::{OpenError, SqliteError};
pub use holder::LockHolder;
pub use legacy::{Contents, LegacyKind};
pub use maintenance::MaintenanceReport;
pub use migration::{
    AppliedMigration, MigrationName, MigrationReport, MigrationStatus, migrate, migration_status,
};
pub use repository::SqliteActivityRepository;
pub use retry::RetryPolicy;
pub use writer::WriterStats;
