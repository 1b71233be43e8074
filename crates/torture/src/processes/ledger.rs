//! What was asked of a database and what was answered, to be held against what the file has in
//! the end.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use roas_domain::testing::fixtures::{MIDNIGHT, member, message_with_id};
use roas_domain::{ActivityEvent, Effect, EventOutcome, MemberKey, RepositoryError};
use rusqlite::{Connection, OpenFlags};

use crate::Broken;

/// Few, so that all callers and processes write the same rows.
const MEMBERS: u64 = 7;

/// The event of an id: its member follows from it, and all are of one second, so that however many
/// there are of a member, they make a score of one gain.
pub(crate) fn event(id: u64) -> ActivityEvent {
    message_with_id(id, author(id), MIDNIGHT)
}

/// Who writes the event of an id.
pub(super) fn author(id: u64) -> MemberKey {
    member(1, id % MEMBERS + 1)
}

/// What was asked and answered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: HashSet<u64>,
    /// Asked for, and answered that nothing was applied.
    refused: HashSet<u64>,
    /// Asked for at all.
    asked: Vec<Range<u64>>,
}

impl Ledger {
    /// The events of these ids are asked for from now on.
    pub(super) fn ask(&mut self, ids: Range<u64>) {
        self.asked.push(ids);
    }

    /// The event is committed, somebody says.
    pub(super) fn acknowledge(&mut self, id: u64) {
        self.acknowledged.insert(id);
    }

    /// The event is not applied, somebody says.
    pub(super) fn refuse(&mut self, id: u64) {
        self.refused.insert(id);
    }

    /// Takes an answer down.
    ///
    /// # Errors
    ///
    /// [`Broken`] where it cannot be true after the answers before it.
    pub(super) fn answer(
        &mut self,
        id: u64,
        answer: &Result<EventOutcome, RepositoryError>,
    ) -> Result<(), Broken> {
        match answer {
            Ok(EventOutcome::Duplicate) if self.refused.contains(&id) => Err(Broken::new(
                format_args!("event {id} was answered as not applied, and it was"),
            )),
            Ok(_) => {
                self.refused.remove(&id);
                self.acknowledged.insert(id);
                Ok(())
            }
            Err(error) => {
                match error.effect() {
                    Effect::NotApplied => self.refused.insert(id),
                    Effect::Unknown => self.refused.remove(&id),
                };
                Ok(())
            }
        }
    }

    /// How many events are acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// Holds the file against it: every acknowledged event is there, none that was refused or never
    /// asked for, each counted once, and the file is sound. Answers how many events are stored.
    ///
    /// # Errors
    ///
    /// [`Broken`], with the first difference.
    pub(super) fn check(&self, database: &Path) -> Result<u64, Broken> {
        let look = || -> rusqlite::Result<Held> { Held::of(database) };
        let held = look()
            .map_err(|error| Broken::new(format_args!("cannot look into the file: {error}")))?;
        if held.integrity != "ok" {
            return Err(Broken::new(format_args!(
                "integrity_check: {}",
                held.integrity
            )));
        }
        let lost = self.acknowledged.difference(&held.ids).count();
        if lost > 0 {
            return Err(Broken::new(format_args!(
                "{lost} acknowledged events are not in the file"
            )));
        }
        if let Some(id) = held.ids.intersection(&self.refused).next() {
            return Err(Broken::new(format_args!(
                "event {id} was answered as not applied, and is in the file"
            )));
        }
        let asked = |id: &u64| self.asked.iter().any(|ids| ids.contains(id));
        if let Some(id) = held.ids.iter().find(|id| !asked(id)) {
            return Err(Broken::new(format_args!(
                "event {id} is in the file, and nobody asked for it"
            )));
        }
        let mut expected = vec![0; usize::try_from(MEMBERS).unwrap_or(0)];
        for id in &held.ids {
            expected[usize::try_from(id % MEMBERS).unwrap_or(0)] += 1;
        }
        for (user, messages) in (1..).zip(expected) {
            let found = held.members.iter().find(|(known, ..)| *known == user);
            let counted = found.map_or(0, |(_, messages, _)| *messages);
            if counted != messages {
                return Err(Broken::new(format_args!(
                    "member {user} has {messages} events in the file, and counts {counted}"
                )));
            }
            if let Some((_, _, score)) = found
                && (score - 1.0).abs() > f64::EPSILON
            {
                return Err(Broken::new(format_args!(
                    "member {user} has a score of {score} from messages of one second"
                )));
            }
        }
        if held.daily != held.ids.len() as u64 {
            return Err(Broken::new(format_args!(
                "the days count {} messages of {} events",
                held.daily,
                held.ids.len()
            )));
        }
        Ok(held.ids.len() as u64)
    }
}

/// What a file has.
struct Held {
    integrity: String,
    ids: HashSet<u64>,
    /// User, messages, score.
    members: Vec<(u64, u64, f64)>,
    daily: u64,
}

impl Held {
    fn of(database: &Path) -> rusqlite::Result<Self> {
        // Not read-only: what a killed process left behind has to be taken over first.
        let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            integrity: connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?,
            ids: rows(&connection, "SELECT event_id FROM activity_event", |row| {
                row.get::<_, i64>(0).map(i64::cast_unsigned)
            })?
            .into_iter()
            .collect(),
            members: rows(
                &connection,
                "SELECT user_id, messages, score FROM activity_meter",
                |row| {
                    let (user, messages): (i64, i64) = (row.get(0)?, row.get(1)?);
                    Ok((user.cast_unsigned(), messages.cast_unsigned(), row.get(2)?))
                },
            )?,
            daily: one("SELECT coalesce(sum(msg_cnt), 0) FROM activity_daily")?.cast_unsigned(),
        })
    }
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare(sql)?
        .query_map([], |r| row(r))?
        .collect()
}

/// Opens a database as any other program would, beside the adapter.
#[expect(
    clippy::disallowed_methods,
    reason = "the part of another program, which knows nothing of the adapter"
)]
pub(crate) fn open(database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(database, flags)
}
