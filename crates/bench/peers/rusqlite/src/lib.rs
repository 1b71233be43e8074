//! The statements of the peers that hand out a rusqlite connection.
//!
//! async-sqlite links another version of rusqlite and includes this file, so that it does the same.

use std::hint::black_box;

use peer_kit::{
    BUSY_TIMEOUT, BoxError, CallError, CallErrorKind, Message, Prefill, Question, Setup, kind_of, table,
};
use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior};

/// Sets a connection up.
///
/// # Errors
///
/// SQLite's.
pub fn set_up(connection: &Connection, setup: &Setup) -> Result<()> {
    if setup.tuned {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    connection.execute_batch(setup.synchronous_sql())
}

/// Makes the table and puts messages into it.
///
/// # Errors
///
/// SQLite's.
pub fn create(connection: &mut Connection, prefill: Prefill) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(table::CREATE)?;
    let mut upsert = transaction.prepare(table::UPSERT)?;
    for message in prefill {
        upsert.execute(message.row())?;
    }
    drop(upsert);
    transaction.commit()
}

/// Stores a message as an application does that has just read the README: one statement, prepared
/// anew, which is its own transaction.
///
/// # Errors
///
/// SQLite's.
pub fn execute(connection: &Connection, message: Message) -> Result<()> {
    connection.execute(table::UPSERT, message.row())?;
    Ok(())
}

/// As [`execute`], with the new row for an answer.
///
/// # Errors
///
/// SQLite's.
pub fn query_row(connection: &Connection, message: Message) -> Result<()> {
    connection.query_row(table::UPSERT_RETURNING, message.row(), |row| {
        black_box((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?));
        Ok(())
    })
}

/// Stores a message in an immediate transaction, with a statement from the cache and the new row
/// for an answer.
///
/// # Errors
///
/// SQLite's.
pub fn immediate(connection: &mut Connection, message: Message) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut upsert = transaction.prepare_cached(table::UPSERT_RETURNING)?;
    upsert.query_row(message.row(), |row| {
        black_box((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?));
        Ok(())
    })?;
    drop(upsert);
    transaction.commit()
}

/// Reads, and throws away what it read.
///
/// # Errors
///
/// SQLite's.
pub fn read(connection: &Connection, question: Question) -> Result<()> {
    match question {
        Question::Member(guild, user) => {
            let mut select = connection.prepare_cached(table::SELECT)?;
            black_box(
                select
                    .query_row((guild, user), |row| row.get::<_, f64>(0))
                    .optional()?,
            );
        }
        Question::Leaderboard(guild) => {
            let mut select = connection.prepare_cached(table::LEADERBOARD)?;
            let users = select.query_map([guild], |row| row.get::<_, i64>(0))?;
            black_box(users.collect::<Result<Vec<_>>>()?);
        }
        Question::Rank(guild, user) => {
            let mut select = connection.prepare_cached(table::RANK)?;
            black_box(select.query_row((guild, user), |row| row.get::<_, i64>(0))?);
        }
    }
    Ok(())
}

/// The answer to a query for one text.
///
/// # Errors
///
/// SQLite's.
pub fn text(connection: &Connection, sql: &str) -> Result<String> {
    connection.query_row(sql, [], |row| row.get(0))
}

/// SQLite's error as a failure. Statement and commit are one call here, so that whatever is not a
/// lock may have struck in the commit.
#[must_use]
pub fn failed(error: rusqlite::Error) -> CallError {
    let kind = match &error {
        rusqlite::Error::SqliteFailure(error, _) => kind_of(error.extended_code, true),
        _ => CallErrorKind::Other,
    };
    CallError::new(kind, error)
}

/// An error that is not SQLite's: of a pool or a channel, before the statement was begun.
#[must_use]
pub fn refused(error: impl Into<BoxError>) -> CallError {
    CallError::new(CallErrorKind::Overloaded, error)
}
