//! The files that a connection has open, below SQLite's statements.

#![expect(
    unsafe_code,
    reason = "SQLite lends out its files by pointers; nothing safe does"
)]

use std::ffi::c_int;
use std::ptr;

use rusqlite::{Connection, ffi};

use crate::lock::busy;

/// A file that a connection has open, for as long as the connection is lent.
pub(crate) struct SqliteFile<'c> {
    file: *mut ffi::sqlite3_file,
    methods: &'c ffi::sqlite3_io_methods,
}

impl<'c> SqliteFile<'c> {
    /// The database itself.
    pub(crate) fn database(connection: &'c Connection) -> rusqlite::Result<Self> {
        Self::lent(connection, ffi::SQLITE_FCNTL_FILE_POINTER)
    }

    /// The WAL of a connection that has read or written before.
    pub(crate) fn wal(connection: &'c Connection) -> rusqlite::Result<Self> {
        Self::lent(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)
    }

    fn lent(connection: &'c Connection, opcode: c_int) -> rusqlite::Result<Self> {
        let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
        // SAFETY: the handle is an open connection's, which is used by this thread alone while the
        // reference lives; both opcodes write a pointer to where the last argument points.
        let code = unsafe {
            ffi::sqlite3_file_control(
                connection.handle(),
                c"main".as_ptr(),
                opcode,
                (&raw mut file).cast(),
            )
        };
        succeeded(code)?;
        // SAFETY: a pointer that is not null is to a file object that the connection owns and keeps
        // for as long as it is open; the WAL's as long as it is in WAL mode, which only a statement on
        // it changes. Its methods are null where it is not open, and are a static table where it is.
        let methods = unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) };
        let methods = methods.ok_or_else(missing)?;
        Ok(Self { file, methods })
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> rusqlite::Result<u64> {
        let size = self.methods.xFileSize.ok_or_else(missing)?;
        let mut bytes = 0;
        // SAFETY: the method's own file, which is open.
        succeeded(unsafe { size(self.file, &raw mut bytes) })?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Reads as many bytes as `buffer` has; `false` where the file ends before them.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> rusqlite::Result<bool> {
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

    /// Syncs the file, as a commit does.
    pub(crate) fn sync(&self) -> rusqlite::Result<()> {
        let sync = self.methods.xSync.ok_or_else(missing)?;
        // SAFETY: the method's own file, which is open.
        succeeded(unsafe { sync(self.file, ffi::SQLITE_SYNC_NORMAL) })
    }

    /// Takes the lock that readers share, before the connection's first statement. Waits for it as a
    /// statement does. SQLite finds it held, and lets go of it as of its own: when a transaction
    /// without WAL ends, or with the connection.
    pub(crate) fn lock_shared(&self) -> rusqlite::Result<()> {
        let lock = self.methods.xLock.ok_or_else(missing)?;
        let mut polls = 0;
        loop {
            // SAFETY: the method's own file, which is open.
            match unsafe { lock(self.file, ffi::SQLITE_LOCK_SHARED) } {
                ffi::SQLITE_BUSY if busy::poll(polls) => polls += 1,
                code => return succeeded(code),
            }
        }
    }
}

pub(crate) fn succeeded(code: c_int) -> rusqlite::Result<()> {
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
