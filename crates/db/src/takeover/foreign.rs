//! Objects of other modules in the file: what a migration does to them, and which are in its way.
//!
//! SQLite answers, not a parser of ours: the file's schema is built once more in memory, without rows,
//! and migrated there. What compiles before and not after is broken by the migration.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use refinery::Migration;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, params};

use crate::connection::ConnectionFactory;
use crate::migration::name_of;
use crate::migration::objects::{self, Object};
use crate::sql::WriteStatements;
use crate::takeover::legacy::{SET_ASIDE, SOURCES, has_columns};

/// A view, a trigger, or a table of another module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignObject {
    /// `view`, `trigger`, `foreign key`, `table` or `index`.
    pub kind: String,
    /// Its name; of a foreign key that of its table.
    pub name: String,
    /// What becomes of it.
    pub outlook: Outlook,
}

/// What becomes of an object of another module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outlook {
    /// It names a table of the meter's and works with it, now and after the migration.
    Follows,
    /// It does not work as the file is. What SQLite says of it.
    Broken(String),
    /// It works with the original's tables, and not with the meter's. What SQLite says of it.
    Breaks(String),
    /// It reads, changes or waits for a table of the original that nobody writes to any more.
    Stale(String),
    /// With it there the meter cannot be created, or cannot record. Why.
    InTheWay(String),
}

impl ForeignObject {
    /// Whether it works, and is in nobody's way.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.outlook == Outlook::Follows
    }

    fn new(object: &Object, outlook: Outlook) -> Self {
        // Of a table, only what it refers to is looked at, and its name.
        let kind = match (&*object.kind, &outlook) {
            ("table", Outlook::InTheWay(_)) => "table",
            ("table", _) => "foreign key",
            (kind, _) => kind,
        };
        Self {
            kind: kind.to_owned(),
            name: object.name.clone(),
            outlook,
        }
    }
}

impl fmt::Display for ForeignObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, .. } = self;
        if kind == "foreign key" {
            write!(f, "a foreign key of table `{name}` ")?;
        } else {
            write!(f, "{kind} `{name}` ")?;
        }
        match &self.outlook {
            Outlook::Follows => write!(f, "works with the meter's tables"),
            Outlook::Broken(reason) => write!(f, "does not work already: {reason}"),
            Outlook::Breaks(reason) => write!(f, "will not work any more: {reason}"),
            Outlook::Stale(table) => {
                write!(f, "depends on `{table}`, which nothing writes to any more")
            }
            Outlook::InTheWay(reason) => write!(f, "is in the way: {reason}"),
        }
    }
}

/// The tables of the meter's that have the original's names.
const LIVING: [&str; 3] = ["activity_meter", "activity_daily", "activity_settings"];

/// The original's tables that keep their names, and the columns by which they are known.
const KEPT: [(&str, &[&str]); 4] = [
    ("meter", &["guild_id", "user_id", "score"]),
    ("daily", &["ymd", "guild_id", "user_id", "msg_cnt"]),
    ("report_channel", &["guild_id", "channel_id"]),
    ("activity_report_channel", &["guild_id", "channel_id"]),
];

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// What the migrations `due` would do to other modules' objects in the file. Reads only.
pub(crate) fn examine(
    connection: &Connection,
    due: &[Migration],
) -> rusqlite::Result<Vec<ForeignObject>> {
    let objects = objects::objects(connection)?;
    let mut found = taken_names(&objects, due)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let before = Copy::new(&objects)?;
    let after = Copy::new(&objects)?;
    for migration in due {
        let sql = migration.sql().unwrap_or_default();
        if let Err(error) = after.connection.execute_batch(sql) {
            return Ok(vec![ForeignObject {
                kind: "migration".to_owned(),
                name: name_of(migration).to_string(),
                outlook: Outlook::InTheWay(message(&error)),
            }]);
        }
    }
    let mut stale = SET_ASIDE.to_vec();
    for (table, columns) in KEPT {
        if has_columns(&after.connection, table, columns)? {
            stale.push(table);
        }
    }
    for object in &objects {
        let outlook = match &*object.kind {
            "view" | "trigger" => judged(&before, &after, &stale, object)?,
            "table" if !is_one_of(&SOURCES, &object.name) => keys(&before, &after, &object.name)?,
            _ => None,
        };
        match outlook {
            // The file may need a module that is not linked here.
            Some(Outlook::Broken(_)) if !before.complete => {}
            outlook => found.extend(outlook.map(|how| ForeignObject::new(object, how))),
        }
    }
    find_obstacles(&after, &objects, &mut found)?;
    Ok(found)
}

/// The objects that have names which the migrations give to others.
fn taken_names(objects: &[Object], due: &[Migration]) -> rusqlite::Result<Vec<ForeignObject>> {
    let mut found = Vec::new();
    for step in objects::steps()? {
        if !due
            .iter()
            .any(|due| due.version() == step.migration.version())
        {
            continue;
        }
        for name in &step.creates {
            // Triggers have names of their own.
            let there = objects
                .iter()
                .find(|object| object.kind != "trigger" && object.name.eq_ignore_ascii_case(name));
            // The original's tables make room.
            found.extend(
                there
                    .filter(|there| there.kind != "table" || !is_one_of(&LIVING, name))
                    .map(|there| {
                        let reason = "the meter needs this name, rename it".to_owned();
                        ForeignObject::new(there, Outlook::InTheWay(reason))
                    }),
            );
        }
    }
    found.dedup();
    Ok(found)
}

