//! What members will see after a takeover, beside what the original shows them.
//!
//! Both scores are computed for one moment, ten minutes after the latest message in the file. Then the
//! grace of 2.4, five minutes, is over and that of 2.3, an hour, is not.

use rusqlite::Connection;

use roas_domain::UnixSeconds;

/// The scores of the original and those after a migration by the default strategy, compared.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// The moment, in Unix seconds; 0 where there is no member to compare.
    pub at: i64,
    /// The guilds with the most members, at most ten, the largest first.
    pub boards: Vec<Board>,
    /// How many settings in the file are not what they say.
    pub replaced_settings: u64,
    /// The first twenty of them.
    pub replaced: Vec<ReplacedSetting>,
}

/// A guild's top ten before and after.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Board {
    /// The guild.
    pub guild_id: i64,
    /// Its members after the migration.
    pub members: u64,
    /// Members that the original shows above 0.
    pub original_above_zero: u64,
    /// Members above 0 after the migration.
    pub above_zero: u64,
    /// Members whose score differs by 0.005 or more, so that it shows.
    pub differing_members: u64,
    /// Whoever is among the first ten of either, by the place after the migration.
    pub places: Vec<Place>,
}

/// A member on a [`Board`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// The user.
    pub user_id: i64,
    /// The place by the original's scores, from 1; equal scores rank by user id.
    pub original_rank: u64,
    /// The score that the original shows.
    pub original_score: f64,
    /// The place after the migration, from 1.
    pub rank: u64,
    /// The score after the migration.
    pub score: f64,
    /// Why the scores differ, in words; empty where they do not.
    pub why: String,
}

/// A guild's setting that is taken over with another value than is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplacedSetting {
    /// The guild.
    pub guild_id: i64,
    /// The column.
    pub setting: String,
    /// The value in the file, as an SQL literal.
    pub stored: String,
    /// The value that is taken over.
    pub taken: f64,
    /// Whether it is a 0, which the original read as its default; other values are not allowed here.
    pub is_zero: bool,
}

/// Compares, on top of the statements of the migration and of the audit.
pub(crate) fn compare(connection: &Connection, now: UnixSeconds) -> rusqlite::Result<Comparison> {
    let mut comparison = Comparison::default();
    (comparison.replaced_settings, comparison.replaced) = replaced_settings(connection)?;
    let latest: Option<i64> = connection.query_row(
        "SELECT max(last_msg) FROM judged_member WHERE last_msg <= ?1",
        [now.get()],
        |row| row.get(0),
    )?;
    let members: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM judged_member)", [], |row| {
            row.get(0)
        })?;
    if !members {
        return Ok(comparison);
    }
    comparison.at = latest.unwrap_or_else(|| now.get()) + MOMENT_AFTER_LATEST_SECONDS;
    connection.execute_batch(COMPARING_STATEMENTS)?;
    connection.execute(COMPARED, [comparison.at])?;
    connection.execute_batch("CREATE INDEX temp.compared_of_guild ON compared (guild_id)")?;
    comparison.boards = boards(connection)?;
    Ok(comparison)
}

/// After the grace of 2.4, and within that of 2.3.
const MOMENT_AFTER_LATEST_SECONDS: i64 = 600;

/// Scores are shown with two decimals.
const DIFFERS: &str = "abs(original - score) >= 0.005";

