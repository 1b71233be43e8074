//! Which files a database's connections have open, and whether these are still the ones at its paths.
//!
//! SQLite finds its files by name once, and does not notice when another hand removes, renames or
//! replaces one of them: it goes on with files that nobody else will open again. Without its WAL, what
//! is committed is gone with the last process that has the file open; without its shared memory, the
//! next process has other locks and another index, and both write over each other. So the names are
//! looked at before a commit is acknowledged, in every process (see the writer's worker), and what a
//! WAL without a name holds is copied into the database while it can be.
//!
//! # Losing the files and finding them again
//!
//! All connections of a process to one database share its shared memory, for as long as one of them is
//! open. So a process that has lost a file closes all of them before it opens the first again: readers
//! and maintenance hold a [`Lease`] beside each connection, see by [`OpenFiles::is_lost`] that it is not
//! to be used any more, and the writer (without one, a reader) waits for the last lease.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::JournalMode;
use crate::connection::{ConnectionFactory, poll_until};
use crate::error::OpenError;
use crate::files::with_suffix;
use crate::partial::remove_leftovers;

/// How long another process may take from giving a finished file its name to taking the old one away.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(50);

/// Which file a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity(Option<(u64, u64)>);

impl FileIdentity {
    /// Asks the file system, without opening the file. Where it has no notion of identity, every
    /// file counts as the same.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|file| Self::from(&file))
    }
}

impl From<&fs::Metadata> for FileIdentity {
    fn from(file: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            Some((file.dev(), file.ino()))
        };
        #[cfg(not(unix))]
        let identity = {
            let _ = file;
            None
        };
        Self(identity)
    }
}

/// How many names a file has.
pub(crate) fn links(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    let links = std::os::unix::fs::MetadataExt::nlink(file);
    #[cfg(not(unix))]
    let links = {
        let _ = file;
        1
    };
    links
}

/// Whether a file has less room on the disk than it is long. Some file systems count what is not written
/// to the disk yet later, or compress.
fn has_a_hole(file: &fs::Metadata) -> bool {
    #[cfg(unix)]
    let has_a_hole = std::os::unix::fs::MetadataExt::blocks(file) * 512 < file.len();
    #[cfg(not(unix))]
    let has_a_hole = {
        let _ = file;
        true
    };
    has_a_hole
}

/// The files of one database: of its connections, as they were when these were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identities {
    database: FileIdentity,
    /// The WAL and the shared memory, where there are any.
    beside: Option<[FileIdentity; 2]>,
}

/// What has become of a database's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The database itself is not at its path.
    Moved(PathBuf),
    /// One of the files beside it is not.
    Lost(PathBuf),
    /// The WAL's content is not what was written to it.
    Overwritten(PathBuf),
    /// The database has several names.
    Linked(PathBuf, u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(path) | Self::Lost(path) => write!(
                f,
                "`{}` was moved, replaced or deleted while it was open",
                path.display()
            ),
            Self::Overwritten(path) => write!(
                f,
                "`{}` was truncated or overwritten while it was open",
                path.display()
            ),
            Self::Linked(path, links) => write!(
                f,
                "`{}` has got another name (a hard link: {links} names now) while it was open, and a \
                 program that opens it by that name does not see what is written here; nothing was \
                 applied, remove the other name",
                path.display()
            ),
        }
    }
}

/// What all connections of this process to one database share.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    database: PathBuf,
    wal: PathBuf,
    shared_memory: PathBuf,
    has_writer: bool,
    allow_aliases: bool,
    expected: Mutex<Identities>,
    /// Odd while the files are lost.
    generation: AtomicU64,
    leases: Arc<()>,
}

/// Says that a connection is open. To be dropped after it.
#[derive(Debug)]
pub(crate) struct Lease {
    _lease: Arc<()>,
    generation: u64,
}

impl OpenFiles {
    /// The files that the connections of a writer have open.
    pub(crate) fn of_writer(factory: &ConnectionFactory, expected: Identities) -> Arc<Self> {
        Arc::new(Self::new(factory, true, expected))
    }

