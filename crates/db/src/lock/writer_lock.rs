//! A lock between the processes that write to one file.
//!
//! SQLite's file locks have no queue and no wake-up: a waiting process polls, the lock lies idle between
//! two polls, and after each hand-over a process reads its pages again. So the writers of this library
//! first take an exclusive lock on a file beside the database, for which the kernel keeps a queue and
//! wakes the next waiter. A writer holds it for several transactions.
//!
//! # Architecture invariants
//!
//! The lock is advisory: SQLite's own lock alone decides who writes. A writer that does not get it in
//! time, because its holder is stopped or the lock file cannot be opened, goes on without it, as foreign
//! programs do. A writer releases it before it waits for requests, for the WAL, or for a retry.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::OpenError;
use crate::files::lock_file;
use crate::lock::busy::Waited;

/// How long a process may hold the lock while others wait. Long enough that several transactions pay for
/// reading pages again, short enough that eight processes all write within 20 ms. Measured with 8 x 16
/// callers: 3 ms gains nothing and lengthens p99 by a third.
pub(crate) const MAX_HOLD: Duration = Duration::from_micros(2500);

/// How long to wait for the lock before writing without it: some tens of holds.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a contended writer waits after a release before it asks again, so that the process that was
/// woken gets the lock: the kernel gives it to the first that asks. With 0.05 ms a process now and then
/// waits for 130 ms.
const FAIRNESS_DELAY: Duration = Duration::from_micros(200);

/// How long after a wait the lock counts as contended. Not only for the next acquisition: a writer that
/// then found the lock free by chance would take it again and again.
const CONTENDED_FOR: Duration = Duration::from_millis(100);

/// One writer's hold on the lock of a file.
#[derive(Debug)]
pub(crate) struct WriterLock {
    /// `None` where the lock file cannot be opened: there is no lock then.
    queue: Option<Arc<Queue>>,
    /// Whether the lock-waiter thread runs. It is started at the first contention.
    has_waiter: bool,
    timeout: Duration,
    /// When this writer acquired the lock, while it holds it.
    acquired_at: Option<Instant>,
    /// When it last waited for it.
    waited_at: Option<Instant>,
    /// When it last released it under contention.
    released_at: Option<Instant>,
}

/// The lock file and the state of the thread that waits for it.
#[derive(Debug)]
struct Queue {
    file: File,
    waiter: Mutex<Waiter>,
    changed: Condvar,
}

/// The state of the lock-waiter thread. A blocking lock cannot be cancelled, so a thread of its own waits
/// for it, and the writer waits for the thread with a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiter {
    /// Not waiting.
    Idle,
    /// In the kernel's queue, for a writer that waits.
    Waiting,
    /// It holds the lock, for that writer.
    Acquired,
    /// In the kernel's queue, for a writer that timed out.
    Abandoned,
    /// To end.
    Stopped,
}

impl WriterLock {
    /// The lock by the lock file at `path`, which is created where it is missing, for the owner of the
    /// database, and never removed.
    pub(crate) fn at(path: &Path, database: &Path) -> Self {
        Self {
            queue: Queue::open(path, database).ok().map(Arc::new),
            has_waiter: false,
            timeout: ACQUIRE_TIMEOUT,
            acquired_at: None,
            waited_at: None,
            released_at: None,
        }
    }

    /// Acquires the lock, unless this writer holds it and may hold it for longer. Waits for the timeout at
    /// most, and returns without the lock after it.
    pub(crate) fn acquire(&mut self) -> Waited {
        let mut waited = Waited::default();
        if self
            .acquired_at
            .is_some_and(|acquired_at| acquired_at.elapsed() < MAX_HOLD)
        {
            return waited;
        }
        self.release();
        let Some(queue) = &self.queue else {
            return waited;
        };
        if let Some(released_at) = self.released_at.take() {
            thread::sleep(FAIRNESS_DELAY.saturating_sub(released_at.elapsed()));
        }
        match queue.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(_)) => return waited,
            Err(TryLockError::WouldBlock) => {
                if !self.has_waiter {
                    let queue = Arc::clone(queue);
                    self.has_waiter = thread::Builder::new()
                        .name("roas-lock-waiter".to_owned())
                        .spawn(move || queue.run_waiter())
                        .is_ok();
                }
                if !self.has_waiter {
                    return waited;
                }
                let before = Instant::now();
                let acquired = queue.wait(self.timeout);
                waited.sleeps = 1;
                waited.time = before.elapsed();
                self.waited_at = Some(Instant::now());
                if !acquired {
                    return waited;
                }
            }
        }
        self.acquired_at = Some(Instant::now());
        waited
    }

    /// Releases the lock, where this writer holds it.
    pub(crate) fn release(&mut self) {
        if let (Some(queue), Some(_)) = (&self.queue, self.acquired_at.take()) {
            queue.unlock();
            self.released_at = self.is_contended().then(Instant::now);
        }
    }

    /// Releases the lock where other processes wait for it, before this writer waits for the disk.
    pub(crate) fn release_if_contended(&mut self) {
        if self.is_contended() {
            self.release();
        }
    }

    fn is_contended(&self) -> bool {
        self.waited_at
            .is_some_and(|waited_at| waited_at.elapsed() < CONTENDED_FOR)
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            if self.acquired_at.is_some() {
                queue.unlock();
            }
            *queue.waiter() = Waiter::Stopped;
            queue.changed.notify_all();
        }
    }
}

