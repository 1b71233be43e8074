-- Undoes V2__take_over_legacy.sql: what was taken over and has not changed since is removed from the
-- meter's tables again. The original's tables hold it still, as it was; what was merged and what was
-- quarantined is among their rows. What was recorded since stays in the meter's tables, and prevails
-- when V2 is run again. Run it in one transaction, in a session of its own:
--
--   sqlite3 roas.db '.dbconfig defensive off' 'BEGIN IMMEDIATE' \
--       '.read migrations/rollback/undo_V2__take_over_legacy.sql' 'COMMIT'

-- From here on this is the same as in the script that is undone, up to the mark.
ATTACH ':memory:' AS legacy_stand_in;
CREATE TABLE legacy_stand_in.meter (guild_id, user_id, score, last_msg);
CREATE TABLE legacy_stand_in.daily (ymd, guild_id, user_id, msg_cnt);
CREATE TABLE legacy_stand_in.report_channel (guild_id, channel_id);
CREATE TABLE legacy_stand_in.activity_report_channel (guild_id, channel_id);


-- Which of the tables that V1 did not set aside are the original's: another module may have a
-- `meter`, too.
CREATE TEMP TABLE legacy_source AS
SELECT 'meter' AS source WHERE 3 = (SELECT count(*) FROM pragma_table_info('meter')
    WHERE lower(name) IN ('guild_id', 'user_id', 'score'))
UNION ALL
SELECT 'daily' WHERE 4 = (SELECT count(*) FROM pragma_table_info('daily')
    WHERE lower(name) IN ('ymd', 'guild_id', 'user_id', 'msg_cnt'))
UNION ALL
SELECT 'report_channel' WHERE 2 = (SELECT count(*) FROM pragma_table_info('report_channel')
    WHERE lower(name) IN ('guild_id', 'channel_id'))
UNION ALL
SELECT 'activity_report_channel'
WHERE 2 = (SELECT count(*) FROM pragma_table_info('activity_report_channel')
    WHERE lower(name) IN ('guild_id', 'channel_id'));

-- The rows of each table, numbered by rowid; by their order where a table is WITHOUT ROWID, or has
-- columns of all three names of the rowid. Which of them a table allows has to be known before a
-- statement is prepared, so the views are written into the schema as text.
PRAGMA writable_schema = ON;
INSERT INTO temp.sqlite_schema (type, name, tbl_name, rootpage, sql)
SELECT 'view', 'numbered_' || t.name, 'numbered_' || t.name, 0,
    'CREATE VIEW numbered_' || t.name || ' AS SELECT ' || coalesce(
        (SELECT r.name FROM (SELECT 'rowid' AS name UNION ALL SELECT '_rowid_' UNION ALL SELECT 'oid') AS r
            WHERE (t.type, t.wr) = ('table', 0)
                AND r.name NOT IN (SELECT lower(name) FROM pragma_table_xinfo(t.name)) LIMIT 1),
        'row_number() OVER ()') || ' AS source_rowid, * FROM ' || t.name || ' NOT INDEXED'
FROM (
    SELECT lower(name) AS name, type, wr, max(CASE schema WHEN 'temp' THEN 2 WHEN 'main' THEN 1 ELSE 0 END)
    FROM pragma_table_list
    WHERE lower(name) IN ('legacy_activity_meter', 'legacy_activity_daily', 'legacy_activity_settings',
        'meter', 'daily', 'report_channel', 'activity_report_channel')
    GROUP BY lower(name)) AS t;
PRAGMA writable_schema = RESET;

