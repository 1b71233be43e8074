//! However many calls are under way, and whatever order they are answered in, the result is that
//! of one event after the other.

use std::io::{BufReader, Cursor};

use proptest::collection::vec;
use proptest::prelude::*;
use roas_app::gateway::{GatewayLine, IgnoredReason, parse_line};
use roas_app::ingest::{IngestSummary, ingest};
use roas_domain::EventOutcome;
use roas_domain::testing::Model;

use crate::support::{Notes, Unsteady, line_in, options, service};

/// Few members and few ids, so that lanes fill and the same id comes from different members.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let message = (1..3_u64, 1..60_u64, 1..5_u64, 0..5_000_i64)
        .prop_map(|(guild, id, user, seconds)| line_in(guild, id, user, seconds));
    let other = prop_oneof![
        Just(String::new()),
        Just(r#"{"op":11}"#.to_owned()),
        Just("broken".to_owned()),
    ];
    vec(prop_oneof![9 => message, 1 => other], 0..300)
}

/// One line after the other, without any of the machinery.
fn sequentially(lines: &[String]) -> (Model, IngestSummary) {
    let mut model = Model::new();
    let mut summary = IngestSummary::default();
    for line in lines {
        summary.lines += 1;
        match parse_line(line.as_bytes()) {
            Ok(GatewayLine::Message(event)) => match model.record(&event) {
                EventOutcome::Scored(_) => summary.scored += 1,
                EventOutcome::CoolingDown(_) => summary.cooling_down += 1,
                EventOutcome::Duplicate => summary.duplicate += 1,
            },
            Ok(GatewayLine::Ignored(reason)) => {
                summary.ignored += 1;
                match reason {
                    IgnoredReason::Blank => summary.ignored_lines.blank += 1,
                    _ => summary.ignored_lines.other_event += 1,
                }
            }
            Err(_) => summary.rejected += 1,
        }
    }
    (model, summary)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_number_of_calls_ends_as_one_by_one_does(
        lines in lines(),
        seed in any::<u64>(),
        buffer in 1..10_000_usize,
    ) {
        let (model, expected) = sequentially(&lines);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for in_flight in [1, 7, 1_024] {
            let (service, repository) = service(Unsteady::new(seed, in_flight, None));
            let input: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let input = BufReader::with_capacity(buffer, Cursor::new(input));
            let mut notes = Notes::default();
            let options = options(in_flight);
            let ingest = ingest(input, &service, &options, &mut notes);
            let summary = runtime.block_on(ingest).unwrap();

            prop_assert!(summary.is_balanced());
            let mut expected = expected.clone();
            (expected.elapsed, expected.latency) = (summary.elapsed, summary.latency);
            prop_assert_eq!(&summary, &expected);
            prop_assert_eq!(repository.inner().snapshot().unwrap(), model.clone());
            prop_assert_eq!(notes.acknowledged.len() as u64, summary.acknowledged());
            prop_assert_eq!(notes.rejected.len() as u64, summary.rejected);
        }
    }
}
