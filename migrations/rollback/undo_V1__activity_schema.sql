-- Undoes V1__activity_schema.sql: removes the meter's tables with all that was recorded in them, and
-- gives the tables that were set aside their names back. Run it in one transaction, with the row of
-- version 1 in refinery_schema_history:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V1__activity_schema.sql' 'COMMIT'
DROP TABLE activity_meter;
DROP TABLE activity_daily;
DROP TABLE activity_settings;
DROP TABLE activity_event;
ALTER TABLE legacy_activity_meter RENAME TO activity_meter;
ALTER TABLE legacy_activity_daily RENAME TO activity_daily;
ALTER TABLE legacy_activity_settings RENAME TO activity_settings;
DELETE FROM refinery_schema_history WHERE version = 1;
