#![doc = include_str!("../README.md")]

mod clock;
mod fault;
pub mod inputs;
pub mod processes;
mod report;
mod rounds;
pub mod storage;

use std::error::Error;

use processes::{
    Acknowledge, Histories, Kill, LostFiles, Neighbours, PowerCuts, RESOLVE_WITHIN, START_WITHIN,
};
use storage::faults::{Calls, Full, Power, Replay, Starve};
use storage::memory::Memory;
use storage::vfs::SharedMemory;

pub use clock::ClockJumps;
pub use fault::{Broken, Fault, Findings, Round};
pub use report::{Failure, FaultReport, TortureReport, text};
pub use rounds::run;

/// Any error, for a process that only prints it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// All faults there are, in the order in which they are run.
#[must_use]
pub fn faults() -> Vec<Box<dyn Fault>> {
    // Some start this program again, in another part.
    let executable = std::env::current_exe().unwrap_or_else(|_| "roas-torture".into());
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
        Box::new(LostFiles {
            executable: executable.clone(),
            acknowledge: Acknowledge::AfterCommit,
        }),
        Box::new(ClockJumps { own_time: true }),
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

/// A runtime with two threads, as sessions use it.
///
/// # Panics
///
/// Where the operating system has no thread left.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads")
}
