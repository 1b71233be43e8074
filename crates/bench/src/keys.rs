//! Whose message comes next: how members are drawn.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use fastrand::Rng;
use roas_domain::{GuildId, InvalidId, MemberKey, UserId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where the guilds' ids begin, and the users': as long as Discord's are, because an id's length is
/// part of a row's size.
const FIRST_GUILD: u64 = 743_430_870_758_460_727;
const FIRST_USER: u64 = 226_234_859_576_321_882;

/// From one user's id to the next: Discord's come apart by time, a snowflake's upper 42 bits.
const USER_STEP: u64 = 1 << 22;

/// How members are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Keys {
    /// All members alike.
    Uniform,
    /// By Zipf's law with this exponent within each guild: the n-th writes n^-s as much as the
    /// first. Chat is near 1.1.
    Zipf(f64),
    /// This many members in all, who write everything.
    Hot(NonZeroU64),
}

/// The text names no way of drawing members.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no way of drawing members: expected uniform, zipf:S with 0 < S <= 10, or hot:K")]
pub struct InvalidKeys(String);

impl FromStr for Keys {
    type Err = InvalidKeys;

    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        let invalid = || InvalidKeys(text.to_owned());
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", exponent)) => exponent
                .parse()
                .ok()
                .filter(|exponent| *exponent > 0.0 && *exponent <= 10.0)
                .map(Self::Zipf)
                .ok_or_else(invalid),
            Some(("hot", members)) => members.parse().map(Self::Hot).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Hot(members) => write!(f, "hot:{members}"),
        }
    }
}

impl From<Keys> for String {
    fn from(keys: Keys) -> Self {
        keys.to_string()
    }
}

impl TryFrom<String> for Keys {
    type Error = InvalidKeys;

    fn try_from(text: String) -> Result<Self, InvalidKeys> {
        text.parse()
    }
}

/// All members of a run, and which of them is drawn.
#[derive(Debug, Clone)]
pub struct Members {
    guilds: u64,
    per_guild: u64,
    draw: Draw,
    /// Coprime to `per_guild`: places, multiplied by it, visit every member once.
    stride: u64,
}

#[derive(Debug, Clone)]
enum Draw {
    Uniform,
    Zipf(Zipf),
    Hot(u64),
}

impl Members {
    /// `members` of each of `guilds` guilds, drawn by `keys`. Both are at least 1.
    #[must_use]
    pub fn new(guilds: u64, members: u64, keys: Keys) -> Self {
        let (guilds, members) = (guilds.max(1), members.max(1));
        let draw = match keys {
            Keys::Uniform => Draw::Uniform,
            Keys::Zipf(exponent) => Draw::Zipf(Zipf::new(members, exponent)),
            Keys::Hot(hot) => Draw::Hot(hot.get().min(guilds.saturating_mul(members))),
        };
        // The busiest members do not lie side by side in a table, as they do not among a guild's
        // ids: the golden section spreads them.
        let mut stride = (u128::from(members) * 618 / 1_000).max(1);
        while gcd(stride, u128::from(members)) > 1 {
            stride += 1;
        }
        Self {
            guilds,
            per_guild: members,
            draw,
            stride: u64::try_from(stride).unwrap_or(1),
        }
    }

    /// How many there are in all guilds.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.guilds * self.per_guild
    }

    /// Draws one.
    pub fn draw(&self, rng: &mut Rng) -> MemberKey {
        match &self.draw {
            Draw::Uniform => self.member(rng.u64(0..self.guilds), rng.u64(0..self.per_guild)),
            Draw::Zipf(zipf) => self.member(rng.u64(0..self.guilds), zipf.draw(rng) - 1),
            Draw::Hot(hot) => {
                let index = rng.u64(0..*hot);
                self.member(index % self.guilds, index / self.guilds)
            }
        }
    }

    /// All of them, guild by guild in the order of their ids.
    pub fn all(&self) -> impl Iterator<Item = MemberKey> + '_ {
        (0..self.guilds).flat_map(|guild| (0..self.per_guild).map(move |index| key(guild, index)))
    }

    /// Their guilds.
    pub fn guilds(&self) -> impl Iterator<Item = GuildId> {
        (0..self.guilds).map(|guild| key(guild, 0).guild)
    }

    /// The member at a place, 0 for the busiest, of a guild.
    fn member(&self, guild: u64, place: u64) -> MemberKey {
        let index = u128::from(place) * u128::from(self.stride) % u128::from(self.per_guild);
        key(guild, u64::try_from(index).unwrap_or(0))
    }
}

