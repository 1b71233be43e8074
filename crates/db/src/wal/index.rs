//! What the wal-index says of the WAL, and whether the WAL that a connection has open holds it.
//!
//! Connections to one database share an index in memory, and each has the WAL open for itself. Where a
//! WAL was removed, replaced or truncated under them, SQLite does not notice: it goes on as the index
//! says, and what it writes is gone with the process, or lies behind a hole that no recovery gets past.
//!
//! Both formats are documented and stable: <https://sqlite.org/walformat.html>.

#![expect(
    unsafe_code,
    reason = "SQLite lends out its files and the shared memory by pointers; nothing safe does"
)]

use std::ffi::c_void;
use std::ptr;

use rusqlite::{Connection, ffi};

use crate::sqlite_file::{SqliteFile, succeeded};

/// Bytes of a WAL's header, and of the header of each of its frames.
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// Bytes of the shared memory's first region, and those of it that are read here: two copies of the
/// index's header, and how far checkpoints have come.
const REGION: i32 = 32 * 1024;
const HEADER: usize = 48;
const READ: usize = 2 * HEADER + 4;

/// How often the header is read until both of its copies are the same: a writer of another process
/// may be changing them, which takes it well below a microsecond.
const READS: usize = 100;

/// What the wal-index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalIndex {
    /// Committed frames of the WAL.
    pub(crate) frames: u32,
    /// Frames of those that the database file has, too.
    pub(crate) copied: u32,
    page_size: u32,
    /// The last frame's checksum, as its header has it.
    checksum: [u8; 8],
    /// What tells this WAL from those before it in the same file, as its header has it.
    salts: [u8; 8],
}

