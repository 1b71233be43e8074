//! Buckets of keys, of stored scores and of user ids: their bounds, and how many members are in each.

use std::cmp::Reverse;
use std::ops::Range;

use roas_domain::{ActivityRecord, MAX_SCORE_LIMIT, Score, ScoreRules, UnixSeconds};

/// Key buckets over the members that a guild has when its bounds are chosen. The members of one are
/// read row by row for a rank.
pub(super) const KEY_BUCKETS: usize = 128;

/// Key buckets above the greatest key, for what will be recorded: keys rise with time. So many have
/// the width that the newest buckets have, enough for the guild's members to be replaced twice.
const NEXT_BUCKETS: usize = 256;

/// And behind them so many, each wider than the one before by [`WIDENING`]. Together they are 10,000
/// times as wide as one, so that few members share the last bucket, which has no end.
const WIDENING_BUCKETS: usize = 128;
const WIDENING: f64 = 1.05;

/// Score buckets, and as many user buckets, by which the members of a key bucket are counted. The
/// members of one are read for a rank, too. Together as many as a byte tells apart.
pub(super) const BUCKETS: usize = 128;

/// A cell is a score bucket in a key bucket; so many are in one.
const CELLS: i64 = 128;

/// Bounds of score buckets that do not depend on the members, from a quarter of a message's score
/// upwards: all members of a new guild have the same score, and will have others.
const FIXED_BOUNDS: i32 = 16;

/// Sorts as a leaderboard does: the greater score first, equal scores by user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByScore {
    score: Reverse<Score>,
    pub(super) user: i64,
}

impl ByScore {
    pub(super) const fn new(score: Score, user: i64) -> Self {
        Self {
            score: Reverse(score),
            user,
        }
    }

    pub(super) const fn score(&self) -> Score {
        self.score.0
    }

    /// By the score as it is stored.
    pub(super) const fn stored(record: &ActivityRecord) -> Self {
        Self::new(record.score, record.member.user.to_i64())
    }
}

/// Into which buckets a guild's members are counted, under which rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    /// Points a second.
    pub(super) rate: f64,
    /// Seconds.
    pub(super) grace: i64,
    /// Where key buckets begin, all but the first.
    keys: Vec<f64>,
    /// Where score buckets begin, all but the first; the greatest scores are in the first.
    scores: Vec<ByScore>,
    /// Where user buckets begin, all but the first.
    users: Vec<i64>,
}

impl Buckets {
    /// Bounds by which each bucket holds like numbers of a guild's users, and of those members who have a
    /// score, as far as they differ.
    pub(super) fn for_members(
        with_score: &[ActivityRecord],
        mut users: Vec<i64>,
        rules: &ScoreRules,
        now: UnixSeconds,
    ) -> Self {
        let mut buckets = Self {
            rate: rules.decay_per_second(),
            grace: rules.decay_after_seconds(),
            keys: Vec::new(),
            scores: Vec::new(),
            users: Vec::new(),
        };
        let mut keys: Vec<_> = with_score
            .iter()
            .map(|record| buckets.key(record))
            .collect();
        keys.sort_unstable_by(f64::total_cmp);
        buckets.keys = key_bounds(&keys, rules, now);
        let mut scores: Vec<_> = with_score.iter().map(ByScore::stored).collect();
        scores.sort_unstable();
        let least = rules.first_score().get() / 4.0;
        let mut above = None;
        let parts = BUCKETS - FIXED_BOUNDS.unsigned_abs() as usize;
        let by_members = quantiles(&scores, parts).map(|bound| {
            // No bucket has greater scores beside those of a score that many members have.
            let is_new = above.replace(bound.score()) != Some(bound.score());
            ByScore::new(bound.score(), if is_new { 0 } else { bound.user })
        });
        let fixed = (0..FIXED_BOUNDS).map(|bound| score(least * 1.5_f64.powi(bound)));
        buckets.scores = by_members
            .chain(fixed.map(|score| ByScore::new(score, 0)))
            .collect();
        buckets.scores.sort_unstable();
        buckets.scores.dedup();
        users.sort_unstable();
        buckets.users = quantiles(&users, BUCKETS).collect();
        buckets.users.dedup();
        buckets
    }

