-- The activity meter's schema.
--
-- A database of the original bot has tables of these names already. They are set aside first, rows
-- and all, under the prefix legacy_, so that this script succeeds on a new file and on an old one
-- alike; in a new file they are empty. A later migration takes their rows over.
--
-- Views, triggers and foreign keys of other modules keep their text to the byte: they go on naming
-- activity_meter, which from here on is the new table. ALTER TABLE alone would fail if any view in the
-- file does not resolve, and would rewrite the others to name the renamed table. While writable_schema
-- is on it skips what it cannot resolve; what it rewrote is then put back in sqlite_schema. Triggers on
-- the tables are taken out before, so that they neither follow them nor fire.
CREATE TABLE IF NOT EXISTS activity_meter (guild_id, user_id, score, last_msg);
CREATE TABLE IF NOT EXISTS activity_daily (ymd, guild_id, user_id, msg_cnt);
CREATE TABLE IF NOT EXISTS activity_settings (guild_id, max_score);

-- The text of the tables that are set aside and of their indexes, before and after. The script that
-- undoes this one puts the first back wherever the second is still there.
CREATE TABLE legacy_activity_schema (
    type        TEXT NOT NULL,
    name        TEXT NOT NULL,
    tbl_name    TEXT NOT NULL,
    sql         TEXT,
    legacy_name TEXT NOT NULL,
    legacy_sql  TEXT,
    CONSTRAINT "an index or a table of the original does not resolve"
        CHECK (sql IS NULL OR sql <> legacy_sql)
);
CREATE TEMP TABLE legacy_kept AS SELECT rowid AS id, * FROM main.sqlite_schema;

PRAGMA writable_schema = ON;
DELETE FROM main.sqlite_schema WHERE type = 'trigger'
    AND lower(tbl_name) IN ('activity_meter', 'activity_daily', 'activity_settings');
PRAGMA writable_schema = RESET;
PRAGMA writable_schema = ON;
ALTER TABLE activity_meter RENAME TO legacy_activity_meter;
ALTER TABLE activity_daily RENAME TO legacy_activity_daily;
ALTER TABLE activity_settings RENAME TO legacy_activity_settings;

INSERT INTO legacy_activity_schema
SELECT k.type, k.name, k.tbl_name, k.sql, s.name, s.sql
FROM temp.legacy_kept AS k JOIN main.sqlite_schema AS s ON s.rowid = k.id
WHERE s.tbl_name IN ('legacy_activity_meter', 'legacy_activity_daily', 'legacy_activity_settings')
ORDER BY k.id;
UPDATE main.sqlite_schema AS s SET sql = k.sql FROM temp.legacy_kept AS k
WHERE k.type = s.type AND k.name = s.name AND k.tbl_name = s.tbl_name
    AND k.sql IS NOT s.sql;
PRAGMA writable_schema = RESET;

-- One row a member. WITHOUT ROWID: the row lives in the primary key's own tree, so that an upsert
-- touches one tree, and the members of a guild lie side by side.
CREATE TABLE activity_meter (
    guild_id INTEGER NOT NULL CHECK (guild_id > 0),
    user_id  INTEGER NOT NULL CHECK (user_id > 0),
    -- As of last_msg; readers decay it to the time they ask for.
    score    REAL    NOT NULL CHECK (score BETWEEN 0 AND 1e9),
    -- Unix seconds, never milliseconds.
    last_msg INTEGER NOT NULL CHECK (last_msg BETWEEN 0 AND 99999999999),
    messages INTEGER NOT NULL DEFAULT 0 CHECK (messages >= 0),
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;

-- Messages of a member on a day, YYYYMMDD in the guild's time zone.
CREATE TABLE activity_daily (
    ymd      TEXT    NOT NULL CHECK (length(ymd) = 8),
    guild_id INTEGER NOT NULL CHECK (guild_id > 0),
    user_id  INTEGER NOT NULL CHECK (user_id > 0),
    msg_cnt  INTEGER NOT NULL DEFAULT 0 CHECK (msg_cnt >= 0),
    PRIMARY KEY (ymd, guild_id, user_id)
) STRICT, WITHOUT ROWID;

-- A guild without a row has the defaults.
CREATE TABLE activity_settings (
    guild_id            INTEGER NOT NULL PRIMARY KEY CHECK (guild_id > 0),
    report_channel_id   INTEGER,
    report_hour         INTEGER NOT NULL DEFAULT 8,
    max_score           REAL    NOT NULL DEFAULT 100.0,
    gain_per_message    REAL    NOT NULL DEFAULT 1.0,
    decay_after_seconds INTEGER NOT NULL DEFAULT 300,
    decay_per_hour      REAL    NOT NULL DEFAULT 6.0,
    cooldown_seconds    INTEGER NOT NULL DEFAULT 60,
    auto_report_enabled INTEGER NOT NULL DEFAULT 1,
    time_zone           TEXT    NOT NULL DEFAULT 'UTC'
) STRICT;

-- The ids of events that were recorded, so that the same one counts once. Snowflakes rise with
-- time, so new rows go to the end of the tree.
CREATE TABLE activity_event (
    event_id    INTEGER NOT NULL PRIMARY KEY,
    -- When it was recorded (Unix seconds), not when it happened: ids are remembered for a while
    -- from then on.
    recorded_at INTEGER NOT NULL
) STRICT;

-- The triggers of other modules are the new tables' from here on.
PRAGMA writable_schema = ON;
INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql)
SELECT type, name, tbl_name, rootpage, sql FROM temp.legacy_kept
WHERE type = 'trigger' AND lower(tbl_name) IN ('activity_meter', 'activity_daily', 'activity_settings')
ORDER BY id;
PRAGMA writable_schema = RESET;
DROP TABLE temp.legacy_kept;
