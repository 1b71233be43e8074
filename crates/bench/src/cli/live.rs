//! How far a run has come: on a terminal a line that is drawn anew, elsewhere a line now and then.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::driver::Progress;
use crate::scenario::{Length, Scenario};

/// How often it is drawn anew on a terminal, at most.
const DRAWS_PER_S: u8 = 4;

/// From one line to the next where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows on standard error how far a run has come.
#[derive(Debug)]
pub(super) struct Live {
    label: String,
    to_prefill: u64,
    warmup: Duration,
    length: Length,
    running_since: Option<Instant>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Drawn(ProgressBar),
    Lines { next: Instant },
}

impl Live {
    pub(super) fn new(scenario: &Scenario, turn: &str) -> Self {
        let shown = if io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S);
            let bar = ProgressBar::with_draw_target(None, target);
            if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(turn.to_owned());
            bar.set_message(scenario.label());
            Shown::Drawn(bar)
        } else {
            Shown::Lines {
                next: Instant::now() + LINE_EVERY,
            }
        };
        Self {
            label: scenario.label(),
            to_prefill: scenario.prefilled(),
            warmup: scenario.effective_warmup(),
            length: scenario.length,
            running_since: None,
            shown,
        }
    }

    /// Shows it, unless that was done a moment ago.
    pub(super) fn show(&mut self, progress: Progress) {
        if matches!(self.shown, Shown::Lines { next } if Instant::now() < next) {
            return;
        }
        let (done, all, text) = self.so_far(progress);
        let text = format!("{}: {text}", self.label);
        match &mut self.shown {
            Shown::Drawn(bar) => {
                bar.set_length(all);
                bar.set_position(done.min(all));
                bar.set_message(text);
            }
            Shown::Lines { next } => {
                *next = Instant::now() + LINE_EVERY;
                let percent = done.min(all) * 100 / all.max(1);
                output::note(format_args!("{percent:3} % {text}"));
            }
        }
    }

    /// How much of how much is done, in one unit, and what that is.
    fn so_far(&mut self, progress: Progress) -> (u64, u64, String) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match progress {
            Progress::Prefilled(stored) => (
                stored,
                self.to_prefill,
                format!("{stored} messages stored beforehand"),
            ),
            Progress::Running { ops, errors } => {
                let since = *self.running_since.get_or_insert_with(Instant::now);
                let (done, all) = match self.length {
                    Length::Duration(length) => (ms(since.elapsed()), ms(length + self.warmup)),
                    Length::Operations(operations) => (ops + errors, operations),
                };
                (done, all, format!("{ops} operations, {errors} errors"))
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Shown::Drawn(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
