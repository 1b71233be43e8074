//! Reading that leaves nothing behind, whoever reads.
//!
//! A plain connection that reads a database in WAL mode creates the WAL and the shared memory where they
//! are missing. One without the right to write cannot remove them again, and where they belong to another
//! user than the database, its owner's next write fails. So what is beside the database decides how it is
//! read:
//!
//! | beside the database | it is read | by |
//! |---|---|---|
//! | no WAL, or an empty one without its index | as a file that does not change | `immutable=1` |
//! | WAL and index (`-shm`) | beside others, or after somebody who was killed | a read-only connection |
//! | a WAL with content and no index | with an index in memory, by itself | `locking_mode=EXCLUSIVE` |
//! | that, without the right to write | the same, without locks | the VFS `unix-none` |
//! | a rollback journal | once that is rolled back, where it has to be | a connection that may write |
//!
//! # Nobody else comes in between
//!
//! The lock that readers share is taken first, and what is beside the database is looked at under it.
//! As long as it is held nobody can remove a WAL, because that takes the file for oneself; nor can a
//! writer without WAL change the file. A writer with a WAL can, but not before there is one. So where
//! the WAL is still missing after an `immutable` read, nothing has changed under it; else the read is
//! repeated, beside the writer.
//!
//! # Checking
//!
//! To a connection without the right to write SQLite's own check passes over `CHECK` constraints: it
//! does not even read them. So a check has the right to write where there is one, and where the files
//! that this brings about, and takes away again, are the database's owner's as well.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, ffi};

use crate::config::JournalMode;
use crate::connection::{AttemptError, COMMON_SETTINGS, ConnectionFactory, keep_from_checkpoint};
use crate::error::{Failure, OpenError};
use crate::files::with_suffix;
use crate::sqlite_file::SqliteFile;

/// A connection that reads, and leaves nothing behind.
#[derive(Debug)]
pub(crate) struct ReadConnection {
    connection: Connection,
    how: How,
}

/// How a connection reads the file.
#[derive(Debug)]
enum How {
    /// As any other.
    Plain,
    /// Taking the file for one that does not change, as long as there is no WAL.
    Unchanging(PathBuf),
    /// With an index of its own.
    ByItself,
    /// With an index of its own and without locks, as long as the files are these.
    Unlocked(PathBuf, Stamps),
    /// Rolls a journal back.
    RollingBack,
    /// With the right to write, of which SQLite makes no use but to remove what it has created.
    Checking,
}

/// What a connection is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reading,
    Checking,
}

/// When the database and its WAL were last written to, and their lengths.
type Stamps = [Option<(u64, SystemTime)>; 2];

impl ReadConnection {
    /// One that any number of reads may be made with.
    pub(crate) const fn plain(connection: Connection) -> Self {
        Self {
            connection,
            how: How::Plain,
        }
    }

    /// Whether further reads may be made with it: the files beside the database are there for as long
    /// as it is open, and it keeps nobody out.
    pub(crate) const fn can_be_kept(&self) -> bool {
        matches!(self.how, How::Plain)
    }

    /// Whether what was read was not changed meanwhile.
    pub(crate) fn was_undisturbed(&self) -> bool {
        match &self.how {
            How::Plain | How::ByItself | How::RollingBack | How::Checking => true,
            How::Unchanging(path) => Beside::look(path).is_unchanging(),
            How::Unlocked(path, before) => !Beside::look(path).has_index && stamps(path) == *before,
        }
    }

    /// The journal that the database's header names.
    pub(crate) fn journal_mode(&self) -> rusqlite::Result<JournalMode> {
        /// Where the header has the version of the file format for readers.
        const READ_VERSION: u64 = 19;
        let mut version = [0];
        let is_there = SqliteFile::database(&self.connection)?.read(READ_VERSION, &mut version)?;
        Ok(match version {
            [2] if is_there => JournalMode::Wal,
            _ => JournalMode::Delete,
        })
    }

