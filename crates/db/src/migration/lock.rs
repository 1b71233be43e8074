//! The lock between processes that migrate, back up or restore one file.

use std::fs;
use std::path::PathBuf;

use crate::connection::{ConnectionFactory, poll_until};
use crate::error::OpenError;
use crate::files::with_suffix;
use crate::files::{io_error, lock_file};

/// Held by the one process that migrates a file. The lock file stays: removing it would let two
/// processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct MigrationLock {
    file: fs::File,
    pub(super) path: PathBuf,
}

impl MigrationLock {
    pub(crate) fn acquire(factory: &ConnectionFactory) -> Result<Self, OpenError> {
        let lock = Self::open(factory, true)?;
        let locked = poll_until(factory.migration_wait(), || lock.try_lock());
        match locked.map_err(io_error(&lock.path, "lock"))? {
            Ok(()) => Ok(lock),
            Err(waited) => Err(OpenError::MigrationLocked {
                path: factory.path().to_owned(),
                waited,
            }),
        }
    }

    /// Whether another process, or another thread, holds it now. Creates nothing.
    pub(super) fn is_held(factory: &ConnectionFactory) -> bool {
        Self::open(factory, false).is_ok_and(|lock| matches!(lock.try_lock(), Ok(None)))
    }

    fn open(factory: &ConnectionFactory, create: bool) -> Result<Self, OpenError> {
        let path = with_suffix(factory.path(), "-migrate.lock");
        let file = lock_file(&path, factory.path(), create)?;
        Ok(Self { file, path })
    }

    fn try_lock(&self) -> std::io::Result<Option<()>> {
        match self.file.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}
