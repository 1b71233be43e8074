//! Power cuts of a real kernel's file system, under processes that write to it.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::storage::mounted::{Mounted, PowerCut, cut_power};
use crate::storage::vfs::{FaultyVfs, SharedMemory};
use fastrand::Rng;
use roas_db::{Config, Database};
use roas_domain::ActivityRepository;

use super::ledger::{Ledger, event};
use super::load::{Acknowledge, Cut, Load, Told, cut};
use super::part::{Part, command};
use crate::{Broken, Fault, Findings, Round};

/// How often the power is cut, each time under what the last time has left.
const GENERATIONS: u64 = PowerCut::ALL.len() as u64;

/// Events that are meant for one process of one generation: more than it comes to.
const IDS: u64 = 1_000_000;

/// Processes that write. Half of the time the first of them cuts the power itself.
const PROCESSES: u64 = 2;

/// When the power is cut at the latest, from the processes' start on. Starting takes 10 to 50 ms of
/// it, and the first transactions some more.
const WINDOW: Duration = Duration::from_millis(400);

/// After how many acknowledgements a process cuts the power at the latest.
const ACKNOWLEDGEMENTS: u64 = 2_000;

/// So many events after the last that a process was told of are delivered again: it may have asked for
/// them, and each of its callers has one under way, or a batch.
const UNDER_WAY: u64 = 1_000;

/// Events in one call, when they are delivered again.
const AT_ONCE: usize = 1_000;

/// After so long a process whose disk is gone is taken to hang.
const HANGS: Duration = Duration::from_mins(1);

/// What a process ends with that tells an error: `ExitCode::FAILURE`.
const FAILED: i32 = 1;

/// MiB of the file system.
const SIZE: u32 = 64;

/// An ext4 is shut down (`EXT4_IOC_SHUTDOWN`) under processes that write, by one of them or from
/// outside, mounted anew, and the database opened.
#[derive(Debug, Clone)]
pub struct PowerCuts {
    /// Its name among the faults.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The program that is started: `roas-bench` itself.
    pub executable: PathBuf,
    /// Whether commits are synced.
    pub durable: bool,
    /// Whether the database can have WAL.
    pub shared_memory: bool,
    /// When the load says that an event is acknowledged.
    pub acknowledge: Acknowledge,
    /// Whether what was acknowledged has to be there; otherwise only the file has to be whole.
    pub acknowledged_survives: bool,
}

impl PowerCuts {
    /// Under FULL, in WAL mode.
    #[must_use]
    pub fn new(executable: &Path) -> Self {
        Self {
            name: "power-ext4",
            about: "an ext4 is shut down under two loads, and mounted anew: acknowledged ⊆ stored, \
                    each once",
            executable: executable.to_owned(),
            durable: true,
            shared_memory: true,
            acknowledge: Acknowledge::AfterCommit,
            acknowledged_survives: true,
        }
    }

    pub(crate) fn all(executable: &Path) -> [Self; 3] {
        let full = Self::new(executable);
        [
            full.clone(),
            Self {
                name: "power-ext4-normal",
                about: "an ext4 is shut down under synchronous=NORMAL: the file is whole, each event \
                        counts once",
                durable: false,
                acknowledged_survives: false,
                ..full.clone()
            },
            Self {
                name: "power-ext4-journal",
                about: "as power-ext4, where WAL is not to be had",
                shared_memory: false,
                ..full
            },
        ]
    }
}

