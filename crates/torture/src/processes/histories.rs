//! Histories of concurrent calls, by tasks and by processes, held against the sequential model.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fastrand::Rng;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use roas_db::{Config, Database, Durability};
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, guild, message_with_id};
use roas_domain::{
    ActivityRepository, Effect, LeaderboardLimit, RepositoryError, RepositoryErrorKind,
};
use serde::{Deserialize, Serialize};

use super::linearizable::{Call, Operation, Said, Who, check};
use super::part::{Actor, Part};
use crate::BoxError;
use crate::{Broken, Fault, Findings, Round};

/// Processes that take part, tasks in each, calls of each task: some 50 calls of a member.
const PROCESSES: u64 = 2;
const TASKS: u64 = 4;
const CALLS: u64 = 20;

/// Calls of each task where the guild is asked as a whole: they are all explained together.
const CALLS_OF_A_WHOLE: u64 = 15;

/// Calls of each task where a process is killed, and another one comes after it.
const CALLS_OF_A_CUT: u64 = 10;

/// Members of a history.
const MEMBERS: u64 = 3;

/// Histories of one round. Each has a guild of its own, so that they can share a file.
const HISTORIES: u64 = 10;

/// From which of them on a process is killed in the midst of it.
const FIRST_CUT: u64 = 8;

/// Two processes that record, adjust and find the same members at the same time, and in every second
/// history ask for the guild's leaderboard and their places in it. In the last ones, one of them is
/// killed.
#[derive(Debug)]
pub struct Histories {
    /// The program that is started: `roas-bench` itself.
    pub executable: PathBuf,
}

/// One process's share of one history.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Share {
    seed: u64,
    /// The history's number, from which its members and ids follow.
    number: u64,
    process: u64,
    /// Calls of each task.
    calls: u64,
    /// Whether to say each call before it is made, and each answer: of who is killed, that is all
    /// that is known.
    aloud: bool,
}

impl Share {
    fn new(seed: u64, number: u64, process: u64) -> Self {
        let cut = number >= FIRST_CUT;
        Self {
            seed,
            number,
            process,
            calls: if cut {
                CALLS_OF_A_CUT
            } else if is_whole(number) {
                CALLS_OF_A_WHOLE
            } else {
                CALLS
            },
            aloud: cut && process == VICTIM,
        }
    }

    fn written(self) -> Result<String, Broken> {
        serde_json::to_string(&self).map_err(Broken::new)
    }
}

/// The process that is killed.
const VICTIM: u64 = 1;

/// What a process says that plays its share aloud.
#[derive(Debug, Serialize, Deserialize)]
enum Note {
    /// A call is about to be made: its place among the calls of the history.
    Called(u64, Operation),
    /// It was answered; `None` where the answer is that nothing was applied.
    Answered(u64, Option<Operation>),
    /// That was all.
    Done,
}

impl Fault for Histories {
    fn name(&self) -> &'static str {
        "histories"
    }

    fn about(&self) -> &'static str {
        "records, looks, leaderboards and ranks of two processes, one of them killed at times: explained by the sequential model"
    }

    fn round(&self, round: &Round<'_>) -> Result<Findings, Broken> {
        let mut rng = Rng::with_seed(round.seed);
        let mut findings = Findings::default();
        let part = Part::Historian {
            database: round.folder.join("roas.db"),
        };
        let mut processes = (0..PROCESSES)
            .map(|_| Actor::start(&self.executable, &part))
            .collect::<Result<Vec<_>, _>>()?;
        for number in 0..HISTORIES {
            let seed = rng.u64(..);
            for (process, actor) in (0..).zip(&mut processes) {
                actor.tell(&Share::new(seed, number, process).written()?)?;
            }
            let mut operations: Vec<Operation> = Vec::new();
            if number >= FIRST_CUT {
                let victim = processes.remove(usize::try_from(VICTIM).map_err(Broken::new)?);
                let calls = PROCESSES * TASKS * CALLS_OF_A_CUT;
                operations.extend(killed(victim, rng.u64(0..calls))?);
                findings.count("processes killed", 1);
                // Those who come later see what has become of it all.
                let mut successor = Actor::start(&self.executable, &part)?;
                successor.tell(&Share::new(seed, number, PROCESSES).written()?)?;
                processes.push(successor);
            }
            for actor in &mut processes {
                let part: Vec<Operation> =
                    serde_json::from_str(&actor.hear()?).map_err(Broken::new)?;
                operations.extend(part);
            }
            findings.states += 1;
            findings.count("operations", operations.len() as u64);
            check(&operations).map_err(Broken)?;
        }
        processes.into_iter().try_for_each(Actor::leave)?;
        Ok(findings)
    }
}

/// Kills a process when it has said so much, and answers all that it has said: a call without an answer
/// may have taken effect or not.
fn killed(mut victim: Actor, notes: u64) -> Result<Vec<Operation>, Broken> {
    let mut operations = BTreeMap::new();
    let mut take = |line: &str| {
        // What a kill cuts off is no note.
        match serde_json::from_str(line) {
            Ok(Note::Called(place, operation) | Note::Answered(place, Some(operation))) => {
                operations.insert(place, operation)
            }
            Ok(Note::Answered(place, None)) => operations.remove(&place),
            Ok(Note::Done) | Err(_) => return false,
        };
        true
    };
    let mut goes_on = true;
    for _ in 0..notes {
        goes_on = goes_on && take(&victim.hear()?);
    }
    victim.signal(Signal::SIGKILL)?;
    while goes_on && let Ok(line) = victim.hear() {
        goes_on = take(&line);
    }
    Ok(operations.into_values().collect())
}

