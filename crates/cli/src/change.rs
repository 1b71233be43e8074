//! The commands that change one thing: `adjust`, `rules`.

use std::error::Error as _;

use roas_db::{Access, InvalidRow};
use roas_domain::{ActivityRecord, GuildId, GuildRules, MemberKey, RepositoryError};
use serde::Serialize;

use super::Context;
use super::args::{AdjustArgs, RulesArgs};
use super::output::{Report, Style, facts, grouped};
use super::query::time;
use crate::error::CliError;
use roas_app::rules::{apply_rule, rule_values};

pub(super) async fn adjust(args: AdjustArgs, context: &Context<'_>) -> Result<(), CliError> {
    let AdjustArgs {
        guild,
        user,
        delta,
        at,
    } = args;
    let record = context
        .with_meter(Access::ReadWrite, async |meter| {
            Ok(meter
                .service()
                .adjust(MemberKey { guild, user }, delta, at)
                .await?)
        })
        .await?;
    context.output.report(&RecordReport::from(record))
}

/// What is stored of a member. Times are Unix seconds.
#[derive(Debug, Serialize)]
struct RecordReport {
    guild_id: String,
    user_id: String,
    score: f64,
    last_message_at: i64,
    messages: u64,
}

impl From<ActivityRecord> for RecordReport {
    fn from(record: ActivityRecord) -> Self {
        Self {
            guild_id: record.member.guild.to_string(),
            user_id: record.member.user.to_string(),
            score: record.score.get(),
            last_message_at: record.last_message_at.get(),
            messages: record.messages,
        }
    }
}

impl Report for RecordReport {
    fn text(&self, _: Style) -> String {
        facts([
            (
                "member",
                format!("{} in guild {}", self.user_id, self.guild_id),
            ),
            ("score", format!("{:.2}", self.score)),
            ("last message", time(self.last_message_at)),
            ("messages", grouped(self.messages)),
        ])
    }
}

pub(super) async fn rules(args: RulesArgs, context: &Context<'_>) -> Result<(), CliError> {
    let RulesArgs { guild, set } = args;
    let access = if set.is_empty() {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let rules = context
        .with_meter(access, async |meter| {
            let before = match meter.service().rules(guild).await {
                Err(error) => correctable(&set, &error).ok_or(error)?,
                Ok(rules) => rules,
            };
            if set.is_empty() {
                return Ok(before);
            }
            let after = set
                .iter()
                .try_fold(before, |rules, assignment| apply_rule(rules, assignment))
                .map_err(|error| CliError::Usage(error.to_string()))?;
            meter.service().set_rules(guild, after.clone()).await?;
            Ok(after)
        })
        .await?;
    context.output.report(&RulesReport::new(guild, rules))
}

/// Where a guild's rules cannot be read, those that can, if `set` has a value for each of the others.
fn correctable(set: &[String], error: &RepositoryError) -> Option<GuildRules> {
    let row = error.source()?.downcast_ref::<InvalidRow>()?;
    let is_set = |column: &str| {
        set.iter()
            .filter_map(|assignment| assignment.split_once('='))
            .any(|(key, _)| key.trim() == column)
    };
    let rules = row.readable_rules()?;
    row.columns().all(is_set).then(|| rules.clone())
}

/// A guild's rules, under the keys that `--set` takes.
#[derive(Debug, Serialize)]
struct RulesReport {
    guild_id: String,
    max_score: f64,
    gain_per_message: f64,
    cooldown_seconds: i64,
    decay_after_seconds: i64,
    decay_per_hour: f64,
    time_zone: String,
    #[serde(skip)]
    rules: GuildRules,
}

impl RulesReport {
    fn new(guild: GuildId, rules: GuildRules) -> Self {
        Self {
            guild_id: guild.to_string(),
            max_score: rules.score.max_score(),
            gain_per_message: rules.score.gain_per_message(),
            cooldown_seconds: rules.score.cooldown_seconds(),
            decay_after_seconds: rules.score.decay_after_seconds(),
            decay_per_hour: rules.score.decay_per_hour(),
            time_zone: rules.time_zone.name().to_owned(),
            rules,
        }
    }
}

impl Report for RulesReport {
    fn text(&self, _: Style) -> String {
        facts(
            [("guild", self.guild_id.clone())]
                .into_iter()
                .chain(rule_values(&self.rules)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roas_app::rules::RULE_KEYS;

    #[test]
    fn rules_are_reported_under_the_keys_that_set_them_with_numbers_as_numbers() {
        let report = RulesReport::new("7".parse().unwrap(), GuildRules::default());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json.as_object().unwrap().len(), RULE_KEYS.len() + 1);
        for key in RULE_KEYS {
            assert_eq!(json[key].is_number(), key != "time_zone", "{key}");
        }
        let text = report.text(Style { emphasis: false });
        assert!(text.contains("cooldown_seconds     60\n"), "{text}");
    }
}
