//! Queries and their results.

use thiserror::Error;

use crate::id::UserId;
use crate::score::Score;
use crate::time::{Day, Month, UnixSeconds};

/// An entry of a leaderboard by score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreEntry {
    /// The position, from 1. Ties are ordered by user id, so positions are unique.
    pub rank: u64,
    /// The user.
    pub user: UserId,
    /// The score, decayed to the time of the query.
    pub score: Score,
    /// When the score last rose, or the time of a later adjustment.
    pub last_message_at: UnixSeconds,
}

/// An entry of a leaderboard by messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageEntry {
    /// The position, from 1. Ties are ordered by user id, so positions are unique.
    pub rank: u64,
    /// The user.
    pub user: UserId,
    /// Messages in the period.
    pub messages: u64,
}

/// A member's position among all members of the guild, by score decayed to a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// The position, from 1.
    pub position: u64,
    /// The number of members in the guild.
    pub members: u64,
}

/// A period of calendar time, in the guild's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A day.
    Day(Day),
    /// A month.
    Month(Month),
}

/// The number of leaderboard entries to return: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaderboardLimit(u16);

impl LeaderboardLimit {
    /// The largest limit.
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

/// Ten entries.
impl Default for LeaderboardLimit {
    fn default() -> Self {
        Self(10)
    }
}

/// The number is not a valid leaderboard limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{input} is not a valid leaderboard limit: expected 1 to {}",
    LeaderboardLimit::MAX
)]
pub struct InvalidLimit {
    input: u16,
}

/// The totals of everything stored.
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
    fn limits_range_from_one_to_a_thousand() {
        assert!(LeaderboardLimit::new(0).is_err());
        assert_eq!(LeaderboardLimit::new(1_000).unwrap().get(), 1_000);
        let error = LeaderboardLimit::new(1_001).unwrap_err().to_string();
        assert!(error.contains("1001"), "{error}");
        assert_eq!(LeaderboardLimit::default().get(), 10);
    }
}
