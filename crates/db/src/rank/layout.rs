//! Into what bands and classes a guild's members are divided, by what they are like when its ranks are
//! begun.

use std::cmp::Reverse;

use roas_domain::{
    ActivityRecord, GuildId, MAX_SCORE_LIMIT, Score, ScoreRules, UnixSeconds, UserId,
};
use rusqlite::Connection;

use super::spread::CLASSES;
use super::{Place, find_guild, key, record_from};
use crate::sql::find_rules;

/// How many members are looked at more closely.
const SAMPLE: u64 = 16_384;

/// No band is to hold more of the members with a score than one in so many. The members of one band
/// are looked at one by one; the counts of all are added up.
const BANDS: usize = 64;

/// Where few members have far more than most, the bands are wider, so that they are not more than this
/// when the ranks are begun.
const MOST_BANDS_AT_FIRST: f64 = 2_048.0;

/// Bounds between classes of scores that do not come from the members.
const FIXED_BOUNDS: i32 = 32;

/// How a guild's members are divided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(super) width: f64,
    pub(super) classes: Classes,
    /// What the guild was like.
    pub(super) members: u64,
    pub(super) latest: i64,
}

/// Where the classes begin, all but the first of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Classes {
    /// The best first.
    scores: Vec<Place>,
    /// The lowest first.
    users: Vec<i64>,
}

impl Classes {
    /// Which class of scores a place is in; the best are in class 0.
    pub(super) fn of_score(&self, place: Place) -> usize {
        self.scores.partition_point(|first| *first <= place)
    }

    /// The first place of a class of scores.
    pub(super) fn first_score(&self, class: usize) -> Place {
        class
            .checked_sub(1)
            .and_then(|bound| self.scores.get(bound).copied())
            .unwrap_or_else(|| Place::first_with(MAX_SCORE_LIMIT))
    }

    /// Which class of user ids a user is in; the lowest are in class 0.
    pub(super) fn of_user(&self, user: UserId) -> usize {
        self.users.partition_point(|first| *first <= user.to_i64())
    }

    /// The first user id of a class.
    pub(super) fn first_user(&self, class: usize) -> i64 {
        class
            .checked_sub(1)
            .and_then(|bound| self.users.get(bound).copied())
            .unwrap_or(0)
    }

    pub(super) fn to_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let place = |place: &Place| {
            let score = place.score.0.get().to_le_bytes();
            score.into_iter().chain(place.user.to_le_bytes())
        };
        (
            self.scores.iter().flat_map(place).collect(),
            self.users
                .iter()
                .flat_map(|user| user.to_le_bytes())
                .collect(),
        )
    }

    /// `None` where that is not what [`to_bytes`](Self::to_bytes) has made.
    pub(super) fn from_bytes(scores: &[u8], users: &[u8]) -> Option<Self> {
        let (scores, rest) = scores.as_chunks::<8>();
        let (scores, odd) = scores.as_chunks::<2>();
        let (users, more) = users.as_chunks::<8>();
        if !rest.is_empty() || !odd.is_empty() || !more.is_empty() {
            return None;
        }
        let place = |[score, user]: &[[u8; 8]; 2]| {
            Some(Place {
                score: Reverse(Score::new(f64::from_le_bytes(*score)).ok()?),
                user: i64::from_le_bytes(*user),
            })
        };
        let classes = Self {
            scores: scores.iter().map(place).collect::<Option<_>>()?,
            users: users.iter().map(|user| i64::from_le_bytes(*user)).collect(),
        };
        let few = classes.scores.len() < CLASSES && classes.users.len() < CLASSES;
        (few && classes.scores.is_sorted() && classes.users.is_sorted()).then_some(classes)
    }
}

impl Layout {
    /// Looks at all members; for the maintenance's own connection.
    pub(crate) fn survey(connection: &Connection, guild: GuildId) -> rusqlite::Result<Self> {
        let state = find_guild(connection, guild)?;
        let rules = &find_rules(connection, guild)?.score;
        let step = usize::try_from(state.members.div_ceil(SAMPLE).max(1)).unwrap_or(usize::MAX);
        let mut statement = connection.prepare_cached(
            "SELECT user_id, score, last_msg, messages FROM activity_meter
             WHERE guild_id = ?1 ORDER BY user_id",
        )?;
        let mut rows = statement.query([guild.to_i64()])?;
        let mut sample = Vec::new();
        let mut index = 0_usize;
        while let Some(row) = rows.next()? {
            if index.is_multiple_of(step) {
                sample.push(record_from(row, guild)?);
            }
            index += 1;
        }
        let at = present(&sample);
        let with_score: Vec<_> = sample
            .iter()
            .filter(|record| record.last_message_at <= at)
            .filter(|record| rules.decayed(record.score, record.last_message_at, at) > Score::ZERO)
            .collect();
        let mut keys: Vec<f64> = with_score
            .iter()
            .map(|record| {
                key(
                    rules.decay_per_second(),
                    record.score,
                    record.last_message_at,
                )
            })
            .collect();
        keys.sort_unstable_by(f64::total_cmp);
        let mut scores: Vec<Place> = with_score.into_iter().map(Place::stored).collect();
        scores.sort_unstable();
        let mut users: Vec<_> = sample
            .iter()
            .map(|record| record.member.user.to_i64())
            .collect();
        users.sort_unstable();
        Ok(Self {
            width: width(&keys, rules),
            classes: Classes {
                scores: score_bounds(&scores, rules),
                users: quantiles(&users, CLASSES),
            },
            members: state.members,
            latest: state.latest,
        })
    }
}