-- The rows as they are.
CREATE TEMP VIEW legacy_meter_raw AS
SELECT 'activity_meter' AS source, source_rowid, guild_id, user_id, score, last_msg
FROM numbered_legacy_activity_meter
NATURAL LEFT JOIN (SELECT 0 AS guild_id, 0 AS user_id, 0 AS score, 0 AS last_msg WHERE 0)
UNION ALL
SELECT 'meter', source_rowid, guild_id, user_id, score, last_msg
FROM numbered_meter
NATURAL LEFT JOIN (SELECT 0 AS guild_id, 0 AS user_id, 0 AS score, 0 AS last_msg WHERE 0)
WHERE 'meter' IN (SELECT source FROM legacy_source);

CREATE TEMP VIEW legacy_daily_raw AS
SELECT 'activity_daily' AS source, source_rowid, ymd, guild_id, user_id, msg_cnt
FROM numbered_legacy_activity_daily
NATURAL LEFT JOIN (SELECT 0 AS ymd, 0 AS guild_id, 0 AS user_id, 0 AS msg_cnt WHERE 0)
UNION ALL
SELECT 'daily', source_rowid, ymd, guild_id, user_id, msg_cnt
FROM numbered_daily
NATURAL LEFT JOIN (SELECT 0 AS ymd, 0 AS guild_id, 0 AS user_id, 0 AS msg_cnt WHERE 0)
WHERE 'daily' IN (SELECT source FROM legacy_source);

CREATE TEMP VIEW legacy_settings_raw AS
SELECT 'activity_settings' AS source, source_rowid, guild_id, report_channel_id,
    report_hour, max_score, gain_per_message, decay_after_seconds, decay_per_hour,
    cooldown_seconds, auto_report_enabled
FROM numbered_legacy_activity_settings
NATURAL LEFT JOIN (SELECT 0 AS guild_id, 0 AS report_channel_id, 0 AS report_hour,
    0 AS max_score, 0 AS gain_per_message, 0 AS decay_after_seconds, 0 AS decay_per_hour,
    0 AS cooldown_seconds, 0 AS auto_report_enabled WHERE 0);

CREATE TEMP VIEW legacy_channel_raw AS
SELECT 'activity_report_channel' AS source, source_rowid, guild_id, channel_id
FROM numbered_activity_report_channel
NATURAL LEFT JOIN (SELECT 0 AS guild_id, 0 AS channel_id WHERE 0)
WHERE 'activity_report_channel' IN (SELECT source FROM legacy_source)
UNION ALL
SELECT 'report_channel', source_rowid, guild_id, channel_id
FROM numbered_report_channel
NATURAL LEFT JOIN (SELECT 0 AS guild_id, 0 AS channel_id WHERE 0)
WHERE 'report_channel' IN (SELECT source FROM legacy_source);

