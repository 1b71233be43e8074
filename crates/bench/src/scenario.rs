//! What is offered to an engine.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::foreign::ForeignProcess;
use crate::keys::{Keys, Members};
use crate::operations::MAX_STREAMS;

/// The bounds within which every member's id fits.
const MAX_GUILDS: u64 = 1_000_000;
const MAX_MEMBERS: u64 = 1_000_000_000;

/// Members of each guild, where that is not told.
pub const MEMBERS: u64 = 1_000;

/// The greatest `--batch`.
const MAX_BATCH: u32 = 100_000;

/// For how long a foreign reader holds a snapshot, where that is not told: a report, an export.
pub const HOLD: Duration = Duration::from_secs(30);

/// Over how long the messages are spread that a run finds in the database, where that is not told. By
/// the default rules a score of one message is whole for 5 minutes and gone after 15, so that as the run
/// begins half of them are gone, and those that are left differ.
pub const PREFILL_OVER: Duration = Duration::from_mins(30);

/// The greatest `--rest`.
const MAX_REST: f64 = 1_000.0;

/// The longest run, warm-up included.
const MAX_LENGTH: Duration = Duration::from_hours(24);

/// One load: what is written, by how many, for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The engine's name.
    pub engine: String,
    /// How a peer is set up.
    pub tuning: Option<String>,
    /// Writing callers in each process.
    pub tasks: u32,
    /// Processes on the one file.
    pub processes: u32,
    /// Reading callers in each process.
    pub readers: u32,
    /// The pause of a reading caller between an answer and its next read; without it there is none.
    pub read_every: Option<Duration>,
    /// Guilds.
    pub guilds: u64,
    /// Members of each guild.
    pub members: u64,
    /// How members are drawn.
    pub keys: Keys,
    /// What an acknowledged write survives.
    pub synchronous: Synchronous,
    /// Operations in a transaction, for engines that are told.
    pub batch: u32,
    /// Calls a second in all, for an open loop; without it the loop is closed.
    pub rate_per_s: Option<f64>,
    /// The seed of the operations.
    pub seed: u64,
    /// How long it runs before anything is measured. Nothing, where operations are counted.
    pub warmup: Duration,
    /// For how long it runs.
    pub length: Length,
    /// Whether every member has one message in the database beforehand.
    pub prefill: bool,
    /// Over how long before the first of the run these messages are spread.
    pub prefill_over: Duration,
    /// The foreign processes beside it, each once.
    pub neighbours: Vec<ForeignProcess>,
    /// For how long the one that reads holds a snapshot at a time.
    pub hold: Duration,
    /// How many times as long as it acted a neighbour then leaves the database alone, at least.
    pub rest: f64,
}

/// For how long a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Length {
    /// This long, after the warm-up.
    Duration(Duration),
    /// So many operations, over all tasks and processes.
    Operations(u64),
}

/// SQLite's `synchronous`, as far as it is worth comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// In WAL mode a commit survives the process, not the machine.
    Normal,
    /// Every commit is synced.
    Full,
}

impl fmt::Display for Synchronous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Full => "full",
        })
    }
}

impl FromStr for Synchronous {
    type Err = InvalidScenario;

    fn from_str(text: &str) -> Result<Self, InvalidScenario> {
        match text {
            "normal" => Ok(Self::Normal),
            "full" => Ok(Self::Full),
            _ => Err(InvalidScenario(format!(
                "`{text}` is neither normal nor full"
            ))),
        }
    }
}

/// The scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidScenario(String);

/// The engine `meter`, 64 tasks in one process, 5 × 1,000 members by Zipf's law, FULL, closed loop,
/// 10 s after 2 s.
impl Default for Scenario {
    fn default() -> Self {
        Self {
            engine: "meter".to_owned(),
            tuning: None,
            tasks: 64,
            processes: 1,
            readers: 0,
            read_every: None,
            guilds: 5,
            members: MEMBERS,
            keys: Keys::Zipf(1.1),
            synchronous: Synchronous::Full,
            batch: 1,
            rate_per_s: None,
            seed: 1,
            warmup: Duration::from_secs(2),
            length: Length::Duration(Duration::from_secs(10)),
            prefill: false,
            prefill_over: PREFILL_OVER,
            neighbours: Vec::new(),
            hold: HOLD,
            rest: 0.0,
        }
    }
}

