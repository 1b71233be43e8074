//! Leaderboards and ranks of large guilds, exact, without looking at every member.
//!
//! # How
//!
//! With linear decay, what a member's score has fallen to at a time T is
//! max(0, min(score, key − rate·(T − grace))) with key = score + rate·last. So another member is above
//! a score x at T, if and only if both are: the other's score as it was stored is above x, and the
//! other's key is above x + rate·(T − grace). Neither of the two changes with time; a rank is a count
//! over a quadrant of the plane of scores and keys.
//!
//! - The keys are divided into *bands*, the stored scores into *classes*, of like numbers of members.
//!   Their bounds are places, with a user id among equals: so however many members have the same
//!   score, and the same time, they fall into many classes and bands.
//! - `activity_ranked` has the members by band, the best of a band first; `activity_band` has each
//!   band's members counted by class ([`spread::Spread`]).
//! - A member's rank adds up the bands above the member's key, and looks one by one at the band of that
//!   key, and at the member's own class in those above. Bands in which all are the same are decided as
//!   one.
//! - The top of a leaderboard is read from the highest band downwards, in each from the best, until no
//!   lower one can reach the places that are filled.
//! - Equal scores rank by user id, and most members of a large guild have no score left. So each band
//!   is also counted by classes of user ids. Those whose score fell to 0 a while ago have no row of
//!   their own in `activity_ranked`: they are counted in a band below all others ([`FADED`]).
//!
//! Keys are computed in floating point. They only say where to look: whatever lies within
//! [`Ranking::tolerance`] of a bound is decided by the domain's own [`ScoreRules::decayed`]; who has none
//! left among those of a class of ids, by its twin in SQL, which agrees to the bit.
//!
//! # What a rank looks at
//!
//! Of a guild whose ranks have just been made, one in 128 of the members in the band and one in 112 in
//! the class, or as many by user id where no score is left, and the counts of the bands: 128, with
//! some tens for what came since or is far above. As members change, a band or a class may come to
//! have one in 24 (or 1,000 members, in a small guild); the ranks are then made anew, within ten
//! minutes of the guild's own time. So in any shape that is at most a twelfth of the members; what
//! shapes take is in docs/performance-benchmarks.md, and a test counts it.
//!
//! # Upkeep
//!
//! The writer keeps a ranked guild's rows up to date in the transaction that changes a member. The
//! maintenance thread has a guild ranked once it is large, or anew when its rules change, in small
//! steps between the callers' transactions ([`step`]); and when its members have come to differ from
//! those that the bands and classes were made for ([`health`]). Until a guild is ranked, and for times
//! before the last sweep, its members are looked at one by one.
//!
//! All SQL on these tables is here.

mod answer;
mod bands;
mod division;
mod layout;
mod spread;
#[cfg(test)]
mod tests;
mod upkeep;

use std::cmp::Reverse;
use std::sync::Arc;

use roas_domain::{
    ActivityRecord, GuildId, MAX_SCORE_LIMIT, MemberKey, Score, ScoreRules, UnixSeconds, UserId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(crate) use answer::{rank, top};
pub(crate) use layout::Layout;
pub(crate) use upkeep::{Change, Counts, Health, begin, discard, guilds_to_rank, health, step};

use self::bands::Mark;
use self::division::{Division, Written};
use self::spread::Spread;
use crate::sql::{count_from, score_from, time_from, user_from};

/// `latest` is kept in steps, so that not every transaction has to write it.
const LATEST_STEP_SECONDS: i64 = 16;

/// The band of those members who have no row in `activity_ranked`: no key is below 0.
const FADED: i64 = -1;

/// What is known of a guild as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GuildState {
    members: u64,
    /// No member's last message is later.
    latest: i64,
    ranking: Option<Ranking>,
}

/// By what a guild's ranks are kept, and how far.
#[derive(Debug, Clone, PartialEq)]
struct Ranking {
    rate: f64,
    grace: i64,
    division: Arc<Division>,
    ranked_to: i64,
    swept_to: UnixSeconds,
}

/// A place in the order of scores as they are stored; the best is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    score: Reverse<Score>,
    /// Equal scores rank by user id.
    user: i64,
}

impl Place {
    fn new(score: Score, user: UserId) -> Self {
        Self {
            score: Reverse(score),
            user: user.to_i64(),
        }
    }

    fn stored(record: &ActivityRecord) -> Self {
        Self::new(record.score, record.member.user)
    }

    /// The first of those with this score, or with the greatest there can be.
    fn first_with(score: f64) -> Self {
        let score = Score::new(score.clamp(0.0, MAX_SCORE_LIMIT)).unwrap_or_default();
        Self {
            score: Reverse(score),
            user: 0,
        }
    }
}

impl GuildState {
    /// Whether the ranks are kept by these rules.
    fn ranking_by(&self, rules: &ScoreRules) -> Option<&Ranking> {
        self.ranking.as_ref().filter(|ranking| {
            ranking.rate.to_bits() == rules.decay_per_second().to_bits()
                && ranking.grace == rules.decay_after_seconds()
        })
    }

    /// What the rules' change means for the ranks: where they are kept by others, they are no more.
    pub(crate) fn follow(&mut self, rules: &ScoreRules) {
        if self.ranking_by(rules).is_none() {
            self.ranking = None;
        }
    }

    /// Takes note of a member's change.
    pub(crate) fn note(&mut self, change: &Change) {
        if change.before.is_none() {
            self.members += 1;
        }
        let last = change.after.last_message_at.get();
        if last > self.latest {
            self.latest = last - last % LATEST_STEP_SECONDS + LATEST_STEP_SECONDS;
        }
    }

