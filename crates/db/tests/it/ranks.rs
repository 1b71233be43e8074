//! Leaderboards and ranks of guilds whose ranks are kept: exactly the model's, whatever happened.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use roas_db::migration::{RollbackOptions, check, rollback};
use roas_db::{Config, Database};
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, guild, member, message};
use roas_domain::testing::{ManualClock, Model};
use roas_domain::{
    ActivityRepository, GuildRules, LeaderboardLimit, MemberKey, Rank, Score, ScoreEntry,
    ScoreRules, UnixSeconds, UserId,
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
        let ranked: i64 = query(&path, "SELECT count(*) FROM activity_rank");
        let empty: i64 = query(&path, "SELECT count(*) FROM activity_rank_count WHERE counts = x''");
        prop_assert!(ranked <= members, "{} of {}", ranked, members);
        prop_assert_eq!(empty, 0);
    }
}

/// A member of a crowd, a score that many others have, too, and one of few times.
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

    /// Many members in few buckets, whose bounds were chosen for what the guild was like before.
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

/// Members enough for several steps of the maintenance.
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
fn ranks_are_built_in_steps_and_rebuilt_when_the_rules_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roas.db");
    on_runtime(async {
        let (database, mut model) = ranked_guild(ranked(folder.path())).await;
        assert!(query::<i64>(&path, "SELECT count(*) FROM activity_rank") > 500);
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

/// A round of maintenance rebuilds the ranks that another program has changed.
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
fn ranks_that_another_program_removed_are_rebuilt() {
    is_put_right("DELETE FROM activity_rank_count; DELETE FROM activity_rank;");
}

#[test]
fn members_that_another_program_put_into_a_wrong_cell_are_moved() {
    is_put_right("UPDATE activity_rank SET cell = 0");
}

/// One more in the first score bucket of each key bucket, and none more by user id.
#[test]
fn counts_that_another_program_changed_are_rebuilt() {
    is_put_right(
        "UPDATE activity_rank_count SET counts = CAST(counts || x'0001' AS BLOB) WHERE bucket >= 0",
    );
}

#[test]
fn a_number_of_members_that_another_program_changed_is_put_right() {
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
        let expired_to: i64 = query(config.path(), "SELECT expired_to FROM activity_guild");
        assert!(expired_to > MIDNIGHT && expired_to <= now, "{expired_to}");
        // Chosen for those who have a score now, not for the one who has one then.
        let buckets: i64 = query(config.path(), "SELECT count(*) FROM activity_rank_count");
        assert!((16..256).contains(&buckets), "{buckets}");
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
    assert!(query::<i64>(config.path(), "SELECT count(*) FROM activity_rank") > 0);
}

/// For how many members the bounds of the guild's buckets were chosen, and at what time.
fn chosen_for(path: &Path) -> (i64, i64) {
    let chosen = |column| query(path, &format!("SELECT {column} FROM activity_rank_bound"));
    (chosen("members"), chosen("latest"))
}

#[test]
fn the_ranks_of_a_guild_that_has_doubled_are_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let mut model = Model::new();
        for (members, chosen) in [(100, 100), (200, 100), (201, 100), (202, 202)] {
            fill(&database, &mut model, members).await;
            database.maintain().await.unwrap();
            assert_eq!(chosen_for(config.path()).0, chosen, "{members} members");
        }
        database.close().await.unwrap();
    });
}

