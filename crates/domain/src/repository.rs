//! The port: the operations that the meter requires of a store.
//!
//! # Adding an operation
//!
//! Name an operation for what the domain wants, never for how a store does it: no table, column or
//! driver type in a name, a signature or an error. State in MUST sentences what an implementation
//! guarantees and what happens if the future is dropped. Then add the operation to the in-memory
//! repository, and to the conformance suite what every implementation must show.

use std::time::Duration;

use async_trait::async_trait;

use crate::activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use crate::error::{RepositoryError, RepositoryErrorKind};
use crate::id::GuildId;
use crate::query::{ActivityCounts, LeaderboardLimit, MessageEntry, Period, Rank, ScoreEntry};
use crate::score::{GuildRules, ScoreDelta};
use crate::time::UnixSeconds;

/// The largest number of events in one call of [`ActivityRepository::record_many`].
pub const MAX_EVENTS_PER_CALL: usize = 4_096;

/// How far a time may be ahead of a repository's clock by default.
///
/// Discord's clock and that of a host with NTP differ by less than a second. Ten minutes tolerate a
/// host without it. An event that far ahead keeps its member from scoring for at most that long.
pub const DEFAULT_MAX_CLOCK_SKEW: Duration = Duration::from_mins(10);

/// Checks that `at` is at most `max_skew` ahead of `now`. For implementations of the port.
///
/// # Errors
///
/// `InvalidRequest`, with both times, if it is further ahead.
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
            "the time {at} is {ahead} s ahead of this host's clock, {now}: at most {} s are allowed",
            max_skew.as_secs()
        ),
    ))
}

/// A store of members' activity.
///
/// Implementations MUST be safe to call from any number of tasks at once, and MUST be linearizable:
/// every write takes effect at one moment between its call and its return. A write MUST NOT return
/// `Ok` before it is as durable as the implementation promises. An error whose
/// [`RepositoryError::effect`] is `NotApplied` MUST mean that nothing was changed.
///
/// # Times in the future
///
/// A member's last time never decreases, so one event dated in the future would keep the member
/// from scoring until then. An implementation MUST refuse, with `InvalidRequest`, an event or
/// adjustment whose time is further ahead of its clock than it allows ([`check_clock_skew`]). It
/// SHOULD allow [`DEFAULT_MAX_CLOCK_SKEW`] by default, and SHOULD let users configure another value
/// or no limit.
///
/// # Cancel safety
///
/// If the future of a write is dropped, the write is either applied once, in full, or not at all,
/// and the writes of other callers are not affected. Dropping the future of a read has no effect.
// Above `async_trait`, so that mock expectations return results and not boxed futures.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait ActivityRepository: Send + Sync + std::fmt::Debug {
    /// Records one event under the guild's rules ([`ActivityRecord::after_event`]).
    ///
    /// An event whose id was recorded before, for any member, MUST change nothing and return
    /// [`EventOutcome::Duplicate`]. An implementation may forget an id after a configured time,
    /// measured by its own clock from the recording. Any other event MUST increment the member's
    /// message count and its count for the day of the event in the guild's time zone.
    ///
    /// Waits for space if the implementation's queue is full.
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError>;

    /// Records one event as [`Self::record`] does, but MUST NOT wait for space: if the queue is
    /// full, it fails with `Overloaded` immediately.
    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError>;

    /// Records events in the given order: all of them or, on an error, none. Returns one outcome
    /// for each, in the same order.
    ///
    /// More than [`MAX_EVENTS_PER_CALL`] events MUST be refused with `InvalidRequest`, and so MUST
    /// a call with any event whose time is too far ahead.
    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError>;

    /// Changes a member's score by `delta` ([`ActivityRecord::after_adjustment`]) and returns the
    /// new record. A member without a record is inserted.
    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError>;

    /// The stored record of a member; `None` if there is none.
    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError>;

    /// The number of messages of a member in a period; 0 if nothing is stored.
    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError>;

    /// The members of a guild with the highest scores, each decayed to `at` under the guild's
    /// rules, in descending order; ties are ordered by user id. Members whose score has decayed to
    /// 0 are included.
    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError>;

    /// The members of a guild with the most messages in a period, in descending order; ties are
    /// ordered by user id. Members without a message in the period are left out.
    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError>;

    /// A member's position in the order of [`Self::top_scores`]; `None` if the member is unknown.
    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError>;

    /// A guild's rules; the defaults if none were set.
    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError>;

    /// Sets a guild's rules. After it returns, they apply to every event that is recorded and every
    /// score that is read. MUST also replace stored rules that are invalid (`InvalidData`).
    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError>;

    /// The totals of everything in the repository.
    async fn counts(&self) -> Result<ActivityCounts, RepositoryError>;
}

/// The port is object-safe: callers hold an `Arc<dyn ActivityRepository>`.
const _: Option<&dyn ActivityRepository> = None;
