//! The names that belong to a database, and the files beside it that are not SQLite's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
#[cfg(unix)]
use crate::identity::FileIdentity;

/// What stands behind a database's name in the names of the files that belong to it.
const SIDE_SUFFIXES: [&str; 5] = ["-wal", "-shm", "-journal", "-migrate.lock", "-turns.lock"];

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

/// Whether writing to `path` would write to the database at `database` or to a file that belongs to
/// it: its WAL, its shared memory, its journal, its lock files. By name, also where there is no such
/// file yet, and by identity, under whatever name.
#[must_use]
pub fn belongs_to_database(path: &Path, database: &Path) -> bool {
    let database = resolved(database);
    let same_name = |one: &Path, other: &Path| {
        // The case may not count on the file system. Folders of one identity are one folder, mounted
        // here and there.
        let name = |path: &Path| path.file_name().map(OsStr::to_ascii_lowercase);
        let folders = one.parent().zip(other.parent());
        name(one) == name(other) && folders.is_some_and(|(one, other)| is_same_file(one, other))
    };
    let path = resolved(path);
    std::iter::once("").chain(SIDE_SUFFIXES).any(|suffix| {
        let file = with_suffix(&database, suffix);
        same_name(&path, &file) || is_same_file(&path, &file)
    })
}

/// Whether two paths lead to one file or folder that is there, under whatever names.
#[must_use]
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        #[cfg(unix)]
        let identity = FileIdentity::of(path);
        // There is no other identity there than the name.
        #[cfg(not(unix))]
        let identity = fs::canonicalize(path);
        identity.ok()
    };
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

/// Whether `path` has the name of a file that belongs to another database, which is there.
pub(crate) fn is_side_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    SIDE_SUFFIXES.iter().any(|suffix| {
        let base = name.len().checked_sub(suffix.len()).filter(|at| *at > 0);
        base.and_then(|at| name.split_at_checked(at))
            .is_some_and(|(base, end)| {
                end.eq_ignore_ascii_case(suffix) && path.with_file_name(base).is_file()
            })
    })
}

/// The path with its symbolic links resolved, where it is there; else with those of its folder.
fn resolved(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(path).unwrap_or_else(|_| {
        // What would be created through a link that leads nowhere yet.
        let path = match fs::read_link(path) {
            Ok(target) => path
                .parent()
                .map_or(target.clone(), |folder| folder.join(target)),
            Err(_) => absolute(),
        };
        let folder = path
            .parent()
            .and_then(|folder| fs::canonicalize(folder).ok());
        match (folder, path.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => path,
        }
    })
}

/// Opens a file that is there to be locked and holds nothing, for the owner of the file at `like`
/// alone; creates it where it is missing, if so asked. A symbolic link in its place is not followed.
pub(crate) fn lock_file(path: &Path, like: &Path, create: bool) -> Result<fs::File, OpenError> {
    if path.is_symlink() {
        return Err(OpenError::Exists {
            path: path.to_owned(),
        });
    }
    if create {
        match create_private(path) {
            Ok(_) => take_owner_of(like, path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error(path, "create the lock file")(error)),
        }
    }
    let mut options = fs::OpenOptions::new();
    options.write(true);
    options
        .open(path)
        .map_err(io_error(path, "open the lock file"))
}

/// Creates an empty file for its owner alone (0600); fails where the name is taken, be it by a
/// symbolic link.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Gives the file at `path` the owner of the one at `like`, or where there is none, of its folder: what
/// root creates in a bot's folder is the bot's. Others than root may not give files away, and need not.
#[cfg(unix)]
pub(crate) fn take_owner_of(like: &Path, path: &Path) {
    use std::os::unix::fs::MetadataExt;

    let owner = fs::symlink_metadata(like)
        .or_else(|error| like.parent().map_or(Err(error), fs::metadata))
        .map(|like| (like.uid(), like.gid()));
    let current = fs::symlink_metadata(path).map(|file| (file.uid(), file.gid()));
    if let (Ok(owner), Ok(current)) = (owner, current)
        && owner != current
    {
        let _ = std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1));
    }
}

#[cfg(not(unix))]
pub(crate) fn take_owner_of(_: &Path, _: &Path) {}

/// What had no room where an operation on the database at `path` found none: the file itself, or the
/// folder for SQLite's temporary files, where that lies on another disk with less room.
pub(crate) fn place_without_room(path: &Path) -> PathBuf {
    let room = |place: &Path| free_bytes(place).unwrap_or(u64::MAX);
    let folder = path.parent().unwrap_or(path);
    match temporary_folder() {
        Some(temporary) if room(&temporary) < room(folder) => temporary,
        _ => path.to_owned(),
    }
}

/// Where SQLite puts temporary files (<https://sqlite.org/tempfiles.html>, section 5).
fn temporary_folder() -> Option<PathBuf> {
    let set = ["SQLITE_TMPDIR", "TMPDIR"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].map(|folder| Some(PathBuf::from(folder)));
    let mut folders = set.into_iter().chain(usual).flatten();
    folders.find(|folder| folder.is_dir())
}

/// How many bytes a process without privileges can still write to the disk of a folder.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    let free = {
        let disk = rustix::fs::statvfs(folder).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    };
    #[cfg(not(unix))]
    let free = {
        let _ = folder;
        None
    };
    free
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_and_its_files_are_known_by_name_and_by_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let database = path("bot.db");
        fs::write(&database, "").unwrap();
        for name in [
            "bot.db",
            "bot.db-wal",
            "bot.db-shm",
            "bot.db-journal",
            "bot.db-migrate.lock",
            "bot.db-turns.lock",
            "BOT.db-WAL",
            "./bot.db-wal",
            "sub/../bot.db-shm",
        ] {
            fs::create_dir_all(path("sub")).unwrap();
            assert!(belongs_to_database(&path(name), &database), "{name}");
        }
        for name in ["bot.db2", "bot.db-backup", "sub/bot.db", "other.db-wal"] {
            assert!(!belongs_to_database(&path(name), &database), "{name}");
        }
        fs::hard_link(&database, path("hard")).unwrap();
        fs::write(path("bot.db-wal"), "").unwrap();
        fs::hard_link(path("bot.db-wal"), path("wal")).unwrap();
        std::os::unix::fs::symlink(&database, path("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), path("folder")).unwrap();
        std::os::unix::fs::symlink("bot.db-journal", path("dangling")).unwrap();
        for name in ["hard", "wal", "link", "folder/bot.db-journal", "dangling"] {
            assert!(belongs_to_database(&path(name), &database), "{name}");
            assert!(belongs_to_database(&path(name), &path("link")), "{name}");
        }
    }

    #[test]
    fn a_file_of_another_database_is_known_where_that_one_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other.db"), "").unwrap();
        assert!(is_side_file(&path("other.db-wal")));
        assert!(is_side_file(&path("other.db-journal")));
        assert!(!is_side_file(&path("none.db-wal")));
        assert!(!is_side_file(&path("-wal")));
        assert!(!is_side_file(&path("other.db")));
    }
}
