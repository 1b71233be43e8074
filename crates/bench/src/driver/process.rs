//! The side of a process that was started to run a part of a scenario: it is told what to do on its
//! standard input and answers on its standard output, a line of JSON each.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Driver, ProcessReport};
use crate::engine::{BoxError, EngineSet};
use crate::scenario::Scenario;

/// The subcommand by which a program is started for this.
pub const WORKER: &str = "worker";

/// What such a process is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkerCommand {
    /// Get ready.
    Prepare {
        scenario: Box<Scenario>,
        database: PathBuf,
        process: u32,
        progress: bool,
    },
    /// Start at this time of the machine's clock, in microseconds since 1970: not on arrival,
    /// because the first processes to start would keep the others from reading their orders.
    Start { at_unix_us: u64 },
    /// Close the database: everybody is done.
    Close,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkerReply {
    /// Everything is open.
    Ready,
    /// Acknowledged and failed so far.
    Progress { ops: u64, errors: u64 },
    /// Every caller is done, and the database still open.
    Finished,
    /// Everything is closed.
    Done(Box<ProcessReport>),
    /// It could not be done.
    Failed { message: String },
}

/// Serves as such a process until its part is done.
///
/// # Errors
///
/// Where it is not spoken to as it should be, or has nobody to answer.
pub fn serve(
    engines: &dyn EngineSet,
    orders: impl BufRead,
    mut answers: impl Write + Send,
) -> Result<(), BoxError> {
    let runtime = runtime()?;
    let served = runtime.block_on(carry_out(engines, orders, &mut answers));
    let last = match served {
        Ok(report) => WorkerReply::Done(Box::new(report)),
        Err(error) => WorkerReply::Failed {
            message: chain(&*error),
        },
    };
    answer(&mut answers, &last)
}

/// The runtime of engines that do not block: a thread for each processor.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn carry_out(
    engines: &dyn EngineSet,
    orders: impl BufRead,
    answers: &mut (impl Write + Send),
) -> Result<ProcessReport, BoxError> {
    let mut orders = orders.lines();
    let mut next = || -> Result<WorkerCommand, BoxError> {
        let line = orders.next().ok_or("the orders have ended")??;
        Ok(serde_json::from_str(&line)?)
    };
    let WorkerCommand::Prepare {
        scenario,
        database,
        process,
        progress,
    } = next()?
    else {
        return Err("told to start before being told what".into());
    };
    let engine = engines.open(&scenario, &database).await?;
    let driver = Driver::new(engine, *scenario, process).await?;
    answer(answers, &WorkerReply::Ready)?;
    let WorkerCommand::Start { at_unix_us } = next()? else {
        return Err("told twice what to do".into());
    };
    let wait_us = at_unix_us.saturating_sub(unix_us());
    let start = Instant::now() + Duration::from_micros(wait_us);
    let tell = |ops, errors| {
        if progress {
            // Where nobody reads any more, the report at the end will say so.
            let _ = answer(answers, &WorkerReply::Progress { ops, errors });
        }
    };
    let ran = driver.run(start, tell).await?;
    answer(answers, &WorkerReply::Finished)?;
    let WorkerCommand::Close = next()? else {
        return Err("told to do something else than to close".into());
    };
    ran.close().await
}

fn answer(answers: &mut impl Write, answer: &WorkerReply) -> Result<(), BoxError> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    answers.write_all(&line)?;
    answers.flush()?;
    Ok(())
}

/// An error and its sources.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The machine's clock, by which processes agree on when to start.
#[expect(
    clippy::disallowed_methods,
    reason = "processes share no other clock, and nothing is measured by it"
)]
pub(super) fn unix_us() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
