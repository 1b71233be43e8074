//! Proptest strategies for the input of a repository.
//!
//! Ids come from small sets, so that some members are hot and event ids repeat. Times come in
//! clusters, so that events are at the same time, within a cooldown, hours apart, and out of order.
//! All times lie within [`SPAN_SECONDS`] after [`START`], except the domain's own bounds, which are
//! drawn too.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

use crate::activity::{ActivityEvent, MemberKey};
use crate::id::{EventId, GuildId, UserId};
use crate::score::{GuildRules, MAX_SCORE_LIMIT, ScoreDelta, ScoreRules};
use crate::testing::{Operation, fixtures};
use crate::time::{GuildTimeZone, UnixSeconds};

/// 2025-03-30T00:00:00Z, an hour before Europe's clocks go forward, and two days before the end of
/// a month: the day, the month and daylight saving time all change within [`SPAN_SECONDS`] after
/// it.
pub const START: i64 = 1_743_292_800;

/// The span of the times after [`START`], in seconds: three days.
pub const SPAN_SECONDS: i64 = 3 * 86_400;

/// The time zones of the guilds: without daylight saving time, with it on [`START`]'s day (Berlin),
/// with it in the south and by half an hour (Lord Howe), and west of UTC.
pub const TIME_ZONES: [&str; 5] = [
    "UTC",
    "Asia/Taipei",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/New_York",
];

/// The ids from which operations are drawn.
#[derive(Debug, Clone)]
struct Keys {
    guilds: Vec<u64>,
    /// The guilds whose rules are set.
    ruled: Vec<u64>,
    users: RangeInclusive<u64>,
    events: RangeInclusive<u64>,
}

impl Keys {
    /// Three guilds of five users, and fewer event ids than a run has events.
    fn of_one_caller() -> Self {
        Self {
            guilds: vec![1, 2, 3],
            ruled: vec![1, 2, 3],
            users: 1..=5,
            events: 1..=25,
        }
    }

    /// Users, event ids and one guild of the lane's own, and two guilds that all lanes share and
    /// whose rules are never set.
    fn of_lane(lane: u64) -> Self {
        let own_guild = 100 + lane;
        Self {
            guilds: vec![1, 2, own_guild],
            ruled: vec![own_guild],
            users: lane * 100 + 1..=lane * 100 + 3,
            events: lane * 1_000 + 1..=lane * 1_000 + 15,
        }
    }

    fn member(&self) -> impl Strategy<Value = MemberKey> + use<> {
        let hot = Just((self.guilds[0], *self.users.start()));
        let any = (select(self.guilds.clone()), self.users.clone());
        prop_oneof![1 => hot, 2 => any].prop_map(|(guild, user)| fixtures::member(guild, user))
    }

    fn event(&self) -> impl Strategy<Value = ActivityEvent> + use<> {
        let id = weighted(0.6, self.events.clone().prop_map(fixtures::event_id));
        (id, self.member(), time()).prop_map(|(id, member, at)| ActivityEvent { id, member, at })
    }

    fn operation(&self) -> impl Strategy<Value = Operation> + use<> {
        let adjust = (self.member(), score_delta(), time())
            .prop_map(|(member, delta, at)| Operation::Adjust { member, delta, at });
        let set_rules = (select(self.ruled.clone()), guild_rules()).prop_map(|(id, rules)| {
            Operation::SetRules {
                guild: fixtures::guild(id),
                rules,
            }
        });
        prop_oneof![
            8 => self.event().prop_map(Operation::Record),
            3 => vec(self.event(), 0..8).prop_map(Operation::RecordMany),
            2 => adjust,
            1 => set_rules,
        ]
    }
}

/// One of three guilds.
pub fn guild_id() -> impl Strategy<Value = GuildId> {
    select(Keys::of_one_caller().guilds).prop_map(fixtures::guild)
}

