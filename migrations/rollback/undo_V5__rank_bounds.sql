-- Undoes V5__rank_bounds.sql. All of it is derived: nothing that was recorded is lost, and a program
-- that knows version 4 makes its ranks anew. Run it in one transaction, with the row of version 5 in
-- refinery_schema_history:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V5__rank_bounds.sql' 'COMMIT'
DELETE FROM activity_ranked;
DELETE FROM activity_band;
DROP TABLE activity_rank_bound;

UPDATE activity_guild
    SET rank_rate = NULL, rank_grace = NULL, rank_width = NULL, ranked_to = 0, swept_to = 0;

-- As V4__rank_bands.sql has it.
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
DELETE FROM refinery_schema_history WHERE version = 5;
