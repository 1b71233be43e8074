-- Undoes V4__recording_clock.sql. Event ids are kept; they age by the host's clock alone again. Run it
-- in one transaction, with the row of version 4 in refinery_schema_history:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V4__recording_clock.sql' 'COMMIT'
DROP TABLE activity_clock;
DELETE FROM refinery_schema_history WHERE version = 4;
