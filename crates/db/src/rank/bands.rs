//! Into what bands of keys a guild's members are divided.

use std::cmp::{Ordering, Reverse};

use roas_domain::{ActivityRecord, Score, ScoreRules, UnixSeconds};

use super::layout::quantiles;
use super::{Place, key};

/// How many bands the members are divided into. A rank looks one by one at the members of one, and so
/// may the top; it reads the counts of all.
pub(super) const BANDS: usize = 128;

/// Above the last bound, so many bands are of the first width.
const FIRST_BANDS: f64 = 128.0;

/// And then half as many of twice the width, and so on: who is far above the others takes few bands,
/// and so do the members of a guild that has gone on for long.
const BANDS_PER_DOUBLING: f64 = FIRST_BANDS / 2.0;

/// A place in the order of bands; the best is the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    key: f64,
    score: Score,
    last: UnixSeconds,
    /// Members with the same score and time rank by user id for ever.
    user: Reverse<i64>,
}

impl Mark {
    fn new(rate: f64, score: Score, last: UnixSeconds, user: i64) -> Self {
        Self {
            key: key(rate, score, last),
            score,
            last,
            user: Reverse(user),
        }
    }

    pub(super) fn of(rate: f64, record: &ActivityRecord) -> Self {
        let ActivityRecord {
            member,
            score,
            last_message_at,
            ..
        } = *record;
        Self::new(rate, score, last_message_at, member.user.to_i64())
    }

    /// Whether both differ in nothing but the user.
    fn is_like(&self, other: &Self) -> bool {
        self.score == other.score && self.last == other.last
    }
}

impl Eq for Mark {}

impl PartialOrd for Mark {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Mark {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |mark: &Self| (mark.score, mark.last, mark.user);
        self.key
            .total_cmp(&other.key)
            .then_with(|| rest(self).cmp(&rest(other)))
    }
}

/// Where the bands begin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bands {
    /// Of all but the first, the lowest first.
    bounds: Vec<Mark>,
    /// How wide those above the last bound begin.
    pub(super) width: f64,
}

/// A band whose members all have the same score and the same last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) score: Score,
    pub(super) last: UnixSeconds,
    /// Their ids are greater than this one,
    pub(super) after: i64,
    /// and up to this one.
    pub(super) up_to: i64,
}

impl Point {
    /// The best place that one of them can have.
    pub(super) fn best(&self, rules: &ScoreRules, at: UnixSeconds) -> Place {
        Place {
            score: Reverse(rules.decayed(self.score, self.last, at)),
            user: self.after.saturating_add(1),
        }
    }
}

/// No width is NaN.
impl Eq for Bands {}

impl Bands {
    /// The bands for members like these, in their order. The first is for those who have faded at a
    /// time, so that the sweep finds them apart.
    ///
    /// Keys rise with time, so what comes goes above the last bound: into bands that hold as many as
    /// the others while the guild goes on as it did lately.
    pub(super) fn for_members(sorted: &[Mark], rules: &ScoreRules, faded_at: UnixSeconds) -> Self {
        let lately = (sorted.len() / BANDS * 4).max(1);
        let range = match sorted {
            [.., last] if sorted.len() > lately => last.key - sorted[sorted.len() - 1 - lately].key,
            _ => 0.0,
        };
        let (rate, grace) = (rules.decay_per_second(), rules.decay_after_seconds());
        let in_grace_since = faded_at.saturating_add(-grace);
        let first = Mark::new(rate, Score::ZERO, in_grace_since, i64::MAX);
        let mut bounds = quantiles(sorted, BANDS - 3);
        // Those who are all the same are so from the first to the last of them.
        let ends_alike = |last: &&Mark| bounds.last().is_some_and(|bound| bound.is_like(last));
        let last = sorted.last().filter(ends_alike).copied();
        bounds.extend(sorted.first());
        bounds.extend(last);
        bounds.push(first);
        bounds.sort_unstable();
        bounds.dedup();
        Self {
            bounds,
            // Of a message's score, where that tells nothing: all have come at once.
            width: (range / 4.0)
                .max(rules.first_score().get() / 128.0)
                .max(1e-3),
        }
    }

    /// The band that a member is in. Bands are ranges of marks, and so of keys.
    pub(super) fn of(&self, mark: &Mark) -> i64 {
        match self.bounds.last() {
            Some(last) if mark < last => index(self.bounds.partition_point(|bound| bound <= mark)),
            _ => self.above_last(mark.key),
        }
    }

    /// The first band in which somebody may have this key or a greater one.
    pub(super) fn first_with(&self, key: f64) -> i64 {
        match self.bounds.last() {
            Some(last) if key <= last.key => {
                index(self.bounds.partition_point(|bound| bound.key < key))
            }
            _ => self.above_last(key),
        }
    }

    /// The last band in which somebody may have this key or a lesser one.
    pub(super) fn last_with(&self, key: f64) -> i64 {
        match self.bounds.last() {
            Some(last) if key < last.key => {
                index(self.bounds.partition_point(|bound| bound.key <= key))
            }
            _ => self.above_last(key),
        }
    }

    /// The band of a key that is not below the last bound's. Never falls as keys rise.
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
    fn above_last(&self, key: f64) -> i64 {
        let from = self.bounds.last().map_or(0.0, |last| last.key);
        let widths = ((key - from) / self.width).max(0.0);
        let mut bands = 0.0;
        let mut widths_per_band = 1.0;
        while widths / widths_per_band >= FIRST_BANDS && widths_per_band < f64::MAX {
            widths_per_band *= 2.0;
            bands += BANDS_PER_DOUBLING;
        }
        index(self.bounds.len()).saturating_add((bands + (widths / widths_per_band).floor()) as i64)
    }

