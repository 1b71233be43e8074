//! The activity meter as the rest of a bot sees it.

use std::sync::Arc;

use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, Clock, Day, EventOutcome,
    GuildId, GuildRules, LeaderboardLimit, MemberKey, MessageEntry, Period, Rank, RepositoryError,
    Score, ScoreDelta, ScoreEntry, UnixSeconds,
};

/// Records members' messages and answers questions about their activity, over any
/// [`ActivityRepository`].
///
/// Cheap to clone; clones share one repository and one clock. Cancelling a call is as safe as the
/// port says: a write is then applied once, whole, or not at all, and a read has no effect. Every
/// error is the repository's own; nothing is retried here.
#[derive(Debug, Clone)]
pub struct ActivityMeterService {
    repository: Arc<dyn ActivityRepository>,
    clock: Arc<dyn Clock>,
}

/// What is to be known of one member at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberView {
    /// What is stored of the member; the score in it is that of its last change.
    pub record: ActivityRecord,
    /// The time that the rest is told for.
    pub at: UnixSeconds,
    /// The score, decayed to [`Self::at`] under the guild's rules.
    pub score: Score,
    /// Messages on [`Self::today`].
    pub messages_today: u64,
    /// Messages in the month of [`Self::today`].
    pub messages_this_month: u64,
    /// The calendar day of [`Self::at`] in the guild's time zone.
    pub today: Day,
    /// The member's place in the guild by score at [`Self::at`].
    pub rank: Rank,
}

/// What a leaderboard ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ranking {
    /// The score, decayed to the time asked for.
    Score,
    /// Messages on the day of that time, in the guild's time zone.
    Day,
    /// Messages in the month of that time, in the guild's time zone.
    Month,
}

/// A guild's leaderboard at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaderboard {
    /// The time that it is told for.
    pub at: UnixSeconds,
    /// The places, the first one first; none where nobody qualifies.
    pub places: Places,
}

/// A leaderboard's places, by what it ranks by.
#[derive(Debug, Clone, PartialEq)]
pub enum Places {
    /// By score.
    Scores(Vec<ScoreEntry>),
    /// By messages.
    Messages {
        /// The period they were counted in.
        period: Period,
        /// The places.
        entries: Vec<MessageEntry>,
    },
}

impl ActivityMeterService {
    /// A service over `repository` that takes "now" from `clock`.
    #[must_use]
    pub fn new(repository: Arc<dyn ActivityRepository>, clock: Arc<dyn Clock>) -> Self {
        Self { repository, clock }
    }

    /// Records one event, and waits for room where the repository's queue is full. The answer
    /// comes once the event is as durable as the repository promises.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.repository.record(event).await
    }

    /// Records one event as [`Self::record`] does, but does not wait for room.
    ///
    /// # Errors
    ///
    /// The repository's; `Overloaded` where its queue is full.
    pub async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.repository.try_record(event).await
    }

    /// Records events in the given order, all of them or, on an error, none, and answers one
    /// outcome for each.
    ///
    /// # Errors
    ///
    /// The repository's; `InvalidRequest` for more than [`roas_domain::MAX_EVENTS_PER_CALL`]
    /// events.
    pub async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        self.repository.record_many(events).await
    }

    /// Moves a member's score by `delta`, and answers the record as it then is. A member not yet
    /// known is inserted.
    ///
    /// # Errors
    ///
    /// The repository's. After `OutcomeUnknown`, look at the member before trying again: an
    /// adjustment has no id that would make it count only once.
    pub async fn adjust(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        self.repository.adjust_score(member, delta, at).await
    }

    /// What is to be known of a member at `at`, or now; `None` where nothing is stored of them.
    ///
    /// The parts are read one by one: while messages come in, one part may show a message that
    /// another does not show yet.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn member(
        &self,
        member: MemberKey,
        at: Option<UnixSeconds>,
    ) -> Result<Option<MemberView>, RepositoryError> {
        let at = self.at(at);
        let (record, rules) = tokio::try_join!(
            self.repository.find_member(member),
            self.repository.guild_rules(member.guild),
        )?;
        let Some(record) = record else {
            return Ok(None);
        };
        let today = rules.time_zone.day_of(at);
        let (messages_today, messages_this_month, rank) = tokio::try_join!(
            self.repository.messages_in(member, Period::Day(today)),
            self.repository
                .messages_in(member, Period::Month(today.month())),
            self.repository.score_rank(member, at),
        )?;
        // Without a rank the member is gone again since the first read.
        Ok(rank.map(|rank| MemberView {
            record,
            at,
            score: rules
                .score
                .decayed(record.score, record.last_message_at, at),
            messages_today,
            messages_this_month,
            today,
            rank,
        }))
    }

    /// A guild's leaderboard at `at`, or now.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn leaderboard(
        &self,
        guild: GuildId,
        by: Ranking,
        at: Option<UnixSeconds>,
        limit: LeaderboardLimit,
    ) -> Result<Leaderboard, RepositoryError> {
        let at = self.at(at);
        let period = match by {
            Ranking::Score => {
                let scores = self.repository.top_scores(guild, at, limit).await?;
                return Ok(Leaderboard {
                    at,
                    places: Places::Scores(scores),
                });
            }
            Ranking::Day => Period::Day(self.day(guild, at).await?),
            Ranking::Month => Period::Month(self.day(guild, at).await?.month()),
        };
        let entries = self.repository.top_messages(guild, period, limit).await?;
        Ok(Leaderboard {
            at,
            places: Places::Messages { period, entries },
        })
    }

    /// A guild's rules; the defaults where none were set.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        self.repository.guild_rules(guild).await
    }

    /// Sets a guild's rules, for every event recorded after the return.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn set_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        self.repository.set_guild_rules(guild, rules).await
    }

    /// How much the meter holds.
    ///
    /// # Errors
    ///
    /// The repository's.
    pub async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        self.repository.counts().await
    }

    fn at(&self, at: Option<UnixSeconds>) -> UnixSeconds {
        at.unwrap_or_else(|| self.clock.now())
    }

    async fn day(&self, guild: GuildId, at: UnixSeconds) -> Result<Day, RepositoryError> {
        Ok(self
            .repository
            .guild_rules(guild)
            .await?
            .time_zone
            .day_of(at))
    }
}
