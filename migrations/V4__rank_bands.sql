-- Ranks of large guilds, counted in two dimensions: whether a member is above another depends on the
-- score as it was stored while the member is in grace, and on the key (score + rank_rate * last_msg)
-- afterwards. What V3 counted by the key alone goes; all of it is derived, and made anew.
DROP TABLE activity_rank;
DROP TABLE activity_rank_count;
DROP TABLE activity_faded;

-- rank_width is from now on the width of the bands of keys.
UPDATE activity_guild
    SET rank_rate = NULL, rank_grace = NULL, rank_width = NULL, ranked_to = 0, swept_to = 0;

-- The members of a ranked guild whose score has not fallen to 0, by the band that their key is in,
-- floor((score + rank_rate * last_msg) / rank_width), the best of a band first.
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
-- ids from 64) and their number, seven bits a byte from the lowest, the top bit set but for the last.
CREATE TABLE activity_band (
    guild_id INTEGER NOT NULL,
    band     INTEGER NOT NULL,
    spread   BLOB    NOT NULL,
    PRIMARY KEY (guild_id, band)
) STRICT, WITHOUT ROWID;

-- Where the classes of a guild begin, all but the first of each: those of scores as a double and a user
-- id (the best score first, equal scores by user id), those of ids as a user id; 8 bytes each, the
-- lowest first. And what the guild was like when they were drawn.
CREATE TABLE activity_rank_class (
    guild_id INTEGER NOT NULL PRIMARY KEY,
    scores   BLOB    NOT NULL,
    users    BLOB    NOT NULL,
    members  INTEGER NOT NULL,
    latest   INTEGER NOT NULL
) STRICT;
