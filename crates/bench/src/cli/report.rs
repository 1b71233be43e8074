//! `roas-bench report`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output;
use super::program::CommandError;
use crate::report::{Saved, render};

/// What to render.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Results that were saved, of runs and comparisons alike
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to write the page [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The page's title
    #[arg(long, default_value = "Activity meter: load test")]
    title: String,
}

/// Renders saved results as an HTML page.
pub(super) fn report(args: &ReportArgs) -> Result<ExitCode, CommandError> {
    let (mut runs, mut comparisons) = (Vec::new(), Vec::new());
    for file in &args.files {
        match read(file)? {
            Saved::Run(run) => runs.push(*run),
            Saved::Compare(comparison) => comparisons.push(*comparison),
        }
    }
    let page = render(&args.title, &runs, &comparisons);
    match &args.output {
        None => output::result(&page).map_err(CommandError::failed)?,
        Some(file) => std::fs::write(file, page).map_err(|error| {
            CommandError::Failed(format!("cannot write `{}`: {error}", file.display()).into())
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a saved result.
pub(super) fn read(file: &Path) -> Result<Saved, CommandError> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandError::Usage(format!("cannot read `{shown}`: {error}")))?;
    Saved::parse(&text).map_err(|error| CommandError::Usage(format!("`{shown}`: {error}")))
}
