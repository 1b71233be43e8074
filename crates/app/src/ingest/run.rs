//! The state of an ingest: what was taken in, what may be submitted next, what came of it.

use std::io;
use std::iter::Peekable;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use std::vec;

use roas_domain::{EventId, EventOutcome, RepositoryError, RepositoryErrorKind};

use crate::gateway::GatewayLine;
use crate::latency::LatencyRecorder;
use crate::service::ActivityMeterService;

use super::lanes::{Lanes, Pending};
use super::lines::{LineBatch, Parsed};
use super::{IngestError, IngestObserver, IngestSummary};

/// What the repository answered to one call.
pub(super) struct CallOutcome {
    call: Vec<Pending>,
    /// For the events of the call, in order; for all of them unless the call ended early.
    results: Vec<Result<EventOutcome, RepositoryError>>,
    /// Why the call ended early.
    failure: Option<RepositoryError>,
    took: Duration,
}

pub(super) async fn submit(service: &ActivityMeterService, call: Vec<Pending>) -> CallOutcome {
    let submitted = Instant::now();
    let mut results = Vec::with_capacity(call.len());
    let mut failure = None;
    // A call is recorded whole or not at all. So one that is refused is halved until the event that is
    // refused stands alone, and the others are recorded in their order.
    let mut parts = vec![call.as_slice()];
    while let Some(part) = parts.pop() {
        match record(service, part).await {
            Ok(outcomes) => results.extend(outcomes.into_iter().map(Ok)),
            Err(error) if error.kind() == RepositoryErrorKind::InvalidRequest => {
                if part.len() == 1 {
                    results.push(Err(error));
                } else {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
            // All events of a call are of one member, and fail alike.
            Err(error) if error.kind() == RepositoryErrorKind::InvalidData => {
                results.extend(part.iter().map(|_| Err(error.clone())));
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    CallOutcome {
        results,
        failure,
        took: submitted.elapsed(),
        call,
    }
}

async fn record(
    service: &ActivityMeterService,
    part: &[Pending],
) -> Result<Vec<EventOutcome>, RepositoryError> {
    let outcomes = match part {
        [one] => vec![service.record(one.event).await?],
        many => {
            let events = many.iter().map(|pending| pending.event).collect();
            service.record_many(events).await?
        }
    };
    if outcomes.len() == part.len() {
        return Ok(outcomes);
    }
    // What a repository with this defect recorded is anybody's guess.
    let message = format!("{} outcomes came for {} events", outcomes.len(), part.len());
    Err(RepositoryError::new(
        RepositoryErrorKind::OutcomeUnknown,
        message,
    ))
}

/// Why a run ends early.
#[derive(Debug)]
enum AbortReason {
    Repository { line: u64, source: RepositoryError },
    Read { line: u64, source: io::Error },
    Acknowledge { source: io::Error },
}

/// An ingest under way: all of it but the waiting.
#[derive(Debug)]
pub(super) struct Run<'a, O> {
    observer: &'a mut O,
    lanes: Lanes,
    /// Lines that have come and are not taken in yet.
    lines: Peekable<vec::IntoIter<Parsed>>,
    /// Whether no more lines will come, or no more are wanted.
    ended: bool,
    /// Lines that have come, and lines that were taken in.
    came: u64,
    taken_in: u64,
    summary: IngestSummary,
    latency: LatencyRecorder,
    /// Whether the observer takes acknowledgements still.
    acknowledging: bool,
    /// Where there are several, the first one that is not the input's.
    failure: Option<AbortReason>,
}

impl<'a, O: IngestObserver> Run<'a, O> {
    pub(super) fn new(in_flight: NonZeroUsize, observer: &'a mut O) -> Self {
        Self {
            observer,
            lanes: Lanes::new(in_flight.get()),
            lines: Vec::new().into_iter().peekable(),
            ended: false,
            came: 0,
            taken_in: 0,
            summary: IngestSummary::default(),
            latency: LatencyRecorder::new(),
            acknowledging: true,
            failure: None,
        }
    }

    /// Whether there is input left, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.ended || self.lines.len() > 0
    }

    pub(super) fn wants_lines(&self) -> bool {
        !self.ended && self.lines.len() == 0
    }

    pub(super) fn lines_came(&mut self, batch: LineBatch) {
        self.came += batch.lines.len() as u64;
        self.observer.progress(batch.bytes, self.came);
        self.lines = batch.lines.into_iter().peekable();
    }

    pub(super) fn input_ended(&mut self, end: io::Result<()>) {
        self.ended = true;
        if let Err(source) = end {
            let line = self.came + 1;
            self.failure = Some(AbortReason::Read { line, source });
        }
    }

    /// Takes lines in until there is a call to submit; nothing where no line is left, or the next
    /// one has to wait for an answer.
    pub(super) fn take_in(&mut self) -> Option<Vec<Pending>> {
        loop {
            let lanes = &self.lanes;
            let line = self.lines.next_if(|line| match line {
                Ok(GatewayLine::Message(event)) => lanes.has_room_for(event),
                _ => true,
            })?;
            self.taken_in += 1;
            match line {
                Ok(GatewayLine::Message(event)) => {
                    let call = self.lanes.admit(Pending {
                        line: self.taken_in,
                        event,
                    });
                    if call.is_some() {
                        return call;
                    }
                }
                Ok(GatewayLine::Ignored(reason)) => {
                    self.summary.lines += 1;
                    self.summary.ignored += 1;
                    self.summary.ignored_lines.count(reason);
                }
                Err(reason) => {
                    self.summary.lines += 1;
                    self.summary.rejected += 1;
                    self.observer.rejected(self.taken_in, &reason);
                }
            }
        }
    }

    /// Deals with an answer. Returns the next call to submit for its member.
    pub(super) fn settle(&mut self, answer: CallOutcome) -> Option<Vec<Pending>> {
        let recorded = answer
            .results
            .iter()
            .filter(|result| result.is_ok())
            .count();
        self.latency.record_many(answer.took, recorded as u64);
        let unanswered = answer.call.get(answer.results.len());
        for (pending, result) in answer.call.iter().zip(answer.results) {
            match result {
                Ok(outcome) => {
                    self.count(outcome);
                    self.acknowledge(pending.event.id);
                }
                Err(reason) => self.refuse(pending.line, &reason),
            }
        }
        if let Some(source) = answer.failure {
            let line = unanswered.map_or(0, |pending| pending.line);
            self.fail(AbortReason::Repository { line, source });
        }
        self.lanes.settle(&answer.call)
    }

    fn refuse(&mut self, line: u64, reason: &RepositoryError) {
        self.summary.lines += 1;
        if reason.kind() == RepositoryErrorKind::InvalidData {
            self.summary.failed += 1;
        } else {
            self.summary.rejected += 1;
        }
        self.observer.refused(line, reason);
    }

    fn count(&mut self, outcome: EventOutcome) {
        self.summary.lines += 1;
        match outcome {
            EventOutcome::Scored(_) => self.summary.scored += 1,
            EventOutcome::CoolingDown(_) => self.summary.cooling_down += 1,
            EventOutcome::Duplicate => self.summary.duplicate += 1,
        }
    }

    fn acknowledge(&mut self, id: Option<EventId>) {
        if let Some(id) = id
            && self.acknowledging
            && let Err(source) = self.observer.acknowledged(id)
        {
            // What the observer wrote last may be half a line; no more must be written behind it.
            self.acknowledging = false;
            self.fail(AbortReason::Acknowledge { source });
        }
    }

    /// Submits nothing more.
    fn fail(&mut self, failure: AbortReason) {
        // That the input broke gives way: it would promise that every line before was dealt with.
        if matches!(self.failure, None | Some(AbortReason::Read { .. })) {
            self.failure = Some(failure);
        }
        self.close();
        self.lanes.abandon_waiting();
    }

    pub(super) fn stop(&mut self) {
        self.summary.interrupted = true;
        self.close();
    }

    /// Takes no more lines.
    fn close(&mut self) {
        self.ended = true;
        self.lines = Vec::new().into_iter().peekable();
    }

    /// The end of it, once nothing is under way any more.
    pub(super) fn finish(self, started: Instant) -> Result<IngestSummary, IngestError> {
        let mut summary = self.summary;
        summary.elapsed = started.elapsed();
        summary.latency = self.latency.summary();
        let Some(failure) = self.failure else {
            return Ok(summary);
        };
        let summary = Box::new(summary);
        Err(match failure {
            AbortReason::Repository { line, source } => IngestError::Repository {
                line,
                source,
                summary,
            },
            AbortReason::Read { line, source } => IngestError::Read {
                line,
                source,
                summary,
            },
            AbortReason::Acknowledge { source } => IngestError::Acknowledge { source, summary },
        })
    }
}
