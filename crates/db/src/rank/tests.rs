//! Ranks in guilds of many shapes: exact, and without reading many members. What is read is counted in
//! instructions of SQLite's: a member takes about 25.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use proptest::prelude::*;
use roas_domain::testing::fixtures::{MIDNIGHT, at, guild, member, score};
use roas_domain::{ActivityRecord, GuildId, GuildRules, Rank, ScoreRules, UnixSeconds};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::buckets::KEY_BUCKETS;
use super::maintain::FEW;
use super::{
    Change, CountChanges, Health, Ranks, discard, find_guild, health, put_guild, rank, sample, top,
    verify,
};
use crate::Config;
use crate::connection::ConnectionFactory;
use crate::migration::migrate;
use crate::sql::WriteStatements;

const MEMBERS: usize = 6_000;

const HOUR: i64 = 3_600;

/// A guild's one file, without a writer.
struct Guild {
    _folder: TempDir,
    connection: Connection,
    instructions: Arc<AtomicU64>,
    id: GuildId,
    rules: ScoreRules,
    members: Vec<ActivityRecord>,
}

impl Guild {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("roas.db"));
        migrate(&config).unwrap();
        let factory = ConnectionFactory::new(&config).unwrap();
        let (mut connection, _) = factory.open_writer().unwrap();
        let instructions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&instructions);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(count)).unwrap();
        Self {
            _folder: folder,
            connection,
            instructions,
            id: guild(1),
            rules: ScoreRules::default(),
            members: Vec::new(),
        }
    }

    /// A guild of this shape at a time, with ranks made for it.
    fn shaped(shape: Shape, now: i64) -> Self {
        let mut guild = Self::new();
        guild.turn_into(shape, now);
        guild.build_ranks(now);
        guild
    }

    /// Runs one transaction.
    fn change(&self, change: impl FnOnce(&Self, &mut Ranks<'_>)) {
        let transaction = self.connection.unchecked_transaction().unwrap();
        let mut state = find_guild(&self.connection, self.id).unwrap();
        let mut changes = CountChanges::default();
        let mut ranks = Ranks {
            connection: &self.connection,
            guild: self.id,
            rules: &self.rules,
            state: &mut state,
            changes: &mut changes,
        };
        change(self, &mut ranks);
        changes.flush(&self.connection).unwrap();
        put_guild(&self.connection, self.id, &mut state).unwrap();
        transaction.commit().unwrap();
    }

    /// Puts members in the place of others, or behind them.
    fn put(&mut self, members: Vec<ActivityRecord>) {
        self.change(|guild, ranks| {
            for (index, after) in members.iter().enumerate() {
                let before = guild.members.get(index).copied();
                guild
                    .connection
                    .prepare_cached("REPLACE INTO activity_meter VALUES (?1, ?2, ?3, ?4, ?5)")
                    .unwrap()
                    .execute(params![
                        guild.id.to_i64(),
                        after.member.user.to_i64(),
                        after.score.get(),
                        after.last_message_at.get(),
                        after.messages.cast_signed()
                    ])
                    .unwrap();
                let change = Change {
                    before,
                    after: *after,
                };
                ranks.apply(&change).unwrap();
            }
        });
        let rest = self
            .members
            .split_off(members.len().min(self.members.len()));
        self.members = members.into_iter().chain(rest).collect();
    }

    fn turn_into(&mut self, shape: Shape, now: i64) {
        let mut rng = Rng::with_seed(7);
        let record = |index: usize| record(index, shape(&mut rng, index), now);
        self.put((0..MEMBERS).map(record).collect());
    }

    /// What the maintenance does for a guild that has none.
    fn build_ranks(&self, now: i64) {
        let buckets = sample(&self.connection, self.id, at(now)).unwrap();
        self.change(|_, ranks| {
            discard(ranks.state);
            while ranks.step(at(now)).unwrap() {}
            ranks.begin(&buckets, at(now)).unwrap();
            while ranks.step(at(now)).unwrap() {}
        });
        assert_eq!(verify(&self.connection, self.id).unwrap(), None);
    }

    /// Asks for the ranks of one member in so many, and for the ten best: they are those that the
    /// domain's rules give. Answers the most that a question took.
    fn look(&self, time: UnixSeconds, step: usize) -> u64 {
        let mut places: Vec<_> = self
            .members
            .iter()
            .map(|record| {
                let score = self
                    .rules
                    .decayed(record.score, record.last_message_at, time);
                (Reverse(score), record.member.user, record)
            })
            .collect();
        places.sort_unstable_by_key(|(score, user, _)| (*score, *user));
        let mut most = 0;
        let mut count = || most = self.instructions.swap(0, Ordering::Relaxed).max(most);
        let members = places.len() as u64;
        for (above, (score, _, record)) in (0..).zip(&places).step_by(step) {
            self.instructions.store(0, Ordering::Relaxed);
            let asked = rank(&self.connection, record, &self.rules, time).unwrap();
            count();
            let position = above + 1;
            let expected = Rank { position, members };
            assert_eq!(
                asked,
                Some(expected),
                "{record:?} with {score:?} at {time:?}"
            );
        }
        let best = top(&self.connection, self.id, &self.rules, time, 10).unwrap();
        count();
        let best: Vec<_> = best
            .unwrap()
            .iter()
            .map(|entry| (entry.score, entry.user))
            .collect();
        let expected = places.iter().map(|(score, user, _)| (score.0, *user));
        assert_eq!(best, expected.take(10).collect::<Vec<_>>(), "{time:?}");
        most
    }

    /// The most that a rank or the ten best take, now and when those in grace decay.
    fn most(&self, now: i64) -> u64 {
        let looked = [0, 40, 290, 700, 4_000].map(|later| self.look(at(now + later), 97));
        looked.into_iter().max().unwrap()
    }
}

