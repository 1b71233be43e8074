//! Equivalence with the sequential model, for property tests of adapters.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::activity::MemberKey;
use crate::id::{GuildId, UserId};
use crate::query::{LeaderboardLimit, Period};
use crate::repository::ActivityRepository;
use crate::testing::fixtures::at;
use crate::testing::strategies::{SPAN_SECONDS, START};
use crate::testing::{Model, Operation, OperationOutput};
use crate::time::UnixSeconds;

/// Runs the operations one after the other, and requires that each returns what the [`Model`]
/// returns. At the end all queries must agree too: records, message counts, leaderboards, ranks,
/// rules and totals, for members with and without writes. Scores are equal to the bit.
///
/// Expects an empty repository, and operations as
/// [`strategies::operations`](crate::testing::strategies::operations) draws them.
pub async fn agrees_with_the_model(
    repository: Arc<dyn ActivityRepository>,
    operations: Vec<Operation>,
) {
    let mut model = Model::new();
    for operation in &operations {
        let answer = perform(&*repository, operation).await;
        assert_same(&answer, &expected(&mut model, operation), operation);
    }
    assert_same_state(&*repository, &model, &operations).await;
}

/// Runs the lanes concurrently, each lane sequentially. Whatever the interleaving, every operation
/// must return, and the repository must end, as in the [`Model`] that ran lane after lane. Scores
/// are equal to the bit.
///
/// Expects an empty repository, and lanes that do not depend on each other, as
/// [`strategies::lanes`](crate::testing::strategies::lanes) draws them: members and event ids
/// belong to one lane each, and rules are set only for guilds to which a single lane writes.
pub async fn lanes_end_as_the_model(
    repository: Arc<dyn ActivityRepository>,
    lanes: Vec<Vec<Operation>>,
) {
    let answers = join_all(lanes.iter().map(|lane| run_lane(&*repository, lane))).await;
    let mut model = Model::new();
    for (lane, answers) in lanes.iter().zip(answers) {
        for (operation, answer) in lane.iter().zip(answers) {
            assert_same(&answer, &expected(&mut model, operation), operation);
        }
    }
    assert_same_state(&*repository, &model, &lanes.concat()).await;
}

async fn run_lane(repository: &dyn ActivityRepository, lane: &[Operation]) -> Vec<OperationOutput> {
    let mut answers = Vec::with_capacity(lane.len());
    for operation in lane {
        answers.push(perform(repository, operation).await);
    }
    answers
}

async fn perform(repository: &dyn ActivityRepository, operation: &Operation) -> OperationOutput {
    let answer = operation.perform(repository).await;
    answer.unwrap_or_else(|error| panic!("{operation:?} failed: {error}"))
}

fn expected(model: &mut Model, operation: &Operation) -> OperationOutput {
    operation
        .apply(model)
        .expect("strategies do not draw batches that are too large")
}

/// Numbers that print alike are equal to the bit (none is NaN); `==` alone would accept 0.0 for
/// -0.0.
fn assert_same<T: PartialEq + Debug>(actual: &T, expected: &T, asked: &dyn Debug) {
    assert_eq!(actual, expected, "returned for {asked:?}");
    assert_eq!(
        format!("{actual:?}"),
        format!("{expected:?}"),
        "returned for {asked:?}"
    );
}

async fn assert_same_state(
    repository: &dyn ActivityRepository,
    model: &Model,
    operations: &[Operation],
) {
    let counts = repository.counts().await.expect("a repository counts");
    assert_same(&counts, &model.counts(), &"counts");
    // Every user in every guild: some of these pairs are members and some are not.
    let (guilds, users) = written(operations);
    for &guild in &guilds {
        for &user in &users {
            let member = MemberKey { guild, user };
            let found = repository
                .find_member(member)
                .await
                .expect("a member is looked up");
            assert_same(&found, &model.find_member(member), &member);
        }
    }
    for &guild in &guilds {
        let rules = repository.guild_rules(guild).await.expect("rules are read");
        assert_same(&rules, &model.guild_rules(guild), &guild);
        assert_same_scores(repository, model, guild, &users).await;
        assert_same_messages(repository, model, guild, &users).await;
    }
}

/// The guilds and users in the operations.
fn written(operations: &[Operation]) -> (BTreeSet<GuildId>, BTreeSet<UserId>) {
    let mut guilds = BTreeSet::new();
    let mut users = BTreeSet::new();
    for operation in operations {
        match operation {
            Operation::Adjust { member, .. } => {
                guilds.insert(member.guild);
                users.insert(member.user);
            }
            Operation::SetRules { guild, .. } => {
                guilds.insert(*guild);
            }
            Operation::Record(_) | Operation::RecordMany(_) => {}
        }
        for event in operation.events() {
            guilds.insert(event.member.guild);
            users.insert(event.member.user);
        }
    }
    (guilds, users)
}

fn limits() -> [LeaderboardLimit; 2] {
    [2, LeaderboardLimit::MAX].map(|limit| LeaderboardLimit::new(limit).expect("a legal limit"))
}

async fn assert_same_scores(
    repository: &dyn ActivityRepository,
    model: &Model,
    guild: GuildId,
    users: &BTreeSet<UserId>,
) {
    let within = [0, 361, 3_600, 90_000, SPAN_SECONDS].map(|after| at(START + after));
    for time in within
        .into_iter()
        .chain([UnixSeconds::MIN, UnixSeconds::MAX])
    {
        for limit in limits() {
            let entries = repository.top_scores(guild, time, limit).await;
            let entries = entries.expect("a leaderboard by score");
            assert_same(
                &entries,
                &model.top_scores(guild, time, limit),
                &(guild, time),
            );
        }
        for &user in users {
            let member = MemberKey { guild, user };
            let rank = repository.score_rank(member, time).await.expect("a rank");
            assert_same(&rank, &model.score_rank(member, time), &(member, time));
        }
    }
}

async fn assert_same_messages(
    repository: &dyn ActivityRepository,
    model: &Model,
    guild: GuildId,
    users: &BTreeSet<UserId>,
) {
    // The days of all guilds, so that days without messages in this guild are queried too.
    let days: BTreeSet<_> = model.day_counts().map(|(_, day, _)| day).collect();
    let months: BTreeSet<_> = days.iter().map(|day| day.month()).collect();
    let periods = days
        .into_iter()
        .map(Period::Day)
        .chain(months.into_iter().map(Period::Month));
    for period in periods {
        for limit in limits() {
            let entries = repository.top_messages(guild, period, limit).await;
            let entries = entries.expect("a leaderboard by messages");
            assert_same(
                &entries,
                &model.top_messages(guild, period, limit),
                &(guild, period),
            );
        }
        for &user in users {
            let member = MemberKey { guild, user };
            let messages = repository
                .messages_in(member, period)
                .await
                .expect("a count");
            assert_same(
                &messages,
                &model.messages_in(member, period),
                &(member, period),
            );
        }
    }
}
