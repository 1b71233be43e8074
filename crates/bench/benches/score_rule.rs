//! The score rule alone: what one event costs before any store comes into it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use roas_bench::Workload;
use roas_domain::{ActivityRecord, GuildTimeZone, ScoreRules};

fn score_rule(criterion: &mut Criterion) {
    let rules = ScoreRules::default();
    let mut workload = Workload::new(1, 1, 1, 0);
    let mut record = None;
    criterion.bench_function("score rule, one event", |bencher| {
        bencher.iter(|| {
            let event = workload.next_event();
            let (after, outcome) = ActivityRecord::after_event(record, black_box(&event), &rules);
            record = Some(after);
            black_box(outcome)
        });
    });

    let at = workload.next_event().at;
    for name in ["UTC", "Asia/Taipei", "America/New_York"] {
        let zone = GuildTimeZone::new(name).expect("a known zone");
        criterion.bench_function(&format!("day of a message, {name}"), |bencher| {
            bencher.iter(|| black_box(zone.day_of(black_box(at))));
        });
    }
}

criterion_group!(benches, score_rule);
criterion_main!(benches);
