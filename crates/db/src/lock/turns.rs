//! Turns between the processes that write to one file.
//!
//! SQLite's file locks have no queue and wake nobody: whoever waits polls, the lock lies idle between
//! two polls, and after each hand-over a process reads again what it had in memory. So the writers of
//! this library take turns: an exclusive lock on a file beside the database, for which the kernel
//! keeps a queue and wakes the next in it, held for some transactions at a time.
//!
//! # Architecture invariants
//!
//! A turn is a courtesy, never a condition: SQLite's own lock alone decides who writes. Whoever gets
//! no turn in time (its holder may be stopped, the lock file may not be there) goes on without one, as
//! foreign programs do. Nobody keeps a turn while it waits for requests, for the WAL, or between two
//! attempts.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::OpenError;
use crate::files::lock_file;
use crate::lock::busy::Waited;

/// How long a process may go on while others wait. Long enough that several transactions pay for
/// reading pages anew, short enough that eight processes come round in 20 ms. Measured with 8 x 16
/// callers: 3 ms gains nothing and lengthens p99 by a third.
pub(crate) const LENGTH: Duration = Duration::from_micros(2500);

/// How long to wait for a turn before going on without one: some tens of turns.
const PATIENCE: Duration = Duration::from_millis(100);

/// From a turn to asking for the next, where there are neighbours: time for the one that was woken to
/// take his. The kernel gives the lock to whoever asks first. With 0.05 ms one process is now and then
/// left out for 130 ms.
const GIVE_WAY: Duration = Duration::from_micros(200);

/// For how long a wait tells that there are neighbours. Not only for the turn that was waited for:
/// who then found the lock free by chance would take it again and again.
const REMEMBER_NEIGHBOURS: Duration = Duration::from_millis(100);

/// One writer's place among those of a file.
#[derive(Debug)]
pub(crate) struct Turns {
    /// `None` where the lock file cannot be had: there are no turns then.
    queue: Option<Arc<Queue>>,
    /// Whether the thread is there that stands in the queue. It is not before somebody waits.
    has_attendant: bool,
    patience: Duration,
    /// Since when this writer has had its turn, where it has one.
    since: Option<Instant>,
    /// When it last waited for one.
    waited_at: Option<Instant>,
    /// When it let its neighbours have theirs.
    gave_way_at: Option<Instant>,
}

#[derive(Debug)]
struct Queue {
    file: File,
    place: Mutex<Place>,
    changed: Condvar,
}

/// Where the attendant is: the thread that stands in the kernel's queue, because nobody can leave
/// that queue before he is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not in the queue.
    Outside,
    /// In the queue, for a writer that waits.
    Waiting,
    /// It has the lock, for that writer.
    Served,
    /// In the queue, for a writer that has gone on without.
    Forsaken,
    /// Not needed any more.
    Dismissed,
}

impl Turns {
    /// Turns by the lock file at `path`, which is created where it is missing, for the owner of the
    /// database, and never removed.
    pub(crate) fn at(path: &Path, database: &Path) -> Self {
        Self {
            queue: Queue::open(path, database).ok().map(Arc::new),
            has_attendant: false,
            patience: PATIENCE,
            since: None,
            waited_at: None,
            gave_way_at: None,
        }
    }

    /// Takes a turn, where this writer has none or has had it for as long as it may; waits for it a
    /// little.
    pub(crate) fn take(&mut self) -> Waited {
        let mut waited = Waited::default();
        if self.since.is_some_and(|since| since.elapsed() < LENGTH) {
            return waited;
        }
        self.give_up();
        let Some(queue) = &self.queue else {
            return waited;
        };
        if let Some(gave_way_at) = self.gave_way_at.take() {
            thread::sleep(GIVE_WAY.saturating_sub(gave_way_at.elapsed()));
        }
        match queue.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(_)) => return waited,
            Err(TryLockError::WouldBlock) => {
                if !self.has_attendant {
                    let attended = Arc::clone(queue);
                    self.has_attendant = thread::Builder::new()
                        .name("roas-turns".to_owned())
                        .spawn(move || attended.attend())
                        .is_ok();
                }
                if !self.has_attendant {
                    return waited;
                }
                let before = Instant::now();
                let served = queue.wait(self.patience);
                waited.sleeps = 1;
                waited.time = before.elapsed();
                self.waited_at = Some(Instant::now());
                if !served {
                    return waited;
                }
            }
        }
        self.since = Some(Instant::now());
        waited
    }

    /// Lets others have their turn.
    pub(crate) fn give_up(&mut self) {
        if let (Some(queue), Some(_)) = (&self.queue, self.since.take()) {
            queue.unlock();
            self.gave_way_at = self.has_neighbours().then(Instant::now);
        }
    }

    /// Lets others have their turn, where there are any, while this writer waits for the disk.
    pub(crate) fn pass_on(&mut self) {
        if self.has_neighbours() {
            self.give_up();
        }
    }

    fn has_neighbours(&self) -> bool {
        self.waited_at
            .is_some_and(|waited_at| waited_at.elapsed() < REMEMBER_NEIGHBOURS)
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            if self.since.is_some() {
                queue.unlock();
            }
            *queue.place() = Place::Dismissed;
            queue.changed.notify_all();
        }
    }
}

