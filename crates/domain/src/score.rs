//! Scores, and the rules by which they rise and decay.

use std::fmt;

use thiserror::Error;

use crate::time::{GuildTimeZone, UnixSeconds};

/// The largest score that any rule may allow, and the largest delta in either direction.
///
/// Far above any sensible meter, and small enough that adding a delta to a score is exact to better
/// than a millionth (an `f64` has 53 bits of mantissa).
pub const MAX_SCORE_LIMIT: f64 = 1e9;

/// The largest number of seconds in a rule: a hundred Julian years.
pub const MAX_RULE_SECONDS: i64 = 3_155_760_000;

/// A member's score: finite, 0 ≤ score ≤ [`MAX_SCORE_LIMIT`].
///
/// The guild's own maximum is part of its [`ScoreRules`], which apply it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score(f64);

impl Score {
    /// No score.
    pub const ZERO: Self = Self(0.0);

    /// Checks and wraps a score.
    ///
    /// # Errors
    ///
    /// [`InvalidScore`] if it is not finite or out of range.
    pub fn new(score: f64) -> Result<Self, InvalidScore> {
        if (0.0..=MAX_SCORE_LIMIT).contains(&score) {
            // `+ 0.0` turns -0.0 into 0.0, so that equal scores are equal to the bit.
            Ok(Self(score + 0.0))
        } else {
            Err(InvalidScore {
                what: "score",
                least: 0.0,
                input: score,
            })
        }
    }

