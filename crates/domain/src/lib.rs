#![doc = include_str!("../README.md")]

mod activity;
mod error;
mod id;
mod query;
mod repository;
mod score;
mod time;

#[cfg(feature = "testing")]
pub mod testing;

pub use activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey, counts_as_message};
pub use error::{Effect, RepositoryError, RepositoryErrorKind};
pub use id::{Event, EventId, Guild, GuildId, InvalidId, Snowflake, User, UserId};
pub use query::{
    ActivityCounts, InvalidLimit, LeaderboardLimit, MessageEntry, Period, Rank, ScoreEntry,
};
pub use repository::{
    ActivityRepository, DEFAULT_MAX_CLOCK_SKEW, MAX_EVENTS_PER_CALL, check_clock_skew,
};
pub use score::{
    GuildRules, InvalidRule, InvalidScore, MAX_RULE_SECONDS, MAX_SCORE_LIMIT, Score, ScoreDelta,
    ScoreRules,
};
pub use time::{
    Clock, Day, GuildTimeZone, InvalidPeriod, InvalidTime, Month, SystemClock, UnixSeconds,
    UnknownTimeZone,
};