impl Fault for PowerCuts {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn unavailable(&self) -> Option<String> {
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => return Some(error.to_string()),
        };
        let [image, mounted] = ["image", "mounted"].map(|name| folder.path().join(name));
        let tried = Mounted::ext4(&image, SIZE, &mounted).and_then(|mounted| {
            cut_power(mounted.folder(), PowerCut::AtOnce)
                .map_err(|error| format!("the power cannot be cut: {error}"))
        });
        tried.err()
    }

    fn mounts(&self) -> bool {
        true
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let mut rng = Rng::with_seed(round.seed);
        let mut findings = Findings::default();
        let mut ledger = Ledger::default();
        let [image, folder] = ["image", "mounted"].map(|name| round.folder.join(name));
        let mut mounted = Mounted::ext4(&image, SIZE, &folder).map_err(Broken::new)?;
        let runtime = crate::runtime();
        for generation in 0..GENERATIONS {
            let stage = Stage {
                cuts: self,
                round,
                folder: &folder,
                generation,
            };
            stage.cut(&mut rng, &mut findings)?;
            mounted.unmount().map_err(Broken::new)?;
            mounted = Mounted::image(&image, &folder).map_err(Broken::new)?;
            runtime.block_on(stage.examine(&mut ledger, &mut findings))?;
            findings.states += 1;
        }
        Ok(findings)
    }
}

/// From the start of the processes to what is there when the power is back.
struct Stage<'a> {
    cuts: &'a PowerCuts,
    round: &'a Round<'a>,
    folder: &'a Path,
    generation: u64,
}

impl Stage<'_> {
    fn database(&self) -> PathBuf {
        self.folder.join("roas.db")
    }

    /// Outside of the file system that loses its power.
    fn acks(&self, process: u64) -> PathBuf {
        let name = format!("acks-{}-{process}", self.generation);
        self.round.folder.join(name)
    }

    fn ids(&self, process: u64) -> Range<u64> {
        let first = (self.generation * PROCESSES + process) * IDS + 1;
        first..first + IDS
    }

    /// Has the processes write until the power is cut, and ends them.
    fn cut(&self, rng: &mut Rng, findings: &mut Findings) -> Result<(), Broken> {
        let how = PowerCut::ALL[usize::try_from((self.round.seed + self.generation) % GENERATIONS)
            .map_err(Broken::new)?];
        let all_acks: Vec<_> = (0..PROCESSES).map(|process| self.acks(process)).collect();
        let inside = rng.bool().then(|| Cut {
            after: rng.u64(0..ACKNOWLEDGEMENTS),
            how,
            acks: all_acks.clone(),
        });
        let mut writers = Vec::new();
        for process in 0..PROCESSES {
            let cut = inside.clone().filter(|_| process == 0);
            writers.push(Writer::start(self, process, cut)?);
        }
        if inside.is_none() {
            std::thread::sleep(WINDOW.mul_f64(rng.f64()));
            for writer in &mut writers {
                writer.is_at_work()?;
            }
            cut(self.folder, how, &all_acks).map_err(Broken::new)?;
            // With the power the processes go; those that stay show what they are told.
            if rng.bool() {
                writers.clear();
                findings.count("processes killed", PROCESSES);
            }
        }
        for writer in &mut writers {
            writer.wait()?;
            findings.count("processes that heard of it", 1);
        }
        // Nothing can be written any more, unless nobody has cut the power.
        if File::create(self.folder.join("probe")).is_ok() {
            let said: Vec<_> = writers.iter().map(Writer::said).collect();
            return Err(Broken::new(format_args!(
                "the processes ended before the power was cut: {}",
                said.join("; ")
            )));
        }
        Ok(())
    }

    /// Opens the database, holds it to what the processes were told, and delivers again what they may
    /// have been about to write.
    async fn examine(&self, ledger: &mut Ledger, findings: &mut Findings) -> Result<(), Broken> {
        let mut again = Vec::new();
        for process in 0..PROCESSES {
            let ids = self.ids(process);
            let told = Told::read(&self.acks(process));
            let answered = told.acknowledged.iter().chain(&told.too_late);
            let last = answered.max().unwrap_or(&ids.start);
            again.extend(ids.start..ids.end.min(last + UNDER_WAY));
            ledger.ask(ids);
            findings.count("acknowledged", told.acknowledged.len() as u64);
            findings.count("acknowledged too late", told.too_late.len() as u64);
            findings.count("told that it was not applied", told.refused.len() as u64);
            if self.cuts.acknowledged_survives {
                told.acknowledged
                    .iter()
                    .for_each(|id| ledger.acknowledge(*id));
            }
            told.refused.iter().for_each(|id| ledger.refuse(*id));
        }

        let failed = |error: &dyn std::error::Error| {
            Broken::new(format_args!("after the power was cut: {error}"))
        };
        let mut config = Config::new(self.database());
        let vfs = (!self.cuts.shared_memory).then(|| FaultyVfs::with(SharedMemory::Missing));
        if let Some(vfs) = &vfs {
            config = config.vfs(vfs.name());
        }
        let database = Database::open(config)
            .await
            .map_err(|error| failed(&error))?;
        let stored = ledger.check(&self.database())?;
        findings.count("stored when the power was back", stored);
        let repository = database.repository();
        for ids in again.chunks(AT_ONCE) {
            let events = ids.iter().map(|id| event(*id)).collect();
            let outcomes = repository.record_many(events).await;
            for (id, outcome) in ids.iter().zip(outcomes.map_err(|error| failed(&error))?) {
                ledger.answer(*id, &Ok(outcome))?;
            }
        }
        drop(repository);
        database.close().await.map_err(|error| failed(&error))?;
        ledger.check(&self.database()).map(drop)
    }
}

