//! The commands that only look: `member`, `leaderboard`, `stats`.

use roas_db::{Access, LockHolder, OtherProcess};
use roas_domain::{MemberKey, Period, UnixSeconds};
use serde::Serialize;

use super::Context;
use super::args::{LeaderboardArgs, MemberArgs};
use super::audit::SinceReport;
use super::output::{Column, Report, Style, bytes, facts, grouped, table};
use crate::error::CliError;
use roas_app::service::{Leaderboard, MemberView, Places};

pub(super) async fn member(args: MemberArgs, context: &Context<'_>) -> Result<(), CliError> {
    let MemberArgs { guild, user, at } = args;
    let view = context
        .with_meter(Access::ReadOnly, async |meter| {
            let view = meter
                .service()
                .member(MemberKey { guild, user }, at)
                .await?;
            view.ok_or(CliError::UnknownMember { guild, user })
        })
        .await?;
    context.output.report(&MemberReport::from(view))
}

/// A member at one time. Times are Unix seconds.
#[derive(Debug, Serialize)]
struct MemberReport {
    guild_id: String,
    user_id: String,
    at: i64,
    score: f64,
    stored_score: f64,
    last_message_at: i64,
    messages: u64,
    today: String,
    messages_today: u64,
    messages_this_month: u64,
    rank: u64,
    members: u64,
}

impl From<MemberView> for MemberReport {
    fn from(view: MemberView) -> Self {
        Self {
            guild_id: view.record.member.guild.to_string(),
            user_id: view.record.member.user.to_string(),
            at: view.at.get(),
            score: view.score.get(),
            stored_score: view.record.score.get(),
            last_message_at: view.record.last_message_at.get(),
            messages: view.record.messages,
            today: view.today.to_string(),
            messages_today: view.messages_today,
            messages_this_month: view.messages_this_month,
            rank: view.rank.position,
            members: view.rank.members,
        }
    }
}

impl Report for MemberReport {
    fn text(&self, _: Style) -> String {
        facts([
            (
                "member",
                format!("{} in guild {}", self.user_id, self.guild_id),
            ),
            ("at", time(self.at)),
            ("score", format!("{:.2}", self.score)),
            ("stored score", format!("{:.2}", self.stored_score)),
            (
                "rank",
                format!("{} of {}", grouped(self.rank), grouped(self.members)),
            ),
            ("last message", time(self.last_message_at)),
            ("messages", grouped(self.messages)),
            ("this month", grouped(self.messages_this_month)),
            (
                "this day",
                format!("{} ({})", grouped(self.messages_today), self.today),
            ),
        ])
    }
}

pub(super) async fn leaderboard(
    args: LeaderboardArgs,
    context: &Context<'_>,
) -> Result<(), CliError> {
    let LeaderboardArgs {
        guild,
        by,
        limit,
        at,
    } = args;
    let leaderboard = context
        .with_meter(Access::ReadOnly, async |meter| {
            Ok(meter
                .service()
                .leaderboard(guild, by.into(), at, limit)
                .await?)
        })
        .await?;
    context.output.report(&LeaderboardReport::new(
        guild.to_string(),
        by.name(),
        &leaderboard,
    ))
}

/// A guild's leaderboard at one time. Times are Unix seconds.
#[derive(Debug, Serialize)]
pub(super) struct LeaderboardReport {
    guild_id: String,
    by: &'static str,
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<String>,
    entries: Vec<Entry>,
}

/// A place: a score, or messages.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Score {
        rank: u64,
        user_id: String,
        score: f64,
        last_message_at: i64,
    },
    Messages {
        rank: u64,
        user_id: String,
        messages: u64,
    },
}

