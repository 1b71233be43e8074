//! What can be asked of the meter, and how it answers.

use thiserror::Error;

use crate::id::UserId;
use crate::score::Score;
use crate::time::{Day, Month, UnixSeconds};

/// One place of a leaderboard by score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreEntry {
    /// The place, from 1. Equal scores rank by user id, so that no two members share one.
    pub rank: u64,
    /// Who holds it.
    pub user: UserId,
    /// The score, decayed to the time that was asked for.
    pub score: Score,
    /// When the score last rose, or a later time that an adjustment named.
    pub last_message_at: UnixSeconds,
}

/// One place of a leaderboard by messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageEntry {
    /// The place, from 1. Equal counts rank by user id, so that no two members share one.
    pub rank: u64,
    /// Who holds it.
    pub user: UserId,
    /// Messages in the period.
    pub messages: u64,
}

/// A member's place among all members of the guild, by score decayed to a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// The place, from 1.
    pub position: u64,
    /// How many members the guild has.
    pub members: u64,
}

/// A span of calendar time, in the guild's own time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A day.
    Day(Day),
    /// A month.
    Month(Month),
}

/// How many places of a leaderboard are wanted: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaderboardLimit(u16);

impl LeaderboardLimit {
    /// The greatest limit.
    pub const MAX: u16 = 1_000;

    /// Checks and wraps a limit.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for 0 and for values above [`Self::MAX`].
    pub const fn new(limit: u16) -> Result<Self, InvalidLimit> {
        match limit {
            1..=Self::MAX => Ok(Self(limit)),
            _ => Err(InvalidLimit { input: limit }),
        }
    }

    /// The limit as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Ten places.
impl Default for LeaderboardLimit {
    fn default() -> Self {
        Self(10)
    }
}

/// The number is no leaderboard limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{input} is not a valid leaderboard limit: expected 1 to {}",
    LeaderboardLimit::MAX
)]
pub struct InvalidLimit {
    input: u16,
}

/// How much the meter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActivityCounts {
    /// Members, over all guilds.
    pub members: u64,
    /// Guilds that have members.
    pub guilds: u64,
    /// Messages counted, over all members.
    pub messages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_one_to_a_thousand() {
        assert!(LeaderboardLimit::new(0).is_err());
        assert_eq!(LeaderboardLimit::new(1_000).unwrap().get(), 1_000);
        let error = LeaderboardLimit::new(1_001).unwrap_err().to_string();
        assert!(error.contains("1001"), "{error}");
        assert_eq!(LeaderboardLimit::default().get(), 10);
    }
}
