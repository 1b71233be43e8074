//! Rows that another program wrote and the domain does not allow: an error of their own guild or member,
//! which names row and column, while the others go on.

use std::error::Error;
use std::path::Path;
use std::pin::Pin;

use roas_db::{Config, Database, InvalidRow, SqliteActivityRepository};
use roas_domain::testing::fixtures::{
    MIDNIGHT, at, delta, guild, member, message, message_with_id, zone,
};
use roas_domain::{
    ActivityRepository, Effect, EventOutcome, GuildRules, GuildTimeZone, LeaderboardLimit, Period,
    RepositoryError, RepositoryErrorKind, ScoreRules,
};
use tempfile::tempdir;

use crate::support::{HeldLock, on_runtime, poll_once, query, quick, raw};

fn invalid<T: std::fmt::Debug>(
    answer: Result<T, RepositoryError>,
) -> (RepositoryError, InvalidRow) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), RepositoryErrorKind::InvalidData, "{error}");
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(!error.is_retryable());
    let row = error.source().unwrap().downcast_ref::<InvalidRow>();
    let row = row.unwrap_or_else(|| panic!("no row: {error}")).clone();
    (error, row)
}

/// Runs `sql` on a table that accepts anything, as one that an earlier program made would.
fn without_constraints(path: &Path, table: &str, sql: &str) {
    let schema: String = query(
        path,
        &format!("SELECT sql FROM sqlite_schema WHERE name = '{table}'"),
    );
    let lax = schema.replace("STRICT, ", "").replace(" STRICT", "");
    let lax = lax.replace("NOT NULL", "").replace('\'', "''");
    let put = |sql: &str| {
        raw(
            path,
            &format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = '{sql}' WHERE name = '{table}';
                 PRAGMA writable_schema = RESET"
            ),
        );
    };
    put(&lax);
    raw(
        path,
        &format!("PRAGMA ignore_check_constraints = ON; {sql}"),
    );
    put(&schema.replace('\'', "''"));
}

/// A closed database with a message each of users 1 and 2 in guilds 1 and 2.
fn with_members(config: &Config) {
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        for (guild, user) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let event = message(member(guild, user), MIDNIGHT);
            database.repository().record(event).await.unwrap();
        }
        database.close().await.unwrap();
    });
}

type Recording<'a> =
    Pin<Box<dyn Future<Output = Result<EventOutcome, RepositoryError>> + Send + 'a>>;

/// Records the events in one transaction: all of them are queued while the write lock is held.
async fn record_together(
    config: &Config,
    repository: &SqliteActivityRepository,
    members: &[(u64, u64)],
    seconds: i64,
) -> Vec<Result<EventOutcome, RepositoryError>> {
    let lock = HeldLock::take(config.path());
    let mut calls: Vec<Recording<'_>> = Vec::new();
    for (guild, user) in members {
        let mut call = repository.record(message(member(*guild, *user), MIDNIGHT + seconds));
        assert!(poll_once(&mut call).await.is_pending());
        calls.push(call);
    }
    drop(lock);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await);
    }
    answers
}

