//! What the peers share: from a driver's few calls to a program that roas-bench can start.
//!
//! A peer is a driver as a bot's author would use it. It implements [`Peer`] and calls [`main`];
//! scenario, operations, driver, statistics and result are roas-bench's own.
//!
//! Each driver comes in two settings. `default` is what its README shows: connection, pool and
//! statements as they come. `tuned` is what one learns later: WAL, a busy timeout of five seconds,
//! and `BEGIN IMMEDIATE`. `synchronous` is set as asked in both, or a comparison under `normal`
//! would be one of unlike things; under `full` it is SQLite's default.

mod engine;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use roas_bench::operations::Operation;

pub use roas_bench::engine::{BoxError, CallError, CallErrorKind, Read, table};
pub use roas_bench::scenario::Synchronous;

/// How long a tuned connection waits for a lock.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is read of an open database to say what it runs on: a name, and a query for one text.
pub const FACTS: [(&str, &str); 6] = [
    (SQLITE_VERSION, "SELECT sqlite_version()"),
    (
        "journal_mode",
        "SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode",
    ),
    (
        "synchronous",
        "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
    ),
    (
        "busy_timeout",
        "SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout",
    ),
    (
        "cache_size",
        "SELECT CAST(cache_size AS TEXT) FROM pragma_cache_size",
    ),
    (
        "page_size",
        "SELECT CAST(page_size AS TEXT) FROM pragma_page_size",
    ),
];

/// The one of [`FACTS`] that is no setting.
const SQLITE_VERSION: &str = "sqlite_version";

/// How a peer is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The database.
    pub database: PathBuf,
    /// What an acknowledged write survives.
    pub synchronous: Synchronous,
    /// Whether as one learns later, or as the README shows.
    pub tuned: bool,
}

impl Setup {
    /// The setting of a connection that is made in both, as SQL.
    #[must_use]
    pub fn synchronous_sql(&self) -> &'static str {
        match self.synchronous {
            Synchronous::Normal => "PRAGMA synchronous = NORMAL",
            Synchronous::Full => "PRAGMA synchronous = FULL",
        }
    }

    /// The database's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.database
    }
}

/// One message, as the parameters of [`table::UPSERT`].
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// The guild.
    pub guild: i64,
    /// The member.
    pub user: i64,
    /// What the score gains.
    pub gain: f64,
    /// When, in seconds since 1970.
    pub at: i64,
}

impl Message {
    /// The parameters in the order of the statement.
    #[must_use]
    pub const fn row(self) -> (i64, i64, f64, i64) {
        (self.guild, self.user, self.gain, self.at)
    }
}

impl From<&Operation> for Message {
    fn from(operation: &Operation) -> Self {
        Self {
            guild: operation.member.guild.to_i64(),
            user: operation.member.user.to_i64(),
            gain: table::GAIN,
            at: operation.at.get(),
        }
    }
}

/// One thing to be read, as the parameters of its statement.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// [`table::SELECT`]: guild and user.
    Member(i64, i64),
    /// [`table::LEADERBOARD`]: guild.
    Leaderboard(i64),
    /// [`table::RANK`]: guild and user.
    Rank(i64, i64),
}

impl From<Read> for Question {
    fn from(read: Read) -> Self {
        match read {
            Read::Member(member) => Self::Member(member.guild.to_i64(), member.user.to_i64()),
            // Ranked as they are stored: a peer's scores do not fade.
            Read::Leaderboard(member, _) => Self::Leaderboard(member.guild.to_i64()),
            Read::Rank(member, _) => Self::Rank(member.guild.to_i64(), member.user.to_i64()),
        }
    }
}

/// Messages that are in the database before a run.
pub type Prefill = Box<dyn Iterator<Item = Message> + Send>;

/// A driver, open on a database. Clones share its connections.
#[async_trait]
pub trait Peer: fmt::Debug + Clone + Send + Sync + 'static {
    /// The engine's name in results.
    const NAME: &'static str;

    /// Makes the database with [`table::CREATE`] in it and these messages, in the journal mode of
    /// the setup, and closes it.
    async fn create(setup: Setup, prefill: Prefill) -> Result<(), BoxError>;

    /// Opens it, as the driver's users do it once.
    async fn open(setup: Setup) -> Result<Self, BoxError>;

    /// Stores a message in a transaction of its own.
    async fn store(&self, message: Message) -> Result<(), CallError>;

    /// Reads, and throws away what it read.
    async fn read(&self, question: Question) -> Result<(), CallError>;

    /// The answer to a query for one text.
    async fn text(&self, sql: &'static str) -> Result<String, BoxError>;

    /// Closes all connections.
    async fn close(self) -> Result<(), BoxError>;
}

/// What a peer's program does: it runs the scenario of its command line and prints the result as
/// JSON, or serves as one of a scenario's processes.
#[must_use]
pub fn main<P: Peer>() -> ExitCode {
    roas_bench::cli::peer_main(&engine::Peers::<P>::new())
}

/// The kind of a failure, by SQLite's result code. A transaction that failed for a lock was not
/// applied; one that failed for anything else may have been, if it had come to its commit.
#[must_use]
pub fn kind_of(result_code: i32, committing: bool) -> CallErrorKind {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READ_ONLY: i32 = 8;
    const IO: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const NO_DATABASE: i32 = 26;
    match result_code & 0xff {
        BUSY | LOCKED => CallErrorKind::Locked,
        _ if committing => CallErrorKind::Unknown,
        READ_ONLY | IO | CORRUPT | FULL | CANNOT_OPEN | NO_DATABASE => CallErrorKind::Io,
        _ => CallErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_was_not_applied_and_anything_else_may_have_been() {
        const BUSY_SNAPSHOT: i32 = 517;
        const IO_FSYNC: i32 = 1034;
        const CONSTRAINT: i32 = 19;
        assert_eq!(kind_of(5, true), CallErrorKind::Locked);
        assert_eq!(kind_of(6, false), CallErrorKind::Locked);
        assert_eq!(kind_of(BUSY_SNAPSHOT, true), CallErrorKind::Locked);
        assert_eq!(kind_of(IO_FSYNC, true), CallErrorKind::Unknown);
        assert_eq!(kind_of(IO_FSYNC, false), CallErrorKind::Io);
        assert_eq!(kind_of(CONSTRAINT, false), CallErrorKind::Other);
    }
}
