//! Looking at a file before it is migrated: what is in it, and what would become of it.
//!
//! The rows are read by the very statements of the migration that takes them over, in temporary views
//! and tables of a connection that changes nothing, so that both cannot come to different results.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::admin::integrity::{Integrity, diagnose, is_damage, size_fault};
use crate::config::Config;
use crate::connection::{AttemptError, ConnectionFactory, whole_unless_interrupted};
use crate::error::OpenError;
use crate::files::wal_path;
use crate::migration::{MigrationName, checked_status, due, latest, migrations};
use crate::takeover::Takeover;
use crate::takeover::compare::{Comparison, compare};
use crate::takeover::foreign::{self, ForeignObject};
use crate::takeover::legacy::{Contents, LegacyKind};
use crate::takeover::since::SinceTakeover;

/// What a database file holds, and what a migration would do with it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Audit {
    /// The file's absolute path.
    pub path: PathBuf,
    /// What was found in it; `None` where the file is so damaged, or so little a database, that it cannot
    /// be told.
    pub contents: Option<Contents>,
    /// The schema's version; 0 where there is none.
    pub version: i32,
    /// The migrations still due.
    pub pending: Vec<MigrationName>,
    /// Size of the database and its WAL.
    pub database_bytes: u64,
    /// How much free disk space a migration takes at most, about: the copy beside the file, the rows
    /// once more, and the temporary files.
    pub disk_needed_bytes: u64,
    /// What SQLite's own check of the whole file found; empty where all is well.
    pub damage: Vec<String>,
    /// Tables of other modules that SQLite could not check, and why.
    pub unchecked: Vec<String>,
    /// What would become of the original's rows, by the default strategy. Where they were taken over
    /// already: what became of them.
    pub takeover: Takeover,
    /// Members after the migration.
    pub members: u64,
    /// Messages in the days' rows.
    pub daily_messages: u64,
    /// Rows with a time in milliseconds.
    pub millisecond_timestamps: u64,
    /// Rows with a score below 0, above the guild's maximum, or infinite.
    pub out_of_range_scores: u64,
    /// Rows whose score or time is neither missing nor a number, or is beyond any time; it counts as 0.
    pub unreadable_values: u64,
    /// The reasons for which rows would be quarantined, the most frequent first.
    pub quarantine_reasons: Vec<Reason>,
    /// The members with the most rows, and what each strategy would keep.
    pub worst_duplicates: Vec<DuplicateKey>,
    /// The sum of all scores by each strategy: max, sum, latest.
    pub sum_scores: [f64; 3],
    /// The sum of all times, in seconds; the same by all strategies.
    pub sum_last_msg: i64,
    /// What another program has written since the rows were taken over; `None` where they were not.
    pub since_takeover: Option<SinceTakeover>,
    /// What members see of it, before and after.
    pub comparison: Comparison,
    /// Objects of other modules that name the meter's or the original's tables, or do not work.
    pub foreign_objects: Vec<ForeignObject>,
}

/// Why rows would be quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The table they are in.
    pub source: String,
    /// Which column is at fault.
    pub fault: String,
    /// How many.
    pub rows: u64,
}

/// A member with several rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DuplicateKey {
    /// The guild.
    pub guild_id: i64,
    /// The user.
    pub user_id: i64,
    /// How many rows there are.
    pub rows: u64,
    /// The score that each strategy would keep: max, sum, latest.
    pub keeps: [f64; 3],
}

impl Audit {
    /// Whether a migration would have to merge or quarantine rows, an object of another module does not
    /// work or is in the way, the file is damaged or cannot be checked in part, or another program has
    /// written to it since its takeover.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        !self.damage.is_empty()
            || !self.unchecked.is_empty()
            || self.since_takeover.is_some_and(SinceTakeover::is_any)
            || self.foreign_objects.iter().any(|object| !object.is_sound())
            || matches!(self.contents, Some(Contents::Legacy(_))) && self.takeover.changed_rows()
    }
}

