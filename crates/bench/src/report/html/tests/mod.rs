//! Pages of made-up results.

mod markup_check;
mod sample;

use crate::result::{CompareResult, Percentiles, RunResult, Told};

use super::render;
use markup_check::well_formed;
use sample::{METER, Shape, comparison, run, unverified, with_details};

/// Markup in a label, as a file from elsewhere may have it.
const HOSTILE: &str = "</title><script>alert('1')</script>\" onload=\"x&y\u{202E}\u{0}";

/// Engines as a comparison has them.
fn shapes(tasks: u32, processes: u32, synchronous: &'static str) -> Vec<Shape> {
    let peers = [
        ("baseline", None, 2_900.0, 310.0, 0.21),
        ("original", None, 16_400.0, 540.0, 0.0),
        ("meter", None, 231_000.0, 260.0, 0.0),
        ("meter-adjust", None, 402_000.0, 150.0, 0.0),
        ("sqlx", Some("default"), 4_100.0, 14_000.0, 0.002),
        ("sqlx", Some("tuned"), 21_000.0, 2_800.0, 0.0),
        ("diesel", Some("default"), 3_300.0, 900.0, 0.08),
        ("diesel", Some("tuned"), 44_000.0, 1_300.0, 0.000_3),
        ("tokio-rusqlite", Some("tuned"), 38_000.0, 1_600.0, 0.0),
    ];
    let numbered = peers.into_iter().zip(1..);
    let shape =
        |((engine, tuning, ops_per_s, p50_us, failing), seed): ((_, _, f64, f64, f64), _)| Shape {
            engine,
            tuning,
            tasks,
            processes,
            synchronous,
            ops_per_s: ops_per_s * f64::from(tasks).powf(0.2) / 2.3,
            p50_us: p50_us * f64::from(tasks) / 64.0,
            failing: failing * f64::from(processes),
            seed: seed + u64::from(tasks),
        };
    numbered.map(shape).collect()
}

fn large() -> CompareResult {
    let loads = [
        (8, 1, "full"),
        (64, 1, "full"),
        (256, 1, "full"),
        (16, 4, "full"),
        (16, 8, "full"),
    ];
    let shapes: Vec<Shape> = (loads.into_iter())
        .flat_map(|(tasks, processes, synchronous)| shapes(tasks, processes, synchronous))
        .collect();
    comparison("The meter beside what it replaces", &shapes)
}

/// A run that has no more than it must.
fn bare() -> RunResult {
    let mut bare = run(&METER);
    bare.label = "bare".to_owned();
    bare.latency_us = Percentiles::default();
    bare.histogram = String::new();
    bare.timeline.clear();
    bare.per_process.clear();
    bare.environment = crate::result::Environment::default();
    bare.command = String::new();
    bare
}

fn is_good(page: &str) {
    assert_eq!(well_formed(page), Ok(()));
    for outside in [
        "http:", "https:", "src=", "@import", "url(", "<script", "<link", "<iframe",
    ] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
}

#[test]
fn every_kind_of_result_makes_a_well_formed_page() {
    is_good(&render("Nothing", &[], &[]));
    is_good(&render("One run", &[run(&METER)], &[]));
    is_good(&render("Readers", &[with_details(run(&METER))], &[]));
    is_good(&render(
        "A comparison",
        &[],
        &[comparison("Small", &shapes(64, 1, "full")[..3])],
    ));
    is_good(&render("All", &[run(&METER), bare()], &[large()]));
}

#[test]
fn the_wal_is_drawn_where_its_size_is_known() {
    let title = "Size of the WAL over time";
    let known = with_details(run(&METER));
    let page = render("Known", std::slice::from_ref(&known), &[]);
    is_good(&page);
    assert!(page.contains(title) && page.contains("12\u{a0}MiB at most"));

    let mut unknown = run(&METER);
    unknown.label = "an engine without a WAL".to_owned();
    assert!(!render("Unknown", std::slice::from_ref(&unknown), &[]).contains(title));
    let both = render("Both", &[known, unknown], &[]);
    is_good(&both);
    assert!(both.contains("the size of the WAL is not known"));
}

