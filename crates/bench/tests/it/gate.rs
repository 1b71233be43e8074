//! `roas-bench gate`: it has to fail for the right reason, or it proves nothing.

use crate::support::{bench, bench_with, code, comparison_of, noted, said};

const QUICK: &str = "gate --repeat 1 --processes 1 --tasks 8 --synchronous normal";

fn gate(options: &str, thresholds: &[&str]) -> std::process::Output {
    bench_with(&format!("{QUICK} {options}"), thresholds)
}

#[test]
fn thresholds_that_are_kept_pass() {
    let output = gate(
        "--operations 2000",
        &[
            "error_rate <= 0",
            "lock_errors == 0",
            "p99 < 10s",
            "ops_per_s >= 1",
        ],
    );
    assert_eq!(code(&output), 0, "{output:?}");
    let lines = said(&output);
    for line in [
        "✓ meter 8 tasks normal: verified",
        "✓ error_rate<=0: 0.0000 %",
        "✓ p99<10s: ",
    ] {
        assert!(lines.contains(line), "{lines}");
    }
}

#[test]
fn a_threshold_that_is_not_kept_is_a_breach() {
    let output = gate("--operations 500", &["ops_per_s>=1", "ops_per_s>=1e12"]);
    assert_eq!(code(&output), 99, "{output:?}");
    let lines = said(&output);
    assert!(
        lines.contains("✓ ops_per_s>=1:") && lines.contains("✗ ops_per_s>="),
        "{lines}"
    );
}

#[test]
fn a_lost_event_in_ten_thousand_fails_the_verification() {
    let output = gate(
        "--engine sabotage-drop --operations 10000",
        &["error_rate<=0"],
    );
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(noted(&output).contains("1 acknowledged operations are not in the database"));
    let lines = said(&output);
    assert!(
        lines.contains("✗ sabotage-drop 8 tasks normal: not verified"),
        "{lines}"
    );
    assert!(
        lines.contains("✓ error_rate<=0"),
        "nothing else shows it: {lines}"
    );
}

#[test]
fn stalls_in_two_percent_of_the_calls_breach_the_latency() {
    let output = gate(
        "--engine sabotage-stall --operations 2000",
        &["p99<=100ms", "p50<=100ms", "success_rate>=99%"],
    );
    assert_eq!(code(&output), 99, "{output:?}");
    let lines = said(&output);
    for line in [
        "✗ p99<=100ms: 1",
        "✓ p50<=100ms",
        "✓ success_rate>=99%",
        ": verified",
    ] {
        assert!(lines.contains(line), "{line}: {lines}");
    }
}

#[test]
fn a_lock_error_in_a_hundred_breaches_what_is_said_of_errors() {
    let output = gate(
        "--engine sabotage-lock --operations 2000",
        &[
            "error_rate<=0",
            "success_rate>99%",
            "lock_errors<=0",
            "p99<10s",
        ],
    );
    assert_eq!(code(&output), 99, "{output:?}");
    let lines = said(&output);
    for line in [
        "✗ error_rate<=0: 1.0000 %",
        "✗ success_rate>99%: 99.0000 %",
        "✗ lock_errors<=0: 20",
        "✓ p99<10s",
        ": verified",
    ] {
        assert!(lines.contains(line), "{line}: {lines}");
    }
}

#[test]
fn a_ratio_runs_both_engines() {
    let output = gate(
        "--json --operations 400",
        &[
            "ratio(meter,raw:50).ops_per_s>0",
            "ratio(meter,raw:50).lock_errors<=0.1",
        ],
    );
    assert_eq!(code(&output), 0, "{output:?}");
    let labels: Vec<_> = comparison_of(&output)
        .rows
        .into_iter()
        .map(|row| row.label)
        .collect();
    assert_eq!(labels, ["meter 8 tasks normal", "raw:50 normal"]);
    assert!(
        noted(&output).contains("lock_errors<=0.1: 0.0000 (meter 0, raw:50 0)"),
        "{output:?}"
    );
}

#[test]
fn thresholds_that_make_no_sense_are_refused_before_anything_runs() {
    for threshold in [
        "p98<1ms",
        "p99<100",
        "p99",
        "ratio(meter,nobody).ops_per_s>1",
        "ratio(meter).ops_per_s>1",
    ] {
        let output = gate("", &[threshold]);
        assert_eq!(code(&output), 2, "{threshold}: {output:?}");
    }
    assert_eq!(code(&bench("gate --engine nobody")), 2);
}

#[test]
fn an_engine_that_does_not_run_is_a_failure() {
    let output = gate("--operations 10 --dir /nowhere/at/all", &["ops_per_s>=1"]);
    assert_eq!(code(&output), 1, "{output:?}");
}
