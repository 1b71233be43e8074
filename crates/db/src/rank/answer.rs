//! What readers ask of the ranks.

use std::collections::BinaryHeap;

use roas_domain::{
    ActivityRecord, GuildId, MemberKey, Rank, Score, ScoreEntry, ScoreRules, UnixSeconds, UserId,
};
use rusqlite::{Connection, Row, params};

use super::bands::Point;
use super::division::Division;
use super::spread::Spread;
use super::{FADED, Place, Ranking, each_band, find_guild, record_from};
use crate::sql::{count_from, decayed_score, score_from, time_from, user_from};

/// A place of a leaderboard; the greatest is the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    place: Place,
    user: UserId,
    last: UnixSeconds,
}

impl Candidate {
    fn new(score: Score, user: UserId, last: UnixSeconds) -> Self {
        Self {
            place: Place::new(score, user),
            user,
            last,
        }
    }
}

/// The top of a guild at `at`, where its ranks are kept; `None` where they cannot answer.
pub(crate) fn top(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: u16,
) -> rusqlite::Result<Option<Vec<ScoreEntry>>> {
    let state = find_guild(connection, guild)?;
    let Some(ranking) = state.answering(rules, at) else {
        return Ok(None);
    };
    let limit = usize::from(limit);
    let bands = &ranking.division.bands;
    let tolerance = ranking.tolerance(at, state.latest);
    let mut places = BinaryHeap::<Candidate>::with_capacity(limit + 1);
    let mut below = Some(i64::MAX);
    while let Some(mut bound) = below {
        // Bands whose members are all the same, and of whom none can reach the places.
        while let Some(point) = bands.point(bound - 1)
            && let Some(last) = places.peek().filter(|_| places.len() == limit)
            && last.place < point.best(rules, at)
        {
            bound -= 1;
        }
        below = add_band(connection, guild, bound, |band, candidate| {
            let last_place = places.peek().filter(|_| places.len() == limit);
            let least = last_place.map_or(Score::ZERO, |last| last.place.score.0);
            // Nobody from here on has more than those who decay.
            if band < bands.first_with(ranking.key_of_decayed(least, at) - tolerance) {
                return Next::End;
            }
            // Nobody from here on in the band had more, before it decayed.
            if last_place.is_some_and(|last| last.place < candidate.place) {
                return Next::Band;
            }
            let score = rules.decayed(candidate.place.score.0, candidate.last, at);
            let now = Candidate::new(score, candidate.user, candidate.last);
            if score == Score::ZERO || last_place.is_some_and(|last| *last < now) {
                // Nor have those who are the same as this one but for a greater user id.
                return match bands.point(band) {
                    Some(_) => Next::Band,
                    None => Next::Member,
                };
            }
            places.push(now);
            if places.len() > limit {
                places.pop();
            }
            Next::Member
        })?;
    }
    let mut places = places.into_sorted_vec();
    if places.len() < limit {
        add_faded(connection, guild, rules, at, limit, &mut places)?;
    }
    Ok(Some(
        (1..)
            .zip(places)
            .map(|(rank, candidate)| ScoreEntry {
                rank,
                user: candidate.user,
                score: candidate.place.score.0,
                last_message_at: candidate.last,
            })
            .collect(),
    ))
}

/// Where a leaderboard goes on reading.
enum Next {
    Member,
    Band,
    End,
}

/// Offers the members of the bands below `bound`, band by band, each from the best as stored, until it
/// is told to go on elsewhere. Answers the bound from which to go on, if at all.
fn add_band(
    connection: &Connection,
    guild: GuildId,
    bound: i64,
    mut offer: impl FnMut(i64, Candidate) -> Next,
) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT band, score, user_id, last_msg FROM activity_ranked
         WHERE guild_id = ?1 AND band < ?2 ORDER BY band DESC, score DESC, user_id",
    )?;
    let mut rows = statement.query(params![guild.to_i64(), bound])?;
    while let Some(row) = rows.next()? {
        let band = row.get(0)?;
        let candidate = Candidate::new(score_from(row, 1)?, user_from(row, 2)?, time_from(row, 3)?);
        match offer(band, candidate) {
            Next::Member => {}
            Next::Band => return Ok(Some(band)),
            Next::End => return Ok(None),
        }
    }
    Ok(None)
}

