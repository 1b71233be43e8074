//! Unknown outcomes, tried again: with the same id, none is counted twice and none is lost.
//!
//! The sync of a commit fails, so that its callers are told that nobody knows. In most cases nothing
//! of it is applied. Where the process dies right then, whoever opens the file next finds a whole
//! commit in the WAL, and it is applied after all. The callers do what both cases call for: they send
//! the same events once more, at times into a disk that fails again.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use roas_db::{Config, Database, RetryPolicy, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, event_id, member, message_with_id};
use roas_domain::{ActivityEvent, ActivityRepository, Effect, EventOutcome, RepositoryError};

use crate::runtime;
use crate::storage::play;
use crate::storage::script::{Act, Script, Stored};
use crate::storage::vfs::{Call, Disk, FaultyVfs, Plan, Reason, Syncs};
use crate::{Broken, Findings};

/// Events of one group are those of different members, so that their order makes no difference.
const MEMBERS: u64 = 64;

/// From here on ids are those of callers who give an event another id.
const OTHER_IDS: u64 = 1 << 40;

/// A session of events whose outcomes are unknown at first.
#[derive(Debug, Clone, Copy)]
pub struct Replays {
    /// After how many unknown outcomes it ends.
    pub unknown: u64,
    /// What callers do about an unknown outcome.
    pub retried: Retried,
}

/// What callers do about an unknown outcome. All but one are mistakes, there to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// They send the same event again.
    WithTheSameId,
    /// They send it again with an id of its own.
    WithAnotherId,
    /// They take it for applied.
    Never,
}

/// In what way the events of a group are sent.
#[derive(Debug, Clone, Copy)]
enum Sent {
    OneByOne,
    InOneCall,
    AtOnce,
}

impl Replays {
    /// Runs a session in an empty folder, and holds the file at its end to what was sent.
    ///
    /// # Errors
    ///
    /// The promise that was broken.
    pub fn round(&self, seed: u64, folder: &Path) -> Result<Findings, Broken> {
        runtime().block_on(self.session(Rng::with_seed(seed), folder))
    }

    async fn session(&self, mut rng: Rng, folder: &Path) -> Result<Findings, Broken> {
        let vfs = FaultyVfs::register();
        vfs.disk().set_syncs(Syncs::AreQuick);
        let mut process = Process::start(folder.join("0"), &vfs).await?;
        let mut findings = Findings::default();
        let mut script = Script {
            acts: Vec::new(),
            steps: Vec::new(),
        };
        while findings.states < self.unknown {
            let group = group(&mut rng, script.acts.len() as u64);
            script.acts.extend(group.iter().copied().map(Act::Record));
            let sent = *rng
                .choice(&[Sent::OneByOne, Sent::InOneCall, Sent::AtOnce])
                .unwrap_or(&Sent::OneByOne);
            let mut round = Round {
                fails: true,
                replayed: false,
                findings: &mut findings,
            };
            let mut pending = round.send(&process, vfs.disk(), sent, group).await?;
            while !pending.is_empty() {
                if rng.u8(..16) == 0 {
                    let next = folder.join(round.findings.states.to_string());
                    process = process.killed(next, &vfs).await?;
                    round.findings.count("processes killed", 1);
                }
                match self.retried {
                    Retried::WithTheSameId => {}
                    Retried::WithAnotherId => pending.iter_mut().for_each(rename),
                    Retried::Never => break,
                }
                round.fails = rng.u8(..4) == 0;
                round.replayed = true;
                pending = round.send(&process, vfs.disk(), sent, pending).await?;
            }
        }
        play::close(process.database).await?;
        let stored = Stored::in_file(process.config.path(), None)?;
        script.all_counted_once(&stored)?;
        match script.held_by(&stored)?.iter().position(|held| !held) {
            Some(act) => Err(Broken::new(format_args!("event {act} is not remembered"))),
            None => Ok(findings),
        }
    }
}

