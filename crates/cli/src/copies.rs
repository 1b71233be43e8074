//! `roas backup` and `roas restore`: copies of the database.

use roas_db::BackupReport;
use serde::Serialize;

use super::Context;
use super::args::BackupArgs;
use super::output::{Report, Style, bytes};
use crate::error::CliError;

pub(super) fn backup(args: &BackupArgs, context: &Context<'_>) -> Result<(), CliError> {
    let done = roas_db::backup(
        &context.file_config(),
        &args.file,
        args.force,
        &context.watcher(),
    )?;
    context.console.end_progress();
    context.output.report(&CopyReport::new("backup", &done))
}

pub(super) fn restore(args: &BackupArgs, context: &Context<'_>) -> Result<(), CliError> {
    let done = roas_db::restore(
        &context.file_config(),
        &args.file,
        args.force,
        &context.watcher(),
    )?;
    context.console.end_progress();
    context.output.report(&CopyReport::new("restore", &done))
}

#[derive(Debug, Serialize)]
struct CopyReport {
    /// `backup` or `restore`.
    done: &'static str,
    from: String,
    to: String,
    contents: String,
    bytes: u64,
    /// What was checked before the copy got its name.
    integrity: &'static str,
}

impl CopyReport {
    fn new(done: &'static str, report: &BackupReport) -> Self {
        Self {
            done,
            from: report.from.display().to_string(),
            to: report.to.display().to_string(),
            contents: report.contents.to_string(),
            bytes: report.bytes,
            integrity: "ok",
        }
    }
}

impl Report for CopyReport {
    fn text(&self, _: Style) -> String {
        format!(
            "Copied {} to {}: {}, {}, checked and synced\n",
            self.from,
            self.to,
            self.contents,
            bytes(self.bytes)
        )
    }
}
