//! How a guild's members are divided, and how the file has it.

use std::cmp::Reverse;

use roas_domain::{MAX_SCORE_LIMIT, Score, UserId};

use super::Place;
use super::bands::Bands;
use super::spread::CLASSES;

/// Into what a guild's members are divided. `Eq`, so that what is shared is compared by its address: the
/// writer looks at all guilds that it keeps, in each transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Division {
    pub(super) bands: Bands,
    pub(super) classes: Classes,
}

/// A division as the file has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'r> {
    /// The bounds of bands, of classes of scores and of those of user ids.
    pub(super) bounds: [&'r [u8]; 3],
    pub(super) rate: f64,
    pub(super) width: f64,
}

impl Written<'_> {
    /// `None` where somebody else has spoiled it.
    pub(super) fn read(&self) -> Option<Division> {
        let [bands, scores, users] = self.bounds;
        Some(Division {
            bands: Bands::from_bytes(bands, self.rate, self.width)?,
            classes: Classes::from_bytes(scores, users)?,
        })
    }
}

/// Where the classes begin, all but the first of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Classes {
    /// The best first.
    pub(super) scores: Vec<Place>,
    /// The lowest first.
    pub(super) users: Vec<i64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(score: f64, user: i64) -> Place {
        let score = Reverse(Score::new(score).unwrap());
        Place { score, user }
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
}
