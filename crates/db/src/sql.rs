//! The statements, and what their rows mean. All SQL on the meter's tables is here, but for that on ranks.

use std::ops::Range;

use roas_domain::{
    ActivityCounts, ActivityRecord, Day, EventId, GuildId, GuildRules, GuildTimeZone, MemberKey,
    MessageEntry, Period, Rank, Score, ScoreEntry, ScoreRules, UnixSeconds, UserId,
};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, Statement, params};

use crate::error::Failure;
use crate::invalid::{InvalidRow, InvalidValue, Owner, read_row};
use crate::rank;
use crate::recording_time::RecordingTime;

/// The writer's statements, prepared once for a connection's life.
///
/// Each runs to its end before its result is used: a row handed out before the statement is done
/// may belong to a change that then fails.
#[derive(Debug)]
pub(crate) struct WriteStatements<'c> {
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    data_version: Statement<'c>,
    schema_cookie: Statement<'c>,
    find_member: Statement<'c>,
    put_member: Statement<'c>,
    add_daily: Statement<'c>,
    remember_event: Statement<'c>,
    forget_event: Statement<'c>,
    put_recording_time: Statement<'c>,
    find_rules: Statement<'c>,
    put_rules: Statement<'c>,
    /// The day last written and its text: most of a transaction's messages are of one day.
    day: Option<(Day, String)>,
}

impl<'c> WriteStatements<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            data_version: connection.prepare("PRAGMA data_version")?,
            schema_cookie: connection.prepare("PRAGMA schema_version")?,
            find_member: connection.prepare(FIND_MEMBER)?,
            put_member: connection.prepare(
                "INSERT INTO activity_meter (guild_id, user_id, score, last_msg, messages)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (guild_id, user_id) DO UPDATE SET
                     score = excluded.score,
                     last_msg = excluded.last_msg,
                     messages = excluded.messages",
            )?,
            add_daily: connection.prepare(
                "INSERT INTO activity_daily (ymd, guild_id, user_id, msg_cnt)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (ymd, guild_id, user_id) DO UPDATE SET
                     msg_cnt = msg_cnt + excluded.msg_cnt",
            )?,
            remember_event: connection.prepare(
                "INSERT INTO activity_event (event_id, recorded_at) VALUES (?1, ?2)
                 ON CONFLICT (event_id) DO NOTHING",
            )?,
            forget_event: connection
                .prepare("DELETE FROM activity_event WHERE event_id = ?1 AND recorded_at < ?2")?,
            put_recording_time: connection.prepare(
                "INSERT OR REPLACE INTO activity_clock (id, recording_time, clock_seen)
                 VALUES (1, ?1, ?2)",
            )?,
            find_rules: connection.prepare(FIND_RULES)?,
            put_rules: connection.prepare(
                "INSERT INTO activity_settings (guild_id, max_score, gain_per_message,
                     cooldown_seconds, decay_after_seconds, decay_per_hour, time_zone)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (guild_id) DO UPDATE SET
                     max_score = excluded.max_score,
                     gain_per_message = excluded.gain_per_message,
                     cooldown_seconds = excluded.cooldown_seconds,
                     decay_after_seconds = excluded.decay_after_seconds,
                     decay_per_hour = excluded.decay_per_hour,
                     time_zone = excluded.time_zone",
            )?,
            day: None,
        })
    }

    pub(crate) const fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Takes the write lock: the only place where the writer waits for other processes.
    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        self.begin.execute([]).map(drop)
    }

    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.execute([]).map(drop)
    }

    pub(crate) fn rollback(&mut self) -> rusqlite::Result<()> {
        self.rollback.execute([]).map(drop)
    }

    /// A number of this connection's that changes when another one has changed the file, and with
    /// nothing else. By it SQLite itself decides whether to keep the pages it has in memory.
    pub(crate) fn data_version(&mut self) -> rusqlite::Result<i64> {
        self.data_version.query_row([], |row| row.get(0))
    }

    /// A number in the file that every change of its schema changes, whoever makes it.
    pub(crate) fn schema_cookie(&mut self) -> rusqlite::Result<i64> {
        self.schema_cookie.query_row([], |row| row.get(0))
    }

    /// Whether no transaction is open: SQLite ends one itself on serious errors.
    pub(crate) fn is_autocommit(&self) -> bool {
        self.connection.is_autocommit()
    }

    pub(crate) fn find_member(
        &mut self,
        member: MemberKey,
    ) -> rusqlite::Result<Option<ActivityRecord>> {
        self.find_member
            .query_row(
                params![member.guild.to_i64(), member.user.to_i64()],
                |row| record_of(row, member),
            )
            .optional()
    }

    pub(crate) fn put_member(&mut self, record: &ActivityRecord) -> rusqlite::Result<()> {
        let ActivityRecord {
            member,
            score,
            last_message_at,
            messages,
        } = *record;
        self.put_member
            .execute(params![
                member.guild.to_i64(),
                member.user.to_i64(),
                score.get(),
                last_message_at.get(),
                messages.cast_signed(),
            ])
            .map(drop)
    }

    pub(crate) fn add_daily(
        &mut self,
        day: Day,
        member: MemberKey,
        messages: u64,
    ) -> rusqlite::Result<()> {
        let ymd = match &mut self.day {
            Some((known, ymd)) if *known == day => ymd,
            other => &mut other.insert((day, day.to_string())).1,
        };
        let added = self.add_daily.execute(params![
            ymd.as_str(),
            member.guild.to_i64(),
            member.user.to_i64(),
            messages.cast_signed(),
        ]);
        match added {
            Ok(_) => Ok(()),
            // SQLite names the constraint that the sum breaks, and not the count that broke it before.
            Err(error) => match messages_in(self.connection, member, Period::Day(day)) {
                Err(invalid) if Failure::of(&invalid) == Failure::InvalidData => Err(invalid),
                _ => Err(error),
            },
        }
    }

    pub(crate) fn put_recording_time(&mut self, time: RecordingTime) -> rusqlite::Result<()> {
        self.put_recording_time
            .execute([time.at.get(), time.seen.get()])
            .map(drop)
    }

    /// Answers whether the id is new.
    pub(crate) fn remember_event(
        &mut self,
        id: EventId,
        recorded_at: UnixSeconds,
    ) -> rusqlite::Result<bool> {
        self.remember_event
            .execute(params![id.to_i64(), recorded_at.get()])
            .map(|rows| rows == 1)
    }

    /// Answers whether the id was there, and recorded before `before`.
    pub(crate) fn forget_event(
        &mut self,
        id: EventId,
        before: UnixSeconds,
    ) -> rusqlite::Result<bool> {
        self.forget_event
            .execute(params![id.to_i64(), before.get()])
            .map(|rows| rows == 1)
    }

    pub(crate) fn find_rules(&mut self, guild: GuildId) -> rusqlite::Result<GuildRules> {
        self.find_rules
            .query_row([guild.to_i64()], |row| rules_from(row, guild))
            .optional()
            .map(Option::unwrap_or_default)
    }

    pub(crate) fn put_rules(&mut self, guild: GuildId, rules: &GuildRules) -> rusqlite::Result<()> {
        self.put_rules
            .execute(params![
                guild.to_i64(),
                rules.score.max_score(),
                rules.score.gain_per_message(),
                rules.score.cooldown_seconds(),
                rules.score.decay_after_seconds(),
                rules.score.decay_per_hour(),
                rules.time_zone.name(),
            ])
            .map(drop)
    }
}

