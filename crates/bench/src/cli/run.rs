//! `roas-bench run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::args::{DirArgs, ForeignArgs, ScenarioArgs};
use super::output;
use super::peer::{LENGTHS, place};
use super::program::{CommandError, verified};
use super::runner::{Setting, run as run_setting};
use crate::report::{run_markdown, run_text};

/// What to run, and how to tell.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten)]
    neighbours: ForeignArgs,
    #[command(flatten)]
    form: FormArgs,
    /// Where to make the database, which is then kept
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    database: Option<PathBuf>,
    #[command(flatten)]
    dir: DirArgs,
}

/// How to tell a result.
#[derive(Debug, Args)]
pub(super) struct FormArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print the result as Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Also write the result to a file, as JSON
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl FormArgs {
    /// Saves and prints a result.
    pub(super) fn tell<T: serde::Serialize>(
        &self,
        result: &T,
        markdown: fn(&T) -> String,
        text: fn(&T) -> String,
    ) -> Result<(), CommandError> {
        self.save(result)?;
        let text = if self.json {
            let json = serde_json::to_string_pretty(result).map_err(CommandError::failed)?;
            format!("{json}\n")
        } else if self.markdown {
            markdown(result)
        } else {
            text(result)
        };
        output::result(&text).map_err(CommandError::failed)
    }

    fn save<T: serde::Serialize>(&self, result: &T) -> Result<(), CommandError> {
        let Some(file) = &self.save else {
            return Ok(());
        };
        let json = serde_json::to_string_pretty(result).map_err(CommandError::failed)?;
        std::fs::write(file, format!("{json}\n")).map_err(|error| {
            CommandError::Failed(format!("cannot write `{}`: {error}", file.display()).into())
        })
    }

    /// Whether a person reads the result.
    pub(super) const fn is_text(&self) -> bool {
        !self.json && !self.markdown
    }
}

/// Runs one scenario.
pub(super) fn run(args: RunArgs) -> Result<ExitCode, CommandError> {
    let scenario = args.scenario.resolve(LENGTHS);
    let scenario = scenario.and_then(|scenario| args.neighbours.beside(scenario));
    let scenario = scenario.map_err(CommandError::usage)?;
    let setting = Setting::built_in(scenario)?;
    let place = place(args.database.as_deref(), &args.dir)?;
    let result = run_setting(&setting, &place, "")?;
    args.form.tell(&result, run_markdown, run_text)?;
    if !result.verified && !args.form.is_text() {
        let problems = result.verification.problems.join("; ");
        output::note(format_args!("not verified: {problems}"));
    }
    Ok(verified(result.verified))
}
