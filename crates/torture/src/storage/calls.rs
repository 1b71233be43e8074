//! Failing system calls: a session in which the n-th call of a kind fails, once or from then on; and
//! one on a disk that is full.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roas_db::{Config, Database, OpenError, RetryPolicy};
use roas_domain::{ActivityRepository, RepositoryErrorKind};
use tokio::runtime::Runtime;

use crate::runtime;
use crate::storage::memory::Memory;
use crate::storage::play::{Answer, GRACE, Played, Watch, close, open, play};
use crate::storage::script::{Script, Stored};
use crate::storage::vfs::{Call, Disk, FaultyVfs, Plan, Reason, SharedMemory, Syncs};
use crate::{Broken, Findings};

/// How long callers wait for a lock that is not to be had.
const DEADLINE: Duration = Duration::from_millis(100);

/// How often a lock is refused where that lasts.
const BUSY_FOR: u64 = 20;

/// The name of the database in its folder.
const NAME: &str = "roas.db";

/// Sessions with a failing call in each.
#[derive(Debug)]
pub struct FailingCalls {
    script: Script,
    shared_memory: SharedMemory,
    believed: Believed,
    runtime: Runtime,
}

/// What callers are taken to have been told: all but the truth is for calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Believed {
    /// What they were told.
    AsTold,
    /// That what nobody knows was not applied.
    UnknownIsNotApplied,
    /// That every write was applied.
    Everything,
}

/// What a session with a failing call was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survived {
    /// How many calls failed.
    pub failed_calls: u64,
    /// How many writes, reads and openings failed.
    pub errors: usize,
    /// Of how many writes nobody could know.
    pub unknown: usize,
    /// The longest that a call of the port took.
    pub longest: Duration,
}

impl Survived {
    fn count_in(&self, findings: &mut Findings) {
        findings.count("calls failed", self.failed_calls);
        findings.count("errors told", self.errors as u64);
        findings.count("outcomes unknown", self.unknown as u64);
        let late = self.longest.saturating_sub(DEADLINE + GRACE);
        findings.count("calls answered late", u64::from(!late.is_zero()));
    }
}

impl FailingCalls {
    /// Sessions by the script that `seed` makes.
    #[must_use]
    pub fn new(seed: u64, shared_memory: SharedMemory) -> Self {
        Self {
            script: Script::short(seed),
            shared_memory,
            believed: Believed::AsTold,
            runtime: runtime(),
        }
    }

    /// As it is, but for what callers are taken to have been told.
    #[must_use]
    pub fn believing(self, believed: Believed) -> Self {
        Self { believed, ..self }
    }

    /// How many calls of each kind the session makes where none fails.
    ///
    /// # Errors
    ///
    /// The session's, which has none to have.
    pub fn count(&self, folder: &Path) -> Result<Vec<(Call, u64)>, Broken> {
        let vfs = Arc::new(FaultyVfs::with(self.shared_memory));
        vfs.disk().set_syncs(Syncs::AreQuick);
        let config = config(folder, &vfs);
        self.runtime.block_on(async {
            let played = play(&self.script, &config, Arc::new(Nobody)).await?;
            if !played.errors.is_empty() {
                let errors = played.errors;
                return Err(Broken::new(format_args!("without a fault: {errors:?}")));
            }
            if let Some(database) = played.database {
                close(database).await?;
            }
            Ok(vfs.disk().take_calls())
        })
    }

    /// Plays the session with failing calls, in an empty folder, and holds it to what is promised.
    ///
    /// # Errors
    ///
    /// The promise that was broken.
    pub fn survive(&self, plan: Plan, folder: &Path) -> Result<Survived, Broken> {
        let begin = |disk: &Disk| disk.arm(plan);
        self.runtime
            .block_on(self.session(begin, Disk::mend, |_| Ok(()), folder))
            .map_err(|Broken(what)| Broken::new(format_args!("{plan}: {what}")))
    }

    /// As [`Self::survive`], on a disk with room for so many bytes, until the end of the session. What
    /// fails has to say that the disk is full, and reads must not fail.
    ///
    /// # Errors
    ///
    /// The promise that was broken.
    pub fn survive_full(&self, room: u64, folder: &Path) -> Result<Survived, Broken> {
        let begin = |disk: &Disk| {
            disk.set_room(Some(room));
        };
        let end = |disk: &Disk| disk.set_room(None);
        self.runtime
            .block_on(self.session(begin, end, says_that_it_is_full, folder))
            .map_err(|Broken(what)| Broken::new(format_args!("room for {room} bytes: {what}")))
    }

