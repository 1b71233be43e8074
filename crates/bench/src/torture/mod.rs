//! Breaks the database on purpose: the long form of what the test-suite does in short.
//!
//! A [`Fault`] is one way of breaking it, and [`run`] runs rounds of one. A round is given a seed
//! and an empty folder and depends on nothing else, as far as the operating system lets it, so that
//! a round that broke a promise is repeated by `--only FAULT --rounds 1 --seed SEED`.
//!
//! # Adding a fault
//!
//! Implement [`Fault`], and add it to [`faults`]. It shows up in `--only`, in the table, and in the
//! JSON by itself.

mod faults;
mod histories;
pub mod inputs;
mod kill;
mod ledger;
mod linearizable;
mod load;
mod neighbours;
mod part;
mod power_cut;
mod report;
mod rounds;

use std::path::Path;

pub use histories::{Histories, history};
pub use kill::{Kill, START_WITHIN};
pub use linearizable::{Call, Operation, Said, Who, check};
pub use load::Acknowledge;
pub use neighbours::{Neighbours, RESOLVE_WITHIN};
pub use part::{PART, play};
pub use power_cut::PowerCuts;
pub use report::{Failure, FaultReport, TortureReport, text};
use roas_faults::memory::Memory;
use roas_faults::vfs::SharedMemory;
pub use roas_faults::{Broken, Findings};
pub use rounds::run;

use faults::{Calls, Full, Power, Replay, Starve};

/// One way of breaking a database.
pub trait Fault: std::fmt::Debug {
    /// Its name, for `--only` and the table: lower case, words joined by hyphens.
    fn name(&self) -> &'static str;

    /// What is done, and what has to hold, in a line.
    fn about(&self) -> &'static str;

    /// Why it cannot be run on this machine, where it cannot: what is missing.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Whether it mounts file systems.
    fn mounts(&self) -> bool {
        false
    }

    /// Runs one round.
    ///
    /// # Errors
    ///
    /// The promise that was broken, and how that showed.
    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken>;
}

/// What a round is given.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// Decides all that is random.
    pub seed: u64,
    /// An empty folder that nobody else uses, removed afterwards.
    pub folder: &'a Path,
}

/// All faults there are, in the order in which they are run.
#[must_use]
pub fn faults() -> Vec<Box<dyn Fault>> {
    // Some start this program again, in another part.
    let executable = std::env::current_exe().unwrap_or_else(|_| "roas-bench".into());
    let mut all: Vec<Box<dyn Fault>> = vec![
        Box::new(Kill {
            executable: executable.clone(),
            acknowledge: Acknowledge::AfterCommit,
            start_within: Some(START_WITHIN),
        }),
        Box::new(Neighbours {
            executable: executable.clone(),
            resolve_within: Some(RESOLVE_WITHIN),
        }),
        Box::new(Histories {
            executable: executable.clone(),
        }),
    ];
    all.extend(PowerCuts::all(&executable).map(|cuts| Box::new(cuts) as Box<dyn Fault>));
    all.extend(Power::all().map(|power| Box::new(power) as Box<dyn Fault>));
    for shared_memory in [SharedMemory::PassedThrough, SharedMemory::Missing] {
        all.push(Box::new(Calls { shared_memory }));
        all.push(Box::new(Full { shared_memory }));
    }
    all.push(Box::new(Replay));
    all.push(Box::new(Starve {
        memory: Memory::take_over(),
    }));
    all
}
