//! What the worker does when its connection has failed, or the files under it are lost.

use std::fs;
use std::time::{Duration, Instant};

use roas_domain::{RepositoryError, RepositoryErrorKind};
use rusqlite::Connection;

use crate::connection::{Writers, keep_from_checkpoint};
use crate::error::is_contended;
use crate::files::with_suffix;
use crate::identity::Fault;
use crate::lock::busy;
use crate::lock::other_processes::other_processes;
use crate::wal::index::WalIndex;

use super::sync::thread;
use super::worker::{POLL_INTERVAL, Worker, fail_all, split_expired};

/// For how long a look at the files is good for the next transaction of the same connection, where no
/// other process has written since.
pub(super) const LOOK_IS_GOOD_FOR: Duration = Duration::from_millis(1);

/// How long the connections of readers and of the maintenance may take to be closed, and how long a
/// rescue waits for the write lock, before it is tried again with the next request.
const LET_GO_WITHIN: Duration = Duration::from_secs(2);

/// What has become of transactions that may be in a lost WAL alone.
#[derive(Debug)]
enum Rescue {
    /// The database, or the WAL at its path, has all of them.
    Nothing,
    /// So many frames were copied into the database.
    Copied(u32),
    /// So many frames are not there any more, or cannot be copied without writing over others.
    Lost(u32),
}

impl Worker {
    /// Declares the files lost, once.
    pub(super) fn lose(&self, fault: &Fault) {
        if self.config.files.lose() {
            tracing::error!(
                path = %self.config.factory.path().display(),
                "{fault}; nothing is acknowledged until what is in it is saved and the database \
                 opened again. Keep sync tools and clean-up scripts away from the database's `-wal` \
                 and `-shm`, and copy it by `roas_db::backup` alone"
            );
        }
    }

    /// Saves what the files of `connection` hold that no other file does, and closes it. Keeps it where
    /// that has to be tried again.
    pub(super) fn let_go(&mut self, connection: Connection) {
        // It waits for what may stop: requests of the maintenance, which has to close its own.
        self.fail_maintenance();
        match self.rescue(&connection) {
            Ok(Rescue::Nothing) => {}
            Ok(Rescue::Copied(frames)) => tracing::warn!(
                frames,
                "what was acknowledged is saved: it is copied from the lost WAL into the database"
            ),
            Ok(Rescue::Lost(frames)) => tracing::error!(
                frames,
                "the last transactions could not be saved: they were overwritten, or another program \
                 has written to the database since"
            ),
            Err(error) => {
                tracing::warn!(%error, "what is in the lost WAL is not yet saved; it is tried again");
                self.kept = Some(connection);
                return;
            }
        }
        keep_from_checkpoint(&connection);
    }

    fn rescue(&self, connection: &Connection) -> rusqlite::Result<Rescue> {
        let until = Instant::now() + LET_GO_WITHIN;
        loop {
            match self.try_rescue(connection, until) {
                Err(error) if is_contended(&error) && Instant::now() < until => {
                    thread::sleep(POLL_INTERVAL);
                }
                result => return result,
            }
        }
    }

