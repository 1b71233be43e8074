//! Foreign processes that copy the database, and check each copy as a run's database is checked: intact,
//! complete in itself, and no older than the copy before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, ffi};
use tempfile::TempDir;

use super::ForeignCommand;
use super::serve::{Act, Done, Stop};
use crate::engine::BoxError;
use crate::engine::sqlite::open;
use crate::verify::{Expected, check};

/// From one copy to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a copy waits for locks.
const WAIT: Duration = Duration::from_secs(30);

/// Copies beside the database, one at a time.
#[derive(Debug)]
struct Copies {
    folder: PathBuf,
    engine: String,
    prefilled: u64,
    /// What the last of them held, which none after it may lack.
    counted: u64,
}

impl Copies {
    fn new(order: &ForeignCommand) -> Self {
        let folder = order.database.parent().unwrap_or(Path::new("."));
        Self {
            folder: folder.to_owned(),
            engine: order.engine.clone(),
            prefilled: order.prefilled,
            counted: 0,
        }
    }

    /// Makes a copy, and checks it.
    fn make(&mut self, copy: impl FnOnce(&Path) -> Result<(), BoxError>) -> Result<Done, BoxError> {
        let folder = TempDir::with_prefix_in("roas-bench-copy-", &self.folder)?;
        let file = folder.path().join("copy.db");
        let since = Instant::now();
        copy(&file)?;
        let took = since.elapsed();
        let found = check(
            &file,
            &Expected {
                engine: self.engine.clone(),
                acknowledged: self.counted,
                unknown: u64::MAX,
                prefilled: self.prefilled,
            },
        );
        self.counted = found.counted.max(self.counted);
        Ok(Done {
            took,
            cut_short: false,
            problems: found.problems,
        })
    }
}

/// Runs VACUUM INTO.
#[derive(Debug)]
pub(super) struct Vacuuming {
    connection: Connection,
    copies: Copies,
}

impl Vacuuming {
    pub(super) fn new(connection: Connection, order: &ForeignCommand) -> Result<Self, BoxError> {
        connection.busy_timeout(WAIT)?;
        let copies = Copies::new(order);
        Ok(Self { connection, copies })
    }
}

impl Act for Vacuuming {
    const CHECKED: bool = true;

    fn act(&mut self, _: &Stop) -> Result<Done, BoxError> {
        let connection = &self.connection;
        self.copies.make(|file| {
            connection.execute(
                "VACUUM INTO ?1",
                [file.to_str().ok_or("not a path in UTF-8")?],
            )?;
            Ok(())
        })
    }

    fn pause(&mut self) -> Duration {
        PAUSE
    }
}

/// Makes online backups.
#[derive(Debug)]
pub(super) struct BackingUp {
    connection: Connection,
    copies: Copies,
}

impl BackingUp {
    pub(super) fn new(connection: Connection, order: &ForeignCommand) -> Result<Self, BoxError> {
        connection.busy_timeout(WAIT)?;
        let copies = Copies::new(order);
        Ok(Self { connection, copies })
    }
}

impl Act for BackingUp {
    const CHECKED: bool = true;

    fn act(&mut self, _: &Stop) -> Result<Done, BoxError> {
        let connection = &self.connection;
        self.copies.make(|file| {
            let mut copy = open(file, OpenFlags::default())?;
            let backup = Backup::new(connection, &mut copy)?;
            // All pages at once, as Python's `Connection.backup` does: a backup in steps starts
            // over whenever another process has written in between, and here one always has.
            match backup.step(-1)? {
                StepResult::Done => Ok(()),
                // Some lock was in the way: nothing else ends it early.
                _ => Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_BUSY),
                    None,
                ))?,
            }
        })
    }

    fn pause(&mut self) -> Duration {
        PAUSE
    }
}
