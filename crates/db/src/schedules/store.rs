//! What the schedules write to.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::config::{Config, Durability, JournalMode};
use crate::connection::ConnectionFactory;
use crate::identity::{FileIdentity, Identities};
use crate::migration::migrate;

/// A database that many schedules write to, each to a guild of its own.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) factory: ConnectionFactory,
    pub(super) journal_mode: JournalMode,
    pub(super) files: Identities,
    pub(super) other_files: Identities,
    reader: Mutex<rusqlite::Connection>,
    guilds: AtomicU64,
    _folder: TempDir,
}

impl Store {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Here it is about who is told what, not about power cuts.
        let config = Config::new(folder.path().join("roas.db")).durability(Durability::Normal);
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let (_, journal_mode) = factory.open_writer().unwrap();
        let files = Identities::at(factory.path(), false).unwrap();
        let another_file = FileIdentity::of(folder.path()).unwrap();
        Self {
            journal_mode,
            files,
            other_files: files.with_database(another_file),
            reader: Mutex::new(factory.open_reader().unwrap()),
            guilds: AtomicU64::new(1),
            factory,
            _folder: folder,
        }
    }

    /// A guild that nobody has written to.
    pub(super) fn guild(&self) -> u64 {
        self.guilds.fetch_add(1, Ordering::Relaxed)
    }

    /// How many events each of the guild's members has.
    pub(super) fn stored(&self, guild: u64) -> BTreeMap<u64, u64> {
        self.reader
            .lock()
            .unwrap()
            .prepare_cached("SELECT user_id, messages FROM activity_meter WHERE guild_id = ?1")
            .unwrap()
            .query_map([i64::try_from(guild).unwrap()], |row| {
                let (user, messages): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((user.cast_unsigned(), messages.cast_unsigned()))
            })
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }
}
