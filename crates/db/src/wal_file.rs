//! The WAL's file itself, below SQLite's statements: syncing it apart from a commit.
//!
//! Under `synchronous=FULL` SQLite syncs within the commit, that is with the write lock held, so that
//! every other process waits for the disk, too. A commit under `NORMAL` leaves the same WAL, for which
//! that one call is still to be made.

#![expect(
    unsafe_code,
    reason = "SQLite lends out the WAL's file by a pointer; nothing safe does"
)]

use std::ffi::c_int;
use std::ptr;

use rusqlite::{Connection, ffi};

/// Bytes that are read and written again at once.
const PIECE: usize = 64 * 1024;

/// Makes all transactions durable whose commits have returned, on whatever connection to the file,
/// unless an earlier sync of it has failed. The connection has read or written before.
///
/// # Errors
///
/// What SQLite's commit would have failed with, and where the connection has no WAL open. What was
/// not synced may never be, although later syncs succeed: [`write_again`] comes first.
pub(crate) fn sync(connection: &Connection) -> rusqlite::Result<()> {
    WalFile::of(connection)?.sync()
}

/// Writes the WAL once more, as it is, and syncs it.
///
/// An operating system that could not write a page counts it as written all the same, and does not
/// try it again. SQLite does not depend on such pages, because a commit that could not be synced is
/// rolled back and written over. Here the commit stands, so that its pages are made dirty anew.
///
/// Takes the write lock, without which somebody could start the WAL over meanwhile.
pub(crate) fn write_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let written = (|| {
        let wal = WalFile::of(connection)?;
        let size = wal.size()?;
        let mut piece = vec![0; PIECE];
        for offset in (0..size).step_by(PIECE) {
            let left = usize::try_from(size - offset).unwrap_or(PIECE);
            let piece = &mut piece[..left.min(PIECE)];
            wal.read(piece, offset)?;
            wal.write(piece, offset)?;
        }
        wal.sync()
    })();
    connection.execute_batch("ROLLBACK")?;
    written
}

/// The file that a connection has its WAL in, for as long as the connection is lent.
struct WalFile<'c> {
    file: *mut ffi::sqlite3_file,
    methods: &'c ffi::sqlite3_io_methods,
}

impl<'c> WalFile<'c> {
    fn of(connection: &'c Connection) -> rusqlite::Result<Self> {
        let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
        // SAFETY: the handle is an open connection's, which is used by this thread alone while the
        // reference lives; the opcode writes a pointer to where its last argument points.
        let code = unsafe {
            ffi::sqlite3_file_control(
                connection.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_JOURNAL_POINTER,
                (&raw mut file).cast(),
            )
        };
        succeeded(code)?;
        // SAFETY: a pointer that is not null is to a file object that the connection owns and keeps
        // for as long as it is in WAL mode, which only a statement on it changes. Its methods are
        // null where it is not open, and are a static table where it is.
        let methods = unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) };
        let methods = methods.ok_or_else(missing)?;
        Ok(Self { file, methods })
    }

    fn sync(&self) -> rusqlite::Result<()> {
        let sync = self.methods.xSync.ok_or_else(missing)?;
        // SAFETY: the method's own file, which is open.
        succeeded(unsafe { sync(self.file, ffi::SQLITE_SYNC_NORMAL) })
    }

    fn size(&self) -> rusqlite::Result<i64> {
        let size_of = self.methods.xFileSize.ok_or_else(missing)?;
        let mut size = 0;
        // SAFETY: as for `sync`; the size is written to where the pointer points.
        succeeded(unsafe { size_of(self.file, &raw mut size) })?;
        Ok(size)
    }

    fn read(&self, into: &mut [u8], offset: i64) -> rusqlite::Result<()> {
        let read = self.methods.xRead.ok_or_else(missing)?;
        let length = c_int::try_from(into.len()).map_err(|_| missing())?;
        // SAFETY: as for `sync`; the buffer has `length` bytes.
        succeeded(unsafe { read(self.file, into.as_mut_ptr().cast(), length, offset) })
    }

    fn write(&self, from: &[u8], offset: i64) -> rusqlite::Result<()> {
        let write = self.methods.xWrite.ok_or_else(missing)?;
        let length = c_int::try_from(from.len()).map_err(|_| missing())?;
        // SAFETY: as for `sync`; the buffer has `length` bytes.
        succeeded(unsafe { write(self.file, from.as_ptr().cast(), length, offset) })
    }
}

fn succeeded(code: c_int) -> rusqlite::Result<()> {
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }
}

/// No file, or none with the method, which every VFS has.
fn missing() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None)
}