fn boards(connection: &Connection) -> rusqlite::Result<Vec<Board>> {
    let mut statement = connection.prepare(&format!(
        "SELECT guild_id, count(*), total(original > 0), total(score > 0), total({DIFFERS})
         FROM compared GROUP BY guild_id ORDER BY 2 DESC, 1"
    ))?;
    let mut boards: Vec<Board> = statement
        .query_map([], |row| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sums of 0 and 1"
            )]
            let number = |column| row.get::<_, f64>(column).map(|number| number as u64);
            Ok(Board {
                guild_id: row.get(0)?,
                members: row.get::<_, i64>(1)?.unsigned_abs(),
                original_above_zero: number(2)?,
                above_zero: number(3)?,
                differing_members: number(4)?,
                places: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(&format!(
        "SELECT user_id, original_rank, original, rank, score, iif({DIFFERS}, rtrim(why, ', '), '')
         FROM (
            SELECT *, row_number() OVER (ORDER BY original DESC, user_id) AS original_rank,
                row_number() OVER (ORDER BY score DESC, user_id) AS rank
            FROM compared WHERE guild_id = ?1)
         WHERE original_rank <= 10 OR rank <= 10 ORDER BY rank"
    ))?;
    for board in &mut boards {
        board.places = statement
            .query_map([board.guild_id], |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Place {
                    user_id: row.get(0)?,
                    original_rank: number(1)?,
                    original_score: row.get(2)?,
                    rank: number(3)?,
                    score: row.get(4)?,
                    why: row.get(5)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(boards)
}

/// The settings that take part in a score.
const SETTINGS: [&str; 5] = [
    "max_score",
    "gain_per_message",
    "decay_after_seconds",
    "decay_per_hour",
    "cooldown_seconds",
];

fn replaced_settings(connection: &Connection) -> rusqlite::Result<(u64, Vec<ReplacedSetting>)> {
    let of = |setting: &str| {
        format!(
            "SELECT s.guild_id, '{setting}' AS setting, quote(r.{setting}) AS stored,
                CAST(s.{setting} AS REAL) AS taken, n.{setting} IS 0 AS is_zero
             FROM legacy_settings AS s
             JOIN compared_setting AS n ON n.source_rowid = s.source_rowid
             JOIN compared_raw_setting AS r ON r.source_rowid = s.source_rowid
             WHERE r.{setting} IS NOT NULL AND n.{setting} IS NOT s.{setting}"
        )
    };
    let all = SETTINGS.map(of).join(" UNION ALL ");
    connection.execute_batch(
        // With a type, or the key is of no use in a comparison with another table's.
        "CREATE TEMP TABLE compared_setting (
            source_rowid INTEGER PRIMARY KEY, max_score, gain_per_message, decay_after_seconds,
            decay_per_hour, cooldown_seconds);
         INSERT INTO compared_setting
         SELECT source_rowid, max_score, gain_per_message, decay_after_seconds, decay_per_hour,
            cooldown_seconds FROM legacy_settings_number;
         CREATE TEMP TABLE compared_raw_setting (
            source_rowid INTEGER PRIMARY KEY, max_score, gain_per_message, decay_after_seconds,
            decay_per_hour, cooldown_seconds);
         INSERT INTO compared_raw_setting
         SELECT source_rowid, max_score, gain_per_message, decay_after_seconds, decay_per_hour,
            cooldown_seconds FROM legacy_settings_raw",
    )?;
    connection.execute_batch(&format!("CREATE TEMP TABLE compared_replaced AS {all}"))?;
    let count: i64 = connection.query_row("SELECT count(*) FROM compared_replaced", [], |row| {
        row.get(0)
    })?;
    let first = connection
        .prepare(
            "SELECT guild_id, setting, stored, taken, is_zero FROM compared_replaced
             ORDER BY guild_id, setting LIMIT 20",
        )?
        .query_map([], |row| {
            Ok(ReplacedSetting {
                guild_id: row.get(0)?,
                setting: row.get(1)?,
                stored: row.get(2)?,
                taken: row.get(3)?,
                is_zero: row.get(4)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((count.unsigned_abs(), first))
}

/// What the original reads, in the largest guilds: of each member the first row, in the table of the version that counts in the
/// guild; and that version's rules, a setting of 2.4 as `value or default`.
const COMPARING_STATEMENTS: &str = "
CREATE TEMP TABLE compared_guild (guild_id INTEGER PRIMARY KEY, source TEXT);
INSERT INTO compared_guild
SELECT g.guild_id, iif(e.in_v24, 'activity_meter', 'meter')
FROM (SELECT guild_id, count(*) FROM judged_member GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10) AS g
JOIN legacy_era AS e ON e.guild_id = g.guild_id;

CREATE TEMP TABLE compared_shown (
    guild_id INTEGER, user_id INTEGER, source_rowid INTEGER, score, last_msg,
    PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO compared_shown
SELECT n.guild_id, n.user_id, min(n.source_rowid), n.score, n.last_msg
FROM legacy_meter_number AS n JOIN compared_guild AS g ON g.guild_id = n.guild_id
WHERE n.user_id > 0 AND n.source = g.source
GROUP BY n.guild_id, n.user_id;

CREATE TEMP TABLE compared_rule (
    guild_id INTEGER PRIMARY KEY, original_grace, original_rate, grace, rate, ceiling
);
INSERT INTO compared_rule
SELECT g.guild_id,
    CASE WHEN c.source = 'meter' THEN 3600
        WHEN coalesce(n.decay_after_seconds, 0) = 0 THEN 300 ELSE n.decay_after_seconds END,
    CASE WHEN c.source = 'meter' THEN 2.0
        WHEN coalesce(n.decay_per_hour, 0) = 0 THEN 6.0 ELSE n.decay_per_hour END,
    g.decay_after_seconds, g.decay_per_hour, max(100.0, g.max_score)
FROM compared_guild AS c
JOIN legacy_guild AS g ON g.guild_id = c.guild_id
LEFT JOIN legacy_settings AS s ON s.guild_id = g.guild_id
LEFT JOIN compared_setting AS n ON n.source_rowid = s.source_rowid;

CREATE TEMP TABLE compared (guild_id INTEGER, user_id INTEGER, original REAL, score REAL, why TEXT);
";

const COMPARED: &str = "
INSERT INTO compared
SELECT m.guild_id, m.user_id,
    coalesce(CASE WHEN ?1 - o.last_msg > r.original_grace
        THEN max(0.0, o.score - r.original_rate / 3600.0 * (?1 - o.last_msg - r.original_grace))
        ELSE o.score END, 0.0),
    max(0.0, m.max_score - r.rate / 3600.0 * max(0, ?1 - m.last_msg - r.grace)),
    iif(o.guild_id IS NULL, 'only in the tables of 2.3, ', '')
        || iif(m.rows > 1 AND o.guild_id IS NOT NULL, 'several rows, ', '')
        || iif(o.last_msg >= 100000000000, 'time in milliseconds, ', '')
        || iif(o.score < 0 OR o.score > r.ceiling, 'score out of range, ', '')
        || iif(o.guild_id IS NOT NULL AND (o.score IS NULL OR o.last_msg IS NULL OR o.last_msg < 0),
            'unreadable value, ', '')
        || iif(r.original_grace <> r.grace OR r.original_rate <> r.rate, 'rules not allowed here, ', '')
FROM compared_rule AS r
CROSS JOIN judged_member AS m ON m.guild_id = r.guild_id
LEFT JOIN compared_shown AS o ON o.guild_id = m.guild_id AND o.user_id = m.user_id
";
