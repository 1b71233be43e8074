//! Files that are made whole before they get their name: snapshots, backups, restored databases.
//!
//! What is opened here is never in use as a database: it was created a moment ago under a name that
//! nobody knows, so that closing it drops nobody's locks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The path of a file that stands beside `path`: its name with `suffix` behind it.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The WAL's path.
pub(crate) fn wal_path(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

/// Opens a file that is there to be locked and holds nothing, for its owner alone; creates it where
/// it is missing, if so asked. A symbolic link in its place is not followed.
pub(crate) fn lock_file(path: &Path, create: bool) -> Result<fs::File, OpenError> {
    if path.is_symlink() {
        return Err(OpenError::Exists {
            path: path.to_owned(),
        });
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(io_error(path, "create the lock file"))
}

/// A file in the making, beside the place where it will be. Removed when dropped, and never seen
/// under its final name before it is whole.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    target: PathBuf,
}

/// What to do with a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

impl Partial {
    /// Creates an empty file for its owner alone. What killed processes have left of theirs is
    /// removed first.
    pub(crate) fn new(target: &Path) -> Result<Self, OpenError> {
        remove_leftovers(target);
        let path = with_suffix(target, &format!("-partial-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        // A new file, or none: this follows no symbolic link.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(io_error(&path, "create"))?;
        Ok(Self {
            path,
            target: target.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file, gives it its name, and syncs the folder. A symbolic link of that name is
    /// refused or replaced, never followed.
    pub(crate) fn publish(self, existing: Existing) -> Result<(), OpenError> {
        let target = &self.target;
        sync(&self.path)?;
        match existing {
            Existing::Replace => fs::rename(&self.path, target),
            // Fails where the name is taken; the partial name goes when `self` does.
            Existing::Keep => fs::hard_link(&self.path, target),
        }
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => OpenError::Exists {
                path: target.clone(),
            },
            _ => io_error(target, "create")(source),
        })?;
        sync_folder(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}

/// Removes the partial files of processes that are gone. A process that cannot be asked for counts
/// as alive.
pub(crate) fn remove_leftovers(target: &Path) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let prefix = format!("{}-partial-", name.to_string_lossy());
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .map(|rest| rest.split('-').next().unwrap_or(rest))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync(path: &Path) -> Result<(), OpenError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(io_error(path, "sync"))
}

/// Syncs the folder that `path` lies in, so that the name is on the disk as well.
pub(crate) fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::OpenOptions::new()
        .read(true)
        .open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(folder, "sync"))
}

pub(crate) fn io_error(
    path: &Path,
    doing: &'static str,
) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::io(&path, doing, source)
}
