//! Processes that are killed while they write, several on one file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use roas_db::{Config, Database};
use roas_domain::ActivityRepository;

use super::ledger::{Ledger, author, event};
use super::load::{Acknowledge, Load, Told};
use super::part::{Part, command};
use crate::{Broken, Fault, Findings, Round};

/// How often all processes are started anew on what the last ones left.
const GENERATIONS: u64 = 2;

/// Events that are meant for one process of one generation: more than it comes to.
const IDS: u64 = 20_000;

/// When a process has to be dead at the latest. Starting takes 10 to 50 ms of it.
const WINDOW: Duration = Duration::from_millis(300);

/// How soon the next start has to be done.
pub const START_WITHIN: Duration = Duration::from_secs(1);

/// SIGKILL, at random times: two `roas ingest --ack` on the same input, and a load that takes
/// calls, batches and checkpoints together.
#[derive(Debug)]
pub struct Kill {
    /// The program that is started: `roas-bench` itself.
    pub executable: PathBuf,
    /// When the load says that an event is acknowledged.
    pub acknowledge: Acknowledge,
    /// How long the next start may take, where that is to be looked at.
    pub start_within: Option<Duration>,
}

impl Fault for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn about(&self) -> &'static str {
        "SIGKILL of ingests and a load on one file: acknowledged ⊆ stored, each once; next start within 1 s"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let mut rng = Rng::with_seed(round.seed);
        let mut findings = Findings::default();
        let mut ledger = Ledger::default();
        let database = round.folder.join("roas.db");
        let runtime = crate::runtime();
        let mut stored = 0;
        for generation in 0..GENERATIONS {
            let first = generation * 10 * IDS + 1;
            let stage = Stage {
                kill: self,
                folder: round.folder,
                generation,
            };
            let ingested = first..first + IDS;
            let loaded = first + IDS..first + 9 * IDS;
            ledger.ask(ingested.clone());
            ledger.ask(loaded.clone());
            stage.write_input(ingested)?;
            let mut victims = vec![
                stage.ingest(0, &mut rng)?,
                stage.ingest(1, &mut rng)?,
                stage.load(loaded, &mut rng)?,
            ];
            reap(&mut victims, &mut findings)?;
            for victim in &victims {
                let told = Told::read(&victim.acks);
                told.acknowledged
                    .iter()
                    .for_each(|id| ledger.acknowledge(*id));
                // Of a load alone, whose events are its own; an ingest writes down none.
                told.refused.iter().for_each(|id| ledger.refuse(*id));
            }

            let started = Instant::now();
            runtime.block_on(async {
                let failed = |error: &dyn std::error::Error| {
                    Broken::new(format_args!("the next start failed: {error}"))
                };
                let next = Database::open(Config::new(&database))
                    .await
                    .map_err(|error| failed(&error))?;
                let took = started.elapsed();
                findings.count(
                    match took.as_millis() {
                        0..10 => "starts in 10 ms",
                        10..100 => "starts in 100 ms",
                        100..1_000 => "starts in 1 s",
                        _ => "starts in more",
                    },
                    1,
                );
                if self.start_within.is_some_and(|within| took > within) {
                    return Err(Broken::new(format_args!("the next start took {took:?}")));
                }
                let last = first + 9 * IDS;
                ledger.ask(last..last + 1);
                let answer = next.repository().record(event(last)).await;
                ledger.answer(last, &answer)?;
                answer.map_err(|error| failed(&error))?;
                next.close().await.map_err(|error| failed(&error))
            })?;
            stored = ledger.check(&database)?;
            findings.states += 1;
        }
        findings.count("stored", stored);
        findings.count("acknowledged", ledger.acknowledged());
        Ok(findings)
    }
}

/// The processes of one generation.
struct Stage<'a> {
    kill: &'a Kill,
    folder: &'a Path,
    generation: u64,
}

