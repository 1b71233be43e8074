//! `roas migrate`: brings the schema up to date, or tells how far it is.

use roas_db::OnOldSchema;
use roas_db::migration::{
    Contents, MigrateOptions, MigrationName, MigrationReport, MigrationStatus, Takeover,
};
use serde::Serialize;

use super::Context;
use super::args::MigrateArgs;
use super::audit::KindRows;
use super::output::{Column, Report, Style, facts, table};
use crate::error::CliError;

pub(super) fn migrate(args: &MigrateArgs, context: &Context<'_>) -> Result<(), CliError> {
    let mut options = MigrateOptions::default()
        .strategy(args.strategy)
        .watcher(context.watcher());
    if let Some(version) = args.to {
        options = options.to(version);
    }
    let report = if args.status {
        MigrateReport::status(roas_db::migration::migration_status(&context.settings.db)?)
    } else if args.dry_run {
        let contents = roas_db::migration::migration_status(&context.settings.db)?.contents;
        let rehearsed = roas_db::migration::rehearse(&context.file_config(), &options)?;
        MigrateReport::rehearsed(contents, rehearsed)
    } else if context.on_old_schema == OnOldSchema::Refuse {
        return Err(CliError::Usage(
            "`migrate` and --no-migrate contradict each other".to_owned(),
        ));
    } else {
        MigrateReport::done(roas_db::migration::migrate_with(
            &context.file_config(),
            &options,
        )?)
    };
    context.console.end_progress();
    context.output.report(&report)
}

/// What was done to a schema, would be done, or has been done before.
#[derive(Debug, Serialize)]
struct MigrateReport {
    path: String,
    /// `done`, `dry-run` or `status`.
    mode: Mode,
    /// What the file holds, in words; not after a migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<String>,
    /// The schema's version before; 0 where there is none.
    from: i32,
    /// The version after; before a rehearsed migration the one it would lead to.
    to: i32,
    /// The latest version that this program knows.
    latest: i32,
    /// Whether the file was created.
    created: bool,
    /// The migrations that this run applied; in the status, all that the file has.
    applied: Vec<String>,
    /// The migrations that the file still lacks.
    pending: Vec<String>,
    /// The copy of the file as it was, where rows of the original bot were taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    /// What became of the original's rows, where they were taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    takeover: Option<TakeoverReport>,
    /// When each of the status's migrations was applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applied_on: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Done,
    DryRun,
    Status,
}

impl MigrateReport {
    fn done(report: MigrationReport) -> Self {
        Self {
            path: report.path.display().to_string(),
            mode: Mode::Done,
            contents: None,
            from: report.from,
            to: report.to,
            latest: report.to,
            created: report.created,
            applied: names(&report.applied),
            pending: Vec::new(),
            snapshot: report.snapshot.map(|path| path.display().to_string()),
            takeover: report.takeover.map(TakeoverReport::new),
            applied_on: Vec::new(),
        }
    }

    fn rehearsed(contents: Contents, report: MigrationReport) -> Self {
        Self {
            mode: Mode::DryRun,
            contents: Some(contents.to_string()),
            created: false,
            pending: names(&report.applied),
            applied: Vec::new(),
            ..Self::done(report)
        }
    }

    fn status(status: MigrationStatus) -> Self {
        Self {
            path: status.path.display().to_string(),
            mode: Mode::Status,
            contents: Some(status.contents.to_string()),
            from: status.version,
            to: status.version,
            latest: status.latest,
            created: false,
            applied: status
                .applied
                .iter()
                .map(|applied| {
                    let (version, name) = (applied.version, applied.name.clone());
                    MigrationName { version, name }.to_string()
                })
                .collect(),
            pending: names(&status.pending),
            snapshot: None,
            takeover: None,
            applied_on: status
                .applied
                .into_iter()
                .map(|applied| applied.applied_on)
                .collect(),
        }
    }
}

/// What became of the original's rows: of those of the members, and of each kind.
#[derive(Debug, Serialize)]
struct TakeoverReport {
    strategy: &'static str,
    source_rows: u64,
    members: u64,
    duplicate_rows: u64,
    quarantined_rows: u64,
    kinds: Vec<KindRows>,
}

impl TakeoverReport {
    fn new(takeover: Takeover) -> Self {
        Self {
            strategy: takeover.strategy.name(),
            source_rows: takeover.members.source,
            members: takeover.members.taken,
            duplicate_rows: takeover.members.merged,
            quarantined_rows: takeover.members.quarantined,
            kinds: KindRows::all(&takeover),
        }
    }
}

impl MigrateReport {
    fn takeover_text(&self, style: Style) -> String {
        let Some(takeover) = &self.takeover else {
            return String::new();
        };
        let mut text = KindRows::table(style, &takeover.kinds);
        if let Some(path) = &self.snapshot {
            text += &["The file as it was: ", path, "\n"].concat();
        }
        text
    }
}

fn names(migrations: &[MigrationName]) -> Vec<String> {
    migrations.iter().map(ToString::to_string).collect()
}

impl Report for MigrateReport {
    fn text(&self, style: Style) -> String {
        match self.mode {
            Mode::Done if self.applied.is_empty() => {
                format!(
                    "{} has schema version {} already: nothing to do\n",
                    self.path, self.to
                )
            }
            Mode::Done => {
                let what = if self.created { "Created" } else { "Migrated" };
                let from = if self.from == 0 {
                    "nothing".into()
                } else {
                    self.from.to_string()
                };
                format!(
                    "{what} {}: schema version {}, from {from}\n{}{}",
                    self.path,
                    self.to,
                    list("applied", &self.applied),
                    self.takeover_text(style)
                )
            }
            Mode::DryRun if self.pending.is_empty() => {
                format!(
                    "{} has schema version {} already: nothing to do\n",
                    self.path, self.to
                )
            }
            Mode::DryRun => format!(
                "{}: {}. `roas migrate` would bring it to schema version {}:\n{}{}",
                self.path,
                self.contents.as_deref().unwrap_or_default(),
                self.to,
                list("would apply", &self.pending),
                self.takeover_text(style)
            ),
            Mode::Status => {
                let applied = self.applied.iter().zip(&self.applied_on);
                let rows = applied
                    .map(|(name, on)| vec![name.clone(), "applied".into(), on.clone()])
                    .chain(
                        self.pending
                            .iter()
                            .map(|name| vec![name.clone(), "pending".into(), String::new()]),
                    );
                let facts = facts([
                    ("database", self.path.clone()),
                    ("contents", self.contents.clone().unwrap_or_default()),
                    (
                        "schema version",
                        format!("{} of {}", self.from, self.latest),
                    ),
                ]);
                let columns = [
                    Column::Left("migration"),
                    Column::Left("state"),
                    Column::Left("on"),
                ];
                format!("{facts}{}", table(style, &columns, rows))
            }
        }
    }
}

fn list(what: &str, names: &[String]) -> String {
    let line = |text: String, name| text + "  " + what + " " + name + "\n";
    names.iter().map(String::as_str).fold(String::new(), line)
}
