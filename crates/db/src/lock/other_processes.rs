//! Which other processes have a database open.
//!
//! SQLite's locks show who is writing, not who will: a program that is idle on a file in rollback mode
//! holds no lock at all, and would continue with a schema that is gone. On Linux the open descriptors of
//! processes show it, of those that the caller may inspect: its own user's, or all for root.

use std::fmt;
use std::path::Path;

/// A process that has the database open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherProcess {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the system shows it.
    pub name: String,
}

impl fmt::Display for OtherProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// The other processes that have `database` open, except those that wait for `lock_file`: they look at the
/// database again once they have the lock.
#[cfg(target_os = "linux")]
pub(crate) fn other_processes(database: &Path, lock_file: Option<&Path>) -> Vec<OtherProcess> {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    // Nothing is opened here: see the invariants in `connection`.
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let (Some(database), lock_file) = (identity(database), lock_file.and_then(identity)) else {
        return Vec::new();
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
                return false;
            };
            let open: Vec<_> = descriptors
                .filter_map(|entry| identity(&entry.ok()?.path()))
                .collect();
            open.contains(&database) && !lock_file.is_some_and(|lock| open.contains(&lock))
        })
        .map(|pid| OtherProcess {
            pid,
            name: fs::read_to_string(format!("/proc/{pid}/comm"))
                .map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned()),
        })
        .collect()
}

/// Other systems do not show it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn other_processes(_: &Path, _: Option<&Path>) -> Vec<OtherProcess> {
    Vec::new()
}

/// The other processes that have the WAL or the shared memory of `database` open although it was
/// removed.
#[cfg(target_os = "linux")]
pub(crate) fn keepers_of_lost_files(database: &Path) -> Vec<OtherProcess> {
    use std::fs;

    use crate::files::with_suffix;

    // As the system shows the name of a file that has none any more.
    let removed = ["-wal (deleted)", "-shm (deleted)"].map(|suffix| with_suffix(database, suffix));
    let mut keepers = other_processes(database, None);
    keepers.retain(|OtherProcess { pid, .. }| {
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|descriptors| {
            descriptors
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .any(|open| removed.contains(&open))
        })
    });
    keepers
}

/// Other systems do not show it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keepers_of_lost_files(_: &Path) -> Vec<OtherProcess> {
    Vec::new()
}