    /// The files that the connections of a database have open that is only read.
    pub(crate) fn of_readers(
        factory: &ConnectionFactory,
        mode: JournalMode,
    ) -> Result<Arc<Self>, OpenError> {
        let path = factory.path();
        let expected = Identities::at(path, mode == JournalMode::Wal)
            .or_else(|_| Identities::at(path, false))
            .map_err(|error| OpenError::io(path, "look at", error))?;
        Ok(Arc::new(Self::new(factory, false, expected)))
    }

    fn new(factory: &ConnectionFactory, has_writer: bool, expected: Identities) -> Self {
        let path = factory.path();
        Self {
            database: path.to_owned(),
            wal: with_suffix(path, "-wal"),
            shared_memory: with_suffix(path, "-shm"),
            has_writer,
            // What others write is not lost by reading.
            allow_aliases: !has_writer || factory.allows_aliases(),
            expected: Mutex::new(expected),
            generation: AtomicU64::new(0),
            leases: Arc::new(()),
        }
    }

    /// Whether a writer of this process looks after the files.
    pub(crate) const fn have_writer(&self) -> bool {
        self.has_writer
    }

    /// The WAL's path.
    pub(crate) fn wal(&self) -> &Path {
        &self.wal
    }

    fn expected(&self) -> Identities {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files are at their paths, and have no further name. At most three calls of the
    /// system, about a microsecond each.
    pub(crate) fn look(&self) -> Result<(), Fault> {
        self.look_at_names()?;
        match self.expected().beside {
            Some([_, ours]) if !is(&self.shared_memory, ours) => {
                Err(Fault::Lost(self.shared_memory.clone()))
            }
            _ => Ok(()),
        }
    }

    /// As [`Self::look`], without the shared memory: what is committed is in the other two. Answers
    /// whether the WAL may have been truncated: whether it has a hole, as it has when it was written to
    /// again behind its end.
    pub(crate) fn look_at_names(&self) -> Result<bool, Fault> {
        let expected = self.expected();
        let database = self.is_moved(&expected)?;
        let mut has_hole = false;
        if let Some([ours, _]) = expected.beside {
            match fs::metadata(&self.wal) {
                Ok(wal) if FileIdentity::from(&wal) == ours => has_hole = has_a_hole(&wal),
                _ => return Err(Fault::Lost(self.wal.clone())),
            }
        }
        match links(&database) {
            0 | 1 => Ok(has_hole),
            _ if self.allow_aliases => Ok(has_hole),
            links => Err(Fault::Linked(self.database.clone(), links)),
        }
    }

    /// From now on there is a WAL, where there was none: a connection has it open.
    pub(crate) fn have_wal(&self) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.beside.is_none()
            && let Ok(found) = Identities::at(&self.database, true)
            && found.database == expected.database
        {
            *expected = found;
        }
    }

    /// Whether the database itself is at its path.
    pub(crate) fn has_database(&self) -> bool {
        self.is_moved(&self.expected()).is_ok()
    }

    fn is_moved(&self, expected: &Identities) -> Result<fs::Metadata, Fault> {
        fs::metadata(&self.database)
            .ok()
            .filter(|file| FileIdentity::from(file) == expected.database)
            .ok_or_else(|| Fault::Moved(self.database.clone()))
    }

    /// Whether the WAL is at its path.
    pub(crate) fn has_wal(&self) -> bool {
        let expected = self.expected().beside;
        expected.is_some_and(|[wal, _]| is(&self.wal, wal))
    }

    /// Whether another shared memory is at its path than the one that is open here.
    pub(crate) fn has_other_shared_memory(&self) -> bool {
        let expected = self.expected().beside;
        expected.is_some_and(|[_, ours]| {
            fs::metadata(&self.shared_memory).is_ok_and(|file| FileIdentity::from(&file) != ours)
        })
    }

    /// A lease for a connection that is about to be opened; `None` while the files are lost.
    pub(crate) fn lease(&self) -> Option<Lease> {
        // In this order: who closes all connections declares them lost first, and counts then.
        let lease = Arc::clone(&self.leases);
        let generation = self.generation.load(Ordering::SeqCst);
        generation.is_multiple_of(2).then_some(Lease {
            _lease: lease,
            generation,
        })
    }

