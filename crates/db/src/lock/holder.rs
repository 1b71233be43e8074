//! Who holds a database's lock, so that the error of a wait that was in vain can name it.
//!
//! The kernel's list of locks tells, by inode. Nothing here opens the database or its companions:
//! closing them would drop this process's own locks.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::files::with_suffix;

/// The process that was found to hold a database's write lock or, in a file without a WAL, to read it
/// where that kept a writer out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    pid: u32,
    /// Its command name; `None` where it has ended meanwhile.
    command: Option<String>,
    stopped: bool,
}

impl LockHolder {
    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is stopped (SIGSTOP, a debugger), so that it does not let go by itself.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Looks for whoever holds the write lock of the database at `path` now. `None` where nobody
    /// does, or where the system does not tell.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Self::find(|| {
            let shared_memory = FileId::of(&with_suffix(path, "-shm"));
            let database = FileId::of(path);
            move |lock: &Lock| {
                lock.writes
                    && (lock.is_of(shared_memory.as_ref()) && lock.overlaps(WAL_WRITE_BYTE)
                        || lock.is_of(database.as_ref()) && lock.overlaps(RESERVED_BYTE))
            }
        })
    }

    /// Looks for whoever keeps others from the database at `path` now: its writer, else, where there is
    /// no WAL, one of its readers.
    pub(crate) fn in_the_way(path: &Path) -> Option<Self> {
        let reader = || {
            // Beside a WAL, readers keep nobody out.
            if fs::metadata(with_suffix(path, "-shm")).is_ok() {
                return None;
            }
            Self::find(|| {
                let database = FileId::of(path);
                move |lock: &Lock| lock.is_of(database.as_ref()) && lock.overlaps(SHARED_BYTES)
            })
        };
        Self::of(path).or_else(reader)
    }

    fn find<F: Fn(&Lock) -> bool>(searched: impl Fn() -> F) -> Option<Self> {
        // The system does not hand its list out in one piece: a lock that is held all the time can be
        // missing from one copy, where others come and go meanwhile.
        const LOOKS: usize = 4;
        (0..LOOKS).find_map(|_| Self::listed(searched()))
    }

    fn listed(is_searched: impl Fn(&Lock) -> bool) -> Option<Self> {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let lock = locks
            .lines()
            .filter_map(Lock::parse)
            .find(|lock| is_searched(lock))?;
        let pid = lock.pid;
        // `PID (COMMAND) STATE …`; the command may hold anything, parentheses included.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let named = stat
            .split_once('(')
            .and_then(|(_, rest)| rest.rsplit_once(')'));
        let (command, state) = named.unzip();
        Some(Self {
            pid,
            command: command.map(|command| command.escape_debug().to_string()),
            stopped: state.is_some_and(|state| state.trim_start().starts_with(['T', 't'])),
        })
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            return f.write_str("this process itself");
        }
        write!(f, "process {}", self.pid)?;
        if let Some(command) = &self.command {
            write!(f, " (`{command}`)")?;
        }
        if self.stopped {
            f.write_str(", which is stopped")?;
        }
        Ok(())
    }
}

/// Who holds a lock, where that is known, as a part of an error's text.
pub(crate) fn held_by(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(String::new, |holder| {
        format!("; the lock is held by {holder}")
    })
}

/// The byte of the shared memory that stands for the write lock in WAL mode (`WAL_WRITE_LOCK`).
const WAL_WRITE_BYTE: (u64, u64) = (120, 120);

/// The byte of the database that stands for the write lock elsewhere (`RESERVED_BYTE`).
const RESERVED_BYTE: (u64, u64) = (0x4000_0001, 0x4000_0001);

/// The bytes of the database of which a reader has some (`SHARED_FIRST`, `SHARED_SIZE`).
const SHARED_BYTES: (u64, u64) = (0x4000_0002, 0x4000_01ff);

/// A file, as the list of locks names it: device and inode.
#[derive(Debug, PartialEq, Eq)]
struct FileId(String);

impl FileId {
    #[cfg(target_os = "linux")]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let file = fs::metadata(path).ok()?;
        // As glibc's `major` and `minor` take a device's number apart.
        let device = file.dev();
        let major = (device >> 32 & 0xffff_f000) | (device >> 8 & 0xfff);
        let minor = (device >> 12 & 0xffff_ff00) | (device & 0xff);
        Some(Self(format!("{major:02x}:{minor:02x}:{}", file.ino())))
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

/// A lock that is held.
#[derive(Debug)]
struct Lock {
    pid: u32,
    writes: bool,
    file: Option<FileId>,
    first: u64,
    last: u64,
}

impl Lock {
    /// Reads `3: POSIX  ADVISORY  WRITE 8112 fe:00:10018890 120 120`. A line of one that only waits
    /// for a lock has an arrow in it, and one of a lock without an owner no process id.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, kind, pid, file, first, last] = fields[..] else {
            return None;
        };
        Some(Self {
            writes: match kind {
                "WRITE" => true,
                "READ" => false,
                _ => return None,
            },
            pid: pid.parse().ok().filter(|pid| *pid > 0)?,
            file: Some(FileId(file.to_owned())),
            first: first.parse().ok()?,
            last: if last == "EOF" {
                u64::MAX
            } else {
                last.parse().ok()?
            },
        })
    }

    fn is_of(&self, file: Option<&FileId>) -> bool {
        file.is_some() && self.file.as_ref() == file
    }

    fn overlaps(&self, (first, last): (u64, u64)) -> bool {
        self.first <= last && first <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_that_are_held_have_a_holder() {
        let lock = Lock::parse("2: POSIX  ADVISORY  WRITE 8112 fe:00:10018890 120 120").unwrap();
        assert_eq!(lock.pid, 8112);
        assert_eq!(lock.file, Some(FileId("fe:00:10018890".to_owned())));
        assert!(lock.writes && lock.overlaps(WAL_WRITE_BYTE) && !lock.overlaps((121, 121)));
        let whole = Lock::parse("9: POSIX  ADVISORY  WRITE 1 00:1c:7 0 EOF").unwrap();
        assert!(whole.overlaps(RESERVED_BYTE) && whole.overlaps(SHARED_BYTES));
        let reads = "3: POSIX  ADVISORY  READ 8112 fe:00:7 1073741826 1073742335";
        let reads = Lock::parse(reads).unwrap();
        assert!(!reads.writes && reads.overlaps(SHARED_BYTES) && !reads.overlaps(RESERVED_BYTE));
        for other in [
            "1: FLOCK  ADVISORY  WRITE 6608 fe:00:10010640 0 EOF",
            "2: -> POSIX  ADVISORY  WRITE 8112 fe:00:10018890 120 120",
            "4: OFDLCK ADVISORY  WRITE -1 fe:00:10018890 120 120",
            "4: POSIX  ADVISORY  WRITE 0 fe:00:10018890 120 120",
            "",
        ] {
            assert!(Lock::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_holder_is_described_for_an_operator() {
        let holder = LockHolder {
            pid: u32::MAX,
            command: Some("sqlite3".to_owned()),
            stopped: true,
        };
        assert_eq!(
            held_by(Some(&holder)),
            "; the lock is held by process 4294967295 (`sqlite3`), which is stopped"
        );
        assert_eq!(held_by(None), "");
    }
}
