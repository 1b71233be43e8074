//! The port, on SQLite: writes go to the writer's queue, reads to the pool.

use std::sync::Arc;

use async_trait::async_trait;
use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, EventOutcome, GuildId,
    GuildRules, LeaderboardLimit, MAX_EVENTS_PER_CALL, MemberKey, MessageEntry, Period, Rank,
    RepositoryError, RepositoryErrorKind, ScoreDelta, ScoreEntry, UnixSeconds,
};

use crate::reader::ReaderPool;
use crate::sql;
use crate::writer::{Work, Writer};

/// [`ActivityRepository`] on a SQLite file. Made by [`crate::Database::repository`]; cheap to
/// clone. Its calls need a tokio runtime.
///
/// # Cancel safety
///
/// All methods are cancel safe. A write whose future is dropped was either put into the writer's
/// queue, and is then carried out once, or was not.
#[derive(Debug, Clone)]
pub struct SqliteActivityRepository {
    /// `None` where the database was opened for reading only.
    writer: Option<Writer>,
    readers: Arc<ReaderPool>,
}

impl SqliteActivityRepository {
    pub(crate) fn new(writer: Option<Writer>, readers: Arc<ReaderPool>) -> Self {
        Self { writer, readers }
    }

    fn writer(&self) -> Result<&Writer, RepositoryError> {
        self.writer.as_ref().ok_or_else(|| {
            RepositoryError::new(
                RepositoryErrorKind::ReadOnly,
                "the database was opened for reading only",
            )
        })
    }
}

#[async_trait]
impl ActivityRepository for SqliteActivityRepository {
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.writer()?
            .submit(|reply| Work::Record { event, reply })
            .await
    }

    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.writer()?
            .try_submit(|reply| Work::Record { event, reply })
            .await
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        let writer = self.writer()?;
        if events.len() > MAX_EVENTS_PER_CALL {
            return Err(RepositoryError::new(
                RepositoryErrorKind::InvalidRequest,
                format!(
                    "{} events in one call are too many: at most {MAX_EVENTS_PER_CALL} are taken",
                    events.len()
                ),
            ));
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        writer
            .submit(|reply| Work::RecordMany { events, reply })
            .await
    }

    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        self.writer()?
            .submit(|reply| Work::Adjust {
                member,
                delta,
                at,
                reply,
            })
            .await
    }

    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError> {
        self.readers
            .read_short("find the member", move |db| sql::find_member(db, member))
            .await
    }

    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError> {
        self.readers
            .read("count the member's messages", move |db| {
                sql::messages_in(db, member, period)
            })
            .await
    }

    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError> {
        self.readers
            .read_short("rank the guild by score", move |db| {
                sql::top_scores(db, guild, at, limit.get())
            })
            .await
    }

    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError> {
        self.readers
            .read("rank the guild by messages", move |db| {
                sql::top_messages(db, guild, period, limit.get())
            })
            .await
    }

    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError> {
        self.readers
            .read("rank the member", move |db| sql::score_rank(db, member, at))
            .await
    }

    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        self.readers
            .read_short("read the guild's rules", move |db| {
                sql::find_rules(db, guild)
            })
            .await
    }

    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        let rules = Box::new(rules);
        self.writer()?
            .submit(|reply| Work::SetRules {
                guild,
                rules,
                reply,
            })
            .await
    }

    async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        self.readers.read("count the members", sql::counts).await
    }
}
