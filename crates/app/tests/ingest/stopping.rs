//! An ingest that is told to stop.

use std::io::{self, BufReader, Read};
use std::sync::mpsc;

use roas_app::ingest::{IngestObserver, IngestOptions, IngestSummary, ingest};
use roas_domain::EventId;
use roas_domain::testing::MemoryRepository;
use tokio::sync::watch;

use crate::support::{Unsteady, line, options, service};

/// Ends never.
struct Endless {
    id: u64,
    rest: Vec<u8>,
}

impl Endless {
    fn new() -> BufReader<Self> {
        BufReader::new(Self {
            id: 0,
            rest: Vec::new(),
        })
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.id += 1;
            self.rest = format!("{}\n", line(self.id, self.id % 5 + 1, 0)).into_bytes();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// Reads what is sent to it, and blocks in between, as a terminal does.
struct Typed(mpsc::Receiver<String>);

impl Read for Typed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Ok(text) = self.0.recv() else {
            return Ok(0);
        };
        buffer[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

/// Says stop after a number of acknowledgements.
struct StopAfter {
    acknowledgements: u64,
    seen: u64,
    stop: watch::Sender<bool>,
}

impl IngestObserver for StopAfter {
    fn acknowledged(&mut self, _: EventId) -> io::Result<()> {
        self.seen += 1;
        if self.seen == self.acknowledgements {
            self.stop.send_replace(true);
        }
        Ok(())
    }
}

fn stoppable(in_flight: usize) -> (watch::Sender<bool>, IngestOptions) {
    let (sender, receiver) = watch::channel(false);
    (
        sender,
        IngestOptions {
            stop: Some(receiver),
            ..options(in_flight)
        },
    )
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_acknowledged() {
    for in_flight in [1, 64] {
        let (service, repository) = service(Unsteady::new(1, in_flight, None));
        let (stop, options) = stoppable(in_flight);
        let mut observer = StopAfter {
            acknowledgements: 100,
            seen: 0,
            stop,
        };
        let summary = ingest(Endless::new(), &service, &options, &mut observer)
            .await
            .unwrap();
        assert!(summary.interrupted && summary.is_balanced(), "{summary:?}");
        assert_eq!(observer.seen, summary.acknowledged());
        let counts = repository.inner().snapshot().unwrap().counts();
        assert_eq!(counts.messages, summary.acknowledged());
        // What was under way, and the rest of the call that said stop.
        assert!(
            (100..100 + 2 * in_flight as u64).contains(&summary.lines),
            "{summary:?}"
        );
    }
}

#[tokio::test]
async fn a_stop_before_the_start_reads_nothing() {
    let (service, repository) = service(MemoryRepository::new());
    let (stop, options) = stoppable(8);
    stop.send_replace(true);
    let summary = ingest(Endless::new(), &service, &options, &mut ())
        .await
        .unwrap();
    assert_eq!((summary.lines, summary.interrupted), (0, true));
    assert_eq!(repository.snapshot().unwrap().counts().messages, 0);
}

#[tokio::test]
async fn an_input_that_blocks_is_not_waited_for() {
    let (service, _) = service(MemoryRepository::new());
    let (typist, typed) = mpsc::channel();
    let (stop, options) = stoppable(8);
    typist.send(format!("{}\n", line(1, 7, 0))).unwrap();
    // The line is recorded although nothing follows it, and then the stop comes.
    let mut observer = StopAfter {
        acknowledgements: 1,
        seen: 0,
        stop,
    };
    let input = BufReader::new(Typed(typed));
    let summary = ingest(input, &service, &options, &mut observer)
        .await
        .unwrap();
    assert_eq!((summary.scored, summary.interrupted), (1, true));
    drop(typist);
}

#[tokio::test]
async fn a_stop_that_can_no_longer_come_is_none() {
    let (service, _) = service(MemoryRepository::new());
    let (stop, options) = stoppable(8);
    drop(stop);
    let input = line(1, 7, 0);
    let summary = ingest(io::Cursor::new(input), &service, &options, &mut ())
        .await
        .unwrap();
    let IngestSummary {
        scored,
        interrupted,
        ..
    } = summary;
    assert_eq!((scored, interrupted), (1, false));
}

#[tokio::test]
async fn dropping_the_ingest_ends_the_reading() {
    /// Tells when it is dropped, which is when the thread is done with it.
    struct Watched(BufReader<Endless>, Option<tokio::sync::oneshot::Sender<()>>);
    impl Read for Watched {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            if let Some(sender) = self.1.take() {
                let _ = sender.send(());
            }
        }
    }

    let (service, _) = service(MemoryRepository::new());
    let (sender, dropped) = tokio::sync::oneshot::channel();
    let input = BufReader::new(Watched(Endless::new(), Some(sender)));
    let options = options(8);
    let mut observer = ();
    // It lets other tasks have their turn although its input always has more.
    tokio::select! {
        biased;
        ended = ingest(input, &service, &options, &mut observer) => panic!("{ended:?}"),
        () = tokio::task::yield_now() => {}
    }
    dropped.await.unwrap();
}