impl Queue {
    fn open(path: &Path, like: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            file: lock_file(path, like, true)?,
            place: Mutex::new(Place::Outside),
            changed: Condvar::new(),
        })
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        // What the attendant is about to be given would be the same lock.
        match *self.place() {
            Place::Outside => self.file.try_lock(),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    fn unlock(&self) {
        // Nothing is to be done about a failure: others go on without a turn, and the lock ends with
        // the file.
        let _ = self.file.unlock();
    }

    /// Sends the attendant into the queue, and waits for `patience`; whether the lock is had.
    fn wait(&self, patience: Duration) -> bool {
        let mut place = self.place();
        // Where it still stands there for an earlier wait, that one was too long already.
        if *place != Place::Outside {
            return false;
        }
        *place = Place::Waiting;
        self.changed.notify_all();
        let (mut place, _) = self
            .changed
            .wait_timeout_while(place, patience, |place| *place == Place::Waiting)
            .unwrap_or_else(PoisonError::into_inner);
        let served = *place == Place::Served;
        match *place {
            Place::Served => *place = Place::Outside,
            Place::Waiting => *place = Place::Forsaken,
            _ => {}
        }
        served
    }

    /// The attendant's life.
    fn attend(&self) {
        loop {
            let place = self
                .changed
                .wait_while(self.place(), |place| {
                    !matches!(place, Place::Waiting | Place::Dismissed)
                })
                .unwrap_or_else(PoisonError::into_inner);
            if *place == Place::Dismissed {
                return;
            }
            drop(place);
            let locked = self.file.lock().is_ok();
            let mut place = self.place();
            if *place == Place::Waiting && locked {
                *place = Place::Served;
            } else {
                self.unlock();
                if *place != Place::Dismissed {
                    *place = Place::Outside;
                }
            }
            drop(place);
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns_at(path: &Path, patience: Duration) -> Turns {
        let mut turns = Turns::at(path, path);
        turns.patience = patience;
        turns
    }

    const EVER: Duration = Duration::from_hours(1);

    #[test]
    fn a_writer_alone_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut alone = turns_at(&folder.path().join("turns.lock"), EVER);
        assert_eq!(alone.take(), Waited::default());
        assert!(alone.since.is_some());
        assert!(!alone.has_attendant);
    }

    #[test]
    fn a_turn_that_is_given_up_wakes_the_one_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut first = turns_at(&path, EVER);
        first.take();
        let mut second = turns_at(&path, EVER);
        let queue = Arc::clone(second.queue.as_ref().unwrap());
        let waiting = thread::Builder::new()
            .spawn(move || {
                let waited = second.take();
                (second, waited)
            })
            .unwrap();
        while *queue.place() != Place::Waiting {
            thread::yield_now();
        }
        first.give_up();
        let (second, waited) = waiting.join().unwrap();
        assert_eq!(waited.sleeps, 1);
        assert!(second.since.is_some());
        assert!(second.waited_at.is_some());
        assert!(matches!(
            first.queue.as_ref().unwrap().try_lock(),
            Err(TryLockError::WouldBlock)
        ));
    }

    #[test]
    fn a_turn_is_passed_on_over_a_sync_only_where_there_are_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut writer = turns_at(&path, EVER);
        writer.take();
        writer.pass_on();
        assert!(writer.since.is_some());

        // It has waited for one, and does not forget it however long the test takes.
        writer.waited_at = Instant::now().checked_add(EVER);
        writer.pass_on();
        assert!(writer.since.is_none());
        assert!(writer.gave_way_at.is_some());
        let mut neighbour = turns_at(&path, EVER);
        assert_eq!(neighbour.take(), Waited::default());
        assert!(neighbour.since.is_some());
    }

    #[test]
    fn a_turn_that_is_over_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut writer = turns_at(&path, EVER);
        writer.take();
        let began = writer.since.and_then(|since| since.checked_sub(LENGTH));
        writer.since = began;
        writer.take();
        assert!(writer.since > began);
    }

    #[test]
    fn who_gets_no_turn_in_time_goes_on_and_blocks_nobody_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut stopped = turns_at(&path, EVER);
        stopped.take();
        let mut hasty = turns_at(&path, Duration::ZERO);
        hasty.take();
        assert!(hasty.since.is_none());
        // Not waited for again while it stands in the queue for nobody.
        hasty.patience = EVER;
        hasty.take();
        assert!(hasty.since.is_none());

        stopped.give_up();
        let mut third = turns_at(&path, EVER);
        third.take();
        assert!(third.since.is_some());
    }

    #[test]
    fn a_writer_that_ends_leaves_its_turn_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turns.lock");
        let mut first = turns_at(&path, EVER);
        first.take();
        drop(first);
        let mut second = turns_at(&path, EVER);
        second.take();
        assert!(second.since.is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_in_the_place_of_the_lock_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("somebody-else's");
        let path = folder.path().join("turns.lock");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let mut turns = turns_at(&path, EVER);
        turns.take();
        assert!(turns.queue.is_none());
        assert!(!target.exists());
    }
}
