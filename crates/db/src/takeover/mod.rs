//! What became of the rows that a database of the original bot held.
//!
//! The work itself is plain SQL, in `migrations/V2__take_over_legacy.sql`; here is what it is told
//! and what it tells.

pub(crate) mod audit;
pub(crate) mod compare;
pub(crate) mod foreign;
pub(crate) mod legacy;
pub(crate) mod since;

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension};

/// What a member's score becomes where the original has several rows of the member. The time is the
/// latest in any case, and a score ends at 100 or the guild's own maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The greatest: what the refinery program does.
    #[default]
    Max,
    /// The sum.
    Sum,
    /// That of the row with the latest message.
    Latest,
}

impl Strategy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Max, Self::Sum, Self::Latest];

    /// `max`, `sum` or `latest`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Latest => "latest",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.name() == text)
            .ok_or_else(|| format!("`{text}` is no strategy: expected max, sum or latest"))
    }
}

/// Where the rows of one kind went: `source` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// Rows in the original's tables.
    pub source: u64,
    /// Rows that became rows of the meter's.
    pub taken: u64,
    /// Rows that were merged into another, and archived.
    pub merged: u64,
    /// Rows without a usable key, which were set apart with the reason.
    pub quarantined: u64,
}

/// What became of a database of the original bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Takeover {
    /// How members with several rows were merged.
    pub strategy: Strategy,
    /// Members' rows.
    pub members: RowCounts,
    /// Days' rows.
    pub days: RowCounts,
    /// Guilds' settings.
    pub settings: RowCounts,
    /// Guilds' report channels.
    pub report_channels: RowCounts,
}

impl Takeover {
    /// The kinds of rows, each with its name.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, RowCounts); 4] {
        [
            ("members", self.members),
            ("days", self.days),
            ("settings", self.settings),
            ("report channels", self.report_channels),
        ]
    }

    /// Rows of all kinds.
    #[must_use]
    pub fn source_rows(&self) -> u64 {
        self.kinds().iter().map(|(_, rows)| rows.source).sum()
    }

    /// Whether any row was merged or quarantined.
    #[must_use]
    pub fn changed_rows(&self) -> bool {
        self.kinds()
            .iter()
            .any(|(_, rows)| rows.merged + rows.quarantined > 0)
    }

    /// What the file says of its takeover; `None` where the migration has not run, or found no rows.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        if !connection.table_exists(None, TAKEOVER_TABLE)? {
            return Ok(None);
        }
        let mut statement = connection.prepare(
            "SELECT source_rows, taken_rows, merged_rows, quarantined_rows
             FROM legacy_takeover WHERE kind = ?1",
        )?;
        let mut counts = |kind: &str| {
            let row = statement.query_row([kind], |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(RowCounts {
                    source: count(0)?,
                    taken: count(1)?,
                    merged: count(2)?,
                    quarantined: count(3)?,
                })
            });
            row.optional().map(Option::unwrap_or_default)
        };
        let (members, days) = (counts("members")?, counts("days")?);
        let (settings, report_channels) = (counts("settings")?, counts("report channels")?);
        let strategy: Option<String> = connection
            .query_row(
                "SELECT strategy FROM legacy_takeover WHERE kind = 'members'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        let takeover = Self {
            strategy: strategy
                .and_then(|name| name.parse().ok())
                .unwrap_or_default(),
            members,
            days,
            settings,
            report_channels,
        };
        Ok(Some(takeover).filter(|takeover| takeover.source_rows() > 0))
    }
}

/// The table of the sums.
pub(crate) const TAKEOVER_TABLE: &str = "legacy_takeover";

/// Tells the migration the strategy, in a table that this connection alone sees.
pub(crate) fn set_strategy(connection: &Connection, strategy: Strategy) -> rusqlite::Result<()> {
    if strategy != Strategy::Max {
        connection.execute_batch("CREATE TEMP TABLE legacy_strategy (strategy)")?;
        connection.execute(
            "INSERT INTO temp.legacy_strategy VALUES (?1)",
            [strategy.name()],
        )?;
    }
    Ok(())
}
