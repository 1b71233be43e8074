//! Syncing the WAL apart from a commit.
//!
//! Under `synchronous=FULL` SQLite syncs within the commit, that is with the write lock held, so that
//! every other process waits for the disk, too. A commit under `NORMAL` leaves the same WAL, for which
//! that one call is still to be made.

use rusqlite::Connection;

use crate::sqlite_file::SqliteFile;

/// Makes all transactions durable whose commits have returned, on whatever connection to the file,
/// unless an earlier sync of it has failed. The connection has read or written before.
///
/// # Errors
///
/// What SQLite's commit would have failed with, and where the connection has no WAL open. What was
/// not synced may then never be, although later syncs succeed.
pub(crate) fn sync(connection: &Connection) -> rusqlite::Result<()> {
    SqliteFile::wal(connection)?.sync()
}