#[test]
fn each_metric_that_was_told_is_drawn_over_time() {
    let told = with_details(run(&METER));
    let page = render("Told", std::slice::from_ref(&told), &[]);
    is_good(&page);
    let titles = [
        "Queue depth (roas_db_queue_depth)",
        "Queue wait (roas_db_queue_wait_seconds)",
        "Transaction events (roas_db_transaction_events)",
        "Commit (roas_db_commit_seconds)",
        "Lock wait (roas_db_lock_wait_seconds)",
        "WAL (roas_db_wal_bytes)",
        "Checkpoints (roas_db_checkpoints_total{by=writer,result=whole})",
    ];
    let metrics = section(&page, "metrics");
    for title in titles {
        let caption = format!("<figcaption>{title}</figcaption>");
        assert_eq!(metrics.matches(&caption).count(), 1, "{title}");
    }
    assert_eq!(metrics.matches("<figure").count(), titles.len());
    // Two in every tenth of the sample's 40 slices.
    for most in [
        "4\u{a0}ms at most",
        "8\u{a0}MiB at most",
        "256 at most",
        "8 in all",
    ] {
        assert!(metrics.contains(most), "{most}");
    }

    let mut silent = run(&METER);
    silent.label = "an engine that tells nothing".to_owned();
    let page = render("Silent", std::slice::from_ref(&silent), &[]);
    assert!(section(&page, "metrics").contains("No engine told of its metrics."));
    let page = render("Both", &[told, silent], &[]);
    is_good(&page);
    let metrics = section(&page, "metrics");
    assert!(metrics.contains("Commit: mean (roas_db_commit_seconds)"));
    assert!(metrics.contains("an engine that tells nothing: not told"));
}

/// What a page has between the heading of a section and its end.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("<section id=\"{id}\""))
        .expect("the page has the section");
    rest.split("</section>").next().unwrap_or(rest)
}

#[test]
fn the_same_input_makes_the_same_page() {
    let page = || render("Twice", &[run(&METER)], &[large()]);
    assert_eq!(page(), page());
}

#[test]
fn text_from_files_is_escaped_wherever_it_goes() {
    let mut hostile = with_details(unverified(run(&METER)));
    let text = || HOSTILE.to_owned();
    hostile.label = text();
    hostile.engine = text();
    hostile.tuning = Some(text());
    hostile.keys = text();
    hostile.synchronous = text();
    hostile.mode = text();
    hostile.processes = 2;
    hostile.errors = [(text(), 3)].into();
    hostile.read_latency_us = Some([(text(), Percentiles::default())].into());
    hostile.verification.integrity = text();
    hostile.verification.problems = vec![text()];
    hostile.environment.cpu = text();
    hostile.environment.commit = text();
    hostile.environment.pragmas = [(text(), text())].into();
    hostile.command = text();
    for interval in &mut hostile.timeline {
        let told = interval.metrics.values().next().copied();
        interval.metrics = told.map(|told| (text(), told)).into_iter().collect();
    }
    let mut other = hostile.clone();
    other.tasks = 8;
    other.environment.os = text();
    let mut compared = comparison("x", &[METER]);
    compared.title = text();
    compared.reference = text();
    compared.command = text();
    compared.rows[0].label = text();
    let page = render(HOSTILE, &[hostile, other], &[compared]);
    is_good(&page);
    assert!(!page.contains("alert('1')"));
    assert!(!page.contains(['\u{202E}', '\u{0}']));
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)"));
}

#[test]
fn what_is_missing_is_said_in_a_sentence() {
    let page = render("Bare", &[bare()], &[]);
    is_good(&page);
    for sentence in [
        "No histogram that can be read came with bare.",
        "No run came with a timeline, so there is nothing to draw over time.",
        "All runs had 64\u{a0}tasks, so there is no line over tasks.",
        "All runs had 1\u{a0}process, so there is no line over processes.",
        "No call failed in any run.",
        "there is no comparison in this report",
        "No run had more than one process",
        "No run had readers beside the writers.",
        "These engines tell nothing of themselves.",
        "The files do not tell with which command they were made.",
    ] {
        assert!(page.contains(sentence), "not in the page: {sentence}");
    }
    assert!(!page.contains("<figure"), "a chart of nothing");
    assert!(render("Nothing", &[], &[]).contains("There are no runs in this report."));
}

