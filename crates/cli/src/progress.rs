//! How far a long operation on a file is, on stderr.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use roas_db::{Phase, Progress, Watcher};

use super::console::Console;

/// Of which phase the last sign was given, and at which tenth.
#[derive(Default)]
struct Shown {
    phase: Option<Phase>,
    tenth: u64,
    bar: Option<ProgressBar>,
}

/// A watcher that shows what it is told.
pub(super) fn watcher(console: Console) -> Watcher {
    let shown = Mutex::new(Shown::default());
    let terminal = io::stderr().is_terminal();
    Watcher::new(move |progress| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if terminal {
            draw(&console, &mut shown, progress);
        } else if let Some(line) = line(&mut shown, progress) {
            console.line(&line);
        }
    })
}

fn draw(console: &Console, shown: &mut Shown, progress: Progress) {
    if shown.phase != Some(progress.phase) {
        console.end_progress();
        let bar = console.progress(
            true,
            Some(progress.total.max(1)),
            "{msg:18} {wide_bar} {percent:>3} % {elapsed}",
        );
        bar.set_message(progress.phase.to_string());
        shown.bar = Some(bar);
        shown.phase = Some(progress.phase);
    }
    if let Some(bar) = &shown.bar {
        bar.set_position(progress.done);
    }
}

/// A line at the beginning of each phase and at each tenth of it.
fn line(shown: &mut Shown, progress: Progress) -> Option<String> {
    let Progress { phase, done, total } = progress;
    let tenth = (done * 10).checked_div(total).unwrap_or(0).min(10);
    if shown.phase == Some(phase) && shown.tenth >= tenth {
        return None;
    }
    (shown.phase, shown.tenth) = (Some(phase), tenth);
    Some(format!("{phase}: {} %", tenth * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_and_each_tenth_has_one_line() {
        let mut shown = Shown::default();
        let mut lines = Vec::new();
        for (phase, total) in [(Phase::Copying, 40), (Phase::Migrating, 0)] {
            for done in 0..=total {
                lines.extend(line(&mut shown, Progress { phase, done, total }));
            }
        }
        assert_eq!(lines.len(), 12, "{lines:?}");
        assert_eq!(lines[0], "copying: 0 %");
        assert_eq!(lines[10], "copying: 100 %");
        assert_eq!(lines[11], "migrating: 0 %");
    }
}
