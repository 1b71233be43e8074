//! The writer, driven without its thread: what is queued is decided before the worker runs.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use roas_domain::testing::ManualClock;
use roas_domain::testing::fixtures::{MIDNIGHT, at, member, message, message_with_id};
use roas_domain::{ActivityEvent, Effect, EventOutcome, RepositoryError, RepositoryErrorKind};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tracing::{Dispatch, Level};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Config;
use crate::connection::ConnectionFactory;
use crate::identity::{Identities, OpenFiles};
use crate::maintenance;
use crate::metrics::{DbMetrics, QUEUE_DEPTH};
use crate::migration::migrate;
use crate::wal::backpressure::Backpressure;
use crate::writer::{Reply, Work, Worker, WorkerConfig, Writer, pair};

const QUEUE_CAPACITY: usize = 100;

/// A worker that has not begun, with all that it needs.
struct Idle {
    folder: TempDir,
    worker: Worker,
    connection: rusqlite::Connection,
}

impl Idle {
    /// Begins to work, on a thread on which everything is told to whoever listens on this one.
    fn start(self) -> JoinHandle<()> {
        let listener = tracing::dispatcher::get_default(Dispatch::clone);
        tokio::task::spawn_blocking(move || {
            tracing::dispatcher::with_default(&listener, || self.worker.run(self.connection));
            drop(self.folder);
        })
    }

    /// Does all that is queued, and ends.
    async fn run(self, writer: &Writer) {
        writer.close();
        self.start().await.unwrap();
    }
}

fn idle(batch_limit: usize) -> (Writer, Idle) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("roas.db"));
    migrate(&config).unwrap();
    let factory = ConnectionFactory::new(&config).unwrap();
    let (connection, journal_mode) = factory.open_writer().unwrap();
    let files = Identities::at(factory.path(), false).unwrap();
    let files = OpenFiles::of_writer(&factory, files);
    let (wal_monitor, _, _) = maintenance::channel(Backpressure::new(u64::MAX));
    let clock = Arc::new(ManualClock::new(at(MIDNIGHT)));
    let config = WorkerConfig {
        factory,
        journal_mode,
        files,
        readers: std::sync::Weak::new(),
        batch_limit,
        clock,
        wal_monitor,
        runtime: tokio::runtime::Handle::current(),
        meters: DbMetrics::new("roas.db"),
        ending: crate::error::Ending::default(),
    };
    let (writer, worker) = pair(config, QUEUE_CAPACITY);
    let idle = Idle {
        folder,
        worker,
        connection,
    };
    (writer, idle)
}

type Call<T> = JoinHandle<Result<T, RepositoryError>>;

/// Puts a request into the queue; it is there when this returns.
async fn queue<T: Send + 'static>(
    writer: &Writer,
    work: impl FnOnce(Reply<T>) -> Work + Send + 'static,
) -> Call<T> {
    let before = writer.room();
    let handle = writer.clone();
    let call = tokio::spawn(async move { handle.submit(work).await });
    while writer.room() == before {
        tokio::task::yield_now().await;
    }
    call
}

async fn queue_record(writer: &Writer, event: ActivityEvent) -> Call<EventOutcome> {
    queue(writer, move |reply| Work::Record { event, reply }).await
}

#[tokio::test]
async fn what_is_queued_is_one_transaction_and_answered_in_order() {
    let (writer, idle) = idle(100);
    let mut calls = Vec::new();
    for number in 0..10 {
        // Every other event repeats the id before it.
        let event = message_with_id(number / 2 + 1, member(1, 1), MIDNIGHT);
        calls.push(queue_record(&writer, event).await);
    }
    idle.run(&writer).await;
    for (number, call) in calls.into_iter().enumerate() {
        let outcome = call.await.unwrap().unwrap();
        assert_eq!(
            outcome == EventOutcome::Duplicate,
            number % 2 == 1,
            "{number}: {outcome:?}"
        );
    }
    let stats = writer.stats();
    assert_eq!((stats.batches, stats.commands), (1, 10));
}

#[tokio::test]
async fn a_transaction_takes_requests_up_to_the_limit_but_at_least_one() {
    let (writer, idle) = idle(4);
    let mut calls = Vec::new();
    for events in [10, 3, 1, 1] {
        let events = vec![message(member(1, 1), MIDNIGHT); events];
        calls.push(queue(&writer, move |reply| Work::RecordMany { events, reply }).await);
    }
    idle.run(&writer).await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    // 10 alone, 3 + 1, and 1.
    assert_eq!(writer.stats().batches, 3);
}

/// What was written to it, to be looked at afterwards.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged from this level on while three requests with six events are one transaction.
async fn logged_of_a_transaction(level: Level) -> String {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || sink.clone())
        .finish();
    let (writer, idle) = idle(100);
    let _listens = tracing::subscriber::set_default(subscriber);
    let mut calls = Vec::new();
    for events in [1, 3, 2] {
        let events = vec![message(member(1, 1), MIDNIGHT); events];
        calls.push(queue(&writer, move |reply| Work::RecordMany { events, reply }).await);
    }
    idle.run(&writer).await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let log = log.0.lock().unwrap();
    String::from_utf8(log.clone()).unwrap()
}