impl WalIndex {
    /// What the index that `connection` shares says now. `None` where it has none. The connection has
    /// read or written before.
    ///
    /// # Errors
    ///
    /// What SQLite answers where it cannot lend the shared memory out.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let Some(shared) = shared_memory(connection)? else {
            return Ok(None);
        };
        for _ in 0..READS {
            let mut bytes = [0_u8; READ];
            for (at, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: the region is mapped, is longer than `READ`, and stays mapped while the
                // connection is open. Others may write to it: volatile, and compared below.
                *byte = unsafe { shared.add(at).read_volatile() };
            }
            if bytes[..HEADER] == bytes[HEADER..2 * HEADER] {
                return Ok(Self::parse(&bytes));
            }
            std::hint::spin_loop();
        }
        Ok(None)
    }

    fn parse(bytes: &[u8; READ]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = bytes[at..at + 4].first_chunk().copied();
            u32::from_ne_bytes(bytes.unwrap_or_default())
        };
        let is_set_up = bytes[12] != 0;
        let page_size = match u16::from_ne_bytes([bytes[14], bytes[15]]) {
            1 => 64 * 1024,
            size => u32::from(size),
        };
        let mut checksum = [0; 8];
        checksum[..4].copy_from_slice(&number(24).to_be_bytes());
        checksum[4..].copy_from_slice(&number(28).to_be_bytes());
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[32..40]);
        is_set_up.then_some(Self {
            frames: number(16),
            copied: number(2 * HEADER),
            page_size,
            checksum,
            salts,
        })
    }

    /// Whether the database file has all that the WAL holds.
    pub(crate) const fn is_copied(&self) -> bool {
        self.copied >= self.frames
    }

    /// Whether the WAL that `connection` has open holds what this says, and what `before`, an earlier
    /// state of the same index, said: it is as long as that, and its header and the last frames of
    /// both are in it. Others may write to it: only under the write lock a `false` is certain.
    ///
    /// Reads at most 80 bytes, through SQLite's own descriptor.
    ///
    /// # Errors
    ///
    /// Where the WAL cannot be read.
    pub(crate) fn is_in_wal_of(
        &self,
        connection: &Connection,
        before: Option<&Self>,
    ) -> rusqlite::Result<bool> {
        if self.frames == 0 {
            return Ok(true);
        }
        let wal = SqliteFile::wal(connection)?;
        let mut header = [0; 32];
        if wal.len()? < self.end() || !wal.read(0, &mut header)? || header[16..24] != self.salts {
            return Ok(false);
        }
        let before = before.filter(|before| before.salts == self.salts && before.frames > 0);
        for state in [Some(self), before].into_iter().flatten() {
            let mut frame = [0; 24];
            let at = state.end() - u64::from(state.page_size) - FRAME_HEADER;
            let is_there = wal.read(at, &mut frame)?
                && frame[8..16] == state.salts
                && frame[16..24] == state.checksum;
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the WAL that `connection` has open is the one that this is the index of, which an empty
    /// index is of an empty WAL alone.
    ///
    /// # Errors
    ///
    /// Where the WAL cannot be read.
    pub(crate) fn is_of_wal_of(&self, connection: &Connection) -> rusqlite::Result<bool> {
        if self.frames == 0 {
            return Ok(SqliteFile::wal(connection)?.len()? == 0);
        }
        self.is_in_wal_of(connection, None)
    }

    /// Whether a recovery of the WAL that `connection` has open gets at least as far as the database
    /// has been brought: where it does not, it takes pages of the database back to what they were.
    ///
    /// # Errors
    ///
    /// Where the WAL cannot be read.
    pub(crate) fn is_copied_part_in_wal_of(
        &self,
        connection: &Connection,
    ) -> rusqlite::Result<bool> {
        if self.frames == 0 {
            return Ok(true);
        }
        let wal = SqliteFile::wal(connection)?;
        let mut header = [0; 32];
        if !wal.read(0, &mut header)? || header[16..24] != self.salts {
            return Ok(false);
        }
        let Some(last) = self.copied.checked_sub(1) else {
            return Ok(true);
        };
        let mut frame = [0; 24];
        let is_there = wal.read(self.end_of(last), &mut frame)? && frame[8..16] == self.salts;
        Ok(is_there && wal.len()? >= self.end_of(self.copied))
    }

    /// Where the last frame ends, in bytes of the WAL.
    fn end(&self) -> u64 {
        self.end_of(self.frames)
    }

    fn end_of(&self, frames: u32) -> u64 {
        WAL_HEADER + u64::from(frames) * (FRAME_HEADER + u64::from(self.page_size))
    }
}

/// The first region of the shared memory; `None` where there is none.
fn shared_memory(connection: &Connection) -> rusqlite::Result<Option<*const u8>> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is an open connection's, which is used by this thread alone while the
    // reference lives; the opcode writes a pointer to where its last argument points.
    succeeded(unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    })?;
    // SAFETY: a pointer that is not null is to the connection's own file object, which lives as long
    // as the connection; its methods are null where it is not open, and a static table where it is.
    let Some(methods) = (unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) }) else {
        return Ok(None);
    };
    let Some(map) = methods.xShmMap.filter(|_| methods.iVersion >= 2) else {
        return Ok(None);
    };
    let mut region: *mut c_void = ptr::null_mut();
    // SAFETY: the method's own file; it writes a pointer to where the last argument points. Nothing is
    // extended, and a connection in WAL mode has this region mapped already.
    succeeded(unsafe { map(file, 0, REGION, 0, (&raw mut region).cast()) })?;
    Ok((!region.is_null()).then(|| region.cast_const().cast()))
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a connection past the factory, and files that SQLite has open are spoiled on purpose"
)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    /// A WAL of three transactions, a frame each, of which two came before the first answer.
    fn three(path: &std::path::Path) -> (Connection, WalIndex, WalIndex) {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE t (a); PRAGMA wal_checkpoint(TRUNCATE);
                 INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);",
            )
            .unwrap();
        let before = WalIndex::of(&connection).unwrap().unwrap();
        connection
            .execute_batch("INSERT INTO t VALUES (3);")
            .unwrap();
        let now = WalIndex::of(&connection).unwrap().unwrap();
        (connection, before, now)
    }

    #[test]
    fn the_index_says_what_is_in_the_wal_and_how_far_it_is_copied() {
        let folder = tempdir().unwrap();
        let (connection, before, now) = three(&folder.path().join("roas.db"));
        assert_eq!((before.frames, now.frames, now.copied), (2, 3, 0));
        assert_eq!(now.page_size, 1_024);
        assert!(now.is_in_wal_of(&connection, Some(&before)).unwrap());
        connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .unwrap();
        assert!(WalIndex::of(&connection).unwrap().unwrap().is_copied());
        let memory = Connection::open_in_memory().unwrap();
        assert_eq!(WalIndex::of(&memory).unwrap(), None);
    }

    #[test]
    fn a_wal_that_was_spoiled_in_place_does_not_hold_what_the_index_says() {
        let frame = |number: usize| 32 + number * (24 + 1_024);
        // What is kept of it; the rest is a hole, or cut off.
        for (name, kept, length) in [
            ("truncated", 0..0, 0),
            ("cut off behind the second frame", 0..frame(2), frame(2)),
            (
                "truncated before the last frame came",
                frame(2)..frame(3),
                frame(3),
            ),
            ("without the frame before", 0..frame(1), frame(3)),
        ] {
            let folder = tempdir().unwrap();
            let path = folder.path().join("roas.db");
            let (connection, before, now) = three(&path);
            let wal = path.with_file_name("roas.db-wal");
            let bytes = fs::read(&wal).unwrap();
            let mut spoiled = vec![0; length];
            spoiled[kept.clone()].copy_from_slice(&bytes[kept]);
            fs::write(&wal, &spoiled).unwrap();
            assert!(
                !now.is_in_wal_of(&connection, Some(&before)).unwrap(),
                "{name}"
            );
        }
    }
}
