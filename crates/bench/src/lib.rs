//! What the benchmarks share: the workload.

use fastrand::Rng;
use roas_domain::{ActivityEvent, EventId, GuildId, MemberKey, UnixSeconds, UserId};

/// 2025-08-22T00:00:00Z, where simulated time begins.
const START: i64 = 1_755_820_800;

/// Messages from `guilds` × `members` members, drawn by Zipf's law with exponent 1.1, as chat is:
/// few members write most of it. Seeded, so that every run and every engine is offered the same.
#[derive(Debug, Clone)]
pub struct Workload {
    members: u64,
    /// The share of messages written by the members up to each one, guild by guild alike.
    cumulative: Vec<f64>,
    guilds: u64,
    rng: Rng,
    stream: u64,
    sent: u64,
}

impl Workload {
    /// A stream of messages. Streams of different numbers (below 2^20) have ids of their own, and
    /// ids rise with simulated time in all of them alike, as Discord's do.
    #[must_use]
    pub fn new(guilds: u64, members: u64, seed: u64, stream: u64) -> Self {
        let mut sum = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "members are few")]
        let mut cumulative: Vec<f64> = (1..=members)
            .map(|place| {
                sum += (place as f64).powf(-1.1);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self {
            members,
            cumulative,
            guilds,
            rng: Rng::with_seed(seed ^ stream.rotate_left(32)),
            stream,
            sent: 0,
        }
    }

    /// The member of the next message.
    ///
    /// # Panics
    ///
    /// Never: the ids are above 0 and small.
    pub fn next_member(&mut self) -> MemberKey {
        let drawn = self.rng.f64();
        let place = self.cumulative.partition_point(|share| *share < drawn) as u64;
        MemberKey {
            guild: GuildId::new(self.rng.u64(1..=self.guilds)).expect("above 0"),
            user: UserId::new(place.min(self.members - 1) + 1).expect("above 0"),
        }
    }

    /// The next message. One second passes with every ten of a stream.
    ///
    /// # Panics
    ///
    /// Never: ids and times are within their bounds.
    pub fn next_event(&mut self) -> ActivityEvent {
        let member = self.next_member();
        self.sent += 1;
        let id = EventId::new(self.sent << 20 | self.stream).expect("above 0");
        let seconds = i64::try_from(self.sent / 10).expect("few messages");
        let at = UnixSeconds::new(START + seconds).expect("within the bounds");
        ActivityEvent {
            id: Some(id),
            member,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_same_seed_offers_the_same_messages() {
        let events = |stream| {
            let mut workload = Workload::new(5, 1_000, 7, stream);
            (0..100).map(|_| workload.next_event()).collect::<Vec<_>>()
        };
        assert_eq!(events(1), events(1));
        let ids = |stream| {
            events(stream)
                .into_iter()
                .map(|event| event.id)
                .collect::<Vec<_>>()
        };
        assert!(ids(1).iter().all(|id| !ids(2).contains(id)));
    }

    #[test]
    fn few_members_write_most() {
        let mut workload = Workload::new(1, 1_000, 7, 0);
        let mut counts = BTreeMap::<MemberKey, u32>::new();
        for _ in 0..10_000 {
            *counts.entry(workload.next_member()).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts.iter().take(10).sum::<u32>() > 4_000, "{counts:?}");
        assert!(counts.len() > 300);
    }
}
