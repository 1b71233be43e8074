-- Undoes V1__activity_schema.sql: gives the tables that were set aside their names back and removes the
-- meter's. What the meter's tables hold by then was recorded since, and goes into those tables: a
-- member's score and time into the row of theirs with the greatest score, or into a new one. What the
-- original has no place for is lost: message counts beyond the days', rules, remembered events. The
-- text of every table, index, view and trigger is then as it was. Run it in one transaction; the first
-- command allows changes to sqlite_schema:
--
--   sqlite3 roas.db '.dbconfig defensive off' 'BEGIN IMMEDIATE' \
--       '.read migrations/rollback/undo_V1__activity_schema.sql' 'COMMIT'

-- An earlier V1 kept no text. It let ALTER TABLE write the new names, in quotes, into whatever referred
-- to the tables, also in other modules' objects.
CREATE TABLE IF NOT EXISTS legacy_activity_schema (type, name, tbl_name, sql, legacy_name, legacy_sql);
INSERT INTO legacy_activity_schema
SELECT type,
    replace(replace(replace(name, 'legacy_activity_meter', 'activity_meter'),
        'legacy_activity_daily', 'activity_daily'), 'legacy_activity_settings', 'activity_settings'),
    replace(replace(replace(tbl_name, 'legacy_activity_meter', 'activity_meter'),
        'legacy_activity_daily', 'activity_daily'), 'legacy_activity_settings', 'activity_settings'),
    replace(replace(replace(sql, '"legacy_activity_meter"', 'activity_meter'),
        '"legacy_activity_daily"', 'activity_daily'), '"legacy_activity_settings"', 'activity_settings'),
    name, sql
FROM main.sqlite_schema
WHERE NOT EXISTS (SELECT 1 FROM legacy_activity_schema);

-- All objects with the text that they are to have, but for those that go with the meter's tables.
CREATE TEMP TABLE legacy_kept AS
SELECT s.type, coalesce(l.name, s.name) AS name, coalesce(l.tbl_name, s.tbl_name) AS tbl_name,
    s.rootpage, CASE WHEN l.name IS NULL THEN s.sql ELSE l.sql END AS sql
FROM main.sqlite_schema AS s LEFT JOIN legacy_activity_schema AS l
    ON l.type = s.type AND l.legacy_name = s.name AND l.legacy_sql IS s.sql
WHERE s.type IN ('trigger', 'view')
    OR lower(s.tbl_name) NOT IN ('activity_meter', 'activity_daily', 'activity_settings')
ORDER BY s.rowid;

-- No trigger fires while rows move.
PRAGMA writable_schema = ON;
DELETE FROM main.sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) IN (
    'activity_meter', 'activity_daily', 'activity_settings',
    'legacy_activity_meter', 'legacy_activity_daily', 'legacy_activity_settings');
PRAGMA writable_schema = RESET;

CREATE TEMP TABLE recorded_member (
    guild_id INTEGER, user_id INTEGER, legacy_score, legacy_last_msg, score REAL, last_msg INTEGER,
    PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO recorded_member
SELECT m.guild_id, m.user_id, l.score, l.last_msg, m.score, m.last_msg
FROM legacy_activity_meter AS l
CROSS JOIN activity_meter AS m ON m.guild_id = l.guild_id AND m.user_id = l.user_id
ORDER BY l.score DESC, l.last_msg DESC
ON CONFLICT DO NOTHING;
UPDATE legacy_activity_meter AS l SET (score, last_msg) = (
    SELECT r.score, r.last_msg FROM recorded_member AS r
    WHERE r.guild_id = l.guild_id AND r.user_id = l.user_id)
WHERE EXISTS (
    SELECT 1 FROM recorded_member AS r
    WHERE r.guild_id = l.guild_id AND r.user_id = l.user_id
        AND r.legacy_score IS l.score AND r.legacy_last_msg IS l.last_msg);
INSERT INTO legacy_activity_meter (guild_id, user_id, score, last_msg)
SELECT guild_id, user_id, score, last_msg FROM activity_meter AS m
WHERE NOT EXISTS (
    SELECT 1 FROM recorded_member AS r WHERE r.guild_id = m.guild_id AND r.user_id = m.user_id);
DROP TABLE temp.recorded_member;

CREATE TEMP TABLE recorded_day (
    ymd TEXT, guild_id INTEGER, user_id INTEGER, legacy_msg_cnt, msg_cnt INTEGER,
    PRIMARY KEY (ymd, guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO recorded_day
SELECT d.ymd, d.guild_id, d.user_id, l.msg_cnt, d.msg_cnt
FROM legacy_activity_daily AS l CROSS JOIN activity_daily AS d
    ON d.ymd = l.ymd AND d.guild_id = l.guild_id AND d.user_id = l.user_id
ORDER BY l.msg_cnt DESC
ON CONFLICT DO NOTHING;
UPDATE legacy_activity_daily AS l SET msg_cnt = (
    SELECT r.msg_cnt FROM recorded_day AS r
    WHERE r.ymd = l.ymd AND r.guild_id = l.guild_id AND r.user_id = l.user_id)
WHERE EXISTS (
    SELECT 1 FROM recorded_day AS r
    WHERE r.ymd = l.ymd AND r.guild_id = l.guild_id AND r.user_id = l.user_id
        AND r.legacy_msg_cnt IS l.msg_cnt);
INSERT INTO legacy_activity_daily (ymd, guild_id, user_id, msg_cnt)
SELECT ymd, guild_id, user_id, msg_cnt FROM activity_daily AS d
WHERE NOT EXISTS (
    SELECT 1 FROM recorded_day AS r
    WHERE r.ymd = d.ymd AND r.guild_id = d.guild_id AND r.user_id = d.user_id);
DROP TABLE temp.recorded_day;

-- Triggers that somebody made on the tables under their present names follow them.
PRAGMA writable_schema = ON;
INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql)
SELECT type, name, tbl_name, rootpage, sql FROM temp.legacy_kept
WHERE type = 'trigger' AND lower(tbl_name) IN (
    'legacy_activity_meter', 'legacy_activity_daily', 'legacy_activity_settings');
PRAGMA writable_schema = RESET;
PRAGMA writable_schema = ON;
ALTER TABLE activity_meter RENAME TO quiet_activity_meter;
ALTER TABLE activity_daily RENAME TO quiet_activity_daily;
ALTER TABLE activity_settings RENAME TO quiet_activity_settings;
ALTER TABLE legacy_activity_meter RENAME TO activity_meter;
ALTER TABLE legacy_activity_daily RENAME TO activity_daily;
ALTER TABLE legacy_activity_settings RENAME TO activity_settings;
UPDATE main.sqlite_schema AS s SET name = k.name, tbl_name = k.tbl_name, sql = k.sql
FROM temp.legacy_kept AS k
WHERE k.type = s.type AND lower(k.name) = lower(s.name);
INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql)
SELECT type, name, tbl_name, rootpage, sql FROM temp.legacy_kept
WHERE type = 'trigger' AND lower(tbl_name) IN ('activity_meter', 'activity_daily', 'activity_settings');
PRAGMA writable_schema = RESET;

-- Under these names no foreign key refers to them, whose action dropping a table would run.
DROP TABLE quiet_activity_meter;
DROP TABLE quiet_activity_daily;
DROP TABLE quiet_activity_settings;
DROP TABLE activity_event;
DROP TABLE legacy_activity_schema;
DROP TABLE temp.legacy_kept;
DELETE FROM refinery_schema_history WHERE version = 1;
