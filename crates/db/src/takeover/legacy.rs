//! What a database file holds: nothing, the meter's own schema, other modules' tables, or one of
//! the schemas of the original bot.

use std::fmt;

use rusqlite::Connection;

use crate::takeover::TAKEOVER_TABLE;

/// What a file was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contents {
    /// There is no file.
    Missing,
    /// No table at all.
    Empty,
    /// Tables of other modules alone.
    Foreign,
    /// The meter's schema.
    Ours,
    /// A schema of the original bot.
    Legacy(LegacyKind),
}

/// The schemas that the original bot has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LegacyKind {
    /// Tables `meter`, `daily`, `report_channel`.
    V23,
    /// Table `activity_meter` with a score and a time alone. Version 2.4.0 created it with a primary
    /// key; scripts of the original that undo its later migrations leave it without one.
    V240,
    /// Table `activity_meter` with columns `created_at` and `updated_at`.
    V241,
    /// Some of the original's tables, but not `activity_meter`.
    Partial,
    /// Rows of the original bot that were set aside by the migrations and not taken over.
    SetAside,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no file"),
            Self::Empty => f.write_str("an empty database"),
            Self::Foreign => f.write_str("other modules' tables, no activity meter"),
            Self::Ours => f.write_str("an activity meter"),
            Self::Legacy(kind) => write!(f, "a database of the original bot ({kind})"),
        }
    }
}

impl fmt::Display for LegacyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V23 => "version 2.3: tables `meter` and `daily`",
            Self::V240 => "version 2.4.0: `activity_meter` without `created_at` and `updated_at`",
            Self::V241 => {
                "version 2.4.1 or later: `activity_meter` with `created_at` and `updated_at`"
            }
            Self::Partial => "some of its tables",
            Self::SetAside => "its tables were set aside by a migration program",
        })
    }
}

/// The table in which refinery keeps the history of migrations.
pub(crate) const HISTORY_TABLE: &str = "refinery_schema_history";

/// Looks at the schema that `connection` sees. Reads only.
pub(crate) fn inspect(connection: &Connection) -> rusqlite::Result<Contents> {
    let tables = tables(connection)?;
    let has = |name: &str| tables.iter().any(|table| table.eq_ignore_ascii_case(name));

    if has(HISTORY_TABLE) && has("activity_event") {
        if has(TAKEOVER_TABLE) {
            return Ok(Contents::Ours);
        }
        for table in SET_ASIDE.into_iter().filter(|table| has(table)) {
            if has_rows(connection, table)? {
                return Ok(Contents::Legacy(LegacyKind::SetAside));
            }
        }
        // Version 2.3's were not set aside: they are in nobody's way.
        return Ok(if is_v23(connection)? {
            Contents::Legacy(LegacyKind::SetAside)
        } else {
            Contents::Ours
        });
    }
    if has("activity_meter") {
        let stamped = has_columns(connection, "activity_meter", &["created_at", "updated_at"])?;
        return Ok(Contents::Legacy(if stamped {
            LegacyKind::V241
        } else {
            LegacyKind::V240
        }));
    }
    if is_v23(connection)? {
        return Ok(Contents::Legacy(LegacyKind::V23));
    }
    if [
        "activity_daily",
        "activity_settings",
        "activity_report_channel",
    ]
    .into_iter()
    .any(has)
        || has_columns(
            connection,
            "daily",
            &["ymd", "guild_id", "user_id", "msg_cnt"],
        )?
        || has_columns(connection, "report_channel", &["guild_id", "channel_id"])?
    {
        return Ok(Contents::Legacy(LegacyKind::Partial));
    }
    Ok(
        match tables
            .iter()
            .filter(|table| !table.eq_ignore_ascii_case(HISTORY_TABLE))
            .count()
        {
            0 => Contents::Empty,
            _ => Contents::Foreign,
        },
    )
}

/// The names under which V1 sets the original's tables aside.
pub(crate) const SET_ASIDE: [&str; 3] = [
    "legacy_activity_meter",
    "legacy_activity_daily",
    "legacy_activity_settings",
];

/// All tables that the migration which takes rows over may read: the original's, where they are.
pub(crate) const SOURCES: [&str; 10] = [
    "activity_meter",
    "activity_daily",
    "activity_settings",
    "activity_report_channel",
    "meter",
    "daily",
    "report_channel",
    "legacy_activity_meter",
    "legacy_activity_daily",
    "legacy_activity_settings",
];

fn is_v23(connection: &Connection) -> rusqlite::Result<bool> {
    has_columns(connection, "meter", &["guild_id", "user_id", "score"])
}

/// A table of the original's that the migrations cannot read, and why; `None` where all is well.
pub(crate) fn unknown_shape(
    connection: &Connection,
    contents: Contents,
) -> rusqlite::Result<Option<(String, &'static str)>> {
    if !matches!(contents, Contents::Legacy(_)) {
        return Ok(None);
    }
    let mut statement =
        connection.prepare("SELECT name, type FROM pragma_table_list WHERE schema = 'main'")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        // Once they are set aside, the tables of these names are the meter's.
        let lower = name.to_ascii_lowercase();
        let ours = contents == Contents::Legacy(LegacyKind::SetAside)
            && ["activity_meter", "activity_daily", "activity_settings"].contains(&&*lower);
        if ours || !SOURCES.contains(&&*lower) {
            continue;
        }
        let reason = if kind != "table" {
            Some("it is no plain table")
        } else if lower.ends_with("activity_meter")
            && !has_columns(connection, &name, &["guild_id", "user_id"])?
        {
            Some("it has no columns `guild_id` and `user_id`")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Ok(Some((name, reason)));
        }
    }
    Ok(None)
}

/// How many rows the original's tables hold, for the progress of taking them over.
pub(crate) fn source_rows(connection: &Connection) -> rusqlite::Result<u64> {
    let tables = tables(connection)?;
    SOURCES
        .into_iter()
        .filter(|source| {
            tables
                .iter()
                .any(|table| table.eq_ignore_ascii_case(source))
        })
        .try_fold(0, |sum, table| {
            let rows: i64 =
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                    row.get(0)
                })?;
            Ok(sum + rows.unsigned_abs())
        })
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// `table` is a name that this crate knows, never one that was read from a file.
pub(crate) fn has_rows(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        &format!("SELECT EXISTS (SELECT 1 FROM main.{table})"),
        [],
        |row| row.get(0),
    )
}

pub(crate) fn has_columns(
    connection: &Connection,
    table: &str,
    wanted: &[&str],
) -> rusqlite::Result<bool> {
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info(?1, 'main')")?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(wanted.iter().all(|name| {
        columns
            .iter()
            .any(|column| column.eq_ignore_ascii_case(name))
    }))
}
