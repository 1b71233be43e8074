//! One batch of 1, 50 and 500 events through the repository, one commit each.
//!
//! `normal` and `full` differ by one sync of the disk a batch.

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use roas_bench::operations::Stream;
use roas_bench::scenario::Scenario;
use roas_db::{Config, Database, Durability};
use roas_domain::{ActivityEvent, ActivityRepository};
use tokio::runtime::Runtime;

fn batch(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for durability in [Durability::Normal, Durability::Full] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = Config::new(folder.path().join("roas.db")).durability(durability);
        let database = runtime.block_on(Database::open(config)).expect("opens");
        let repository: Arc<dyn ActivityRepository> = Arc::new(database.repository());
        let members = Arc::new(Scenario::default().all_members());
        let mut events = Stream::new(members, 1, 0).map(|operation| operation.event());
        let mut group = criterion.benchmark_group(format!("one batch, {}", durability.name()));
        for size in [1, 50, 500] {
            group.throughput(Throughput::Elements(size));
            group.bench_with_input(
                BenchmarkId::from_parameter(size),
                &size,
                |bencher, &size| {
                    bencher.iter_batched(
                        || -> Vec<ActivityEvent> {
                            let size = usize::try_from(size).expect("small");
                            events.by_ref().take(size).collect()
                        },
                        |events| {
                            runtime
                                .block_on(repository.record_many(events))
                                .expect("recorded")
                        },
                        BatchSize::SmallInput,
                    );
                },
            );
        }
        group.finish();
        drop(repository);
        runtime.block_on(database.close()).expect("closes");
    }
}

criterion_group!(benches, batch);
criterion_main!(benches);
