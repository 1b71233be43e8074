//! The port in memory: a model of what a store must return, and a repository around it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use crate::error::{RepositoryError, RepositoryErrorKind};
use crate::id::{EventId, GuildId, UserId};
use crate::query::{ActivityCounts, LeaderboardLimit, MessageEntry, Period, Rank, ScoreEntry};
use crate::repository::{ActivityRepository, MAX_EVENTS_PER_CALL, check_clock_skew};
use crate::score::{GuildRules, Score, ScoreDelta};
use crate::time::{Clock, Day, UnixSeconds};

/// The sequential model of the port: what any implementation must return if it is called
/// sequentially. It is written for clarity, not speed, and never forgets event ids.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    records: BTreeMap<MemberKey, ActivityRecord>,
    messages: BTreeMap<(MemberKey, Day), u64>,
    rules: BTreeMap<GuildId, GuildRules>,
    events: HashSet<EventId>,
}

impl Model {
    /// Creates an empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one event; [`ActivityRepository::record`].
    pub fn record(&mut self, event: &ActivityEvent) -> EventOutcome {
        if event.id.is_some_and(|id| !self.events.insert(id)) {
            return EventOutcome::Duplicate;
        }
        let rules = self.guild_rules(event.member.guild);
        let before = self.find_member(event.member);
        let (after, outcome) = ActivityRecord::after_event(before, event, &rules.score);
        self.records.insert(event.member, after);
        *self
            .messages
            .entry((event.member, rules.time_zone.day_of(event.at)))
            .or_default() += 1;
        outcome
    }

    /// Records events in order; [`ActivityRepository::record_many`].
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for more than [`MAX_EVENTS_PER_CALL`] events; then nothing is changed.
    pub fn record_many(
        &mut self,
        events: &[ActivityEvent],
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        if events.len() > MAX_EVENTS_PER_CALL {
            let message = format!(
                "{} events are too many for one call: at most {MAX_EVENTS_PER_CALL}",
                events.len()
            );
            return Err(RepositoryError::new(
                RepositoryErrorKind::InvalidRequest,
                message,
            ));
        }
        Ok(events.iter().map(|event| self.record(event)).collect())
    }