impl LeaderboardReport {
    fn new(guild_id: String, by: &'static str, leaderboard: &Leaderboard) -> Self {
        let (period, entries) = match &leaderboard.places {
            Places::Scores(entries) => {
                let entry = |entry: &roas_domain::ScoreEntry| Entry::Score {
                    rank: entry.rank,
                    user_id: entry.user.to_string(),
                    score: entry.score.get(),
                    last_message_at: entry.last_message_at.get(),
                };
                (None, entries.iter().map(entry).collect())
            }
            Places::Messages { period, entries } => {
                let period = match period {
                    Period::Day(day) => day.to_string(),
                    Period::Month(month) => month.to_string(),
                };
                let entry = |entry: &roas_domain::MessageEntry| Entry::Messages {
                    rank: entry.rank,
                    user_id: entry.user.to_string(),
                    messages: entry.messages,
                };
                (Some(period), entries.iter().map(entry).collect())
            }
        };
        Self {
            guild_id,
            by,
            at: leaderboard.at.get(),
            period,
            entries,
        }
    }
}

impl Report for LeaderboardReport {
    fn text(&self, style: Style) -> String {
        let what = match &self.period {
            None => format!("score at {}", time(self.at)),
            Some(period) => format!("messages of {period}"),
        };
        if self.entries.is_empty() {
            return format!("Guild {}, by {what}: nobody yet\n", self.guild_id);
        }
        let columns: &[Column] = match &self.period {
            None => &[
                Column::Right("rank"),
                Column::Left("user"),
                Column::Right("score"),
                Column::Left("last message"),
            ],
            Some(_) => &[
                Column::Right("rank"),
                Column::Left("user"),
                Column::Right("messages"),
            ],
        };
        let rows = self.entries.iter().map(|entry| match entry {
            Entry::Score {
                rank,
                user_id,
                score,
                last_message_at,
            } => vec![
                grouped(*rank),
                user_id.clone(),
                format!("{score:.2}"),
                time(*last_message_at),
            ],
            Entry::Messages {
                rank,
                user_id,
                messages,
            } => {
                vec![grouped(*rank), user_id.clone(), grouped(*messages)]
            }
        });
        format!(
            "Guild {}, by {what}\n{}",
            self.guild_id,
            table(style, columns, rows)
        )
    }
}

pub(super) async fn stats(context: &Context<'_>) -> Result<(), CliError> {
    let mut report = context
        .with_meter(Access::ReadOnly, async |meter| {
            let counts = meter.service().counts().await?;
            let (info, size) = (meter.database().info(), meter.database().size());
            let users = meter.database().users();
            Ok(StatsReport {
                path: info.path.display().to_string(),
                members: counts.members,
                guilds: counts.guilds,
                messages: counts.messages,
                database_bytes: size.database_bytes,
                wal_bytes: size.wal_bytes,
                wal_limit_bytes: info.wal_limit_bytes,
                schema_version: info.schema_version,
                sqlite_version: info.sqlite_version.clone(),
                journal_mode: info.journal_mode.to_string(),
                journal_fallback: info.journal_fallback.clone(),
                synchronous: info.synchronous.to_string(),
                open_in: users.other_processes.into_iter().map(User::from).collect(),
                write_lock_pid: users.lock_holder.as_ref().map(LockHolder::pid),
                write_lock: users.lock_holder.map(|holder| holder.to_string()),
                since_takeover: None,
            })
        })
        .await?;
    report.since_takeover =
        roas_db::migration::since_takeover(&context.file_config())?.map(SinceReport::new);
    context.output.report(&report)
}

/// What a database holds, and how it is run.
#[derive(Debug, Serialize)]
struct StatsReport {
    path: String,
    members: u64,
    guilds: u64,
    messages: u64,
    database_bytes: u64,
    wal_bytes: u64,
    wal_limit_bytes: u64,
    schema_version: i32,
    sqlite_version: String,
    journal_mode: String,
    journal_fallback: Option<String>,
    synchronous: String,
    /// The other processes that have the file open.
    open_in: Vec<User>,
    /// Who holds the write lock at this moment.
    write_lock_pid: Option<u32>,
    #[serde(skip)]
    write_lock: Option<String>,
    /// What another program has written since a takeover; missing where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_takeover: Option<SinceReport>,
}

#[derive(Debug, Serialize)]
struct User {
    pid: u32,
    name: String,
}

impl From<OtherProcess> for User {
    fn from(OtherProcess { pid, name, .. }: OtherProcess) -> Self {
        Self { pid, name }
    }
}