const FIND_MEMBER: &str =
    "SELECT score, last_msg, messages FROM activity_meter WHERE guild_id = ?1 AND user_id = ?2";

/// As [`rules_from`] reads them.
macro_rules! rule_columns {
    () => {
        "max_score, gain_per_message, cooldown_seconds, decay_after_seconds, decay_per_hour, time_zone"
    };
}

const FIND_RULES: &str = concat!(
    "SELECT ",
    rule_columns!(),
    " FROM activity_settings WHERE guild_id = ?1"
);

/// The decayed score at ?2, with ?3 a second after a grace of ?4, term for term as
/// [`ScoreRules::decayed`] computes it, so that both agree to the bit.
macro_rules! decayed_score {
    () => {
        "max(0.0, score - ?3 * max(0, ?2 - last_msg - ?4))"
    };
}

pub(crate) fn find_member(
    connection: &Connection,
    member: MemberKey,
) -> rusqlite::Result<Option<ActivityRecord>> {
    connection
        .prepare_cached(FIND_MEMBER)?
        .query_row(
            params![member.guild.to_i64(), member.user.to_i64()],
            |row| record_of(row, member),
        )
        .optional()
}

pub(crate) fn find_rules(connection: &Connection, guild: GuildId) -> rusqlite::Result<GuildRules> {
    connection
        .prepare_cached(FIND_RULES)?
        .query_row([guild.to_i64()], |row| rules_from(row, guild))
        .optional()
        .map(Option::unwrap_or_default)
}