/// One of five users.
pub fn user_id() -> impl Strategy<Value = UserId> {
    Keys::of_one_caller().users.prop_map(fixtures::user)
}

/// One of five users in one of three guilds; a third of the time always the same member.
pub fn member() -> impl Strategy<Value = MemberKey> {
    Keys::of_one_caller().member()
}

/// An event's id, from so few that they repeat.
pub fn event_id() -> impl Strategy<Value = EventId> {
    Keys::of_one_caller().events.prop_map(fixtures::event_id)
}

/// A time: often one of a few, often within a cooldown or a grace of another, sometimes hours or
/// days away, and rarely a bound of the domain.
pub fn time() -> impl Strategy<Value = UnixSeconds> {
    let seconds = prop_oneof![
        6 => select(vec![0, 59, 60, 300, 360]).prop_map(|after| START + after),
        6 => (0..400_i64).prop_map(|after| START + after),
        3 => (0..72_i64, 0..120_i64).prop_map(|(hours, after)| START + hours * 3_600 + after),
        2 => (0..SPAN_SECONDS).prop_map(|after| START + after),
    ];
    // Rare, because after the last time every other message of the member is late.
    prop_oneof![
        120 => seconds.prop_map(fixtures::at),
        1 => Just(UnixSeconds::MIN),
        1 => Just(UnixSeconds::MAX),
    ]
}

/// An event by any member, three in five with an id.
pub fn event() -> impl Strategy<Value = ActivityEvent> {
    Keys::of_one_caller().event()
}

/// A change of a score: usually small, sometimes 0 or as large as possible.
pub fn score_delta() -> impl Strategy<Value = ScoreDelta> {
    prop_oneof![
        8 => -20.0..20.0_f64,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(MAX_SCORE_LIMIT),
        1 => Just(-MAX_SCORE_LIMIT),
    ]
    .prop_map(fixtures::delta)
}

/// Score rules: often the defaults, often zero where zero is legal, and also gains above the
/// maximum.
pub fn score_rules() -> impl Strategy<Value = ScoreRules> {
    let max = prop_oneof![3 => Just(100.0), 2 => 0.5..20.0_f64, 1 => Just(MAX_SCORE_LIMIT)];
    let gain = prop_oneof![3 => Just(1.0), 1 => Just(0.0), 2 => 0.0..10.0_f64, 1 => Just(150.0)];
    let cooldown = prop_oneof![3 => Just(60), 1 => Just(0), 2 => 0..7_200_i64];
    let grace = prop_oneof![3 => Just(300), 1 => Just(0), 2 => 0..7_200_i64];
    let decay = prop_oneof![3 => Just(6.0), 1 => Just(0.0), 2 => 0.0..1_000.0_f64];
    (max, gain, cooldown, grace, decay).prop_map(legal_rules)
}

/// The ranges of [`score_rules`] lie within those of the rules.
fn legal_rules((max, gain, cooldown, grace, decay): (f64, f64, i64, i64, f64)) -> ScoreRules {
    ScoreRules::default()
        .with_max_score(max)
        .and_then(|rules| rules.with_gain_per_message(gain))
        .and_then(|rules| rules.with_cooldown_seconds(cooldown))
        .and_then(|rules| rules.with_decay_after_seconds(grace))
        .and_then(|rules| rules.with_decay_per_hour(decay))
        .expect("the drawn rules are legal")
}

/// One of [`TIME_ZONES`].
pub fn time_zone() -> impl Strategy<Value = GuildTimeZone> {
    select(TIME_ZONES.to_vec()).prop_map(fixtures::zone)
}

/// A guild's rules.
pub fn guild_rules() -> impl Strategy<Value = GuildRules> {
    (score_rules(), time_zone()).prop_map(|(score, time_zone)| GuildRules { score, time_zone })
}

/// One write.
pub fn operation() -> impl Strategy<Value = Operation> {
    Keys::of_one_caller().operation()
}

/// Up to 60 writes for one caller.
pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..60)
}