#[tokio::test]
async fn a_transaction_is_one_span_with_what_it_carried() {
    let log = logged_of_a_transaction(Level::DEBUG).await;
    let ended: Vec<_> = log.lines().filter(|line| line.contains("close")).collect();
    let [line] = ended[..] else {
        panic!("{log}");
    };
    let (_, said) = line.split_once("DEBUG transaction{").unwrap();
    let (fields, _) = said.split_once('}').unwrap();
    let fields: Vec<_> = fields
        .split(' ')
        .map(|field| field.split_once('=').unwrap())
        .collect();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let expected = [
        "queue_depth",
        "queue_wait",
        "attempts",
        "requests",
        "events",
        "commit",
    ];
    assert_eq!(names, expected);
    for (name, value) in [
        ("queue_depth", "3"),
        ("attempts", "1"),
        ("requests", "3"),
        ("events", "6"),
    ] {
        assert!(fields.contains(&(name, value)), "{line}");
    }
}

#[tokio::test]
async fn whoever_does_not_listen_for_spans_hears_nothing_of_a_transaction() {
    assert_eq!(logged_of_a_transaction(Level::INFO).await, "");
}

#[tokio::test]
async fn the_depth_of_the_queue_is_told_as_a_transaction_begins() {
    let recorder = DebuggingRecorder::new();
    let (writer, idle) = {
        let _listens = metrics::set_default_local_recorder(&recorder);
        idle(100)
    };
    let mut calls = Vec::new();
    for user in 1..=5 {
        calls.push(queue_record(&writer, message(member(1, user), MIDNIGHT)).await);
    }
    idle.run(&writer).await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let told = recorder.snapshotter().snapshot().into_vec();
    let depths: Vec<_> = told
        .into_iter()
        .filter(|(key, ..)| key.key().name() == QUEUE_DEPTH)
        .map(|(_, _, _, value)| value)
        .collect();
    assert_eq!(depths, [DebugValue::Gauge(5.0.into())]);
}

/// Else a refused request that is tried alone would take others in, and be refused with them.
#[tokio::test]
async fn a_request_with_a_transaction_of_its_own_takes_nothing_in() {
    let (writer, idle) = idle(2);
    idle.connection
        .execute_batch(
            "CREATE TRIGGER no_thirteen BEFORE INSERT ON activity_meter WHEN new.user_id = 13
             BEGIN SELECT raise(ABORT, 'not thirteen'); END",
        )
        .unwrap();
    let mut calls = Vec::new();
    for (id, user) in [(1, 13), (2, 1), (2, 1)] {
        let event = message_with_id(id, member(1, user), MIDNIGHT);
        calls.push(queue_record(&writer, event).await);
    }
    idle.run(&writer).await;
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes[0].as_ref().unwrap_err();
    assert!(matches!(outcomes[1], Ok(EventOutcome::Scored(_))));
    assert!(matches!(outcomes[2], Ok(EventOutcome::Duplicate)));
}

/// Each event that is recorded brings the next. Were all taken in, nobody would be answered before the last.
#[tokio::test]
async fn a_transaction_does_not_go_on_for_as_long_as_somebody_comes() {
    const CALLS: u64 = 10_000;
    let (writer, mut idle) = idle(usize::MAX);
    let (arrivals, calls) = std::sync::mpsc::channel();
    let call = {
        let writer = writer.clone();
        move |id| {
            let writer = writer.clone();
            let event = message_with_id(id, member(1, 1), MIDNIGHT);
            let submit = async move { writer.submit(|reply| Work::Record { event, reply }).await };
            let mut call = Box::pin(submit);
            let mut context = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut context).is_pending());
            arrivals.send(call).unwrap();
        }
    };
    call(1);
    let mut next = Some(call);
    let mut recorded = 1;
    let bring_the_next = move |_, _: &str, table: &str, _| {
        if table == "activity_event" {
            recorded += 1;
            if let Some(call) = next.as_ref() {
                call(recorded);
            }
            if recorded == CALLS {
                next = None;
            }
        }
    };
    idle.connection.update_hook(Some(bring_the_next)).unwrap();
    let worker = idle.start();
    for call in calls {
        call.await.unwrap();
    }
    writer.close();
    worker.await.unwrap();
    assert_eq!(writer.stats().events, CALLS);
    assert!(writer.stats().batches > 1);
}

