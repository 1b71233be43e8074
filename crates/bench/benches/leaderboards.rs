//! The ten greatest scores, and a member's rank, in a guild of 1,000 and of 100,000 members; of a
//! million with `ROAS_BENCH_MILLION=1`, which first takes a minute to fill.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use roas_bench::keys::{Keys, Members};
use roas_bench::operations::begins_at;
use roas_db::{Config, Database, Durability};
use roas_domain::{
    ActivityEvent, ActivityRepository, LeaderboardLimit, MAX_EVENTS_PER_CALL, UnixSeconds,
};
use tokio::runtime::Runtime;

/// Over how long the members' last messages are spread: so long that some scores have fallen to 0.
const SPREAD_S: i64 = 3_600;

fn leaderboards(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let million = std::env::var_os("ROAS_BENCH_MILLION").map(|_| 1_000_000);
    for size in [1_000, 100_000].into_iter().chain(million) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = Config::new(folder.path().join("roas.db")).durability(Durability::Normal);
        let database = runtime.block_on(Database::open(config)).expect("opens");
        let repository: Arc<dyn ActivityRepository> = Arc::new(database.repository());
        let members = Members::new(1, size, Keys::Uniform);
        runtime.block_on(fill(&*repository, &members));

        let guild = members.guilds().next().expect("one guild");
        let at = begins_at();
        criterion.bench_with_input(
            BenchmarkId::new("top 10", size),
            &guild,
            |bencher, guild| {
                bencher.iter(|| {
                    let top = repository.top_scores(*guild, at, LeaderboardLimit::default());
                    black_box(runtime.block_on(top).expect("read"))
                });
            },
        );
        let mut rng = Rng::with_seed(7);
        criterion.bench_function(&format!("rank/{size}"), |bencher| {
            bencher.iter(|| {
                let rank = repository.score_rank(members.draw(&mut rng), at);
                black_box(runtime.block_on(rank).expect("read"))
            });
        });
        criterion.bench_function(&format!("member/{size}"), |bencher| {
            bencher.iter(|| {
                let member = repository.find_member(members.draw(&mut rng));
                black_box(runtime.block_on(member).expect("read"))
            });
        });
        drop(repository);
        runtime.block_on(database.close()).expect("closes");
    }
}

/// Gives each member one to three messages, at times that differ.
async fn fill(repository: &dyn ActivityRepository, members: &Members) {
    let mut rng = Rng::with_seed(1);
    let mut some = Vec::with_capacity(MAX_EVENTS_PER_CALL);
    for member in members.all() {
        let first = rng.i64(0..SPREAD_S / 2);
        for message in 0..rng.i64(1..=3) {
            let at: UnixSeconds = begins_at().saturating_add(first + message * 120 - SPREAD_S);
            some.push(ActivityEvent {
                id: None,
                member,
                at,
            });
            if some.len() == MAX_EVENTS_PER_CALL {
                let full = std::mem::take(&mut some);
                repository.record_many(full).await.expect("recorded");
            }
        }
    }
    repository.record_many(some).await.expect("recorded");
}

criterion_group!(benches, leaderboards);
criterion_main!(benches);
