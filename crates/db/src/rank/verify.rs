//! Comparing what is derived with the members' rows, which other programs may have changed.

use roas_domain::{GuildId, Score, UnixSeconds};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::buckets::Counts;
use super::maintain::{CountChanges, STEP};
use super::{EXPIRED, find_guild, key_buckets};
use crate::invalid::InvalidRow;
use crate::sql::{find_rules, members_after, valid};

/// All guilds that have members, or are counted.
pub(crate) fn guilds(connection: &Connection) -> rusqlite::Result<Vec<GuildId>> {
    // The recursion finds each guild by one look-up, however many members it has.
    connection
        .prepare_cached(
            "WITH RECURSIVE guild (id) AS (
                 SELECT min(guild_id) FROM activity_meter
                 UNION ALL
                 SELECT (SELECT min(guild_id) FROM activity_meter WHERE guild_id > id)
                 FROM guild WHERE id IS NOT NULL)
             SELECT id FROM guild WHERE id IS NOT NULL
             UNION SELECT guild_id FROM activity_guild",
        )?
        .query_map([], |row| {
            valid(0, Type::Integer, GuildId::try_from(row.get::<_, i64>(0)?))
        })?
        .collect()
}

/// What differs in the guilds whose rows can all be read.
pub(crate) fn differences(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut differences = Vec::new();
    for guild in guilds(connection)? {
        match verify(connection, guild) {
            Ok(None) => {}
            Ok(Some(difference)) => differences.push(format!(
                "guild {guild} {difference}: another program has changed its members; the next \
                 maintenance of the meter corrects that"
            )),
            Err(error) => drop(InvalidRow::take_from(error)?),
        }
    }
    Ok(differences)
}

/// What differs in a guild, as what it does. Looks up each member's rank, which takes a few seconds for a
/// million, within the caller's transaction.
pub(crate) fn verify(connection: &Connection, guild: GuildId) -> rusqlite::Result<Option<String>> {
    let state = find_guild(connection, guild)?;
    let rules = find_rules(connection, guild)?.score;
    let buckets = state.buckets_by(&rules).filter(|_| state.is_complete());
    let expired_to = UnixSeconds::MIN.saturating_add(state.row.expired_to);
    let mut is_ranked = connection.prepare_cached(
        "SELECT score = ?4 AND last_msg = ?5 FROM activity_rank
         WHERE guild_id = ?1 AND cell = ?2 AND user_id = ?3",
    )?;
    let (mut members, mut ranked, mut after) = (0, 0, 0);
    let mut found = CountChanges::default();
    loop {
        let some = members_after(connection, guild, after, 1, STEP)?;
        let Some(last) = some.last() else { break };
        after = last.member.user.to_i64();
        members += some.len() as u64;
        for record in &some {
            let last = record.last_message_at;
            let Some(buckets) = buckets else { continue };
            let (score, user) = (record.score, record.member.user);
            let (cell, id) = (buckets.cell(record), user.to_i64());
            let key = params![guild.to_i64(), cell, id, score.get(), last.get()];
            match is_ranked.query_row(key, |row| row.get(0)).optional()? {
                Some(true) => {
                    ranked += 1;
                    found.count(buckets, record, buckets.key_bucket(record), 1);
                }
                None if rules.decayed(score, last, expired_to) == Score::ZERO => {
                    found.count(buckets, record, EXPIRED, 1);
                }
                _ => return Ok(Some(format!("ranks user {user} by another score or time"))),
            }
        }
    }
    if members != state.row.members {
        let counted = state.row.members;
        return Ok(Some(format!("counts {counted} members and has {members}")));
    }
    if buckets.is_none() {
        return Ok(None);
    }
    let rows: u64 = connection
        .prepare_cached("SELECT count(*) FROM activity_rank WHERE guild_id = ?1")?
        .query_row([guild.to_i64()], |row| crate::sql::count_from(row, 0))?;
    let counted = key_buckets(connection, guild, i64::MIN)?;
    let counted = counted.iter().rev();
    let same = counted
        .map(|(bucket, counts)| (*bucket, Counts::from_bytes(counts)))
        .eq(found.of(guild));
    Ok((rows != ranked || !same).then(|| "counts or ranks more than its members".to_owned()))
}