#[tokio::test]
async fn a_full_queue_is_overload_for_those_who_do_not_wait() {
    let (writer, idle) = idle(7);
    let mut calls = Vec::new();
    for user in 1..=QUEUE_CAPACITY as u64 {
        calls.push(queue_record(&writer, message(member(1, user), MIDNIGHT)).await);
    }
    let event = message(member(2, 1), MIDNIGHT);
    let error = writer
        .try_submit(|reply| Work::Record { event, reply })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RepositoryErrorKind::Overloaded);
    assert!(error.is_retryable());

    let handle = writer.clone();
    let waits =
        tokio::spawn(async move { handle.submit(|reply| Work::Record { event, reply }).await });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());

    let worker = idle.start();
    assert!(matches!(waits.await.unwrap(), Ok(EventOutcome::Scored(_))));
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    writer.close();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_panic_answers_everyone_and_poisons_the_handles() {
    let (writer, idle) = idle(2);
    let in_the_batch = queue_record(&writer, message(member(1, 1), MIDNIGHT)).await;
    let culprit = queue::<()>(&writer, |_| Work::Panic).await;
    let behind_it = queue_record(&writer, message(member(1, 2), MIDNIGHT)).await;
    let intake = writer.clone();
    idle.run(&writer).await;

    let error = in_the_batch.await.unwrap().unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
    assert!(culprit.await.unwrap().is_err());
    let error = behind_it.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "{error}");
    assert_eq!(error.effect(), Effect::NotApplied);
    let event = message(member(1, 3), MIDNIGHT);
    let error = intake
        .submit(|reply| Work::Record { event, reply })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(writer.has_panicked());
}

#[tokio::test]
async fn a_caller_that_has_gone_away_is_no_ones_loss() {
    let (writer, idle) = idle(100);
    let gone = queue_record(&writer, message(member(1, 1), MIDNIGHT)).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let stays = queue_record(&writer, message(member(1, 1), MIDNIGHT)).await;
    idle.run(&writer).await;
    let EventOutcome::CoolingDown(record) = stays.await.unwrap().unwrap() else {
        panic!("the event of the caller that has gone came first");
    };
    assert_eq!(record.messages, 2);
}

/// The queue's whole room is granted to calls that have not been polled since: it is empty, and yet
/// nobody can send. A writer that sleeps there has to hear of the end all the same, and to end while
/// somebody still keeps those calls.
#[tokio::test]
async fn a_close_is_heard_where_all_room_is_granted_and_never_used() {
    let (writer, idle) = idle(100);
    let mut queued = Vec::new();
    for user in 1..=QUEUE_CAPACITY as u64 {
        queued.push(queue_record(&writer, message(member(1, user), MIDNIGHT)).await);
    }
    let event = message(member(2, 1), MIDNIGHT);
    let mut granted = Vec::new();
    for _ in 0..QUEUE_CAPACITY {
        let mut call = Box::pin(writer.submit(|reply| Work::Record { event, reply }));
        assert!(poll_once(call.as_mut()).await.is_pending());
        granted.push(call);
    }
    let worker = idle.start();
    for call in queued {
        call.await.unwrap().unwrap();
    }
    assert_eq!(writer.room(), 0);
    // The worker falls asleep meanwhile; where it has not yet, it sees the end without being woken.
    for _ in 0..10_000 {
        std::thread::yield_now();
    }
    writer.close();
    worker.await.unwrap();
    for call in granted {
        let error = call.await.unwrap_err();
        assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    }
    assert_eq!(writer.stats().events, QUEUE_CAPACITY as u64);
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
}

/// Callers that ask, that do not wait, that go away half way, and a close in the midst of them: each
/// call that stays is answered, and what was answered is what was applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_the_schedule_every_caller_is_answered_once() {
    const CALLS: u64 = 60;
    for seed in 0..40 {
        let (writer, idle) = idle(1 + usize::from(fastrand::Rng::with_seed(seed).u8(0..8)));
        let worker = idle.start();
        let mut calls = Vec::new();
        for number in 0..CALLS {
            let handle = writer.clone();
            let mut rng = fastrand::Rng::with_seed(seed * CALLS + number);
            calls.push(tokio::spawn(async move {
                let event = message_with_id(number + 1, member(1, number % 3 + 1), MIDNIGHT);
                for _ in 0..rng.u8(0..6) {
                    tokio::task::yield_now().await;
                }
                let work = |reply| Work::Record { event, reply };
                match rng.u8(0..4) {
                    0 => Some(handle.try_submit(work).await),
                    // Polled a few times, and dropped.
                    1 => tokio::select! {
                        biased;
                        answer = handle.submit(work) => Some(answer),
                        () = yields(rng.u8(0..4)) => None,
                    },
                    _ => Some(handle.submit(work).await),
                }
            }));
            if number == CALLS / 2 + seed % 20 {
                writer.close();
            }
        }
        let (mut acknowledged, mut gone) = (0, 0);
        for call in calls {
            match call.await.unwrap() {
                Some(Ok(_)) => acknowledged += 1,
                Some(Err(error)) => assert_eq!(error.effect(), Effect::NotApplied, "{error}"),
                None => gone += 1,
            }
        }
        worker.await.unwrap();
        let applied = writer.stats().events;
        assert!(
            (acknowledged..=acknowledged + gone).contains(&applied),
            "seed {seed}: {acknowledged} acknowledged, {gone} gone, {applied} applied"
        );
    }
}

async fn yields(count: u8) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