    /// The score as a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A total order: scores are never NaN.
impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Score {
    /// With the requested precision (`{:.2}`), or else the shortest form that parses to the same
    /// value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A change of a score: finite, at most [`MAX_SCORE_LIMIT`] in either direction.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ScoreDelta(f64);

impl ScoreDelta {
    /// Checks and wraps a delta.
    ///
    /// # Errors
    ///
    /// [`InvalidScore`] if it is not finite or out of range.
    pub fn new(delta: f64) -> Result<Self, InvalidScore> {
        if (-MAX_SCORE_LIMIT..=MAX_SCORE_LIMIT).contains(&delta) {
            Ok(Self(delta))
        } else {
            Err(InvalidScore {
                what: "score delta",
                least: -MAX_SCORE_LIMIT,
                input: delta,
            })
        }
    }

    /// The delta as a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// The number is not a valid score or delta.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{input:?} is not a valid {what}: expected a number from {least} to {MAX_SCORE_LIMIT}")]
pub struct InvalidScore {
    what: &'static str,
    least: f64,
    input: f64,
}

/// How a guild's scores rise and decay.
///
/// The defaults are those of the original meter, version 2.4. Gain, cooldown, grace and decay may
/// be zero.
///
/// | rule | default | range |
/// |---|---|---|
/// | `max_score` | 100.0 | above 0, at most [`MAX_SCORE_LIMIT`] |
/// | `gain_per_message` | 1.0 | 0 to [`MAX_SCORE_LIMIT`] |
/// | `cooldown_seconds` | 60 | 0 to [`MAX_RULE_SECONDS`] |
/// | `decay_after_seconds` (the grace) | 300 | 0 to [`MAX_RULE_SECONDS`] |
/// | `decay_per_hour` | 6.0 | 0 to [`MAX_SCORE_LIMIT`] |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRules {
    max_score: f64,
    gain_per_message: f64,
    cooldown_seconds: i64,
    decay_after_seconds: i64,
    decay_per_hour: f64,
}

impl Default for ScoreRules {
    fn default() -> Self {
        Self {
            max_score: 100.0,
            gain_per_message: 1.0,
            cooldown_seconds: 60,
            decay_after_seconds: 300,
            decay_per_hour: 6.0,
        }
    }
}

impl ScoreRules {
    /// The highest score that a member can reach.
    #[must_use]
    pub const fn max_score(&self) -> f64 {
        self.max_score
    }

    /// What a message that scores adds to the score.
    #[must_use]
    pub const fn gain_per_message(&self) -> f64 {
        self.gain_per_message
    }

    /// Seconds after a message that scored during which further messages do not score.
    #[must_use]
    pub const fn cooldown_seconds(&self) -> i64 {
        self.cooldown_seconds
    }

    /// Seconds without a message that scores after which the score starts to decay.
    #[must_use]
    pub const fn decay_after_seconds(&self) -> i64 {
        self.decay_after_seconds
    }

    /// How much an idle member's score decays per hour.
    #[must_use]
    pub const fn decay_per_hour(&self) -> f64 {
        self.decay_per_hour
    }

    /// How much an idle member's score decays per second. Adapters that rank by the decayed score
    /// compute with this exact number, so that their results equal the domain's to the bit.
    #[must_use]
    pub fn decay_per_second(&self) -> f64 {
        self.decay_per_hour / 3_600.0
    }

    /// These rules with a different maximum.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if the value is outside of the range given above.
    pub fn with_max_score(self, max_score: f64) -> Result<Self, InvalidRule> {
        let max_score = points("max_score", max_score)?;
        if max_score > 0.0 {
            Ok(Self { max_score, ..self })
        } else {
            Err(InvalidRule::new(
                "max_score",
                &max_score,
                "a number above 0",
            ))
        }
    }

    /// These rules with a different gain.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if the value is outside of the range given above.
    pub fn with_gain_per_message(self, gain_per_message: f64) -> Result<Self, InvalidRule> {
        Ok(Self {
            gain_per_message: points("gain_per_message", gain_per_message)?,
            ..self
        })
    }

    /// These rules with a different cooldown.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if the value is outside of the range given above.
    pub fn with_cooldown_seconds(self, cooldown_seconds: i64) -> Result<Self, InvalidRule> {
        Ok(Self {
            cooldown_seconds: seconds("cooldown_seconds", cooldown_seconds)?,
            ..self
        })
    }

    /// These rules with a different grace before the decay.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if the value is outside of the range given above.
    pub fn with_decay_after_seconds(self, decay_after_seconds: i64) -> Result<Self, InvalidRule> {
        let decay_after_seconds = seconds("decay_after_seconds", decay_after_seconds)?;
        Ok(Self {
            decay_after_seconds,
            ..self
        })
    }

    /// These rules with a different decay.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] if the value is outside of the range given above.
    pub fn with_decay_per_hour(self, decay_per_hour: f64) -> Result<Self, InvalidRule> {
        Ok(Self {
            decay_per_hour: points("decay_per_hour", decay_per_hour)?,
            ..self
        })
    }

    /// The score after a member's first message: min(max, gain).
    #[must_use]
    pub fn first_score(&self) -> Score {
        Score(self.gain_per_message.min(self.max_score))
    }

    /// Whether a message `idle_seconds` after the last one that scored does not score: it is within
    /// the cooldown, or late (negative).
    #[must_use]
    pub const fn cools_down(&self, idle_seconds: i64) -> bool {
        idle_seconds < 0 || idle_seconds < self.cooldown_seconds
    }

    /// The score at time `at`, for the score `stored` that last changed at `last`: max(0, stored −
    /// `decay_per_hour`/3600 · max(0, at − last − `decay_after`)).
    ///
    /// There is no decay before `last`.
    /// Before `last` there is no decay.
    #[must_use]
    pub fn decayed(&self, stored: Score, last: UnixSeconds, at: UnixSeconds) -> Score {
        let decaying = (at.since(last) - self.decay_after_seconds).max(0);
        #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
        let decay = self.decay_per_second() * decaying as f64;
        Score((stored.0 - decay).max(0.0))
    }

    /// The score after a message that scores: decayed to `at`, plus the gain, at most the maximum.
    #[must_use]
    pub fn raised(&self, stored: Score, last: UnixSeconds, at: UnixSeconds) -> Score {
        Score((self.decayed(stored, last, at).0 + self.gain_per_message).min(self.max_score))
    }

    /// `stored` plus `delta`, clamped to 0 and the maximum.
    #[must_use]
    pub fn adjusted(&self, stored: Score, delta: ScoreDelta) -> Score {
        Score((stored.0 + delta.0).clamp(0.0, self.max_score) + 0.0)
    }
}

fn points(rule: &'static str, value: f64) -> Result<f64, InvalidRule> {
    Score::new(value).map(Score::get).map_err(|_| {
        InvalidRule::new(
            rule,
            &format_args!("{value:?}"),
            "a number from 0 to 1000000000",
        )
    })
}

fn seconds(rule: &'static str, value: i64) -> Result<i64, InvalidRule> {
    if (0..=MAX_RULE_SECONDS).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidRule::new(
            rule,
            &value,
            "whole seconds from 0 to 3155760000",
        ))
    }
}

