//! What an ingest did, in numbers.

use std::time::Duration;

use serde::Serialize;

use crate::gateway::IgnoredReason;
use crate::latency::LatencySummary;

/// What an ingest did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IngestSummary {
    /// Lines that were dealt with: the sum of the six counts below. After an error or a stop,
    /// lines that were read but neither rejected nor answered are not among them.
    pub lines: u64,
    /// Messages that were counted and scored.
    pub scored: u64,
    /// Messages that were counted, but came within the cooldown, or late.
    pub cooling_down: u64,
    /// Messages that had been recorded before.
    pub duplicate: u64,
    /// Lines that hold nothing the meter counts.
    pub ignored: u64,
    /// Lines that could not be read, and messages whose time lies too far ahead of the repository's
    /// clock.
    pub rejected: u64,
    /// Messages that could not be recorded because what is stored of their guild or member cannot be
    /// read. Once that is corrected, the input can be ingested again.
    pub failed: u64,
    /// The ignored lines by reason.
    pub ignored_lines: IgnoredLines,
    /// Whether the ingest was stopped before the end of the input.
    pub interrupted: bool,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// For each recorded event, from the submission of the call that carried it to the answer. The
    /// time for which an event waited for its member's call before is not in it.
    pub latency: LatencySummary,
}

impl IngestSummary {
    /// Messages that the repository answered for: scored, cooling down or duplicate.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.scored + self.cooling_down + self.duplicate
    }

    /// Whether every line is accounted for exactly once. It always is.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.lines == self.acknowledged() + self.ignored + self.rejected + self.failed
            && self.ignored == self.ignored_lines.all()
    }

    /// Whether there were lines, blank ones aside, and each of them was rejected: most likely the input
    /// is no stream of gateway payloads at all.
    #[must_use]
    pub const fn is_rejected_whole(&self) -> bool {
        self.rejected > 0 && self.rejected + self.ignored_lines.blank == self.lines
    }
}

/// Ignored lines, by [`IgnoredReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct IgnoredLines {
    /// Nothing but white space.
    pub blank: u64,
    /// Payloads other than a `MESSAGE_CREATE`.
    pub other_event: u64,
    /// Messages that a webhook sent.
    pub webhook: u64,
    /// Messages that a bot wrote.
    pub bot: u64,
    /// Messages outside any guild.
    pub direct_message: u64,
    /// Messages that Discord wrote in a member's name.
    pub system: u64,
}

impl IgnoredLines {
    pub(super) fn count(&mut self, reason: IgnoredReason) {
        *match reason {
            IgnoredReason::Blank => &mut self.blank,
            IgnoredReason::OtherEvent => &mut self.other_event,
            IgnoredReason::Webhook => &mut self.webhook,
            IgnoredReason::Bot => &mut self.bot,
            IgnoredReason::DirectMessage => &mut self.direct_message,
            IgnoredReason::System => &mut self.system,
        } += 1;
    }

    const fn all(&self) -> u64 {
        self.blank + self.other_event + self.webhook + self.bot + self.direct_message + self.system
    }
}