/// Looks at the database that `config` names. Reads only; creates nothing that stays.
///
/// Blocks the calling thread; on a large database of the original bot for about as long as its
/// migration, and with as much temporary disk space.
///
/// # Errors
///
/// [`OpenError`] where the file is missing, may not be read, or is one that no migration would touch.
/// Damage is a finding.
pub fn audit(config: &Config) -> Result<Audit, OpenError> {
    whole_unless_interrupted(config, || {
        let factory = ConnectionFactory::new(config)?;
        let path = factory.path().to_owned();
        let bytes = |path| fs::metadata(path).map_or(0, |file| file.len());
        let database_bytes = bytes(path.clone()) + bytes(wal_path(&path));
        let mut audit = Audit {
            path,
            contents: None,
            version: 0,
            pending: Vec::new(),
            database_bytes,
            disk_needed_bytes: 0,
            damage: Vec::new(),
            unchecked: Vec::new(),
            takeover: Takeover::default(),
            members: 0,
            daily_messages: 0,
            millisecond_timestamps: 0,
            out_of_range_scores: 0,
            unreadable_values: 0,
            quarantine_reasons: Vec::new(),
            worst_duplicates: Vec::new(),
            sum_scores: [0.0; 3],
            sum_last_msg: 0,
            since_takeover: None,
            comparison: Comparison::default(),
            foreign_objects: Vec::new(),
        };
        match look_through(&factory, &mut audit) {
            Err(error) if is_damage(&error) => {
                for finding in diagnose(&factory, &error) {
                    if !audit.damage.contains(&finding) {
                        audit.damage.push(finding);
                    }
                }
            }
            looked => looked?,
        }
        Ok(audit)
    })
}

fn look_through(factory: &ConnectionFactory, audit: &mut Audit) -> Result<(), OpenError> {
    let status = checked_status(factory)?;
    if status.contents == Contents::Missing {
        return Err(OpenError::Missing {
            path: audit.path.clone(),
        });
    }
    audit.contents = Some(status.contents);
    audit.version = status.version;
    audit.pending = status.pending;
    let unread = audit.clone();
    factory.checking(|connection| {
        *audit = unread.clone();
        let Integrity { damage, unchecked } = Integrity::of(connection)?;
        audit.damage = size_fault(factory, connection)?
            .into_iter()
            .chain(damage)
            .collect();
        audit.unchecked = unchecked;
        audit.foreign_objects = foreign::examine(connection, &due(audit.version, latest()))?;
        match audit.contents {
            Some(Contents::Legacy(kind)) => {
                // Copy, rows, and the temporary tables.
                audit.disk_needed_bytes = 4 * audit.database_bytes;
                legacy_rows(connection, kind, audit).and_then(|()| {
                    audit.comparison = compare(connection, factory.now())?;
                    Ok(())
                })
            }
            Some(Contents::Ours) => own_rows(connection, audit).and_then(|()| {
                audit.since_takeover = SinceTakeover::read(connection, factory.now())?;
                Ok(())
            }),
            _ => Ok(()),
        }
        .map_err(AttemptError::from)
    })
}