    pub(crate) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Deref for ReadConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// What lies beside a database.
#[derive(Debug, Clone, Copy)]
struct Beside {
    wal_bytes: Option<u64>,
    has_index: bool,
    has_journal: bool,
}

impl Beside {
    fn look(path: &Path) -> Self {
        let bytes = |suffix| {
            let file = fs::metadata(with_suffix(path, suffix));
            file.ok().map(|file| file.len())
        };
        Self {
            wal_bytes: bytes("-wal"),
            has_index: bytes("-shm").is_some(),
            has_journal: bytes("-journal").is_some_and(|bytes| bytes > 0),
        }
    }

    /// Whether the database is all there is, and stays as it is while the shared lock is held and this
    /// is so.
    const fn is_unchanging(self) -> bool {
        match self.wal_bytes {
            None => !self.has_journal,
            Some(0) => !self.has_index && !self.has_journal,
            Some(_) => false,
        }
    }
}

fn stamps(path: &Path) -> Stamps {
    ["", "-wal"].map(|suffix| {
        let file = fs::metadata(with_suffix(path, suffix)).ok()?;
        Some((file.len(), file.modified().ok()?))
    })
}

impl ConnectionFactory {
    /// Runs `query` on a connection that leaves nothing behind, under the policy. More than once where
    /// it meets a lock, or somebody opens the database for writing meanwhile.
    pub(crate) fn reading<T>(
        &self,
        doing: &'static str,
        mut query: impl FnMut(&Connection) -> Result<T, AttemptError>,
    ) -> Result<T, OpenError> {
        self.retrying(doing, || {
            let reader = self.open_reading()?;
            self.judge(&reader, query(&reader))
        })
    }

    /// As [`reading`](Self::reading), for SQLite's own check of the file.
    pub(crate) fn checking<T>(
        &self,
        mut query: impl FnMut(&Connection) -> Result<T, AttemptError>,
    ) -> Result<T, OpenError> {
        self.retrying("check", || {
            let reader = self.open_for(Purpose::Checking)?;
            self.judge(&reader, query(&reader))
        })
    }

    /// As [`reading`](Self::reading), but reads a damaged file as far as it goes: with
    /// `writable_schema` SQLite passes over a schema or a size that cannot be right, for which it
    /// refuses the file otherwise.
    pub(crate) fn salvaging<T>(
        &self,
        mut query: impl FnMut(&Connection) -> Result<T, AttemptError>,
    ) -> Result<T, OpenError> {
        self.retrying("read", || {
            let reader = self.open_traceless(Purpose::Checking)?;
            for setting in ["writable_schema", "query_only"] {
                reader.pragma_update(None, setting, 1)?;
            }
            reader.pragma_update(None, "trusted_schema", 0)?;
            self.judge(&reader, query(&reader))
        })
    }

    /// One attempt at opening a connection that only reads and leaves nothing behind.
    pub(crate) fn open_reading(&self) -> Result<ReadConnection, AttemptError> {
        self.open_for(Purpose::Reading)
    }

    fn open_for(&self, purpose: Purpose) -> Result<ReadConnection, AttemptError> {
        let reader = self.open_traceless(purpose)?;
        self.apply(&reader, &COMMON_SETTINGS)
            .and_then(|()| self.apply(&reader, &[("query_only", 1)]))
            .map_err(|error| self.needs_recovery(&reader, error))?;
        Ok(reader)
    }

    /// What came of reading: to be repeated, where it was disturbed.
    fn judge<T>(
        &self,
        reader: &ReadConnection,
        result: Result<T, AttemptError>,
    ) -> Result<T, AttemptError> {
        if !reader.was_undisturbed() {
            return Err(disturbed().into());
        }
        result.map_err(|error| self.needs_recovery(reader, error))
    }

    /// Names the journal that could not be rolled back, where that is what an error is about.
    fn needs_recovery(&self, reader: &ReadConnection, error: AttemptError) -> AttemptError {
        match error {
            AttemptError::Sqlite(error)
                if matches!(reader.how, How::RollingBack)
                    && matches!(Failure::of(&error), Failure::ReadOnly | Failure::Unusable) =>
            {
                self.unfinished("-journal").into()
            }
            error => error,
        }
    }

