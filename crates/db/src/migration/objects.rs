//! What each migration leaves in a file, to tell whether a history is true.
//!
//! The truth is the migrations themselves: they are run once on an empty database in memory.

use std::sync::OnceLock;

use refinery::Migration;
use rusqlite::Connection;

use crate::connection::ConnectionFactory;
use crate::migration::history::{AppliedMigration, version_of};
use crate::migration::{insert_history, migrations};

/// A table, index, view or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// A migration with the objects that are there after it and were not before, and that stay.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) migration: Migration,
    /// The names that it gives, to tables that are set aside as well.
    pub(crate) creates: Vec<String>,
    pub(crate) objects: Vec<Object>,
}

/// How much of a step is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// All of it, to the letter.
    Whole,
    /// Nothing.
    Absent,
    /// Some of it: what is missing, and what is there in another form.
    Part {
        missing: Vec<Object>,
        different: Vec<String>,
    },
}

/// The migrations with what they create, in order.
pub(crate) fn steps() -> rusqlite::Result<&'static [Step]> {
    static STEPS: OnceLock<Vec<Step>> = OnceLock::new();
    if let Some(steps) = STEPS.get() {
        return Ok(steps);
    }
    let scratch = ConnectionFactory::scratch()?;
    let mut before = Vec::new();
    let mut steps = Vec::new();
    for migration in migrations() {
        scratch.execute_batch(migration.sql().unwrap_or_default())?;
        insert_history(&scratch, &migration, roas_domain::UnixSeconds::MIN)?;
        let after = objects(&scratch)?;
        let created = after.iter().filter(|object| !before.contains(*object));
        steps.push(Step {
            migration,
            creates: (created.clone().map(|object| object.name.clone()))
                .filter(|name| !name.starts_with("refinery_"))
                .collect(),
            objects: created
                .filter(|object| is_ours(&object.name))
                .cloned()
                .collect(),
        });
        before = after;
    }
    // What a later one has removed tells nothing of a file that has both.
    for step in &mut steps {
        step.objects.retain(|object| before.contains(object));
    }
    Ok(STEPS.get_or_init(|| steps))
}

/// What was set aside may be the original's, and the history is refinery's.
fn is_ours(name: &str) -> bool {
    !name.starts_with("legacy_activity_") && !name.starts_with("refinery_")
}

pub(crate) fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    connection
        .prepare(
            "SELECT type, name, sql FROM sqlite_schema
             WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )?
        .query_map([], |row| {
            Ok(Object {
                kind: row.get(0)?,
                name: row.get(1)?,
                sql: row.get(2)?,
            })
        })?
        .collect()
}

impl Step {
    /// How much of it is among `found`.
    pub(crate) fn presence(&self, found: &[Object]) -> Presence {
        let named = |wanted: &Object| {
            found
                .iter()
                .find(|object| object.name.eq_ignore_ascii_case(&wanted.name))
        };
        let missing: Vec<_> = self
            .objects
            .iter()
            .filter(|wanted| named(wanted).is_none())
            .cloned()
            .collect();
        let different: Vec<_> = self
            .objects
            .iter()
            .filter(|wanted| named(wanted).is_some_and(|there| there != *wanted))
            .map(|wanted| wanted.name.clone())
            .collect();
        if missing.is_empty() && different.is_empty() {
            Presence::Whole
        } else if missing.len() + different.len() == self.objects.len()
            && different.len() < self.objects.len()
        {
            // A table of ours that is there in another form is somebody else's.
            Presence::Absent
        } else {
            Presence::Part { missing, different }
        }
    }
}

/// What the history says otherwise than the file's tables, or lacks in the middle; `None` where they
/// agree.
pub(crate) fn contradiction(
    connection: &Connection,
    history: &[AppliedMigration],
) -> rusqlite::Result<Option<String>> {
    let version = version_of(history);
    let found = objects(connection)?;
    let steps = steps()?;
    if version > steps.last().map_or(0, |step| step.migration.version()) {
        return Ok(None);
    }
    let gap = (1..version).find(|number| history.iter().all(|applied| applied.version != *number));
    if let Some(number) = gap {
        return Ok(Some(format!(
            "its history has version {version}, but version {number} is missing there"
        )));
    }
    for step in steps {
        let number = step.migration.version();
        let missing: Vec<_> = step
            .objects
            .iter()
            .filter(|wanted| {
                !found
                    .iter()
                    .any(|object| object.name.eq_ignore_ascii_case(&wanted.name))
            })
            .map(|object| format!("`{}`", object.name))
            .collect();
        if number <= version && !missing.is_empty() {
            return Ok(Some(format!(
                "its history has version {number}, but {} is missing",
                missing.join(", ")
            )));
        }
        if number == version + 1
            && !step.objects.is_empty()
            && step.presence(&found) == Presence::Whole
        {
            return Ok(Some(format!(
                "it has the tables of version {number}, but its history does not"
            )));
        }
    }
    Ok(None)
}