/// A guild whose members have all come to have the same score and time.
#[test]
fn crowded_buckets_are_rebuilt_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    on_runtime(async {
        let (database, mut model) = ranked_guild(config.clone()).await;
        let (_, first) = chosen_for(config.path());
        for (after, rebuilt) in [(3_100, false), (4_100, true)] {
            let events: Vec<_> = (1..=2_500)
                .map(|user| message(member(GUILD, user << 30), MIDNIGHT + after))
                .collect();
            for some in events.chunks(1_000) {
                let answers = database.repository().record_many(some.to_vec()).await;
                assert_eq!(answers.unwrap(), model.record_many(some).unwrap());
            }
            database.maintain().await.unwrap();
            assert_eq!(
                chosen_for(config.path()).1 > first,
                rebuilt,
                "after {after} s"
            );
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
    assert_eq!(query::<i64>(&path, "SELECT count(*) FROM activity_rank"), 0);
    assert_eq!(
        query::<i64>(&path, "SELECT members FROM activity_guild"),
        1_000
    );
}

/// The guild's leaderboard by its members' rows, whoever wrote them.
fn board(path: &Path, time: UnixSeconds) -> Vec<(u64, UserId, Score)> {
    let rows: String = query(
        path,
        "SELECT json_group_array(json_array(user_id, score, last_msg)) FROM activity_meter",
    );
    let rows: Vec<(i64, f64, i64)> = serde_json::from_str(&rows).unwrap();
    let rules = ScoreRules::default();
    let mut board: Vec<_> = rows
        .into_iter()
        .map(|(user, score, last)| {
            let score = rules.decayed(Score::new(score).unwrap(), at(last), time);
            (Reverse(score), UserId::try_from(user).unwrap())
        })
        .collect();
    board.sort_unstable();
    let place = |(rank, (score, user)): (u64, (Reverse<Score>, UserId))| (rank, user, score.0);
    (1..).zip(board).map(place).collect()
}

async fn top_of(database: &Database, time: UnixSeconds) -> Vec<(u64, UserId, Score)> {
    let limit = LeaderboardLimit::new(50).unwrap();
    let repository = database.repository();
    let top = repository
        .top_scores(guild(GUILD), time, limit)
        .await
        .unwrap();
    let place = |entry: &ScoreEntry| (entry.rank, entry.user, entry.score);
    top.iter().map(place).collect()
}

/// What another program has `done` to the members is seen at once by a leaderboard that shows any of
/// them, found by a check, and seen everywhere after a round of maintenance.
fn is_noticed(members: u64, done: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    let path = config.path();
    let time = at(MIDNIGHT + 3_000);
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        fill(&database, &mut Model::new(), members).await;
        database.maintain().await.unwrap();
        assert_eq!(check(&config).unwrap().findings, Vec::<String>::new());

        raw(path, done);
        let expected = board(path, time);
        assert_eq!(
            top_of(&database, time).await,
            expected[..50.min(expected.len())]
        );
        let findings = check(&config).unwrap().findings;
        assert!(
            matches!(&findings[..], [one] if one.contains("guild 1 ")),
            "{findings:?}"
        );

        database.maintain().await.unwrap();
        assert_eq!(check(&config).unwrap().findings, Vec::<String>::new());
        assert_eq!(
            top_of(&database, time).await,
            expected[..50.min(expected.len())]
        );
        let repository = database.repository();
        let counts = repository.counts().await.unwrap();
        assert_eq!(counts.members, expected.len() as u64);
        for (position, user, _) in expected.iter().copied().step_by(101) {
            let guild = guild(GUILD);
            let rank = repository.score_rank(MemberKey { guild, user }, time);
            let members = counts.members;
            assert_eq!(rank.await.unwrap(), Some(Rank { position, members }));
        }
        database.close().await.unwrap();
    });
}

#[test]
fn members_that_another_program_removed_leave_the_ranks() {
    // One in four, of the first places and of the others.
    is_noticed(
        1_000,
        "DELETE FROM activity_meter WHERE (user_id >> 30) % 4 = 0",
    );
}

#[test]
fn members_that_another_program_removed_all_leave_the_ranks() {
    is_noticed(300, "DELETE FROM activity_meter");
}

#[test]
fn scores_that_another_program_lowered_change_the_ranks() {
    is_noticed(
        1_000,
        "UPDATE activity_meter SET score = score / 2 WHERE (user_id >> 30) % 4 = 0",
    );
}

#[test]
fn times_that_another_program_changed_change_the_ranks() {
    is_noticed(
        1_000,
        "UPDATE activity_meter SET last_msg = last_msg - 60 WHERE (user_id >> 30) % 4 = 0",
    );
}

/// Of more members than a rank's maintenance takes in a step, most without a score left.
#[test]
fn members_without_a_score_that_another_program_removed_leave_the_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let config = ranked(folder.path());
    let time = at(MIDNIGHT + 100_000);
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        fill(&database, &mut Model::new(), 1_000).await;
        let event = message(member(GUILD, 1), time.get());
        database.repository().record(event).await.unwrap();
        database.maintain().await.unwrap();
        assert_eq!(
            query::<i64>(config.path(), "SELECT count(*) FROM activity_rank"),
            1
        );
        raw(
            config.path(),
            "DELETE FROM activity_meter WHERE (user_id >> 30) BETWEEN 1 AND 600",
        );
        database.maintain().await.unwrap();
        let repository = database.repository();
        let last = repository.score_rank(member(GUILD, 1_000 << 30), time);
        let (position, members) = (401, 401);
        assert_eq!(last.await.unwrap(), Some(Rank { position, members }));
        database.close().await.unwrap();
    });
}

/// They would otherwise be few for ever to [`Config::rank_guilds_from`], or many.
#[test]
fn members_of_small_guilds_are_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        fill(&database, &mut Model::new(), 40).await;
        raw(
            config.path(),
            "DELETE FROM activity_meter WHERE user_id % 2 = 0 AND user_id >> 30 > 30;
             INSERT INTO activity_meter VALUES (2, 5, 1.0, 1700000000, 1)",
        );
        assert_eq!(check(&config).unwrap().findings.len(), 2);
        database.maintain().await.unwrap();
        assert_eq!(check(&config).unwrap().findings, Vec::<String>::new());
        database.close().await.unwrap();
    });
    let members = |guild| format!("SELECT members FROM activity_guild WHERE guild_id = {guild}");
    assert_eq!(query::<i64>(config.path(), &members(1)), 30);
    assert_eq!(query::<i64>(config.path(), &members(2)), 1);
}
