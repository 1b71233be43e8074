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
    -- The decay per second and the grace that the ranks are kept by, and how wide the bands above the
    -- last bound begin; NULL where no ranks are kept.
    rank_rate  REAL,
    rank_grace INTEGER,
    rank_width REAL,
    -- Members up to this user are ranked; the greatest integer where all are.
    ranked_to  INTEGER NOT NULL DEFAULT 0,
    -- Members whose score had fallen to 0 by this time may be counted in band -1 alone.
    swept_to   INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO activity_guild (guild_id, members, latest)
    SELECT guild_id, count(*), max(last_msg) FROM activity_meter GROUP BY guild_id;

-- The members of a ranked guild whose score has not fallen to 0, by the band that their key is in, the
-- greatest score of a band first. Time does not change the key = score + rank_rate * last_msg: what a
-- score has decayed to at a time T is min(score, key - rank_rate * (T - rank_grace)), and never below 0.
CREATE TABLE activity_ranked (
    guild_id INTEGER NOT NULL,
    band     INTEGER NOT NULL,
    score    REAL    NOT NULL,
    user_id  INTEGER NOT NULL,
    last_msg INTEGER NOT NULL,
    PRIMARY KEY (guild_id, band DESC, score DESC, user_id)
) STRICT, WITHOUT ROWID;

-- How the members of a band spread over the classes of scores and those of user ids. Band -1 is that of
-- the members who have no row in activity_ranked. Each class with members is a byte (scores from 0,
-- ids from 128) and their number, seven bits a byte from the lowest, the top bit set but for the last.
CREATE TABLE activity_band (
    guild_id INTEGER NOT NULL,
    band     INTEGER NOT NULL,
    spread   BLOB    NOT NULL,
    PRIMARY KEY (guild_id, band)
) STRICT, WITHOUT ROWID;

-- Where the bands and classes of a guild begin, all but the first of each, the lowest first; but the
-- best first of scores. Bands begin with what a member has: a score as a double, a last_msg and a user
-- id, ordered by score + rank_rate * last_msg, then by score, last_msg, and the greater id first. Classes
-- of scores begin with a double and a user id (equal scores by user id), those of ids with a user id.
-- 8 bytes each number. And what the guild was like when they were drawn.
CREATE TABLE activity_rank_bound (
    guild_id INTEGER NOT NULL PRIMARY KEY,
    bands    BLOB    NOT NULL,
    scores   BLOB    NOT NULL,
    users    BLOB    NOT NULL,
    members  INTEGER NOT NULL,
    latest   INTEGER NOT NULL
) STRICT;
