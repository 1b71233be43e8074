//! The size of the WAL while a run is under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::result::WalSizes;

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Looks at a database's WAL at every tick from a time on.
#[derive(Debug)]
pub(super) struct WalSampler {
    file: PathBuf,
    next: Instant,
    sizes: WalSizes,
}

impl WalSampler {
    pub(super) fn new(database: &Path, from: Instant) -> Self {
        let mut file = database.as_os_str().to_owned();
        file.push("-wal");
        Self {
            file: PathBuf::from(file),
            next: from,
            sizes: WalSizes {
                tick_ms: u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX),
                bytes: Vec::new(),
            },
        }
    }

    /// When to look next.
    pub(super) const fn due(&self) -> Instant {
        self.next
    }

    /// Looks, where that is due. Ticks that were missed are given what is seen now.
    pub(super) fn look(&mut self) {
        while Instant::now() >= self.next {
            self.sizes.bytes.push(self.size());
            self.next += TICK;
        }
    }

    /// What was seen, with a last look at what is there now.
    pub(super) fn end(mut self) -> WalSizes {
        self.look();
        self.sizes.bytes.push(self.size());
        self.sizes
    }

    /// 0 where there is none. The file is not opened: closing it would drop SQLite's locks.
    fn size(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }
}
