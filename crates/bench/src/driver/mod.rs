//! Runs a scenario: in this process ([`Driver`]), and over all of them ([`coordinate`]).
//!
//! Time is tokio's, so that tests can pause it.

mod closed;
mod coordinate;
mod metrics;
mod open;
mod process;
mod reached;
mod reader;
mod report;
#[cfg(test)]
mod tests;
mod wal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::{BoxError, Description, Engine, Execution, ReadSession, Session};
use crate::operations::Operations;
use crate::scenario::{Length, Scenario};
use crate::stats::{Measurements, Recorder, Usage, Window};
use metrics::MetricSlices;
use reached::Reached;

pub use coordinate::{Coordinated, Progress, RunError, Watcher, coordinate};
pub use process::{WORKER, serve};
pub(crate) use process::{chain, runtime};
pub use report::ProcessReport;

/// How often a process tells how far it has come.
const TICK: Duration = Duration::from_millis(100);

/// How long a caller of a closed loop waits after a failure, before it goes on to its next
/// operation. A caller that fails at once would otherwise spin: 64 that do so on a rollback journal
/// without a busy timeout fail 700,000 times a second, and keep the lock so busy that nobody ever
/// commits, which says nothing about the engine. The failed operation is not tried again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// An engine with a session for every caller of one process, ready to start.
#[derive(Debug)]
pub struct Driver {
    engine: Box<dyn Engine>,
    scenario: Scenario,
    process: u32,
    sessions: Sessions,
    description: Description,
}

struct Sessions {
    writing: Vec<Box<dyn Session>>,
    reading: Vec<Box<dyn ReadSession>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("writing", &self.writing.len())
            .field("reading", &self.reading.len())
            .finish()
    }
}

impl Driver {
    /// Opens the sessions that a process of the scenario needs.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub async fn new(
        engine: Box<dyn Engine>,
        scenario: Scenario,
        process: u32,
    ) -> Result<Self, BoxError> {
        let mut sessions = Sessions {
            writing: Vec::new(),
            reading: Vec::new(),
        };
        for _ in 0..workers(engine.execution(), &scenario) {
            sessions.writing.push(engine.session().await?);
        }
        for _ in 0..scenario.readers {
            sessions.reading.push(engine.reader().await?);
        }
        // Before the start, because afterwards an engine may be metrics that the database is locked.
        let description = engine.describe().await?;
        Ok(Self {
            engine,
            scenario,
            process,
            sessions,
            description,
        })
    }

    /// Runs from `start` until every caller is done. `progress` is metrics now and then how many
    /// operations were acknowledged and how many failed.
    ///
    /// # Errors
    ///
    /// A caller's panic. Failed operations are part of the report.
    pub async fn run(
        self,
        start: Instant,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Ran, BoxError> {
        let scenario = self.scenario;
        let from = start + scenario.effective_warmup();
        let until = match scenario.length {
            Length::Duration(length) => Some(from + length),
            Length::Operations(_) => None,
        };
        let window = Window { from, until };
        let slice = slice(window.length());
        let all = Measurements::new(window, slice);
        let execution = self.engine.execution();
        let stop = Arc::new(AtomicBool::new(false));
        let reached = Reached::new();
        let reading = start_readers(
            &scenario,
            self.process,
            execution,
            self.sessions.reading,
            || reader::Pace {
                start,
                every: scenario.read_every,
                reached: reached.clone(),
                stop: Arc::clone(&stop),
                recorder: all.recorder(0),
            },
        )?;
        let writing = start_writers(
            &scenario,
            self.process,
            execution,
            self.engine.operations_per_call(),
            self.sessions.writing,
            |worker| (start, all.recorder(worker), reached.clone()),
        )?;

        tokio::time::sleep_until(from).await;
        let now = || {
            (
                Usage::now(),
                self.engine.counters(),
                self.engine.queue_waits(),
            )
        };
        let at_start = now();
        let mut at_end = None;
        // What was metrics before the window is nobody's.
        self.engine.take_metrics();
        let mut metrics = MetricSlices::new(window, slice);
        let mut done = std::pin::pin!(join(writing));
        loop {
            let tick = metrics.due(Instant::now() + TICK);
            let tick = until
                .filter(|_| at_end.is_none())
                .map_or(tick, |until| tick.min(until));
            let joined = tokio::time::timeout_at(tick, &mut done).await;
            metrics.listen(&*self.engine, joined.is_ok());
            if at_end.is_none() && (joined.is_ok() || until.is_some_and(|until| tick >= until)) {
                at_end = Some(now());
            }
            if let Ok(joined) = joined {
                joined?;
                break;
            }
            let (ops, errors) = all.progress();
            progress(ops, errors);
        }
        stop.store(true, Ordering::Relaxed);
        let reads = join(reading).await?;

        let (usage, counters, queue_waits) = at_end.unwrap_or((Usage::now(), None, None));
        let counters = counters
            .zip(at_start.1)
            .map(|(end, start)| end.since(start));
        let mut report = ProcessReport::new(&all, self.description, counters);
        report.add_reads(reads);
        report.slices.add(&metrics.slices);
        report.queue_waits = queue_waits
            .zip(at_start.2)
            .map(|(end, start)| end.since(&start));
        report.cpu_s = usage.cpu_s - at_start.0.cpu_s;
        Ok(Ran {
            engine: self.engine,
            report,
        })
    }
}