    /// What the members of a band all are, where the bounds say so: however many members are the same,
    /// they fall into many bands.
    pub(super) fn point(&self, band: i64) -> Option<Point> {
        let band = usize::try_from(band).ok()?;
        let (first, next) = (
            self.bounds.get(band.checked_sub(1)?)?,
            self.bounds.get(band)?,
        );
        first.is_like(next).then_some(Point {
            score: first.score,
            last: first.last,
            after: next.user.0,
            up_to: first.user.0,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let bytes = |mark: &Mark| {
            let score = mark.score.get().to_le_bytes();
            let last = mark.last.get().to_le_bytes();
            score
                .into_iter()
                .chain(last)
                .chain(mark.user.0.to_le_bytes())
        };
        self.bounds.iter().flat_map(bytes).collect()
    }

    /// `None` where that is not what [`to_bytes`](Self::to_bytes) has made.
    pub(super) fn from_bytes(bytes: &[u8], rate: f64, width: f64) -> Option<Self> {
        let (numbers, odd) = bytes.as_chunks::<8>();
        let (marks, incomplete) = numbers.as_chunks::<3>();
        let mark = |[score, last, user]: &[[u8; 8]; 3]| {
            Some(Mark::new(
                rate,
                Score::new(f64::from_le_bytes(*score)).ok()?,
                UnixSeconds::new(i64::from_le_bytes(*last)).ok()?,
                i64::from_le_bytes(*user),
            ))
        };
        let bounds: Vec<_> = marks.iter().map(mark).collect::<Option<_>>()?;
        let good = odd.is_empty()
            && incomplete.is_empty()
            && bounds.len() < BANDS
            && bounds.is_sorted()
            && width > 0.0;
        good.then_some(Self { bounds, width })
    }
}

fn index(band: usize) -> i64 {
    i64::try_from(band).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use roas_domain::testing::fixtures::{at, score};

    use super::*;

    const RATE: f64 = 1.0 / 600.0;

    const NOW: i64 = 1_700_000_000;

    fn mark(stored: f64, ago: i64, user: i64) -> Mark {
        Mark::new(RATE, score(stored), at(NOW - ago), user)
    }

    fn bands(members: &[Mark]) -> Bands {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        Bands::for_members(&sorted, &ScoreRules::default(), at(NOW))
    }

    fn counts(bands: &Bands, members: &[Mark]) -> BTreeMap<i64, usize> {
        let mut counts = BTreeMap::new();
        for mark in members {
            *counts.entry(bands.of(mark)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn bands_hold_like_numbers_of_members_who_lie_close_together() {
        let close = (0..10_000).map(|user| mark(50.0 + f64::from(user) / 10_000.0, 0, user.into()));
        let far = (0..100).map(|user| mark(f64::from(user), 0, user.into()));
        let members: Vec<_> = close.chain(far).collect();
        let counts = counts(&bands(&members), &members);
        assert!(counts.values().all(|members| *members <= 100), "{counts:?}");
    }

    #[test]
    fn members_who_are_the_same_fall_into_many_bands_by_user_id() {
        let members: Vec<_> = (1..=12_800).map(|user| mark(1.0, 60, user)).collect();
        let bands = bands(&members);
        let counts = counts(&bands, &members);
        assert!(counts.values().all(|members| *members <= 200), "{counts:?}");
        let points = counts.keys().filter(|band| bands.point(**band).is_some());
        assert_eq!(points.count(), counts.len() - 1, "all but the last");
        assert_eq!(counts.values().next_back(), Some(&1));
        for member in &members {
            if let Some(point) = bands.point(bands.of(member)) {
                let user = member.user.0;
                assert!(
                    point.after < user && user <= point.up_to,
                    "{user}, {point:?}"
                );
                assert_eq!((point.score, point.last), (member.score, member.last));
            }
        }
    }

    #[test]
    fn what_comes_for_long_after_takes_few_bands() {
        let members: Vec<_> = (1..=10_000)
            .map(|user| mark(1.0, user % 60, user))
            .collect();
        let bands = bands(&members);
        let day_later = mark(100.0, -86_400, 1);
        assert!(bands.of(&mark(1.0, -1, 1)) < bands.of(&mark(1.0, -60, 1)));
        assert!(bands.of(&day_later) < 1_024, "{}", bands.of(&day_later));
    }

    proptest! {
        #[test]
        fn bands_are_ranges_of_marks_and_of_keys(
            members in prop::collection::vec((0.0..3.0_f64, -900_i64..900, 1_i64..50), 0..300),
            asked in prop::collection::vec((0.0..100.0_f64, -9_000_i64..9_000, 1_i64..50), 1..100),
            key in 0.0..100.0_f64,
        ) {
            let members: Vec<_> = members.into_iter().map(|(s, ago, user)| mark(s, ago, user)).collect();
            let bands = bands(&members);
            let bytes = bands.to_bytes();
            prop_assert_eq!(Bands::from_bytes(&bytes, RATE, bands.width), Some(bands.clone()));
            let mut marks: Vec<_> = asked.into_iter().map(|(s, ago, user)| mark(s, ago, user)).collect();
            marks.extend(members);
            marks.sort_unstable();
            prop_assert!(marks.is_sorted_by_key(|mark| bands.of(mark)));
            let keys = marks.iter().map(|mark| mark.key).chain([mark(key, 0, 1).key]);
            for key in keys.collect::<Vec<_>>() {
                let (first, last) = (bands.first_with(key), bands.last_with(key));
                for mark in &marks {
                    prop_assert!(mark.key < key || bands.of(mark) >= first);
                    prop_assert!(mark.key > key || bands.of(mark) <= last);
                }
            }
        }
    }
}
