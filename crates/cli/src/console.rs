//! Stderr: rejected lines, the log, the one line of a failure, and the progress bar that all of
//! these must not write into.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::LogLevel;

/// Often enough to look alive, seldom enough to cost nothing.
const FRAMES_PER_SECOND: u8 = 10;

/// Stderr, shared by all who write there. Clones are the same console.
#[derive(Debug, Clone, Default)]
pub(crate) struct Console {
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Console {
    /// Shows a progress bar, where stderr is a terminal and the bar was not declined. Lines that
    /// are written while it is there appear above it.
    pub(crate) fn progress(
        &self,
        wanted: bool,
        bytes: Option<u64>,
        template: &'static str,
    ) -> ProgressBar {
        let bar = if wanted && io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND);
            ProgressBar::with_draw_target(bytes, target)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_secs(1) / u32::from(FRAMES_PER_SECOND));
        }
        *self.lock() = Some(bar.clone());
        bar
    }

    /// Takes the progress bar away.
    pub(crate) fn end_progress(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    /// Writes one line. Where stderr is closed or full there is nobody left to tell.
    pub(crate) fn line(&self, line: &str) {
        let _ = self.write(format!("{line}\n").as_bytes());
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        // One call, so that lines of several processes on one terminal do not mix.
        let write = || io::stderr().lock().write_all(text);
        match &*self.lock() {
            Some(bar) if !bar.is_hidden() => bar.suspend(write),
            _ => write(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the log here. In a process that has a log already, that one stays.
    pub(crate) fn install_log(&self, level: LogLevel) {
        let level = match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        // The startup manager warns of what a command then fails with, in its one line.
        let startup = if level == LevelFilter::WARN {
            LevelFilter::ERROR
        } else {
            level
        };
        let filter = Targets::new()
            .with_default(level)
            .with_target("roas_app::startup", startup);
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(self.clone())
            .with_filter(filter);
        let _ = tracing_subscriber::registry().with(lines).try_init();
    }
}

/// The console as the log's writer.
#[derive(Debug)]
pub(crate) struct LogLine(Console);

impl Write for LogLine {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Console {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declined_bar_is_hidden_and_lines_still_pass() {
        let console = Console::default();
        let bar = console.progress(false, Some(10), "{bar}");
        assert!(bar.is_hidden());
        console.line("a line");
        LogLine(console.clone()).write_all(b"a log line\n").unwrap();
        console.end_progress();
        assert!(console.lock().is_none());
    }
}