/// The time that a guild has come to: that of its latest messages but a few, which may be from far in
/// the future, when nobody else has a score.
fn present(members: &[ActivityRecord]) -> UnixSeconds {
    let mut times: Vec<_> = members
        .iter()
        .map(|record| record.last_message_at)
        .collect();
    times.sort_unstable();
    let few = times.len() / 512;
    times.into_iter().nth_back(few).unwrap_or(UnixSeconds::MIN)
}

/// The narrowest range of keys that holds as many of these members as a band may.
fn width(keys: &[f64], rules: &ScoreRules) -> f64 {
    let many = (keys.len() / BANDS).max(1);
    let densest = keys
        .windows(many + 1)
        .filter_map(|window| Some(window.last()? - window.first()?))
        .min_by(f64::total_cmp);
    let range = match (keys.first(), keys.last()) {
        (Some(least), Some(greatest)) => greatest - least,
        _ => 0.0,
    };
    densest
        .unwrap_or(0.0)
        .max(range / MOST_BANDS_AT_FIRST)
        .max(rules.first_score().get() / MOST_BANDS_AT_FIRST)
        .max(1e-3)
}

/// Half of the bounds divide the members as they are; the others divide the scores as they may become,
/// in equal ratios: the members of a guild that begins all have the same.
fn score_bounds(sorted: &[Place], rules: &ScoreRules) -> Vec<Place> {
    let (greatest, least) = (rules.max_score(), rules.first_score().get() / 16.0);
    let least = if least > 0.0 {
        least
    } else {
        greatest / 1_024.0
    };
    let ratio = (least / greatest).powf(1.0 / f64::from(FIXED_BOUNDS - 1));
    let mut bounds: Vec<Place> = (0..FIXED_BOUNDS)
        .map(|step| Place::first_with(greatest * ratio.powi(step)))
        .chain(quantiles(sorted, CLASSES / 2))
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// What divides the sorted values into so many parts of like size; fewer, where values are equal.
fn quantiles<T: Copy + PartialEq>(sorted: &[T], parts: usize) -> Vec<T> {
    let mut bounds: Vec<T> = (1..parts)
        .filter_map(|part| sorted.get(part * sorted.len() / parts).copied())
        .collect();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(score: f64, user: i64) -> Place {
        let score = Reverse(Score::new(score).unwrap());
        Place { score, user }
    }

    #[test]
    fn members_with_the_same_score_fall_into_many_classes() {
        let same: Vec<_> = (1..=1_000).map(|user| place(1.0, user)).collect();
        let classes = Classes {
            scores: score_bounds(&same, &ScoreRules::default()),
            users: Vec::new(),
        };
        let mut counts = [0; CLASSES];
        for place in same {
            counts[classes.of_score(place)] += 1;
        }
        assert!(counts.iter().all(|count| *count <= 40), "{counts:?}");
    }

    #[test]
    fn a_class_begins_where_the_one_before_it_ends() {
        let classes = Classes {
            scores: vec![place(5.0, 1), place(1.0, 7)],
            users: vec![10],
        };
        for (place, class) in [
            (place(9.0, 9), 0),
            (place(5.0, 1), 1),
            (place(1.0, 6), 1),
            (place(1.0, 7), 2),
            (place(0.5, 1), 2),
        ] {
            assert_eq!(classes.of_score(place), class, "{place:?}");
            assert!(classes.first_score(class) <= place);
        }
        let user = |id| UserId::new(id).unwrap();
        assert_eq!(
            (classes.of_user(user(9)), classes.of_user(user(10))),
            (0, 1)
        );
        assert_eq!(classes.first_user(1), 10);
        let (scores, users) = classes.to_bytes();
        assert_eq!(Classes::from_bytes(&scores, &users), Some(classes));
        assert_eq!(Classes::from_bytes(&scores[1..], &users), None);
    }

    #[test]
    fn a_band_holds_few_of_those_who_lie_close_together() {
        let close = (0..10_000).map(|index| f64::from(index) / 10_000.0);
        let far = (1..100).map(f64::from);
        let mut keys: Vec<_> = close.chain(far).collect();
        keys.sort_unstable_by(f64::total_cmp);
        let width = width(&keys, &ScoreRules::default());
        let mut bands = BTreeMap::<u64, usize>::new();
        for key in &keys {
            *bands.entry((key / width).floor().to_bits()).or_default() += 1;
        }
        let most = bands.into_values().max();
        assert!(most <= Some(keys.len() / BANDS * 4), "{most:?} in {width}");
    }
}