/// A group of events of different members, after `sent` others.
fn group(rng: &mut Rng, sent: u64) -> Vec<ActivityEvent> {
    let mut users: Vec<u64> = (0..MEMBERS).collect();
    rng.shuffle(&mut users);
    let size = rng.usize(1..=users.len());
    (sent..)
        .zip(&users[..size])
        .map(|(number, user)| {
            let member = member(user % 2 + 1, user / 2 + 1);
            message_with_id(number + 1, member, MIDNIGHT + number.cast_signed())
        })
        .collect()
}

fn rename(event: &mut ActivityEvent) {
    event.id = event.id.map(|id| event_id(id.get() + OTHER_IDS));
}

/// One time that events are sent.
struct Round<'a> {
    /// Whether the disk does.
    fails: bool,
    replayed: bool,
    findings: &'a mut Findings,
}

impl Round<'_> {
    /// Sends events, and answers those whose caller was not told that they are recorded.
    async fn send(
        &mut self,
        process: &Process,
        disk: &Disk,
        sent: Sent,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<ActivityEvent>, Broken> {
        if self.fails {
            disk.arm(Plan::from(Call::Sync, Reason::Io, 1));
        }
        let answers = send(&process.database.repository(), sent, &events).await?;
        self.findings.count("syncs failed", disk.mend());
        let mut pending = Vec::new();
        for (event, answer) in events.into_iter().zip(answers) {
            match answer {
                Ok(EventOutcome::Duplicate) if self.replayed => {
                    self.findings.count("found applied", 1);
                }
                Ok(EventOutcome::Duplicate) => {
                    return Err(Broken::new(format_args!("{event:?} was new")));
                }
                Ok(_) if self.replayed => self.findings.count("applied by the replay", 1),
                Ok(_) => {}
                Err(error) if !self.fails => {
                    return Err(Broken::new(format_args!("without a fault: {error}")));
                }
                Err(error) => {
                    if error.effect() == Effect::Unknown {
                        self.findings.states += 1;
                    } else {
                        self.findings.count("not applied", 1);
                    }
                    pending.push(event);
                }
            }
        }
        Ok(pending)
    }
}

async fn send(
    repository: &SqliteActivityRepository,
    sent: Sent,
    events: &[ActivityEvent],
) -> Result<Vec<Result<EventOutcome, RepositoryError>>, Broken> {
    let mut answers = Vec::new();
    match sent {
        Sent::OneByOne => {
            for event in events {
                answers.push(repository.record(*event).await);
            }
        }
        Sent::InOneCall => match repository.record_many(events.to_vec()).await {
            Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
            Err(error) => answers.resize(events.len(), Err(error)),
        },
        Sent::AtOnce => {
            let calls: Vec<_> = events
                .iter()
                .map(|&event| {
                    let repository = repository.clone();
                    tokio::spawn(async move { repository.record(event).await })
                })
                .collect();
            for call in calls {
                answers.push(call.await.map_err(Broken::new)?);
            }
        }
    }
    Ok(answers)
}

/// What stands for a process: the database that it has open, in a folder of its own.
struct Process {
    config: Config,
    database: Database,
}

impl Process {
    async fn start(folder: std::path::PathBuf, vfs: &FaultyVfs) -> Result<Self, Broken> {
        fs::create_dir_all(&folder).map_err(Broken::new)?;
        let config = Config::new(folder.join("roas.db"))
            .vfs(vfs.name())
            .retry(RetryPolicy::aggressive())
            .readers(1);
        let database = play::open(&config).await?.map_err(Broken::new)?;
        Ok(Self { config, database })
    }

    /// The next process, on the files as a kill leaves them at this moment.
    async fn killed(self, folder: std::path::PathBuf, vfs: &FaultyVfs) -> Result<Self, Broken> {
        fs::create_dir_all(&folder).map_err(Broken::new)?;
        // The WAL first: a checkpoint may be under way, and what it has not written yet is in there.
        // Nobody writes, so that it does not start over meanwhile.
        for name in ["roas.db-wal", "roas.db"] {
            let from = self.config.path().with_file_name(name);
            if from.exists() {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "no other process is there to take a lock that this one loses"
                )]
                fs::copy(from, folder.join(name)).map_err(Broken::new)?;
            }
        }
        play::close(self.database).await?;
        Self::start(folder, vfs).await
    }
}
