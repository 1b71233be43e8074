//! `roas rollback`, `roas repair` and `roas check`: the schema's way down, and whether all is well.

use std::fmt::Write as _;
use std::process::ExitCode;

use roas_db::migration::{CheckReport, RepairReport, RollbackOptions, RollbackReport};
use serde::Serialize;

use super::args::RollbackArgs;
use super::audit::contents;
use super::output::{Report, Style};
use super::{Context, FOUND};
use crate::error::CliError;

pub(super) fn rollback(args: &RollbackArgs, context: &Context<'_>) -> Result<(), CliError> {
    let options = RollbackOptions::to(args.to).watcher(context.watcher());
    let done = roas_db::migration::rollback(&context.file_config(), &options)?;
    context.console.end_progress();
    context.output.report(&RolledBack::from(done))
}

pub(super) fn repair(context: &Context<'_>) -> Result<(), CliError> {
    let done = roas_db::migration::repair(&context.file_config())?;
    context.output.report(&Mended::from(done))
}

pub(super) fn check(context: &Context<'_>) -> Result<ExitCode, CliError> {
    let checked = Checked::from(roas_db::migration::check(&context.file_config())?);
    context.output.report(&checked)?;
    Ok(if checked.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    })
}

#[derive(Debug, Serialize)]
struct RolledBack {
    path: String,
    from: i32,
    to: i32,
    /// The migrations that were undone, the latest first.
    undone: Vec<String>,
    contents: String,
    /// The copy of the file as it was.
    snapshot: Option<String>,
}

impl From<RollbackReport> for RolledBack {
    fn from(report: RollbackReport) -> Self {
        Self {
            path: report.path.display().to_string(),
            from: report.from,
            to: report.to,
            undone: report.undone.iter().map(ToString::to_string).collect(),
            contents: report.contents.to_string(),
            snapshot: report.snapshot.map(|path| path.display().to_string()),
        }
    }
}

impl Report for RolledBack {
    fn text(&self, _: Style) -> String {
        if self.undone.is_empty() {
            return format!(
                "{} has schema version {} already: nothing to do\n",
                self.path, self.to
            );
        }
        let mut text = format!(
            "Rolled {} back: schema version {}, from {}; it holds {}\n",
            self.path, self.to, self.from, self.contents
        );
        for name in &self.undone {
            let _ = writeln!(text, "  undone {name}");
        }
        if let Some(snapshot) = &self.snapshot {
            let _ = writeln!(text, "  as it was before: {snapshot}");
        }
        text
    }
}

#[derive(Debug, Serialize)]
struct Mended {
    path: String,
    from: i32,
    to: i32,
    done: Vec<String>,
}

impl From<RepairReport> for Mended {
    fn from(report: RepairReport) -> Self {
        Self {
            path: report.path.display().to_string(),
            from: report.from,
            to: report.to,
            done: report.done,
        }
    }
}

impl Report for Mended {
    fn text(&self, _: Style) -> String {
        if self.done.is_empty() {
            return format!("{} is whole: nothing to repair\n", self.path);
        }
        let mut text = format!("Repaired {}: schema version {}\n", self.path, self.to);
        for line in &self.done {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}

#[derive(Debug, Serialize)]
struct Checked {
    path: String,
    contents: String,
    version: i32,
    ok: bool,
    findings: Vec<String>,
}

impl From<CheckReport> for Checked {
    fn from(report: CheckReport) -> Self {
        Self {
            path: report.path.display().to_string(),
            contents: contents(report.contents),
            version: report.version,
            ok: report.findings.is_empty(),
            findings: report.findings,
        }
    }
}

impl Report for Checked {
    fn text(&self, _: Style) -> String {
        if self.ok {
            return format!("{}: {}, all is well\n", self.path, self.contents);
        }
        let mut text = format!("{}: {}\n", self.path, self.contents);
        for finding in &self.findings {
            let _ = writeln!(text, "  {finding}");
        }
        text
    }
}
