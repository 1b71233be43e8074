-- The bands of ranks begin where the members of a guild divide, instead of each being as wide as the
-- next: a band of one width holds most of a guild whose members are alike. All of it is derived, and
-- made anew.
DELETE FROM activity_ranked;
DELETE FROM activity_band;
DROP TABLE activity_rank_class;

-- In activity_band.spread, classes of scores are from now on bytes from 0, and those of ids from 128.

-- rank_width is from now on how wide the bands above the last bound begin.
UPDATE activity_guild
    SET rank_rate = NULL, rank_grace = NULL, rank_width = NULL, ranked_to = 0, swept_to = 0;

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
