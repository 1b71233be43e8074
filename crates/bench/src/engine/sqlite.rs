//! What the engines on plain rusqlite share: transactions, reading, and the kinds of SQLite's errors.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{CallError, CallErrorKind, Description, Read, ReadSession, table};
use crate::operations::Operation;

/// What a connection is set up to, as it reads back.
pub(super) fn describe(connection: &Connection) -> rusqlite::Result<Description> {
    const PRAGMAS: [&str; 6] = [
        "journal_mode",
        "synchronous",
        "busy_timeout",
        "cache_size",
        "page_size",
        "wal_autocheckpoint",
    ];
    let read = |pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(value) => value.to_string(),
                value => value.as_str()?.to_owned(),
            })
        })
    };
    let pragmas = PRAGMAS
        .into_iter()
        .map(|pragma| Ok((pragma.to_owned(), read(pragma)?)))
        .collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
    Ok(Description {
        sqlite_version: rusqlite::version().to_owned(),
        pragmas,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "these engines are SQLite without the adapter"
)]
pub(crate) fn open(database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(database, flags)
}

/// Stores one message by [`table::UPSERT`].
pub(super) fn upsert(connection: &Connection, operation: &Operation) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(table::UPSERT)?;
    statement.execute(row(operation))?;
    Ok(())
}

/// An operation as the parameters of an upsert.
pub(super) fn row(operation: &Operation) -> (i64, i64, f64, i64) {
    let member = operation.member;
    (
        member.guild.to_i64(),
        member.user.to_i64(),
        table::GAIN,
        operation.at.get(),
    )
}

/// Whether SQLite said that somebody else holds the lock.
pub(crate) fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// A failure before a commit: nothing was applied.
fn failed(error: rusqlite::Error) -> CallError {
    let kind = if is_locked(&error) {
        CallErrorKind::Locked
    } else {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => CallErrorKind::Io,
            _ => CallErrorKind::Other,
        }
    };
    CallError::new(kind, error)
}

/// A failure of a commit: unless it was the lock that kept it away, it may be there or not.
pub(super) fn commit_failed(error: rusqlite::Error) -> CallError {
    if is_locked(&error) {
        failed(error)
    } else {
        CallError::new(CallErrorKind::Unknown, error)
    }
}

/// Runs one transaction: `begin`, what `change` does with each operation, COMMIT. Where any of it
/// fails, it is rolled back.
pub(super) fn transaction(
    connection: &Connection,
    begin: &str,
    operations: &[Operation],
    change: impl Fn(&Connection, &Operation) -> rusqlite::Result<()>,
) -> Result<(), CallError> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    let changed = run(begin)
        .and_then(|()| {
            operations
                .iter()
                .try_for_each(|operation| change(connection, operation))
        })
        .map_err(failed)
        .and_then(|()| run("COMMIT").map_err(commit_failed));
    if changed.is_err() {
        roll_back(connection);
    }
    changed
}

/// Ends a transaction that failed. Where SQLite has ended it already, there is nothing to do.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // What the transaction failed with is what the caller is told.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

/// A session that reads on a connection of its own.
pub(super) struct Reader(pub(super) Connection);

#[async_trait]
impl ReadSession for Reader {
    async fn read(&mut self, read: Read) -> Result<(), CallError> {
        let answer = match read {
            Read::Member(member) => self.0.prepare_cached(table::SELECT).and_then(|mut select| {
                let key = (member.guild.to_i64(), member.user.to_i64());
                let score = select.query_row(key, |row| row.get::<_, f64>(0)).optional();
                score.map(|score| i64::from(score.is_some()))
            }),
            // A score is ranked as it is stored: these engines do not let it fade.
            Read::Leaderboard(member, _) => {
                self.0
                    .prepare_cached(table::LEADERBOARD)
                    .and_then(|mut select| {
                        let mut rows = select.query([member.guild.to_i64()])?;
                        let mut users = 0;
                        while let Some(row) = rows.next()? {
                            users ^= row.get::<_, i64>(0)?;
                        }
                        Ok(users)
                    })
            }
            Read::Rank(member, _) => self.0.prepare_cached(table::RANK).and_then(|mut select| {
                let key = (member.guild.to_i64(), member.user.to_i64());
                select.query_row(key, |row| row.get(0))
            }),
        };
        answer
            .map(|read| _ = std::hint::black_box(read))
            .map_err(failed)
    }
}
