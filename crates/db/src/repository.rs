//! The port, on SQLite: writes go to the writer's queue, reads to the pool.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, Clock, EventOutcome,
    GuildId, GuildRules, LeaderboardLimit, MAX_EVENTS_PER_CALL, MemberKey, MessageEntry, Period,
    Rank, RepositoryError, RepositoryErrorKind, ScoreDelta, ScoreEntry, UnixSeconds,
    check_clock_skew,
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
    write: Option<WriteHandle>,
    readers: Arc<ReaderPool>,
}

/// The writer, and which times it is given.
#[derive(Debug, Clone)]
pub(crate) struct WriteHandle {
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_clock_skew: Option<Duration>,
}

impl WriteHandle {
    /// Checks times before they are queued: a request that failed within a transaction would cost the
    /// others in it a second one. Reading the clock takes some 25 ns.
    fn check_times(
        &self,
        times: impl IntoIterator<Item = UnixSeconds>,
    ) -> Result<(), RepositoryError> {
        let Some(max_skew) = self.max_clock_skew else {
            return Ok(());
        };
        let now = self.clock.now();
        times
            .into_iter()
            .try_for_each(|at| check_clock_skew(at, now, max_skew))
    }
}

impl SqliteActivityRepository {
    pub(crate) fn new(write: Option<WriteHandle>, readers: Arc<ReaderPool>) -> Self {
        Self { write, readers }
    }

    fn write(&self) -> Result<&WriteHandle, RepositoryError> {
        self.write.as_ref().ok_or_else(|| {
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
        let write = self.write()?;
        write.check_times([event.at])?;
        write
            .writer
            .submit(|reply| Work::Record { event, reply })
            .await
    }

    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        let write = self.write()?;
        write.check_times([event.at])?;
        write
            .writer
            .try_submit(|reply| Work::Record { event, reply })
            .await
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        let write = self.write()?;
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
        write.check_times(events.iter().map(|event| event.at))?;
        write
            .writer
            .submit(|reply| Work::RecordMany { events, reply })
            .await
    }

    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        let write = self.write()?;
        write.check_times([at])?;
        write
            .writer
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
        self.write()?
            .writer
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
