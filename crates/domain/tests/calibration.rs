//! Calibrates the conformance suite: a repository with any of the faults below must fail it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use roas_domain::testing::fixtures::{MIDNIGHT, at};
use roas_domain::testing::{ManualClock, MemoryRepository, Operation, conformance, strategies};
use roas_domain::{
    ActivityCounts, ActivityEvent, ActivityRecord, ActivityRepository, DEFAULT_MAX_CLOCK_SKEW,
    EventId, EventOutcome, GuildId, GuildRules, GuildTimeZone, LeaderboardLimit,
    MAX_EVENTS_PER_CALL, MemberKey, MessageEntry, Period, Rank, RepositoryError, ScoreDelta,
    ScoreEntry, UnixSeconds,
};

/// A fault of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Every event counts, known id or not.
    ForgetsIds,
    /// An id counts once per member.
    RemembersIdsByMember,
    /// An id is looked up, and stored only after other tasks have run.
    RemembersIdsTooLate,
    /// A batch is recorded event by event, and other writes may come between them.
    SplitsBatches,
    /// A batch may have any size.
    AcceptsAnyBatch,
    /// Outcomes are in reverse order.
    ReversesOutcomes,
    /// An adjustment is written as read plus delta, and other writes may come between.
    LosesAdjustments,
    /// Leaderboards show stored scores, without decay.
    RanksByStoredScores,
    /// Ranks start at 0.
    RanksFromZero,
    /// Leaderboards leave out members at 0.
    HidesZeros,
    /// Days are in UTC.
    IgnoresTimeZones,
    /// A member known only by an adjustment is not counted.
    CountsWritersOnly,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    sound: MemoryRepository,
    seen: Mutex<HashSet<(Option<MemberKey>, EventId)>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            sound: MemoryRepository::new(),
            seen: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Whether this id is new, for `member` or for all.
    fn is_new(&self, member: Option<MemberKey>, event: &ActivityEvent) -> bool {
        event.id.is_none_or(|id| {
            !self
                .seen
                .lock()
                .expect("no panic under the lock")
                .contains(&(member, id))
        })
    }

    fn remember(&self, member: Option<MemberKey>, event: &ActivityEvent) {
        self.seen
            .lock()
            .expect("no panic under the lock")
            .extend(event.id.map(|id| (member, id)));
    }
}