fn record(index: usize, (stored, ago): (f64, i64), now: i64) -> ActivityRecord {
    ActivityRecord {
        member: member(1, (index as u64 + 1) << 22),
        score: score(stored),
        last_message_at: at(now - ago),
        messages: 1,
    }
}

/// What a rank may take that reads so many members, and the counts of all key buckets.
const fn allowed(members: u64) -> u64 {
    25 * members + 60 * KEY_BUCKETS as u64
}

/// With bounds that were chosen for the guild.
const FEW_AT_FIRST: u64 = allowed(MEMBERS as u64 / 24);

/// With ranks that need no rebuild: a key bucket and a score bucket.
const FEW_KEPT: u64 = allowed(2 * FEW);

/// A member's stored score, and how many seconds ago the last message was.
type Shape = fn(&mut Rng, usize) -> (f64, i64);

const SHAPES: [(&str, Shape); 9] = [
    ("all over", |rng, _| {
        (rng.f64() * 100.0, rng.i64(0..16 * HOUR))
    }),
    ("one message each, by user id", |_, index| {
        (
            1.0,
            i64::try_from((MEMBERS - index) * 1_800 / MEMBERS).unwrap(),
        )
    }),
    ("nine in ten within a point", |rng, _| {
        if rng.u8(..) < 230 {
            (50.0 + rng.f64(), rng.i64(0..HOUR / 2))
        } else {
            (rng.f64() * 100.0, rng.i64(0..720 * HOUR))
        }
    }),
    ("all at the maximum, in grace", |rng, _| {
        (100.0, rng.i64(0..300))
    }),
    ("all the same", |_, _| (50.0, 400)),
    ("one of two", |rng, _| {
        if rng.bool() { (50.0, 400) } else { (49.0, 200) }
    }),
    ("nearly all faded", |rng, _| {
        let ago = if rng.u8(..) > 0 { 700 * HOUR } else { 0 };
        (rng.f64() * 10.0, ago + rng.i64(0..HOUR))
    }),
    ("all in the last minutes", |rng, _| {
        (f64::from(rng.u8(1..6)), rng.i64(0..120))
    }),
    ("few far above", |rng, _| {
        if rng.u8(..) > 0 {
            (1.0 + rng.f64(), rng.i64(0..HOUR / 4))
        } else {
            (100.0, rng.i64(0..HOUR))
        }
    }),
];