    /// Whether ranks that are kept by these buckets are right under `rules`.
    pub(super) fn are_by(&self, rules: &ScoreRules) -> bool {
        self.rate.to_bits() == rules.decay_per_second().to_bits()
            && self.grace == rules.decay_after_seconds()
    }

    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn key(&self, record: &ActivityRecord) -> f64 {
        record.score.get() + self.rate * record.last_message_at.get() as f64
    }

    /// The key of a member whose score is decaying and 0 at this very time.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    pub(super) fn key_of_zero(&self, at: UnixSeconds) -> f64 {
        self.rate * (at.get() - self.grace) as f64
    }

    /// How far a key in floating point may be off. Keys and decayed scores are a handful of operations,
    /// each exact to 2^-53 of its result, and no result is above the sum here.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    pub(super) fn tolerance(&self) -> f64 {
        (MAX_SCORE_LIMIT + self.rate * UnixSeconds::MAX.get() as f64) * 2.0_f64.powi(-48)
    }

    pub(super) fn key_bucket(&self, record: &ActivityRecord) -> i64 {
        self.bucket_of_key(self.key(record))
    }

    pub(super) fn bucket_of_key(&self, key: f64) -> i64 {
        index(self.keys.partition_point(|bound| *bound <= key))
    }

    pub(super) fn score_bucket(&self, place: ByScore) -> i64 {
        index(self.scores.partition_point(|bound| *bound <= place))
    }

    pub(super) fn user_bucket(&self, user: i64) -> usize {
        self.users.partition_point(|bound| *bound <= user)
    }

    /// The keys of a key bucket.
    pub(super) fn keys_of(&self, bucket: i64) -> Range<f64> {
        let bound = |bucket: i64| self.keys.get(usize::try_from(bucket).ok()?).copied();
        bound(bucket - 1).unwrap_or(f64::NEG_INFINITY)..bound(bucket).unwrap_or(f64::INFINITY)
    }

    /// The cell of a member: the key bucket and, in that, the score bucket.
    pub(super) fn cell(&self, record: &ActivityRecord) -> i64 {
        cells_of(self.key_bucket(record)).start + self.score_bucket(ByScore::stored(record))
    }

    /// Where a score bucket starts, and where the next one does.
    pub(super) fn scores_of(&self, bucket: i64) -> (ByScore, ByScore) {
        let bound = |bound: i64| self.scores.get(usize::try_from(bound).ok()?).copied();
        let (start, end) = (bound(bucket - 1), bound(bucket));
        (
            start.unwrap_or(ByScore::new(score(MAX_SCORE_LIMIT), 0)),
            end.unwrap_or(ByScore::new(Score::ZERO, i64::MAX)),
        )
    }

    /// The first user id of a user bucket.
    pub(super) fn first_user(&self, bucket: usize) -> i64 {
        bucket.checked_sub(1).map_or(0, |bound| self.users[bound])
    }

    /// Between which places the members of a cell are at `at`: none comes before the first, and none
    /// behind the second.
    ///
    /// Scores have fallen as far as the key says or, in grace, not at all. Where members have the same
    /// score and the same key, that tells their time to the second, and so the place to the bit.
    pub(super) fn limits(
        &self,
        rules: &ScoreRules,
        at: UnixSeconds,
        cell: i64,
    ) -> (ByScore, ByScore) {
        let keys = self.keys_of(cell.div_euclid(CELLS));
        let (start, end) = self.scores_of(cell.rem_euclid(CELLS));
        let (most, least) = (start.score(), end.score());
        let (zero, tolerance) = (self.key_of_zero(at), self.tolerance());
        let latest = ((keys.end - least.get() + tolerance) / self.rate).floor();
        let earliest = ((keys.start - most.get() - tolerance) / self.rate).ceil();
        let upper = rules
            .decayed(most, seconds(latest), at)
            .min(score(keys.end - zero + tolerance));
        let lower = rules
            .decayed(least, seconds(earliest), at)
            .max(least.min(score(keys.start - zero - tolerance)));
        // Equal scores are divided by user id.
        let users = if most == least {
            start.user..end.user
        } else {
            0..i64::MAX
        };
        (
            ByScore::new(upper, users.start),
            ByScore::new(lower, users.end),
        )
    }

    /// The bounds as the file has them, 8 bytes a number: of keys, of scores and of users.
    pub(super) fn to_bytes(&self) -> [Vec<u8>; 3] {
        let pair = |bound: &ByScore| [bound.score().get().to_le_bytes(), bound.user.to_le_bytes()];
        [
            self.keys.iter().flat_map(|key| key.to_le_bytes()).collect(),
            self.scores.iter().flat_map(pair).flatten().collect(),
            self.users
                .iter()
                .flat_map(|user| user.to_le_bytes())
                .collect(),
        ]
    }

    /// `None` where another program has changed the bounds, so that they mean nothing.
    pub(super) fn from_bytes(
        rate: f64,
        grace: i64,
        keys: &[u8],
        scores: &[u8],
        users: &[u8],
    ) -> Option<Self> {
        let (keys, []) = keys.as_chunks() else {
            return None;
        };
        let (scores, []) = scores.as_chunks::<16>() else {
            return None;
        };
        let (users, []) = users.as_chunks() else {
            return None;
        };
        let pair = |bytes: &[u8; 16]| {
            let (score, user) = bytes.split_first_chunk()?;
            let score = Score::new(f64::from_le_bytes(*score)).ok()?;
            Some(ByScore::new(
                score,
                i64::from_le_bytes(user.try_into().ok()?),
            ))
        };
        let buckets = Self {
            rate,
            grace,
            keys: keys.iter().map(|key| f64::from_le_bytes(*key)).collect(),
            scores: scores.iter().map(pair).collect::<Option<_>>()?,
            users: users.iter().map(|user| i64::from_le_bytes(*user)).collect(),
        };
        let is_sorted =
            buckets.keys.is_sorted() && buckets.scores.is_sorted() && buckets.users.is_sorted();
        let fit = buckets.scores.len() < BUCKETS && buckets.users.len() < BUCKETS;
        (is_sorted && fit).then_some(buckets)
    }
}