/// The side of a process that takes part.
pub(super) async fn take_part(database: PathBuf) -> Result<(), BoxError> {
    let database = Database::open(Config::new(database).durability(Durability::Normal)).await?;
    let repository: Arc<dyn ActivityRepository> = Arc::new(database.repository());
    writeln!(io::stdout(), "ready")?;
    for line in io::stdin().lock().lines() {
        let share: Share = serde_json::from_str(&line?)?;
        let operations = take_share(&repository, share).await?;
        if share.aloud {
            say(&Note::Done)?;
        } else {
            writeln!(io::stdout(), "{}", serde_json::to_string(&operations)?)?;
        }
    }
    database.close().await?;
    Ok(())
}

/// A history of some tasks on a repository of which nothing is known yet.
///
/// # Errors
///
/// Where a call fails in a way that says nothing of linearizability.
pub async fn history(
    repository: &Arc<dyn ActivityRepository>,
    seed: u64,
) -> Result<Vec<Operation>, RepositoryError> {
    take_share(repository, Share::new(seed, seed % FIRST_CUT, 0)).await
}

async fn take_share(
    repository: &Arc<dyn ActivityRepository>,
    share: Share,
) -> Result<Vec<Operation>, RepositoryError> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let repository = Arc::clone(repository);
            let lane = share.process * TASKS + task;
            let mut rng = Rng::with_seed(share.seed ^ (lane << 32));
            tokio::spawn(async move {
                let mut operations = Vec::new();
                for number in 0..share.calls {
                    let place = lane * CALLS + number;
                    let asked = Operation {
                        call: draw(&mut rng, share.number, place),
                        called_ns: now_ns(),
                        said: Said::Unknown,
                        answered_ns: u64::MAX,
                    };
                    if share.aloud {
                        say(&Note::Called(place, asked.clone()))?;
                    }
                    let answered = perform(&*repository, asked).await?;
                    if share.aloud {
                        say(&Note::Answered(place, answered.clone()))?;
                    }
                    operations.extend(answered);
                }
                Ok(operations)
            })
        })
        .collect();
    let mut operations = Vec::new();
    for task in tasks {
        operations.extend(task.await.unwrap_or_else(|error| {
            let kind = RepositoryErrorKind::Internal;
            Err(RepositoryError::with_source(kind, "a task failed", error))
        })?);
    }
    Ok(operations)
}

/// Says it to whoever has started this process, in one piece.
fn say(note: &Note) -> Result<(), RepositoryError> {
    let failed = |error: io::Error| {
        let kind = RepositoryErrorKind::Internal;
        RepositoryError::with_source(kind, "nobody listens", error)
    };
    let line = serde_json::to_string(note).map_err(|error| failed(error.into()))? + "\n";
    io::stdout().write_all(line.as_bytes()).map_err(failed)
}

/// Whether a history asks for the guild as a whole, too.
const fn is_whole(history: u64) -> bool {
    history % 2 == 1
}

/// A call: ids repeat now and then, times come in any order.
fn draw(rng: &mut Rng, history: u64, number: u64) -> Call {
    let ids = (PROCESSES + 1) * TASKS * CALLS;
    let guild = history + 1;
    let user = rng.u64(0..MEMBERS) + 1;
    let who = Who { guild, user };
    let at = MIDNIGHT + rng.i64(0..10) * 50;
    match rng.u8(0..10) {
        0..4 => {
            let number = if rng.u8(0..4) == 0 {
                rng.u64(0..ids)
            } else {
                number
            };
            // An id is one member's, whoever draws it.
            let id = (history * ids + number) * MEMBERS + user;
            Call::Record { who, id, at }
        }
        4..6 => Call::Adjust {
            who,
            delta: f64::from(rng.i8(-3..4)) * 0.5,
            at,
        },
        6 | 7 if is_whole(history) => Call::Board { guild, at },
        8 if is_whole(history) => Call::Rank { who, at },
        _ => Call::Find { who },
    }
}

/// Makes a call, and takes down what it says. `None` where it says that nothing was applied.
async fn perform(
    repository: &dyn ActivityRepository,
    asked: Operation,
) -> Result<Option<Operation>, RepositoryError> {
    let answer = match asked.call {
        Call::Record { who, id, at } => repository
            .record(message_with_id(id, who.key(), at))
            .await
            .map(Said::recorded),
        Call::Adjust {
            who,
            delta: by,
            at: when,
        } => repository
            .adjust_score(who.key(), delta(by), at(when))
            .await
            .map(Said::shown),
        Call::Find { who } => repository
            .find_member(who.key())
            .await
            .map(|found| found.map_or(Said::Nothing, Said::shown)),
        Call::Board {
            guild: id,
            at: when,
        } => repository
            .top_scores(guild(id), at(when), LeaderboardLimit::default())
            .await
            .map(|entries| Said::board(&entries)),
        Call::Rank { who, at: when } => repository
            .score_rank(who.key(), at(when))
            .await
            .map(Said::ranked),
    };
    let answered_ns = now_ns();
    let said = match answer {
        Ok(said) => said,
        Err(error) if error.effect() == Effect::Unknown => Said::Unknown,
        Err(error) if error.is_retryable() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Operation {
        said,
        answered_ns,
        ..asked
    }))
}

/// The machine's monotonic clock, which is one for all processes.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or_else(
        // There is no system that this runs on and that has no such clock.
        |_| std::time::Duration::ZERO,
        std::time::Duration::from,
    );
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
