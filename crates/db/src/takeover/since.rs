//! Whether the original bot goes on with a file that was taken over.
//!
//! Restarted by its supervisor it finds its tables and fails nowhere. Version 2.3 writes to `meter` and
//! `daily`, which were copied from and are read no more. Version 2.4 writes to `activity_meter` and
//! `activity_daily`, which are the meter's tables: it raises a day's count and not the member's count of
//! messages, which it does not know, and that tells it from this program, which raises both in one
//! transaction.

use std::fmt;

use roas_domain::UnixSeconds;
use rusqlite::Connection;

use crate::config::Config;
use crate::connection::ConnectionFactory;
use crate::error::OpenError;
use crate::takeover::{Takeover, legacy};

/// What another program, as a rule the original bot, has written since a takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinceTakeover {
    /// Rows of the original's own tables with a time between the takeover and now.
    pub old_rows: u64,
    /// Messages in the days' counts of members that the members' own counts lack.
    pub uncounted_messages: u64,
}

impl SinceTakeover {
    /// Whether anything was written.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.old_rows > 0 || self.uncounted_messages > 0
    }

    /// `None` where no rows of the original were taken over.
    pub(crate) fn read(
        connection: &Connection,
        now: UnixSeconds,
    ) -> rusqlite::Result<Option<Self>> {
        if Takeover::read(connection)?.is_none() {
            return Ok(None);
        }
        let taken_over: Option<i64> = connection.query_row(
            "SELECT max(unixepoch(applied_on)) FROM refinery_schema_history WHERE version = 2",
            [],
            |row| row.get(0),
        )?;
        let mut since = Self::default();
        for table in ["meter", "legacy_activity_meter"] {
            let columns = ["guild_id", "user_id", "score", "last_msg"];
            if legacy::has_columns(connection, table, &columns)? {
                let rows: i64 = connection.query_row(
                    &format!(
                        "SELECT count(*) FROM main.{table}
                         WHERE CAST(last_msg AS INTEGER) > ?1 AND CAST(last_msg AS INTEGER) <= ?2"
                    ),
                    (taken_over, now.get()),
                    |row| row.get(0),
                )?;
                since.old_rows += rows.unsigned_abs();
            }
        }
        let uncounted: i64 = connection.query_row(
            // The original could leave the days of a member without a row: it wrote the day first.
            "SELECT max(0, (SELECT coalesce(sum(msg_cnt), 0) FROM activity_daily AS d WHERE EXISTS (
                    SELECT 1 FROM activity_meter AS m
                    WHERE m.guild_id = d.guild_id AND m.user_id = d.user_id))
                - (SELECT coalesce(sum(messages), 0) FROM activity_meter))",
            [],
            |row| row.get(0),
        )?;
        since.uncounted_messages = uncounted.unsigned_abs();
        Ok(Some(since))
    }
}

impl fmt::Display for SinceTakeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.old_rows, self.uncounted_messages) {
            (0, 0) => f.write_str("nothing"),
            (0, messages) => write!(f, "{messages} messages in the days' counts only"),
            (rows, 0) => write!(f, "{rows} rows in the original's own tables"),
            (rows, messages) => write!(
                f,
                "{rows} rows in the original's own tables, {messages} messages in the days' counts only"
            ),
        }
    }
}

/// What another program has written since the file that `config` names was taken over; `None` where it
/// was not. Reads only, the days' and the members' rows once. Blocks the calling thread.
///
/// # Errors
///
/// [`OpenError`] where the file is missing or cannot be read.
pub fn since_takeover(config: &Config) -> Result<Option<SinceTakeover>, OpenError> {
    let factory = ConnectionFactory::new(config)?;
    if std::fs::metadata(factory.path()).is_err() {
        return Err(OpenError::Missing {
            path: factory.path().to_owned(),
        });
    }
    factory.reading("read", |connection| {
        let transaction = connection.unchecked_transaction()?;
        Ok(SinceTakeover::read(&transaction, factory.now())?)
    })
}
