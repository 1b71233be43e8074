//! What the writer knows of members and guilds from one transaction to the next is what the file has.

use roas_db::{Database, SqliteActivityRepository};
use roas_domain::testing::fixtures::{MIDNIGHT, at, delta, member, message};
use roas_domain::{ActivityRepository, RepositoryError};
use tempfile::tempdir;

use crate::support::{on_runtime, quick, raw};

/// The score of member 1 of guild 1 after an adjustment.
async fn adjusted(repository: &SqliteActivityRepository, by: f64) -> Result<f64, RepositoryError> {
    let record = repository.adjust_score(member(1, 1), delta(by), at(MIDNIGHT));
    Ok(record.await?.score.get())
}

#[test]
fn what_somebody_else_has_changed_is_what_the_next_transaction_builds_on() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 3.0);
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 6.0);
        raw(config.path(), "UPDATE activity_meter SET score = 40");
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 43.0);
        raw(
            config.path(),
            "INSERT INTO activity_settings (guild_id, max_score) VALUES (1, 45)",
        );
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 45.0);
        raw(config.path(), "DELETE FROM activity_meter");
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 3.0);
        database.close().await.unwrap();
    });
}

#[test]
fn nothing_of_a_transaction_that_failed_is_built_on() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        raw(
            config.path(),
            "CREATE TRIGGER no_thirteen BEFORE UPDATE ON activity_meter WHEN new.score = 13
             BEGIN SELECT raise(ABORT, 'not thirteen'); END",
        );
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 3.0);
        adjusted(&repository, 10.0).await.unwrap_err();
        assert_eq!(adjusted(&repository, 1.0).await.unwrap(), 4.0);
        database.close().await.unwrap();
    });
}

#[test]
fn what_a_trigger_has_made_of_a_row_is_what_the_next_transaction_builds_on() {
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config.clone()).await.unwrap();
        let repository = database.repository();
        assert_eq!(adjusted(&repository, 30.0).await.unwrap(), 30.0);
        raw(
            config.path(),
            "CREATE TRIGGER at_most_fifty AFTER UPDATE ON activity_meter WHEN new.score > 50
             BEGIN
                 UPDATE activity_meter SET score = 50
                 WHERE guild_id = new.guild_id AND user_id = new.user_id;
             END",
        );
        assert_eq!(adjusted(&repository, 30.0).await.unwrap(), 60.0);
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 53.0);
        raw(config.path(), "DROP TRIGGER at_most_fifty");
        assert_eq!(adjusted(&repository, 30.0).await.unwrap(), 80.0);
        assert_eq!(adjusted(&repository, 3.0).await.unwrap(), 83.0);
        database.close().await.unwrap();
    });
}

/// More members than the writer keeps, so that it forgets them in between.
#[test]
fn members_beyond_those_that_are_kept_are_read_again() {
    const MEMBERS: u64 = 5_000;
    let folder = tempdir().unwrap();
    let config = quick(folder.path());
    on_runtime(async {
        let database = Database::open(config).await.unwrap();
        let repository = database.repository();
        for round in 1..=3 {
            for users in (1..=MEMBERS).collect::<Vec<_>>().chunks(500) {
                let events = users
                    .iter()
                    .map(|&user| message(member(user % 200 + 1, user), MIDNIGHT + round))
                    .collect();
                repository.record_many(events).await.unwrap();
            }
            let counts = repository.counts().await.unwrap();
            let messages = MEMBERS * u64::try_from(round).unwrap();
            assert_eq!((counts.members, counts.messages), (MEMBERS, messages));
        }
        database.close().await.unwrap();
    });
}
