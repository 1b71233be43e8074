#![doc = include_str!("../README.md")]

mod error_text;
pub mod gateway;
pub mod ingest;
pub mod latency;
pub mod meter;
pub mod rules;
pub mod service;
pub mod startup;

pub use error_text::one_line;
pub use gateway::{GatewayLine, IgnoredReason, LineError, parse_line};
pub use ingest::{IngestError, IngestObserver, IngestOptions, IngestSummary, ingest};
pub use latency::{LatencyRecorder, LatencySummary};
pub use meter::{Meter, MeterComponent};
pub use rules::{RuleError, apply_rule, rule_values};
pub use service::{ActivityMeterService, Leaderboard, MemberView, Places, Ranking};
pub use startup::{
    Component, ComponentError, ComponentSpec, Criticality, Health, StartRetries, StartupError,
    StartupManager,
};
