//! `roas-bench soak`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::args::{DirArgs, ForeignArgs, Lengths, LoadArgs};
use super::output;
use super::program::{BREACH, CommandError};
use super::run::FormArgs;
use super::runner::{Setting, run};
use crate::execute::DatabaseLocation;
use crate::foreign::ForeignProcess;
use crate::report::{run_markdown, run_text};
use crate::result::RunResult;
use crate::scenario::{HOLD, Length, MEMBERS, Scenario, Synchronous};

/// The short form: with starting, settling and the check a quarter of a minute.
const SHORT: Size = Size {
    processes: 4,
    tasks: 16,
    hold: Duration::from_secs(3),
    read_every: None,
};

const SHORT_LENGTHS: Lengths = Lengths {
    warmup: Duration::ZERO,
    duration: Duration::from_secs(8),
};

/// The long form.
const LONG: Size = Size {
    processes: 16,
    tasks: 64,
    hold: HOLD,
    // As many readers as processes would otherwise have the processors to themselves.
    read_every: Some(Duration::from_millis(100)),
};

const LONG_OPERATIONS: u64 = 10_000_000;

/// Reading callers in each process, where that is not told.
const READERS: u32 = 1;

/// Neighbours rest as long as they act. Without that, two of them have the write lock for nine tenths
/// of the time, the readers hold the WAL back all the time, and ten million operations take hours.
const REST: f64 = 1.0;

#[derive(Debug, Clone, Copy)]
struct Size {
    processes: u32,
    tasks: u32,
    hold: Duration,
    read_every: Option<Duration>,
}

/// Many tasks in many processes on one file, beside foreign processes that lock, copy and read it.
///
/// Exits with 0 where no error reached a caller, the database holds exactly what was acknowledged,
/// and every neighbour did what it is there for; 99 where an error reached a caller; 1 for the rest.
#[derive(Debug, Args)]
pub(super) struct SoakArgs {
    /// 16 processes of 64 tasks, 10 million operations, snapshots held for 30 s; half an hour
    #[arg(long)]
    long: bool,
    /// The engine
    #[arg(long, default_value = "meter")]
    engine: String,
    /// Writing callers in each process [default: 16, or 64]
    #[arg(long, value_name = "N")]
    tasks: Option<u32>,
    /// Processes on the one file [default: 4, or 16]
    #[arg(long, value_name = "P")]
    processes: Option<u32>,
    /// What an acknowledged write survives: full or normal
    #[arg(long, default_value = "full")]
    synchronous: Synchronous,
    /// Members of each guild
    #[arg(long, value_name = "N", default_value_t = MEMBERS)]
    members: u64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    neighbours: ForeignArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    dir: DirArgs,
}

impl SoakArgs {
    fn scenario(&self) -> Result<Scenario, CommandError> {
        let size = if self.long { LONG } else { SHORT };
        let base = self.load.base(SHORT_LENGTHS);
        let scenario = Scenario {
            engine: self.engine.clone(),
            tasks: self.tasks.unwrap_or(size.tasks),
            processes: self.processes.unwrap_or(size.processes),
            synchronous: self.synchronous,
            members: self.members,
            readers: self.load.readers.unwrap_or(READERS),
            length: if self.long && !self.load.has_length() {
                Length::Operations(LONG_OPERATIONS)
            } else {
                base.length
            },
            neighbours: if self.neighbours.are_chosen() {
                Vec::new()
            } else {
                ForeignProcess::ALL.to_vec()
            },
            hold: size.hold,
            rest: REST,
            read_every: self.load.read_every.or(size.read_every),
            ..base
        };
        self.neighbours
            .beside(scenario)
            .map_err(CommandError::usage)
    }
}

/// Runs it, and judges.
pub(super) fn soak(args: &SoakArgs) -> Result<ExitCode, CommandError> {
    let setting = Setting::built_in(args.scenario()?)?;
    let place =
        DatabaseLocation::temporary(args.dir.dir.as_deref()).map_err(CommandError::failed)?;
    let result = run(&setting, &place, "")?;
    args.form.tell(&result, run_markdown, run_text)?;
    let (lines, code) = verdict(&result);
    if args.form.is_text() {
        output::result(&lines).map_err(CommandError::failed)?;
    } else {
        output::note(lines.trim_end());
    }
    Ok(code)
}

/// What came of it, in a line for each thing that was asked.
fn verdict(run: &RunResult) -> (String, ExitCode) {
    let errors: u64 = run.errors.values().sum();
    let kinds: Vec<_> = run
        .errors
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let mut lines = String::new();
    let mut line = |kept: bool, text: &str| {
        let mark = if kept { '✓' } else { '✗' };
        let _ = writeln!(lines, "{mark} {text}");
    };
    line(
        run.lock_errors == 0,
        &format!("lock errors that reached a caller: {}", run.lock_errors),
    );
    line(
        errors == 0,
        &match errors {
            0 => "errors of any kind: 0".to_owned(),
            errors => format!("errors of any kind: {errors} ({})", kinds.join(", ")),
        },
    );
    line(
        run.verified,
        &if run.verified {
            "the database holds what was acknowledged, and every neighbour did its part".to_owned()
        } else {
            run.verification.problems.join("; ")
        },
    );
    let code = if !run.verified {
        ExitCode::FAILURE
    } else if errors > 0 {
        ExitCode::from(BREACH)
    } else {
        ExitCode::SUCCESS
    };
    (lines, code)
}
