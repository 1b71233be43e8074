//! One writer per file and process: two would only wait for each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::OpenError;

/// The files that this process has open for writing.
static CLAIMS: Mutex<BTreeMap<PathBuf, State>> = Mutex::new(BTreeMap::new());

/// Notified when a claim ends.
static RELEASED: Condvar = Condvar::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Its `Database` is closing or was dropped: the threads finish what is queued.
    Closing,
}

/// This process's claim to write to a file. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
}

impl Claim {
    /// Claims the file. A claim that is about to end is waited for, up to `wait`; one of a database
    /// in use is not.
    pub(crate) fn new(path: &Path, wait: Duration) -> Result<Self, OpenError> {
        let since = Instant::now();
        let path = path.to_owned();
        let mut claims = lock();
        loop {
            match claims.get(&path) {
                None => {
                    claims.insert(path.clone(), State::Open);
                    return Ok(Self { path });
                }
                Some(State::Open) => return Err(OpenError::AlreadyOpen { path }),
                Some(State::Closing) => {
                    let waited = since.elapsed();
                    let left = wait.saturating_sub(waited);
                    if left.is_zero() {
                        return Err(OpenError::StillClosing { path, waited });
                    }
                    claims = RELEASED
                        .wait_timeout(claims, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }

    /// Lets others wait for this claim: it ends as soon as what is queued is written.
    pub(crate) fn begin_closing(&self) {
        lock().insert(self.path.clone(), State::Closing);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock().remove(&self.path);
        RELEASED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<PathBuf, State>> {
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}
