//! Who calls the writer, how it ends, and what must have become of it all.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use fastrand::Rng;
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{MIDNIGHT, at, member, message};
use roas_domain::{Effect, EventOutcome, RepositoryError, RepositoryErrorKind};
use shuttle::future::{block_on, yield_now};
use shuttle::thread;

use super::store::Store;
use super::sync;
use super::writer::{Work, WorkerConfig, Writer, pair};
use crate::identity::OpenFiles;
use crate::maintenance;
use crate::metrics::DbMetrics;
use crate::wal::backpressure::Backpressure;

/// What a caller does with its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Waits,
    DoesNotWait,
    /// From a thread outside the runtime.
    Blocks,
    /// Polls it so many times, and drops it.
    GoesAway(u8),
    /// Polls it once, and again only when the writer has ended.
    Keeps,
    /// Has the writer panic.
    Panics,
}

/// How far the writer's end has come.
#[derive(Debug)]
struct Progress {
    /// Whether anybody has begun to close it.
    closing: AtomicBool,
    /// A permit for each kept call, when the worker has ended.
    ended: sync::Semaphore,
}

/// What became of a call.
#[derive(Debug)]
struct Outcome {
    user: u64,
    caller: Caller,
    /// None for one that has gone away before.
    answer: Option<Result<EventOutcome, RepositoryError>>,
    /// Whether it waited before anybody began to close the writer.
    waited_before: bool,
}

/// How the writer comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is closed after so many steps, by two at once.
    Close(u8),
    /// It is closed when whoever waits has been answered.
    CloseAfterwards,
    /// All handles go away.
    Drop,
}

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    queue_capacity: usize,
    batch_limit: usize,
    /// Steps that the worker comes later than the callers: what has queued up is one batch then.
    worker_begins_after: u8,
    callers: Vec<Caller>,
    end: End,
    runtime_ends: bool,
    /// Whether the file is found to be another one when the first transaction is committed: its outcome
    /// is unknown, and the connection cannot be opened anew.
    file_moved: bool,
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let steps = rng.u8(0..12);
        let panics = rng.u8(0..10) == 0;
        // Many are answered from a task, few by the worker.
        let count = if rng.u8(0..4) == 0 {
            12
        } else {
            rng.usize(1..6)
        };
        let mut callers: Vec<_> = (0..count)
            .map(|_| match rng.u8(0..8) {
                0 => Caller::DoesNotWait,
                1 => Caller::Blocks,
                2 => Caller::GoesAway(rng.u8(0..4)),
                3 => Caller::Keeps,
                _ => Caller::Waits,
            })
            .collect();
        if panics {
            callers.push(Caller::Panics);
            rng.shuffle(&mut callers);
        }
        Self {
            queue_capacity: if rng.bool() {
                callers.len()
            } else {
                rng.usize(1..4)
            },
            batch_limit: *rng.choice(&[1, 2, 100]).unwrap(),
            worker_begins_after: *rng.choice(&[0, 0, 0, 100]).unwrap(),
            end: match rng.u8(0..4) {
                // A call that is kept may have been granted the room that others wait for.
                _ if callers.contains(&Caller::Keeps) => End::Close(steps),
                0 => End::CloseAfterwards,
                1 => End::Drop,
                _ => End::Close(steps),
            },
            runtime_ends: rng.u8(0..4) == 0,
            file_moved: rng.u8(0..8) == 0,
            callers,
        }
    }

    /// Whether somebody cannot be told what has become of his call.
    pub(super) fn fails(&self) -> bool {
        self.file_moved || self.callers.contains(&Caller::Panics)
    }

    /// One schedule of it, from beginning to end. Shuttle panics where nobody can go on any more.
    pub(super) fn run(&self, store: &Store) {
        let guild = store.guild();
        let outcomes = self.play(store, guild);
        self.check(outcomes, &store.stored(guild));
    }

    fn play(&self, store: &Store, guild: u64) -> Vec<Outcome> {
        let (wal_monitor, _, _) = maintenance::channel(Backpressure::new(u64::MAX));
        let config = WorkerConfig {
            factory: store.factory.clone(),
            journal_mode: store.journal_mode,
            files: OpenFiles::of_writer(
                &store.factory,
                if self.file_moved {
                    store.other_files
                } else {
                    store.files
                },
            ),
            readers: Weak::new(),
            batch_limit: self.batch_limit,
            clock: Arc::new(ManualClock::new(at(MIDNIGHT))),
            wal_monitor,
            runtime: sync::Handle {
                ends: self.runtime_ends,
            },
            meters: DbMetrics::new("roas.db"),
            ending: crate::error::Ending::default(),
        };
        let (writer, worker) = pair(config, self.queue_capacity);
        let (connection, _) = store.factory.open_writer().unwrap();
        let progress = Arc::new(Progress {
            closing: AtomicBool::new(false),
            ended: sync::Semaphore::new(0),
        });
        let close = {
            let progress = Arc::clone(&progress);
            move |writer: &Writer| {
                progress.closing.store(true, Ordering::Relaxed);
                writer.close();
            }
        };
        let steps = self.worker_begins_after;
        let worker = thread::spawn(move || {
            (0..steps).for_each(|_| thread::yield_now());
            worker.run(connection);
        });
        let calls: Vec<_> = (1..)
            .zip(&self.callers)
            .map(|(user, &caller)| {
                let (writer, progress) = (writer.clone(), Arc::clone(&progress));
                let call = move || call(&writer, guild, user, caller, &progress);
                (caller, thread::spawn(call))
            })
            .collect();
        let closers = match self.end {
            End::Close(steps) => (0..2)
                .map(|_| {
                    let (writer, close) = (writer.clone(), close.clone());
                    thread::spawn(move || {
                        (0..steps).for_each(|_| thread::yield_now());
                        close(&writer);
                    })
                })
                .collect(),
            End::CloseAfterwards | End::Drop => Vec::new(),
        };
        let (kept, calls): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .partition(|(caller, _)| *caller == Caller::Keeps);
        let mut outcomes: Vec<Outcome> = calls
            .into_iter()
            .map(|(_, call)| call.join().unwrap())
            .collect();
        for closer in closers {
            closer.join().unwrap();
        }
        if matches!(self.end, End::CloseAfterwards) {
            close(&writer);
        }
        drop(writer);
        worker.join().unwrap();
        progress.ended.add_permits(kept.len());
        outcomes.extend(kept.into_iter().map(|(_, call)| call.join().unwrap()));
        outcomes
    }

    /// Whether what callers were told is what the file holds.
    fn check(&self, outcomes: Vec<Outcome>, stored: &BTreeMap<u64, u64>) {
        let fails = self.fails();
        let mut unknown = 0;
        for outcome in outcomes {
            let user = outcome.user;
            let applied = stored.get(&user).copied().unwrap_or(0);
            // With room for all, whoever waited was in the queue: the end drains it.
            if outcome.waited_before && self.queue_capacity >= self.callers.len() && !fails {
                assert!(
                    matches!(outcome.answer, Some(Ok(_))),
                    "of {user}: {outcome:?}"
                );
            }
            match outcome.answer {
                None => assert!(applied <= 1, "of {user}, gone: {applied}"),
                Some(Ok(_)) => assert_eq!(applied, 1, "of {user}, acknowledged"),
                Some(Err(error)) if fails && error.effect() == Effect::Unknown => {
                    assert!(applied <= 1, "of {user}, unknown: {applied}");
                    unknown += 1;
                }
                Some(Err(error)) => {
                    assert_eq!(error.effect(), Effect::NotApplied, "of {user}: {error}");
                    assert_eq!(applied, 0, "of {user}, told: {error}");
                    assert!(
                        match error.kind() {
                            RepositoryErrorKind::Closed => true,
                            RepositoryErrorKind::Overloaded =>
                                outcome.caller == Caller::DoesNotWait,
                            RepositoryErrorKind::Unavailable => fails,
                            _ => false,
                        },
                        "of {user}: {error}"
                    );
                }
            }
        }
        // Those of the transaction that failed; all others know. Whoever panics is one of it.
        let panics = self.callers.contains(&Caller::Panics) && !self.file_moved;
        assert!(
            unknown <= self.batch_limit - usize::from(panics),
            "{unknown} unknown"
        );
    }
}

