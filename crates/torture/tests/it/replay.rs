//! Unknown outcomes that are tried again, in short; `roas-torture` has the long form.

use roas_torture::storage::replay::{Replays, Retried};
use roas_torture::{Broken, Findings};

fn round(unknown: u64, retried: Retried) -> Result<Findings, Broken> {
    let folder = tempfile::tempdir().unwrap();
    Replays { unknown, retried }.round(1, folder.path())
}

#[test]
fn thousands_of_unknown_outcomes_are_tried_again_and_each_counts_once() {
    let found = round(3_000, Retried::WithTheSameId).unwrap();
    assert!(found.states >= 3_000, "{found:?}");
    // Both that had taken effect and that had not are among them.
    assert!(found.figures["found applied"] > 50, "{found:?}");
    assert!(found.figures["applied by the replay"] > 500, "{found:?}");
}

#[test]
fn a_replay_under_another_id_is_found_out() {
    let Broken(what) = round(1_000, Retried::WithAnotherId).unwrap_err();
    assert!(what.contains("the members count"), "{what}");
}

#[test]
fn an_unknown_outcome_taken_for_a_yes_is_found_out() {
    let Broken(what) = round(1_000, Retried::Never).unwrap_err();
    assert!(what.contains("the members count"), "{what}");
}