/// The tables and columns that a statement uses, in lower case.
type Uses = BTreeSet<(String, String)>;

/// A database in memory with the objects of a file, but for its rows and triggers.
struct Copy {
    connection: Connection,
    /// Whether all tables could be created.
    complete: bool,
    /// What compiled statements use: all of it, and what the triggers and views in them use.
    uses: Arc<Mutex<[Uses; 2]>>,
}

impl Copy {
    fn new(objects: &[Object]) -> rusqlite::Result<Self> {
        let connection = ConnectionFactory::scratch()?;
        connection.pragma_update(None, "foreign_keys", 0)?;
        let mut copy = Self {
            connection,
            complete: true,
            uses: Arc::default(),
        };
        let order = |object: &&Object| match &*object.kind {
            // Creating a virtual table creates those that it is kept in.
            "table" if is_virtual(object) => 0,
            "table" => 1,
            "index" => 2,
            _ => 3,
        };
        let mut ordered: Vec<_> = objects
            .iter()
            .filter(|object| object.kind != "trigger")
            .collect();
        ordered.sort_by_key(order);
        for object in ordered {
            if copy.create(object).is_err() && object.kind == "table" {
                copy.complete &= copy.connection.table_exists(Some("main"), &object.name)?;
            }
        }
        let uses = Arc::clone(&copy.uses);
        let note = move |context: AuthContext<'_>| {
            if let Some(access) = access(&context.action) {
                let [all, by_objects] = &mut *uses.lock().unwrap_or_else(PoisonError::into_inner);
                if context.accessor.is_some() {
                    by_objects.insert(access.clone());
                }
                all.insert(access);
            }
            Authorization::Allow
        };
        copy.connection.authorizer(Some(note))?;
        Ok(copy)
    }

    /// Creates what the file says, and nothing else: its text may have been written by hand.
    fn create(&self, object: &Object) -> rusqlite::Result<()> {
        let creates = object
            .sql
            .get(..7)
            .is_some_and(|word| word.eq_ignore_ascii_case("create "));
        if !creates {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.connection.prepare(&object.sql)?.execute([]).map(drop)
    }

    /// What a statement uses, and what the triggers and views in it use; or why it does not compile.
    fn compile(&self, statement: &str) -> Result<[Uses; 2], String> {
        let uses = || self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        *uses() = Default::default();
        match self.connection.prepare(statement) {
            Ok(_) => Ok(std::mem::take(&mut *uses())),
            Err(error) => Err(message(&error)),
        }
    }

    /// What a view or a trigger uses, or why it does not work.
    fn uses_of(&self, object: &Object) -> rusqlite::Result<Result<Uses, String>> {
        if object.kind == "view" {
            let select = format!("SELECT * FROM main.{}", quoted(&object.name));
            return Ok(self.compile(&select).map(|[all, _]| all));
        }
        // A trigger is compiled with each statement that fires it.
        if let Err(error) = self.create(object) {
            return Ok(Err(message(&error)));
        }
        let table: String = self.connection.query_row(
            "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1",
            [&object.name],
            |row| row.get(0),
        )?;
        let changes = self.changes_of(&table)?;
        let with: Vec<_> = changes.iter().map(|change| self.compile(change)).collect();
        let drop = format!("DROP TRIGGER main.{}", quoted(&object.name));
        self.connection.execute_batch(&drop)?;
        let mut uses = Uses::new();
        for (change, with) in changes.iter().zip(with) {
            match with {
                Ok([_, more]) => uses.extend(more),
                Err(reason) if self.compile(change).as_ref() != Err(&reason) => {
                    return Ok(Err(reason));
                }
                Err(_) => {}
            }
        }
        if uses.is_empty() {
            return Ok(Err(format!("no change of `{table}` fires it")));
        }
        uses.insert((table.to_ascii_lowercase(), String::new()));
        Ok(Ok(uses))
    }

    /// A statement for each way to change a table or a view, with all its columns.
    fn changes_of(&self, table: &str) -> rusqlite::Result<[String; 3]> {
        let columns: Vec<String> = self
            .connection
            .prepare("SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0")?
            .query_map([table], |row| row.get::<_, String>(0))?
            .map(|name| name.map(|name| format!("{0} = {0}", quoted(&name))))
            .collect::<rusqlite::Result<_>>()?;
        let table = quoted(table);
        Ok([
            format!("INSERT INTO main.{table} DEFAULT VALUES"),
            format!("UPDATE main.{table} SET {}", columns.join(", ")),
            format!("DELETE FROM main.{table}"),
        ])
    }
}