/// A run whose callers are done, and whose engine is still open.
#[derive(Debug)]
pub struct Ran {
    engine: Box<dyn Engine>,
    report: ProcessReport,
}

impl Ran {
    /// Closes the engine, and reports.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub async fn close(self) -> Result<ProcessReport, BoxError> {
        self.engine.close().await?;
        Ok(ProcessReport {
            max_rss_bytes: Usage::now().max_rss_bytes,
            ..self.report
        })
    }
}

/// How many writing sessions a process has.
fn workers(execution: Execution, scenario: &Scenario) -> u32 {
    match execution {
        Execution::Tasks | Execution::Threads => scenario.tasks,
        Execution::OneThread => 1,
    }
}

fn start_writers(
    scenario: &Scenario,
    process: u32,
    execution: Execution,
    per_call: usize,
    sessions: Vec<Box<dyn Session>>,
    recorder: impl Fn(u32) -> (Instant, Recorder, Reached),
) -> Result<Vec<oneshot::Receiver<()>>, BoxError> {
    let members = Arc::new(scenario.all_members());
    let workers = workers(execution, scenario);
    let mut started = Vec::new();
    for (worker, session) in (0..workers).zip(sessions) {
        let operations = Operations::of(scenario, &members, process, worker, workers);
        let (start, recorder, reached) = recorder(worker);
        let writer = WritingCaller {
            session,
            operations,
            per_call,
            start,
            recorder,
            reached,
        };
        let name = format!("writer-{worker}");
        let turn = (process * workers + worker, scenario.processes * workers);
        started.push(match scenario.rate_per_s {
            None => spawn(execution, name, closed::write(writer))?,
            Some(rate) => {
                let pace = open::Pace::new(rate, per_call, turn);
                spawn(execution, name, open::write(writer, pace))?
            }
        });
    }
    Ok(started)
}

fn start_readers(
    scenario: &Scenario,
    process: u32,
    execution: Execution,
    sessions: Vec<Box<dyn ReadSession>>,
    pace: impl Fn() -> reader::Pace,
) -> Result<Vec<oneshot::Receiver<reader::Reads>>, BoxError> {
    let mut started = Vec::new();
    for (number, session) in (0..scenario.readers).zip(sessions) {
        let members = scenario.all_members();
        let seed =
            scenario.seed ^ u64::from(process * scenario.readers + number + 1).rotate_right(20);
        let reading = reader::read(session, members, seed, pace());
        started.push(spawn(execution, format!("reader-{number}"), reading)?);
    }
    Ok(started)
}

/// One writing caller, before it starts.
struct WritingCaller {
    session: Box<dyn Session>,
    operations: Operations,
    per_call: usize,
    start: Instant,
    recorder: Recorder,
    reached: Reached,
}

/// Starts a caller: the same code on a task or on a thread of its own.
fn spawn<T: Send + 'static>(
    execution: Execution,
    name: String,
    caller: impl Future<Output = T> + Send + 'static,
) -> Result<oneshot::Receiver<T>, BoxError> {
    let (sender, receiver) = oneshot::channel();
    let run = async move {
        // Nobody waits for it any more where the run has failed.
        let _ = sender.send(caller.await);
    };
    if execution == Execution::Tasks {
        tokio::spawn(run);
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(run))?;
    }
    Ok(receiver)
}

async fn join<T>(callers: Vec<oneshot::Receiver<T>>) -> Result<Vec<T>, BoxError> {
    let mut results = Vec::with_capacity(callers.len());
    for caller in callers {
        results.push(caller.await.map_err(|_| "a caller has panicked")?);
    }
    Ok(results)
}

/// The length of a slice of the timeline: 20 to 60 of them in a run whose length is known. Where it
/// is not they begin short, and become longer as there are more.
fn slice(window: Option<Duration>) -> Duration {
    const LENGTHS_MS: [u64; 8] = [50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000];
    let fits = |ms: &&u64| window.is_some_and(|window| window <= Duration::from_millis(**ms) * 60);
    let ms = match window {
        Some(_) => LENGTHS_MS.iter().find(fits).copied().unwrap_or(60_000),
        None => 250,
    };
    Duration::from_millis(ms)
}