    /// Changes a member's score; [`ActivityRepository::adjust_score`].
    pub fn adjust_score(
        &mut self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> ActivityRecord {
        let rules = self.guild_rules(member.guild).score;
        let before = self.find_member(member);
        let after = ActivityRecord::after_adjustment(before, member, delta, at, &rules);
        self.records.insert(member, after);
        after
    }

    /// Sets a guild's rules; [`ActivityRepository::set_guild_rules`].
    pub fn set_guild_rules(&mut self, guild: GuildId, rules: GuildRules) {
        self.rules.insert(guild, rules);
    }

    /// A member's record; [`ActivityRepository::find_member`].
    #[must_use]
    pub fn find_member(&self, member: MemberKey) -> Option<ActivityRecord> {
        self.records.get(&member).copied()
    }

    /// Every member's record, ordered by guild and user.
    pub fn records(&self) -> impl Iterator<Item = &ActivityRecord> {
        self.records.values()
    }

    /// How many messages each member wrote on each day, ordered by guild, user and day. No count is
    /// 0.
    pub fn day_counts(&self) -> impl Iterator<Item = (MemberKey, Day, u64)> {
        self.messages
            .iter()
            .map(|(&(member, day), &messages)| (member, day, messages))
    }

    /// A member's messages in a period; [`ActivityRepository::messages_in`].
    #[must_use]
    pub fn messages_in(&self, member: MemberKey, period: Period) -> u64 {
        self.day_counts()
            .filter(|&(other, day, _)| other == member && holds(period, day))
            .map(|(_, _, messages)| messages)
            .sum()
    }

    /// A guild's leaderboard by score; [`ActivityRepository::top_scores`].
    #[must_use]
    pub fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Vec<ScoreEntry> {
        let mut entries = self.ranking(guild, at);
        entries.truncate(limit.get().into());
        entries
    }

    /// A guild's leaderboard by messages; [`ActivityRepository::top_messages`].
    #[must_use]
    pub fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Vec<MessageEntry> {
        let mut totals: BTreeMap<UserId, u64> = BTreeMap::new();
        for (member, day, messages) in self.day_counts() {
            if member.guild == guild && holds(period, day) {
                *totals.entry(member.user).or_default() += messages;
            }
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        // The sort is stable, and the map is ordered by user id.
        totals.sort_by_key(|&(_, messages)| std::cmp::Reverse(messages));
        let places = (1..).zip(totals).take(limit.get().into());
        places
            .map(|(rank, (user, messages))| MessageEntry {
                rank,
                user,
                messages,
            })
            .collect()
    }

    /// A member's rank in the guild; [`ActivityRepository::score_rank`].
    #[must_use]
    pub fn score_rank(&self, member: MemberKey, at: UnixSeconds) -> Option<Rank> {
        let ranking = self.ranking(member.guild, at);
        let place = ranking.iter().find(|entry| entry.user == member.user)?;
        let members = (1..).zip(&ranking).map(|(count, _)| count).last()?;
        Some(Rank {
            position: place.rank,
            members,
        })
    }

    /// A guild's rules; [`ActivityRepository::guild_rules`].
    #[must_use]
    pub fn guild_rules(&self, guild: GuildId) -> GuildRules {
        self.rules.get(&guild).cloned().unwrap_or_default()
    }

    /// The totals; [`ActivityRepository::counts`].
    #[must_use]
    pub fn counts(&self) -> ActivityCounts {
        let guilds: BTreeSet<_> = self.records.keys().map(|member| member.guild).collect();
        ActivityCounts {
            members: self.records.len() as u64,
            guilds: guilds.len() as u64,
            messages: self.records.values().map(|record| record.messages).sum(),
        }
    }

    /// All members of a guild in the order of its leaderboard at `at`.
    fn ranking(&self, guild: GuildId, at: UnixSeconds) -> Vec<ScoreEntry> {
        let rules = self.guild_rules(guild).score;
        let decayed = |record: &ActivityRecord| -> Score {
            rules.decayed(record.score, record.last_message_at, at)
        };
        let mut members: Vec<_> = self
            .records
            .values()
            .filter(|record| record.member.guild == guild)
            .collect();
        members.sort_by(|a, b| {
            decayed(b)
                .cmp(&decayed(a))
                .then(a.member.user.cmp(&b.member.user))
        });
        let places = (1..).zip(members);
        places
            .map(|(rank, record)| ScoreEntry {
                rank,
                user: record.member.user,
                score: decayed(record),
                last_message_at: record.last_message_at,
            })
            .collect()
    }
}

fn holds(period: Period, day: Day) -> bool {
    match period {
        Period::Day(wanted) => day == wanted,
        Period::Month(wanted) => day.month() == wanted,
    }
}

/// A repository that keeps everything in memory: the [`Model`] behind a lock.
///
/// It is linearizable, never waits, and fails only for batches that are too large and, if it [has a
/// clock](Self::with_clock), for times too far ahead. Nothing is persisted.
#[derive(Debug, Default)]
pub struct MemoryRepository {
    model: Mutex<Model>,
    clock: Option<(Arc<dyn Clock>, Duration)>,
}

impl MemoryRepository {
    /// Creates an empty repository that accepts any time.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this repository refuse times more than `max_skew` ahead of `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>, max_skew: Duration) -> Self {
        Self {
            clock: Some((clock, max_skew)),
            ..self
        }
    }

    fn check_time(&self, at: UnixSeconds) -> Result<(), RepositoryError> {
        match &self.clock {
            Some((clock, max_skew)) => check_clock_skew(at, clock.now(), *max_skew),
            None => Ok(()),
        }
    }

    /// A copy of the current state.
    ///
    /// # Errors
    ///
    /// `Internal` after a panic in an earlier call.
    pub fn snapshot(&self) -> Result<Model, RepositoryError> {
        self.model().map(|model| model.clone())
    }

    /// A panic during a write may have left half of it behind, so later calls fail.
    fn model(&self) -> Result<MutexGuard<'_, Model>, RepositoryError> {
        self.model.lock().map_err(|_| {
            RepositoryError::new(RepositoryErrorKind::Internal, "an earlier call panicked")
        })
    }
}

impl From<Model> for MemoryRepository {
    fn from(model: Model) -> Self {
        Self {
            model: Mutex::new(model),
            clock: None,
        }
    }
}

#[async_trait]
impl ActivityRepository for MemoryRepository {
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.check_time(event.at)?;
        Ok(self.model()?.record(&event))
    }

    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.check_time(event.at)?;
        Ok(self.model()?.record(&event))
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        events
            .iter()
            .try_for_each(|event| self.check_time(event.at))?;
        self.model()?.record_many(&events)
    }

    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        self.check_time(at)?;
        Ok(self.model()?.adjust_score(member, delta, at))
    }

    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError> {
        Ok(self.model()?.find_member(member))
    }

    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError> {
        Ok(self.model()?.messages_in(member, period))
    }

    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError> {
        Ok(self.model()?.top_scores(guild, at, limit))
    }

    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError> {
        Ok(self.model()?.top_messages(guild, period, limit))
    }

    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError> {
        Ok(self.model()?.score_rank(member, at))
    }

    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        Ok(self.model()?.guild_rules(guild))
    }

    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        self.model()?.set_guild_rules(guild, rules);
        Ok(())
    }

    async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        Ok(self.model()?.counts())
    }
}