    fn try_rescue(&self, connection: &Connection, until: Instant) -> rusqlite::Result<Rescue> {
        let files = &self.config.files;
        if !files.has_database() {
            return Ok(Rescue::Nothing);
        }
        busy::allow(until.saturating_duration_since(Instant::now()));
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            // Where the WAL is cut off, not even a transaction begins.
            if is_contended(&error) {
                return Err(error);
            }
            tracing::warn!(%error, "the lost WAL cannot be read");
        }
        let has_wal = files.has_wal();
        let is_left_alone = !files.has_other_shared_memory()
            || other_processes(self.config.factory.path(), None).is_empty();
        let looked = self.look_into_lost_wal(connection, has_wal, is_left_alone);
        // The other writers of this WAL looked at their files before this lock was had, or look after
        // it: with the lock had for longer than a look is good for, none writes to it any more.
        thread::sleep(2 * LOOK_IS_GOOD_FOR);
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        let Some((index, is_whole)) = looked? else {
            return Ok(Rescue::Nothing);
        };
        if index.is_copied() || has_wal && is_whole {
            return Ok(Rescue::Nothing);
        }
        if !is_whole || !is_left_alone {
            return Ok(Rescue::Lost(index.frames - index.copied));
        }
        let copied = self.config.wal_monitor.copy_in_turn(connection)?;
        if copied.is_copied() {
            Ok(Rescue::Copied(index.frames - index.copied))
        } else {
            // A reader or another checkpoint was in the way.
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Err(rusqlite::Error::SqliteFailure(busy, None))
        }
    }

    /// What the index says, and whether the WAL that is open holds it. Sets aside what SQLite would apply
    /// to the database although it is not of it. To be called under the write lock: the writers who share
    /// the index have not written to another WAL then.
    fn look_into_lost_wal(
        &self,
        connection: &Connection,
        has_wal: bool,
        is_left_alone: bool,
    ) -> rusqlite::Result<Option<(WalIndex, bool)>> {
        let Some(index) = WalIndex::of(connection)? else {
            return Ok(None);
        };
        let is_whole = index.is_in_wal_of(connection, self.tail.as_ref())?;
        let is_foreign = if has_wal {
            // Overwritten in place: recovery would take the database back.
            !is_whole && !index.is_copied_part_in_wal_of(connection)?
        } else {
            is_whole && index.is_of_wal_of(connection)?
        };
        if is_foreign && is_left_alone && (has_wal || !connection.is_autocommit()) {
            self.set_wal_aside();
        }
        Ok(Some((index, is_whole)))
    }

    fn set_wal_aside(&self) {
        let wal = self.config.files.wal();
        let aside = with_suffix(wal, "-set-aside");
        match fs::rename(wal, &aside) {
            Ok(()) => tracing::warn!(
                path = %aside.display(),
                "the file at the WAL's path was set aside: it is not the database's"
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "the file at the WAL's path cannot be set aside"),
        }
    }

    /// Opens the connection again after a failure, or after the files were lost.
    pub(super) fn reopen(&mut self) -> Result<Connection, RepositoryError> {
        let unavailable = |error: crate::OpenError| {
            RepositoryError::with_source(
                error.kind(),
                "the database cannot be opened again after a failure; nothing was applied",
                error,
            )
        };
        let path = self.config.factory.path().to_owned();
        let files = std::sync::Arc::clone(&self.config.files);
        // Never an empty file in the place of one that went away.
        if !files.has_database() {
            return Err(file_moved(&path));
        }
        if let Err(fault @ Fault::Lost(_)) = files.look() {
            self.lose(&fault);
        }
        if let Some(connection) = self.kept.take() {
            self.let_go(connection);
        }
        let is_lost = files.is_lost();
        if is_lost && (self.kept.is_some() || !self.others_let_go()) {
            return Err(RepositoryError::new(
                RepositoryErrorKind::Unavailable,
                "the `-wal` or `-shm` of the database was removed, replaced or overwritten while it was \
                 open, and what is in them is not yet saved; nothing was applied, try again",
            ));
        }
        let since = self.queue.iter().map(|command| command.submitted_at).min();
        let factory = &self.config.factory;
        let factory = factory.for_request(since.unwrap_or_else(Instant::now));
        let (connection, caretaker, journal_mode) = if is_lost {
            let Writers {
                writer,
                caretaker,
                mode,
                files: found,
            } = factory.open_writers().map_err(unavailable)?;
            files.found(found);
            (writer, Some(caretaker), mode)
        } else {
            let (connection, mode) = factory.open_writer().map_err(unavailable)?;
            (connection, None, mode)
        };
        self.config.journal_mode = journal_mode;
        if self.syncs_apart() {
            factory
                .retrying("begin the WAL anew", || {
                    let anew = self
                        .config
                        .wal_monitor
                        .truncate_after_failed_sync(&connection);
                    anew.map_err(Into::into)
                })
                .map_err(unavailable)?;
        }
        drop(caretaker);
        self.tail = None;
        self.looked = None;
        self.shared.reopened();
        tracing::warn!(path = %path.display(), "the writer's connection was opened anew");
        Ok(connection)
    }

    /// Waits until readers and maintenance have closed their connections to files that are lost.
    fn others_let_go(&mut self) -> bool {
        let until = Instant::now() + LET_GO_WITHIN;
        loop {
            if let Some(readers) = self.config.readers.upgrade() {
                readers.close_idle();
            }
            self.config.wal_monitor.wake_maintenance();
            self.fail_maintenance();
            if self.config.files.are_closed() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Fails the requests of the maintenance: it is to close its connection, and asks again later.
    fn fail_maintenance(&mut self) {
        while let Some(command) = self.receiver.try_receive() {
            if !command.only_wakes() {
                self.queue.push_back(command);
            }
        }
        let queued = self.queue.drain(..);
        let (failed, kept): (Vec<_>, Vec<_>) = queued.partition(super::Command::is_of_maintenance);
        self.queue = kept.into();
        if !failed.is_empty() {
            let error = RepositoryError::new(
                RepositoryErrorKind::Unavailable,
                "the database's files are lost; nothing was applied",
            );
            fail_all(failed, &error);
        }
    }

    /// Fails what is queued, for want of a connection. Where it was a lock that was not to be had, only
    /// those whose time is up.
    pub(super) fn fail_queued(&mut self, error: &RepositoryError) {
        let queued = self.queue.drain(..);
        let failed = if matches!(error.kind(), RepositoryErrorKind::Busy { .. }) {
            let deadline = self.config.factory.retry().deadline();
            let (expired, rest) = split_expired(queued, deadline, Instant::now());
            self.queue = rest.into();
            expired
        } else {
            queued.collect()
        };
        fail_all(failed, error);
    }
}

fn file_moved(path: &std::path::Path) -> RepositoryError {
    RepositoryError::new(
        RepositoryErrorKind::Unavailable,
        format!(
            "`{}` was moved, replaced or deleted while it was open; nothing was applied, put the \
             file back or open the database anew",
            path.display()
        ),
    )
}