-- The rows' ids and numbers; NULL where a value is none. Ids are whole numbers, or the digits of
-- one; a real number is one where it is exact, because above 2^53 it may have been another id. The
-- text of a number is that number.
CREATE TEMP VIEW legacy_meter_number AS
SELECT source, source_rowid,
    CASE typeof(guild_id)
        WHEN 'integer' THEN guild_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(guild_id), '0') = CAST(CAST(guild_id AS INTEGER) AS TEXT)
            THEN CAST(guild_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN guild_id = CAST(guild_id AS INTEGER) AND guild_id < 9007199254740992
            THEN CAST(guild_id AS INTEGER) END
    END AS guild_id,
    CASE typeof(user_id)
        WHEN 'integer' THEN user_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(user_id), '0') = CAST(CAST(user_id AS INTEGER) AS TEXT)
            THEN CAST(user_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN user_id = CAST(user_id AS INTEGER) AND user_id < 9007199254740992
            THEN CAST(user_id AS INTEGER) END
    END AS user_id,
    CASE WHEN score = CAST(score AS NUMERIC) THEN CAST(score AS NUMERIC) END AS score,
    CASE WHEN last_msg = CAST(last_msg AS NUMERIC) THEN CAST(last_msg AS NUMERIC) END AS last_msg,
    guild_id AS raw_guild_id, user_id AS raw_user_id, score AS raw_score, last_msg AS raw_last_msg
FROM legacy_meter_raw;

CREATE TEMP VIEW legacy_daily_number AS
SELECT source, source_rowid,
    CASE typeof(guild_id)
        WHEN 'integer' THEN guild_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(guild_id), '0') = CAST(CAST(guild_id AS INTEGER) AS TEXT)
            THEN CAST(guild_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN guild_id = CAST(guild_id AS INTEGER) AND guild_id < 9007199254740992
            THEN CAST(guild_id AS INTEGER) END
    END AS guild_id,
    CASE typeof(user_id)
        WHEN 'integer' THEN user_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(user_id), '0') = CAST(CAST(user_id AS INTEGER) AS TEXT)
            THEN CAST(user_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN user_id = CAST(user_id AS INTEGER) AND user_id < 9007199254740992
            THEN CAST(user_id AS INTEGER) END
    END AS user_id,
    CASE WHEN typeof(ymd) IN ('text', 'integer') AND CAST(ymd AS TEXT) = strftime('%Y%m%d',
            substr(ymd, 1, 4) || '-' || substr(ymd, 5, 2) || '-' || substr(ymd, 7, 2))
        THEN CAST(ymd AS TEXT) END AS ymd,
    CASE WHEN msg_cnt = CAST(msg_cnt AS NUMERIC) THEN CAST(msg_cnt AS NUMERIC) END AS msg_cnt,
    guild_id AS raw_guild_id, user_id AS raw_user_id, ymd AS raw_ymd, msg_cnt AS raw_msg_cnt
FROM legacy_daily_raw;

CREATE TEMP VIEW legacy_settings_number AS
SELECT source, source_rowid,
    CASE typeof(guild_id)
        WHEN 'integer' THEN guild_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(guild_id), '0') = CAST(CAST(guild_id AS INTEGER) AS TEXT)
            THEN CAST(guild_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN guild_id = CAST(guild_id AS INTEGER) AND guild_id < 9007199254740992
            THEN CAST(guild_id AS INTEGER) END
    END AS guild_id,
    CASE typeof(report_channel_id)
        WHEN 'integer' THEN report_channel_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(report_channel_id), '0') = CAST(CAST(report_channel_id AS INTEGER) AS TEXT)
            THEN CAST(report_channel_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN report_channel_id = CAST(report_channel_id AS INTEGER) AND report_channel_id < 9007199254740992
            THEN CAST(report_channel_id AS INTEGER) END
    END AS report_channel_id,
    CASE WHEN report_hour = CAST(report_hour AS NUMERIC) THEN CAST(report_hour AS NUMERIC) END AS report_hour,
    CASE WHEN max_score = CAST(max_score AS NUMERIC) THEN CAST(max_score AS NUMERIC) END AS max_score,
    CASE WHEN gain_per_message = CAST(gain_per_message AS NUMERIC) THEN CAST(gain_per_message AS NUMERIC) END AS gain_per_message,
    CASE WHEN decay_after_seconds = CAST(decay_after_seconds AS NUMERIC) THEN CAST(decay_after_seconds AS NUMERIC) END AS decay_after_seconds,
    CASE WHEN decay_per_hour = CAST(decay_per_hour AS NUMERIC) THEN CAST(decay_per_hour AS NUMERIC) END AS decay_per_hour,
    CASE WHEN cooldown_seconds = CAST(cooldown_seconds AS NUMERIC) THEN CAST(cooldown_seconds AS NUMERIC) END AS cooldown_seconds,
    CASE WHEN auto_report_enabled = CAST(auto_report_enabled AS NUMERIC) THEN CAST(auto_report_enabled AS NUMERIC) END AS auto_report_enabled,
    guild_id AS raw_guild_id
FROM legacy_settings_raw;

CREATE TEMP VIEW legacy_channel_number AS
SELECT source, source_rowid,
    CASE typeof(guild_id)
        WHEN 'integer' THEN guild_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(guild_id), '0') = CAST(CAST(guild_id AS INTEGER) AS TEXT)
            THEN CAST(guild_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN guild_id = CAST(guild_id AS INTEGER) AND guild_id < 9007199254740992
            THEN CAST(guild_id AS INTEGER) END
    END AS guild_id,
    CASE typeof(channel_id)
        WHEN 'integer' THEN channel_id
        WHEN 'text' THEN CASE WHEN ltrim(trim(channel_id), '0') = CAST(CAST(channel_id AS INTEGER) AS TEXT)
            THEN CAST(channel_id AS INTEGER) END
        WHEN 'real' THEN CASE WHEN channel_id = CAST(channel_id AS INTEGER) AND channel_id < 9007199254740992
            THEN CAST(channel_id AS INTEGER) END
    END AS channel_id,
    guild_id AS raw_guild_id, channel_id AS raw_channel_id
FROM legacy_channel_raw;

-- The guilds' settings, one row a guild, each value that the meter does not allow replaced by the
-- default. A stored 0 is one of them: the original read `value or default`, so its members had the
-- default.
CREATE TEMP TABLE legacy_settings (
    guild_id INTEGER PRIMARY KEY, source_rowid INTEGER, report_channel_id INTEGER,
    report_hour INTEGER, max_score REAL, gain_per_message REAL, decay_after_seconds INTEGER,
    decay_per_hour REAL, cooldown_seconds INTEGER, auto_report_enabled INTEGER
);
INSERT INTO legacy_settings
SELECT guild_id, source_rowid,
    CASE WHEN report_channel_id > 0 THEN report_channel_id END,
    CASE WHEN report_hour BETWEEN 1 AND 23 THEN CAST(report_hour AS INTEGER) ELSE 8 END,
    CASE WHEN max_score > 0 AND max_score <= 1e9 THEN max_score ELSE 100.0 END,
    CASE WHEN gain_per_message > 0 AND gain_per_message <= 1e9 THEN gain_per_message ELSE 1.0 END,
    CASE WHEN decay_after_seconds > 0 AND decay_after_seconds <= 3155760000
        THEN CAST(decay_after_seconds AS INTEGER) ELSE 300 END,
    CASE WHEN decay_per_hour > 0 AND decay_per_hour <= 1e9 THEN decay_per_hour ELSE 6.0 END,
    CASE WHEN cooldown_seconds > 0 AND cooldown_seconds <= 3155760000
        THEN CAST(cooldown_seconds AS INTEGER) ELSE 60 END,
    CASE WHEN auto_report_enabled = 0 THEN 0 ELSE 1 END
FROM legacy_settings_number
WHERE guild_id > 0
ORDER BY source_rowid
ON CONFLICT DO NOTHING;

-- The guilds' report channels, of which the newer table's prevail, and the settings' own above both.
CREATE TEMP TABLE legacy_channel (
    guild_id INTEGER PRIMARY KEY, source TEXT, source_rowid INTEGER, channel_id INTEGER
);
INSERT INTO legacy_channel
SELECT guild_id, source, source_rowid, channel_id
FROM legacy_channel_number
WHERE guild_id > 0 AND channel_id > 0
ORDER BY source, source_rowid
ON CONFLICT DO NOTHING;

-- The members' rows, cleaned. A score below 0 is 0, and ends at 100 or the guild's own maximum,
-- whichever is greater. A time is in seconds: what is plainly milliseconds is divided, and what is no
-- time at all is 0. A row without a usable key has the key 0.
CREATE TEMP VIEW legacy_meter_clean AS
SELECT
    CASE WHEN n.guild_id > 0 AND user_id > 0 THEN n.guild_id ELSE 0 END AS guild_id,
    CASE WHEN n.guild_id > 0 AND user_id > 0 THEN user_id ELSE 0 END AS user_id,
    CASE WHEN score > 0 THEN min(score, max(100.0, coalesce(max_score, 0))) ELSE 0.0 END AS score,
    CASE
        WHEN last_msg < 0 THEN 0
        WHEN last_msg < 100000000000 THEN CAST(last_msg AS INTEGER)
        WHEN last_msg < 100000000000000 THEN CAST(last_msg / 1000 AS INTEGER)
        ELSE 0
    END AS last_msg,
    source, n.source_rowid
FROM legacy_meter_number AS n LEFT JOIN legacy_settings AS s ON s.guild_id = n.guild_id;

-- Those of a member side by side, in the order of the ids; first the one that the strategy prefers.
CREATE TEMP TABLE IF NOT EXISTS legacy_strategy (strategy);
CREATE TEMP TABLE legacy_meter_row (
    id INTEGER PRIMARY KEY, guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER,
    source TEXT, source_rowid INTEGER
);
INSERT INTO legacy_meter_row (guild_id, user_id, score, last_msg, source, source_rowid)
SELECT * FROM legacy_meter_clean WHERE (SELECT strategy FROM legacy_strategy) IS NOT 'latest'
ORDER BY guild_id, user_id, score DESC, last_msg DESC, source, source_rowid;
INSERT INTO legacy_meter_row (guild_id, user_id, score, last_msg, source, source_rowid)
SELECT * FROM legacy_meter_clean WHERE (SELECT strategy FROM legacy_strategy) IS 'latest'
ORDER BY guild_id, user_id, last_msg DESC, score DESC, source, source_rowid;

-- The same for the days. Counts end where a year of them still adds up.
CREATE TEMP TABLE legacy_daily_row (
    id INTEGER PRIMARY KEY, ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER,
    source TEXT, source_rowid INTEGER
);
INSERT INTO legacy_daily_row (ymd, guild_id, user_id, msg_cnt, source, source_rowid)
SELECT
    CASE WHEN guild_id > 0 AND user_id > 0 THEN coalesce(ymd, '') ELSE '' END AS day,
    CASE WHEN guild_id > 0 AND user_id > 0 AND ymd IS NOT NULL THEN guild_id ELSE 0 END AS guild,
    CASE WHEN guild_id > 0 AND user_id > 0 AND ymd IS NOT NULL THEN user_id ELSE 0 END AS user,
    CASE WHEN msg_cnt > 0 THEN CAST(min(msg_cnt, 1000000000) AS INTEGER) ELSE 0 END AS messages,
    source, source_rowid
FROM legacy_daily_number
ORDER BY day, guild, user, messages DESC, source, source_rowid;
-- The guilds that come over, and whether version 2.4 has counted in them.
CREATE TEMP TABLE legacy_era (guild_id INTEGER PRIMARY KEY, in_v24 INTEGER);
INSERT INTO legacy_era
SELECT guild_id, max(in_v24) FROM (
    SELECT DISTINCT guild_id, source = 'activity_meter' AS in_v24
    FROM legacy_meter_row WHERE guild_id > 0
    UNION ALL SELECT DISTINCT guild_id, source = 'activity_daily'
    FROM legacy_daily_row WHERE guild_id > 0
    UNION ALL SELECT guild_id, 1 FROM legacy_settings
    UNION ALL SELECT guild_id, source = 'activity_report_channel' FROM legacy_channel)
GROUP BY guild_id;

-- Their settings. Their days are counted in Asia/Taipei. Version 2.3 had no settings but one set of
-- rules for all: a message gains 5, and after an hour a score falls by 2 an hour; the maximum and the
-- cooldown were those of 2.4. A guild that only the tables of 2.3 know keeps these rules.
CREATE TEMP TABLE legacy_guild (
    guild_id INTEGER PRIMARY KEY, report_channel_id INTEGER, report_hour INTEGER, max_score REAL,
    gain_per_message REAL, decay_after_seconds INTEGER, decay_per_hour REAL, cooldown_seconds INTEGER,
    auto_report_enabled INTEGER, time_zone TEXT
);
INSERT INTO legacy_guild
SELECT g.guild_id, coalesce(s.report_channel_id, c.channel_id) AS report_channel_id,
    coalesce(report_hour, 8) AS report_hour, coalesce(max_score, 100.0) AS max_score,
    coalesce(gain_per_message, iif(in_v24, 1.0, 5.0)) AS gain_per_message,
    coalesce(decay_after_seconds, iif(in_v24, 300, 3600)) AS decay_after_seconds,
    coalesce(decay_per_hour, iif(in_v24, 6.0, 2.0)) AS decay_per_hour,
    coalesce(cooldown_seconds, 60) AS cooldown_seconds,
    coalesce(auto_report_enabled, 1) AS auto_report_enabled, 'Asia/Taipei' AS time_zone
FROM legacy_era AS g
LEFT JOIN legacy_settings AS s ON s.guild_id = g.guild_id
LEFT JOIN legacy_channel AS c ON c.guild_id = g.guild_id;
-- Up to here.

-- While this script changes the meter's tables they have other names, under which no view, trigger or
-- foreign key of another module knows them: a trigger would fire for every row, a foreign key that does
-- not match would refuse the statement, and one that cascades would delete rows. ALTER TABLE rewrites
-- what refers to a table; that text is put back, as in V1.
CREATE TEMP TABLE legacy_kept AS SELECT * FROM main.sqlite_schema ORDER BY rowid;
PRAGMA writable_schema = ON;
DELETE FROM main.sqlite_schema WHERE type = 'trigger'
    AND lower(tbl_name) IN ('activity_meter', 'activity_daily', 'activity_settings');
PRAGMA writable_schema = RESET;
PRAGMA writable_schema = ON;
ALTER TABLE activity_meter RENAME TO quiet_activity_meter;
ALTER TABLE activity_daily RENAME TO quiet_activity_daily;
ALTER TABLE activity_settings RENAME TO quiet_activity_settings;
UPDATE main.sqlite_schema AS s SET sql = k.sql FROM temp.legacy_kept AS k
WHERE k.type = s.type AND k.name = s.name AND k.tbl_name = s.tbl_name
    AND k.sql IS NOT s.sql;
PRAGMA writable_schema = RESET;

-- What was put there.
CREATE TEMP TABLE legacy_taken_member (
    guild_id INTEGER, user_id INTEGER, score REAL, last_msg INTEGER, messages INTEGER DEFAULT 0,
    PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO legacy_taken_member (guild_id, user_id, score, last_msg)
SELECT guild_id, user_id, score, last_msg FROM legacy_meter_row WHERE guild_id > 0 ORDER BY id
ON CONFLICT DO NOTHING;
UPDATE legacy_taken_member AS t SET score = into_value, last_msg = into_last_msg
FROM legacy_merged AS m
WHERE m.guild_id = t.guild_id AND m.user_id = t.user_id AND m.ymd = '';
DELETE FROM legacy_taken_member WHERE (guild_id, user_id) IN (
    SELECT guild_id, user_id FROM legacy_merged WHERE reason = 'recorded since' AND ymd = '');

CREATE TEMP TABLE legacy_taken_day (
    ymd TEXT, guild_id INTEGER, user_id INTEGER, msg_cnt INTEGER,
    PRIMARY KEY (ymd, guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO legacy_taken_day
SELECT ymd, guild_id, user_id, msg_cnt FROM legacy_daily_row WHERE guild_id > 0 ORDER BY id
ON CONFLICT DO NOTHING;
DELETE FROM legacy_taken_day WHERE (ymd, guild_id, user_id) IN (
    SELECT ymd, guild_id, user_id FROM legacy_merged WHERE reason = 'recorded since' AND ymd <> '');
UPDATE legacy_taken_member AS t SET messages = days.messages
FROM (SELECT guild_id, user_id, sum(msg_cnt) AS messages FROM legacy_taken_day
    GROUP BY guild_id, user_id) AS days
WHERE t.guild_id = days.guild_id AND t.user_id = days.user_id;

-- What is there as it was put there.
DELETE FROM quiet_activity_meter AS m WHERE EXISTS (
    SELECT 1 FROM legacy_taken_member AS t
    WHERE t.guild_id = m.guild_id AND t.user_id = m.user_id
        AND t.score = m.score AND t.last_msg = m.last_msg AND t.messages = m.messages);
DELETE FROM quiet_activity_daily AS d WHERE EXISTS (
    SELECT 1 FROM legacy_taken_day AS t
    WHERE t.ymd = d.ymd AND t.guild_id = d.guild_id AND t.user_id = d.user_id
        AND t.msg_cnt = d.msg_cnt);
DELETE FROM quiet_activity_settings WHERE EXISTS (
    SELECT 1 FROM legacy_guild AS g WHERE g.guild_id = quiet_activity_settings.guild_id) AND
    (guild_id, report_hour, max_score, gain_per_message, decay_after_seconds, decay_per_hour,
    cooldown_seconds, auto_report_enabled, time_zone, coalesce(report_channel_id, 0)) IN (
    SELECT guild_id, report_hour, max_score, gain_per_message, decay_after_seconds, decay_per_hour,
        cooldown_seconds, auto_report_enabled, time_zone, coalesce(report_channel_id, 0)
    FROM legacy_guild);

DROP TABLE legacy_merged;
DROP TABLE legacy_quarantined;
DROP TABLE legacy_takeover;
DELETE FROM refinery_schema_history WHERE version = 2;

-- Nothing stays in the connection but the empty stand-ins.
DROP TABLE temp.legacy_taken_member;
DROP TABLE temp.legacy_taken_day;
DROP VIEW temp.legacy_meter_clean;
DROP VIEW temp.legacy_meter_number;
DROP VIEW temp.legacy_daily_number;
DROP VIEW temp.legacy_settings_number;
DROP VIEW temp.legacy_channel_number;
DROP VIEW temp.legacy_meter_raw;
DROP VIEW temp.legacy_daily_raw;
DROP VIEW temp.legacy_settings_raw;
DROP VIEW temp.legacy_channel_raw;
DROP VIEW temp.numbered_legacy_activity_meter;
DROP VIEW temp.numbered_legacy_activity_daily;
DROP VIEW temp.numbered_legacy_activity_settings;
DROP VIEW temp.numbered_meter;
DROP VIEW temp.numbered_daily;
DROP VIEW temp.numbered_report_channel;
DROP VIEW temp.numbered_activity_report_channel;
DROP TABLE temp.legacy_guild;
DROP TABLE temp.legacy_era;
DROP TABLE temp.legacy_meter_row;
DROP TABLE temp.legacy_daily_row;
DROP TABLE temp.legacy_channel;
DROP TABLE temp.legacy_settings;
DROP TABLE temp.legacy_strategy;
DROP TABLE temp.legacy_source;

-- The meter's tables have their names again, and what refers to them its text.
PRAGMA writable_schema = ON;
ALTER TABLE quiet_activity_meter RENAME TO activity_meter;
ALTER TABLE quiet_activity_daily RENAME TO activity_daily;
ALTER TABLE quiet_activity_settings RENAME TO activity_settings;
UPDATE main.sqlite_schema AS s SET sql = k.sql FROM temp.legacy_kept AS k
WHERE k.type = s.type AND k.name = s.name AND k.sql IS NOT s.sql;
INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql)
SELECT type, name, tbl_name, rootpage, sql FROM temp.legacy_kept
WHERE type = 'trigger' AND lower(tbl_name) IN ('activity_meter', 'activity_daily', 'activity_settings');
PRAGMA writable_schema = RESET;
DROP TABLE temp.legacy_kept;