impl Stage<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{}", self.generation))
    }

    fn write_input(&self, ids: std::ops::Range<u64>) -> Result<(), Broken> {
        let mut lines = String::new();
        for id in ids {
            let member = author(id);
            // Writing to a string cannot fail.
            let _ = writeln!(
                lines,
                r#"{{"op":0,"t":"MESSAGE_CREATE","d":{{"id":"{id}","guild_id":"{}","author":{{"id":"{}"}},"timestamp":"2025-08-22T00:00:00Z"}}}}"#,
                member.guild, member.user
            );
        }
        fs::write(self.file("input"), lines).map_err(Broken::new)
    }

    fn ingest(&self, number: u32, rng: &mut Rng) -> Result<Victim, Broken> {
        let acks = self.file(&format!("acks-{number}"));
        let mut command = Command::new(&self.kill.executable);
        command
            .args(["roas", "ingest", "--db"])
            .arg(self.folder.join("roas.db"))
            .arg(self.file("input"))
            .arg("--ack")
            .arg(&acks)
            .args(["--in-flight", ["1", "32", "1024"][rng.usize(0..3)]]);
        Victim::start(command, acks, Moment::After(time(rng)), rng)
    }

    fn load(&self, ids: std::ops::Range<u64>, rng: &mut Rng) -> Result<Victim, Broken> {
        let acks = self.file("acks-load");
        let part = Part::Load(Load {
            database: self.folder.join("roas.db"),
            acks: acks.clone(),
            ids,
            durable: rng.bool(),
            shared_memory: true,
            acknowledge: self.kill.acknowledge,
            cut: None,
            tries_again: false,
        });
        let command = command(&self.kill.executable, &part).map_err(Broken::new)?;
        // Half of the time wherever it is, and half when it is surely at work.
        let moment = if rng.bool() {
            Moment::After(time(rng))
        } else {
            Moment::AckBytes(rng.u64(1..20_000))
        };
        Victim::start(command, acks, moment, rng)
    }
}

fn time(rng: &mut Rng) -> Duration {
    WINDOW.mul_f64(rng.f64())
}

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    After(Duration),
    /// When it has acknowledged this much.
    AckBytes(u64),
}

/// A process that is to be killed. It does not outlive this.
#[derive(Debug)]
struct Victim {
    child: Child,
    started: Instant,
    moment: Moment,
    acks: PathBuf,
    dead: bool,
}

impl Victim {
    fn start(
        mut command: Command,
        acks: PathBuf,
        moment: Moment,
        rng: &mut Rng,
    ) -> Result<Self, Broken> {
        let said = fs::File::create(acks.with_extension("stderr")).map_err(Broken::new)?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROAS_") {
                command.env_remove(name);
            }
        }
        if rng.bool() {
            command.env("ROAS_SYNCHRONOUS", "normal");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| Broken::new(format_args!("no process to kill: {error}")))?;
        Ok(Self {
            child,
            started: Instant::now(),
            moment,
            acks,
            dead: false,
        })
    }

    fn is_due(&self) -> bool {
        match self.moment {
            Moment::After(time) => self.started.elapsed() >= time,
            Moment::AckBytes(bytes) => {
                fs::metadata(&self.acks).is_ok_and(|acks| acks.len() >= bytes)
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills each process at its moment, and waits until all are dead.
fn reap(victims: &mut [Victim], findings: &mut Findings) -> Result<(), Broken> {
    while victims.iter().any(|victim| !victim.dead) {
        for victim in victims.iter_mut().filter(|victim| !victim.dead) {
            if let Some(status) = victim.child.try_wait().map_err(Broken::new)? {
                victim.dead = true;
                if !status.success() {
                    let said = fs::read_to_string(victim.acks.with_extension("stderr"));
                    return Err(Broken::new(format_args!(
                        "a process failed before it was killed: {}",
                        said.unwrap_or_default().trim()
                    )));
                }
                findings.count("ended before", 1);
            } else if victim.is_due() {
                victim.child.kill().map_err(Broken::new)?;
                victim.child.wait().map_err(Broken::new)?;
                victim.dead = true;
                let at_work = fs::metadata(&victim.acks).is_ok_and(|acks| acks.len() > 0);
                findings.count(
                    if at_work {
                        "killed at work"
                    } else {
                        "killed before the first acknowledgement"
                    },
                    1,
                );
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}
