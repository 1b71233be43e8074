//! The faults of this folder, as rounds.

use std::fs;

use crate::storage::calls::FailingCalls;
use crate::storage::memory::Memory;
use crate::storage::power::PowerLoss;
use crate::storage::replay::{Replays, Retried};
use crate::storage::vfs::{Call, SharedMemory};
use roas_db::Durability;

use crate::{Broken, Fault, Findings, Round};

/// Power loss, by recording and replaying what is written.
#[derive(Debug)]
pub(crate) struct Power {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) session: PowerLoss,
}

impl Power {
    pub(crate) fn all() -> [Self; 3] {
        let long = PowerLoss {
            steps: 120,
            variants: 12,
            ..PowerLoss::default()
        };
        [
            Self {
                name: "power-full",
                about: "the power fails at any point under synchronous=FULL: nothing acknowledged \
                        is lost, nothing counts twice",
                session: long.clone(),
            },
            Self {
                name: "power-normal",
                about: "the power fails under synchronous=NORMAL: the file is whole, only a tail \
                        is missing",
                session: PowerLoss {
                    durability: Durability::Normal,
                    acknowledged_survives: false,
                    ..long.clone()
                },
            },
            Self {
                name: "power-journal",
                about: "the power fails where WAL is not to be had: as under power-full",
                session: PowerLoss {
                    shared_memory: SharedMemory::Missing,
                    steps: 60,
                    ..long
                },
            },
        ]
    }
}

impl Fault for Power {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        self.session.round(round.seed, round.folder)
    }
}

/// Each call of a session fails in turn, in each way it can, once and from then on.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) shared_memory: SharedMemory,
}

impl Fault for Calls {
    fn name(&self) -> &'static str {
        match self.shared_memory {
            SharedMemory::PassedThrough => "calls",
            SharedMemory::Missing => "calls-journal",
        }
    }

    fn about(&self) -> &'static str {
        match self.shared_memory {
            SharedMemory::PassedThrough => {
                "every read, write, sync, truncation, lock and shared-memory call of a session \
                 fails in turn, once and for good: no answer is wrong, and all works again"
            }
            SharedMemory::Missing => "as calls, where WAL is not to be had",
        }
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let calls = FailingCalls::new(round.seed, self.shared_memory);
        let mut findings = Findings::default();
        for call in Call::ALL {
            for &reason in call.reasons() {
                for lasting in [false, true] {
                    let name = format!("{}-{}-{lasting}", call.name(), reason.name());
                    let folder = round.folder.join(name);
                    fs::create_dir(&folder).map_err(Broken::new)?;
                    findings.add(&calls.sweep(call, reason, lasting, (1, 1), &folder)?);
                }
            }
        }
        Ok(findings)
    }
}

/// A session on a disk with ever more room.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) shared_memory: SharedMemory,
}

/// By how many bytes the room grows: a sector, so that every page and every frame is cut off in
/// several places.
const MORE_ROOM: u64 = 512;

impl Fault for Full {
    fn name(&self) -> &'static str {
        match self.shared_memory {
            SharedMemory::PassedThrough => "full",
            SharedMemory::Missing => "full-journal",
        }
    }

    fn about(&self) -> &'static str {
        match self.shared_memory {
            SharedMemory::PassedThrough => {
                "the disk is full, with room for ever more bytes: callers are told so, reads go on, \
                 no answer is wrong, and all works again"
            }
            SharedMemory::Missing => "as full, where WAL is not to be had",
        }
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        FailingCalls::new(round.seed, self.shared_memory).fill(MORE_ROOM, round.folder)
    }
}

/// A session that is refused memory.
#[derive(Debug)]
pub(crate) struct Starve {
    /// `None` where SQLite was at work before it could be taken over.
    pub(crate) memory: Option<Memory>,
}

/// Every so many-th request of a session is refused in a round, the next ones in the next: so many
/// rounds refuse each.
const STRIDE: u64 = 32;

/// As [`STRIDE`], for refusals that last, which are much the same from one request to the next.
const LASTING_STRIDE: u64 = 512;

impl Fault for Starve {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "SQLite is refused memory at each request in turn (a 32nd of them a round), once, five times \
         and for good: as calls, and nobody is told that the file is at fault"
    }

    fn unavailable(&self) -> Option<String> {
        let missing = self.memory.is_none();
        missing.then(|| "SQLite has been at work in this process already".to_owned())
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let memory = self.memory.ok_or_else(|| Broken::new("no memory"))?;
        let calls = FailingCalls::new(1, SharedMemory::PassedThrough);
        let mut findings = Findings::default();
        for (count, stride) in [(1, STRIDE), (5, LASTING_STRIDE), (u64::MAX, LASTING_STRIDE)] {
            let folder = round.folder.join(format!("{count}-times"));
            fs::create_dir(&folder).map_err(Broken::new)?;
            let every = (
                round.seed % stride + 1,
                usize::try_from(stride).map_err(Broken::new)?,
            );
            findings.add(&calls.starve(memory, count, every, &folder)?);
        }
        Ok(findings)
    }
}

/// Outcomes that nobody knows, tried again.
#[derive(Debug)]
pub(crate) struct Replay;

impl Fault for Replay {
    fn name(&self) -> &'static str {
        "replays"
    }

    fn about(&self) -> &'static str {
        "commits fail with an unknown outcome, 10,000 events a round, and are tried again with the \
         same ids, in part by the process after a kill: each event counts once"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let replays = Replays {
            unknown: 10_000,
            retried: Retried::WithTheSameId,
        };
        replays.round(round.seed, round.folder)
    }
}
