-- Leaderboards and ranks that do not look at every member of a large guild.
--
-- All of it is derived from activity_meter and kept up to date by the program: it fills the tables of
-- a guild, step by step, once the guild is large, and can do so again at any time. Here only the
-- guilds' own rows are computed.

-- What is known of a guild as a whole.
CREATE TABLE activity_guild (
    guild_id   INTEGER NOT NULL PRIMARY KEY CHECK (guild_id > 0),
    members    INTEGER NOT NULL DEFAULT 0,
    -- No member's last_msg is later than this.
    latest     INTEGER NOT NULL DEFAULT 0,
    -- The decay per second and the grace that the ranks are kept by, and the width of the spans that
    -- they are counted in; NULL where they are not kept.
    rank_rate  REAL,
    rank_grace INTEGER,
    rank_width REAL,
    -- Members up to this user are ranked; the greatest integer where all are.
    ranked_to  INTEGER NOT NULL DEFAULT 0,
    -- Members whose score had fallen to 0 by this time may be counted in activity_faded alone.
    swept_to   INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO activity_guild (guild_id, members, latest)
    SELECT guild_id, count(*), max(last_msg) FROM activity_meter GROUP BY guild_id;

-- The members of a ranked guild whose score has not fallen to 0, in an order that time does not change:
-- rank_key = score + rank_rate * last_msg. What a score has decayed to at a time T is
-- min(score, rank_key - rank_rate * (T - rank_grace)), and never below 0.
CREATE TABLE activity_rank (
    guild_id INTEGER NOT NULL,
    rank_key REAL    NOT NULL,
    user_id  INTEGER NOT NULL,
    score    REAL    NOT NULL,
    last_msg INTEGER NOT NULL,
    PRIMARY KEY (guild_id, rank_key, user_id)
) STRICT, WITHOUT ROWID;

-- How many rows of activity_rank have their key in a span: floor(rank_key / rank_width).
CREATE TABLE activity_rank_count (
    guild_id INTEGER NOT NULL,
    span     INTEGER NOT NULL,
    members  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, span)
) STRICT, WITHOUT ROWID;

-- How many members of a ranked guild have no row in activity_rank, by spans of user ids: user_id >> 48.
CREATE TABLE activity_faded (
    guild_id INTEGER NOT NULL,
    span     INTEGER NOT NULL,
    members  INTEGER NOT NULL,
    PRIMARY KEY (guild_id, span)
) STRICT, WITHOUT ROWID;
