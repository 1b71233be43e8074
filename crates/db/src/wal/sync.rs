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

/// Makes all transactions durable whose commits have returned, on whatever connection to the file,
/// unless an earlier sync of it has failed. The connection has read or written before.
///
/// # Errors
///
/// What SQLite's commit would have failed with, and where the connection has no WAL open. What was
/// not synced may then never be, although later syncs succeed.
pub(crate) fn sync(connection: &Connection) -> rusqlite::Result<()> {
    WalFile::of(connection)?.sync()
}

/// The file that a connection has its WAL in, for as long as the connection is lent.
pub(super) struct WalFile<'c> {
    file: *mut ffi::sqlite3_file,
    methods: &'c ffi::sqlite3_io_methods,
}

impl<'c> WalFile<'c> {
    pub(super) fn of(connection: &'c Connection) -> rusqlite::Result<Self> {
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

    /// The file's length in bytes.
    pub(super) fn len(&self) -> rusqlite::Result<u64> {
        let size = self.methods.xFileSize.ok_or_else(missing)?;
        let mut bytes = 0;
        // SAFETY: the method's own file, which is open.
        succeeded(unsafe { size(self.file, &raw mut bytes) })?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Reads as many bytes as `buffer` has; `false` where the file ends before them.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> rusqlite::Result<bool> {
        let read = self.methods.xRead.ok_or_else(missing)?;
        let (Ok(length), Ok(offset)) = (c_int::try_from(buffer.len()), i64::try_from(offset))
        else {
            return Ok(false);
        };
        // SAFETY: the method's own file, which is open, and a buffer of that length.
        match unsafe { read(self.file, buffer.as_mut_ptr().cast(), length, offset) } {
            ffi::SQLITE_IOERR_SHORT_READ => Ok(false),
            code => succeeded(code).map(|()| true),
        }
    }

    fn sync(&self) -> rusqlite::Result<()> {
        let sync = self.methods.xSync.ok_or_else(missing)?;
        // SAFETY: the method's own file, which is open.
        succeeded(unsafe { sync(self.file, ffi::SQLITE_SYNC_NORMAL) })
    }
}

pub(super) fn succeeded(code: c_int) -> rusqlite::Result<()> {
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
