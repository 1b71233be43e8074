//! Clocks that jump, in short; `roas-torture` has the long form.

use roas_torture::{ClockJumps, run};

#[test]
fn no_id_is_forgotten_within_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(
        &ClockJumps { own_time: true },
        5,
        1,
        folder.path(),
        |_, _| {},
    );
    assert_eq!(report.failures, []);
    assert!(report.figures["redelivered"] > 50, "{report:?}");
}

/// Calibration: ids that age by the host's clock are found to be forgotten.
#[test]
fn ids_that_age_by_the_hosts_clock_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(
        &ClockJumps { own_time: false },
        3,
        1,
        folder.path(),
        |_, _| {},
    );
    assert!(report.failed > 0, "{report:?}");
}
