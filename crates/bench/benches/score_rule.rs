//! The score rule alone: what one event costs before any store comes into it.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use roas_bench::keys::{Keys, Members};
use roas_bench::operations::Stream;
use roas_domain::{ActivityRecord, GuildTimeZone, ScoreRules};

fn score_rule(criterion: &mut Criterion) {
    let members = Arc::new(Members::new(1, 1, Keys::Uniform));
    let mut events = Stream::new(members, 1, 0).map(|operation| operation.event());
    let rules = ScoreRules::default();
    let mut record = None;
    criterion.bench_function("score rule, one event", |bencher| {
        bencher.iter(|| {
            let event = events.next().expect("streams do not end");
            let (after, outcome) = ActivityRecord::after_event(record, black_box(&event), &rules);
            record = Some(after);
            black_box(outcome)
        });
    });

    let at = events.next().expect("streams do not end").at;
    for name in ["UTC", "Asia/Taipei", "America/New_York"] {
        let zone = GuildTimeZone::new(name).expect("a known zone");
        criterion.bench_function(&format!("day of a message, {name}"), |bencher| {
            bencher.iter(|| black_box(zone.day_of(black_box(at))));
        });
    }
}

fn offering(criterion: &mut Criterion) {
    for keys in ["uniform", "zipf:1.1", "hot:10"] {
        let members = Members::new(5, 1_000, keys.parse().expect("a way of drawing"));
        let mut stream = Stream::new(Arc::new(members), 1, 0);
        criterion.bench_function(&format!("the tester's next operation, {keys}"), |bencher| {
            bencher.iter(|| black_box(stream.next()));
        });
    }
}

criterion_group!(benches, score_rule, offering);
criterion_main!(benches);