/// Yields to the other tasks.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl ActivityRepository for Faulty {
    async fn record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        let anonymous = ActivityEvent { id: None, ..event };
        match self.fault {
            Fault::ForgetsIds => self.sound.record(anonymous).await,
            Fault::RemembersIdsByMember => {
                if !self.is_new(Some(event.member), &event) {
                    return Ok(EventOutcome::Duplicate);
                }
                self.remember(Some(event.member), &event);
                self.sound.record(anonymous).await
            }
            Fault::RemembersIdsTooLate => {
                if !self.is_new(None, &event) {
                    return Ok(EventOutcome::Duplicate);
                }
                pause().await;
                self.remember(None, &event);
                self.sound.record(anonymous).await
            }
            _ => self.sound.record(event).await,
        }
    }

    async fn try_record(&self, event: ActivityEvent) -> Result<EventOutcome, RepositoryError> {
        self.record(event).await
    }

    async fn record_many(
        &self,
        events: Vec<ActivityEvent>,
    ) -> Result<Vec<EventOutcome>, RepositoryError> {
        if events.len() > MAX_EVENTS_PER_CALL && !self.is(Fault::AcceptsAnyBatch) {
            return self.sound.record_many(events).await;
        }
        let mut outcomes = Vec::new();
        for event in events {
            outcomes.push(self.record(event).await?);
            if self.is(Fault::SplitsBatches) {
                pause().await;
            }
        }
        if self.is(Fault::ReversesOutcomes) {
            outcomes.reverse();
        }
        Ok(outcomes)
    }

    async fn adjust_score(
        &self,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
    ) -> Result<ActivityRecord, RepositoryError> {
        if !self.is(Fault::LosesAdjustments) {
            return self.sound.adjust_score(member, delta, at).await;
        }
        let score = |record: Option<ActivityRecord>| record.map_or(0.0, |found| found.score.get());
        let read = score(self.sound.find_member(member).await?);
        pause().await;
        let now = score(self.sound.find_member(member).await?);
        let overwritten =
            ScoreDelta::new((read + delta.get() - now).clamp(-1e9, 1e9)).expect("a delta in range");
        self.sound.adjust_score(member, overwritten, at).await
    }

    async fn find_member(
        &self,
        member: MemberKey,
    ) -> Result<Option<ActivityRecord>, RepositoryError> {
        self.sound.find_member(member).await
    }

    async fn messages_in(&self, member: MemberKey, period: Period) -> Result<u64, RepositoryError> {
        self.sound.messages_in(member, period).await
    }

    async fn top_scores(
        &self,
        guild: GuildId,
        at: UnixSeconds,
        limit: LeaderboardLimit,
    ) -> Result<Vec<ScoreEntry>, RepositoryError> {
        let at = if self.is(Fault::RanksByStoredScores) {
            UnixSeconds::MIN
        } else {
            at
        };
        let mut entries = self.sound.top_scores(guild, at, limit).await?;
        if self.is(Fault::HidesZeros) {
            entries.retain(|entry| entry.score.get() > 0.0);
        }
        Ok(entries)
    }

    async fn top_messages(
        &self,
        guild: GuildId,
        period: Period,
        limit: LeaderboardLimit,
    ) -> Result<Vec<MessageEntry>, RepositoryError> {
        self.sound.top_messages(guild, period, limit).await
    }

    async fn score_rank(
        &self,
        member: MemberKey,
        at: UnixSeconds,
    ) -> Result<Option<Rank>, RepositoryError> {
        let rank = self.sound.score_rank(member, at).await?;
        let first = u64::from(self.is(Fault::RanksFromZero));
        Ok(rank.map(|rank| Rank {
            position: rank.position - first,
            ..rank
        }))
    }

    async fn guild_rules(&self, guild: GuildId) -> Result<GuildRules, RepositoryError> {
        self.sound.guild_rules(guild).await
    }

    async fn set_guild_rules(
        &self,
        guild: GuildId,
        rules: GuildRules,
    ) -> Result<(), RepositoryError> {
        let rules = match self.fault {
            Fault::IgnoresTimeZones => GuildRules {
                time_zone: GuildTimeZone::default(),
                ..rules
            },
            _ => rules,
        };
        self.sound.set_guild_rules(guild, rules).await
    }

    async fn counts(&self) -> Result<ActivityCounts, RepositoryError> {
        let mut counts = self.sound.counts().await?;
        if self.is(Fault::CountsWritersOnly) {
            let model = self.sound.snapshot()?;
            let writers = model.records().filter(|record| record.messages > 0);
            counts.members = writers.count() as u64;
        }
        Ok(counts)
    }
}

/// Polls until the future completes. A task that yields can always continue at once.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("the future does not complete");
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

fn fails(fault: Fault, scenario: impl FnOnce(Arc<dyn ActivityRepository>) -> Running) -> bool {
    let scenario = AssertUnwindSafe(|| block_on(scenario(Arc::new(Faulty::new(fault)))));
    catch_unwind(scenario).is_err()
}

/// Names a scenario and the faults that it must find: it must fail with each fault, and pass
/// without one.
macro_rules! finds {
    ($($scenario:ident: $($fault:ident)+;)+) => {$(
        #[test]
        fn $scenario() {
            let failing = |fault| {
                fails(fault, |repository| Box::pin(conformance::$scenario(repository)))
            };
            $(assert!(failing(Fault::$fault), "{:?} was not found", Fault::$fault);)+
            assert!(!failing(Fault::None));
        }
    )+};
}

