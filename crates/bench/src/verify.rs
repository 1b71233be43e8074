//! After a run: does the database hold what was acknowledged, no more and no less?

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::engine::sqlite::open;
use crate::foreign;
use crate::result::{RunResult, Verification};
use crate::scenario::Scenario;

/// How an engine's operations are found in its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Each member's row counts its messages.
    Messages,
    /// As [`Self::Messages`]; every message is also in the count of its day, and its id is stored.
    MessagesDaysAndIds,
    /// Each operation raised a score by one.
    Scores,
    /// Nothing is stored.
    Nothing,
}

impl Held {
    fn by(engine: &str) -> Self {
        match engine {
            "noop" => Self::Nothing,
            "meter-adjust" => Self::Scores,
            "meter" => Self::MessagesDaysAndIds,
            name if name.starts_with("sabotage-") => Self::MessagesDaysAndIds,
            _ => Self::Messages,
        }
    }
}

/// What a database is expected to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The engine that wrote it.
    pub engine: String,
    /// Operations acknowledged, those included that were there before the run.
    pub acknowledged: u64,
    /// Operations that may be there or not.
    pub unknown: u64,
    /// Operations that were there before the run.
    pub prefilled: u64,
}

/// Looks into a run's database, which nobody has open any more, and completes the result.
pub fn verify(result: &mut RunResult, scenario: &Scenario, database: &Path) {
    let expected = Expected {
        engine: scenario.engine.clone(),
        acknowledged: result.verification.acknowledged,
        unknown: result.verification.unknown,
        prefilled: scenario.prefilled(),
    };
    result.verification = check(database, &expected);
    let neighbours = result.neighbours.iter().flat_map(foreign::problems);
    result.verification.problems.extend(neighbours);
    result.verified = result.verification.problems.is_empty();
}

/// Looks into a database.
#[must_use]
pub fn check(database: &Path, expected: &Expected) -> Verification {
    let mut found = Verification {
        acknowledged: expected.acknowledged,
        unknown: expected.unknown,
        integrity: "not checked".to_owned(),
        ..Verification::default()
    };
    let held = Held::by(&expected.engine);
    if held == Held::Nothing {
        let nothing = format!(
            "{} stores nothing: there is nothing to check",
            expected.engine
        );
        found.problems.push(nothing);
    } else if let Err(error) = look(database, held, expected, &mut found) {
        found
            .problems
            .push(format!("cannot look into the database: {error}"));
    }
    found
}

fn look(
    database: &Path,
    held: Held,
    expected: &Expected,
    found: &mut Verification,
) -> rusqlite::Result<()> {
    // Not read-only: a WAL that a killed process left behind has to be taken over first.
    let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let ask = |sql: &str| -> rusqlite::Result<u64> {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        u64::try_from(count).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, count))
    };
    found.integrity = integrity(&connection)?;
    if found.integrity != "ok" {
        found
            .problems
            .push(format!("integrity_check: {}", found.integrity));
    }
    let doubled = ask("SELECT count(*) FROM (SELECT 1 FROM activity_meter
         GROUP BY guild_id, user_id HAVING count(*) > 1)")?;
    found.unique_rows = doubled == 0;
    if doubled > 0 {
        found
            .problems
            .push(format!("{doubled} members have more than one row"));
    }
    found.counted = ask(match held {
        Held::Scores => "SELECT CAST(total(score) AS INTEGER) FROM activity_meter",
        _ => "SELECT coalesce(sum(messages), 0) FROM activity_meter",
    })?;
    let Expected {
        acknowledged,
        unknown,
        prefilled,
        ..
    } = *expected;
    let counted = found.counted;
    if counted < acknowledged {
        let lost = acknowledged - counted;
        found.problems.push(format!(
            "{lost} acknowledged operations are not in the database"
        ));
    }
    let at_most = acknowledged.saturating_add(unknown);
    if counted > at_most {
        let more = counted - at_most;
        found.problems.push(format!(
            "{more} operations are in the database that were not acknowledged"
        ));
    }
    if held == Held::MessagesDaysAndIds {
        let days = ask("SELECT coalesce(sum(msg_cnt), 0) FROM activity_daily")?;
        if days != counted {
            found.problems.push(format!(
                "the days count {days} messages, the members {counted}"
            ));
        }
        let ids = ask("SELECT count(*) FROM activity_event")? + prefilled;
        if ids != counted {
            found
                .problems
                .push(format!("there are {ids} ids for {counted} messages"));
        }
    }
    Ok(())
}

/// `ok`, or the first thing that is wrong.
fn integrity(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::table;

    fn database(messages: &[i64]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let connection = open(&path, OpenFlags::default()).unwrap();
        connection.execute_batch(table::CREATE).unwrap();
        for (user, messages) in (1_i64..).zip(messages) {
            connection
                .execute(table::INSERT, (1, user, 1.0, 1, messages))
                .unwrap();
        }
        (folder, path)
    }

    fn expected(engine: &str, acknowledged: u64, unknown: u64) -> Expected {
        Expected {
            engine: engine.to_owned(),
            acknowledged,
            unknown,
            prefilled: 0,
        }
    }

    #[test]
    fn exactly_what_was_acknowledged() {
        let (_folder, path) = database(&[2, 3]);
        let problems =
            |acknowledged, unknown| check(&path, &expected("raw", acknowledged, unknown)).problems;
        assert_eq!(problems(5, 0), [""; 0]);
        assert_eq!(
            problems(6, 0),
            ["1 acknowledged operations are not in the database"]
        );
        assert_eq!(
            problems(3, 0),
            ["2 operations are in the database that were not acknowledged"]
        );
        assert_eq!(problems(3, 2), [""; 0]);
        assert_eq!(problems(3, 1).len(), 1);
        let found = check(&path, &expected("raw", 5, 0));
        assert_eq!(
            (found.counted, found.integrity.as_str(), found.unique_rows),
            (5, "ok", true)
        );
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_verified() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nothing.db");
        for engine in ["raw", "meter", "noop"] {
            let problems = check(&nowhere, &expected(engine, 0, 0)).problems;
            assert_eq!(problems.len(), 1, "{engine}: {problems:?}");
        }
        let (_folder, path) = database(&[1]);
        let problems = check(&path, &expected("meter", 1, 0)).problems;
        assert!(problems[0].contains("activity_daily"), "{problems:?}");
    }

    #[test]
    fn members_with_two_rows_are_found() {
        let (_folder, path) = database(&[]);
        let connection = open(&path, OpenFlags::default()).unwrap();
        connection
            .execute_batch(
                "DROP TABLE activity_meter;
                 CREATE TABLE activity_meter (guild_id, user_id, score, last_msg, messages);
                 INSERT INTO activity_meter VALUES (1, 1, 1.0, 1, 1), (1, 1, 1.0, 1, 1);",
            )
            .unwrap();
        let found = check(&path, &expected("raw", 2, 0));
        assert!(!found.unique_rows);
        assert_eq!(found.problems, ["1 members have more than one row"]);
    }
}