impl Queue {
    fn open(path: &Path, database: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            file: lock_file(path, database, true)?,
            waiter: Mutex::new(Waiter::Idle),
            changed: Condvar::new(),
        })
    }

    fn waiter(&self) -> MutexGuard<'_, Waiter> {
        self.waiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        // The waiter thread shares the file: the lock that it is about to get would be this one.
        match *self.waiter() {
            Waiter::Idle => self.file.try_lock(),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    fn unlock(&self) {
        // A failure changes nothing: others go on without the lock, which ends with the file.
        let _ = self.file.unlock();
    }

    /// Has the waiter thread wait for the lock, for `timeout` at most; answers whether it was acquired.
    fn wait(&self, timeout: Duration) -> bool {
        let mut waiter = self.waiter();
        // It may still wait on behalf of an earlier call that timed out.
        if *waiter != Waiter::Idle {
            return false;
        }
        *waiter = Waiter::Waiting;
        self.changed.notify_all();
        let (mut waiter, _) = self
            .changed
            .wait_timeout_while(waiter, timeout, |waiter| *waiter == Waiter::Waiting)
            .unwrap_or_else(PoisonError::into_inner);
        let acquired = *waiter == Waiter::Acquired;
        match *waiter {
            Waiter::Acquired => *waiter = Waiter::Idle,
            Waiter::Waiting => *waiter = Waiter::Abandoned,
            _ => {}
        }
        acquired
    }

    /// What the waiter thread does until it is stopped.
    fn run_waiter(&self) {
        loop {
            let waiter = self
                .changed
                .wait_while(self.waiter(), |waiter| {
                    !matches!(waiter, Waiter::Waiting | Waiter::Stopped)
                })
                .unwrap_or_else(PoisonError::into_inner);
            if *waiter == Waiter::Stopped {
                return;
            }
            drop(waiter);
            let locked = self.file.lock().is_ok();
            let mut waiter = self.waiter();
            if *waiter == Waiter::Waiting && locked {
                *waiter = Waiter::Acquired;
            } else {
                self.unlock();
                if *waiter != Waiter::Stopped {
                    *waiter = Waiter::Idle;
                }
            }
            drop(waiter);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock_at(path: &Path, timeout: Duration) -> WriterLock {
        let mut lock = WriterLock::at(path, path);
        lock.timeout = timeout;
        lock
    }

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn an_uncontended_lock_is_acquired_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut alone = lock_at(&folder.path().join("turns.lock"), LONG);
        assert_eq!(alone.acquire(), Waited::default());
        assert!(alone.acquired_at.is_some());
        assert!(!alone.has_waiter);
    }

    #[test]
    fn a_release_wakes_the_waiter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut first = lock_at(&path, LONG);
        first.acquire();
        let mut second = lock_at(&path, LONG);
        let queue = Arc::clone(second.queue.as_ref().unwrap());
        let waiting = thread::Builder::new()
            .spawn(move || {
                let waited = second.acquire();
                (second, waited)
            })
            .unwrap();
        while *queue.waiter() != Waiter::Waiting {
            thread::yield_now();
        }
        first.release();
        let (second, waited) = waiting.join().unwrap();
        assert_eq!(waited.sleeps, 1);
        assert!(second.acquired_at.is_some());
        assert!(second.waited_at.is_some());
        assert!(matches!(
            first.queue.as_ref().unwrap().try_lock(),
            Err(TryLockError::WouldBlock)
        ));
    }

    #[test]
    fn the_lock_is_released_over_a_sync_only_where_it_is_contended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut writer = lock_at(&path, LONG);
        writer.acquire();
        writer.release_if_contended();
        assert!(writer.acquired_at.is_some());

        // It has waited for the lock, however long the test takes.
        writer.waited_at = Instant::now().checked_add(LONG);
        writer.release_if_contended();
        assert!(writer.acquired_at.is_none());
        assert!(writer.released_at.is_some());
        let mut other = lock_at(&path, LONG);
        assert_eq!(other.acquire(), Waited::default());
        assert!(other.acquired_at.is_some());
    }

    #[test]
    fn a_hold_that_has_lasted_too_long_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut writer = lock_at(&path, LONG);
        writer.acquire();
        let began = writer.acquired_at.and_then(|at| at.checked_sub(MAX_HOLD));
        writer.acquired_at = began;
        writer.acquire();
        assert!(writer.acquired_at > began);
    }

    #[test]
    fn a_writer_that_times_out_goes_on_and_blocks_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut stopped = lock_at(&path, LONG);
        stopped.acquire();
        let mut hasty = lock_at(&path, Duration::ZERO);
        hasty.acquire();
        assert!(hasty.acquired_at.is_none());
        // Not waited for again while the thread still waits for the first call.
        hasty.timeout = LONG;
        hasty.acquire();
        assert!(hasty.acquired_at.is_none());

        stopped.release();
        let mut third = lock_at(&path, LONG);
        third.acquire();
        assert!(third.acquired_at.is_some());
    }

    #[test]
    fn a_writer_that_ends_releases_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut first = lock_at(&path, LONG);
        first.acquire();
        drop(first);
        let mut second = lock_at(&path, LONG);
        second.acquire();
        assert!(second.acquired_at.is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_in_the_place_of_the_lock_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("elsewhere");
        let path = folder.path().join("turns.lock");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let mut lock = lock_at(&path, LONG);
        lock.acquire();
        assert!(lock.queue.is_none());
        assert!(!target.exists());
    }
}
