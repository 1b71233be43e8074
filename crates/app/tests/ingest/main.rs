//! Ingesting whole inputs, over the in-memory repository and over one that answers as it likes.

mod failures;
mod fixture;
mod property;
mod stopping;
mod support;

use std::io::Cursor;

use roas_app::gateway::LineError;
use roas_app::ingest::{IngestSummary, ingest};
use roas_domain::testing::{MemoryRepository, Model};

use support::{Notes, line, options, service};

async fn summary_of(input: impl Into<Vec<u8>>) -> (IngestSummary, Notes) {
    let (service, _) = service(MemoryRepository::new());
    let mut notes = Notes::default();
    let input = Cursor::new(input.into());
    let summary = ingest(input, &service, &options(8), &mut notes)
        .await
        .expect("an ingest that nothing keeps from its end");
    assert!(summary.is_balanced() && !summary.interrupted, "{summary:?}");
    (summary, notes)
}

#[tokio::test]
async fn an_empty_input_is_no_line() {
    let (summary, notes) = summary_of("").await;
    let mut expected = IngestSummary::default();
    expected.elapsed = summary.elapsed;
    assert_eq!(summary, expected);
    assert_eq!(notes, Notes::default());
}

#[tokio::test]
async fn system_messages_do_not_count() {
    let input = include_str!("../fixtures/gateway/system_only.ndjson");
    let (summary, notes) = summary_of(input).await;
    assert_eq!(
        (summary.scored, summary.ignored, summary.rejected),
        (1, 13, 0)
    );
    assert_eq!(summary.ignored_lines.system, 13);
    assert_eq!(notes.acknowledged.len(), 1);
}

#[tokio::test]
async fn half_a_surrogate_pair_in_a_key_rejects_nothing() {
    let input = include_str!("../fixtures/gateway/surrkey.ndjson");
    let (summary, _) = summary_of(input).await;
    assert_eq!((summary.lines, summary.scored), (1, 1));
}

#[tokio::test]
async fn events_of_any_size_are_ignored_between_messages() {
    let members = format!("[{}{{}}]", r#"{"user":{"id":"7"}},"#.repeat(200_000));
    let input = format!(
        "{}\n{{\"t\":\"GUILD_CREATE\",\"s\":1,\"op\":0,\"d\":{{\"members\":{members}}}}}\n{}\n\
         {{\"op\":0,\"d\":{{\"members\":{members}}},\"t\":\"GUILD_MEMBERS_CHUNK\"}}\n",
        line(1, 7, 0),
        line(2, 8, 0)
    );
    let (summary, _) = summary_of(input).await;
    assert_eq!(
        (summary.scored, summary.ignored, summary.rejected),
        (2, 2, 0)
    );
    assert_eq!(summary.ignored_lines.other_event, 2);
}

#[tokio::test]
async fn an_input_is_rejected_whole_where_every_line_with_something_in_it_is() {
    for (input, whole) in [
        (String::new(), false),
        ("\n\n".to_owned(), false),
        ("x".to_owned(), true),
        ("\n[\n\nx\n".to_owned(), true),
        ("x\n{\"op\":11}\n".to_owned(), false),
        (format!("x\n{}", line(1, 7, 0)), false),
    ] {
        let (summary, _) = summary_of(input.clone()).await;
        assert_eq!(summary.is_rejected_whole(), whole, "{input:?}");
    }
}

#[tokio::test]
async fn the_last_line_need_not_end() {
    let (summary, notes) = summary_of(format!("{}\n{}", line(1, 7, 0), line(2, 8, 0))).await;
    assert_eq!((summary.lines, summary.scored), (2, 2));
    assert_eq!(notes.acknowledged, [1, 2]);
}

#[tokio::test]
async fn line_ends_and_marks_of_other_systems_are_read() {
    let input = format!("\u{feff}{}\r\n\r\n{}\r\n", line(1, 7, 0), line(2, 7, 60));
    let (summary, _) = summary_of(input).await;
    assert_eq!((summary.lines, summary.scored, summary.ignored), (3, 2, 1));
}

#[tokio::test]
async fn refused_lines_are_told_with_their_number_and_passed_over() {
    let mut input = format!("{}\nnot json\n\n", line(1, 7, 0)).into_bytes();
    input.extend(b"\"\xFF\"\n");
    input.extend(vec![b'x'; 3 << 20]);
    input.extend(format!("\n{}\n[]", line(2, 8, 0)).into_bytes());
    let (summary, notes) = summary_of(input).await;
    assert_eq!(
        (summary.lines, summary.rejected, summary.ignored),
        (7, 4, 1)
    );
    assert_eq!(notes.acknowledged, [1, 2]);
    let lines: Vec<_> = notes.rejected.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 4, 5, 7]);
    assert!(matches!(notes.rejected[0].1, LineError::NotJson { .. }));
    assert_eq!(notes.rejected[1].1, LineError::NotUtf8 { column: 2 });
    assert_eq!(
        notes.rejected[2].1.to_string(),
        "the line is longer than 1048576 bytes"
    );
    assert_eq!(
        notes.rejected[3].1,
        LineError::NotAnObject { found: "an array" }
    );
}

#[tokio::test]
async fn progress_ends_with_the_whole_input() {
    let input: String = (1..=1_000)
        .map(|id| line(id, id % 10 + 1, 0) + "\n")
        .collect();
    let (summary, notes) = summary_of(input.clone()).await;
    assert_eq!(notes.progress.last(), Some(&(input.len() as u64, 1_000)));
    assert!(notes.progress.is_sorted(), "{:?}", notes.progress);
    assert_eq!(summary.acknowledged(), 1_000);
}

#[tokio::test]
async fn every_recorded_event_has_a_latency() {
    let input: String = (1..=1_000).map(|id| line(id, 7, 0) + "\n").collect();
    let (summary, _) = summary_of(input).await;
    assert!(summary.latency.p999.is_some(), "{summary:?}");
    assert!(summary.latency.p50 <= summary.latency.max);
}

#[tokio::test]
async fn a_lane_longer_than_a_call_goes_in_several() {
    let (service, repository) = service(MemoryRepository::new());
    let input: String = (1..=10_000).map(|id| line(id, 7, 0) + "\n").collect();
    let summary = ingest(Cursor::new(input), &service, &options(1 << 20), &mut ())
        .await
        .unwrap();
    assert_eq!((summary.scored, summary.cooling_down), (1, 9_999));
    assert_eq!(repository.snapshot().unwrap().counts().messages, 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_can_be_a_task_of_its_own() {
    let (service, repository) = service(MemoryRepository::new());
    let ingest = async move {
        let input = Cursor::new(line(1, 7, 0));
        ingest(input, &service, &options(4), &mut Notes::default()).await
    };
    let summary = tokio::spawn(ingest).await.unwrap().unwrap();
    assert_eq!(summary.scored, 1);
    assert_ne!(repository.snapshot().unwrap(), Model::new());
}
