//! How far a long operation is.

use std::fmt;
use std::sync::Arc;

use crate::connection::ConnectionFactory;

/// What a long operation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Writing a copy of the database: a snapshot, a backup, a restored file.
    Copying,
    /// Checking that copy, page by page.
    CheckingCopy,
    /// Running the migrations, or the scripts that undo them.
    Migrating,
    /// Checking the outcome before it is committed.
    Verifying,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copying => "copying",
            Self::CheckingCopy => "checking the copy",
            Self::Migrating => "migrating",
            Self::Verifying => "verifying",
        })
    }
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done, in the unit of `total`.
    pub done: u64,
    /// How much there is to do: pages where a copy is written, else an estimate; 0 where nothing is
    /// known.
    pub total: u64,
}

/// Somebody who is told how far a long operation is. Called often, on the thread that does the work.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watcher {
    /// Tells `watch`.
    pub fn new(watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    pub(crate) fn tell(&self, phase: Phase, done: u64, total: u64) {
        if let Some(watch) = &self.0 {
            watch(Progress { phase, done, total });
        }
    }

    /// Tells of a phase while `connection` works, by counting the steps of SQLite's virtual machine
    /// against `expected_steps`. Ends with the guard.
    pub(crate) fn follow<'c>(
        &self,
        factory: &ConnectionFactory,
        connection: &'c mut rusqlite::Connection,
        phase: Phase,
        expected_steps: u64,
    ) -> rusqlite::Result<Following<'c>> {
        /// Often enough for ten frames a second, seldom enough to cost nothing.
        const STEPS_PER_CALL: i32 = 100_000;
        if self.0.is_some() {
            let watcher = self.clone();
            let interruptible = factory.clone().unclaimed();
            let mut done = 0;
            watcher.tell(phase, 0, expected_steps);
            connection.progress_handler(
                STEPS_PER_CALL,
                Some(move || {
                    done += u64::from(STEPS_PER_CALL.cast_unsigned());
                    watcher.tell(phase, done.min(expected_steps), expected_steps);
                    interruptible.is_interrupted()
                }),
            )?;
        }
        Ok(Following {
            connection,
            factory: factory.clone().unclaimed(),
        })
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.is_some()).finish()
    }
}

/// A connection whose steps are counted.
#[derive(Debug)]
pub(crate) struct Following<'c> {
    connection: &'c mut rusqlite::Connection,
    factory: ConnectionFactory,
}

impl std::ops::Deref for Following<'_> {
    type Target = rusqlite::Connection;

    fn deref(&self) -> &rusqlite::Connection {
        self.connection
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let _ = self.connection.progress_handler(0, None::<fn() -> bool>);
        let _ = self.factory.watch_interrupt(self.connection);
    }
}
