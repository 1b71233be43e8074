//! `roas-bench compare`.

use crate::support::{bench, bench_with, code, comparison_of, noted, said};

const QUICK: &str = "compare --operations 200 --repeat 2";

#[test]
fn settings_are_compared_with_the_reference() {
    let line =
        format!("{QUICK} --json --engines meter,raw:1,raw:50 --tasks 2,4 --synchronous normal");
    let output = bench_with(&line, &["--reference", "raw:1 normal"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let result = comparison_of(&output);
    let labels: Vec<_> = result.rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "meter 2 tasks normal",
            "raw:1 normal",
            "raw:50 normal",
            "meter 4 tasks normal"
        ]
    );
    assert_eq!(
        (result.reference.as_str(), result.rows[1].ratio),
        ("raw:1 normal", Some(1.0))
    );
    for row in &result.rows {
        assert!(row.verified && row.runs.len() == 2, "{}", row.label);
        assert!(row.ops_per_s_min <= row.ops_per_s_median);
        assert!(row.ops_per_s_median <= row.ops_per_s_max);
        assert!(row.ratio.unwrap() > 0.0);
    }
    assert!(
        result.command.ends_with("--reference 'raw:1 normal'"),
        "{}",
        result.command
    );
}

#[test]
fn growth_is_compared_by_sizes_and_their_reads() {
    let line = "compare --operations 200 --repeat 1 --engines meter --tasks 2 --guilds 1 \
                --members 100,1000,5000 --keys uniform --prefill --readers 1";
    let output = bench(&format!("{line} --json"));
    assert_eq!(code(&output), 0, "{output:?}");
    let result = comparison_of(&output);
    let sizes: Vec<_> = result
        .rows
        .iter()
        .map(|row| {
            (
                row.label.as_str(),
                row.runs[0].members,
                row.runs[0].verification.counted,
            )
        })
        .collect();
    assert_eq!(
        sizes,
        [
            ("meter 2 tasks full 100 members", 100, 300),
            ("meter 2 tasks full", 1_000, 1_200),
            ("meter 2 tasks full 5000 members", 5_000, 5_200),
        ]
    );
    let table = said(&bench(&format!("{line} --markdown")));
    assert!(
        table.contains("| meter 2 tasks full 5000 members | rank |"),
        "{table}"
    );
}

#[test]
fn a_saved_result_is_set_beside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.json");
    let file = file.to_str().unwrap();
    let line = format!("{QUICK} --engines raw:1,raw:50");
    let first = bench_with(&line, &["--save", file]);
    assert_eq!(code(&first), 0, "{first:?}");
    let second = bench_with(&line, &["--baseline", file]);
    let table = said(&second);
    assert!(table.contains("Against the saved result"), "{table}");
    assert_eq!(table.matches("raw:50 full").count(), 2, "{table}");
}

#[test]
fn a_row_that_was_not_verified_fails_the_comparison() {
    let output = bench(&format!("{QUICK} --engines meter,noop"));
    assert_eq!(code(&output), 1);
    assert!(said(&output).contains('✗'), "{output:?}");
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    for (line, says) in [
        ("--engines nobody", "no engine `nobody`"),
        ("--engines raw:x", "names no engine"),
        ("--reference nobody", "no setting is labelled `nobody`"),
        ("--repeat 0", "repeat"),
        ("--baseline /nowhere.json", "cannot read"),
        ("--peers --tunings best", "possible values: default, tuned"),
        (
            "--peers --peers-dir /nowhere",
            "crates/bench/peers/build.sh",
        ),
    ] {
        let output = bench(&format!("compare --operations 10 {line}"));
        assert_eq!(code(&output), 2, "{line}: {output:?}");
        assert!(noted(&output).contains(says), "{line}: {output:?}");
    }
}

/// A program that stands in for a peer: it passes its options on.
#[cfg(unix)]
#[test]
fn peers_run_as_programs_and_are_verified_here() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("peer-original");
    let script = format!(
        "#!/bin/sh\nexec '{}' run \"$@\"\n",
        env!("CARGO_BIN_EXE_roas-bench")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let folder = folder.path().to_str().unwrap();
    let line = "compare --json --peers --engines raw:50 --tasks 2 --operations 50 --repeat 1";
    let output = bench_with(line, &["--peers-dir", folder]);
    assert_eq!(code(&output), 0, "{output:?}");
    let result = comparison_of(&output);
    let labels: Vec<_> = result.rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "raw:50 full",
            "original default 2 tasks full",
            "original tuned 2 tasks full"
        ]
    );
    assert!(result.rows.iter().all(|row| row.verified));
    assert_eq!(result.rows[2].runs[0].tuning.as_deref(), Some("tuned"));

    let output = bench_with(line, &["--peers-dir", folder, "--tunings", "tuned"]);
    let rows = comparison_of(&output).rows;
    let labels: Vec<_> = rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["raw:50 full", "original tuned 2 tasks full"]);

    let broken = std::path::Path::new(folder).join("peer-broken");
    std::fs::write(&broken, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
    let output = bench_with(line, &["--peers-dir", folder, "--only-peers", "broken"]);
    assert_eq!(code(&output), 1);
    assert!(noted(&output).contains("peer-broken"), "{output:?}");
}
