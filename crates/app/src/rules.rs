//! A guild's rules as text: `key=value` read, and all of them listed.

use std::fmt::Display;
use std::str::FromStr;

use roas_domain::{GuildRules, GuildTimeZone, InvalidRule};
use thiserror::Error;

/// The keys, in the order in which they are listed.
pub const RULE_KEYS: [&str; 6] = [
    "max_score",
    "gain_per_message",
    "cooldown_seconds",
    "decay_after_seconds",
    "decay_per_hour",
    "time_zone",
];

/// The rules after one assignment `key=value`. Spaces around the key and the value do not matter.
///
/// Several assignments are applied one after the other, so that of two for the same key the last
/// one holds.
///
/// ```
/// use roas_app::rules::apply_rule;
/// use roas_domain::GuildRules;
///
/// let rules = apply_rule(GuildRules::default(), "cooldown_seconds = 30")?;
/// assert_eq!(rules.score.cooldown_seconds(), 30);
/// assert!(apply_rule(rules, "cooldown=30").is_err());
/// # Ok::<(), roas_app::rules::RuleError>(())
/// ```
///
/// # Errors
///
/// [`RuleError`] where the assignment names no rule, or a value that the rule does not allow.
pub fn apply_rule(rules: GuildRules, assignment: &str) -> Result<GuildRules, RuleError> {
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(RuleError::NoAssignment {
            input: shown(assignment),
        });
    };
    let (key, value) = (key.trim(), value.trim());
    let score = rules.score;
    let score = match key {
        "max_score" => score.with_max_score(number("max_score", value)?)?,
        "gain_per_message" => score.with_gain_per_message(number("gain_per_message", value)?)?,
        "cooldown_seconds" => score.with_cooldown_seconds(seconds("cooldown_seconds", value)?)?,
        "decay_after_seconds" => {
            score.with_decay_after_seconds(seconds("decay_after_seconds", value)?)?
        }
        "decay_per_hour" => score.with_decay_per_hour(number("decay_per_hour", value)?)?,
        "time_zone" => {
            let expected = "an IANA time zone such as `Asia/Taipei` or `UTC`";
            let time_zone: GuildTimeZone = parsed("time_zone", value, expected)?;
            return Ok(GuildRules { time_zone, ..rules });
        }
        _ => return Err(RuleError::UnknownKey { key: shown(key) }),
    };
    Ok(GuildRules { score, ..rules })
}