/// The cells of a key bucket, one for each score bucket.
pub(super) const fn cells_of(key_bucket: i64) -> Range<i64> {
    key_bucket * CELLS..(key_bucket + 1) * CELLS
}

fn index(bucket: usize) -> i64 {
    i64::try_from(bucket).unwrap_or(i64::MAX)
}

/// A float that is out of range saturates.
#[expect(clippy::cast_possible_truncation, reason = "times are below 2^37")]
fn seconds(seconds: f64) -> UnixSeconds {
    UnixSeconds::MIN.saturating_add(seconds as i64)
}

/// The nearest score.
pub(super) fn score(points: f64) -> Score {
    Score::new(points.clamp(0.0, MAX_SCORE_LIMIT)).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
fn key_bounds(sorted: &[f64], rules: &ScoreRules, now: UnixSeconds) -> Vec<f64> {
    let mut bounds: Vec<f64> = Vec::new();
    for key in quantiles(sorted, KEY_BUCKETS) {
        // A key that many members have gets a bucket of its own.
        let is_common = bounds.last() == Some(&key);
        bounds.push(if is_common { key.next_up() } else { key });
    }
    let greatest = sorted.last().copied();
    let mut bound = greatest.unwrap_or(rules.decay_per_second() * now.get() as f64);
    let newest = match bounds[..] {
        [.., fourth, _, _, _] => (bound - fourth) / 4.0,
        _ => 0.0,
    };
    // At least the 128th part of a message: all members may have come at once.
    let mut width = newest.max(rules.first_score().get() / 128.0).max(1e-3);
    for bucket in 0..NEXT_BUCKETS + WIDENING_BUCKETS {
        bounds.push(bound);
        bound += width;
        if bucket >= NEXT_BUCKETS {
            width *= WIDENING;
        }
    }
    bounds.sort_unstable_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

/// What divides the sorted values into so many parts of like size. Values repeat where many are equal.
fn quantiles<T: Copy>(sorted: &[T], parts: usize) -> impl Iterator<Item = T> {
    (1..parts).filter_map(move |part| sorted.get(part * sorted.len() / parts).copied())
}

/// Members of a key bucket, by score bucket and behind that by user bucket; or, while a transaction runs,
/// by how many more they have become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts(pub(super) [i32; 2 * BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; 2 * BUCKETS])
    }
}