/// All rows of guilds' rules that cannot be read.
pub(crate) fn invalid_rules(connection: &Connection) -> rusqlite::Result<Vec<InvalidRow>> {
    let mut statement = connection.prepare(concat!(
        "SELECT ",
        rule_columns!(),
        ", guild_id FROM activity_settings ORDER BY guild_id"
    ))?;
    let mut rows = statement.query([])?;
    let mut invalid = Vec::new();
    while let Some(row) = rows.next()? {
        let guild = valid(6, Type::Integer, GuildId::try_from(row.get::<_, i64>(6)?))?;
        if let Err(error) = rules_from(row, guild) {
            invalid.push(InvalidRow::take_from(error)?);
        }
    }
    Ok(invalid)
}

pub(crate) fn messages_in(
    connection: &Connection,
    member: MemberKey,
    period: Period,
) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT msg_cnt FROM activity_daily WHERE ymd = ?1 AND guild_id = ?2 AND user_id = ?3",
    )?;
    days(period).try_fold(0, |sum: u64, day| {
        let count = statement
            .query_row(
                params![day.to_string(), member.guild.to_i64(), member.user.to_i64()],
                |row| day_count_from(row, day, member),
            )
            .optional()?;
        Ok(sum + count.unwrap_or(0))
    })
}

pub(crate) fn top_scores(
    connection: &Connection,
    guild: GuildId,
    at: UnixSeconds,
    limit: u16,
) -> rusqlite::Result<Vec<ScoreEntry>> {
    let rules = find_rules(connection, guild)?.score;
    if let Some(entries) = rank::top(connection, guild, &rules, at, limit)? {
        return Ok(entries);
    }
    let mut statement = connection.prepare_cached(concat!(
        "SELECT user_id, ",
        decayed_score!(),
        " AS decayed, last_msg FROM activity_meter
         WHERE guild_id = ?1 ORDER BY decayed DESC, user_id LIMIT ?5"
    ))?;
    let rows = statement.query_map(
        params![
            guild.to_i64(),
            at.get(),
            rules.decay_per_second(),
            rules.decay_after_seconds(),
            limit
        ],
        |row| {
            read_row(row, "activity_meter", Owner::Guild(guild), |row| {
                Ok((user_from(row, 0)?, score_from(row, 1)?, time_from(row, 2)?))
            })
        },
    )?;
    (1..)
        .zip(rows)
        .map(|(rank, row)| {
            let (user, score, last_message_at) = row?;
            Ok(ScoreEntry {
                rank,
                user,
                score,
                last_message_at,
            })
        })
        .collect()
}

pub(crate) fn score_rank(
    connection: &Connection,
    member: MemberKey,
    at: UnixSeconds,
) -> rusqlite::Result<Option<Rank>> {
    let Some(record) = find_member(connection, member)? else {
        return Ok(None);
    };
    let rules = find_rules(connection, member.guild)?.score;
    if let Some(rank) = rank::rank(connection, &record, &rules, at)? {
        return Ok(Some(rank));
    }
    let score = rules.decayed(record.score, record.last_message_at, at);
    let mut statement: CachedStatement<'_> = connection.prepare_cached(concat!(
        "SELECT count(*), count(*) FILTER (WHERE decayed > ?5 OR decayed = ?5 AND user_id < ?6)
         FROM (SELECT user_id, ",
        decayed_score!(),
        " AS decayed FROM activity_meter WHERE guild_id = ?1)"
    ))?;
    statement
        .query_row(
            params![
                member.guild.to_i64(),
                at.get(),
                rules.decay_per_second(),
                rules.decay_after_seconds(),
                score.get(),
                member.user.to_i64()
            ],
            |row| {
                Ok(Rank {
                    members: count_from(row, 0)?,
                    position: count_from(row, 1)? + 1,
                })
            },
        )
        .map(Some)
}