    /// The ranking, where it can answer for `at`.
    fn answering(&self, rules: &ScoreRules, at: UnixSeconds) -> Option<&Ranking> {
        self.ranking_by(rules)
            .filter(|ranking| ranking.is_complete() && at >= ranking.swept_to)
    }
}

impl Ranking {
    fn is_complete(&self) -> bool {
        self.ranked_to == i64::MAX
    }

    fn covers(&self, user: UserId) -> bool {
        user.to_i64() <= self.ranked_to
    }

    fn band_of(&self, record: &ActivityRecord) -> i64 {
        self.division.bands.of(&Mark::of(self.rate, record))
    }

    /// The key of those who have decayed to `score` at `at`. Whoever has a lower key has less, and of
    /// those with a higher one whoever had more in grace has more.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn key_of_decayed(&self, score: Score, at: UnixSeconds) -> f64 {
        score.get() + self.rate * (at.get() - self.grace) as f64
    }

    /// How far a key may be off. A key and a decayed score are a handful of operations, each exact to
    /// 2^-53 of its result, and no intermediate result is above the sum here.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
    fn tolerance(&self, at: UnixSeconds, latest: i64) -> f64 {
        let time = at.get().max(latest).saturating_add(self.grace) as f64;
        (MAX_SCORE_LIMIT + self.rate * time) * 2.0_f64.powi(-48)
    }

    fn has_faded(&self, rules: &ScoreRules, record: &ActivityRecord) -> bool {
        rules.decayed(record.score, record.last_message_at, self.swept_to) == Score::ZERO
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are below 2^37")]
fn key(rate: f64, score: Score, last: UnixSeconds) -> f64 {
    score.get() + rate * last.get() as f64
}

const FIND_GUILD: &str =
    "SELECT g.members, g.latest, g.rank_rate, g.rank_grace, g.rank_width, g.ranked_to, g.swept_to,
         b.bands, b.scores, b.users
     FROM activity_guild AS g LEFT JOIN activity_rank_bound AS b
         ON b.guild_id = g.guild_id AND g.rank_rate IS NOT NULL
     WHERE g.guild_id = ?1";

pub(crate) fn find_guild(connection: &Connection, guild: GuildId) -> rusqlite::Result<GuildState> {
    connection
        .prepare_cached(FIND_GUILD)?
        .query_row([guild.to_i64()], guild_from)
        .optional()
        .map(Option::unwrap_or_default)
}

fn guild_from(row: &Row<'_>) -> rusqlite::Result<GuildState> {
    // Null where there is none; anything else but a blob is somebody else's doing.
    let blob = |column| row.get_ref(column).map(|value| value.as_blob().ok());
    let bounds = (blob(7)?, blob(8)?, blob(9)?);
    let ranking = match (row.get(2)?, row.get(3)?, row.get(4)?, bounds) {
        (Some(rate), Some(grace), Some(width), (Some(bands), Some(scores), Some(users))) => {
            let written = Written {
                bounds: [bands, scores, users],
                rate,
                width,
            };
            // Somebody else's doing, where they mean nothing. All is derived: it is made anew.
            match written.read() {
                Some(division) => Some(Ranking {
                    rate,
                    grace,
                    division: Arc::new(division),
                    ranked_to: row.get(5)?,
                    swept_to: time_from(row, 6)?,
                }),
                None => None,
            }
        }
        _ => None,
    };
    Ok(GuildState {
        members: count_from(row, 0)?,
        latest: row.get(1)?,
        ranking,
    })
}

pub(crate) fn put_guild(
    connection: &Connection,
    guild: GuildId,
    state: &GuildState,
) -> rusqlite::Result<()> {
    let ranking = state.ranking.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO activity_guild (guild_id, members, latest, rank_rate, rank_grace,
                 rank_width, ranked_to, swept_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (guild_id) DO UPDATE SET
                 members = excluded.members,
                 latest = excluded.latest,
                 rank_rate = excluded.rank_rate,
                 rank_grace = excluded.rank_grace,
                 rank_width = excluded.rank_width,
                 ranked_to = excluded.ranked_to,
                 swept_to = excluded.swept_to",
        )?
        .execute(params![
            guild.to_i64(),
            state.members.cast_signed(),
            state.latest,
            ranking.map(|ranking| ranking.rate),
            ranking.map(|ranking| ranking.grace),
            ranking.map(|ranking| ranking.division.bands.width),
            ranking.map_or(0, |ranking| ranking.ranked_to),
            ranking.map_or(0, |ranking| ranking.swept_to.get()),
        ])
        .map(drop)
}

fn record_from(row: &Row<'_>, guild: GuildId) -> rusqlite::Result<ActivityRecord> {
    let user = user_from(row, 0)?;
    Ok(ActivityRecord {
        member: MemberKey { guild, user },
        score: score_from(row, 1)?,
        last_message_at: time_from(row, 2)?,
        messages: count_from(row, 3)?,
    })
}

/// Goes through a guild's bands from one on, with how their members spread.
fn each_band(
    connection: &Connection,
    guild: GuildId,
    lowest: i64,
    mut each: impl FnMut(i64, &Spread) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT band, spread FROM activity_band WHERE guild_id = ?1 AND band >= ?2",
    )?;
    let mut rows = statement.query(params![guild.to_i64(), lowest])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, &Spread::from_bytes(row.get_ref(1)?.as_blob()?))?;
    }
    Ok(())
}
