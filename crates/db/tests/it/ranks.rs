//! Leaderboards and ranks of guilds whose ranks are kept: exactly the model's, whatever happened.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use roas_db::migration::{RollbackOptions, rollback};
use roas_db::{Config, Database};
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, guild, member, message};
use roas_domain::testing::{ManualClock, Model};
use roas_domain::{
    ActivityRepository, GuildRules, LeaderboardLimit, MemberKey, ScoreRules, UnixSeconds, UserId,
};

use crate::support::{on_runtime, query, quick, raw};

const GUILD: u64 = 1;

/// A configuration that has the ranks of every guild kept.
fn ranked(folder: &Path) -> Config {
    quick(folder).rank_guilds_from(0)
}

/// Users whose ids lie in several spans, and side by side in one.
fn users() -> Vec<UserId> {
    let id = |number: u64| (number / 4) * (1 << 47) + number + 1;
    (0..24)
        .map(|number| UserId::new(id(number)).unwrap())
        .collect()
}

fn member_of(index: usize) -> MemberKey {
    let user = users()[index % 24];
    MemberKey {
        guild: guild(GUILD),
        user,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Message { user: usize, after: i64 },
    Adjust { user: usize, by: f64, after: i64 },
    Rules { per_hour: f64, grace: i64 },
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0_usize..24;
    // Mostly forwards, some late, few from the future.
    let after = prop_oneof![8 => 0_i64..4_000, 1 => -4_000_i64..0, 1 => 4_000_i64..40_000];
    prop_oneof![
        8 => (user.clone(), after.clone()).prop_map(|(user, after)| Step::Message { user, after }),
        8 => (user, prop_oneof![Just(1.0), -5.0..20.0_f64], after)
            .prop_map(|(user, by, after)| Step::Adjust { user, by, after }),
        1 => (
            prop_oneof![Just(0.0), Just(6.0), Just(3_600.0), 0.0..500.0_f64, Just(1e9)],
            prop_oneof![Just(0_i64), Just(300), Just(100_000)],
        )
            .prop_map(|(per_hour, grace)| Step::Rules { per_hour, grace }),
        2 => Just(Step::Maintain),
    ]
}

fn rules(per_hour: f64, grace: i64) -> GuildRules {
    GuildRules {
        score: ScoreRules::default()
            .with_decay_per_hour(per_hour)
            .and_then(|rules| rules.with_decay_after_seconds(grace))
            .unwrap(),
        ..GuildRules::default()
    }
}

async fn carry_out(step: &Step, database: &Database, model: &mut Model) {
    let repository = database.repository();
    match *step {
        Step::Message { user, after } => {
            let event = message(member_of(user), MIDNIGHT + after);
            let answer = repository.record(event).await.unwrap();
            assert_eq!(answer, model.record(&event));
        }
        Step::Adjust { user, by, after } => {
            let (member, time) = (member_of(user), at(MIDNIGHT + after));
            let answer = repository.adjust_score(member, delta(by), time);
            assert_eq!(
                answer.await.unwrap(),
                model.adjust_score(member, delta(by), time)
            );
        }
        Step::Rules { per_hour, grace } => {
            let rules = rules(per_hour, grace);
            let set = repository.set_guild_rules(guild(GUILD), rules.clone());
            set.await.unwrap();
            model.set_guild_rules(guild(GUILD), rules);
        }
        Step::Maintain => {
            database.maintain().await.unwrap();
        }
    }
}

/// Asks for every member's rank, and for leaderboards, at several times.
async fn compare(database: &Database, model: &Model, asked: &[i64]) {
    let repository = database.repository();
    for &after in asked {
        let time = at(MIDNIGHT + after);
        for limit in [1, 5, 1_000] {
            let limit = LeaderboardLimit::new(limit).unwrap();
            assert_eq!(
                repository
                    .top_scores(guild(GUILD), time, limit)
                    .await
                    .unwrap(),
                model.top_scores(guild(GUILD), time, limit),
                "{limit:?} at {after}"
            );
        }
        for index in 0..24 {
            let member = member_of(index);
            assert_eq!(
                repository.score_rank(member, time).await.unwrap(),
                model.score_rank(member, time),
                "user {index} at {after}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn kept_ranks_are_the_models(
        steps in prop::collection::vec(step(), 1..60),
        asked in prop::collection::vec(-2_000_i64..60_000, 3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        on_runtime(async {
            let database = Database::open(ranked(folder.path())).await.unwrap();
            let mut model = Model::new();
            for half in steps.chunks(steps.len().div_ceil(2)) {
                for step in half {
                    carry_out(step, &database, &mut model).await;
                }
                compare(&database, &model, &asked).await;
            }
            database.maintain().await.unwrap();
            compare(&database, &model, &asked).await;
            compare(&database, &model, &[4_000, 100_000_000]).await;
            database.close().await.unwrap();
        });
        let path = folder.path().join("roas.db");
        let members: i64 = query(&path, "SELECT count(*) FROM activity_meter");
        let ranked: i64 = query(&path, "SELECT count(*) FROM activity_ranked");
        let empty: i64 = query(&path, "SELECT count(*) FROM activity_band WHERE spread = x''");
        prop_assert!(ranked <= members, "{} of {}", ranked, members);
        prop_assert_eq!(empty, 0);
    }
}

/// What a member of a crowd is given: a score that many others have, too, at one of few times.
fn gift() -> impl Strategy<Value = (usize, f64, i64)> {
    let score = prop_oneof![
        4 => Just(1.0),
        1 => Just(0.0),
        1 => Just(100.0),
        2 => (1_i32..12).prop_map(f64::from),
        2 => 0.0..3.0_f64,
    ];
    let after = prop_oneof![
        3 => prop::sample::select(vec![0, 1, 299, 300, 301, 600, 899, 900, 901]),
        1 => 0_i64..2_000,
    ];
    (0..CROWD, score, after)
}

const CROWD: usize = 96;

async fn give(gifts: &[(usize, f64, i64)], database: &Database, model: &mut Model) {
    for &(index, score, after) in gifts {
        let member = member(GUILD, (index as u64 + 1) << 22);
        let (by, time) = (delta(score), at(MIDNIGHT + after));
        let answer = database.repository().adjust_score(member, by, time).await;
        assert_eq!(answer.unwrap(), model.adjust_score(member, by, time));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Many members in few bands and classes, which were made for what the guild was like before.
    #[test]
    fn ranks_of_a_crowd_are_the_models(
        before in prop::collection::vec(gift(), 1..CROWD),
        after in prop::collection::vec(gift(), 1..2 * CROWD),
        per_hour in prop::sample::select(vec![0.0, 6.0, 60.0]),
        asked in prop::collection::vec(0_i64..3_000, 2),
    ) {
        let folder = tempfile::tempdir().unwrap();
        on_runtime(async {
            let database = Database::open(ranked(folder.path())).await.unwrap();
            let repository = database.repository();
            let mut model = Model::new();
            let rules = rules(per_hour, 300);
            let set = repository.set_guild_rules(guild(GUILD), rules.clone());
            set.await.unwrap();
            model.set_guild_rules(guild(GUILD), rules);
            give(&before, &database, &mut model).await;
            database.maintain().await.unwrap();
            give(&after, &database, &mut model).await;
            for after in asked.into_iter().chain([300, 600, 900, 1_200]) {
                let time = at(MIDNIGHT + after);
                let limit = LeaderboardLimit::new(1_000).unwrap();
                let all = model.top_scores(guild(GUILD), time, limit);
                let ten = LeaderboardLimit::new(10).unwrap();
                let top = repository.top_scores(guild(GUILD), time, ten).await.unwrap();
                assert_eq!(top, all[..all.len().min(10)], "at {after}");
                for entry in &all {
                    let member = MemberKey { guild: guild(GUILD), user: entry.user };
                    let rank = repository.score_rank(member, time).await.unwrap().unwrap();
                    assert_eq!(rank.position, entry.rank, "{entry:?} at {after}");
                    assert_eq!(rank.members, all.len() as u64);
                }
            }
            database.close().await.unwrap();
        });
    }
}

/// Members enough for several steps of the upkeep.
async fn fill(database: &Database, model: &mut Model, members: u64) {
    let events: Vec<_> = (1..=members)
        .map(|user| {
            let seconds = i64::try_from(user * 7 % 3_000).unwrap();
            message(member(GUILD, user << 30), MIDNIGHT + seconds)
        })
        .collect();
    for some in events.chunks(1_000) {
        let answers = database.repository().record_many(some.to_vec()).await;
        assert_eq!(answers.unwrap(), model.record_many(some).unwrap());
    }
}

/// A database with the ranks of a guild of 2,500 members, and the model of it.
async fn ranked_guild(config: Config) -> (Database, Model) {
    let database = Database::open(config).await.unwrap();
    let mut model = Model::new();
    fill(&database, &mut model, 2_500).await;
    assert_eq!(database.maintain().await.unwrap().ranked_guilds, 1);
    (database, model)
}

async fn tops_agree(database: &Database, model: &Model, time: UnixSeconds) {
    let repository = database.repository();
    let limit = LeaderboardLimit::new(50).unwrap();
    assert_eq!(
        repository
            .top_scores(guild(GUILD), time, limit)
            .await
            .unwrap(),
        model.top_scores(guild(GUILD), time, limit)
    );
    for user in [1, 2, 999, 1_234, 2_500] {
        let member = member(GUILD, user << 30);
        assert_eq!(
            repository.score_rank(member, time).await.unwrap(),
            model.score_rank(member, time),
            "{user}"
        );
    }
}

#[test]
fn a_guild_is_ranked_in_steps_and_anew_when_its_rules_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roas.db");
    on_runtime(async {
        let (database, mut model) = ranked_guild(ranked(folder.path())).await;
        assert!(query::<i64>(&path, "SELECT count(*) FROM activity_ranked") > 500);
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;

        let rules = rules(60.0, 10);
        let repository = database.repository();
        let set = repository.set_guild_rules(guild(GUILD), rules.clone());
        set.await.unwrap();
        model.set_guild_rules(guild(GUILD), rules);
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.maintain().await.unwrap();
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.close().await.unwrap();
    });
}

/// What somebody else has done to the ranks of a guild, the maintenance puts right.
fn is_put_right(done: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roas.db");
    on_runtime(async {
        let (database, model) = ranked_guild(ranked(folder.path())).await;
        raw(&path, done);
        database.maintain().await.unwrap();
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.close().await.unwrap();
    });
}

#[test]
fn ranks_that_somebody_else_spoiled_are_made_anew() {
    is_put_right("DELETE FROM activity_band; DELETE FROM activity_ranked;");
}

/// More than one step of the sweep takes.
#[test]
fn members_that_somebody_else_put_into_a_wrong_band_are_swept_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roas.db");
    on_runtime(async {
        let (database, model) = ranked_guild(ranked(folder.path())).await;
        raw(&path, "UPDATE activity_ranked SET band = 0");
        let rows = "SELECT count(*) FROM activity_ranked";
        assert!(query::<i64>(&path, rows) > 500);
        database.maintain().await.unwrap();
        assert_eq!(query::<i64>(&path, rows), 0);
        database.maintain().await.unwrap();
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.close().await.unwrap();
    });
}

/// One more of the best class of scores in each band, and nobody more by user id.
#[test]
fn counts_of_scores_that_somebody_else_spoiled_are_made_anew() {
    is_put_right(
        "UPDATE activity_band SET spread = CAST(spread || x'0001' AS BLOB) WHERE band >= 0",
    );
}

#[test]
fn a_number_of_members_that_somebody_else_spoiled_is_put_right() {
    is_put_right("UPDATE activity_guild SET members = members + 7");
}

#[test]
fn a_message_from_far_in_the_future_leaves_ranks_that_answer_for_now() {
    let folder = tempfile::tempdir().unwrap();
    let now = MIDNIGHT + 3_000;
    let config = ranked(folder.path())
        .clock(Arc::new(ManualClock::new(at(now))))
        .max_clock_skew(None);
    on_runtime(async {
        let (database, mut model) = ranked_guild(config.clone()).await;
        let event = message(member(GUILD, 1 << 30), 95_000_000_000);
        let answer = database.repository().record(event).await.unwrap();
        assert_eq!(answer, model.record(&event));
        database.maintain().await.unwrap();
        let swept_to: i64 = query(config.path(), "SELECT swept_to FROM activity_guild");
        assert!(swept_to > MIDNIGHT && swept_to <= now, "{swept_to}");
        // Drawn for those who have a score now, not for the one who has one then.
        let bands: i64 = query(config.path(), "SELECT count(*) FROM activity_band");
        assert!((16..256).contains(&bands), "{bands}");
        tops_agree(&database, &model, at(now)).await;
        database.close().await.unwrap();
    });
}

#[test]
fn ranks_come_back_after_a_rollback_and_the_way_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    on_runtime(async {
        let (database, model) = ranked_guild(config.clone()).await;
        database.close().await.unwrap();
        rollback(&config, &RollbackOptions::to(2).snapshot(false)).unwrap();

        let database = Database::open(config.clone()).await.unwrap();
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.maintain().await.unwrap();
        tops_agree(&database, &model, at(MIDNIGHT + 3_000)).await;
        database.close().await.unwrap();
    });
    assert!(query::<i64>(config.path(), "SELECT count(*) FROM activity_ranked") > 0);
}

/// For how many members the guild's classes were drawn, and at what time.
fn drawn_for(path: &Path) -> (i64, i64) {
    let drawn = |column| query(path, &format!("SELECT {column} FROM activity_rank_bound"));
    (drawn("members"), drawn("latest"))
}

#[test]
fn a_guild_that_has_doubled_is_ranked_anew() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let mut model = Model::new();
        for (members, drawn) in [(100, 100), (200, 100), (201, 100), (202, 202)] {
            fill(&database, &mut model, members).await;
            database.maintain().await.unwrap();
            assert_eq!(drawn_for(config.path()).0, drawn, "{members} members");
        }
        database.close().await.unwrap();
    });
}

