//! Ingests that end with an error, and what they leave behind.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use roas_app::ingest::{IngestError, IngestObserver, ingest};
use roas_domain::testing::fixtures::{MIDNIGHT, at};
use roas_domain::testing::{ManualClock, MemoryRepository, MockActivityRepository};
use roas_domain::{DEFAULT_MAX_CLOCK_SKEW, EventId, EventOutcome, RepositoryErrorKind};

use crate::support::{Failing, Notes, Unsteady, line, options, service};

const EVENTS: u64 = 500;

/// Events 1 to 500 of seven members, each on the line of its id.
fn input() -> Cursor<String> {
    Cursor::new(
        (1..=EVENTS)
            .map(|id| line(id, id % 7 + 1, 0) + "\n")
            .collect(),
    )
}

#[tokio::test]
async fn an_error_of_the_repository_ends_it_with_acknowledgements_for_what_was_recorded() {
    let busy = RepositoryErrorKind::Busy {
        waited: Duration::from_secs(1),
        attempts: 3,
    };
    for kind in [
        busy,
        RepositoryErrorKind::Corrupt,
        RepositoryErrorKind::OutcomeUnknown,
    ] {
        for in_flight in [1, 7, 64] {
            let failing = Failing { id: 250, kind };
            let (service, repository) = service(Unsteady::new(7, in_flight, Some(failing)));
            let mut notes = Notes::default();
            let error = ingest(input(), &service, &options(in_flight), &mut notes).await;
            let error = error.unwrap_err();
            let IngestError::Repository { line, source, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(source.kind(), kind);
            assert_eq!(error.source().unwrap().to_string(), "told to fail");
            // The call that failed carries event 250, and began with it or an earlier one.
            assert!((1..=250).contains(line) && line % 7 == 250 % 7, "{error}");

            let acknowledged: BTreeSet<u64> = notes.acknowledged.iter().copied().collect();
            assert_eq!(acknowledged.len(), notes.acknowledged.len());
            assert!(!acknowledged.contains(&250));
            let after_it = acknowledged
                .iter()
                .any(|id| id % 7 == 250 % 7 && *id >= *line);
            assert!(
                !after_it,
                "nothing of that member is recorded after the error"
            );
            let summary = error.summary();
            assert!(summary.is_balanced() && !summary.interrupted);
            assert_eq!(summary.acknowledged(), notes.acknowledged.len() as u64);
            assert_eq!(in_flight == 1, acknowledged.into_iter().eq(1..250));
            if kind != RepositoryErrorKind::OutcomeUnknown {
                let recorded = repository.inner().snapshot().unwrap().counts().messages;
                assert_eq!(recorded, summary.acknowledged());
            }
        }
    }
}

#[tokio::test]
async fn a_member_whose_data_cannot_be_read_fails_alone_and_the_rest_goes_on() {
    let failing = Failing {
        id: 250,
        kind: RepositoryErrorKind::InvalidData,
    };
    for in_flight in [1, 64] {
        let (service, repository) = service(Unsteady::new(7, in_flight, Some(failing)));
        let mut notes = Notes::default();
        let summary = ingest(input(), &service, &options(in_flight), &mut notes)
            .await
            .unwrap();
        assert!(summary.is_balanced() && !summary.is_rejected_whole());
        assert_eq!(
            (summary.lines, summary.rejected, summary.failed),
            (EVENTS, 0, notes.refused.len() as u64)
        );
        let failed = notes.refused.iter().map(|(line, _)| *line);
        assert!(failed.clone().any(|line| line == 250));
        assert!(failed.clone().all(|line| line % 7 == 250 % 7), "one member");
        assert!(in_flight > 1 || failed.clone().eq([250]));
        let recorded: BTreeSet<u64> = failed.chain(notes.acknowledged.iter().copied()).collect();
        assert!(recorded.into_iter().eq(1..=EVENTS));
        let counts = repository.inner().snapshot().unwrap().counts();
        assert_eq!(counts.messages, summary.acknowledged());
    }
}

#[tokio::test]
async fn messages_whose_time_lies_too_far_ahead_are_rejected_and_the_rest_counts_as_without_them() {
    let clock = Arc::new(ManualClock::new(at(MIDNIGHT)));
    let ahead = |id: u64| id % 13 == 5;
    let lines = |ids: &mut dyn Iterator<Item = u64>| -> Cursor<String> {
        let seconds = |id| {
            if ahead(id) {
                10_000_000
            } else {
                -id.cast_signed() * 31
            }
        };
        Cursor::new(
            ids.map(|id| line(id, id % 3 + 1, seconds(id)) + "\n")
                .collect(),
        )
    };
    let (sound, expected) = service(MemoryRepository::new());
    let without = lines(&mut (1..=EVENTS).filter(|id| !ahead(*id)));
    ingest(without, &sound, &options(1), &mut ()).await.unwrap();

    for in_flight in [1, 1_024] {
        let limited = MemoryRepository::new().with_clock(clock.clone(), DEFAULT_MAX_CLOCK_SKEW);
        let (service, repository) = service(limited);
        let mut notes = Notes::default();
        let all = lines(&mut (1..=EVENTS));
        let summary = ingest(all, &service, &options(in_flight), &mut notes)
            .await
            .unwrap();
        let mut refused: Vec<_> = notes.refused.iter().map(|(line, _)| *line).collect();
        refused.sort_unstable();
        assert!(refused.into_iter().eq((1..=EVENTS).filter(|id| ahead(*id))));
        assert_eq!(summary.rejected, notes.refused.len() as u64);
        assert!(summary.is_balanced() && summary.failed == 0, "{summary:?}");
        assert_eq!(repository.snapshot().unwrap(), expected.snapshot().unwrap());
    }
}

#[tokio::test]
async fn after_an_unknown_outcome_the_same_input_can_be_ingested_again() {
    let failing = Failing {
        id: 250,
        kind: RepositoryErrorKind::OutcomeUnknown,
    };
    let (unsteady, repository) = service(Unsteady::new(7, 64, Some(failing)));
    ingest(input(), &unsteady, &options(64), &mut ())
        .await
        .unwrap_err();
    let left_behind = repository.inner().snapshot().unwrap();
    let (steady, repository) = service(MemoryRepository::from(left_behind));
    let summary = ingest(input(), &steady, &options(64), &mut ())
        .await
        .unwrap();
    assert_eq!(summary.acknowledged(), EVENTS);
    assert!(summary.duplicate > 0);

    let (fresh, expected) = service(MemoryRepository::new());
    ingest(input(), &fresh, &options(1), &mut ()).await.unwrap();
    assert_eq!(repository.snapshot().unwrap(), expected.snapshot().unwrap());
}

/// An input that cannot be read.
struct Unplugged;

impl Read for Unplugged {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("unplugged"))
    }
}

