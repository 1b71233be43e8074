//! Short constructors of the domain's values, for tests.
//!
//! Each function panics if the value is not valid in the domain: a test that contains such a value
//! by mistake should fail there.

use crate::activity::{ActivityEvent, MemberKey};
use crate::id::{EventId, GuildId, UserId};
use crate::score::{Score, ScoreDelta};
use crate::time::{GuildTimeZone, UnixSeconds};

/// A Friday's first second in UTC, 2025-08-22T00:00:00Z: the base time of tests.
pub const MIDNIGHT: i64 = 1_755_820_800;

/// A guild.
///
/// # Panics
///
/// If `id` is not a snowflake.
#[must_use]
pub fn guild(id: u64) -> GuildId {
    GuildId::new(id).expect("a guild id of a test")
}

/// A user.
///
/// # Panics
///
/// If `id` is not a snowflake.
#[must_use]
pub fn user(id: u64) -> UserId {
    UserId::new(id).expect("a user id of a test")
}

/// A member: the guild's id, then the user's.
///
/// # Panics
///
/// If either is not a snowflake.
#[must_use]
pub fn member(guild_id: u64, user_id: u64) -> MemberKey {
    MemberKey {
        guild: guild(guild_id),
        user: user(user_id),
    }
}

/// An event's id.
///
/// # Panics
///
/// If `id` is not a snowflake.
#[must_use]
pub fn event_id(id: u64) -> EventId {
    EventId::new(id).expect("an event id of a test")
}

/// A time.
///
/// # Panics
///
/// If `seconds` is not a valid time.
#[must_use]
pub fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds::new(seconds).expect("a time of a test")
}

/// A message without an id.
///
/// # Panics
///
/// If `seconds` is not a valid time.
#[must_use]
pub fn message(member: MemberKey, seconds: i64) -> ActivityEvent {
    ActivityEvent {
        id: None,
        member,
        at: at(seconds),
    }
}

/// A message with an id.
///
/// # Panics
///
/// If `id` is not a snowflake, or `seconds` is not a valid time.
#[must_use]
pub fn message_with_id(id: u64, member: MemberKey, seconds: i64) -> ActivityEvent {
    ActivityEvent {
        id: Some(event_id(id)),
        member,
        at: at(seconds),
    }
}

/// A score.
///
/// # Panics
///
/// If `value` is not a valid score.
#[must_use]
pub fn score(value: f64) -> Score {
    Score::new(value).expect("a score of a test")
}

/// A change of a score.
///
/// # Panics
///
/// If `value` is not a valid delta.
#[must_use]
pub fn delta(value: f64) -> ScoreDelta {
    ScoreDelta::new(value).expect("a delta of a test")
}

/// A time zone by its IANA name.
///
/// # Panics
///
/// If there is no zone with that name.
#[must_use]
pub fn zone(name: &str) -> GuildTimeZone {
    GuildTimeZone::new(name).expect("a time zone of a test")
}