fn key(guild: u64, index: u64) -> MemberKey {
    let ids = || -> Result<MemberKey, InvalidId> {
        Ok(MemberKey {
            guild: GuildId::new(FIRST_GUILD + guild)?,
            user: UserId::new(FIRST_USER + index * USER_STEP)?,
        })
    };
    ids().expect("guilds and members are bounded by the scenario, so that their ids fit")
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Zipf's law over 1..=n by rejection-inversion (W. Hörmann, G. Derflinger: Rejection-inversion to
/// generate variates from monotone discrete distributions, 1996): constant time and no table, so
/// that ten million members cost the tester no memory.
#[derive(Debug, Clone)]
struct Zipf {
    n: f64,
    exponent: f64,
    h_first: f64,
    h_last: f64,
    accept: f64,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "members are far below 2^53")]
    fn new(n: u64, exponent: f64) -> Self {
        let n = n as f64;
        let law = Self {
            n,
            exponent,
            h_first: 0.0,
            h_last: 0.0,
            accept: 0.0,
        };
        Self {
            h_first: law.integral(1.5) - 1.0,
            h_last: law.integral(n + 0.5),
            accept: 2.0 - law.integral_inverse(law.integral(2.5) - law.density(2.0)),
            ..law
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=n"
    )]
    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.h_last + rng.f64() * (self.h_first - self.h_last);
            let x = self.integral_inverse(u);
            let k = x.round().clamp(1.0, self.n);
            if k - x <= self.accept || u >= self.integral(k + 0.5) - self.density(k) {
                return k as u64;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        ratio((1.0 - self.exponent) * log, f64::exp_m1) * log
    }

    fn integral_inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        (ratio(t, f64::ln_1p) * x).exp()
    }
}

/// f(x) / x, whose limit at 0 is 1 for the functions it is used with.
fn ratio(x: f64, f: impl Fn(f64) -> f64) -> f64 {
    if x.abs() > 1e-8 { f(x) / x } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn counts(guilds: u64, members: u64, keys: &str, draws: u32) -> BTreeMap<MemberKey, u32> {
        let members = Members::new(guilds, members, keys.parse().unwrap());
        let mut rng = Rng::with_seed(7);
        let mut counts = BTreeMap::new();
        for _ in 0..draws {
            *counts.entry(members.draw(&mut rng)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn names_read_back() {
        for name in ["uniform", "zipf:1.1", "zipf:1", "hot:10"] {
            assert_eq!(name.parse::<Keys>().unwrap().to_string(), name);
        }
        for wrong in [
            "",
            "zipf",
            "zipf:0",
            "zipf:NaN",
            "zipf:11",
            "hot:0",
            "hot:-1",
            "uniform:1",
        ] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn uniform_draws_everyone_alike() {
        let counts = counts(2, 10, "uniform", 20_000);
        assert_eq!(counts.len(), 20);
        assert!(
            counts.values().all(|&count| (850..1_150).contains(&count)),
            "{counts:?}"
        );
    }

    #[test]
    fn zipf_draws_by_its_law() {
        for exponent in [0.5, 1.0, 1.1, 2.0] {
            let mut counts: Vec<u32> = counts(1, 100, &format!("zipf:{exponent}"), 100_000)
                .into_values()
                .collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let harmonic: f64 = (1..=100).map(|n| f64::from(n).powf(-exponent)).sum();
            for place in [1_u8, 2, 3, 10] {
                let expected = f64::from(place).powf(-exponent) / harmonic * 100_000.0;
                let found = f64::from(counts[usize::from(place) - 1]);
                assert!(
                    (found / expected - 1.0).abs() < 0.1,
                    "exponent {exponent}, place {place}: {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn hot_keys_are_as_many_as_asked_for() {
        assert_eq!(counts(5, 1_000, "hot:7", 1_000).len(), 7);
        assert_eq!(counts(2, 2, "hot:100", 1_000).len(), 4);
    }

    #[test]
    fn every_place_is_a_member_of_its_own_and_the_busiest_lie_apart() {
        for members in [1, 2, 10, 1_000, 1_009] {
            let all = Members::new(1, members, Keys::Uniform);
            let users: BTreeSet<_> = (0..members)
                .map(|place| all.member(0, place).user)
                .collect();
            assert_eq!(users, all.all().map(|key| key.user).collect());
        }
        let all = Members::new(1, 1_000, Keys::Uniform);
        let busiest: BTreeSet<_> = (0..10)
            .map(|place| (all.member(0, place).user.get() - FIRST_USER) / USER_STEP / 50)
            .collect();
        assert!(busiest.len() > 7, "{busiest:?}");
    }
}
