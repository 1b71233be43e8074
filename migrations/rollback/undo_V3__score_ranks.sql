-- Undoes V3__score_ranks.sql. All of it is derived: nothing that was recorded is lost. Run it in one
-- transaction, with the row of version 3 in refinery_schema_history:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V3__score_ranks.sql' 'COMMIT'
DROP TABLE activity_guild;
DROP TABLE activity_rank;
DROP TABLE activity_rank_count;
DROP TABLE activity_rank_bound;
DELETE FROM refinery_schema_history WHERE version = 3;
