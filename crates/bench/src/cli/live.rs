//! How far a run has come, on a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::driver::Progress;
use crate::scenario::{Length, Scenario};

/// How often it is drawn anew, at most.
const DRAWS_PER_S: u8 = 4;

/// A line on the terminal that shows how far a run has come; nothing, where there is no terminal.
#[derive(Debug)]
pub(super) struct Live {
    bar: ProgressBar,
    label: String,
    since: Instant,
}

impl Live {
    /// Whether anybody would see it.
    pub(super) fn is_seen() -> bool {
        io::stderr().is_terminal()
    }

    pub(super) fn new(scenario: &Scenario, turn: &str) -> Self {
        let total_ms = match scenario.length {
            Length::Duration(length) => length + scenario.effective_warmup(),
            Length::Operations(_) => Duration::ZERO,
        }
        .as_millis();
        let total_ms = u64::try_from(total_ms).unwrap_or(u64::MAX);
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S);
        let bar = ProgressBar::with_draw_target((total_ms > 0).then_some(total_ms), target);
        let template = if total_ms > 0 {
            "{prefix} [{bar:24}] {wide_msg}"
        } else {
            "{prefix} {spinner} {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(turn.to_owned());
        bar.set_message(scenario.label());
        Self {
            bar,
            label: scenario.label(),
            since: Instant::now(),
        }
    }

    pub(super) fn show(&self, progress: Progress) {
        let elapsed_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.bar
            .set_position(elapsed_ms.min(self.bar.length().unwrap_or(u64::MAX)));
        let Progress { ops, errors } = progress;
        self.bar
            .set_message(format!("{}: {ops} operations, {errors} errors", self.label));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
