//! The side that starts the processes of a scenario, has them start together, and collects what
//! they report.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::ProcessReport;
use super::process::{WORKER, WorkerCommand, WorkerReply, unix_us};
use super::wal::WalSampler;
use crate::foreign::{ForeignProcess, ForeignProcesses};
use crate::result::{ForeignProcessResult, WalSizes};
use crate::scenario::Scenario;

/// From the order to the start: enough for every process to have read the order.
const START_AFTER: Duration = Duration::from_millis(100);

/// How long the database is left alone, and open, after the neighbours have gone: a WAL that a
/// reader has kept from shrinking is to be seen shrinking.
const SETTLE: Duration = Duration::from_secs(2);

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many of the messages that it finds in the database are stored.
    Prefilled(u64),
    /// Over all processes, since the window began.
    Running {
        /// Operations acknowledged.
        ops: u64,
        /// Operations that failed.
        errors: u64,
    },
}

/// Who is told how far a run has come.
pub type Watcher<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// A run did not come to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The database could not be made.
    #[error("cannot prepare the database")]
    Prepare(#[source] crate::engine::BoxError),
    /// A process could not be started or talked to.
    #[error("process {process}: {doing}")]
    Process {
        /// Its number.
        process: usize,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A process said why it could not go on.
    #[error("process {process} failed: {message}")]
    Failed {
        /// Its number.
        process: usize,
        /// What it said.
        message: String,
    },
    /// A process ended without a report.
    #[error("process {process} ended without a report")]
    Died {
        /// Its number.
        process: usize,
    },
    /// A neighbour could not be started, or did not report.
    #[error("neighbour {neighbour}: {doing}")]
    ForeignProcess {
        /// Which of them.
        neighbour: ForeignProcess,
        /// What was being done, or what happened.
        doing: &'static str,
        /// The cause, where there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The files of a run could not be made or removed.
    #[error("cannot {doing}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// What the processes of a run did.
#[derive(Debug)]
pub struct Coordinated {
    /// What each process reported.
    pub reports: Vec<ProcessReport>,
    /// What each neighbour did.
    pub neighbours: Vec<ForeignProcessResult>,
    /// The size of the WAL from the window's start until the processes closed the database.
    pub wal: WalSizes,
}

/// Runs a scenario on a database that was prepared, with each of its processes started from
/// `executable`, a program that calls [`super::serve`] for the subcommand [`WORKER`] and
/// [`crate::foreign::serve`] for [`crate::foreign::FOREIGN_PROCESS`].
///
/// # Errors
///
/// [`RunError`]; all processes have ended then.
pub fn coordinate(
    scenario: &Scenario,
    database: &Path,
    executable: &Path,
    progress: Option<Watcher<'_>>,
) -> Result<Coordinated, RunError> {
    let processes = scenario.processes as usize;
    let (sender, answers) = sync_channel(processes * 4);
    let mut started = Vec::with_capacity(processes);
    for process in 0..processes {
        started.push(Started::new(executable, process, sender.clone())?);
    }
    drop(sender);
    for (process, child) in (0..).zip(&mut started) {
        child.order(&WorkerCommand::Prepare {
            scenario: Box::new(scenario.clone()),
            database: database.to_owned(),
            process,
            progress: progress.is_some(),
        })?;
    }
    for _ in 0..processes {
        match next(&answers)? {
            (_, WorkerReply::Ready) => {}
            (process, other) => return Err(unexpected(process, other)),
        }
    }
    let neighbours = ForeignProcesses::start(scenario, database, executable)?;
    let after_us = u64::try_from(START_AFTER.as_micros()).unwrap_or(u64::MAX);
    let at_unix_us = unix_us() + after_us;
    let from = Instant::now() + START_AFTER + scenario.effective_warmup();
    for child in &mut started {
        child.order(&WorkerCommand::Start { at_unix_us })?;
    }
    let mut run = Run {
        answers,
        wal: WalSampler::new(database, from),
        so_far: vec![(0, 0); processes],
        progress,
    };
    for _ in 0..processes {
        match run.next(None)? {
            Some((_, WorkerReply::Finished)) | None => {}
            Some((process, other)) => return Err(unexpected(process, other)),
        }
    }
    let neighbours = neighbours.stop()?;
    if !neighbours.is_empty()
        && let Some((process, answer)) = run.next(Some(Instant::now() + SETTLE))?
    {
        return Err(unexpected(process, answer));
    }
    let wal = run.wal.end();
    for child in &mut started {
        child.order(&WorkerCommand::Close)?;
    }
    let mut reports: Vec<Option<ProcessReport>> = vec![None; processes];
    for _ in 0..processes {
        match next(&run.answers)? {
            (process, WorkerReply::Done(report)) => reports[process] = Some(*report),
            (process, other) => return Err(unexpected(process, other)),
        }
    }
    for child in &mut started {
        child.wait();
    }
    Ok(Coordinated {
        reports: reports.into_iter().flatten().collect(),
        neighbours,
        wal,
    })
}

/// The part of a run in which processes tell how far they have come.
struct Run<'a> {
    answers: Receiver<Line>,
    wal: WalSampler,
    /// What each process told last: operations acknowledged, and failed.
    so_far: Vec<(u64, u64)>,
    progress: Option<Watcher<'a>>,
}

impl Run<'_> {
    /// The next answer that is more than progress; none where that has not come by `until`.
    fn next(&mut self, until: Option<Instant>) -> Result<Option<(usize, WorkerReply)>, RunError> {
        loop {
            self.wal.look();
            let due = self.wal.due();
            let wait = until.map_or(due, |until| due.min(until));
            let wait = wait.saturating_duration_since(Instant::now());
            let line = match self.answers.recv_timeout(wait) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    if until.is_some_and(|until| Instant::now() >= until) {
                        return Ok(None);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(RunError::Died { process: 0 }),
            };
            let (process, answer) = said(line)?;
            let WorkerReply::Progress { ops, errors } = answer else {
                return Ok(Some((process, answer)));
            };
            self.so_far[process] = (ops, errors);
            if let Some(progress) = &mut self.progress {
                progress(Progress::Running {
                    ops: self.so_far.iter().map(|(ops, _)| ops).sum(),
                    errors: self.so_far.iter().map(|(_, errors)| errors).sum(),
                });
            }
        }
    }
}

/// What a process said, or that it has ended.
type Line = (usize, Option<WorkerReply>);

fn next(answers: &Receiver<Line>) -> Result<(usize, WorkerReply), RunError> {
    // Where everyone who listened is gone, so are those they listened to.
    said(answers.recv().unwrap_or((0, None)))
}

fn said((process, answer): Line) -> Result<(usize, WorkerReply), RunError> {
    let answer = answer.ok_or(RunError::Died { process })?;
    Ok((process, answer))
}

/// An answer that is not what it was asked for.
fn unexpected(process: usize, answer: WorkerReply) -> RunError {
    match answer {
        WorkerReply::Failed { message } => RunError::Failed { process, message },
        _ => RunError::Died { process },
    }
}

/// A process that was started. It does not outlive this.
struct Started {
    process: usize,
    child: Child,
    orders: Option<ChildStdin>,
}

impl Started {
    fn new(executable: &Path, process: usize, answers: SyncSender<Line>) -> Result<Self, RunError> {
        let failed = |doing| {
            move |source| RunError::Process {
                process,
                doing,
                source,
            }
        };
        let mut child = Command::new(executable)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("cannot start it"))?;
        let orders = child.stdin.take();
        let said = child.stdout.take();
        let started = Self {
            process,
            child,
            orders,
        };
        thread::Builder::new()
            .name(format!("answers-{process}"))
            .spawn(move || {
                for line in said
                    .into_iter()
                    .flat_map(|said| BufReader::new(said).lines())
                {
                    let answer: Option<WorkerReply> =
                        line.ok().and_then(|line| serde_json::from_str(&line).ok());
                    let last = matches!(
                        answer,
                        None | Some(WorkerReply::Done(_) | WorkerReply::Failed { .. })
                    );
                    if answers.send((process, answer)).is_err() || last {
                        return;
                    }
                }
                // Nobody listens any more where another process has failed.
                let _ = answers.send((process, None));
            })
            .map_err(failed("cannot listen to it"))?;
        Ok(started)
    }

    fn order(&mut self, order: &WorkerCommand) -> Result<(), RunError> {
        let give = |mut orders: &ChildStdin| -> std::io::Result<()> {
            let mut line = serde_json::to_vec(order)?;
            line.push(b'\n');
            orders.write_all(&line)?;
            orders.flush()
        };
        self.orders
            .as_ref()
            .map_or(Ok(()), give)
            .or_else(|source| match source.kind() {
                // It has ended, and has said why or will be found to have said nothing.
                std::io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(RunError::Process {
                    process: self.process,
                    doing: "cannot tell it what to do",
                    source,
                }),
            })
    }

    fn wait(&mut self) {
        drop(self.orders.take());
        // It has reported; how it ends after that is of no interest.
        let _ = self.child.wait();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
