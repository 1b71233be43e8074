//! What is measured: anything that can store messages.
//!
//! Every engine stores the same for the same operation: the member's score, the time of the last
//! message, and a count of messages by which a run is verified.

#[cfg(feature = "engines")]
mod baseline;
#[cfg(feature = "engines")]
mod builtin;
#[cfg(feature = "engines")]
mod meter;
mod noop;
#[cfg(feature = "engines")]
mod original;
#[cfg(feature = "engines")]
mod plain;
#[cfg(feature = "engines")]
mod raw;
#[cfg(feature = "engines")]
mod recorder;
#[cfg(feature = "sabotage")]
mod sabotage;
#[cfg(feature = "engines")]
pub(crate) mod sqlite;
pub mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use roas_domain::{MemberKey, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::operations::Operation;
use crate::scenario::Scenario;
use crate::stats::{Latencies, Tally};

#[cfg(feature = "engines")]
pub use builtin::{BuiltIn, ENGINES, is_built_in};
pub use noop::Noop;
#[cfg(feature = "engines")]
pub use recorder::MetricsRecorder;

/// Any error, on its way to whoever reads it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Who is told how many messages a new database has. Often, and not of each.
pub type Stored<'a> = &'a mut (dyn FnMut(u64) + Send);

/// The engines that a program offers.
#[async_trait]
pub trait EngineSet: fmt::Debug + Send + Sync {
    /// Makes the database for a scenario, with everything in it that its engine needs, and closes
    /// it again. The file does not exist yet.
    /// `stored` is told how many of the messages are in it that the scenario wants there
    /// beforehand.
    async fn prepare(
        &self,
        scenario: &Scenario,
        database: &Path,
        stored: Stored<'_>,
    ) -> Result<(), BoxError>;

    /// Opens the scenario's engine on a database that was prepared, in one of its processes.
    async fn open(&self, scenario: &Scenario, database: &Path)
    -> Result<Box<dyn Engine>, BoxError>;
}

/// An open engine.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// Where its sessions run.
    fn execution(&self) -> Execution;

    /// How many operations one call takes.
    fn operations_per_call(&self) -> usize {
        1
    }

    /// A session for one more writing caller.
    async fn session(&self) -> Result<Box<dyn Session>, BoxError>;

    /// A session for one more reading caller.
    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError>;

    /// What it has done so far, where it knows.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// How long the oldest operation of each transaction has waited in its queue, so far, where it
    /// has one and knows.
    fn queue_waits(&self) -> Option<Latencies> {
        None
    }

    /// What it told of its metrics since this was asked last, by their names.
    fn take_metrics(&self) -> BTreeMap<String, Tally> {
        BTreeMap::new()
    }

    /// What it runs on.
    async fn describe(&self) -> Result<Description, BoxError>;

    /// Closes it. All sessions are gone.
    async fn close(self: Box<Self>) -> Result<(), BoxError>;
}

/// Where an engine's sessions run. What is measured, and how, is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// As tasks on a runtime with a thread for each processor: for engines that do not block.
    Tasks,
    /// Each on a thread of its own: for engines that block.
    Threads,
    /// One session alone, on a thread of its own, which is given the operations of all tasks in
    /// turns.
    OneThread,
}

/// One writing caller's way to an engine.
#[async_trait]
pub trait Session: Send {
    /// Stores operations, all or none, and returns when they are as durable as they will be.
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError>;
}

/// One reading caller's way to an engine.
#[async_trait]
pub trait ReadSession: Send {
    /// Reads, and throws away what it read.
    async fn read(&mut self, read: Read) -> Result<(), CallError>;
}

/// One thing to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// What is stored of a member.
    Member(MemberKey),
    /// The ten greatest scores of the member's guild, as they are at a time.
    Leaderboard(MemberKey, UnixSeconds),
    /// The member's place by score, as it is at a time.
    Rank(MemberKey, UnixSeconds),
}

impl Read {
    /// The names of the kinds, in the order of [`Self::kind`].
    pub const KINDS: [&'static str; 3] = ["member", "leaderboard", "rank"];

    /// The kind's index in [`Self::KINDS`].
    #[must_use]
    pub const fn kind(&self) -> usize {
        match self {
            Self::Member(_) => 0,
            Self::Leaderboard(..) => 1,
            Self::Rank(..) => 2,
        }
    }
}

/// Why an operation was not acknowledged.
#[derive(Debug)]
pub struct CallError {
    /// By what it is counted.
    pub kind: CallErrorKind,
    /// What the engine said.
    pub source: BoxError,
}

impl CallError {
    /// A failure of the given kind.
    pub fn new(kind: CallErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }
}

/// The kinds of failures that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallErrorKind {
    /// SQLite said `SQLITE_BUSY` or `SQLITE_LOCKED`, and the caller was told.
    Locked,
    /// The engine waited for the lock, and gave up.
    Busy,
    /// The engine had no room, or the call was not even begun when the run ended.
    Overloaded,
    /// It may have been applied or not.
    Unknown,
    /// The store cannot be used.
    Io,
    /// Anything else.
    Other,
}

impl CallErrorKind {
    /// All kinds, in the order of their indexes.
    pub const ALL: [Self; 6] = [
        Self::Locked,
        Self::Busy,
        Self::Overloaded,
        Self::Unknown,
        Self::Io,
        Self::Other,
    ];

    /// The kind's name in a result.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Overloaded => "overloaded",
            Self::Unknown => "unknown",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

/// What an engine has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Transactions committed.
    pub batches: u64,
    /// Operations in them.
    pub operations: u64,
    /// How often it slept for a lock.
    pub lock_waits: u64,
    /// How long it slept for locks.
    pub lock_wait_us: u64,
    /// Transactions tried again.
    pub retries: u64,
}

impl Counters {
    /// What was done since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            batches: self.batches.saturating_sub(earlier.batches),
            operations: self.operations.saturating_sub(earlier.operations),
            lock_waits: self.lock_waits.saturating_sub(earlier.lock_waits),
            lock_wait_us: self.lock_wait_us.saturating_sub(earlier.lock_wait_us),
            retries: self.retries.saturating_sub(earlier.retries),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            batches: self.batches + other.batches,
            operations: self.operations + other.operations,
            lock_waits: self.lock_waits + other.lock_waits,
            lock_wait_us: self.lock_wait_us + other.lock_wait_us,
            retries: self.retries + other.retries,
        }
    }
}

/// What an engine runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Description {
    /// The version of the SQLite that it links.
    pub sqlite_version: String,
    /// Its settings by name.
    pub pragmas: BTreeMap<String, String>,
}