finds! {
    the_same_id_counts_once: ForgetsIds;
    the_same_id_counts_once_within_a_batch: ForgetsIds RemembersIdsByMember;
    the_same_id_counts_once_for_any_member_and_time: ForgetsIds RemembersIdsByMember;
    concurrent_events_of_one_id_count_once: ForgetsIds RemembersIdsByMember RemembersIdsTooLate;
    concurrent_batches_are_not_mixed: SplitsBatches;
    concurrent_adjustments_all_add_up: LosesAdjustments;
    a_batch_that_is_too_large_is_refused_and_changes_nothing: AcceptsAnyBatch;
    a_batch_returns_outcomes_in_order: ReversesOutcomes;
    a_leaderboard_ranks_by_the_score_at_the_time_asked_for: RanksByStoredScores;
    every_rank_agrees_with_the_leaderboard: RanksByStoredScores RanksFromZero HidesZeros;
    members_at_zero_are_ranked: RanksFromZero HidesZeros;
    messages_count_for_the_day_in_the_guilds_time_zone: IgnoresTimeZones;
    days_follow_daylight_saving_time: IgnoresTimeZones;
    a_month_is_the_sum_of_its_days: IgnoresTimeZones;
    a_new_time_zone_holds_for_later_messages_only: IgnoresTimeZones;
    rules_are_read_back_as_they_were_set: IgnoresTimeZones;
    counts_cover_all_guilds: CountsWritersOnly;
}

/// A limit that is ignored, one that is too wide, and a batch of which only the first half is
/// recorded.
#[test]
fn times_too_far_ahead_are_refused() {
    let clock = || ManualClock::new(at(MIDNIGHT));
    let limited = |limit| MemoryRepository::new().with_clock(Arc::new(clock()), limit);
    let failing = |repository: Arc<dyn ActivityRepository>, clock| {
        let scenario = conformance::times_too_far_ahead_are_refused(repository, clock);
        catch_unwind(AssertUnwindSafe(|| block_on(scenario))).is_err()
    };
    let splits_batches = Faulty {
        sound: limited(DEFAULT_MAX_CLOCK_SKEW),
        ..Faulty::new(Fault::None)
    };
    assert!(failing(Arc::new(MemoryRepository::new()), clock()));
    let too_wide = limited(DEFAULT_MAX_CLOCK_SKEW + Duration::from_secs(1));
    assert!(failing(Arc::new(too_wide), clock()));
    assert!(failing(Arc::new(splits_batches), clock()));
}

/// Whether 100 cases of a property find the fault.
fn property_fails<S>(
    fault: Fault,
    strategy: &S,
    property: impl Fn(Arc<dyn ActivityRepository>, S::Value) -> Running,
) -> bool
where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        cases: 100,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(strategy, |value| {
        block_on(property(Arc::new(Faulty::new(fault)), value));
        Ok(())
    });
    outcome.is_err()
}

#[test]
fn agreement_with_the_model_finds_what_one_caller_can_see() {
    let failing = |fault| {
        property_fails(
            fault,
            &strategies::operations(),
            |repository, operations| {
                Box::pin(conformance::agrees_with_the_model(repository, operations))
            },
        )
    };
    assert!(!failing(Fault::None));
    for fault in [
        Fault::ForgetsIds,
        Fault::RemembersIdsByMember,
        Fault::ReversesOutcomes,
        Fault::RanksByStoredScores,
        Fault::RanksFromZero,
        Fault::HidesZeros,
        Fault::IgnoresTimeZones,
        Fault::CountsWritersOnly,
    ] {
        assert!(failing(fault), "{fault:?} was not found");
    }
}

#[test]
fn lanes_find_what_one_caller_can_see_too() {
    let failing = |fault| {
        property_fails(
            fault,
            &strategies::lanes(),
            |repository, lanes: Vec<Vec<Operation>>| {
                Box::pin(conformance::lanes_end_as_the_model(repository, lanes))
            },
        )
    };
    assert!(!failing(Fault::None));
    for fault in [
        Fault::ForgetsIds,
        Fault::ReversesOutcomes,
        Fault::IgnoresTimeZones,
    ] {
        assert!(failing(fault), "{fault:?} was not found");
    }
}
