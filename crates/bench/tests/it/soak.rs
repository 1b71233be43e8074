//! `roas-bench soak`.

use crate::support::{bench, code, noted, run_of};

#[test]
fn no_error_reaches_a_caller_beside_every_neighbour() {
    let output = bench(
        "soak --json --processes 2 --tasks 4 --guilds 1 --members 50 --duration 1500ms --hold 300ms",
    );
    assert_eq!(code(&output), 0, "{output:?}");
    let run = run_of(&output);
    assert!(run.verified && run.errors.is_empty(), "{run:?}");
    let neighbours: Vec<_> = run
        .neighbours
        .iter()
        .map(|neighbour| neighbour.neighbour.as_str())
        .collect();
    assert_eq!(
        neighbours,
        ["lock", "vacuum-into", "backup", "truncate", "reader"]
    );
    for neighbour in &run.neighbours {
        assert!(
            neighbour.done > 0 && neighbour.total_s > 0.0,
            "{neighbour:?}"
        );
        assert_eq!(neighbour.verified.unwrap_or(neighbour.done), neighbour.done);
    }
    assert!(run.wal.is_some_and(|wal| wal.bytes.len() > 15));
    assert!(run.read_latency_us.unwrap()["member"].samples > 0);
}

#[test]
fn a_lock_error_that_reaches_a_caller_is_a_breach() {
    let output = bench(
        "soak --engine sabotage-lock --processes 1 --tasks 2 --operations 400 --neighbours reader \
         --hold 100ms --synchronous normal",
    );
    assert_eq!(code(&output), 99, "{output:?}");
}

#[test]
fn an_acknowledged_event_that_is_lost_is_a_failure() {
    let output = bench(
        "soak --json --engine sabotage-drop --processes 1 --tasks 8 --operations 10000 \
         --neighbours reader --hold 100ms --synchronous normal",
    );
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(
        noted(&output).contains("1 acknowledged operations are not in the database"),
        "{output:?}"
    );
}

#[test]
fn neighbours_that_make_no_sense_are_refused() {
    for line in [
        "soak --neighbours nobody",
        "soak --engine noop",
        "run --hold 0s",
        "compare --peers --hold 1s",
    ] {
        assert_eq!(code(&bench(line)), 2, "{line}");
    }
}