#[test]
fn figures_without_sense_draw_no_broken_chart() {
    let mut odd = run(&METER);
    odd.ops_per_s = f64::NAN;
    odd.duration_s = 0.0;
    odd.fairness = Some(f64::INFINITY);
    odd.timeline[3].at_s = f64::NAN;
    odd.timeline[5].at_s = 1e12;
    odd.timeline[6].p99_us = None;
    odd.timeline[7].max_us = Some(u64::MAX);
    for (slice, mean) in [f64::NAN, f64::INFINITY, -1.0].into_iter().enumerate() {
        let told = Told {
            count: u64::MAX,
            mean,
            max: mean,
        };
        odd.timeline[slice].metrics = [("é_seconds".to_owned(), told)].into();
    }
    let mut none = run(&Shape { tasks: 8, ..METER });
    none.ops_per_s = 0.0;
    none.histogram = "AAAA".to_owned();
    let mut compared = comparison("Odd", &[METER, METER]);
    compared.rows[0].ops_per_s_median = 0.0;
    compared.rows[0].ops_per_s_min = f64::NAN;
    compared.rows[0].ratio = Some(f64::NAN);
    compared.rows[1].runs.clear();
    is_good(&render("Odd", &[odd, none], &[compared]));
}

#[test]
fn a_run_that_failed_its_check_is_marked_wherever_it_is() {
    let good = render("Good", &[run(&METER)], &[]);
    assert!(good.contains("✓ 1\u{a0}run verified"));
    assert!(!good.contains("role=\"alert\"") && !good.contains("not verified"));

    let page = render(
        "Bad",
        &[unverified(run(&METER)), run(&Shape { tasks: 8, ..METER })],
        &[],
    );
    is_good(&page);
    assert!(page.contains("✗ 1 of 2 runs did not pass the check"));
    assert!(page.contains("operations were acknowledged, the database holds"));
    assert!(page.contains("class=\"card failed\""));
    let legends = page.matches("<strong class=\"bad\">✗ not verified</strong></span></li>");
    assert!(
        legends.count() >= 4,
        "in the legend of every chart that has the run"
    );

    let mut compared = comparison("Rows", &[METER, METER]);
    compared.rows[1].verified = false;
    let page = render("Bad", &[], &[compared]);
    assert!(page.contains("role=\"alert\"") && page.contains("<tr class=\"failed\">"));
}

#[test]
fn many_runs_are_dealt_out_to_charts_that_can_be_read() {
    let page = render("Many", &[], &[large()]);
    let figures = page.split("<figure").skip(1);
    let mut charts = 0;
    for figure in figures {
        let lines = figure
            .split("</figure>")
            .next()
            .map_or(0, |chart| chart.matches("<li>").count());
        assert!((1..=8).contains(&lines), "{lines} lines in a chart");
        charts += 1;
    }
    assert!(charts > 20, "{charts}");
    assert!(page.contains("1\u{a0}process × 64\u{a0}tasks, zipf:1.1 keys, closed loop, synchronous full (1 of 2, fastest first)"));
}

/// Writes pages to look at: `ROAS_REPORT_SAMPLES=<folder> cargo test -- --ignored samples`.
#[test]
#[ignore = "writes files for a person to look at"]
fn samples() {
    let folder = std::path::PathBuf::from(
        std::env::var_os("ROAS_REPORT_SAMPLES").expect("ROAS_REPORT_SAMPLES names a folder"),
    );
    let several: Vec<RunResult> = [(8, 1), (64, 1), (256, 1), (16, 4), (16, 8)]
        .into_iter()
        .map(|(tasks, processes)| {
            let ops_per_s = 60_000.0 * f64::from(tasks * processes).powf(0.33);
            run(&Shape {
                tasks,
                processes,
                ops_per_s,
                seed: tasks.into(),
                ..METER
            })
        })
        .chain([
            unverified(run(&Shape {
                engine: "original",
                ops_per_s: 17_000.0,
                p50_us: 3_700.0,
                ..METER
            })),
            run(&Shape {
                engine: "baseline",
                ops_per_s: 2_900.0,
                p50_us: 300.0,
                failing: 0.21,
                ..METER
            }),
        ])
        .map(with_details)
        .collect();
    let pages = [
        ("one", render("One run", &[with_details(run(&METER))], &[])),
        (
            "several",
            render("Activity meter: load test", &several, &[]),
        ),
        (
            "compare",
            render(
                "Activity meter: engines compared",
                &[],
                &[comparison(
                    "64 tasks, one process",
                    &shapes(64, 1, "full")[..6],
                )],
            ),
        ),
        (
            "large",
            render("Activity meter: full comparison", &[], &[large()]),
        ),
        ("bare", render("Bare", &[bare()], &[])),
    ];
    for (name, page) in pages {
        std::fs::write(folder.join(format!("{name}.html")), page)
            .expect("the folder can be written");
    }
}