/// Every rule's key and value, in the order of [`RULE_KEYS`]. [`apply_rule`] reads what this
/// writes.
#[must_use]
pub fn rule_values(rules: &GuildRules) -> [(&'static str, String); 6] {
    let GuildRules { score, time_zone } = rules;
    let values: [&dyn Display; 6] = [
        &score.max_score(),
        &score.gain_per_message(),
        &score.cooldown_seconds(),
        &score.decay_after_seconds(),
        &score.decay_per_hour(),
        time_zone,
    ];
    std::array::from_fn(|index| (RULE_KEYS[index], values[index].to_string()))
}

fn number(key: &'static str, value: &str) -> Result<f64, RuleError> {
    parsed(key, value, "a number")
}

fn seconds(key: &'static str, value: &str) -> Result<i64, RuleError> {
    parsed(key, value, "whole seconds")
}

fn parsed<T: FromStr>(
    key: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<T, RuleError> {
    value.parse().map_err(|_| RuleError::Value {
        key,
        value: shown(value),
        expected,
    })
}

/// The assignment sets no rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// There is no `=` in it.
    #[error("`{input}` sets no rule: expected `key=value`")]
    NoAssignment {
        /// What was given, shortened.
        input: String,
    },
    /// No rule has that name.
    #[error("`{key}` is not a rule: expected one of {}", RULE_KEYS.join(", "))]
    UnknownKey {
        /// The name that was given, shortened.
        key: String,
    },
    /// The value is not of the rule's kind.
    #[error("{key} = `{value}` is not allowed: expected {expected}")]
    Value {
        /// The rule.
        key: &'static str,
        /// What was given, shortened.
        value: String,
        /// What the rule takes.
        expected: &'static str,
    },
    /// The value is out of the rule's range.
    #[error(transparent)]
    Range(#[from] InvalidRule),
}

/// At most 60 characters of `text`, with everything escaped that does not print.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use roas_domain::ScoreRules;

    use super::*;

    fn apply(assignments: &[&str]) -> Result<GuildRules, RuleError> {
        assignments
            .iter()
            .try_fold(GuildRules::default(), |rules, next| apply_rule(rules, next))
    }

    fn refusal(assignment: &str) -> String {
        apply(&[assignment]).unwrap_err().to_string()
    }

    #[test]
    fn every_key_sets_its_rule_and_no_other() {
        let rules = apply(&[
            "max_score=50.5",
            "gain_per_message=2",
            "cooldown_seconds=10",
            "decay_after_seconds=20",
            "decay_per_hour=0",
            "time_zone=Asia/Taipei",
        ]);
        let score = ScoreRules::default()
            .with_max_score(50.5)
            .and_then(|rules| rules.with_gain_per_message(2.0))
            .and_then(|rules| rules.with_cooldown_seconds(10))
            .and_then(|rules| rules.with_decay_after_seconds(20))
            .and_then(|rules| rules.with_decay_per_hour(0.0))
            .unwrap();
        let time_zone = GuildTimeZone::new("Asia/Taipei").unwrap();
        assert_eq!(rules.unwrap(), GuildRules { score, time_zone });

        for (index, key) in RULE_KEYS.iter().enumerate() {
            let value = if *key == "time_zone" {
                "Asia/Taipei"
            } else {
                "7"
            };
            let changed = rule_values(&apply(&[&format!("{key}={value}")]).unwrap());
            let defaults = rule_values(&GuildRules::default());
            for (other, (now, before)) in changed.iter().zip(&defaults).enumerate() {
                assert_eq!(now != before, other == index, "{key}: {now:?}");
            }
        }
    }

    #[test]
    fn spaces_do_not_matter_and_the_last_of_two_holds() {
        let rules = apply(&[" cooldown_seconds =\t10 ", "cooldown_seconds=20"]).unwrap();
        assert_eq!(rules.score.cooldown_seconds(), 20);
    }

    #[test]
    fn what_is_listed_reads_back_the_same() {
        let rules = apply(&[
            "max_score=0.1",
            "decay_per_hour=1e9",
            "time_zone=europe/berlin",
        ]);
        let rules = rules.unwrap();
        let listed = rule_values(&rules).map(|(key, value)| format!("{key}={value}"));
        assert_eq!(
            apply(&listed.each_ref().map(String::as_str)).unwrap(),
            rules
        );
        assert_eq!(listed[0], "max_score=0.1");
        assert_eq!(listed[5], "time_zone=Europe/Berlin");
        let defaults = rule_values(&GuildRules::default()).map(|(_, value)| value);
        assert_eq!(defaults, ["100", "1", "60", "300", "6", "UTC"]);
    }

    #[test]
    fn an_unknown_key_is_answered_with_all_there_are() {
        for key in ["cooldown", "", "Max_Score"] {
            let error = refusal(&format!("{key}=1"));
            assert!(
                error.starts_with(&format!("`{key}` is not a rule")),
                "{error}"
            );
            assert!(
                RULE_KEYS.iter().all(|known| error.contains(known)),
                "{error}"
            );
        }
        assert!(refusal("cooldown_seconds").contains("expected `key=value`"));
    }

    #[test]
    fn errors_name_the_key_the_value_and_what_is_expected() {
        for (assignment, parts) in [
            (
                "cooldown_seconds=1.5",
                ["cooldown_seconds", "`1.5`", "whole seconds"],
            ),
            (
                "cooldown_seconds=",
                ["cooldown_seconds", "``", "whole seconds"],
            ),
            ("cooldown_seconds=-1", ["cooldown_seconds", "-1", "from 0"]),
            ("max_score=many", ["max_score", "`many`", "a number"]),
            ("max_score=0", ["max_score", "0", "above 0"]),
            ("max_score=NaN", ["max_score", "NaN", "a number from 0"]),
            (
                "gain_per_message=inf",
                ["gain_per_message", "inf", "a number from 0"],
            ),
            ("decay_per_hour==1", ["decay_per_hour", "`=1`", "a number"]),
            (
                "time_zone=Mars/Olympus",
                ["time_zone", "`Mars/Olympus`", "IANA"],
            ),
        ] {
            let error = refusal(assignment);
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{assignment}: {error}"
            );
        }
    }

    #[test]
    fn errors_stay_on_one_short_line() {
        for assignment in [
            "a\nb=1".to_owned(),
            format!("max_score={}", "9x\r".repeat(1_000)),
        ] {
            let error = refusal(&assignment);
            assert!(
                !error.contains(char::is_control) && error.len() < 400,
                "{error}"
            );
        }
    }
}
