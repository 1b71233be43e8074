//! The program of a peer: `PROGRAM --json <options of roas-bench run> [--database FILE]`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::args::{DirArgs, Lengths, ScenarioArgs};
use super::output;
use crate::driver::{WORKER, serve};
use crate::engine::{BoxError, EngineSet};
use crate::execute::{DatabaseLocation, execute};

/// A peer of `roas-bench`: runs one scenario on an engine of its own and prints the result, which
/// is not verified; `roas-bench compare --peers` does that.
#[derive(Debug, Parser)]
struct PeerArgs {
    /// Print the result as JSON; there is no other form
    #[arg(long, required = true)]
    json: bool,
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Where to make the database, which is then kept
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    database: Option<PathBuf>,
    #[command(flatten)]
    dir: DirArgs,
}

/// How long a run is, where it is not told.
pub(super) const LENGTHS: Lengths = Lengths {
    warmup: Duration::from_secs(2),
    duration: Duration::from_secs(10),
};

/// What a peer's `main` does. The engine's name in the scenario is for `engines` to look at, and
/// so is how it is to be tuned.
pub fn peer_main(engines: &dyn EngineSet) -> ExitCode {
    if is_worker() {
        return worker(engines);
    }
    match run(PeerArgs::parse(), engines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("error: {}", crate::driver::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn run(args: PeerArgs, engines: &dyn EngineSet) -> Result<(), BoxError> {
    let scenario = args.scenario.resolve(LENGTHS)?;
    let place = place(args.database.as_deref(), &args.dir)?;
    let executable = std::env::current_exe()?;
    let executed = execute(engines, &scenario, &place, &executable, None)?;
    for (kind, message) in &executed.messages {
        output::note(format_args!("{kind}: {message}"));
    }
    output::result(&format!("{}\n", serde_json::to_string(&executed.result)?))?;
    Ok(())
}

/// Where the database lies that was asked for.
pub(super) fn place(database: Option<&Path>, dir: &DirArgs) -> Result<DatabaseLocation, BoxError> {
    Ok(match database {
        Some(database) => DatabaseLocation::kept(&std::path::absolute(database)?)?,
        None => DatabaseLocation::temporary(dir.dir.as_deref())?,
    })
}

/// Whether the program was started as one of a scenario's processes.
pub(super) fn is_worker() -> bool {
    is_started_as(WORKER)
}

/// Whether this is the subcommand.
pub(super) fn is_started_as(subcommand: &str) -> bool {
    std::env::args_os().nth(1).as_deref() == Some(OsStr::new(subcommand))
}

/// What such a process does.
pub(super) fn worker(engines: &dyn EngineSet) -> ExitCode {
    match serve(engines, io::stdin().lock(), io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