pub(crate) fn top_messages(
    connection: &Connection,
    guild: GuildId,
    period: Period,
    limit: u16,
) -> rusqlite::Result<Vec<MessageEntry>> {
    // A month is at most 31 ranges of the primary key, one a day.
    let days: Vec<String> = days(period).map(|day| day.to_string()).collect();
    let places = vec!["?"; days.len()].join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT user_id, sum(msg_cnt) AS messages FROM activity_daily
         WHERE ymd IN ({places}) AND guild_id = ?
         GROUP BY user_id HAVING messages > 0 ORDER BY messages DESC, user_id LIMIT ?"
    ))?;
    for (index, day) in days.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, day)?;
    }
    statement.raw_bind_parameter(days.len() + 1, guild.to_i64())?;
    statement.raw_bind_parameter(days.len() + 2, limit)?;
    let mut rows = statement.raw_query();
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let rank = entries.len() as u64 + 1;
        let entry = read_row(row, "activity_daily", Owner::Guild(guild), |row| {
            Ok(MessageEntry {
                rank,
                user: user_from(row, 0)?,
                messages: count_from(row, 1)?,
            })
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<ActivityCounts> {
    connection
        .prepare_cached(
            "SELECT count(*), count(DISTINCT guild_id), coalesce(sum(messages), 0)
             FROM activity_meter",
        )?
        .query_row([], |row| {
            Ok(ActivityCounts {
                members: count_from(row, 0)?,
                guilds: count_from(row, 1)?,
                messages: count_from(row, 2)?,
            })
        })
}

/// The time by which ids are remembered, as it was last stored.
pub(crate) fn find_recording_time(
    connection: &Connection,
) -> rusqlite::Result<Option<RecordingTime>> {
    connection
        .prepare_cached("SELECT recording_time, clock_seen FROM activity_clock WHERE id = 1")?
        .query_row([], |row| {
            Ok(RecordingTime {
                at: valid(0, Type::Integer, UnixSeconds::new(row.get(0)?))?,
                seen: valid(1, Type::Integer, UnixSeconds::new(row.get(1)?))?,
            })
        })
        .optional()
}

/// The time by which ids are remembered in a file in which none is stored yet: that of its latest
/// recording. One that lies ahead of `now` was made by a clock that was wrong. Reads all ids.
pub(crate) fn first_recording_time(
    connection: &Connection,
    now: UnixSeconds,
) -> rusqlite::Result<RecordingTime> {
    let latest: Option<i64> = connection.query_row(
        "SELECT max(recorded_at) FROM activity_event WHERE recorded_at BETWEEN 0 AND ?1",
        [now.get()],
        |row| row.get(0),
    )?;
    let latest = latest.map(UnixSeconds::new).transpose();
    let at = valid(0, Type::Integer, latest)?.unwrap_or(now);
    Ok(RecordingTime { at, seen: at })
}

/// Up to `limit` members of a guild, by user id, behind `user`; or only about one in so many of them.
pub(crate) fn members_after(
    connection: &Connection,
    guild: GuildId,
    user: i64,
    one_in: u64,
    limit: u32,
) -> rusqlite::Result<Vec<ActivityRecord>> {
    connection
        .prepare_cached(
            "SELECT user_id, score, last_msg, messages FROM activity_meter
             WHERE guild_id = ?1 AND user_id > ?2 AND (random() & 0x7fffffff) % ?3 = 0
             ORDER BY user_id LIMIT ?4",
        )?
        .query_map(
            params![guild.to_i64(), user, one_in.cast_signed(), limit],
            |row| record_from(row, guild),
        )?
        .collect()
}

/// Up to `limit` members of a guild whose score has decayed to 0 at `at`, by user id.
pub(crate) fn members_without_score(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    limit: usize,
) -> rusqlite::Result<Vec<ActivityRecord>> {
    let (rate, grace) = (rules.decay_per_second(), rules.decay_after_seconds());
    connection
        .prepare_cached(concat!(
            "SELECT user_id, score, last_msg, messages FROM activity_meter
             WHERE guild_id = ?1 AND ",
            decayed_score!(),
            " = 0.0 ORDER BY user_id LIMIT ?5"
        ))?
        .query_map(
            params![
                guild.to_i64(),
                at.get(),
                rate,
                grace,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| record_from(row, guild),
        )?
        .collect()
}

/// How many users of a guild have a score that has decayed to 0 at `at`, in a range of user ids.
pub(crate) fn count_members_without_score(
    connection: &Connection,
    guild: GuildId,
    rules: &ScoreRules,
    at: UnixSeconds,
    users: Range<i64>,
) -> rusqlite::Result<u64> {
    let (rate, grace) = (rules.decay_per_second(), rules.decay_after_seconds());
    connection
        .prepare_cached(concat!(
            "SELECT count(*) FROM activity_meter
             WHERE guild_id = ?1 AND user_id >= ?5 AND user_id < ?6 AND ",
            decayed_score!(),
            " = 0.0"
        ))?
        .query_row(
            params![
                guild.to_i64(),
                at.get(),
                rate,
                grace,
                users.start,
                users.end
            ],
            |row| count_from(row, 0),
        )
}

/// Runs a statement that is prepared once for a connection; returns how many rows it has changed.
pub(crate) fn execute(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

/// Up to `limit` remembered ids above `after`, in order, each with whether it was recorded before
/// `before`.
pub(crate) fn remembered_events(
    connection: &Connection,
    after: Option<EventId>,
    before: UnixSeconds,
    limit: u32,
) -> rusqlite::Result<Vec<(EventId, bool)>> {
    connection
        .prepare_cached(
            "SELECT event_id, recorded_at < ?2 FROM activity_event
             WHERE event_id > ?1 ORDER BY event_id LIMIT ?3",
        )?
        .query_map(
            params![after.map_or(0, EventId::to_i64), before.get(), limit],
            |row| {
                Ok((
                    valid(0, Type::Integer, EventId::try_from(row.get::<_, i64>(0)?))?,
                    row.get(1)?,
                ))
            },
        )?
        .collect()
}

fn days(period: Period) -> Box<dyn Iterator<Item = Day>> {
    match period {
        Period::Day(day) => Box::new(std::iter::once(day)),
        Period::Month(month) => Box::new(month.days()),
    }
}

fn day_count_from(row: &Row<'_>, day: Day, member: MemberKey) -> rusqlite::Result<u64> {
    read_row(row, "activity_daily", Owner::MemberOn(day, member), |row| {
        count_from(row, 0)
    })
}

fn record_of(row: &Row<'_>, member: MemberKey) -> rusqlite::Result<ActivityRecord> {
    read_row(row, "activity_meter", Owner::Member(member), |row| {
        Ok(ActivityRecord {
            member,
            score: score_from(row, 0)?,
            last_message_at: time_from(row, 1)?,
            messages: count_from(row, 2)?,
        })
    })
}

/// From a user id, a score, the time of the last message and a number of messages.
pub(crate) fn record_from(row: &Row<'_>, guild: GuildId) -> rusqlite::Result<ActivityRecord> {
    let user = user_from(row, 0)?;
    let member = MemberKey { guild, user };
    read_row(row, "activity_meter", Owner::Member(member), |row| {
        Ok(ActivityRecord {
            member,
            score: score_from(row, 1)?,
            last_message_at: time_from(row, 2)?,
            messages: count_from(row, 3)?,
        })
    })
}

fn rules_from(row: &Row<'_>, guild: GuildId) -> rusqlite::Result<GuildRules> {
    type SetRule = fn(ScoreRules, &Row<'_>) -> rusqlite::Result<ScoreRules>;
    const RULES: [SetRule; 5] = [
        |rules, row| valid(0, Type::Real, rules.with_max_score(row.get(0)?)),
        |rules, row| valid(1, Type::Real, rules.with_gain_per_message(row.get(1)?)),
        |rules, row| valid(2, Type::Integer, rules.with_cooldown_seconds(row.get(2)?)),
        |rules, row| {
            valid(
                3,
                Type::Integer,
                rules.with_decay_after_seconds(row.get(3)?),
            )
        },
        |rules, row| valid(4, Type::Real, rules.with_decay_per_hour(row.get(4)?)),
    ];
    let time_zone = |row: &Row<'_>| {
        let name: String = row.get(5)?;
        valid(5, Type::Text, GuildTimeZone::new(&name))
    };
    // One by one: the error names all that is wrong, and has the rest.
    let mut rules = GuildRules::default();
    let mut invalid = Vec::new();
    for set in RULES {
        match set(rules.score, row) {
            Ok(score) => rules.score = score,
            Err(error) => invalid.push(InvalidValue::of(row, error)?),
        }
    }
    match time_zone(row) {
        Ok(time_zone) => rules.time_zone = time_zone,
        Err(error) => invalid.push(InvalidValue::of(row, error)?),
    }
    if invalid.is_empty() {
        Ok(rules)
    } else {
        Err(InvalidRow::of_rules(guild, invalid, rules))
    }
}

pub(crate) fn user_from(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    valid(
        column,
        Type::Integer,
        UserId::try_from(row.get::<_, i64>(column)?),
    )
}

pub(crate) fn score_from(row: &Row<'_>, column: usize) -> rusqlite::Result<Score> {
    valid(column, Type::Real, Score::new(row.get(column)?))
}

pub(crate) fn time_from(row: &Row<'_>, column: usize) -> rusqlite::Result<UnixSeconds> {
    valid(column, Type::Integer, UnixSeconds::new(row.get(column)?))
}

pub(crate) fn count_from(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let count: i64 = row.get(column)?;
    let counted = u64::try_from(count).map_err(|_| NegativeCount(count));
    valid(column, Type::Integer, counted)
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is not a count: expected a whole number from 0")]
struct NegativeCount(i64);

/// A value in the file that the domain refuses means that somebody else wrote it.
pub(crate) fn valid<T, E>(column: usize, kind: Type, value: Result<T, E>) -> rusqlite::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    value.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error)))
}