/// Fills the places behind those who have a score with those who have none, by user id. Passes by
/// fewer of the former than there are places.
fn add_faded(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: usize,
    places: &mut Vec<Candidate>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT user_id, score, last_msg, messages FROM activity_meter
         WHERE guild_id = ?1 ORDER BY user_id",
    )?;
    let mut rows = statement.query([guild.to_i64()])?;
    while places.len() < limit {
        let Some(row) = rows.next()? else { break };
        let record = record_from(row, guild)?;
        let score = rules.decayed(record.score, record.last_message_at, at);
        if score == Score::ZERO {
            places.push(Candidate::new(
                score,
                record.member.user,
                record.last_message_at,
            ));
        }
    }
    Ok(())
}

/// A member's rank at `at`, where the guild's ranks are kept; `None` where they cannot answer.
pub(crate) fn rank(
    connection: &Connection,
    record: &ActivityRecord,
    rules: &ScoreRules,
    at: UnixSeconds,
) -> rusqlite::Result<Option<Rank>> {
    let MemberKey { guild, user } = record.member;
    let state = find_guild(connection, guild)?;
    let Some(ranking) = state.answering(rules, at) else {
        return Ok(None);
    };
    let score = rules.decayed(record.score, record.last_message_at, at);
    let question = Question {
        connection,
        guild,
        ranking,
        rules,
        at,
        undecided: undecided(ranking, score, at, state.latest),
    };
    let above = if score > Score::ZERO {
        question.above(Place::new(score, user))?
    } else {
        question.above_faded(user)?
    };
    Ok(Some(Rank {
        position: above + 1,
        members: state.members,
    }))
}

/// The bands, the first and the last, in which some may have decayed below `score` at `at` and some may
/// not have. In those above nobody has; in those below everybody has.
fn undecided(ranking: &Ranking, score: Score, at: UnixSeconds, latest: i64) -> (i64, i64) {
    if ranking.rate > 0.0 {
        let key = ranking.key_of_decayed(score, at);
        let tolerance = ranking.tolerance(at, latest);
        (
            ranking.division.bands.first_with(key - tolerance),
            ranking.division.bands.last_with(key + tolerance),
        )
    } else {
        // Nobody ever decays.
        (FADED + 1, FADED)
    }
}

/// How many members are above one, at a time.
struct Question<'q> {
    connection: &'q Connection,
    guild: GuildId,
    ranking: &'q Ranking,
    rules: &'q ScoreRules,
    at: UnixSeconds,
    undecided: (i64, i64),
}