/// The table and the column that a step of a statement uses.
fn access(action: &AuthAction<'_>) -> Option<(String, String)> {
    let (table, column) = match *action {
        AuthAction::Read {
            table_name,
            column_name,
        }
        | AuthAction::Update {
            table_name,
            column_name,
        } => (table_name, column_name),
        AuthAction::Insert { table_name } | AuthAction::Delete { table_name } => (table_name, ""),
        // Of a trigger that uses no table.
        AuthAction::Select => ("", ""),
        _ => return None,
    };
    Some((table.to_ascii_lowercase(), column.to_ascii_lowercase()))
}

fn is_virtual(table: &Object) -> bool {
    let mut words = table.sql.split_ascii_whitespace().skip(1);
    words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("virtual"))
}

/// What becomes of a view or a trigger; `None` where it has to do with none of the tables.
fn judged(
    before: &Copy,
    after: &Copy,
    stale: &[&str],
    object: &Object,
) -> rusqlite::Result<Option<Outlook>> {
    let was = before.uses_of(object)?;
    let uses = match (&was, after.uses_of(object)?) {
        (Err(reason), Err(_)) => return Ok(Some(Outlook::Broken(reason.clone()))),
        (Ok(_), Err(reason)) => return Ok(Some(Outlook::Breaks(reason))),
        (_, Ok(uses)) => uses,
    };
    // A name in double quotes compiles also where it is no column any more: it is a text then.
    for (table, column) in was.iter().flatten() {
        if LIVING.contains(&&**table)
            && !["", "rowid"].contains(&&**column)
            && !has_columns(&after.connection, table, &[column])?
        {
            let reason = format!("no such column: {table}.{column}");
            return Ok(Some(Outlook::Breaks(reason)));
        }
    }
    let uses_table = |table: &&&str| uses.iter().any(|(used, _)| used == **table);
    if let Some(table) = stale.iter().find(uses_table) {
        return Ok(Some(Outlook::Stale((*table).to_owned())));
    }
    Ok(LIVING.iter().find(uses_table).map(|_| Outlook::Follows))
}

/// SQLite's message, without the statement that rusqlite adds.
fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const NAMES_METER: &str =
    "SELECT count(*) > 0 FROM pragma_foreign_key_list(?1) WHERE lower(\"table\") IN (?2, ?3, ?4)";

/// Whether a table's foreign keys match what they refer to, and whether that is the meter's.
fn keys(before: &Copy, after: &Copy, table: &str) -> rusqlite::Result<Option<Outlook>> {
    let mismatch = |Copy { connection: at, .. }: &Copy| -> rusqlite::Result<Option<String>> {
        let missing: Option<String> = at.query_row(
            "SELECT min(\"table\") FROM pragma_foreign_key_list(?1)
             WHERE lower(\"table\") NOT IN (SELECT lower(name) FROM sqlite_schema WHERE type = 'table')",
            [table],
            |row| row.get(0),
        )?;
        let check = format!("PRAGMA main.foreign_key_check({})", quoted(table));
        let checked = at
            .prepare(&check)
            .and_then(|mut check| check.query([])?.next().map(drop));
        Ok(missing
            .map(|parent| format!("no such table: {parent}"))
            .or_else(|| checked.err().map(|error| message(&error))))
    };
    let [meter, daily, settings] = LIVING;
    let names_meter: bool =
        after
            .connection
            .query_row(NAMES_METER, params![table, meter, daily, settings], |row| {
                row.get(0)
            })?;
    Ok(match (mismatch(before)?, mismatch(after)?) {
        (Some(reason), Some(_)) => Some(Outlook::Broken(reason)),
        (None, Some(reason)) => Some(Outlook::Breaks(reason)),
        (_, None) => names_meter.then_some(Outlook::Follows),
    })
}

/// Finds out whether the meter could record beside these objects, and which of them keep it from that.
fn find_obstacles(
    after: &Copy,
    objects: &[Object],
    found: &mut Vec<ForeignObject>,
) -> rusqlite::Result<()> {
    for trigger in objects.iter().filter(|object| object.kind == "trigger") {
        // One that cannot be created is found to be broken already.
        let _ = after.create(trigger);
    }
    let after = &after.connection;
    after.pragma_update(None, "foreign_keys", 1)?;
    let Err(error) = WriteStatements::prepare(after).map(drop) else {
        return Ok(());
    };
    let reason = format!("nothing could be recorded ({})", message(&error));
    let mut blamed = false;
    for object in &mut *found {
        let names_meter = match &*object.kind {
            "trigger" => {
                "SELECT count(*) > 0 FROM sqlite_schema
                WHERE type = 'trigger' AND name = ?1 AND lower(tbl_name) IN (?2, ?3, ?4)"
            }
            "foreign key" => NAMES_METER,
            _ => continue,
        };
        let [meter, daily, settings] = LIVING;
        let names_meter: bool = after.query_row(
            names_meter,
            params![object.name, meter, daily, settings],
            |row| row.get(0),
        )?;
        if names_meter && !object.is_sound() {
            object.outlook = Outlook::InTheWay(format!("{reason}; drop it"));
            blamed = true;
        }
    }
    if !blamed {
        found.push(ForeignObject {
            kind: "table".to_owned(),
            name: LIVING[0].to_owned(),
            outlook: Outlook::InTheWay(reason),
        });
    }
    Ok(())
}
