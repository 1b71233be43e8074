//! Brings the components of a bot process up in the order of their dependencies, and down in
//! reverse.
//!
//! A bot is a handful of long-lived parts: the database, the activity service, the gateway
//! connection, an exporter. Each module registers its own as a [`ComponentSpec`] and names what it
//! needs. [`StartupManager`] checks the graph before anything runs, starts level by level, retries
//! what may be retried, takes everything down again where a critical part fails, and reports what
//! happened in values rather than in log lines alone.
//!
//! ```
//! use std::time::Duration;
//!
//! use async_trait::async_trait;
//! use roas_app::startup::{
//!     Component, ComponentError, ComponentSpec, Criticality, Health, StartRetries, StartupManager,
//! };
//!
//! struct Database;
//!
//! #[async_trait]
//! impl Component for Database {
//!     async fn start(&self) -> Result<(), ComponentError> {
//!         Ok(()) // open the file, migrate it, start the writer
//!     }
//! }
//!
//! struct Leaderboard;
//!
//! #[async_trait]
//! impl Component for Leaderboard {
//!     async fn start(&self) -> Result<(), ComponentError> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut manager = StartupManager::new([
//!     // The order of registration does not matter: the dependencies decide.
//!     ComponentSpec::new("leaderboard", Leaderboard)
//!         .depends_on(["database"])
//!         .criticality(Criticality::Optional),
//!     ComponentSpec::new("database", Database)
//!         .start_timeout(Duration::from_secs(5))
//!         .retries(StartRetries { attempts: 3, ..StartRetries::default() }),
//! ])?;
//! assert_eq!(manager.plan(), [["database"], ["leaderboard"]]);
//!
//! let report = manager.start().await?;
//! assert!(report.is_complete());
//! assert_eq!(manager.health().await.overall(), Health::Healthy);
//!
//! let report = manager.shutdown(Duration::from_secs(20)).await;
//! assert!(report.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! # The rules
//!
//! - A component's *level* is the length of the longest path of dependencies beneath it. A level
//!   starts when the one below has settled; the components of a level start concurrently.
//! - A [critical](Criticality::Critical) component that fails stops the start: what is still
//!   starting is cancelled, and everything touched is stopped in reverse order before
//!   [`StartupManager::start`] returns the error.
//! - An [optional](Criticality::Optional) component that fails is reported, and whatever depends on
//!   it, directly or through others, is skipped. Where a critical component is among those, that is
//!   a failure of the start as well: the error names both. Letting a critical component depend on
//!   an optional one is therefore legal, and makes the optional one as good as critical.
//! - Calls to a component are its own tokio tasks: a panic is a failed call, never the end of the
//!   process, and limits hold at await points (see [`Component`]).
//!
//! # From several tasks
//!
//! Starting and stopping take `&mut self`, because they exclude each other; asking for health takes
//! `&self`. A process that answers health questions while it runs shares the manager behind a
//! `tokio::sync::RwLock`.

mod component;
mod error;
mod level;
mod manager;
mod plan;
mod report;
mod state;
mod task;

pub use component::{Component, ComponentSpec, Criticality, Health, StartRetries};
pub use error::{ComponentError, ComponentFailure, StartupError};
pub use manager::StartupManager;
pub use plan::PlanError;
pub use report::{
    ComponentHealth, HealthReport, ShutdownReport, StartStatus, StartedComponent, StartupReport,
    StopStatus, StoppedComponent,
};