    /// As [`Self::survive`], where SQLite is refused memory, from the `first` request on, `count` times.
    /// That must not be taken for anything that is wrong with the file. Answers how many requests there
    /// were, too.
    ///
    /// # Errors
    ///
    /// The promise that was broken.
    pub fn survive_without_memory(
        &self,
        memory: Memory,
        (first, count): (u64, u64),
        folder: &Path,
    ) -> Result<(u64, Survived), Broken> {
        let requests = Cell::new(0);
        let end = |_: &Disk| {
            let (seen, refused) = memory.grant();
            requests.set(seen);
            refused
        };
        let begin = |_: &Disk| memory.refuse(first, count);
        self.runtime
            .block_on(self.session(begin, end, blames_nothing_else, folder))
            .map(|survived| (requests.get(), survived))
            .map_err(|Broken(what)| {
                Broken::new(format_args!(
                    "memory refused {count} times from request {first} on: {what}"
                ))
            })
    }

    /// Plays the session between `begin` and `end`, which answers how many calls failed.
    async fn session(
        &self,
        begin: impl Fn(&Disk),
        end: impl Fn(&Disk) -> u64,
        judge: impl Fn(&Played) -> Result<(), Broken>,
        folder: &Path,
    ) -> Result<Survived, Broken> {
        let [used, killed] = ["used", "killed"].map(|name| folder.join(name));
        fs::create_dir(&used).map_err(Broken::new)?;
        let vfs = Arc::new(FaultyVfs::with(self.shared_memory));
        vfs.disk().set_syncs(Syncs::AreQuick);
        let config = config(&used, &vfs);
        let copier = Arc::new(Copier {
            from: used.clone(),
            to: killed.clone(),
            answers: Mutex::default(),
        });

        begin(vfs.disk());
        let played = play(&self.script, &config, Arc::clone(&copier) as Arc<dyn Watch>).await;
        let failed_calls = end(vfs.disk());
        let played = played?;
        judge(&played)?;
        let Played {
            answers,
            database,
            errors,
            longest,
            ..
        } = played;

        // The process might have been killed when the first write had failed.
        let answers_then = copier.take();
        if !answers_then.is_empty() {
            let config = self::config(&killed, &vfs);
            let database = opened(&config).await?;
            self.agrees(&answers_then, &config, &vfs)
                .map_err(|Broken(what)| Broken::new(format_args!("after a kill: {what}")))?;
            close(database).await?;
        }

        // It lives on, now that the fault is gone: the same handle where there is one.
        let database = match database {
            Some(database) => database,
            None => opened(&config).await?,
        };
        self.agrees(&answers, &config, &vfs)?;
        let repository = database.repository();
        repository
            .record_many(self.script.events())
            .await
            .map_err(|error| Broken::new(format_args!("it does not go on: {error}")))?;
        repository
            .counts()
            .await
            .map_err(|error| Broken::new(format_args!("it does not go on reading: {error}")))?;
        database
            .maintain()
            .await
            .map_err(|error| Broken::new(format_args!("it is not maintained: {error}")))?;
        drop(repository);
        close(database).await?;
        // Whoever comes next sees the same, through whatever VFS.
        let path = config.path();
        self.script
            .all_counted_once(&Stored::in_file(path, None)?)?;
        Ok(Survived {
            failed_calls,
            errors: errors.len(),
            unknown: answers
                .iter()
                .filter(|answer| **answer == Answer::Unknown)
                .count(),
            longest,
        })
    }

    fn agrees(&self, answers: &[Answer], config: &Config, vfs: &FaultyVfs) -> Result<(), Broken> {
        let believed: Vec<Answer> = answers
            .iter()
            .map(|answer| match (self.believed, answer) {
                (Believed::UnknownIsNotApplied, Answer::Unknown) => Answer::NotApplied,
                (Believed::Everything, Answer::Unknown | Answer::NotApplied) => Answer::Applied,
                _ => *answer,
            })
            .collect();
        let stored = Stored::in_file(config.path(), Some(vfs.name()))?;
        self.script.agrees(&believed, &stored)
    }