#[test]
fn a_time_zone_spelled_wrong_is_its_guilds_error_alone_and_new_rules_correct_it() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    with_members(&config);
    raw(
        config.path(),
        "INSERT INTO activity_settings (guild_id, max_score, report_hour, time_zone)
         VALUES (2, 50, 9, 'Asia/Tapei')",
    );
    let findings = roas_db::migration::check(&config).unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with(
            "the row of guild 2 in `activity_settings` is invalid: column `time_zone`"
        ),
        "{findings:?}"
    );
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        for (round, seconds) in [(1, 60), (2, 120)] {
            let members = [(1, 1), (2, 1), (1, 2), (2, 2), (3, round)];
            let answers = record_together(&config, &repository, &members, seconds).await;
            for (answer, (guild, _)) in answers.into_iter().zip(members) {
                if guild != 2 {
                    assert!(matches!(answer, Ok(EventOutcome::Scored(_))), "{answer:?}");
                    continue;
                }
                let (error, row) = invalid(answer);
                assert_eq!(row.table(), "activity_settings");
                assert!(row.columns().eq(["time_zone"]));
                assert_eq!(
                    error.to_string(),
                    "cannot carry out the request: the row of guild 2 in `activity_settings` is \
                     invalid: column `time_zone`: `Asia/Tapei` is not a known time zone: expected an \
                     IANA name such as `Asia/Taipei` or `UTC`"
                );
            }
        }
        // The first request of each round may have been taken alone, before the others were queued.
        let stats = database.writer_stats();
        assert!(stats.batches <= 4, "one by one: {stats:?}");
        assert_eq!((stats.reopened, stats.retries), (0, 0));

        let adjusted = repository.adjust_score(member(2, 1), delta(1.0), at(MIDNIGHT));
        invalid(adjusted.await);
        let mixed =
            [(1, 1), (2, 1)].map(|(guild, user)| message_with_id(9, member(guild, user), 0));
        invalid(repository.record_many(mixed.to_vec()).await);
        invalid(
            repository
                .record_many(mixed.iter().rev().copied().collect())
                .await,
        );
        let (_, row) = invalid(repository.guild_rules(guild(2)).await);
        let readable = row.readable_rules().unwrap().clone();
        assert_eq!(
            readable.score,
            ScoreRules::default().with_max_score(50.0).unwrap()
        );
        assert_eq!(readable.time_zone, GuildTimeZone::default());
        let limit = LeaderboardLimit::default();
        invalid(repository.top_scores(guild(2), at(MIDNIGHT), limit).await);
        let scores = repository.top_scores(guild(1), at(MIDNIGHT), limit).await;
        assert_eq!(scores.unwrap().len(), 2);
        let found = repository.find_member(member(2, 1)).await.unwrap().unwrap();
        assert_eq!(found.messages, 1);
        assert_eq!(repository.counts().await.unwrap().messages, 10);
        database.maintain().await.unwrap();

        let rules = GuildRules {
            time_zone: zone("Asia/Taipei"),
            ..readable
        };
        repository
            .set_guild_rules(guild(2), rules.clone())
            .await
            .unwrap();
        assert_eq!(repository.guild_rules(guild(2)).await.unwrap(), rules);
        // The ids of what failed were not remembered.
        let outcomes = repository.record_many(mixed.to_vec()).await.unwrap();
        assert!(matches!(
            outcomes[..],
            [EventOutcome::CoolingDown(_), EventOutcome::Duplicate]
        ));
        repository
            .record(message(member(2, 1), MIDNIGHT + 60))
            .await
            .unwrap();
        database.close().await.unwrap();
    });
    let hour: i64 = query(
        config.path(),
        "SELECT report_hour FROM activity_settings WHERE guild_id = 2",
    );
    assert_eq!(hour, 9, "what is not ours stays");
}