/// One caller's call, from its beginning to its end.
fn call(writer: &Writer, guild: u64, user: u64, caller: Caller, progress: &Progress) -> Outcome {
    let event = message(member(guild, user), MIDNIGHT);
    let work = |reply| Work::Record { event, reply };
    let mut waited_before = false;
    let answer = match caller {
        Caller::DoesNotWait => Some(block_on(writer.try_submit(work))),
        Caller::Blocks => Some(writer.submit_blocking(work)),
        Caller::Panics => {
            let answer = block_on(writer.submit::<()>(|_| Work::Panic));
            assert!(answer.is_err());
            None
        }
        Caller::GoesAway(polls) => block_on(async {
            let mut call = Box::pin(writer.submit(work));
            for _ in 0..polls {
                if let Poll::Ready(answer) = poll_once(call.as_mut()).await {
                    return Some(answer);
                }
                yield_now().await;
            }
            None
        }),
        Caller::Waits | Caller::Keeps => block_on(async {
            let mut call = Box::pin(writer.submit(work));
            if let Poll::Ready(answer) = poll_once(call.as_mut()).await {
                return Some(answer);
            }
            waited_before = !progress.closing.load(Ordering::Relaxed);
            if caller == Caller::Keeps {
                progress.ended.acquire().await.unwrap().forget();
            }
            Some(call.await)
        }),
    };
    Outcome {
        user,
        caller,
        answer,
        waited_before,
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}
