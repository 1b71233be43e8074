//! The port: what the meter asks of a store.
//!
//! # Adding an operation
//!
//! An operation is named for what the domain wants, never for how a store does it: no table,
//! column or driver type in a name, a signature or an error. Say in MUST sentences what an
//! implementation owes and what dropping the future means, add the operation to the in-memory
//! repository, and add to the conformance suite what every implementation has to show.

use std::time::Duration;

use async_trait::async_trait;

use crate::activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use crate::error::{RepositoryError, RepositoryErrorKind};
use crate::id::GuildId;
use crate::query::{ActivityCounts, LeaderboardLimit, MessageEntry, Period, Rank, ScoreEntry};
use crate::score::{GuildRules, ScoreDelta};
use crate::time::UnixSeconds;

/// The greatest number of events that one [`ActivityRepository::record_many`] takes.
pub const MAX_EVENTS_PER_CALL: usize = 4_096;

/// How far a time may lie ahead of a repository's clock, unless it is configured otherwise.
///
/// Discord's clock and a host's that is kept by NTP differ by less than a second. Ten minutes leave room
/// for a host that is not, and cost a member at most that much of further scores.
pub const DEFAULT_MAX_CLOCK_SKEW: Duration = Duration::from_mins(10);

/// Checks that `at` lies at most `max_skew` ahead of `now`, for implementations of the port.
///
/// # Errors
///
/// `InvalidRequest`, with both times, where it lies further ahead.
pub fn check_clock_skew(
    at: UnixSeconds,
    now: UnixSeconds,
    max_skew: Duration,
) -> Result<(), RepositoryError> {
    let ahead = u64::try_from(at.since(now)).unwrap_or(0);
    if ahead <= max_skew.as_secs() {
        return Ok(());
    }
    Err(RepositoryError::new(
        RepositoryErrorKind::InvalidRequest,
        format!(
            "the time {at} lies {ahead} s ahead of this host's clock, {now}: at most {} s are allowed",
            max_skew.as_secs()
        ),
    ))
}

/// A store of members' activity.
///
/// Implementations MUST be safe to call from any number of tasks at once, and MUST behave as if
/// every write took effect at one moment between its call and its return (they are linearizable).
/// A write MUST NOT return `Ok` before it is as durable as the implementation promises. An error
/// whose [`RepositoryError::effect`] is `NotApplied` MUST mean that nothing was changed.
///
/// # Times ahead
///
/// A member's time never moves back, so that one date in the future would keep the member from scoring
/// until then. An event or an adjustment whose time lies further ahead of the implementation's clock than
/// it allows MUST be refused with `InvalidRequest` ([`check_clock_skew`]). It SHOULD allow
/// [`DEFAULT_MAX_CLOCK_SKEW`] and have a setting for another value and for none.
///
/// # Cancel safety
///
/// Dropping the future of a write leaves it either applied once, whole, or not applied at all, and
/// never disturbs another caller's. Dropping the future of a read has no effect.
// Above `async_trait`, so that expectations return results and not boxed futures.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait ActivityRepository: Send + Sync + std::fmt::Debug {
    /// Records one event under the guild's rules ([`ActivityRecord::after_event`]).
    ///
    /// An event whose id was recorded before, by anyone, within the time that the implementation
    /// remembers ids for (counted from the recording, by its own clock) MUST change nothing and answer [`EventOutcome::Duplicate`]. Any other
    /// event MUST raise by one the member's message count and its count for the day of the event
    /// in the guild's time zone.
    ///
    /// Waits for room where the implementation's queue is full.
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError>;

    /// Records one event as [`Self::record`] does, but MUST NOT wait for room: where the queue is
    /// full it fails with `Overloaded` at once.
    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError>;

    /// Records events in the given order, all of them or, on an error, none. Answers one outcome
    /// for each, in the same order.
    ///
    /// More than [`MAX_EVENTS_PER_CALL`] events MUST be refused with `InvalidRequest`, as is a call with
    /// one event whose time lies too far ahead.
    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError>;

    /// Moves a member's score by `delta` ([`ActivityRecord::after_adjustment`]) and answers the
    /// record as it then is. A member not yet known is inserted.
    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError>;

    /// Finds what is stored of a member; `None` where nothing is.
    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError>;

    /// The number of messages that a member wrote in a period; 0 where nothing is known.
    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError>;

    /// The members of a guild with the greatest scores, each decayed to `at` under the guild's
    /// rules; the greatest first, equal ones by user id. Members whose score has fallen to 0 are
    /// members all the same.
    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError>;

    /// The members of a guild with the most messages in a period; the most first, equal ones by
    /// user id. Members without a message in it are left out.
    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError>;

    /// A member's place in the order of [`Self::top_scores`]; `None` where the member is unknown.
    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError>;

    /// A guild's rules; the defaults where none were set.
    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError>;

    /// Sets a guild's rules. They hold for every event that is recorded, and for every score that is
    /// read, after the return. MUST also replace rules that cannot be read (`InvalidData`).
    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError>;

    /// How much the repository holds.
    async fn counts(&self) -> Result<ActivityCounts, RepositoryError>;
}

/// The port is object-safe: callers hold an `Arc<dyn ActivityRepository>`.
const _: Option<&dyn ActivityRepository> = None;