#[test]
fn every_rule_that_cannot_be_read_is_named_and_the_others_are_kept() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    with_members(&config);
    for (set, columns, found) in [
        ("max_score = -1", &["max_score"][..], "-1"),
        ("max_score = NULL", &["max_score"], "NULL"),
        ("max_score = 'many'", &["max_score"], "`many`"),
        (
            "gain_per_message = x'00'",
            &["gain_per_message"],
            "a blob of 1 bytes",
        ),
        ("gain_per_message = 9e999", &["gain_per_message"], "inf"),
        ("cooldown_seconds = -60", &["cooldown_seconds"], "-60"),
        ("cooldown_seconds = 1.5", &["cooldown_seconds"], "1.5"),
        (
            "decay_after_seconds = 'soon'",
            &["decay_after_seconds"],
            "`soon`",
        ),
        ("decay_per_hour = -6", &["decay_per_hour"], "-6"),
        ("time_zone = NULL", &["time_zone"], "NULL"),
        ("time_zone = x'ff'", &["time_zone"], "a blob"),
        (
            "time_zone = CAST(x'ff' AS TEXT)",
            &["time_zone"],
            "`\u{fffd}`",
        ),
        (
            "max_score = -1, decay_per_hour = 'x', time_zone = ''",
            &["max_score", "decay_per_hour", "time_zone"],
            "`x`",
        ),
    ] {
        let sql = format!(
            "INSERT OR REPLACE INTO activity_settings (guild_id, decay_per_hour) VALUES (2, 7);
             UPDATE activity_settings SET {set}"
        );
        without_constraints(config.path(), "activity_settings", &sql);
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            let event = message(member(2, 1), MIDNIGHT + 60);
            let (error, row) = invalid(repository.record(event).await);
            assert!(row.columns().eq(columns.iter().copied()), "{set}: {error}");
            assert!(error.to_string().contains(found), "{set}: {error}");
            let readable = row.readable_rules().unwrap().clone();
            let decay = if columns.contains(&"decay_per_hour") {
                6.0
            } else {
                7.0
            };
            assert_eq!(
                readable,
                GuildRules {
                    score: ScoreRules::default().with_decay_per_hour(decay).unwrap(),
                    ..GuildRules::default()
                },
                "{set}"
            );
            repository
                .record(message(member(1, 1), MIDNIGHT))
                .await
                .unwrap();
            repository
                .set_guild_rules(guild(2), readable.clone())
                .await
                .unwrap();
            assert_eq!(repository.guild_rules(guild(2)).await.unwrap(), readable);
            repository.record(event).await.unwrap();
            assert_eq!(database.writer_stats().reopened, 0);
            database.close().await.unwrap();
        });
    }
}

#[test]
fn a_members_row_that_cannot_be_read_fails_its_own_member_alone() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    with_members(&config);
    for (set, column, found) in [
        ("last_msg = 1755820801000", "last_msg", "milliseconds"),
        ("last_msg = NULL", "last_msg", "NULL"),
        ("score = -1", "score", "-1"),
        ("score = 9e999", "score", "inf"),
        ("score = NULL", "score", "NULL"),
        ("score = 'high'", "score", "`high`"),
        ("messages = -3", "messages", "-3 is not a count"),
    ] {
        let sql = format!(
            "UPDATE activity_meter SET score = 1, last_msg = {MIDNIGHT}, messages = 1;
             UPDATE activity_meter SET {set} WHERE guild_id = 2 AND user_id = 1"
        );
        without_constraints(config.path(), "activity_meter", &sql);
        on_runtime(async {
            let database = Database::open(config.clone()).await.unwrap();
            let repository = database.repository();
            let members = [(1, 1), (2, 1), (2, 2)];
            let mut answers = record_together(&config, &repository, &members, 60).await;
            let (error, row) = invalid(answers.remove(1));
            assert_eq!(row.table(), "activity_meter", "{error}");
            assert!(row.columns().eq([column]), "{set}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("user 1 of guild 2") && text.contains(found),
                "{set}: {text}"
            );
            for answer in answers {
                assert!(matches!(answer, Ok(EventOutcome::Scored(_))), "{answer:?}");
            }
            invalid(repository.find_member(member(2, 1)).await);
            repository.find_member(member(2, 2)).await.unwrap().unwrap();
            assert_eq!(database.writer_stats().reopened, 0);
            database.close().await.unwrap();
        });
    }
}

#[test]
fn a_days_count_that_cannot_be_read_fails_its_own_member_alone() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    with_members(&config);
    without_constraints(
        config.path(),
        "activity_daily",
        "UPDATE activity_daily SET msg_cnt = -5 WHERE guild_id = 2 AND user_id = 1",
    );
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        let members = [(1, 1), (2, 1), (2, 2)];
        let mut answers = record_together(&config, &repository, &members, 60).await;
        let (error, row) = invalid(answers.remove(1));
        assert!(row.columns().eq(["msg_cnt"]), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("user 1 of guild 2 on 20250822 in `activity_daily`"),
            "{text}"
        );
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let day = Period::Day(GuildTimeZone::default().day_of(at(MIDNIGHT)));
        invalid(repository.messages_in(member(2, 1), day).await);
        assert_eq!(repository.messages_in(member(2, 2), day).await.unwrap(), 2);
        assert_eq!(database.writer_stats().reopened, 0);
        database.close().await.unwrap();
    });
}
