//! `roas-bench report`.

use crate::support::{bench_with, code, noted};

#[test]
fn runs_and_comparisons_make_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (run, comparison, page) = (path("run.json"), path("compare.json"), path("page.html"));
    bench_with("run --operations 100 --save", &[&run]);
    bench_with(
        "compare --engines raw:1,raw:5 --repeat 1 --operations 100 --save",
        &[&comparison],
    );
    let output = bench_with("report", &[&run, &comparison, "-o", &page]);
    assert_eq!(code(&output), 0, "{output:?}");
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["<!doctype html>", "meter 64 tasks full", "raw:5 full"] {
        assert!(page.to_lowercase().contains(part), "{part}");
    }
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.json");
    std::fs::write(&file, "{\"format\": 7}").unwrap();
    let output = bench_with("report", &[file.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(noted(&output).contains("format 7"), "{output:?}");
}
