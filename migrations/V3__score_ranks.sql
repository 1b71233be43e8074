-- Leaderboards and ranks of large guilds, without reading every member.
--
-- All of it is derived from activity_meter and kept up to date by the program, which fills the tables of
-- a guild in steps once the guild is large, and can rebuild them at any time. Only the guilds' own rows
-- are computed here.

-- One row a guild.
CREATE TABLE activity_guild (
    guild_id   INTEGER NOT NULL PRIMARY KEY CHECK (guild_id > 0),
    members    INTEGER NOT NULL DEFAULT 0,
    -- No member's last_msg is later than this.
    latest     INTEGER NOT NULL DEFAULT 0,
    -- Members up to this user id are in the ranks; the greatest integer where all are; NULL where no
    -- ranks are kept.
    ranked_to  INTEGER,
    -- Members whose score had decayed to 0 by this time may have no row in activity_rank.
    expired_to INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO activity_guild (guild_id, members, latest)
    SELECT guild_id, count(*), max(last_msg) FROM activity_meter GROUP BY guild_id;

-- The members of a ranked guild whose score has not decayed to 0, by cell: the bucket of their key, times
-- 128, and in that the bucket of their score. Time does not change a key = score + rate * last_msg: at a
-- time T a score has decayed to min(score, key - rate * (T - grace)), and never below 0.
CREATE TABLE activity_rank (
    guild_id INTEGER NOT NULL,
    cell     INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    score    REAL    NOT NULL,
    last_msg INTEGER NOT NULL,
    PRIMARY KEY (guild_id, cell, user_id)
) STRICT, WITHOUT ROWID;

-- The members of each key bucket, by score bucket and by user bucket; in bucket -1, by user bucket,
-- those who have no row in activity_rank. In counts, each bucket with members is a byte (scores from 0,
-- users from 128) and the number, seven bits a byte from the lowest, with the top bit set in all but
-- the last.
CREATE TABLE activity_rank_count (
    guild_id INTEGER NOT NULL,
    bucket   INTEGER NOT NULL,
    counts   BLOB    NOT NULL,
    PRIMARY KEY (guild_id, bucket)
) STRICT, WITHOUT ROWID;

-- Where the buckets of a ranked guild begin, all but the first of each kind, 8 bytes a number, the lowest
-- byte first: keys as doubles, scores each as a double and a user id (the greatest score first), user
-- ids as integers. And the guild's rules and size when the bounds were chosen.
CREATE TABLE activity_rank_bound (
    guild_id     INTEGER NOT NULL PRIMARY KEY,
    -- Points a second.
    rate         REAL    NOT NULL,
    -- Seconds.
    grace        INTEGER NOT NULL,
    key_bounds   BLOB    NOT NULL,
    score_bounds BLOB    NOT NULL,
    user_bounds  BLOB    NOT NULL,
    members      INTEGER NOT NULL,
    latest       INTEGER NOT NULL
) STRICT;