const NOW: i64 = MIDNIGHT + 1_000 * HOUR;

#[test]
fn a_rank_reads_few_members_in_any_shape() {
    for (name, shape) in SHAPES {
        let most = Guild::shaped(shape, NOW).most(NOW);
        assert!(most <= FEW_AT_FIRST, "{name}: {most} of {FEW_AT_FIRST}");
    }
}

#[test]
fn the_ranks_of_a_guild_that_changes_its_shape_are_rebuilt() {
    let (_, first) = SHAPES[0];
    let later = NOW + HOUR;
    let mut rebuilt = Vec::new();
    for (name, shape) in SHAPES {
        let mut guild = Guild::shaped(first, NOW);
        guild.turn_into(shape, later);
        let crowded = guild.most(later);
        if health(&guild.connection, guild.id).unwrap() == Health::Good {
            assert!(crowded <= FEW_KEPT, "{name}: {crowded} of {FEW_KEPT}");
            continue;
        }
        guild.build_ranks(later);
        let most = guild.most(later);
        assert!(most <= FEW_AT_FIRST, "{name}: {most} of {FEW_AT_FIRST}");
        rebuilt.push(name);
    }
    assert!(rebuilt.contains(&"all the same"), "{rebuilt:?}");
}

#[test]
fn the_ten_best_of_equals_are_found_without_reading_all() {
    let guild = Guild::shaped(|_, _| (50.0, 400), NOW);
    for later in [0, 4_000] {
        guild.instructions.store(0, Ordering::Relaxed);
        let best = top(
            &guild.connection,
            guild.id,
            &guild.rules,
            at(NOW + later),
            10,
        )
        .unwrap();
        assert_eq!(best.map(|best| best.len()), Some(10));
        let took = guild.instructions.load(Ordering::Relaxed);
        assert!(
            took < allowed(MEMBERS as u64 / 24),
            "{took} after {later} s"
        );
    }
}

/// Few kinds of members, so that many are the same in one thing or in all.
fn kinds() -> impl Strategy<Value = Vec<(f64, i64)>> {
    let score = prop_oneof![
        prop::sample::select(vec![0.0, 1.0, 1.5, 2.0, 100.0]),
        0.0..3.0_f64,
    ];
    let ago = prop_oneof![
        prop::sample::select(vec![0, 1, 299, 300, 301, 600, 900, 901]),
        0_i64..2_000,
    ];
    prop::collection::vec((score, ago), 1..5)
}

/// So many members, each of one of the kinds.
fn members(kinds: &[(f64, i64)], number: usize, seed: u64, now: i64) -> Vec<ActivityRecord> {
    let mut rng = Rng::with_seed(seed);
    (0..number)
        .map(|index| record(index, kinds[rng.usize(..kinds.len())], now))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn members_of_few_kinds_rank_exactly(
        (before, after) in (kinds(), kinds()),
        changed in 0_usize..800,
        per_hour in prop::sample::select(vec![0.0, 1e-9, 6.0, 60.0, 3_600.0]),
        seed in any::<u64>(),
    ) {
        let mut guild = Guild::new();
        guild.rules = guild.rules.with_decay_per_hour(per_hour).unwrap();
        let rules = GuildRules { score: guild.rules, ..GuildRules::default() };
        WriteStatements::prepare(&guild.connection)
            .unwrap()
            .put_rules(guild.id, &rules)
            .unwrap();
        guild.put(members(&before, 600, seed, NOW));
        guild.build_ranks(NOW);
        guild.put(members(&after, changed, seed.wrapping_add(1), NOW + 10));
        for later in [0, 10, 289, 300, 310, 900, 3_000] {
            guild.look(at(NOW + later), 13);
        }
    }
}
