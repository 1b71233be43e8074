//! `roas audit`: what is in a file, and what a migration would do with it.

use std::fmt::Write as _;
use std::process::ExitCode;

use roas_db::migration::{Audit, Contents, SinceTakeover, Strategy, Takeover};
use serde::Serialize;

use super::boards::{BoardReport, Replaced};
use super::output::{Column, Report, Style, bytes, facts, grouped, table};
use super::query::time;
use super::{Context, FOUND};
use crate::error::CliError;

pub(super) fn audit(context: &Context<'_>) -> Result<ExitCode, CliError> {
    let audit = roas_db::migration::audit(&context.file_config())?;
    let found = audit.has_findings();
    context.output.report(&AuditReport::new(&audit))?;
    Ok(if found {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

/// What a file holds, in words.
pub(super) fn contents(contents: Option<Contents>) -> String {
    contents.map_or_else(
        || "nothing that can be read".to_owned(),
        |contents| contents.to_string(),
    )
}

#[derive(Debug, Serialize)]
struct AuditReport {
    path: String,
    contents: String,
    /// The schema's version; 0 where there is none.
    version: i32,
    /// The migrations that `roas migrate` would run.
    pending: Vec<String>,
    /// Whether rows would be merged or quarantined, an object of another module does not work or is in
    /// the way, or the file is damaged.
    findings: bool,
    source_rows: u64,
    members: u64,
    duplicate_rows: u64,
    quarantined_rows: u64,
    millisecond_timestamps: u64,
    out_of_range_scores: u64,
    unreadable_values: u64,
    sum_score: f64,
    sum_score_max_strategy: f64,
    sum_score_sum_strategy: f64,
    sum_score_latest_strategy: f64,
    sum_last_msg_max_strategy: i64,
    daily_rows: u64,
    daily_messages: u64,
    report_channels: u64,
    /// Where the rows of each kind go.
    kinds: Vec<KindRows>,
    worst_duplicates: Vec<Duplicate>,
    quarantine: Vec<Quarantine>,
    /// Objects of other modules that name the meter's or the original's tables, or do not work.
    foreign_objects: Vec<Foreign>,
    database_bytes: u64,
    disk_needed_bytes: u64,
    /// `ok`, or what SQLite found.
    integrity: String,
    /// Tables that SQLite could not check, and why.
    unchecked: Vec<String>,
    /// What another program has written since a takeover; null where there was none.
    since_takeover: Option<SinceReport>,
    /// When the scores of the boards are compared, in Unix seconds; 0 where there are none.
    compared_at: i64,
    /// The top ten of the largest guilds, before and after.
    boards: Vec<BoardReport>,
    /// How many settings are taken over with another value than is stored, and the first of them.
    replaced_settings: u64,
    replaced: Vec<Replaced>,
    #[serde(skip)]
    readable: bool,
}

/// What another program, as a rule the original bot, has written since a takeover.
#[derive(Debug, Serialize)]
pub(super) struct SinceReport {
    /// Rows of the original's own tables with a time after the takeover.
    old_rows: u64,
    /// Messages in the days' counts that the members' counts lack.
    uncounted_messages: u64,
    #[serde(skip)]
    since: SinceTakeover,
}

impl SinceReport {
    pub(super) fn new(since: SinceTakeover) -> Self {
        Self {
            old_rows: since.old_rows,
            uncounted_messages: since.uncounted_messages,
            since,
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.since.is_any()
    }

    pub(super) fn line(&self) -> String {
        format!(
            "Another program, perhaps the original bot, has written since the takeover: {}. Stop it.",
            self.since
        )
    }
}

/// Where the rows of one kind go.
#[derive(Debug, Serialize)]
pub(super) struct KindRows {
    #[serde(rename = "kind")]
    name: &'static str,
    source_rows: u64,
    taken_rows: u64,
    merged_rows: u64,
    quarantined_rows: u64,
}

#[derive(Debug, Serialize)]
struct Duplicate {
    guild_id: String,
    user_id: String,
    rows: u64,
    max: f64,
    sum: f64,
    latest: f64,
}

#[derive(Debug, Serialize)]
struct Foreign {
    kind: String,
    name: String,
    /// Whether it works, with the meter's tables and after a migration.
    sound: bool,
    /// What becomes of it, as a sentence.
    outlook: String,
}

#[derive(Debug, Serialize)]
struct Quarantine {
    table: String,
    fault: String,
    rows: u64,
}

impl AuditReport {
    fn new(audit: &Audit) -> Self {
        let takeover = &audit.takeover;
        let [max, sum, latest] = audit.sum_scores;
        Self {
            findings: audit.has_findings(),
            contents: contents(audit.contents),
            version: audit.version,
            pending: audit.pending.iter().map(ToString::to_string).collect(),
            source_rows: takeover.members.source,
            members: audit.members,
            duplicate_rows: takeover.members.merged,
            quarantined_rows: takeover.members.quarantined,
            millisecond_timestamps: audit.millisecond_timestamps,
            out_of_range_scores: audit.out_of_range_scores,
            unreadable_values: audit.unreadable_values,
            sum_score: max,
            sum_score_max_strategy: max,
            sum_score_sum_strategy: sum,
            sum_score_latest_strategy: latest,
            sum_last_msg_max_strategy: audit.sum_last_msg,
            daily_rows: takeover.days.source,
            daily_messages: audit.daily_messages,
            report_channels: takeover.report_channels.taken,
            kinds: KindRows::all(takeover),
            worst_duplicates: audit
                .worst_duplicates
                .iter()
                .map(|key| Duplicate {
                    guild_id: key.guild_id.to_string(),
                    user_id: key.user_id.to_string(),
                    rows: key.rows,
                    max: key.keeps[0],
                    sum: key.keeps[1],
                    latest: key.keeps[2],
                })
                .collect(),
            quarantine: audit
                .quarantine_reasons
                .iter()
                .map(|reason| Quarantine {
                    table: reason.source.clone(),
                    fault: reason.fault.clone(),
                    rows: reason.rows,
                })
                .collect(),
            foreign_objects: audit
                .foreign_objects
                .iter()
                .map(|object| Foreign {
                    kind: object.kind.clone(),
                    name: object.name.clone(),
                    sound: object.is_sound(),
                    outlook: object.to_string(),
                })
                .collect(),
            database_bytes: audit.database_bytes,
            disk_needed_bytes: if matches!(audit.contents, Some(Contents::Legacy(_))) {
                audit.disk_needed_bytes
            } else {
                0
            },
            unchecked: audit.unchecked.clone(),
            readable: audit.contents.is_some(),
            since_takeover: audit.since_takeover.map(SinceReport::new),
            compared_at: audit.comparison.at,
            boards: audit
                .comparison
                .boards
                .iter()
                .map(BoardReport::new)
                .collect(),
            replaced_settings: audit.comparison.replaced_settings,
            replaced: audit
                .comparison
                .replaced
                .iter()
                .map(Replaced::new)
                .collect(),
            integrity: if audit.damage.is_empty() {
                "ok".to_owned()
            } else {
                audit.damage.join("; ")
            },
            path: audit.path.display().to_string(),
        }
    }
}

impl AuditReport {
    fn comparison_text(&self, style: Style) -> String {
        let mut text = String::new();
        for replaced in &self.replaced {
            text += &replaced.line();
        }
        let unnamed = self.replaced_settings - self.replaced.len() as u64;
        if unnamed > 0 {
            let _ = writeln!(text, "… and {} more such settings", grouped(unnamed));
        }
        if self.boards.is_empty() {
            return text;
        }
        let _ = writeln!(
            text,
            "Scores at {}, ten minutes after the last message, as the original shows them and as they \
             will be:",
            time(self.compared_at)
        );
        for (index, board) in self.boards.iter().enumerate() {
            text += &board.text(style, index == 0);
        }
        text
    }

    fn unreadable_text(&self) -> String {
        let facts = facts([
            ("database", self.path.clone()),
            ("contents", self.contents.clone()),
            ("size", bytes(self.database_bytes)),
            ("integrity", self.integrity.clone()),
        ]);
        facts + "Stop the users of the file, keep a copy of it, and restore a backup.\n"
    }
}

impl KindRows {
    pub(super) fn all(takeover: &Takeover) -> Vec<Self> {
        takeover
            .kinds()
            .into_iter()
            .map(|(name, rows)| Self {
                name,
                source_rows: rows.source,
                taken_rows: rows.taken,
                merged_rows: rows.merged,
                quarantined_rows: rows.quarantined,
            })
            .collect()
    }

    pub(super) fn table(style: Style, kinds: &[Self]) -> String {
        let columns = [
            Column::Left("rows of"),
            Column::Right("found"),
            Column::Right("taken over"),
            Column::Right("merged"),
            Column::Right("quarantined"),
        ];
        let rows = kinds.iter().map(|kind| {
            vec![
                kind.name.to_owned(),
                grouped(kind.source_rows),
                grouped(kind.taken_rows),
                grouped(kind.merged_rows),
                grouped(kind.quarantined_rows),
            ]
        });
        table(style, &columns, rows)
    }
}

impl Report for AuditReport {
    fn text(&self, style: Style) -> String {
        if !self.readable {
            return self.unreadable_text();
        }
        let mut text = facts([
            ("database", self.path.clone()),
            ("contents", self.contents.clone()),
            ("schema version", self.version.to_string()),
            ("size", bytes(self.database_bytes)),
            ("integrity", self.integrity.clone()),
            ("members", grouped(self.members)),
            (
                "times in milliseconds",
                grouped(self.millisecond_timestamps),
            ),
            ("scores out of range", grouped(self.out_of_range_scores)),
            ("unreadable values", grouped(self.unreadable_values)),
            ("disk space needed", bytes(self.disk_needed_bytes)),
        ]);
        text += &KindRows::table(style, &self.kinds);
        if !self.worst_duplicates.is_empty() {
            let mut columns = vec![
                Column::Left("guild"),
                Column::Left("user"),
                Column::Right("rows"),
            ];
            columns.extend(Strategy::ALL.map(|strategy| Column::Right(strategy.name())));
            text += "Members with the most rows, and the score that each strategy keeps:\n";
            let rows = self.worst_duplicates.iter().map(|key| {
                vec![
                    key.guild_id.clone(),
                    key.user_id.clone(),
                    key.rows.to_string(),
                    format!("{:.2}", key.max),
                    format!("{:.2}", key.sum),
                    format!("{:.2}", key.latest),
                ]
            });
            text += &table(style, &columns, rows);
        }
        for what in &self.unchecked {
            let _ = writeln!(text, "Cannot be checked: {what}");
        }
        if !self.foreign_objects.is_empty() {
            text += "Of other modules:\n";
        }
        for object in &self.foreign_objects {
            let _ = writeln!(text, "  {}", object.outlook);
        }
        for reason in &self.quarantine {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{} of {} would be quarantined: {} is unusable",
                grouped(reason.rows),
                reason.table,
                reason.fault
            );
        }
        if let Some(since) = self.since_takeover.as_ref().filter(|since| since.is_any()) {
            let _ = writeln!(text, "{}", since.line());
        }
        text += &self.comparison_text(style);
        let _ = if self.pending.is_empty() {
            writeln!(text, "`roas migrate` has nothing to do here.")
        } else {
            writeln!(
                text,
                "`roas migrate` would run {}.",
                self.pending.join(", ")
            )
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_since_a_takeover_is_one_line_that_says_what_to_do() {
        let report = SinceReport::new(SinceTakeover {
            old_rows: 2,
            uncounted_messages: 3,
        });
        assert!(report.is_any());
        assert_eq!(
            report.line(),
            "Another program, perhaps the original bot, has written since the takeover: 2 rows in the \
             original's own tables, 3 messages in the days' counts only. Stop it."
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({"old_rows": 2, "uncounted_messages": 3})
        );
    }
}
