//! What the scenarios share: inputs, a notebook for an observer, and an unsteady repository.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use roas_app::gateway::LineError;
use roas_app::ingest::{IngestObserver, IngestOptions};
use roas_app::service::ActivityMeterService;
use roas_domain::testing::fixtures::{MIDNIGHT, at};
use roas_domain::testing::{ManualClock, MemoryRepository};
use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, EventId, EventOutcome,
    GuildId, GuildRules, LeaderboardLimit, MAX_EVENTS_PER_CALL, MemberKey, MessageEntry, Period,
    Rank, RepositoryError, RepositoryErrorKind, ScoreDelta, ScoreEntry, UnixSeconds,
};

/// A payload with a message of guild 1, without a line end.
pub(crate) fn line(id: u64, user: u64, seconds: i64) -> String {
    line_in(1, id, user, seconds)
}

/// A payload with a message `seconds` after [`MIDNIGHT`], without a line end.
pub(crate) fn line_in(guild: u64, id: u64, user: u64, seconds: i64) -> String {
    let time = at(MIDNIGHT + seconds);
    format!(
        r#"{{"op":0,"t":"MESSAGE_CREATE","d":{{"id":"{id}","guild_id":"{guild}","author":{{"id":"{user}"}},"timestamp":"{time}"}}}}"#
    )
}

pub(crate) fn options(in_flight: usize) -> IngestOptions {
    IngestOptions {
        in_flight: NonZeroUsize::new(in_flight).expect("at least one event"),
        stop: None,
    }
}

/// A service over `repository`, and the repository.
pub(crate) fn service<R: ActivityRepository + 'static>(
    repository: R,
) -> (ActivityMeterService, Arc<R>) {
    let repository = Arc::new(repository);
    let clock = Arc::new(ManualClock::new(at(MIDNIGHT)));
    (
        ActivityMeterService::new(repository.clone(), clock),
        repository,
    )
}

/// Writes down all that an observer receives.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Notes {
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) rejected: Vec<(u64, LineError)>,
    pub(crate) refused: Vec<(u64, RepositoryErrorKind)>,
    pub(crate) progress: Vec<(u64, u64)>,
}

impl IngestObserver for Notes {
    fn rejected(&mut self, line: u64, reason: &LineError) {
        self.rejected.push((line, reason.clone()));
    }

    fn refused(&mut self, line: u64, reason: &RepositoryError) {
        self.refused.push((line, reason.kind()));
    }

    fn progress(&mut self, bytes: u64, lines: u64) {
        self.progress.push((bytes, lines));
    }

    fn acknowledged(&mut self, id: EventId) -> io::Result<()> {
        self.acknowledged.push(id.get());
        Ok(())
    }
}

/// The in-memory repository behind calls that take their time: each is applied after a random
/// number of turns and answered after some more, so that calls overtake each other. It fails the
/// test where a member has two calls outstanding, or more events are than allowed.
#[derive(Debug)]
pub(crate) struct Unsteady {
    inner: MemoryRepository,
    state: Mutex<State>,
    in_flight: usize,
    failing: Option<Failing>,
}

/// Every call with the event `id` fails with `kind`; where that leaves the effect unknown, its
/// events are recorded all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    pub(crate) id: u64,
    pub(crate) kind: RepositoryErrorKind,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    members: HashSet<MemberKey>,
    ids: HashSet<EventId>,
    outstanding: usize,
    most_outstanding: usize,
}

impl Unsteady {
    pub(crate) fn new(seed: u64, in_flight: usize, failing: Option<Failing>) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            members: HashSet::new(),
            ids: HashSet::new(),
            outstanding: 0,
            most_outstanding: 0,
        };
        Self {
            inner: MemoryRepository::new(),
            state: Mutex::new(state),
            in_flight,
            failing,
        }
    }

    pub(crate) fn inner(&self) -> &MemoryRepository {
        &self.inner
    }

    pub(crate) fn most_outstanding(&self) -> usize {
        self.state().most_outstanding
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a failed test ends here")
    }

    fn begin(&self, events: &[ActivityEvent]) {
        let mut state = self.state();
        assert!((1..=MAX_EVENTS_PER_CALL).contains(&events.len()));
        let member = events[0].member;
        assert!(
            events.iter().all(|event| event.member == member),
            "one member a call"
        );
        assert!(
            state.members.insert(member),
            "{member:?} has a call outstanding"
        );
        for id in events.iter().filter_map(|event| event.id) {
            assert!(state.ids.insert(id), "{id} is outstanding");
        }
        state.outstanding += events.len();
        state.most_outstanding = state.most_outstanding.max(state.outstanding);
        assert!(
            state.outstanding <= self.in_flight,
            "{} are outstanding",
            state.outstanding
        );
    }

    fn end(&self, events: &[ActivityEvent]) {
        let mut state = self.state();
        state.members.remove(&events[0].member);
        for id in events.iter().filter_map(|event| event.id) {
            state.ids.remove(&id);
        }
        state.outstanding -= events.len();
    }

    async fn take_time(&self) {
        let turns = self.state().random.u32(0..20);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    async fn apply(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        self.begin(&events);
        self.take_time().await;
        let failing = self.failing.filter(|failing| {
            events
                .iter()
                .any(|event| event.id.is_some_and(|id| id.get() == failing.id))
        });
        let result = match failing {
            None => self.inner.record_many(events.clone()).await,
            Some(Failing { kind, .. }) => {
                if kind == RepositoryErrorKind::OutcomeUnknown {
                    self.inner.record_many(events.clone()).await?;
                }
                Err(RepositoryError::new(kind, "told to fail"))
            }
        };
        self.take_time().await;
        self.end(&events);
        result
    }
}

#[async_trait]
impl ActivityRepository for Unsteady {
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        Ok(self.apply(vec![event]).await?[0])
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        self.apply(events).await
    }

    async fn try_record(&self, _: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        unreachable!("an ingest waits for room")
    }

    async fn adjust_score(
        &self,
        _: MemberKey,
        _: ScoreDelta,
        _: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        unreachable!("an ingest records events")
    }

    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError> {
        self.inner.find_member(member).await
    }

    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError> {
        self.inner.messages_in(member, period).await
    }

    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError> {
        self.inner.top_scores(guild, at, limit).await
    }

    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError> {
        self.inner.top_messages(guild, period, limit).await
    }

    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError> {
        self.inner.score_rank(member, at).await
    }

    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        self.inner.guild_rules(guild).await
    }

    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        self.inner.set_guild_rules(guild, rules).await
    }

    async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        self.inner.counts().await
    }
}
