//! The people of the demo: who they are, when they are awake, and how much they talk.
//!
//! Built from constants alone, so that both processes see the same community.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use roas_domain::{
    EventId, GuildId, GuildRules, GuildTimeZone, InvalidId, MemberKey, ScoreRules, UnixSeconds,
    UserId,
};

/// The length of the simulated time.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Members of all guilds together.
pub(super) const MEMBERS: usize = 1_000;

/// The community's own seed: it is the same in every run and in both processes.
const SEED: u64 = 20_250_822;

/// Name, time zone, members, and share of all messages in percent. The first is the busiest.
const GUILDS: [(&str, &str, usize, u32); 5] = [
    ("深夜食堂", "Asia/Taipei", 400, 44),
    ("Rustaceans", "UTC", 260, 26),
    ("喫茶店", "Asia/Tokyo", 170, 16),
    ("Café Olé", "Europe/Madrid", 110, 9),
    ("Night Owls", "America/New_York", 60, 5),
];

/// 40 names; with 25 surnames they make 1,000 people.
const NAMES: [&str; 40] = [
    "小明", "阿華", "美玲", "志強", "淑芬", "雅婷", "俊傑", "怡君", "家豪", "宗翰", "小美", "阿偉",
    "大雄", "靜香", "Kenji", "Yuki", "Hana", "Aiko", "Mia", "Kai", "Zoë", "José", "Søren", "Aylin",
    "Olga", "Pedro", "Inés", "Lucía", "Noah", "Emma", "Liam", "Ava", "Ferris", "Corro", "Chloé",
    "Björn", "Anaïs", "Tomás", "Priya", "Ravi",
];

const SURNAMES: [&str; 25] = [
    "陳", "林", "黃", "張", "李", "王", "吳", "劉", "蔡", "楊", "Sato", "Tanaka", "Ito", "García",
    "López", "Silva", "Novák", "Müller", "Rossi", "Smith", "Jones", "Khan", "Kim", "Ngo", "Olsen",
];

/// How often a member is drawn before one who sleeps is let through. With about a third of them
/// awake at any time, that happens to one message in a few hundred.
const DRAWS: usize = 16;

/// Everyone, and how they behave.
#[derive(Debug)]
pub(super) struct Community {
    pub(super) guilds: Vec<Guild>,
}

/// One guild and its members, the most talkative first.
#[derive(Debug)]
pub(super) struct Guild {
    pub(super) id: GuildId,
    pub(super) name: &'static str,
    pub(super) time_zone: &'static str,
    pub(super) members: Vec<Person>,
    share_percent: u32,
    /// For each member the sum of the shares up to and including theirs, by Zipf's law: the n-th
    /// talks 1/n as much as the first.
    cumulative: Vec<f64>,
}

/// One member.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) name: String,
    /// When their day begins, as seconds into the simulated one.
    wakes: i64,
    /// For how long they are there.
    stays: i64,
}

impl Community {
    pub(super) fn new() -> Result<Self, InvalidId> {
        let mut rng = Rng::with_seed(SEED);
        // A step through all 1,000 combinations of names in which neighbours differ.
        let mut name = (0..MEMBERS).map(|index| {
            let combination = index * 389 % MEMBERS;
            let (first, last) = (combination % NAMES.len(), combination / NAMES.len());
            full_name(NAMES[first], SURNAMES[last])
        });
        let guilds = GUILDS.map(|(guild, time_zone, size, share_percent)| {
            let members: Vec<_> = (0..size)
                .zip(&mut name)
                .map(|(_, name)| {
                    Ok(Person {
                        id: UserId::new(snowflake(&mut rng))?,
                        name,
                        wakes: rng.i64(0..DAY_SECONDS),
                        stays: rng.i64(DAY_SECONDS / 48..DAY_SECONDS / 2),
                    })
                })
                .collect::<Result<_, InvalidId>>()?;
            let id = GuildId::new(snowflake(&mut rng))?;
            Ok(Guild {
                id,
                name: guild,
                time_zone,
                share_percent,
                cumulative: zipf(size),
                members,
            })
        });
        Ok(Self {
            guilds: guilds.into_iter().collect::<Result<_, InvalidId>>()?,
        })
    }

    /// Who writes a message `second` seconds into the day.
    pub(super) fn someone(&self, second: i64, rng: &mut Rng) -> MemberKey {
        let guild = self.some_guild(rng);
        let mut person = guild.some_member(rng);
        for _ in 1..DRAWS {
            if person.is_there(second) {
                break;
            }
            person = guild.some_member(rng);
        }
        MemberKey {
            guild: guild.id,
            user: person.id,
        }
    }

    fn some_guild(&self, rng: &mut Rng) -> &Guild {
        let mut drawn = rng.u32(0..100);
        for guild in &self.guilds {
            match drawn.checked_sub(guild.share_percent) {
                Some(rest) => drawn = rest,
                None => return guild,
            }
        }
        &self.guilds[0]
    }
}

impl Guild {
    /// The guild's rules: a greater maximum than usual, since a simulated community never tires.
    pub(super) fn rules(&self) -> Result<GuildRules, Box<dyn std::error::Error + Send + Sync>> {
        let score = ScoreRules::default().with_max_score(1_000.0)?;
        Ok(GuildRules {
            score,
            time_zone: GuildTimeZone::new(self.time_zone)?,
        })
    }

    /// The name of a member; their id where it is none of the community's.
    pub(super) fn name_of(&self, user: UserId) -> String {
        let person = self.members.iter().find(|person| person.id == user);
        person.map_or_else(|| user.to_string(), |person| person.name.clone())
    }

    fn some_member(&self, rng: &mut Rng) -> &Person {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let drawn = rng.f64() * total;
        let index = self.cumulative.partition_point(|&sum| sum <= drawn);
        &self.members[index.min(self.members.len() - 1)]
    }
}

