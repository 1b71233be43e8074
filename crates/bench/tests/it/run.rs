//! `roas-bench run`.

use roas_bench::stats::Latencies;

use crate::support::{bench, bench_with, code, noted, run_of, said};

#[test]
fn every_engine_gives_a_result_of_the_same_shape() {
    for engine in ["meter", "meter-adjust", "baseline", "original", "raw"] {
        let line = format!("run --json --engine {engine} --tasks 4 --operations 400 --seed 7");
        let output = bench_with(&line, &["--synchronous", "normal"]);
        assert_eq!(code(&output), 0, "{engine}: {output:?}");
        let run = run_of(&output);
        assert_eq!((run.engine.as_str(), run.tasks, run.seed), (engine, 4, 7));
        assert_eq!(
            (run.keys.as_str(), run.mode.as_str()),
            ("zipf:1.1", "closed")
        );
        let failed: u64 = run.errors.values().sum();
        assert_eq!(run.ops + failed, 400, "{engine}");
        assert!(
            run.verified && run.verification.problems.is_empty(),
            "{engine}"
        );
        assert_eq!(run.verification.counted, run.ops, "{engine}");
        assert_eq!(run.verification.integrity, "ok");
        assert!(run.ops_per_s > 0.0 && run.duration_s > 0.0);
        assert!((run.success_rate + run.error_rate - 1.0).abs() < 1e-9);
        assert_eq!(
            Latencies::decode(&run.histogram).unwrap().samples(),
            run.latency_us.samples
        );
        assert_eq!(run.latency_us.p50.is_some(), run.ops > 0);
        assert!(
            run.latency_us.p999.is_none(),
            "400 samples do not reach so far"
        );
        assert_eq!(
            run.timeline.iter().map(|slice| slice.ops).sum::<u64>(),
            run.ops
        );
        assert_eq!((run.per_process.len(), run.fairness), (1, None));
        assert!(run.per_process[0].max_rss_bytes > 0);
        assert!(run.environment.sqlite_version.starts_with("3."), "{engine}");
        let journal = if engine == "baseline" {
            "delete"
        } else {
            "wal"
        };
        assert_eq!(run.environment.pragmas["journal_mode"], journal);
        assert_eq!(run.batch.is_some(), engine == "raw");
        let waits = run.engine_stats.and_then(|stats| stats.queue_wait_us);
        assert_eq!(waits.is_some(), engine.starts_with("meter"), "{engine}");
    }
}

#[test]
fn several_processes_write_one_file() {
    for engine in ["meter", "original"] {
        let line = format!(
            "run --json --engine {engine} --tasks 3 --processes 3 --operations 1800 --readers 1"
        );
        let output = bench(&line);
        assert_eq!(code(&output), 0, "{output:?}");
        let run = run_of(&output);
        assert_eq!(
            (run.ops, run.verification.counted, run.lock_errors),
            (1_800, 1_800, 0)
        );
        assert_eq!(run.per_process.len(), 3);
        assert!(run.per_process.iter().all(|process| process.ops == 600));
        assert!(
            run.fairness
                .is_some_and(|fairness| fairness > 0.0 && fairness <= 1.0)
        );
        assert!(run.read_latency_us.unwrap()["member"].samples > 0);
        assert_eq!(run.label, format!("{engine} 3x3 tasks {}", run.synchronous));
    }
}

#[test]
fn a_window_has_a_length_and_a_warm_up_before_it() {
    let output = bench("run --json --tasks 4 --warmup 200ms --duration 500ms --keys hot:3");
    let run = run_of(&output);
    assert_eq!((run.warmup_s, run.duration_s), (0.2, 0.5));
    assert!(
        run.verified && run.verification.acknowledged > run.ops,
        "{run:?}"
    );
    assert!((run.ops_per_s * 0.5).round().to_string() == run.ops.to_string());
    let stats = run.engine_stats.unwrap();
    assert!(stats.batches > 0);
    // One a transaction of the window, and none of the warm-up's; the two are not read at once.
    let waits = stats.queue_wait_us.unwrap();
    assert!(
        waits.samples.abs_diff(stats.batches) <= 2 && waits.p50.is_some(),
        "{waits:?} {}",
        stats.batches
    );
}

#[test]
fn an_open_loop_says_so() {
    let output = bench("run --json --tasks 4 --rate 2000 --operations 200");
    let run = run_of(&output);
    assert_eq!(
        (run.mode.as_str(), run.rate_per_s, run.ops),
        ("open", Some(2_000.0), 200)
    );
    assert!(
        run.duration_s > 0.08,
        "200 operations are due over 100 ms: {}",
        run.duration_s
    );
}

#[test]
fn what_was_there_before_the_run_is_counted_too() {
    for engine in ["meter", "meter-adjust", "raw"] {
        let line = format!(
            "run --json --prefill --guilds 2 --members 50 --operations 10 --engine {engine}"
        );
        let run = run_of(&bench(&line));
        assert!(run.verified, "{engine}: {:?}", run.verification);
        assert_eq!((run.ops, run.verification.counted), (10, 110));
    }
}

#[test]
fn a_result_repeats_itself_by_its_command() {
    let run = run_of(&bench(
        "run --json --engine raw --batch 5 --operations 50 --keys uniform",
    ));
    let (program, line) = run.command.split_once(' ').unwrap();
    assert_eq!(program, "roas-bench");
    let again = run_of(&bench(&format!("{line} --json")));
    assert_eq!(
        (again.label, again.command, again.ops),
        (run.label, run.command, run.ops)
    );
}

#[test]
fn a_result_can_be_read_by_people() {
    let table = bench("run --tasks 2 --operations 100");
    assert!(
        said(&table).contains("✓ holds the 100 operations"),
        "{table:?}"
    );
    let markdown = bench("run --markdown --tasks 2 --operations 100");
    assert!(
        said(&markdown).starts_with("| setting | ops/s |"),
        "{markdown:?}"
    );
    assert!(said(&markdown).contains("roas-bench run --engine meter --tasks 2"));
}

#[test]
fn a_run_that_stores_nothing_is_not_verified() {
    let output = bench("run --json --engine noop --operations 1000");
    assert_eq!(code(&output), 1);
    assert!(noted(&output).contains("nothing to check"), "{output:?}");
    assert!(!run_of(&output).verified);
}

#[test]
fn a_kept_database_can_be_verified_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.db");
    let file = file.to_str().unwrap();
    let run = bench_with("run --operations 30 --engine raw --database", &[file]);
    assert_eq!(code(&run), 0, "{run:?}");
    assert_eq!(code(&bench_with("verify --expect 30", &[file])), 0);
    assert_eq!(code(&bench_with("verify --expect 31", &[file])), 1);
    assert_eq!(code(&bench_with("verify --expect 29", &[file])), 1);
    assert_eq!(
        code(&bench_with("verify --expect 29 --unknown 1", &[file])),
        0
    );
    let again = bench_with("run --operations 30 --engine raw --database", &[file]);
    assert_eq!(code(&again), 1, "it is not overwritten: {again:?}");
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    for line in [
        "run --engine nothing",
        "run --engine raw --processes 2",
        "run --keys zipf",
        "run --duration 5",
        "run --duration 5s --operations 5",
        "run --tasks 0",
        "run --rate -1",
    ] {
        assert_eq!(code(&bench(line)), 2, "{line}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_a_failure() {
    let output = bench("run --operations 1 --dir /nowhere/at/all");
    assert_eq!(code(&output), 1);
    assert!(
        noted(&output).contains("folder for the database"),
        "{output:?}"
    );
}