impl Report for StatsReport {
    fn text(&self, _: Style) -> String {
        let none = || "no process that the system tells of".to_owned();
        let users: Vec<_> = self
            .open_in
            .iter()
            .map(|User { pid, name }| format!("{pid} ({name})"))
            .collect();
        let open_in = if users.is_empty() {
            none()
        } else {
            users.join(", ")
        };
        let journal = match &self.journal_fallback {
            Some(reason) => format!("{}: {reason}", self.journal_mode),
            None => self.journal_mode.clone(),
        };
        let mut text = facts([
            ("database", self.path.clone()),
            ("members", grouped(self.members)),
            ("guilds", grouped(self.guilds)),
            ("messages", grouped(self.messages)),
            ("database size", bytes(self.database_bytes)),
            (
                "WAL size",
                format!(
                    "{} (limit {})",
                    bytes(self.wal_bytes),
                    bytes(self.wal_limit_bytes)
                ),
            ),
            ("schema version", self.schema_version.to_string()),
            ("SQLite", self.sqlite_version.clone()),
            ("journal mode", journal),
            ("synchronous", self.synchronous.clone()),
            ("open in", open_in),
            ("write lock", self.write_lock.clone().unwrap_or_else(none)),
        ]);
        if let Some(since) = self.since_takeover.as_ref().filter(|since| since.is_any()) {
            text += &since.line();
            text.push('\n');
        }
        text
    }
}

/// Unix seconds as RFC 3339.
pub(super) fn time(seconds: i64) -> String {
    UnixSeconds::new(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use roas_domain::{GuildTimeZone, MessageEntry, Score, ScoreEntry};

    use super::*;

    const PLAIN: Style = Style { emphasis: false };

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    #[test]
    fn a_leaderboard_by_score_has_scores() {
        let entry = ScoreEntry {
            rank: 1,
            user: "626234859576321882".parse().unwrap(),
            score: Score::new(12.5).unwrap(),
            last_message_at: at(1_755_820_801),
        };
        let places = Places::Scores(vec![entry]);
        let report = LeaderboardReport::new(
            "7".into(),
            "score",
            &Leaderboard {
                at: at(1_755_820_900),
                places,
            },
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({
                "guild_id": "7", "by": "score", "at": 1_755_820_900,
                "entries": [{
                    "rank": 1, "user_id": "626234859576321882", "score": 12.5,
                    "last_message_at": 1_755_820_801
                }]
            })
        );
        let text = report.text(PLAIN);
        assert!(
            text.contains("626234859576321882 ┆ 12.50 ┆ 2025-08-22T00:00:01Z"),
            "{text}"
        );
    }

    #[test]
    fn a_leaderboard_by_messages_has_messages_and_names_its_period() {
        let day = GuildTimeZone::default().day_of(at(1_755_820_801));
        for (by, period, name) in [
            ("day", Period::Day(day), "20250822"),
            ("month", Period::Month(day.month()), "202508"),
        ] {
            let entries = vec![MessageEntry {
                rank: 1,
                user: "5".parse().unwrap(),
                messages: 1_234,
            }];
            let places = Places::Messages { period, entries };
            let report = LeaderboardReport::new("7".into(), by, &Leaderboard { at: at(0), places });
            assert_eq!(
                serde_json::to_value(&report).unwrap(),
                serde_json::json!({
                    "guild_id": "7", "by": by, "at": 0, "period": name,
                    "entries": [{"rank": 1, "user_id": "5", "messages": 1_234}]
                })
            );
            let text = report.text(PLAIN);
            assert!(text.contains(&format!("messages of {name}")), "{text}");
            assert!(text.contains("1,234"), "{text}");
        }
    }

    #[test]
    fn an_empty_leaderboard_says_so() {
        let leaderboard = Leaderboard {
            at: at(0),
            places: Places::Scores(vec![]),
        };
        let text = LeaderboardReport::new("7".into(), "score", &leaderboard).text(PLAIN);
        assert_eq!(
            text,
            "Guild 7, by score at 1970-01-01T00:00:00Z: nobody yet\n"
        );
    }
}
