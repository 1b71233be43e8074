//! A file or a stream of gateway payloads, recorded.
//!
//! Lines are read and parsed on a thread of their own, and recorded by any number of calls at
//! once. Whatever that number, the result is the same as if the lines were recorded one by one:
//!
//! - A member's events are applied in the order of the input. Of each member one call is
//!   outstanding at most; what comes meanwhile waits, and then goes together as one call.
//! - Of several events with the same id the first one counts. One whose id is under way waits
//!   until that is answered.
//!
//! Memory is bounded: by [`IngestOptions::in_flight`] events, a few batches of lines, and one line
//! of at most [`MAX_LINE_BYTES`](crate::gateway::MAX_LINE_BYTES).
//!
//! # After an error
//!
//! Every gateway message has an id, and an id counts once. So after any error, one of unknown
//! outcome included, it is safe to ingest the same input again from its start: what was recorded
//! is answered as a duplicate. (Within the time that the repository remembers ids for.)

mod lanes;
mod lines;
mod run;
mod summary;

use std::io::{self, BufRead};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roas_domain::{EventId, RepositoryError};
use thiserror::Error;
use tokio::sync::watch;

use crate::gateway::LineError;
use crate::service::ActivityMeterService;

use lines::{Input, LineReader};
use run::{Run, submit};
pub use summary::{IgnoredLines, IngestSummary};

/// How to ingest.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// How many events may be under way at once, those included that wait for their member's call.
    /// With 1, each event is answered before the next one is submitted.
    pub in_flight: NonZeroUsize,
    /// Becomes `true` when the ingest is to stop: nothing more is read, what is under way is
    /// finished, and the summary says so. Without it, or once its sender is gone, the ingest goes
    /// on to the end of the input.
    pub stop: Option<watch::Receiver<bool>>,
}

/// 1,024 events in flight, and no way to stop.
impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            in_flight: NonZeroUsize::MIN.saturating_add(1_023),
            stop: None,
        }
    }
}

/// Receives what happens while it happens. All of it is called from the task that ingests, so it
/// should return quickly.
pub trait IngestObserver {
    /// A line could not be read. Lines are counted from 1 and come in order.
    fn rejected(&mut self, line: u64, reason: &LineError) {
        let _ = (line, reason);
    }

    /// The repository refused the message of this line, for a reason of its own: its time lies too far
    /// ahead (`InvalidRequest`; counted as [rejected](IngestSummary::rejected)), or what is stored of its
    /// guild or member cannot be read (`InvalidData`; counted as [failed](IngestSummary::failed)). Such
    /// lines come in the order of the answers.
    fn refused(&mut self, line: u64, reason: &RepositoryError) {
        let _ = (line, reason);
    }

    /// The input was read up to `bytes` bytes and `lines` lines from its start. Comes with every
    /// batch of lines, thus up to thousands of times a second.
    fn progress(&mut self, bytes: u64, lines: u64) {
        let _ = (bytes, lines);
    }

    /// The event is recorded, as durably as the repository promises; as a duplicate, it was
    /// before. Events come in the order of the answers, a member's in the order of the input.
    ///
    /// # Errors
    ///
    /// One that is to end the ingest. What is under way is still finished and counted, but no
    /// longer acknowledged.
    fn acknowledged(&mut self, id: EventId) -> io::Result<()> {
        let _ = id;
        Ok(())
    }
}

/// Ignores all of it.
impl IngestObserver for () {}

/// Why an ingest ended before its input. What it did until then is in each error's summary.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IngestError {
    /// An event could not be recorded, for a reason that is not its own. Whatever was under way besides has
    /// been waited for and acknowledged; nothing was submitted after the error was seen.
    #[error("cannot record the event of line {line}")]
    Repository {
        /// The first line of the call that failed.
        line: u64,
        /// The repository's error. Where it [is retryable](RepositoryError::is_retryable), or of
        /// unknown outcome, the input can be ingested again.
        source: RepositoryError,
        /// What was done until then.
        summary: Box<IngestSummary>,
    },
    /// The input could not be read further. All lines before have been dealt with.
    #[error("cannot read line {line}")]
    Read {
        /// The line that could not be read, or not whole.
        line: u64,
        /// The input's error.
        source: io::Error,
        /// What was done until then.
        summary: Box<IngestSummary>,
    },
    /// The observer could not take an acknowledgement. Whatever was under way has been waited for,
    /// and is counted, but not acknowledged.
    #[error("cannot acknowledge an event")]
    Acknowledge {
        /// The observer's error.
        source: io::Error,
        /// What was done until then.
        summary: Box<IngestSummary>,
    },
}

impl IngestError {
    /// What was done until the error.
    #[must_use]
    pub const fn summary(&self) -> &IngestSummary {
        match self {
            Self::Repository { summary, .. }
            | Self::Read { summary, .. }
            | Self::Acknowledge { summary, .. } => summary,
        }
    }
}

/// Records every message of `input`, one gateway payload a line; see
/// [`parse_line`](crate::gateway::parse_line).
///
/// Lines that cannot be read, and messages that the repository refuses for a reason of their own, are
/// reported to `observer` and passed over. Any other error of the repository ends the ingest: it has
/// retried by itself what it can.
///
/// `input` is best given a buffer of 64 KiB: with the usual 8 KiB, handing lines over to the runtime
/// costs as much as parsing them.
///
/// The thread that reads `input` ends with it. After a stop or an error it ends with the next line
/// instead, and where no further line comes, with the process.
///
/// # Errors
///
/// [`IngestError`], with the summary so far, when the calls that were under way are answered.
///
/// # Cancel safety
///
/// Dropping the future drops the calls that are under way: each of their events is then recorded
/// once or not at all, and not acknowledged. Ingesting the same input again is safe.
pub async fn ingest(
    input: impl BufRead + Send + 'static,
    service: &ActivityMeterService,
    options: &IngestOptions,
    observer: &mut impl IngestObserver,
) -> Result<IngestSummary, IngestError> {
    let started = Instant::now();
    let mut run = Run::new(options.in_flight, observer);
    let mut stop = pin!(stopped(options.stop.clone()));
    let mut calls = FuturesUnordered::new();
    let mut reader = match LineReader::spawn(input) {
        Ok(reader) => reader,
        Err(source) => {
            run.input_ended(Err(source));
            return run.finish(started);
        }
    };
    loop {
        while let Some(call) = run.take_in() {
            calls.push(submit(service, call));
        }
        tokio::select! {
            // To stop comes first. Answers come before more input: they make room for it.
            biased;
            () = &mut stop, if run.is_open() => run.stop(),
            Some(answer) = calls.next(), if !calls.is_empty() => {
                if let Some(call) = run.settle(answer) {
                    calls.push(submit(service, call));
                }
            }
            input = reader.next(), if run.wants_lines() => match input {
                Input::Lines(batch) => run.lines_came(batch),
                Input::End(end) => run.input_ended(end),
            },
            else => break,
        }
    }
    run.finish(started)
}

/// Resolves when the ingest is to stop.
async fn stopped(stop: Option<watch::Receiver<bool>>) {
    if let Some(mut stop) = stop {
        let told = stop.wait_for(|stop| *stop).await.is_ok();
        if told {
            return;
        }
    }
    std::future::pending::<()>().await;
}