/// The value is not allowed for the rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{rule} = {input} is not allowed: expected {expected}")]
pub struct InvalidRule {
    rule: &'static str,
    input: String,
    expected: &'static str,
}

impl InvalidRule {
    fn new(rule: &'static str, input: &dyn fmt::Display, expected: &'static str) -> Self {
        Self {
            rule,
            input: input.to_string(),
            expected,
        }
    }

    /// The name of the rule, as in [`ScoreRules`].
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

/// The settings of a guild: its score rules, and the time zone in which its days are counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GuildRules {
    /// How scores rise and decay.
    pub score: ScoreRules,
    /// The time zone that decides the day on which a message counts. A change applies to messages
    /// recorded after it; counts of earlier days are not changed.
    pub time_zone: GuildTimeZone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    fn score(score: f64) -> Score {
        Score::new(score).unwrap()
    }

    #[test]
    fn scores_and_deltas_are_finite_and_in_range() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1e9 + 1.0] {
            assert!(Score::new(bad).is_err(), "{bad}");
        }
        for bad in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1e9 - 1.0,
            1e300,
        ] {
            assert!(ScoreDelta::new(bad).is_err(), "{bad}");
        }
        assert!(score(-0.0).get().is_sign_positive());
        assert_eq!(format!("{:.2}", score(1.0)), "1.00");
        let error = ScoreDelta::new(f64::NAN).unwrap_err().to_string();
        assert!(error.contains("NaN is not a valid score delta"), "{error}");
    }

    #[test]
    fn zero_rules_are_legal_and_stay_zero() {
        let rules = ScoreRules::default()
            .with_gain_per_message(0.0)
            .and_then(|rules| rules.with_cooldown_seconds(0))
            .and_then(|rules| rules.with_decay_after_seconds(0))
            .and_then(|rules| rules.with_decay_per_hour(0.0))
            .unwrap();
        assert_eq!(rules.first_score(), Score::ZERO);
        assert!(!rules.cools_down(0));
        assert_eq!(rules.raised(score(50.0), at(0), at(1_000_000)), score(50.0));
    }

    #[test]
    fn a_refused_rule_is_named() {
        let rules = ScoreRules::default();
        for (error, rule) in [
            (rules.with_max_score(0.0), "max_score"),
            (rules.with_max_score(f64::NAN), "max_score"),
            (rules.with_gain_per_message(-1.0), "gain_per_message"),
            (rules.with_cooldown_seconds(-1), "cooldown_seconds"),
            (
                rules.with_decay_after_seconds(MAX_RULE_SECONDS + 1),
                "decay_after_seconds",
            ),
            (rules.with_decay_per_hour(f64::INFINITY), "decay_per_hour"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.rule(), rule);
            assert!(error.to_string().starts_with(rule), "{error}");
        }
    }

    #[test]
    fn decay_is_linear_after_the_grace_and_never_below_zero() {
        let rules = ScoreRules::default();
        assert_eq!(
            rules.decayed(score(50.0), at(1_000), at(1_300)),
            score(50.0)
        );
        assert_eq!(
            rules.decayed(score(50.0), at(1_000), at(1_300 + 3_600)),
            score(44.0)
        );
        assert_eq!(
            rules.decayed(score(50.0), at(1_000), at(1_000_000)),
            Score::ZERO
        );
        assert_eq!(rules.decayed(score(50.0), at(1_000), at(0)), score(50.0));
    }

    #[test]
    fn the_cooldown_ends_after_its_last_second() {
        let rules = ScoreRules::default();
        assert!(rules.cools_down(59));
        assert!(!rules.cools_down(60));
        assert!(rules.cools_down(-1));
    }

    #[test]
    fn adjusting_stays_within_zero_and_the_maximum() {
        let rules = ScoreRules::default();
        let delta = |delta| ScoreDelta::new(delta).unwrap();
        assert_eq!(rules.adjusted(score(99.0), delta(5.0)), score(100.0));
        assert_eq!(rules.adjusted(score(1.0), delta(-5.0)), Score::ZERO);
        assert_eq!(rules.adjusted(score(1.0), delta(0.5)), score(1.5));
        // A score from before the guild's maximum was lowered is clamped at its next change.
        assert_eq!(rules.adjusted(score(500.0), delta(0.0)), score(100.0));
    }
}