    /// Plays the session with every call of a kind failing in turn, from the `first`-th on and then
    /// each `stride`-th. `lasting` faults stay until the end of the session.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn sweep(
        &self,
        call: Call,
        reason: Reason,
        lasting: bool,
        every: (u64, usize),
        folder: &Path,
    ) -> Result<Findings, Broken> {
        let counting = folder.join("counting");
        fs::create_dir(&counting).map_err(Broken::new)?;
        let counts = self.count(&counting)?;
        fs::remove_dir_all(&counting).map_err(Broken::new)?;
        let count = counts
            .iter()
            .find(|(counted, _)| *counted == call)
            .map_or(0, |(_, count)| *count);
        let mut findings = Findings::default();
        let (first, stride) = every;
        for n in (first..=count).step_by(stride) {
            let plan = match (lasting, reason) {
                (false, _) => Plan::once(call, reason, n),
                // Nobody holds every lock for good.
                (true, Reason::Busy) => Plan::times(call, reason, n, BUSY_FOR),
                (true, _) => Plan::from(call, reason, n),
            };
            let folder = folder.join(format!("{}-{n}", call.name()));
            fs::create_dir(&folder).map_err(Broken::new)?;
            let survived = self.survive(plan, &folder)?;
            fs::remove_dir_all(&folder).map_err(Broken::new)?;
            if survived.failed_calls > 0 {
                findings.states += 1;
            }
            survived.count_in(&mut findings);
        }
        Ok(findings)
    }

    /// Plays the session with each request for memory refused in turn, from the `first` on and then each
    /// `stride`-th, and as many after it as make `count`, until the session has no further one.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn starve(
        &self,
        memory: Memory,
        count: u64,
        every: (u64, usize),
        folder: &Path,
    ) -> Result<Findings, Broken> {
        let mut findings = Findings::default();
        let (first, stride) = every;
        for first in (first..).step_by(stride) {
            let folder = folder.join(format!("memory-{first}"));
            fs::create_dir(&folder).map_err(Broken::new)?;
            let (requests, survived) =
                self.survive_without_memory(memory, (first, count), &folder)?;
            fs::remove_dir_all(&folder).map_err(Broken::new)?;
            if survived.failed_calls == 0 {
                findings.count("requests for memory", requests);
                break;
            }
            findings.states += 1;
            survived.count_in(&mut findings);
        }
        Ok(findings)
    }

    /// Plays the session with ever more room on the disk, by `stride` bytes, until nothing fails.
    ///
    /// # Errors
    ///
    /// The first promise that was broken.
    pub fn fill(&self, stride: u64, folder: &Path) -> Result<Findings, Broken> {
        let mut findings = Findings::default();
        for room in (0..).step_by(usize::try_from(stride).unwrap_or(usize::MAX)) {
            let folder = folder.join(format!("room-{room}"));
            fs::create_dir(&folder).map_err(Broken::new)?;
            let survived = self.survive_full(room, &folder)?;
            fs::remove_dir_all(&folder).map_err(Broken::new)?;
            if survived.failed_calls == 0 {
                break;
            }
            findings.states += 1;
            survived.count_in(&mut findings);
        }
        Ok(findings)
    }
}

/// Each error of a session that was refused memory: nothing is wrong with the file, or the request.
fn blames_nothing_else(played: &Played) -> Result<(), Broken> {
    use RepositoryErrorKind::{
        Corrupt, Internal, InvalidData, InvalidRequest, ReadOnly, StorageFull,
    };
    let blamed = (played.kinds.iter()).find(|kind| {
        matches!(
            kind,
            Corrupt | Internal | InvalidData | InvalidRequest | ReadOnly | StorageFull
        )
    });
    let known = |error: &OpenError| {
        matches!(
            error,
            OpenError::Sqlite { .. } | OpenError::Migration { .. }
        )
    };
    let refusal = played.refusals.iter().find(|error| !known(error));
    if blamed.is_some() || refusal.is_some() {
        return Err(Broken::new(format_args!(
            "callers were told {blamed:?} {refusal:?}: {:?}",
            played.errors
        )));
    }
    Ok(())
}

/// Each error of a session on a disk that was full.
fn says_that_it_is_full(played: &Played) -> Result<(), Broken> {
    // A commit whose record is in the WAL while there was no room for the index of it.
    let known = |kind: &RepositoryErrorKind| {
        matches!(
            kind,
            RepositoryErrorKind::StorageFull | RepositoryErrorKind::OutcomeUnknown
        )
    };
    let other = played.kinds.iter().find(|kind| !known(kind));
    let refusal = (played.refusals.iter()).find(|error| !matches!(error, OpenError::Full { .. }));
    if other.is_some() || refusal.is_some() || played.failed_reads > 0 {
        return Err(Broken::new(format_args!(
            "on a full disk {} reads failed, and callers were told {:?}",
            played.failed_reads, played.errors
        )));
    }
    Ok(())
}

async fn opened(config: &Config) -> Result<Database, Broken> {
    open(config)
        .await?
        .map_err(|error| Broken::new(format_args!("it does not open again: {error:?}")))
}

fn config(folder: &Path, vfs: &FaultyVfs) -> Config {
    Config::new(folder.join(NAME))
        .vfs(vfs.name())
        .retry(RetryPolicy::aggressive().with_deadline(DEADLINE))
        .readers(1)
}

/// Watches nothing.
struct Nobody;

impl Watch for Nobody {}

/// Copies the database's files when the first write has failed: what a kill at that moment leaves.
struct Copier {
    from: PathBuf,
    to: PathBuf,
    answers: Mutex<Vec<Answer>>,
}

impl Copier {
    /// What callers had been told when the copy was made; nothing where none was.
    fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn copy(&self) -> std::io::Result<()> {
        fs::create_dir(&self.to)?;
        for entry in fs::read_dir(&self.from)? {
            let name = entry?.file_name();
            // The shared memory is rebuilt by whoever comes after a kill.
            if !name.to_string_lossy().ends_with("-shm") {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "no other process is there to take a lock that this one loses"
                )]
                fs::copy(self.from.join(&name), self.to.join(&name))?;
            }
        }
        Ok(())
    }
}

impl Watch for Copier {
    fn failed_first(&self, answers: &[Answer]) {
        if self.copy().is_ok() {
            answers.clone_into(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
