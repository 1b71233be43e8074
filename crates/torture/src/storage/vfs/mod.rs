//! A VFS between SQLite and the platform's own: it makes calls fail, and records what is written.
//!
//! Everything that is not made to fail goes to the platform's VFS, locks and shared memory
//! included, so that what runs on top of it runs as it does in earnest: in WAL mode, with several
//! connections and processes.
//!
//! ```
//! use roas_torture::storage::vfs::{Call, FaultyVfs, Plan, Reason};
//!
//! let vfs = FaultyVfs::register();
//! let config = roas_db::Config::new("roas.db").vfs(vfs.name());
//! // The third write from now on fails, as on a full disk.
//! vfs.disk().arm(Plan::once(Call::Write, Reason::NoSpace, 3));
//! # drop(config);
//! ```

mod disk;
mod shim;

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use disk::{Call, Disk, FileKind, Plan, Reason, Syncs};
use shim::Registration;

/// A VFS under a name of its own, registered until it is dropped. Connections that are open by then
/// go on working.
#[derive(Debug)]
pub struct FaultyVfs {
    name: String,
    disk: Arc<Disk>,
    _registration: Registration,
}

/// Whether a VFS can do WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedMemory {
    /// As the platform's VFS does.
    PassedThrough,
    /// It has none, as on some network file systems: the database falls back to a rollback
    /// journal.
    Missing,
}

impl FaultyVfs {
    /// Registers a VFS that can do all that the platform's can.
    ///
    /// # Panics
    ///
    /// Where SQLite has no VFS for this platform, or no memory.
    #[must_use]
    pub fn register() -> Self {
        Self::with(SharedMemory::PassedThrough)
    }

    /// Registers a VFS with or without shared memory.
    ///
    /// # Panics
    ///
    /// Where SQLite has no VFS for this platform, or no memory.
    #[must_use]
    pub fn with(shared_memory: SharedMemory) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("roas-torture-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let c_name = CString::new(name.clone()).expect("a name of letters and digits");
        let disk = Arc::new(Disk::default());
        Self {
            _registration: Registration::new(c_name, Arc::clone(&disk), shared_memory),
            name,
            disk,
        }
    }

    /// The name to open databases through: [`roas_db::Config::vfs`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The disk that databases opened through this VFS see.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}
