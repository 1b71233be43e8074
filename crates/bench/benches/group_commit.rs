#![expect(clippy::print_stdout, reason = "the figures are the result")]
//! Group commit against one upsert a transaction, side by side.
//!
//! 256 tasks record messages of 5 × 1,000 members through the port, each waiting for its commit;
//! against one connection that upserts the same members' scores, one transaction each. Both under
//! `synchronous=FULL`, both WAL. The two take turns; medians and their ratio are printed.
//!
//! The same with a recorder of the metrics, for what telling costs: without one, as here otherwise, the
//! facade has nobody to tell.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use roas_bench::engine::MetricsRecorder;
use roas_bench::operations::Stream;
use roas_bench::scenario::Scenario;
use roas_db::{Config, Database};
use roas_domain::{ActivityEvent, ActivityRepository, ScoreDelta};
use rusqlite::Connection;

const ROUNDS: usize = 7;
const TASKS: u32 = 256;
const EVENTS_PER_TASK: u32 = 1_000;
const RAW_UPSERTS: u32 = 10_000;

/// What is measured, by its name: operations a second.
type Case = (&'static str, fn() -> f64);

fn main() {
    // `cargo test` runs benchmarks once, for a sign of life.
    let once = std::env::args().any(|argument| argument == "--test");
    let rounds = if once { 1 } else { ROUNDS };
    let cases: [Case; 5] = [
        (
            "one upsert a transaction, one connection",
            one_upsert_a_transaction,
        ),
        ("adjust_score, 256 tasks", || through_the_port(false, None)),
        ("adjust_score, metrics recorded", || {
            through_the_port(false, Some(&MetricsRecorder::default()))
        }),
        ("record, 256 tasks", || through_the_port(true, None)),
        ("record, metrics recorded", || {
            through_the_port(true, Some(&MetricsRecorder::default()))
        }),
    ];
    let mut measured = cases.map(|_| Vec::new());
    for round in 0..rounds {
        for turn in 0..cases.len() {
            let case = (turn + round) % cases.len();
            measured[case].push(cases[case].1());
        }
        let figures = measured
            .iter()
            .map(|rounds| format!("{:.0}/s", rounds[round]));
        println!(
            "round {}: {}",
            round + 1,
            figures.collect::<Vec<_>>().join(", ")
        );
    }
    println!("median of {rounds} rounds, synchronous=FULL");
    let medians = measured.map(median);
    for ((name, _), median) in cases.iter().zip(medians) {
        println!(
            "  {name:42} {median:>10.0}/s  {:>6.1} x",
            median / medians[0]
        );
    }
    let nobody = telling_ns(once);
    let recorder = MetricsRecorder::default();
    let listened_to = metrics::with_local_recorder(&recorder, || telling_ns(once));
    println!("what a transaction tells, alone: {nobody:.1} ns, recorded {listened_to:.1} ns");
}

/// How long it takes to tell what one transaction does: a gauge, and the histograms of its wait, its
/// events and its commit.
fn telling_ns(once: bool) -> f64 {
    let depth = metrics::gauge!(roas_db::metrics::QUEUE_DEPTH);
    let histograms = [
        metrics::histogram!(roas_db::metrics::QUEUE_WAIT),
        metrics::histogram!(roas_db::metrics::TRANSACTION_EVENTS),
        metrics::histogram!(roas_db::metrics::COMMIT),
    ];
    let times: u32 = if once { 1 } else { 1_000_000 };
    let started = Instant::now();
    for time in 0..times {
        let value = f64::from(black_box(time)) * 1e-9;
        depth.set(value);
        for histogram in &histograms {
            histogram.record(value);
        }
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

/// What the task of this number sends: Zipf's law over 5 × 1,000 members, seeded.
fn messages(task: u32) -> impl Iterator<Item = ActivityEvent> + Send {
    let members = Arc::new(Scenario::default().all_members());
    Stream::new(members, 1, task).map(|operation| operation.event())
}

fn through_the_port(full_rule: bool, recorder: Option<&MetricsRecorder>) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let opening = Database::open(Config::new(folder.path().join("roas.db")));
        let database = match recorder {
            Some(recorder) => recorder.with_recorder(opening).await,
            None => opening.await,
        };
        let database = database.expect("opens");
        let repository: Arc<dyn ActivityRepository> = Arc::new(database.repository());
        let started = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let repository = Arc::clone(&repository);
                let events = messages(task).take(EVENTS_PER_TASK as usize);
                let delta = ScoreDelta::new(1.0).expect("a delta");
                tokio::spawn(async move {
                    for event in events {
                        if full_rule {
                            black_box(repository.record(event).await.expect("recorded"));
                        } else {
                            let adjusted = repository.adjust_score(event.member, delta, event.at);
                            black_box(adjusted.await.expect("adjusted"));
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let elapsed = started.elapsed();
        let counted = repository.counts().await.expect("counts").messages;
        let expected = if full_rule {
            TASKS * EVENTS_PER_TASK
        } else {
            0
        };
        assert_eq!(counted, u64::from(expected));
        database.close().await.expect("closes");
        per_second(TASKS * EVENTS_PER_TASK, elapsed.as_secs_f64())
    })
}

fn one_upsert_a_transaction() -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let connection = open_raw(&folder.path().join("raw.db"));
    let mut upsert = connection
        .prepare(
            "INSERT INTO activity_meter (guild_id, user_id, score, last_msg) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (guild_id, user_id) DO UPDATE SET
                 score = min(100.0, max(0.0, score + excluded.score)),
                 last_msg = max(last_msg, excluded.last_msg)",
        )
        .expect("prepares");
    let started = Instant::now();
    for event in messages(0).take(RAW_UPSERTS as usize) {
        upsert
            .execute((
                event.member.guild.to_i64(),
                event.member.user.to_i64(),
                1.0,
                event.at.get(),
            ))
            .expect("upserts");
    }
    per_second(RAW_UPSERTS, started.elapsed().as_secs_f64())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the yardstick is SQLite without the adapter"
)]
fn open_raw(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE activity_meter (
                 guild_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
                 score REAL NOT NULL, last_msg INTEGER NOT NULL,
                 PRIMARY KEY (guild_id, user_id)
             ) STRICT, WITHOUT ROWID",
        )
        .expect("sets up");
    connection
}

fn per_second(operations: u32, seconds: f64) -> f64 {
    f64::from(operations) / seconds
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
