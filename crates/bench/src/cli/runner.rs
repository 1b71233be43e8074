//! Runs settings one after another, each on a database of its own, and verifies each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::live::Live;
use super::output;
use super::program::CommandError;
use crate::compare::turns;
use crate::engine::{BuiltIn, is_built_in};
use crate::execute::{DatabaseLocation, Executed, execute};
use crate::result::RunResult;
use crate::scenario::Scenario;
use crate::verify::verify;

/// A scenario, and who runs it.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) scenario: Scenario,
    /// The peer's program; without one it is this program's engine.
    pub(super) peer: Option<PathBuf>,
}

impl Setting {
    /// A setting of an engine of this program.
    pub(super) fn built_in(scenario: Scenario) -> Result<Self, CommandError> {
        if !is_built_in(&scenario.engine) {
            let known = crate::engine::ENGINES.map(|(name, _)| name).join(", ");
            let engine = &scenario.engine;
            return Err(CommandError::Usage(format!(
                "there is no engine `{engine}`; there are {known}"
            )));
        }
        let scenario = scenario.validated().map_err(CommandError::usage)?;
        Ok(Self {
            scenario,
            peer: None,
        })
    }
}

/// Runs every setting once in each round, and answers the runs of each.
pub(super) fn rounds(
    settings: &[Setting],
    rounds: u32,
    dir: Option<&Path>,
) -> Result<Vec<(String, Vec<RunResult>)>, CommandError> {
    let mut runs: Vec<(String, Vec<RunResult>)> = settings
        .iter()
        .map(|setting| (setting.scenario.label(), Vec::new()))
        .collect();
    let all = settings.len() * rounds as usize;
    for round in 0..rounds {
        for (turn, index) in turns(settings.len(), round).enumerate() {
            let number = round as usize * settings.len() + turn + 1;
            let place = DatabaseLocation::temporary(dir).map_err(CommandError::failed)?;
            let result = run(&settings[index], &place, &format!("{number}/{all}"))?;
            if !result.verified {
                let problems = result.verification.problems.join("; ");
                output::note(format_args!("{}: not verified: {problems}", result.label));
            }
            runs[index].1.push(result);
        }
    }
    Ok(runs)
}

/// Runs one setting, and verifies it.
pub(super) fn run(
    setting: &Setting,
    place: &DatabaseLocation,
    turn: &str,
) -> Result<RunResult, CommandError> {
    let Setting { scenario, peer } = setting;
    let Executed {
        mut result,
        messages,
    } = match peer {
        None => run_here(scenario, place, turn)?,
        Some(program) => run_peer(program, scenario, place)?,
    };
    for (kind, message) in &messages {
        output::note(format_args!(
            "{}: first `{kind}` error: {message}",
            result.label
        ));
    }
    verify(&mut result, scenario, place.database());
    Ok(result)
}

fn run_here(
    scenario: &Scenario,
    place: &DatabaseLocation,
    turn: &str,
) -> Result<Executed, CommandError> {
    let executable = std::env::current_exe().map_err(CommandError::failed)?;
    let mut live = Live::new(scenario, turn);
    let mut show = |progress| live.show(progress);
    execute(&BuiltIn, scenario, place, &executable, Some(&mut show)).map_err(CommandError::failed)
}

fn run_peer(
    program: &Path,
    scenario: &Scenario,
    place: &DatabaseLocation,
) -> Result<Executed, CommandError> {
    let live = Live::new(scenario, "peer");
    let ended = Command::new(program)
        .arg("--json")
        .args(scenario.options())
        .arg("--database")
        .arg(place.database())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    drop(live);
    let shown = program.display();
    let ended = ended.map_err(|error| CommandError::Failed(format!("{shown}: {error}").into()))?;
    if !ended.status.success() {
        return Err(CommandError::Failed(
            format!("{shown}: {}", ended.status).into(),
        ));
    }
    let result = serde_json::from_slice(&ended.stdout).map_err(|error| {
        CommandError::Failed(format!("{shown} printed no result: {error}").into())
    })?;
    Ok(Executed {
        result,
        messages: BTreeMap::new(),
    })
}
