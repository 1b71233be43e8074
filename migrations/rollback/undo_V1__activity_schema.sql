-- Undoes V1__activity_schema.sql: gives the tables that were set aside their names back and removes the
-- meter's. What the meter's tables hold by then was recorded since, and goes into those tables: a
-- member's score and time into the row of theirs with the greatest score, or into a new one. What the
-- original has no place for is lost: message counts beyond the days', rules, remembered events. Run it
-- in one transaction:
--
--   sqlite3 roas.db 'BEGIN IMMEDIATE' '.read migrations/rollback/undo_V1__activity_schema.sql' 'COMMIT'
CREATE TEMP TABLE recorded_member AS
SELECT source_rowid, score, last_msg FROM (
    SELECT l.rowid AS source_rowid, m.score, m.last_msg, row_number() OVER (
        PARTITION BY m.guild_id, m.user_id ORDER BY l.score DESC, l.rowid) AS place
    FROM legacy_activity_meter AS l
    CROSS JOIN activity_meter AS m ON m.guild_id = l.guild_id AND m.user_id = l.user_id)
WHERE place = 1;
INSERT INTO legacy_activity_meter (guild_id, user_id, score, last_msg)
SELECT guild_id, user_id, score, last_msg FROM activity_meter
WHERE (guild_id, user_id) NOT IN (
    SELECT m.guild_id, m.user_id FROM legacy_activity_meter AS l
    CROSS JOIN activity_meter AS m ON m.guild_id = l.guild_id AND m.user_id = l.user_id);
UPDATE legacy_activity_meter AS l SET score = r.score, last_msg = r.last_msg
FROM recorded_member AS r WHERE l.rowid = r.source_rowid;
DROP TABLE temp.recorded_member;

CREATE TEMP TABLE recorded_day AS
SELECT source_rowid, msg_cnt FROM (
    SELECT l.rowid AS source_rowid, d.msg_cnt, row_number() OVER (
        PARTITION BY d.ymd, d.guild_id, d.user_id ORDER BY l.msg_cnt DESC, l.rowid) AS place
    FROM legacy_activity_daily AS l CROSS JOIN activity_daily AS d
        ON d.ymd = l.ymd AND d.guild_id = l.guild_id AND d.user_id = l.user_id)
WHERE place = 1;
INSERT INTO legacy_activity_daily (ymd, guild_id, user_id, msg_cnt)
SELECT ymd, guild_id, user_id, msg_cnt FROM activity_daily
WHERE (ymd, guild_id, user_id) NOT IN (
    SELECT d.ymd, d.guild_id, d.user_id FROM legacy_activity_daily AS l CROSS JOIN activity_daily AS d
        ON d.ymd = l.ymd AND d.guild_id = l.guild_id AND d.user_id = l.user_id);
UPDATE legacy_activity_daily AS l SET msg_cnt = r.msg_cnt
FROM recorded_day AS r WHERE l.rowid = r.source_rowid;
DROP TABLE temp.recorded_day;

DROP TABLE activity_meter;
DROP TABLE activity_daily;
DROP TABLE activity_settings;
DROP TABLE activity_event;
ALTER TABLE legacy_activity_meter RENAME TO activity_meter;
ALTER TABLE legacy_activity_daily RENAME TO activity_daily;
ALTER TABLE legacy_activity_settings RENAME TO activity_settings;
DELETE FROM refinery_schema_history WHERE version = 1;