/// A guild whose members have all come to have the same score and time.
#[test]
fn classes_that_are_out_of_proportion_are_drawn_anew_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    on_runtime(async {
        let (database, mut model) = ranked_guild(config.clone()).await;
        let (_, first) = drawn_for(config.path());
        for (after, anew) in [(3_100, false), (4_100, true)] {
            let events: Vec<_> = (1..=2_500)
                .map(|user| message(member(GUILD, user << 30), MIDNIGHT + after))
                .collect();
            for some in events.chunks(1_000) {
                let answers = database.repository().record_many(some.to_vec()).await;
                assert_eq!(answers.unwrap(), model.record_many(some).unwrap());
            }
            database.maintain().await.unwrap();
            assert_eq!(drawn_for(config.path()).1 > first, anew, "after {after} s");
            tops_agree(&database, &model, at(MIDNIGHT + after)).await;
        }
        database.close().await.unwrap();
    });
}

#[test]
fn small_guilds_are_not_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roas.db");
    on_runtime(async {
        let database = Database::open(quick(folder.path())).await.unwrap();
        fill(&database, &mut Model::new(), 1_000).await;
        assert_eq!(database.maintain().await.unwrap().ranked_guilds, 0);
        database.close().await.unwrap();
    });
    assert_eq!(
        query::<i64>(&path, "SELECT count(*) FROM activity_ranked"),
        0
    );
    assert_eq!(
        query::<i64>(&path, "SELECT members FROM activity_guild"),
        1_000
    );
}