/// A process that writes. It does not outlive this.
#[derive(Debug)]
struct Writer {
    child: Child,
    stderr: PathBuf,
}

impl Writer {
    fn start(stage: &Stage<'_>, process: u64, cut: Option<Cut>) -> Result<Self, Broken> {
        let acks = stage.acks(process);
        let stderr = acks.with_extension("stderr");
        let part = Part::Load(Load {
            database: stage.database(),
            acks,
            ids: stage.ids(process),
            durable: stage.cuts.durable,
            shared_memory: stage.cuts.shared_memory,
            acknowledge: stage.cuts.acknowledge,
            cut,
            tries_again: false,
        });
        let mut command = command(&stage.cuts.executable, &part).map_err(Broken::new)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).map_err(Broken::new)?)
            .spawn()
            .map_err(|error| Broken::new(format_args!("no process: {error}")))?;
        Ok(Self { child, stderr })
    }

    /// Makes sure that it has not ended before its time.
    fn is_at_work(&mut self) -> Result<(), Broken> {
        match self.child.try_wait().map_err(Broken::new)? {
            None => Ok(()),
            Some(_) => Err(Broken::new(format_args!(
                "a process ended before the power was cut: {}",
                self.said()
            ))),
        }
    }

    /// Waits until it has ended, for want of a disk: with an error, and neither by a signal nor with a
    /// panic, be it one of a thread that the process survives.
    fn wait(&mut self) -> Result<(), Broken> {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(Broken::new)? {
                break status;
            }
            if since.elapsed() > HANGS {
                return Err(Broken::new("a process hangs without its disk"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let said = self.said();
        if status.code() != Some(FAILED) || said.contains("panicked") {
            return Err(Broken::new(format_args!(
                "a process without its disk ended with {status}: {said}"
            )));
        }
        Ok(())
    }

    fn said(&self) -> String {
        let said = fs::read_to_string(&self.stderr).unwrap_or_default();
        said.trim().to_owned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ends(script: &str) -> Result<(), Broken> {
        let folder = tempfile::tempdir().unwrap();
        let stderr = folder.path().join("stderr");
        let child = Command::new("sh")
            .args(["-c", script])
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Writer { child, stderr }.wait()
    }

    #[test]
    fn a_process_without_its_disk_ends_with_an_error() {
        assert_eq!(ends("echo 'error: disk I/O error' >&2; exit 1"), Ok(()));
    }

    #[test]
    fn a_process_that_ends_otherwise_is_found() {
        for script in [
            "exit 0",
            "exit 101",
            "kill -BUS $$",
            "kill -ABRT $$",
            "echo \"thread 'writer' panicked at\" >&2; exit 1",
        ] {
            assert!(ends(script).is_err(), "{script}");
        }
    }
}