impl Scenario {
    /// Whether this is the engine that takes operations from one caller and batches them as told.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.engine == "raw"
    }

    /// Refuses what cannot be run.
    ///
    /// # Errors
    ///
    /// [`InvalidScenario`] says what is wrong.
    pub fn validated(self) -> Result<Self, InvalidScenario> {
        let streams = u64::from(self.tasks) * u64::from(self.processes);
        let hot = match self.keys {
            Keys::Hot(hot) => hot.get(),
            _ => 1,
        };
        let longest = match self.length {
            Length::Duration(length) => length + self.warmup,
            Length::Operations(_) => Duration::ZERO,
        };
        let wrong = if !(1..=u64::from(MAX_STREAMS)).contains(&streams) {
            format!("tasks times processes must be 1 to {MAX_STREAMS}")
        } else if !(1..=MAX_GUILDS).contains(&self.guilds) {
            format!("guilds must be 1 to {MAX_GUILDS}")
        } else if !(1..=MAX_MEMBERS).contains(&self.members) {
            format!("members must be 1 to {MAX_MEMBERS}")
        } else if hot > self.guilds * self.members {
            "there are fewer members than hot ones".to_owned()
        } else if !(1..=MAX_BATCH).contains(&self.batch) {
            format!("batch must be 1 to {MAX_BATCH}")
        } else if self.is_raw() && self.processes > 1 {
            "raw is one connection in one process".to_owned()
        } else if self
            .rate_per_s
            .is_some_and(|rate| !(rate > 0.0 && rate <= 1e9))
        {
            "rate must be above 0, and at most 1000000000 a second".to_owned()
        } else if self.length == Length::Duration(Duration::ZERO)
            || self.length == Length::Operations(0)
        {
            "a run has to last: neither duration nor operations may be 0".to_owned()
        } else if self.engine == "noop" && !self.neighbours.is_empty() {
            "noop has no database that neighbours could share".to_owned()
        } else if self.hold.is_zero() || self.hold > MAX_LENGTH {
            "a snapshot is held for more than nothing, and at most 24 hours".to_owned()
        } else if !(0.0..=MAX_REST).contains(&self.rest) {
            format!("a neighbour rests 0 to {MAX_REST} times as long as it acted")
        } else if longest > MAX_LENGTH {
            "a run lasts at most 24 hours".to_owned()
        } else {
            return Ok(self);
        };
        Err(InvalidScenario(wrong))
    }

    /// Engine and setting in a few words; the members of a guild, where they are not as many as
    /// usual.
    #[must_use]
    pub fn label(&self) -> String {
        let Self {
            tasks,
            processes,
            synchronous,
            batch,
            members,
            ..
        } = self;
        let engine = match &self.tuning {
            Some(tuning) => format!("{} {tuning}", self.engine),
            None => self.engine.clone(),
        };
        let label = if self.is_raw() {
            format!("raw:{batch} {synchronous}")
        } else if *processes > 1 {
            format!("{engine} {processes}x{tasks} tasks {synchronous}")
        } else if *tasks == 1 {
            format!("{engine} 1 task {synchronous}")
        } else {
            format!("{engine} {tasks} tasks {synchronous}")
        };
        if *members == MEMBERS {
            label
        } else {
            format!("{label} {members} members")
        }
    }

    /// The options that describe this scenario to `roas-bench run`, and to a peer.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |name: &str, value: &dyn fmt::Display| {
            options.push(format!("--{name}"));
            options.push(value.to_string());
        };
        add("engine", &self.engine);
        if let Some(tuning) = &self.tuning {
            add("tuning", tuning);
        }
        add("tasks", &self.tasks);
        add("processes", &self.processes);
        if self.readers > 0 {
            add("readers", &self.readers);
        }
        if let Some(pause) = self.read_every {
            // In seconds, because it may be shorter than a millisecond.
            add("read-every", &format_args!("{}s", pause.as_secs_f64()));
        }
        add("guilds", &self.guilds);
        add("members", &self.members);
        add("keys", &self.keys);
        add("synchronous", &self.synchronous);
        if self.is_raw() {
            add("batch", &self.batch);
        }
        if let Some(rate) = self.rate_per_s {
            add("rate", &rate);
        }
        add("seed", &self.seed);
        match self.length {
            Length::Duration(length) => {
                add("warmup", &format_args!("{}ms", self.warmup.as_millis()));
                add("duration", &format_args!("{}ms", length.as_millis()));
            }
            Length::Operations(operations) => add("operations", &operations),
        }
        if !self.neighbours.is_empty() {
            let names: Vec<_> = self.neighbours.iter().map(|kind| kind.name()).collect();
            add("neighbours", &names.join(","));
        }
        if self.neighbours.contains(&ForeignProcess::Reader) {
            add("hold", &format_args!("{}ms", self.hold.as_millis()));
        }
        if !self.neighbours.is_empty() && self.rest > 0.0 {
            add("rest", &self.rest);
        }
        if self.prefill {
            options.push("--prefill".to_owned());
            options.push("--prefill-over".to_owned());
            options.push(format!("{}ms", self.prefill_over.as_millis()));
        }
        options
    }

    /// How many operations a stream has.
    #[must_use]
    pub fn quota(&self, stream: u32) -> u64 {
        match self.length {
            Length::Duration(_) => u64::MAX,
            Length::Operations(operations) => {
                let streams = u64::from(self.tasks) * u64::from(self.processes);
                operations / streams + u64::from(u64::from(stream) < operations % streams)
            }
        }
    }

    /// How long it runs before the measured window.
    #[must_use]
    pub const fn effective_warmup(&self) -> Duration {
        match self.length {
            Length::Duration(_) => self.warmup,
            Length::Operations(_) => Duration::ZERO,
        }
    }

    /// The members whose messages are offered.
    #[must_use]
    pub fn all_members(&self) -> Members {
        Members::new(self.guilds, self.members, self.keys)
    }

    /// How many messages are in the database beforehand.
    #[must_use]
    pub const fn prefilled(&self) -> u64 {
        if self.prefill {
            self.guilds * self.members
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_differs() {
        let label = |engine: &str, tasks, processes, batch| {
            Scenario {
                engine: engine.to_owned(),
                tasks,
                processes,
                batch,
                ..Scenario::default()
            }
            .label()
        };
        assert_eq!(label("meter", 256, 1, 1), "meter 256 tasks full");
        assert_eq!(label("meter", 1, 1, 1), "meter 1 task full");
        assert_eq!(label("original", 16, 4, 1), "original 4x16 tasks full");
        assert_eq!(label("raw", 64, 1, 500), "raw:500 full");
    }

    #[test]
    fn impossible_scenarios_are_refused() {
        let fine = Scenario::default();
        assert!(fine.clone().validated().is_ok());
        for wrong in [
            Scenario {
                tasks: 0,
                ..fine.clone()
            },
            Scenario {
                processes: 0,
                ..fine.clone()
            },
            Scenario {
                tasks: 1 << 20,
                processes: 8,
                ..fine.clone()
            },
            Scenario {
                members: 0,
                ..fine.clone()
            },
            Scenario {
                batch: 0,
                ..fine.clone()
            },
            Scenario {
                engine: "raw".to_owned(),
                processes: 2,
                ..fine.clone()
            },
            Scenario {
                rate_per_s: Some(f64::NAN),
                ..fine.clone()
            },
            Scenario {
                length: Length::Operations(0),
                ..fine.clone()
            },
            Scenario {
                rest: f64::INFINITY,
                ..fine.clone()
            },
            Scenario {
                keys: "hot:6".parse().unwrap(),
                guilds: 1,
                members: 5,
                ..fine.clone()
            },
        ] {
            assert!(wrong.clone().validated().is_err(), "{wrong:?}");
        }
    }
}