impl Question<'_> {
    /// How many are above a place whose score is not 0.
    fn above(&self, place: Place) -> rusqlite::Result<u64> {
        let Division { bands, classes } = &*self.ranking.division;
        let class = classes.of_score(place);
        let first = classes.first_score(class);
        let (lowest, highest) = self.undecided;
        let mut above = 0;
        each_band(self.connection, self.guild, lowest, |band, spread| {
            above += if band > highest {
                let within = if spread.scores[class] > 0 {
                    self.stored_between(band, first, place)?
                } else {
                    0
                };
                spread.better(..class) + within
            } else if let Some(point) = bands.point(band) {
                self.point_above(band, &point, spread, place)?
            } else {
                self.decayed_above(band, place)?
            };
            Ok(())
        })?;
        Ok(above)
    }

    /// How many are above a user who has no score left: all who have one, and those who have none and
    /// a lower user id.
    fn above_faded(&self, user: UserId) -> rusqlite::Result<u64> {
        let Division { bands, classes } = &*self.ranking.division;
        let class = classes.of_user(user);
        let first = classes.first_user(class);
        let (lowest, highest) = self.undecided;
        let mut above = self.faded_between(first, user.to_i64())?;
        each_band(self.connection, self.guild, FADED, |band, spread| {
            above += if band > highest {
                spread.members()
            } else if band < lowest {
                spread.lower(..class)
            } else if let Some(point) = bands.point(band) {
                if point.best(self.rules, self.at).score.0 > Score::ZERO {
                    spread.members()
                } else {
                    spread.lower(..class)
                }
            } else {
                let before = Place {
                    user: first,
                    ..Place::first_with(0.0)
                };
                self.decayed_above(band, before)?
            };
            Ok(())
        })?;
        Ok(above)
    }

    /// Those of a band above a place, where they differ in nothing but their ids.
    fn point_above(
        &self,
        band: i64,
        point: &Point,
        spread: &Spread,
        place: Place,
    ) -> rusqlite::Result<u64> {
        let best = point.best(self.rules, self.at);
        let worst = Place {
            user: point.up_to,
            ..best
        };
        if worst < place {
            Ok(spread.members())
        } else if best < place {
            self.stored_equal(band, point.score, 0, place.user)
        } else {
            Ok(0)
        }
    }

    /// Those of a band whose scores, decayed, are above a place.
    fn decayed_above(&self, band: i64, place: Place) -> rusqlite::Result<u64> {
        let mut statement = self.connection.prepare_cached(
            "SELECT score, user_id, last_msg FROM activity_ranked
             WHERE guild_id = ?1 AND band = ?2 AND score >= ?3",
        )?;
        let score = place.score.0.get();
        let mut rows = statement.query(params![self.guild.to_i64(), band, score])?;
        let mut above = 0;
        while let Some(row) = rows.next()? {
            let score = self
                .rules
                .decayed(score_from(row, 0)?, time_from(row, 2)?, self.at);
            above += u64::from(Place::new(score, user_from(row, 1)?) < place);
        }
        Ok(above)
    }

    /// Those of a band whose scores, as stored, are from one place on, and above another.
    fn stored_between(&self, band: i64, from: Place, to: Place) -> rusqlite::Result<u64> {
        if from.score == to.score {
            return self.stored_equal(band, from.score.0, from.user, to.user);
        }
        let between = self
            .connection
            .prepare_cached(
                "SELECT count(*) FROM activity_ranked
                 WHERE guild_id = ?1 AND band = ?2 AND score < ?3 AND score > ?4",
            )?
            .query_row(
                params![
                    self.guild.to_i64(),
                    band,
                    from.score.0.get(),
                    to.score.0.get()
                ],
                one_count,
            )?;
        Ok(self.stored_equal(band, from.score.0, from.user, i64::MAX)?
            + between
            + self.stored_equal(band, to.score.0, 0, to.user)?)
    }

    /// Those of a band with this very score, as stored, from one user id on and below another.
    fn stored_equal(&self, band: i64, score: Score, from: i64, to: i64) -> rusqlite::Result<u64> {
        self.connection
            .prepare_cached(
                "SELECT count(*) FROM activity_ranked
                 WHERE guild_id = ?1 AND band = ?2 AND score = ?3 AND user_id >= ?4 AND user_id < ?5",
            )?
            .query_row(
                params![self.guild.to_i64(), band, score.get(), from, to],
                one_count,
            )
    }

    /// Those without a score from one user id on and below another.
    fn faded_between(&self, from: i64, to: i64) -> rusqlite::Result<u64> {
        self.connection
            .prepare_cached(concat!(
                "SELECT count(*) FROM activity_meter
                 WHERE guild_id = ?1 AND user_id >= ?5 AND user_id < ?6 AND ",
                decayed_score!(),
                " = 0.0"
            ))?
            .query_row(
                params![
                    self.guild.to_i64(),
                    self.at.get(),
                    self.ranking.rate,
                    self.ranking.grace,
                    from,
                    to
                ],
                one_count,
            )
    }
}

fn one_count(row: &Row<'_>) -> rusqlite::Result<u64> {
    count_from(row, 0)
}
