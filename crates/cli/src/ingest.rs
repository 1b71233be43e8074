//! `roas ingest`: a file or stdin, recorded.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use roas_db::Access;
use roas_domain::{EventId, RepositoryError};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::args::IngestArgs;
use super::input_format::{Checked, Format};
use super::output::{Report, Style, duration_us, facts, grouped};
use super::signals::Signals;
use super::{Console, Context};
use crate::error::{CliError, with_advice};
use roas_app::gateway::LineError;
use roas_app::ingest::{
    IgnoredLines, IngestError, IngestObserver, IngestOptions, IngestSummary, ingest as record,
};
use roas_app::latency::LatencySummary;
use roas_app::meter::Meter;
use roas_app::one_line;

/// Large enough that reading costs little, small enough that the progress bar moves.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// How long an acknowledgement may lie in memory. A write for each would cost more than recording
/// the event; one that is lost only means that its event is ingested again, as a duplicate.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The exit code where `--strict` met rejected lines, or every line was rejected.
pub(super) const REJECTED: u8 = 3;

pub(super) async fn ingest(args: IngestArgs, context: &Context<'_>) -> Result<ExitCode, CliError> {
    // Before the database is touched: a mistyped name must not leave a new database behind.
    let from_stdin = args.input == Path::new("-");
    for path in args.ack.iter().chain((!from_stdin).then_some(&args.input)) {
        refuse_database(path, &context.settings.db)?;
    }
    if let Some(ack) = args.ack.as_deref()
        && !from_stdin
        && roas_db::is_same_file(ack, &args.input)
    {
        let what = format!("{} is the input itself", ack.display());
        return Err(CliError::Usage(what));
    }
    let (input, bytes): (Box<dyn Read + Send>, _) = if from_stdin {
        (Box::new(io::stdin()), None)
    } else {
        let (file, bytes) = open_input(&args.input)?;
        (Box::new(file), bytes)
    };
    let (mut input, head) = Checked::new(BufReader::with_capacity(READ_BUFFER_BYTES, input));
    if bytes.is_some() {
        // A plain file does not keep us waiting. Of others the reading thread sees the beginning.
        input
            .fill_buf()
            .map_err(|error| unreadable(&args.input, error))?;
    }
    let acks = RefCell::new(args.ack.as_deref().map(Acks::open).transpose()?);
    let refused = Cell::new(false);

    let (summary, signal) = context
        .with_meter(Access::ReadWrite, async |meter| {
            let bar = progress(context, bytes);
            let observer = Observer {
                console: context.console,
                bar,
                acks: &acks,
                refused: &refused,
            };
            let outcome = run(input, meter, args.in_flight, observer, &acks).await;
            context.console.end_progress();
            outcome
        })
        .await
        .map_err(|failure| match failure {
            CliError::Ingest(IngestError::Read {
                line: 1, source, ..
            }) => unreadable(&args.input, source),
            other => other,
        })?;

    context.output.report(&IngestReport::from(&summary))?;
    if let Some(signal) = signal {
        return Ok(ExitCode::from(signal));
    }
    if summary.failed > 0 {
        let what = format!(
            "{} messages were not recorded; correct what is named above, and ingest the same input \
             again",
            grouped(summary.failed)
        );
        context.console.line(&format!("roas: {what}"));
        return Ok(ExitCode::FAILURE);
    }
    if summary.is_rejected_whole() {
        if !refused.get() {
            let failure = not_payloads(&args.input, Format::of_rejected(head.bytes()));
            context
                .console
                .line(&format!("roas: {}", one_line(&failure)));
        }
        return Ok(ExitCode::from(REJECTED));
    }
    Ok(if args.strict && summary.rejected > 0 {
        ExitCode::from(REJECTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The failure for an input of which nothing was read.
fn unreadable(input: &Path, error: io::Error) -> CliError {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(format) => not_payloads(input, *format),
        None => CliError::io(format!("cannot read {}", input.display()))(error),
    }
}

fn not_payloads(input: &Path, format: Format) -> CliError {
    let name = if input == Path::new("-") {
        "stdin".to_owned()
    } else {
        input.display().to_string()
    };
    CliError::NotPayloads { name, format }
}

/// Ingests until the end of the input or a signal; answers the summary, and the exit code that the
/// signal asks for.
async fn run(
    input: impl BufRead + Send + 'static,
    meter: &Meter,
    in_flight: std::num::NonZeroUsize,
    mut observer: Observer<'_>,
    acks: &RefCell<Option<Acks>>,
) -> Result<(IngestSummary, Option<u8>), CliError> {
    let (stop, stopped) = watch::channel(false);
    let options = IngestOptions {
        in_flight,
        stop: Some(stopped),
    };
    let mut signals = Signals::listen()?;
    let mut signal = None;
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = {
        let mut recording = pin!(record(input, meter.service(), &options, &mut observer));
        loop {
            tokio::select! {
                outcome = &mut recording => break outcome,
                code = signals.next() => {
                    if signal.is_some() {
                        // Asked twice: the user does not want to wait for what is in flight.
                        // Killing this process at any moment is safe for the database.
                        std::process::exit(code.into());
                    }
                    signal = Some(code);
                    // Fails only once the ingest is over.
                    let _ = stop.send(true);
                }
                _ = flush.tick() => flush_acks(acks)?,
            }
        }
    };
    // Also after an error: what was committed before it stays committed.
    let flushed = flush_acks(acks);
    let summary = outcome?;
    flushed?;
    Ok((summary, signal))
}

fn flush_acks(acks: &RefCell<Option<Acks>>) -> Result<(), CliError> {
    match &mut *acks.borrow_mut() {
        Some(acks) => acks
            .flush()
            .map_err(CliError::io("cannot acknowledge events")),
        None => Ok(()),
    }
}

fn progress(context: &Context<'_>, bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => {
            "{wide_bar:.cyan} {percent:>3}%  {binary_bytes}/{binary_total_bytes}  \
             {binary_bytes_per_sec}  {msg}"
        }
        None => "{spinner:.cyan} {binary_bytes} read  {binary_bytes_per_sec}  {msg}",
    };
    context
        .console
        .progress(!context.output.is_json(), bytes, template)
}

/// Opens the input, and tells its size where it is a plain file.
fn open_input(path: &Path) -> Result<(File, Option<u64>), CliError> {
    let cannot_read = || format!("cannot read {}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .open(path)
        .map_err(CliError::io(cannot_read()))?;
    let metadata = file.metadata().map_err(CliError::io(cannot_read()))?;
    if metadata.is_dir() {
        return Err(CliError::Other(format!(
            "{}: it is a folder",
            cannot_read()
        )));
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// Refuses a path that is the database's own, under whatever name.
fn refuse_database(path: &Path, database: &Path) -> Result<(), CliError> {
    if roas_db::belongs_to_database(path, database) {
        let what = format!("{} is part of the database itself", path.display());
        return Err(CliError::Usage(what));
    }
    Ok(())
}

/// The file that takes the ids of committed events, one a line.
#[derive(Debug)]
struct Acks {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Acks {
    fn open(path: &Path) -> Result<Self, CliError> {
        let cannot_open = || format!("cannot write to {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(CliError::io(cannot_open()))?;
        end_last_line(&mut file).map_err(CliError::io(cannot_open()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }
}

impl Acks {
    fn append(&mut self, id: EventId) -> io::Result<()> {
        // One call for the whole line: the buffer is flushed between calls, never within one.
        let line = format!("{id}\n");
        self.file.write_all(line.as_bytes()).map_err(self.naming())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(self.naming())
    }

    /// Adds the file's name to an error, which by itself does not say what could not be written.
    fn naming(&self) -> impl Fn(io::Error) -> io::Error + use<> {
        let path = self.path.display().to_string();
        move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
    }
}

/// A run that was cut off may have left half a line; the next id must not become part of it.
fn end_last_line(file: &mut File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        Ok(())
    } else {
        file.write_all(b"\n")
    }
}

/// Shows the ingest's progress on stderr, and writes its acknowledgements to the file.
struct Observer<'a> {
    console: &'a Console,
    bar: ProgressBar,
    acks: &'a RefCell<Option<Acks>>,
    /// Whether the repository refused a message.
    refused: &'a Cell<bool>,
}

impl IngestObserver for Observer<'_> {
    fn rejected(&mut self, line: u64, reason: &LineError) {
        self.console.line(&format!("line {line}: {reason}"));
    }

    fn refused(&mut self, line: u64, reason: &RepositoryError) {
        self.refused.set(true);
        self.console
            .line(&format!("line {line}: {}", with_advice(reason)));
    }

    fn progress(&mut self, bytes: u64, lines: u64) {
        self.bar.set_position(bytes);
        self.bar.set_message(format!("{} lines", grouped(lines)));
    }

    fn acknowledged(&mut self, id: EventId) -> io::Result<()> {
        match &mut *self.acks.borrow_mut() {
            Some(acks) => acks.append(id),
            None => Ok(()),
        }
    }
}

/// What an ingest did.
#[derive(Debug, Serialize)]
struct IngestReport {
    lines: u64,
    scored: u64,
    cooling_down: u64,
    duplicate: u64,
    ignored: u64,
    /// The ignored lines by reason.
    ignored_lines: IgnoredLines,
    rejected: u64,
    failed: u64,
    elapsed_ms: u64,
    /// Acknowledged events: scored, cooling down and duplicate.
    events_per_s: f64,
    latency_us: LatencySummary,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
}

impl From<&IngestSummary> for IngestReport {
    fn from(summary: &IngestSummary) -> Self {
        Self {
            lines: summary.lines,
            scored: summary.scored,
            cooling_down: summary.cooling_down,
            duplicate: summary.duplicate,
            ignored: summary.ignored,
            ignored_lines: summary.ignored_lines,
            rejected: summary.rejected,
            failed: summary.failed,
            elapsed_ms: u64::try_from(summary.elapsed.as_millis()).unwrap_or(u64::MAX),
            events_per_s: per_second(summary.acknowledged(), summary.elapsed),
            latency_us: summary.latency,
            interrupted: summary.interrupted,
        }
    }
}

impl Report for IngestReport {
    fn text(&self, _: Style) -> String {
        let LatencySummary {
            p50,
            p95,
            p99,
            p999,
            max,
        } = self.latency_us;
        let latency = [
            ("p50", p50),
            ("p95", p95),
            ("p99", p99),
            ("p99.9", p999),
            ("longest", max),
        ]
        .map(|(name, us)| format!("{name} {}", duration_us(us)))
        .join(", ");
        let interrupted = if self.interrupted {
            "Interrupted.\n"
        } else {
            ""
        };
        let facts = facts([
            ("lines", grouped(self.lines)),
            ("scored", grouped(self.scored)),
            ("cooling down", grouped(self.cooling_down)),
            ("duplicate", grouped(self.duplicate)),
            ("ignored", ignored(self.ignored, &self.ignored_lines)),
            ("rejected", grouped(self.rejected)),
            ("failed", grouped(self.failed)),
            (
                "took",
                duration_us(Some(self.elapsed_ms.saturating_mul(1_000))),
            ),
            ("events per second", format!("{:.0}", self.events_per_s)),
            ("latency", latency),
        ]);
        format!("{interrupted}{facts}")
    }
}

/// The number of ignored lines, and in brackets for which reasons.
fn ignored(all: u64, lines: &IgnoredLines) -> String {
    let reasons = [
        (lines.other_event, "other events"),
        (lines.bot, "of bots"),
        (lines.webhook, "of webhooks"),
        (lines.direct_message, "direct messages"),
        (lines.system, "system messages"),
        (lines.blank, "blank"),
    ];
    let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
    let reasons: Vec<_> = reasons
        .map(|(count, reason)| format!("{} {reason}", grouped(count)))
        .collect();
    if reasons.is_empty() {
        grouped(all)
    } else {
        format!("{} ({})", grouped(all), reasons.join(", "))
    }
}

/// How many of `count` there were in a second, to a tenth.
fn per_second(count: u64, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count below 2^53 is exact")]
    let rate = count as f64 / elapsed.as_secs_f64();
    if rate.is_finite() {
        (rate * 10.0).round() / 10.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_promised_fields_and_null_where_samples_are_too_few() {
        let latency = LatencySummary {
            p50: Some(7),
            max: Some(9),
            ..LatencySummary::default()
        };
        let mut summary = IngestSummary::default();
        (summary.lines, summary.scored, summary.rejected) = (4, 2, 2);
        (summary.elapsed, summary.latency) = (Duration::from_millis(500), latency);
        let report = IngestReport::from(&summary);
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({
                "lines": 4, "scored": 2, "cooling_down": 0, "duplicate": 0, "ignored": 0,
                "ignored_lines": {"blank": 0, "other_event": 0, "webhook": 0, "bot": 0,
                    "direct_message": 0, "system": 0},
                "rejected": 2, "failed": 0, "elapsed_ms": 500, "events_per_s": 4.0,
                "latency_us": {"p50": 7, "p95": null, "p99": null, "p999": null, "max": 9}
            })
        );
        let text = report.text(Style { emphasis: false });
        assert!(
            text.contains("p50 7 µs, p95 –") && text.contains("500.00 ms"),
            "{text}"
        );
        assert!(!text.contains("Interrupted"));
        summary.interrupted = true;
        let report = IngestReport::from(&summary);
        assert!(
            report
                .text(Style { emphasis: false })
                .starts_with("Interrupted.")
        );
        assert_eq!(serde_json::to_value(&report).unwrap()["interrupted"], true);
    }

    #[test]
    fn no_time_is_no_rate() {
        assert_eq!(per_second(5, Duration::ZERO).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn half_a_line_that_was_left_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks");
        for (before, after) in [("", "5\n"), ("1\n", "1\n5\n"), ("1\n2", "1\n2\n5\n")] {
            std::fs::write(&path, before).unwrap();
            let acks = RefCell::new(Some(Acks::open(&path).unwrap()));
            let console = Console::default();
            let bar = ProgressBar::hidden();
            let mut observer = Observer {
                console: &console,
                bar,
                acks: &acks,
                refused: &Cell::new(false),
            };
            observer.acknowledged("5".parse().unwrap()).unwrap();
            flush_acks(&acks).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn the_database_is_refused_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("a.db");
        std::fs::write(&db, "").unwrap();
        let dotted = folder.path().join(".").join("a.db");
        assert!(refuse_database(&dotted, &db).is_err());
        assert!(refuse_database(&folder.path().join("a.db-wal"), &db).is_err());
        assert!(refuse_database(&folder.path().join("b.db"), &db).is_ok());
    }
}
