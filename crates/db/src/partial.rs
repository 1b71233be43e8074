//! Files that are made whole before they get their name: snapshots, backups, restored databases.
//!
//! A file in the making has a name that no other process uses, and a lock file beside it that is locked
//! for as long as it is being made. What a killed process has left is known by that lock, whatever
//! process ids mean in its container, and removed by the next process that writes to the same target.
//!
//! What is opened here is never in use as a database: it was created a moment ago under a name that no
//! other process knows, so that closing it drops no locks of SQLite's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::files::{create_private, io_error, sync_folder, take_owner_of, with_suffix};
use crate::identity::FileIdentity;

/// Between the target's name and what makes a partial file's name its own.
const PARTIAL: &str = "-partial-";

/// A file in the making, beside the place where it will be. Removed when dropped, and never seen
/// under its final name before it is whole.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    target: PathBuf,
    /// Locked until the file is whole or given up.
    _lock: fs::File,
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
        loop {
            let unique = format!("{PARTIAL}{:016x}", fastrand::u64(..));
            let path = with_suffix(target, &unique);
            let lock_path = lock_path(&path);
            let lock = create_private(&lock_path).map_err(io_error(&lock_path, "create"))?;
            // Before it was locked, another process may have taken it for a leftover.
            if lock.try_lock().is_err() || !is_at(&lock, &lock_path) {
                continue;
            }
            let partial = Self {
                path,
                target: target.to_owned(),
                _lock: lock,
            };
            create_private(&partial.path).map_err(io_error(&partial.path, "create"))?;
            return Ok(partial);
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file, gives it its name, and syncs the folder. A symbolic link of that name is
    /// refused or replaced, never followed.
    ///
    /// A file that is replaced leaves its owner and its mode to its successor; `like` is another
    /// file whose owner a new one takes.
    pub(crate) fn publish(self, existing: Existing, like: Option<&Path>) -> Result<(), OpenError> {
        let target = &self.target;
        sync(&self.path)?;
        let replaced = fs::symlink_metadata(target)
            .ok()
            .filter(fs::Metadata::is_file);
        if let (Existing::Replace, Some(replaced)) = (existing, replaced) {
            take_owner_of(target, &self.path);
            fs::set_permissions(&self.path, replaced.permissions())
                .map_err(io_error(&self.path, "set the mode of"))?;
        } else if let Some(like) = like {
            take_owner_of(like, &self.path);
        }
        match existing {
            Existing::Replace => fs::rename(&self.path, target),
            Existing::Keep => rename_to_new(&self.path, target, &WAYS),
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
        remove(&self.path);
    }
}

/// A way of giving a file a name that must not be taken.
type Way = fn(&Path, &Path) -> io::Result<()>;

/// From the best to what works anywhere.
const WAYS: [Way; 3] = [exclusive_rename, link_and_unlink, reserve_and_rename];

/// Gives the file at `from` the name `to`, in the first of the `ways` that the file system knows.
fn rename_to_new(from: &Path, to: &Path, ways: &[Way]) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for way in ways {
        match way(from, to) {
            // FAT, exFAT and shared folders of virtual machines have no hard links, and say so as EPERM.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::TooManyLinks
                ) =>
            {
                last = error;
            }
            done => return done,
        }
    }
    Err(last)
}

#[cfg(target_os = "linux")]
fn exclusive_rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn exclusive_rename(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Takes the name with an empty file first. A process killed in between leaves that, and nothing of
/// another's is lost.
fn reserve_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    create_private(to)?;
    fs::rename(from, to).inspect_err(|_| {
        let _ = fs::remove_file(to);
    })
}

fn lock_path(partial: &Path) -> PathBuf {
    with_suffix(partial, ".lock")
}

/// Whether the open file is still the one at the path.
fn is_at(file: &fs::File, path: &Path) -> bool {
    let open = file.metadata().map(|file| FileIdentity::from(&file));
    open.is_ok_and(|open| FileIdentity::of(path).is_ok_and(|there| there == open))
}

/// Removes a partial file with all that SQLite may have put beside it; its lock file last.
fn remove(partial: &Path) {
    for suffix in ["-journal", "-wal", "-shm", "", ".lock"] {
        let _ = fs::remove_file(with_suffix(partial, suffix));
    }
}

/// Removes the partial files of `target` that no process is making any more.
pub(crate) fn remove_leftovers(target: &Path) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let prefix = format!("{}{PARTIAL}", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let unique = name.strip_prefix(&prefix)?;
            // Behind it come `-wal`, `.lock` and the like.
            let length = unique
                .find(|letter: char| !letter.is_ascii_hexdigit())
                .unwrap_or(unique.len());
            let is_ours =
                length > 0 && unique.len() - length <= ".lock".len().max("-journal".len());
            is_ours.then(|| folder.join(&name[..prefix.len() + length]))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    for partial in found {
        let mut options = fs::OpenOptions::new();
        match options.write(true).open(lock_path(&partial)) {
            // Locked where its process is alive.
            Ok(lock) if lock.try_lock().is_err() => {}
            Ok(_lock) => remove(&partial),
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&partial),
            Err(_) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_way_takes_a_free_name_and_no_other() {
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            fs::write(&from, "new").unwrap();
            fs::write(&to, "old").unwrap();
            let error = way(&from, &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).unwrap(), "old");
            fs::remove_file(&to).unwrap();
            way(&from, &to).unwrap();
            assert_eq!(names(folder.path()), ["to"]);
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        }
    }

    #[test]
    fn a_file_system_without_links_falls_back_and_other_errors_do_not() {
        fn refused(_: &Path, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn full(_: &Path, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        let error = rename_to_new(&from, &to, &[full, reserve_and_rename]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        rename_to_new(&from, &to, &[refused, reserve_and_rename]).unwrap();
        assert_eq!(names(folder.path()), ["to"]);
    }

    #[test]
    fn leftovers_go_with_their_side_files_and_live_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.db");
        let live = Partial::new(&target).unwrap();
        let live_name = live
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        for left in [
            "a.db-partial-12345",
            "a.db-partial-00000000000000ab",
            "a.db-partial-00000000000000ab-wal",
            "a.db-partial-00000000000000ab-shm",
            "a.db-partial-00000000000000ab.lock",
            "a.db-partial-00000000000000cd-journal",
        ] {
            fs::write(folder.path().join(left), "").unwrap();
        }
        let kept = ["a.db-partial-notes.txt", "b.db-partial-00000000000000ab"];
        for other in kept {
            fs::write(folder.path().join(other), "").unwrap();
        }
        let second = Partial::new(&target).unwrap();
        let second_name = second
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let mut expected: Vec<String> = kept.map(str::to_owned).into();
        for name in [live_name, second_name] {
            expected.extend([format!("{name}.lock"), name]);
        }
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
        second.publish(Existing::Keep, None).unwrap();
        drop(live);
        assert_eq!(names(folder.path()), ["a.db", kept[0], kept[1]]);
    }
}