    fn unfinished(&self, suffix: &str) -> OpenError {
        OpenError::NeedsRecovery {
            path: self.path().to_owned(),
            beside: with_suffix(self.path(), suffix),
        }
    }

    fn open_traceless(&self, purpose: Purpose) -> Result<ReadConnection, AttemptError> {
        let path = || self.path().to_owned();
        let connection = self.open_unchanging()?;
        SqliteFile::database(&connection)?.lock_shared()?;
        let beside = Beside::look(self.path());
        // Every other connection is opened, and has the shared lock, before this one is closed: what
        // is there stays.
        if beside.is_unchanging() {
            let unchanging = ReadConnection {
                connection,
                how: How::Unchanging(path()),
            };
            // An empty WAL would be removed.
            if purpose == Purpose::Checking && beside.wal_bytes.is_none() {
                return self.open_checking(unchanging);
            }
            return Ok(unchanging);
        }
        if !beside.has_journal && beside.has_index {
            return match purpose {
                Purpose::Reading => self
                    .open_locked(OpenFlags::SQLITE_OPEN_READ_ONLY)
                    .map(ReadConnection::plain),
                Purpose::Checking => {
                    let connection = self.open_locked(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                    keep_from_checkpoint(&connection);
                    let how = How::Checking;
                    Ok(ReadConnection { connection, how })
                }
            };
        }
        // Opened without the right to write where the file system does not grant it.
        let writing = self.open_locked(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        drop(connection);
        if beside.has_journal {
            return Ok(ReadConnection {
                connection: writing,
                how: How::RollingBack,
            });
        }
        let (connection, how) = if writing.is_readonly("main")? {
            drop(writing);
            let stamps = stamps(self.path());
            (self.open_unlocked()?, How::Unlocked(path(), stamps))
        } else {
            (writing, How::ByItself)
        };
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // The WAL stays as it is, for its owner.
        keep_from_checkpoint(&connection);
        Ok(ReadConnection { connection, how })
    }

    /// A connection that has the lock that readers share.
    fn open_locked(&self, access: OpenFlags) -> Result<Connection, AttemptError> {
        let connection = self.open(access)?;
        SqliteFile::database(&connection)?.lock_shared()?;
        Ok(connection)
    }

    /// A connection with the right to write, where nothing but the database is there; `unchanging`, where
    /// it would leave, or for a moment show, what is not the owner's.
    fn open_checking(&self, unchanging: ReadConnection) -> Result<ReadConnection, AttemptError> {
        let creates_files = unchanging.journal_mode()? == JournalMode::Wal;
        if creates_files && !creates_as_owner(self.path()) {
            return Ok(unchanging);
        }
        let connection = self.open_locked(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if connection.is_readonly("main")? {
            return Ok(unchanging);
        }
        // Fails where the folder is not to be written to, or the file is damaged.
        let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        // In this order: the last one removes what it has created.
        drop(unchanging);
        if read.is_err() {
            drop(connection);
            return self.open_traceless(Purpose::Reading);
        }
        let how = How::Checking;
        Ok(ReadConnection { connection, how })
    }

    /// A connection that neither takes locks nor knows of a WAL.
    fn open_unchanging(&self) -> Result<Connection, AttemptError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{}?immutable=1", escaped(self.path()));
        self.open_as(Path::new(&uri), flags, self.vfs())
    }

    /// A connection that takes no locks. That it also drops those of this process when it is closed does
    /// no harm: whoever has a WAL open here has its index, too.
    fn open_unlocked(&self) -> Result<Connection, AttemptError> {
        if self.vfs().is_some() || cfg!(not(unix)) {
            return Err(self.unfinished("-wal").into());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        self.open_as(self.path(), flags, Some("unix-none"))
    }
}

/// Whether files that this process creates beside the database belong to its owner and group. What root
/// creates, SQLite gives to them.
#[cfg(target_os = "linux")]
fn creates_as_owner(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    const SET_GROUP: u32 = 0o2000;
    const FOR_GROUP: u32 = 0o060;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The real, effective, saved and file system's id.
    let id = |name| -> Option<u32> {
        let ids = status.lines().find_map(|line| line.strip_prefix(name))?;
        ids.split_whitespace().nth(3)?.parse().ok()
    };
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let (Some(user), Some(group), Some(folder), Ok(file)) =
        (id("Uid:"), id("Gid:"), folder, fs::metadata(path))
    else {
        return false;
    };
    let group = match folder.mode() & SET_GROUP {
        0 => group,
        _ => folder.gid(),
    };
    user == 0 || user == file.uid() && (file.mode() & FOR_GROUP == 0 || group == file.gid())
}

/// Elsewhere the system does not tell.
#[cfg(not(target_os = "linux"))]
fn creates_as_owner(_: &Path) -> bool {
    false
}

/// What a writer that came in between is: a lock that was not free.
pub(crate) fn disturbed() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

/// An absolute path as a URI has it: whatever could mean something else there is escaped.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;

    let mut escaped = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::{Config, migration};

    /// How many there are of what the writer adds.
    fn count(connection: &Connection) -> Result<i64, AttemptError> {
        let sql = "SELECT count(*) FROM activity_settings";
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }

    fn add(connection: &Connection, guild: u32) {
        let sql = "INSERT INTO activity_settings (guild_id) VALUES (?1)";
        connection.execute(sql, [guild]).unwrap();
    }

    /// A writer opens the database, writes, and closes it, in the midst of a read that takes it for a
    /// file that does not change.
    #[test]
    fn a_read_that_a_writer_comes_into_is_repeated() {
        let folder = tempdir().unwrap();
        let config = Config::new(folder.path().join("roas.db"));
        migration::migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let mut seen = Vec::new();
        let read = factory.reading("read", |connection| {
            let before = count(connection)?;
            if seen.is_empty() {
                let (writer, _) = factory.open_writer()?;
                add(&writer, 1);
            }
            seen.push((before, count(connection)?));
            Ok(before)
        });
        assert_eq!(read.unwrap(), 1);
        assert_eq!(seen, [(0, 0), (1, 1)]);
        // What the writer could not remove beside the reader is removed by the next one.
        drop(factory.open_writer().unwrap());
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "the database and the lock of migrations");
    }

    /// Beside one without a WAL, nothing has to be repeated, and the writer waits.
    #[test]
    fn a_writer_without_a_wal_waits_for_a_read() {
        let folder = tempdir().unwrap();
        let config = Config::new(folder.path().join("roas.db"));
        migration::migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let writer = factory.open_plain().unwrap();
        let delete = |_: &rusqlite::Row<'_>| Ok(());
        writer
            .query_row("PRAGMA journal_mode = DELETE", [], delete)
            .unwrap();
        let read = factory.reading("read", |connection| {
            let before = count(connection)?;
            crate::lock::busy::allow(std::time::Duration::ZERO);
            let sql = "INSERT INTO activity_settings (guild_id) VALUES (1)";
            assert!(writer.execute(sql, []).is_err());
            Ok((before, count(connection)?))
        });
        assert_eq!(read.unwrap(), (0, 0));
        add(&writer, 1);
        assert_eq!(factory.reading("read", count).unwrap(), 1);
    }

    #[test]
    fn nothing_in_a_path_means_anything_in_a_uri() {
        for (path, expected) in [
            ("/srv/bot/roas.db", "/srv/bot/roas.db"),
            (
                "/srv/a b?mode=rwc#x/100%.db",
                "/srv/a%20b%3Fmode%3Drwc%23x/100%25.db",
            ),
            ("/srv/file:x&y=1", "/srv/file%3Ax%26y%3D1"),
            ("/srv/größe", "/srv/gr%C3%B6%C3%9Fe"),
            ("//srv//x", "//srv//x"),
        ] {
            assert_eq!(escaped(Path::new(path)), expected);
        }
    }
}
