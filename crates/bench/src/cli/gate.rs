//! `roas-bench gate`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::args::{DirArgs, Lengths, LoadArgs};
use super::compare::command;
use super::output;
use super::program::{BREACH, CommandError};
use super::run::FormArgs;
use super::runner::{Setting, rounds};
use crate::compare::{EngineSpec, sum_up, with_engine};
use crate::gate::{Expression, Figures, Subject, default_expressions, evaluate};
use crate::report::{compare_markdown, compare_text};
use crate::scenario::{MEMBERS, Scenario, Synchronous};

/// How long each engine runs, where that is not told: with two engines and two rounds, half a
/// minute in all.
const LENGTHS: Lengths = Lengths {
    warmup: Duration::from_secs(1),
    duration: Duration::from_secs(4),
};

/// Thresholds, and the load under which they hold.
///
/// Exits with 0 where all are kept, 99 where one is not, 1 where a run failed or was not verified,
/// 2 where a threshold makes no sense.
#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// Thresholds such as `p99<100ms`, `error_rate<=0`, `ratio(meter,baseline).ops_per_s>=1.5`;
    /// without any, those that the meter promises
    #[arg(value_name = "THRESHOLD")]
    expressions: Vec<String>,
    /// The engine that the gate is about
    #[arg(long, default_value = "meter")]
    engine: EngineSpec,
    /// Writing callers in each process
    #[arg(long, value_name = "N", default_value_t = 16)]
    tasks: u32,
    /// Processes on the one file
    #[arg(long, value_name = "P", default_value_t = 4)]
    processes: u32,
    /// What an acknowledged write survives: full or normal
    #[arg(long, default_value = "full")]
    synchronous: Synchronous,
    /// How often each engine runs; they take turns
    #[arg(long, value_name = "R", default_value_t = 2)]
    repeat: u32,
    /// Members of each guild
    #[arg(long, value_name = "N", default_value_t = MEMBERS)]
    members: u64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    dir: DirArgs,
}

/// Runs the engine, and all that its thresholds compare it with, in turns, and judges.
pub(super) fn gate(args: GateArgs) -> Result<ExitCode, CommandError> {
    let GateArgs {
        expressions,
        engine,
        tasks,
        processes,
        synchronous,
        repeat,
        members,
        load,
        form,
        dir,
    } = args;
    let texts = if expressions.is_empty() {
        default_expressions(&engine)
    } else {
        expressions
    };
    let expressions: Vec<Expression> = texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(CommandError::usage)?;
    if repeat == 0 {
        return Err(CommandError::Usage("repeat must be at least 1".to_owned()));
    }
    let engines = engines(&engine, &expressions);
    let base = Scenario {
        members,
        ..load.base(LENGTHS)
    };
    let settings = engines
        .iter()
        .map(|engine| Setting::built_in(with_engine(&base, engine, tasks, processes, synchronous)))
        .collect::<Result<Vec<_>, _>>()?;

    let runs = rounds(&settings, repeat, dir.dir.as_deref())?;
    let figures = runs
        .iter()
        .map(|(_, runs)| Figures::of(runs))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CommandError::failed)?;
    let reference = settings[reference(&engines, &expressions)].scenario.label();
    let result = sum_up("Gate".to_owned(), runs, reference, command());
    form.tell(&result, compare_markdown, compare_text)?;

    let of = |spec: &EngineSpec| {
        let place = engines.iter().position(|engine| engine == spec);
        place.and_then(|place| figures.get(place))
    };
    let verdicts: Vec<_> = expressions
        .iter()
        .map(|expression| evaluate(expression, &engine, of))
        .collect();
    let mut lines = String::new();
    for row in &result.rows {
        let (mark, word) = if row.verified {
            ('✓', "")
        } else {
            ('✗', "not ")
        };
        let _ = writeln!(lines, "{mark} {}: {word}verified", row.label);
    }
    for verdict in &verdicts {
        let _ = writeln!(lines, "{}", verdict.line);
    }
    if form.is_text() {
        output::result(&lines).map_err(CommandError::failed)?;
    } else {
        output::note(lines.trim_end());
    }
    Ok(if !result.rows.iter().all(|row| row.verified) {
        ExitCode::FAILURE
    } else if !verdicts.iter().all(|verdict| verdict.kept) {
        ExitCode::from(BREACH)
    } else {
        ExitCode::SUCCESS
    })
}

/// Whom the table's ratios are against: what the first threshold divides by, or the engine itself.
fn reference(engines: &[EngineSpec], expressions: &[Expression]) -> usize {
    let below = expressions
        .iter()
        .find_map(|expression| match &expression.subject {
            Subject::Ratio(_, below) => Some(below),
            Subject::Engine => None,
        });
    let place = below.and_then(|below| engines.iter().position(|engine| engine == below));
    place.unwrap_or(0)
}

/// The engine, and every other that a threshold names.
fn engines(engine: &EngineSpec, expressions: &[Expression]) -> Vec<EngineSpec> {
    let mut engines = vec![engine.clone()];
    for expression in expressions {
        if let Subject::Ratio(above, below) = &expression.subject {
            for named in [above, below] {
                if !engines.contains(named) {
                    engines.push(named.clone());
                }
            }
        }
    }
    engines
}
