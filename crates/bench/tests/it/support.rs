//! Starting the program.

use std::process::{Command, Output};

use roas_bench::result::{CompareResult, RunResult};

/// Runs the program with the words of `line` as its arguments.
pub(crate) fn bench(line: &str) -> Output {
    bench_with(line, &[])
}

/// As [`bench`], with further arguments that may have blanks in them.
pub(crate) fn bench_with(line: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roas-bench"))
        .args(line.split_whitespace())
        .args(more)
        .output()
        .unwrap()
}

/// The exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// What was printed on standard output.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What was printed on standard error.
pub(crate) fn noted(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The run that was printed as JSON.
pub(crate) fn run_of(output: &Output) -> RunResult {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The comparison that was printed as JSON.
pub(crate) fn comparison_of(output: &Output) -> CompareResult {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