/// Writes for several concurrent callers: two to six lanes of up to 30.
///
/// Lanes share two guilds and nothing else: users and event ids belong to one lane each, and rules
/// are set only for a guild to which no other lane writes. So what each lane's operations return,
/// and its final state, do not depend on the interleaving.
pub fn lanes() -> impl Strategy<Value = Vec<Vec<Operation>>> {
    (2..=6_u64).prop_flat_map(|lanes| (1..=lanes).map(lane).collect::<Vec<_>>())
}

/// Boxed, because the type would otherwise contain the strategy of every lane.
fn lane(lane: u64) -> BoxedStrategy<Vec<Operation>> {
    vec(Keys::of_lane(lane).operation(), 1..30).boxed()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashSet};

    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn drawn<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        (0..count)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect()
    }

    fn users(lane: &[Operation]) -> BTreeSet<UserId> {
        let written = lane
            .iter()
            .flat_map(Operation::events)
            .map(|event| event.member.user);
        let adjusted = lane.iter().filter_map(|operation| match operation {
            Operation::Adjust { member, .. } => Some(member.user),
            _ => None,
        });
        written.chain(adjusted).collect()
    }

    fn event_ids(lane: &[Operation]) -> BTreeSet<EventId> {
        lane.iter()
            .flat_map(Operation::events)
            .filter_map(|event| event.id)
            .collect()
    }

    fn guilds(lane: &[Operation]) -> BTreeSet<GuildId> {
        let written = lane
            .iter()
            .flat_map(Operation::events)
            .map(|event| event.member.guild);
        let others = lane.iter().filter_map(|operation| match operation {
            Operation::Adjust { member, .. } => Some(member.guild),
            Operation::SetRules { guild, .. } => Some(*guild),
            _ => None,
        });
        written.chain(others).collect()
    }

    fn ruled(lane: &[Operation]) -> BTreeSet<GuildId> {
        let rules = lane.iter().filter_map(|operation| match operation {
            Operation::SetRules { guild, .. } => Some(*guild),
            _ => None,
        });
        rules.collect()
    }

    #[test]
    fn lanes_share_no_user_no_event_id_and_no_guild_whose_rules_are_set() {
        let mut met = false;
        for lanes in drawn(&lanes(), 100) {
            for (index, one) in lanes.iter().enumerate() {
                for other in &lanes[index + 1..] {
                    assert!(users(one).is_disjoint(&users(other)));
                    assert!(event_ids(one).is_disjoint(&event_ids(other)));
                    assert!(ruled(one).is_disjoint(&guilds(other)));
                    assert!(guilds(one).is_disjoint(&ruled(other)));
                    met |= !guilds(one).is_disjoint(&guilds(other));
                }
            }
        }
        assert!(met, "lanes that never meet in a guild prove nothing");
    }

    #[test]
    fn operations_repeat_event_ids_and_members_and_go_back_in_time() {
        let mut repeated_ids = 0;
        let mut steps: BTreeMap<&str, u32> = BTreeMap::new();
        for operations in drawn(&operations(), 100) {
            let mut seen = HashSet::new();
            let mut last: BTreeMap<MemberKey, UnixSeconds> = BTreeMap::new();
            for event in operations.iter().flat_map(Operation::events) {
                repeated_ids += u32::from(event.id.is_some_and(|id| !seen.insert(id)));
                if let Some(last) = last.insert(event.member, event.at) {
                    let step = match event.at.since(last) {
                        ..0 => "back",
                        0 => "none",
                        1..60 => "within the cooldown",
                        60..3_600 => "within the hour",
                        _ => "later",
                    };
                    *steps.entry(step).or_default() += 1;
                }
            }
        }
        assert!(repeated_ids > 100, "{repeated_ids}");
        assert!(
            steps.len() == 5 && steps.values().all(|&count| count > 50),
            "{steps:?}"
        );
    }
}