impl Counts {
    /// All members: each is in one user bucket.
    pub(super) fn members(&self) -> u64 {
        self.lower_users(BUCKETS)
    }

    /// Those in the user buckets below one.
    pub(super) fn lower_users(&self, bucket: usize) -> u64 {
        let users = &self.0[BUCKETS..BUCKETS + bucket];
        users.iter().map(|count| positive(*count)).sum()
    }

    /// The score buckets that have members, and how many.
    pub(super) fn by_score(&self) -> impl Iterator<Item = (i64, u64)> {
        let counts = self.0[..BUCKETS].iter().map(|count| positive(*count));
        (0..).zip(counts).filter(|(_, count)| *count > 0)
    }

    pub(super) fn count(&mut self, score_bucket: Option<i64>, user_bucket: usize, by: i32) {
        self.0[BUCKETS + user_bucket] += by;
        if let Some(bucket) = score_bucket.and_then(|bucket| usize::try_from(bucket).ok()) {
            self.0[bucket] += by;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count = count.saturating_add(*more);
        }
    }

    /// Each bucket with members is a byte and the number, seven bits a byte from the lowest, with the top
    /// bit set in all but the last: most are small.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        for (bucket, count) in (0..=u8::MAX).zip(self.0).filter(|(_, count)| *count > 0) {
            bytes.push(bucket);
            let mut rest = count.unsigned_abs();
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
        }
        bytes
    }

    /// Malformed bytes read as some counts or others: [`super::verify()`] finds the difference.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut counts = Self::default();
        let mut bytes = bytes.iter();
        while let Some(&bucket) = bytes.next() {
            let count = &mut counts.0[usize::from(bucket)];
            for (shift, &byte) in (0..32).step_by(7).zip(bytes.by_ref()) {
                *count |= i32::from(byte & 0x7f).wrapping_shl(shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        counts
    }
}

fn positive(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_read_as_they_were_written(
            counts in prop::collection::vec(
                prop_oneof![3 => Just(0), 1 => 1..300, 1 => 1..i32::MAX],
                2 * BUCKETS,
            ),
        ) {
            let counts = Counts(counts.try_into().unwrap());
            prop_assert_eq!(Counts::from_bytes(&counts.to_bytes()), counts);
        }

        #[test]
        fn any_bytes_are_counts(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Counts::from_bytes(&bytes).members() < 1 << 40);
        }
    }

    #[test]
    fn malformed_bounds_are_none() {
        let members = Buckets::for_members(
            &[],
            (1..=500).collect(),
            &ScoreRules::default(),
            UnixSeconds::MIN,
        );
        let [keys, scores, users] = members.to_bytes();
        let read = |keys: &[u8], scores: &[u8], users: &[u8]| {
            Buckets::from_bytes(members.rate, members.grace, keys, scores, users)
        };
        assert_eq!(read(&keys, &scores, &users), Some(members.clone()));
        for odd in [&users[1..], &[users.clone(), users.clone()].concat()] {
            assert_eq!(read(&keys, &scores, odd), None);
        }
        assert_eq!(read(&keys[1..], &scores, &users), None);
        assert_eq!(read(&keys, &scores[8..], &users), None);
    }
}
