//! What the demo shows at its end.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::load::LoadReport;
use crate::error::CliError;
use crate::{Column, Report, Style, duration_us, grouped, table};

/// The whole of a demo.
#[derive(Debug, Default, Serialize)]
pub(super) struct DemoReport {
    #[serde(serialize_with = "displayed")]
    pub(super) path: PathBuf,
    pub(super) seconds: u32,
    pub(super) guilds: u64,
    pub(super) members: u64,
    /// Messages found in the database when all was over.
    pub(super) messages_stored: u64,
    pub(super) this_process: LoadReport,
    pub(super) second_process: LoadReport,
    /// The busiest guild, and its ten most active members.
    pub(super) guild_id: String,
    pub(super) guild: String,
    pub(super) time_zone: String,
    pub(super) leaderboard: Vec<LeaderboardRow>,
}

/// One place of the leaderboard.
#[derive(Debug, Serialize)]
pub(super) struct LeaderboardRow {
    pub(super) rank: u64,
    pub(super) user_id: String,
    pub(super) name: String,
    pub(super) score: f64,
    pub(super) messages: u64,
}

fn displayed<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl DemoReport {
    fn acknowledged(&self) -> u64 {
        self.this_process.messages + self.second_process.messages
    }

    /// Whether the database holds exactly what was acknowledged.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.messages_stored == self.acknowledged() {
            return Ok(());
        }
        Err(CliError::Other(format!(
            "{} messages were acknowledged ({} + {}), but {} are stored in {}",
            self.acknowledged(),
            self.this_process.messages,
            self.second_process.messages,
            self.messages_stored,
            self.path.display()
        )))
    }
}

impl Report for DemoReport {
    fn text(&self, style: Style) -> String {
        let Self {
            this_process: this,
            second_process: second,
            ..
        } = self;
        let places = self.leaderboard.iter().map(|place| {
            vec![
                grouped(place.rank),
                place.name.clone(),
                format!("{:.2}", place.score),
                grouped(place.messages),
            ]
        });
        let leaderboard = table(
            style,
            &[
                Column::Right("rank"),
                Column::Left("member"),
                Column::Right("score"),
                Column::Right("messages"),
            ],
            places,
        );

        let summed = |name: &str, of: fn(&LoadReport) -> u64| {
            vec![
                name.to_owned(),
                grouped(of(this)),
                grouped(of(second)),
                grouped(of(this) + of(second)),
            ]
        };
        let waited = |name: &str, of: fn(&LoadReport) -> Option<u64>| {
            // Percentiles of two processes do not add up; the longest of both is the greater one.
            let both = (name == LONGEST).then(|| duration_us(of(this).max(of(second))));
            vec![
                name.to_owned(),
                duration_us(of(this)),
                duration_us(of(second)),
                both.unwrap_or_default(),
            ]
        };
        let figures = table(
            style,
            &[
                Column::Left(""),
                Column::Right("this process"),
                Column::Right("second process"),
                Column::Right("together"),
            ],
            [
                summed("messages acknowledged", |load| load.messages),
                summed("messages per second", LoadReport::messages_per_s),
                summed("delivered again, counted once", |load| load.duplicates),
                waited("waited, half of the callers", |load| load.latency_us.p50),
                waited("waited, 95 %", |load| load.latency_us.p95),
                waited("waited, 99 %", |load| load.latency_us.p99),
                waited("waited, 99.9 %", |load| load.latency_us.p999),
                waited(LONGEST, |load| load.latency_us.max),
                summed("lock errors", |load| load.lock_errors),
            ],
        );

        let db = shell_word(&self.path.display().to_string());
        let guild = &self.guild_id;
        let first = self
            .leaderboard
            .first()
            .map_or("ID", |place| place.user_id.as_str());
        format!(
            "Most active in {} ({}), the busiest of {} guilds:\n{leaderboard}\n\
             {figures}\n\
             Stored in the database: {} messages, exactly those acknowledged.\n\n\
             The database is kept. To explore it:\n  \
             roas leaderboard --by day --db {db} --guild {guild}\n  \
             roas member --db {db} --guild {guild} --user {first}\n  \
             roas stats --db {db}\n",
            self.guild,
            self.time_zone,
            grouped(self.guilds),
            grouped(self.messages_stored),
        )
    }
}

const LONGEST: &str = "waited, the longest";

/// A word that a shell reads back as it is.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> DemoReport {
        let load = |messages, max| LoadReport {
            messages,
            duplicates: 5,
            lock_errors: 0,
            elapsed_ms: 5_000,
            latency_us: roas_app::latency::LatencySummary {
                p50: Some(900),
                p95: Some(1_800),
                p99: Some(2_500),
                p999: Some(9_000),
                max: Some(max),
            },
        };
        DemoReport {
            path: "/tmp/roas-demo-abc/roas.db".into(),
            seconds: 5,
            guilds: 5,
            members: 1_000,
            messages_stored: 3_000_000,
            this_process: load(2_000_000, 20_000),
            second_process: load(1_000_000, 40_000),
            guild_id: "7".into(),
            guild: "深夜食堂".into(),
            time_zone: "Asia/Taipei".into(),
            leaderboard: vec![LeaderboardRow {
                rank: 1,
                user_id: "8".into(),
                name: "陳小明".into(),
                score: 412.25,
                messages: 1_234,
            }],
        }
    }

    #[test]
    fn it_fits_a_terminal_of_80_columns() {
        let text = report().text(Style { emphasis: false });
        for line in text.lines().filter(|line| !line.contains("--db")) {
            // Chinese characters take two columns.
            let columns: usize = line
                .chars()
                .map(|c| if c >= '\u{2e80}' { 2 } else { 1 })
                .sum();
            assert!(columns <= 80, "{columns}: {line}");
        }
        for part in [
            "陳小明",
            "412.25",
            "3,000,000",
            "40.00 ms",
            "roas stats --db /tmp/roas-demo-abc",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_lost_message_is_a_failure() {
        assert!(report().check().is_ok());
        let report = DemoReport {
            messages_stored: 2_999_999,
            ..report()
        };
        let line = report.check().unwrap_err().to_string();
        assert!(
            line.contains("3000000 messages were acknowledged"),
            "{line}"
        );
        assert!(line.contains("2999999 are stored"), "{line}");
    }

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(shell_word("/tmp/小鎮.db"), "/tmp/小鎮.db");
        assert_eq!(shell_word("/tmp/it's a.db"), r"'/tmp/it'\''s a.db'");
    }
}
