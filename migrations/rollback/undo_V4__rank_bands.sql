-- Undoes V4__rank_bands.sql. All of it is derived: nothing that was recorded is lost, and a program
-- that knows version 3 makes its ranks anew. Run it in one transaction, with the row of version 4 in
-- refinery_schema_history:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V4__rank_bands.sql' 'COMMIT'
DROP TABLE activity_ranked;
DROP TABLE activity_band;
DROP TABLE activity_rank_class;

UPDATE activity_guild
    SET rank_rate = NULL, rank_grace = NULL, rank_width = NULL, ranked_to = 0, swept_to = 0;

-- As V3__score_ranks.sql has them.
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
DELETE FROM refinery_schema_history WHERE version = 4;