    /// Whether connections must not be used, because the files under them are lost.
    pub(crate) fn is_lost(&self) -> bool {
        !self.generation.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// Whether a connection is one of files that are lost, or were lost since it was opened.
    pub(crate) fn is_stale(&self, lease: &Lease) -> bool {
        self.generation.load(Ordering::SeqCst) != lease.generation
    }

    /// Declares the files lost. Answers whether they were not.
    pub(crate) fn lose(&self) -> bool {
        self.generation
            .fetch_or(1, Ordering::SeqCst)
            .is_multiple_of(2)
    }

    /// Whether no connection is left that has a lease.
    pub(crate) fn are_closed(&self) -> bool {
        Arc::strong_count(&self.leases) == 1
    }

    /// Goes on with other files, which have been opened.
    pub(crate) fn found(&self, files: Identities) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        // One of several who find them.
        if self.is_lost() {
            *expected = files;
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Identities {
    /// The files that are at the paths now.
    pub(crate) fn at(path: &Path, has_wal: bool) -> io::Result<Self> {
        let of = |suffix| FileIdentity::of(&with_suffix(path, suffix));
        Ok(Self {
            database: FileIdentity::of(path)?,
            beside: if has_wal {
                Some([of("-wal")?, of("-shm")?])
            } else {
                None
            },
        })
    }

    /// These with another database.
    #[cfg(test)]
    pub(crate) fn with_database(self, database: FileIdentity) -> Self {
        Self { database, ..self }
    }
}

fn is(path: &Path, expected: FileIdentity) -> bool {
    FileIdentity::of(path).is_ok_and(|found| found == expected)
}

/// Refuses a database that has several names, or is mounted as a file: its WAL lies beside one name
/// only, and is not found by the other, or not kept.
pub(crate) fn refuse_aliases(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = with_suffix(path, suffix);
        let Ok(found) = fs::metadata(&file) else {
            continue;
        };
        let links = links(&found);
        if links > 1 && !loses_names(&file) {
            return Err(OpenError::HardLinked { path: file, links });
        }
        if fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| is_mounted(&mounts, &file))
        {
            return Err(OpenError::MountPoint { path: file });
        }
    }
    Ok(())
}

/// Whether the further names of a file go in a moment: a file that is made whole under another name has
/// both while it gets its own, and after a kill keeps both until somebody clears up.
fn loses_names(path: &Path) -> bool {
    remove_leftovers(path);
    let has_one = || {
        Ok(fs::metadata(path)
            .is_ok_and(|file| links(&file) == 1)
            .then_some(()))
    };
    matches!(poll_until(PUBLISHED_WITHIN, has_one), Ok(Ok(())))
}

/// Whether a file system is mounted at `path`, by the system's list (`proc_pid_mountinfo(5)`). A file
/// that is mounted from the same file system has its device, so that `stat` does not tell.
fn is_mounted(mountinfo: &str, path: &Path) -> bool {
    let Some(path) = path.to_str() else {
        return false;
    };
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|mounted| unescaped(mounted) == path.as_bytes())
}

/// Spaces, tabs, newlines and backslashes are escaped there: a backslash and three octal digits.
fn unescaped(field: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = escaped.filter(|_| first == b'\\') {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_is_found_in_the_list_of_mounts_and_nothing_else() {
        let mounts = "\
            1017 985 254:0 / / rw,relatime - ext4 /dev/root rw\n\
            1020 1017 254:0 /srv/bot.db /data/bot.db rw,relatime shared:1 - ext4 /dev/root rw\n\
            1021 1017 254:0 /srv /data/my\\040bot\\134x rw - ext4 /dev/root rw\n\
            broken\n";
        for (path, expected) in [
            ("/data/bot.db", true),
            ("/data/my bot\\x", true),
            ("/data/bot.db-wal", false),
            ("/data", false),
            ("/srv/bot.db", false),
            ("/data/my\\040bot\\134x", false),
        ] {
            assert_eq!(is_mounted(mounts, Path::new(path)), expected, "{path}");
        }
    }
}