fn own_rows(connection: &Connection, audit: &mut Audit) -> rusqlite::Result<()> {
    audit.takeover = Takeover::read(connection)?.unwrap_or_default();
    (audit.members, audit.sum_scores[0], audit.sum_last_msg) = connection.query_row(
        "SELECT count(*), total(score), CAST(total(last_msg) AS INTEGER) FROM activity_meter",
        [],
        |row| {
            Ok((
                row.get::<_, i64>(0)?.unsigned_abs(),
                row.get(1)?,
                row.get(2)?,
            ))
        },
    )?;
    audit.sum_scores = [audit.sum_scores[0]; 3];
    audit.daily_messages = count(
        connection,
        "SELECT coalesce(sum(msg_cnt), 0) FROM activity_daily",
    )?;
    Ok(())
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection.query_row(sql, [], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

/// The statements of the migration that read the original's rows.
fn reading_statements() -> String {
    let migration = migrations()
        .iter()
        .find(|migration| migration.version() == 2)
        .and_then(|migration| migration.sql().map(str::to_owned))
        .unwrap_or_default();
    migration
        .split_once("-- Which of the tables")
        .and_then(|(_, rest)| rest.split_once("-- Up to here."))
        .map(|(shared, _)| format!("-- {shared}"))
        .unwrap_or_default()
}

fn legacy_rows(
    connection: &Connection,
    kind: LegacyKind,
    audit: &mut Audit,
) -> rusqlite::Result<()> {
    // What is created is in the temporary database alone: every name is either qualified or new.
    connection.pragma_update(None, "query_only", 0)?;
    connection.pragma_update(None, "temp_store", 1)?;
    for table in [
        "meter",
        "daily",
        "report_channel",
        "activity_report_channel",
    ] {
        if !connection.table_exists(Some("main"), table)? {
            connection.execute_batch(&format!(
                "CREATE TEMP TABLE {table} (guild_id, user_id, score, last_msg, ymd, msg_cnt, channel_id)"
            ))?;
        }
    }
    if kind != LegacyKind::SetAside {
        for table in ["activity_meter", "activity_daily", "activity_settings"] {
            connection.execute_batch(&if connection.table_exists(Some("main"), table)? {
                format!("CREATE TEMP VIEW legacy_{table} AS SELECT * FROM main.{table}")
            } else {
                format!("CREATE TEMP TABLE legacy_{table} (guild_id)")
            })?;
        }
    }
    connection.execute_batch(&reading_statements())?;
    connection.execute_batch(JUDGING_STATEMENTS)?;

    let mut statement =
        connection.prepare("SELECT kind, source, taken, quarantined FROM judged")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let (source, taken, quarantined) = (number(1)?, number(2)?, number(3)?);
        let counts = match row.get::<_, String>(0)?.as_str() {
            "members" => &mut audit.takeover.members,
            "days" => &mut audit.takeover.days,
            "settings" => &mut audit.takeover.settings,
            _ => &mut audit.takeover.report_channels,
        };
        counts.source = source;
        counts.taken = taken;
        counts.quarantined = quarantined;
        counts.merged = source.saturating_sub(taken + quarantined);
    }
    audit.members = audit.takeover.members.taken;
    audit.daily_messages = count(
        connection,
        "SELECT coalesce(sum(msg_cnt), 0) FROM (
        SELECT max(msg_cnt) AS msg_cnt FROM legacy_daily_row WHERE guild_id > 0
        GROUP BY ymd, guild_id, user_id)",
    )?;
    connection.query_row(
        "SELECT
            count(*) FILTER (WHERE last_msg >= 100000000000 AND last_msg < 100000000000000),
            count(*) FILTER (WHERE n.score < 0 OR n.score > max(100.0, coalesce(max_score, 0))),
            count(*) FILTER (WHERE score IS NULL AND raw_score IS NOT NULL
                OR last_msg IS NULL AND raw_last_msg IS NOT NULL OR last_msg >= 100000000000000)
         FROM legacy_meter_number AS n LEFT JOIN legacy_settings AS s ON s.guild_id = n.guild_id
         WHERE n.guild_id > 0 AND user_id > 0",
        [],
        |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            audit.millisecond_timestamps = number(0)?;
            audit.out_of_range_scores = number(1)?;
            audit.unreadable_values = number(2)?;
            Ok(())
        },
    )?;
    (audit.sum_scores, audit.sum_last_msg) = connection.query_row(
        "SELECT total(max_score), total(sum_score), total(latest_score),
            CAST(total(last_msg) AS INTEGER) FROM judged_member",
        [],
        |row| Ok(([row.get(0)?, row.get(1)?, row.get(2)?], row.get(3)?)),
    )?;
    offenders(connection, audit)
}

