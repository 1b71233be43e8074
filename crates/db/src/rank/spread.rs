//! How the members of a band spread over the classes of scores and of user ids.

use std::ops::RangeTo;

/// Classes of scores, and of user ids: as many as one byte tells apart. A rank looks one by one at the
/// members of one class, so this is what its cost is divided by; the counts of a band take a few
/// hundred bytes.
pub(super) const CLASSES: usize = 128;

/// Members by class; or, while a transaction runs, by how many they become more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) scores: [i32; CLASSES],
    pub(super) users: [i32; CLASSES],
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            scores: [0; CLASSES],
            users: [0; CLASSES],
        }
    }
}

impl Spread {
    /// Of all of them; each has a user id.
    pub(super) fn members(&self) -> u64 {
        sum(&self.users)
    }

    /// Those whose scores are of better classes.
    pub(super) fn better(&self, classes: RangeTo<usize>) -> u64 {
        sum(&self.scores[classes])
    }

    /// Those whose user ids are of lower classes.
    pub(super) fn lower(&self, classes: RangeTo<usize>) -> u64 {
        sum(&self.users[classes])
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        let pairs = self.scores.iter_mut().zip(&other.scores);
        for (count, more) in pairs.chain(self.users.iter_mut().zip(&other.users)) {
            *count = count.saturating_add(*more);
        }
    }

    /// As the file has it. What somebody else has spoiled reads as some spread or other, whose sum
    /// then gives it away.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut spread = Self::default();
        let mut bytes = bytes.iter();
        while let Some(&class) = bytes.next() {
            let mut count = 0;
            for shift in (0..32).step_by(7) {
                let Some(&byte) = bytes.next() else { break };
                count |= i32::from(byte & 0x7f).wrapping_shl(shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let class = usize::from(class);
            if let Some(place) = spread.scores.get_mut(class) {
                *place = count;
            } else if let Some(place) = spread.users.get_mut(class - CLASSES) {
                *place = count;
            }
        }
        spread
    }

    /// For the file: most bands far from the bulk have a handful of members, so that classes without
    /// any take no room.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        for (class, &count) in (0..=u8::MAX).zip(self.scores.iter().chain(&self.users)) {
            let Ok(mut rest) = u32::try_from(count) else {
                continue;
            };
            if rest == 0 {
                continue;
            }
            bytes.push(class);
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
        }
        bytes
    }
}

fn sum(counts: &[i32]) -> u64 {
    let count = |count: &i32| u64::try_from(*count).unwrap_or(0);
    counts.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            counts in prop::collection::vec(
                prop_oneof![3 => Just(0), 1 => 1..300, 1 => 1..i32::MAX],
                2 * CLASSES,
            ),
        ) {
            let mut spread = Spread::default();
            spread.scores.copy_from_slice(&counts[..CLASSES]);
            spread.users.copy_from_slice(&counts[CLASSES..]);
            prop_assert_eq!(Spread::from_bytes(&spread.to_bytes()), spread);
        }

        #[test]
        fn no_bytes_are_beyond_reading(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let read = Spread::from_bytes(&bytes);
            prop_assert!(read.members() < 1 << 40);
        }
    }
}