impl Person {
    fn is_there(&self, second: i64) -> bool {
        (second - self.wakes).rem_euclid(DAY_SECONDS) < self.stays
    }
}

/// Chinese surnames come first, before a Chinese name without a space.
fn full_name(first: &str, last: &str) -> String {
    let is_han = |name: &str| name >= "\u{2e80}";
    match (is_han(first), is_han(last)) {
        (true, true) => format!("{last}{first}"),
        (false, true) => format!("{last} {first}"),
        (_, false) => format!("{first} {last}"),
    }
}

fn zipf(members: usize) -> Vec<f64> {
    (1..=u32::try_from(members).unwrap_or(u32::MAX))
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / f64::from(rank);
            Some(*sum)
        })
        .collect()
}

/// An id such as Discord gives: of an account or a guild made between 2016 and 2024.
fn snowflake(rng: &mut Rng) -> u64 {
    const YEAR_MS: u64 = 31_557_600_000;
    rng.u64(YEAR_MS..9 * YEAR_MS) << 22 | rng.u64(0..1 << 22)
}

/// Gives out message ids as one of Discord's servers does: milliseconds, the server, a counter.
///
/// Never the same twice: where the counter of a millisecond is used up, the next one is begun.
#[derive(Debug)]
pub(super) struct MessageIds {
    server: u64,
    /// The last one given out: milliseconds and counter, without the server between them.
    last: AtomicU64,
}

impl MessageIds {
    const COUNTER_BITS: u32 = 12;
    const SERVER_BITS: u32 = 10;
    /// 2015-01-01, from which Discord counts.
    const EPOCH_SECONDS: i64 = 1_420_070_400;

    /// Ids that no other server gives out, for `server` below 1,024.
    pub(super) const fn of_server(server: u64) -> Self {
        Self {
            server,
            last: AtomicU64::new(0),
        }
    }

    /// A new id, for a message at `at`.
    pub(super) fn next(&self, at: UnixSeconds) -> Result<EventId, InvalidId> {
        let seconds = u64::try_from(at.get() - Self::EPOCH_SECONDS).unwrap_or(0);
        let earliest = (seconds * 1_000) << Self::COUNTER_BITS;
        let following = |last: u64| earliest.max(last + 1);
        // The order among threads does not matter, only that no two get the same.
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(following(last))
            });
        let next = following(last.unwrap_or_else(|last| last));
        let (milliseconds, counter) = (next >> Self::COUNTER_BITS, next & 0xfff);
        EventId::new(
            milliseconds << (Self::COUNTER_BITS + Self::SERVER_BITS)
                | self.server << Self::COUNTER_BITS
                | counter,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_thousand_people_of_different_names_live_in_five_guilds() {
        let community = Community::new().unwrap();
        let people = || community.guilds.iter().flat_map(|guild| &guild.members);
        assert_eq!(people().count(), MEMBERS);
        assert_eq!(
            people()
                .map(|person| &person.name)
                .collect::<HashSet<_>>()
                .len(),
            MEMBERS
        );
        assert_eq!(
            people()
                .map(|person| person.id)
                .collect::<HashSet<_>>()
                .len(),
            MEMBERS
        );
        assert_eq!(
            community
                .guilds
                .iter()
                .map(|guild| guild.share_percent)
                .sum::<u32>(),
            100
        );
        for guild in &community.guilds {
            assert_eq!(guild.rules().unwrap().time_zone.name(), guild.time_zone);
        }
    }

    #[test]
    fn names_are_written_as_their_bearers_write_them() {
        assert_eq!(full_name("小明", "陳"), "陳小明");
        assert_eq!(full_name("Zoë", "Müller"), "Zoë Müller");
        assert_eq!(full_name("小明", "Smith"), "小明 Smith");
        assert_eq!(full_name("Kenji", "林"), "林 Kenji");
    }

    #[test]
    fn both_processes_see_the_same_community() {
        let (one, other) = (Community::new().unwrap(), Community::new().unwrap());
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn the_first_members_of_a_guild_talk_most() {
        let community = Community::new().unwrap();
        let mut rng = Rng::with_seed(1);
        let busiest = &community.guilds[0];
        let top: HashSet<_> = busiest
            .members
            .iter()
            .take(40)
            .map(|person| person.id)
            .collect();
        let drawn = (0..10_000)
            .filter(|_| top.contains(&busiest.some_member(&mut rng).id))
            .count();
        assert!((5_500..7_500).contains(&drawn), "{drawn}");
        assert_eq!(
            busiest.name_of(busiest.members[3].id),
            busiest.members[3].name
        );
        let stranger = UserId::new(1).unwrap();
        assert_eq!(busiest.name_of(stranger), "1");
    }

    #[test]
    fn people_talk_while_they_are_there() {
        let person = Person {
            id: UserId::new(1).unwrap(),
            name: String::new(),
            wakes: 86_000,
            stays: 1_000,
        };
        for (second, there) in [
            (85_999, false),
            (86_000, true),
            (0, true),
            (599, true),
            (600, false),
        ] {
            assert_eq!(person.is_there(second), there, "{second}");
        }
    }

    #[test]
    fn message_ids_are_never_the_same_and_tell_their_time() {
        let at = UnixSeconds::new(1_755_820_801).unwrap();
        let servers = [MessageIds::of_server(1), MessageIds::of_server(2)];
        let mut seen = HashSet::new();
        for server in &servers {
            for _ in 0..10_000 {
                assert!(seen.insert(server.next(at).unwrap()));
            }
        }
        let id = MessageIds::of_server(1).next(at).unwrap().get();
        assert_eq!((id >> 22) / 1_000 + 1_420_070_400, 1_755_820_801);
    }
}