/// The members with the most rows, and the reasons for a quarantine.
fn offenders(connection: &Connection, audit: &mut Audit) -> rusqlite::Result<()> {
    audit.worst_duplicates = connection
        .prepare(
            "SELECT guild_id, user_id, rows, max_score, sum_score, latest_score FROM judged_member
             WHERE rows > 1 ORDER BY rows DESC, guild_id, user_id LIMIT 5",
        )?
        .query_map([], |row| {
            Ok(DuplicateKey {
                guild_id: row.get(0)?,
                user_id: row.get(1)?,
                rows: row.get::<_, i64>(2)?.unsigned_abs(),
                keeps: [row.get(3)?, row.get(4)?, row.get(5)?],
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    audit.quarantine_reasons = connection
        .prepare(
            "SELECT source, fault, count(*) FROM judged_fault GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        )?
        .query_map([], |row| {
            Ok(Reason {
                source: row.get(0)?,
                fault: row.get(1)?,
                rows: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// On top of the migration's statements: what they would lead to.
const JUDGING_STATEMENTS: &str = "
CREATE TEMP TABLE judged_member AS
SELECT r.guild_id, r.user_id, count(*) AS rows, max(score) AS max_score,
    min(sum(score), max(100.0, coalesce(max(s.max_score), 0))) AS sum_score,
    max(last_msg) AS last_msg, 0.0 AS latest_score
FROM legacy_meter_row AS r LEFT JOIN legacy_settings AS s ON s.guild_id = r.guild_id
WHERE r.guild_id > 0
GROUP BY r.guild_id, r.user_id;
CREATE INDEX temp.judged_member_key ON judged_member (guild_id, user_id);
UPDATE judged_member AS m SET latest_score = l.score
FROM (
    SELECT r.guild_id, r.user_id, max(r.score) AS score
    FROM legacy_meter_row AS r JOIN judged_member AS j
        ON j.guild_id = r.guild_id AND j.user_id = r.user_id AND j.last_msg = r.last_msg
    GROUP BY r.guild_id, r.user_id) AS l
WHERE m.guild_id = l.guild_id AND m.user_id = l.user_id;

CREATE TEMP VIEW judged_fault AS
SELECT source, CASE WHEN guild_id > 0 THEN 'user_id' ELSE 'guild_id' END AS fault
FROM legacy_meter_number WHERE (guild_id > 0 AND user_id > 0) IS NOT 1
UNION ALL
SELECT source, CASE WHEN guild_id > 0 AND user_id > 0 THEN 'ymd'
    WHEN guild_id > 0 THEN 'user_id' ELSE 'guild_id' END
FROM legacy_daily_number WHERE (guild_id > 0 AND user_id > 0 AND ymd IS NOT NULL) IS NOT 1
UNION ALL
SELECT source, 'guild_id' FROM legacy_settings_number WHERE (guild_id > 0) IS NOT 1
UNION ALL
SELECT source, CASE WHEN guild_id > 0 THEN 'channel_id' ELSE 'guild_id' END
FROM legacy_channel_number WHERE (guild_id > 0 AND channel_id > 0) IS NOT 1;

CREATE TEMP VIEW judged AS
SELECT 'members' AS kind, (SELECT count(*) FROM legacy_meter_raw) AS source,
    (SELECT count(*) FROM judged_member) AS taken,
    (SELECT count(*) FROM legacy_meter_row WHERE guild_id = 0) AS quarantined
UNION ALL
SELECT 'days', (SELECT count(*) FROM legacy_daily_raw),
    (SELECT count(*) FROM (SELECT DISTINCT ymd, guild_id, user_id FROM legacy_daily_row WHERE guild_id > 0)),
    (SELECT count(*) FROM legacy_daily_row WHERE guild_id = 0)
UNION ALL
SELECT 'settings', (SELECT count(*) FROM legacy_settings_raw),
    (SELECT count(*) FROM legacy_settings),
    (SELECT count(*) FROM judged_fault WHERE source = 'activity_settings')
UNION ALL
SELECT 'report channels', (SELECT count(*) FROM legacy_channel_raw),
    (SELECT count(*) FROM legacy_channel AS c JOIN legacy_guild AS g USING (guild_id)
        WHERE g.report_channel_id = c.channel_id),
    (SELECT count(*) FROM judged_fault WHERE source IN ('report_channel', 'activity_report_channel'));
";
