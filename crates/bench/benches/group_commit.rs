#![expect(clippy::print_stdout, reason = "the figures are the result")]
//! Group commit against one upsert a transaction, side by side.
//!
//! 256 tasks record messages of 5 × 1,000 members through the port, each waiting for its commit;
//! against one connection that upserts the same members' scores, one transaction each. Both under
//! `synchronous=FULL`, both WAL. The two take turns; medians and their ratio are printed.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use roas_bench::operations::Stream;
use roas_bench::scenario::Scenario;
use roas_db::{Config, Database};
use roas_domain::{ActivityEvent, ActivityRepository, ScoreDelta};
use rusqlite::Connection;

const ROUNDS: usize = 7;
const TASKS: u32 = 256;
const EVENTS_PER_TASK: u32 = 1_000;
const RAW_UPSERTS: u32 = 10_000;

fn main() {
    // `cargo test` runs benchmarks once, for a sign of life.
    let once = std::env::args().any(|argument| argument == "--test");
    let rounds = if once { 1 } else { ROUNDS };
    let (mut raw, mut adjust, mut record) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        raw.push(one_upsert_a_transaction());
        adjust.push(through_the_port(false));
        record.push(through_the_port(true));
        println!(
            "round {}: raw {:.0}/s, adjust {:.0}/s, record {:.0}/s",
            round + 1,
            raw[round],
            adjust[round],
            record[round]
        );
    }
    let (raw, adjust, record) = (median(raw), median(adjust), median(record));
    println!("median of {rounds} rounds, synchronous=FULL");
    println!("  one upsert a transaction, one connection {raw:>10.0}/s");
    println!(
        "  adjust_score, {TASKS} tasks                {adjust:>10.0}/s  {:>6.1} x",
        adjust / raw
    );
    println!(
        "  record, {TASKS} tasks                      {record:>10.0}/s  {:>6.1} x",
        record / raw
    );
}

/// What the task of this number sends: Zipf's law over 5 × 1,000 members, seeded.
fn messages(task: u32) -> impl Iterator<Item = ActivityEvent> + Send {
    let members = Arc::new(Scenario::default().all_members());
    Stream::new(members, 1, task).map(|operation| operation.event())
}

fn through_the_port(full_rule: bool) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(Config::new(folder.path().join("roas.db")))
            .await
            .expect("opens");
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
