//! Foreign processes beside a run: what else happens to a database file while a bot writes to it.
//!
//! Each is a process of its own that knows SQLite and nothing of the meter. It begins before the
//! first call and goes on until the last is answered; what it did is part of the result, and one
//! that did nothing fails the run, because then the run shows nothing of it.

#[cfg(feature = "engines")]
mod act;
#[cfg(feature = "engines")]
mod copy;
#[cfg(feature = "engines")]
mod serve;
mod started;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::result::ForeignProcessResult;

#[cfg(feature = "engines")]
pub use serve::serve;
pub(crate) use started::ForeignProcesses;

/// The subcommand by which a program is started for this.
pub const FOREIGN_PROCESS: &str = "neighbour";

/// A kind of foreign process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForeignProcess {
    /// Takes the write lock for 0.2 s to 2 s, and leaves it alone for as long, at random.
    Lock,
    /// Runs `VACUUM INTO` over and over, and checks each copy.
    VacuumInto,
    /// Makes an online backup over and over, and checks each.
    Backup,
    /// Runs `wal_checkpoint(TRUNCATE)`, which holds the write lock while it waits for readers: for
    /// 1 s at most.
    Truncate,
    /// Holds a snapshot for as long as it is told, over and over.
    Reader,
}

/// The text names no neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no neighbour; there are lock, vacuum-into, backup, truncate and reader")]
pub struct InvalidForeignProcess(String);

impl ForeignProcess {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Lock,
        Self::VacuumInto,
        Self::Backup,
        Self::Truncate,
        Self::Reader,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::VacuumInto => "vacuum-into",
            Self::Backup => "backup",
            Self::Truncate => "truncate",
            Self::Reader => "reader",
        }
    }
}

impl fmt::Display for ForeignProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForeignProcess {
    type Err = InvalidForeignProcess;

    fn from_str(text: &str) -> Result<Self, InvalidForeignProcess> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| InvalidForeignProcess(text.to_owned()))
    }
}

/// What such a process is told, in a line of JSON on its standard input. It goes on until that
/// ends.
#[derive(Debug, Serialize, Deserialize)]
struct ForeignCommand {
    neighbour: ForeignProcess,
    database: PathBuf,
    /// The engine that writes it, which says what a copy must hold.
    engine: String,
    prefilled: u64,
    hold: Duration,
    rest: f64,
    seed: u64,
}

/// What it answers, each in a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ForeignReply {
    /// It has opened the database.
    Ready,
    /// It has stopped.
    Done(ForeignProcessResult),
}

/// Why a run beside this neighbour proves nothing, or is wrong.
#[must_use]
pub fn problems(result: &ForeignProcessResult) -> Vec<String> {
    let name = &result.neighbour;
    let mut problems: Vec<_> = result
        .problems
        .iter()
        .map(|problem| format!("neighbour {name}: {problem}"))
        .collect();
    if result.done == 0 {
        problems.push(format!(
            "neighbour {name} did nothing, so that the run does not show what it does to it"
        ));
    }
    if let Some(verified) = result.verified.filter(|verified| *verified < result.done) {
        let done = result.done;
        problems.push(format!(
            "neighbour {name}: of {done} only {verified} were as they should be"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in ForeignProcess::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for wrong in ["", "Lock", "vacuum"] {
            assert!(wrong.parse::<ForeignProcess>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_that_did_nothing_or_saw_something_wrong_is_a_problem() {
        let fine = ForeignProcessResult {
            neighbour: "backup".to_owned(),
            done: 3,
            verified: Some(3),
            ..ForeignProcessResult::default()
        };
        let idle = ForeignProcessResult {
            done: 0,
            verified: Some(0),
            ..fine.clone()
        };
        let torn = ForeignProcessResult {
            verified: Some(2),
            ..fine.clone()
        };
        let failed = ForeignProcessResult {
            problems: vec!["disk I/O error".to_owned()],
            ..fine.clone()
        };
        assert_eq!(problems(&fine), [""; 0]);
        for wrong in [idle, torn, failed] {
            assert_eq!(problems(&wrong).len(), 1, "{wrong:?}");
        }
    }
}
