//! The table that engines other than the meter keep, and the statements by which they write it.
//!
//! Engines of other programs use these very statements, so that all of them do the same work.

/// Makes the table.
pub const CREATE: &str = "CREATE TABLE activity_meter (
    guild_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    score    REAL    NOT NULL,
    last_msg INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID";

/// Stores one message: guild, user, gain, time.
pub const UPSERT: &str = "INSERT INTO activity_meter (guild_id, user_id, score, last_msg, messages)
VALUES (?1, ?2, ?3, ?4, 1)
ON CONFLICT (guild_id, user_id) DO UPDATE SET
    score = min(100.0, max(0.0, score + excluded.score)),
    last_msg = max(last_msg, excluded.last_msg),
    messages = messages + 1";

/// [`UPSERT`], which answers the score and the time as they then are.
pub const UPSERT_RETURNING: &str =
    "INSERT INTO activity_meter (guild_id, user_id, score, last_msg, messages)
VALUES (?1, ?2, ?3, ?4, 1)
ON CONFLICT (guild_id, user_id) DO UPDATE SET
    score = min(100.0, max(0.0, score + excluded.score)),
    last_msg = max(last_msg, excluded.last_msg),
    messages = messages + 1
RETURNING score, last_msg";

/// Reads a member for one who then writes: guild, user.
pub const SELECT: &str =
    "SELECT score, last_msg, messages FROM activity_meter WHERE guild_id = ?1 AND user_id = ?2";

/// Writes a member who was read: guild, user, score, time, messages.
pub const UPDATE: &str = "UPDATE activity_meter SET score = ?3, last_msg = ?4, messages = ?5
WHERE guild_id = ?1 AND user_id = ?2";

/// Writes a member who was not there: guild, user, score, time, messages.
pub const INSERT: &str = "INSERT INTO activity_meter (guild_id, user_id, score, last_msg, messages)
VALUES (?1, ?2, ?3, ?4, ?5)";

/// The ten greatest scores of a guild: guild.
pub const LEADERBOARD: &str = "SELECT user_id, score, last_msg FROM activity_meter
WHERE guild_id = ?1 ORDER BY score DESC, user_id LIMIT 10";

/// A member's place by score: guild, user.
pub const RANK: &str = "SELECT 1 + count(*) FROM activity_meter AS other
JOIN activity_meter AS member ON member.guild_id = other.guild_id
WHERE member.guild_id = ?1 AND member.user_id = ?2
  AND (other.score > member.score OR (other.score = member.score AND other.user_id < member.user_id))";

/// What a message adds to a score.
pub const GAIN: f64 = 1.0;

/// The greatest score.
pub const MAX_SCORE: f64 = 100.0;