#[tokio::test]
async fn an_input_that_breaks_is_an_error_after_all_lines_before_it() {
    let (service, _) = service(Unsteady::new(3, 64, None));
    let mut notes = Notes::default();
    let input = BufReader::new(input().chain(&b"half a line"[..]).chain(Unplugged));
    let error = ingest(input, &service, &options(64), &mut notes)
        .await
        .unwrap_err();
    assert!(
        matches!(error, IngestError::Read { line: 501, .. }),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "cannot read line 501");
    assert_eq!(error.source().unwrap().to_string(), "unplugged");
    assert_eq!(error.summary().lines, EVENTS);
    assert_eq!(notes.acknowledged.len() as u64, EVENTS);
}

#[tokio::test]
async fn an_error_of_the_repository_says_more_than_that_the_input_broke() {
    let failing = Failing {
        id: EVENTS,
        kind: RepositoryErrorKind::Corrupt,
    };
    let (service, _) = service(Unsteady::new(3, 64, Some(failing)));
    let input = BufReader::new(input().chain(Unplugged));
    let error = ingest(input, &service, &options(64), &mut ())
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Repository { .. }), "{error:?}");
}

#[tokio::test]
async fn an_input_that_panics_is_an_error() {
    #[derive(Debug)]
    struct Panicking;
    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }
    }
    impl BufRead for Panicking {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            panic!("a defect of the input, on purpose")
        }
        fn consume(&mut self, _: usize) {}
    }
    let (service, _) = service(MemoryRepository::new());
    let error = ingest(Panicking, &service, &options(8), &mut ())
        .await
        .unwrap_err();
    assert!(
        matches!(error, IngestError::Read { line: 1, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_acknowledgement_that_fails_ends_it_and_none_follows() {
    struct Full {
        taken: u64,
    }
    impl IngestObserver for Full {
        fn acknowledged(&mut self, _: EventId) -> io::Result<()> {
            assert!(self.taken < 100, "after an error no more is acknowledged");
            self.taken += 1;
            if self.taken == 100 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }
    }
    for in_flight in [1, 64] {
        let (service, repository) = service(Unsteady::new(5, in_flight, None));
        let mut full = Full { taken: 0 };
        let error = ingest(input(), &service, &options(in_flight), &mut full)
            .await
            .unwrap_err();
        assert!(
            matches!(error, IngestError::Acknowledge { .. }),
            "{error:?}"
        );
        let summary = error.summary();
        assert!(summary.is_balanced());
        assert!(
            (100..100 + 2 * in_flight as u64).contains(&summary.lines),
            "{summary:?}"
        );
        let recorded = repository.inner().snapshot().unwrap().counts().messages;
        assert_eq!(recorded, summary.acknowledged());
    }
}

#[tokio::test]
async fn outcomes_that_do_not_match_the_events_are_not_trusted() {
    let mut repository = MockActivityRepository::new();
    repository
        .expect_record()
        .returning(|_| Ok(EventOutcome::Duplicate));
    repository
        .expect_record_many()
        .times(1)
        .returning(|_| Ok(Vec::new()));
    let (service, _) = service(repository);
    let mut notes = Notes::default();
    // The lines come all at once, so that the second and the third wait for the first.
    let input = Cursor::new((1..=3).map(|id| line(id, 7, 0) + "\n").collect::<String>());
    let error = ingest(input, &service, &options(8), &mut notes)
        .await
        .unwrap_err();
    let IngestError::Repository {
        line: 2, source, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), RepositoryErrorKind::OutcomeUnknown);
    assert_eq!(source.to_string(), "0 outcomes came for 2 events");
    assert_eq!(notes.acknowledged, [1]);
}
