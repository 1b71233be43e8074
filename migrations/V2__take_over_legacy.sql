-- Takes over what versions 2.3 and 2.4 of the original bot have recorded.
--
-- The tables of 2.4 were set aside by V1, under the prefix legacy_; those of 2.3 (`meter`, `daily`,
-- `report_channel`) and 2.4's `activity_report_channel` have their own names still. All of them stay
-- as they are, whatever columns and indexes they have: what is taken over is copied, and undoing
-- this script needs nothing else to give them back exactly.
--
--   members        the greatest score and the latest message of a member's rows, in seconds
--   days           the greatest count of a day's rows
--   guilds         their settings, where they are usable, and Asia/Taipei: their days are counted in it
--   legacy_merged  the rows that were merged into another of the same member or day
--   legacy_quarantined   the rows without a usable key, with the reason
--
-- A member, day or guild that is there already was recorded later, and stays.
--
-- SQL has no IF. A table that a file lacks is looked for in the attached databases last, so an empty
-- one waits for it there; a column that a table lacks is NULL by the outer join.

-- From here on the script that undoes this one is the same, up to the mark.
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

-- What is there already stays, and the rows that would go there count as merged.
CREATE TEMP TABLE legacy_known_member (
    guild_id INTEGER, user_id INTEGER, PRIMARY KEY (guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO legacy_known_member
SELECT guild_id, user_id FROM quiet_activity_meter WHERE EXISTS (SELECT 1 FROM legacy_meter_row);
CREATE TEMP TABLE legacy_known_day (
    ymd TEXT, guild_id INTEGER, user_id INTEGER, PRIMARY KEY (ymd, guild_id, user_id)
) WITHOUT ROWID;
INSERT INTO legacy_known_day
SELECT ymd, guild_id, user_id FROM quiet_activity_daily WHERE EXISTS (SELECT 1 FROM legacy_daily_row);

CREATE TABLE legacy_merged (
    source        TEXT    NOT NULL,
    source_rowid  INTEGER NOT NULL,
    reason        TEXT    NOT NULL,
    guild_id      INTEGER NOT NULL,
    -- 0 where the row is a guild's, not a member's.
    user_id       INTEGER NOT NULL,
    -- Empty where the row is not a day's.
    ymd           TEXT    NOT NULL,
    -- The row's score, count or channel, cleaned; the row as it was is in its own table still.
    value         REAL    NOT NULL,
    last_msg      INTEGER NOT NULL,
    -- What it was merged into.
    into_value    REAL    NOT NULL,
    into_last_msg INTEGER NOT NULL,
    PRIMARY KEY (guild_id, user_id, ymd, source, source_rowid)
) STRICT, WITHOUT ROWID;

-- The values are as they were, storage class and all, so these columns have no type.
CREATE TABLE legacy_quarantined (
    source       TEXT    NOT NULL,
    source_rowid INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    guild_id, user_id, score, last_msg, ymd, msg_cnt, channel_id,
    PRIMARY KEY (source, source_rowid)
) WITHOUT ROWID;

-- The sums: nothing is lost, or this script fails.
CREATE TABLE legacy_takeover (
    kind             TEXT    NOT NULL PRIMARY KEY,
    strategy         TEXT    NOT NULL,
    source_rows      INTEGER NOT NULL,
    taken_rows       INTEGER NOT NULL,
    merged_rows      INTEGER NOT NULL,
    quarantined_rows INTEGER NOT NULL,
    CONSTRAINT "a legacy row is neither taken over nor merged nor quarantined"
        CHECK (source_rows = taken_rows + merged_rows + quarantined_rows)
) STRICT;

-- The members: a member's first row is inserted, the others are merged into it.
INSERT INTO quiet_activity_meter (guild_id, user_id, score, last_msg)
SELECT guild_id, user_id, score, last_msg
FROM legacy_meter_row AS r
WHERE guild_id > 0 AND NOT EXISTS (
    SELECT 1 FROM legacy_known_member AS k WHERE k.guild_id = r.guild_id AND k.user_id = r.user_id)
ORDER BY id
ON CONFLICT DO UPDATE SET
    score = CASE (SELECT strategy FROM legacy_strategy)
        WHEN 'sum' THEN min(score + excluded.score, 1e9) ELSE score END,
    last_msg = max(last_msg, excluded.last_msg);

-- Sums end at the guild's maximum as well.
UPDATE quiet_activity_meter AS m SET score = ceiling
FROM (
    SELECT DISTINCT r.guild_id, r.user_id, max(100.0, coalesce(max_score, 0)) AS ceiling
    FROM legacy_meter_row AS r LEFT JOIN legacy_settings AS s ON s.guild_id = r.guild_id
    WHERE (SELECT strategy FROM legacy_strategy) IS 'sum') AS c
WHERE m.guild_id = c.guild_id AND m.user_id = c.user_id AND score > ceiling AND NOT EXISTS (
    SELECT 1 FROM legacy_known_member AS k WHERE k.guild_id = m.guild_id AND k.user_id = m.user_id);

INSERT INTO legacy_merged
SELECT r.source, r.source_rowid, CASE WHEN k.guild_id IS NULL THEN 'duplicate' ELSE 'recorded since' END,
    r.guild_id, r.user_id, '', r.score, r.last_msg, m.score, m.last_msg
FROM legacy_meter_row AS r
LEFT JOIN legacy_meter_row AS before ON before.id = r.id - 1
LEFT JOIN legacy_known_member AS k ON k.guild_id = r.guild_id AND k.user_id = r.user_id
JOIN quiet_activity_meter AS m ON m.guild_id = r.guild_id AND m.user_id = r.user_id
WHERE r.guild_id > 0
    AND (before.guild_id = r.guild_id AND before.user_id = r.user_id OR k.guild_id IS NOT NULL)
ORDER BY r.id;

INSERT INTO legacy_quarantined (source, source_rowid, reason, guild_id, user_id, score, last_msg)
SELECT source, source_rowid,
    CASE WHEN guild_id > 0 THEN 'user_id' ELSE 'guild_id' END || CASE typeof(CASE WHEN guild_id > 0
            THEN raw_user_id ELSE raw_guild_id END)
        WHEN 'null' THEN ' is missing' WHEN 'integer' THEN ' is not above 0'
        ELSE ' is no whole number above 0' END,
    raw_guild_id, raw_user_id, raw_score, raw_last_msg
FROM legacy_meter_number
WHERE EXISTS (SELECT 1 FROM legacy_meter_row WHERE guild_id = 0)
    AND (guild_id > 0 AND user_id > 0) IS NOT 1;

INSERT INTO legacy_takeover
SELECT 'members', coalesce((SELECT strategy FROM legacy_strategy), 'max'),
    (SELECT count(*) FROM legacy_meter_raw),
    (SELECT count(*) FROM quiet_activity_meter WHERE EXISTS (SELECT 1 FROM legacy_meter_row))
        - (SELECT count(*) FROM legacy_known_member),
    (SELECT count(*) FROM legacy_merged),
    (SELECT count(*) FROM legacy_quarantined);

-- The days, and what a member's add up to.
INSERT INTO quiet_activity_daily (ymd, guild_id, user_id, msg_cnt)
SELECT ymd, guild_id, user_id, msg_cnt FROM legacy_daily_row WHERE guild_id > 0 ORDER BY id
ON CONFLICT DO NOTHING;

INSERT INTO legacy_merged
SELECT r.source, r.source_rowid, CASE WHEN k.guild_id IS NULL THEN 'duplicate' ELSE 'recorded since' END,
    r.guild_id, r.user_id, r.ymd, r.msg_cnt, 0, d.msg_cnt, 0
FROM legacy_daily_row AS r
LEFT JOIN legacy_daily_row AS before ON before.id = r.id - 1
LEFT JOIN legacy_known_day AS k
    ON k.ymd = r.ymd AND k.guild_id = r.guild_id AND k.user_id = r.user_id
JOIN quiet_activity_daily AS d ON d.ymd = r.ymd AND d.guild_id = r.guild_id AND d.user_id = r.user_id
WHERE r.guild_id > 0 AND (k.guild_id IS NOT NULL OR before.ymd = r.ymd
    AND before.guild_id = r.guild_id AND before.user_id = r.user_id)
ORDER BY r.id;

INSERT INTO legacy_quarantined (source, source_rowid, reason, guild_id, user_id, ymd, msg_cnt)
SELECT source, source_rowid,
    CASE WHEN guild_id > 0 AND user_id > 0 THEN 'ymd is no day' ELSE
        CASE WHEN guild_id > 0 THEN 'user_id' ELSE 'guild_id' END || CASE typeof(CASE WHEN guild_id > 0
                THEN raw_user_id ELSE raw_guild_id END)
            WHEN 'null' THEN ' is missing' WHEN 'integer' THEN ' is not above 0'
            ELSE ' is no whole number above 0' END
    END,
    raw_guild_id, raw_user_id, raw_ymd, raw_msg_cnt
FROM legacy_daily_number
WHERE (guild_id > 0 AND user_id > 0 AND ymd IS NOT NULL) IS NOT 1;

INSERT INTO legacy_takeover
SELECT 'days', 'max',
    (SELECT count(*) FROM legacy_daily_raw),
    (SELECT count(*) FROM quiet_activity_daily WHERE EXISTS (SELECT 1 FROM legacy_daily_row))
        - (SELECT count(*) FROM legacy_known_day),
    (SELECT count(*) FROM legacy_merged WHERE source IN ('activity_daily', 'daily')),
    (SELECT count(*) FROM legacy_quarantined WHERE source IN ('activity_daily', 'daily'));

UPDATE quiet_activity_meter AS m SET messages = days.messages
FROM (
    SELECT r.guild_id, r.user_id, sum(d.msg_cnt) AS messages
    FROM legacy_daily_row AS r
    JOIN quiet_activity_daily AS d ON d.ymd = r.ymd AND d.guild_id = r.guild_id AND d.user_id = r.user_id
    WHERE NOT EXISTS (SELECT 1 FROM legacy_merged AS x WHERE x.guild_id = r.guild_id
        AND x.user_id = r.user_id AND x.ymd = r.ymd
        AND x.source = r.source AND x.source_rowid = r.source_rowid)
    GROUP BY r.guild_id, r.user_id) AS days
WHERE m.guild_id = days.guild_id AND m.user_id = days.user_id AND NOT EXISTS (
    SELECT 1 FROM legacy_known_member AS k WHERE k.guild_id = m.guild_id AND k.user_id = m.user_id);

-- The guilds.
CREATE TEMP TABLE legacy_known_guild AS SELECT guild_id FROM quiet_activity_settings;
INSERT INTO quiet_activity_settings (guild_id, report_channel_id, report_hour, max_score, gain_per_message,
    decay_after_seconds, decay_per_hour, cooldown_seconds, auto_report_enabled, time_zone)
SELECT * FROM legacy_guild WHERE true
ON CONFLICT DO NOTHING;

INSERT INTO legacy_merged
SELECT n.source, n.source_rowid,
    CASE WHEN n.source_rowid = s.source_rowid THEN 'recorded since' ELSE 'duplicate' END,
    n.guild_id, 0, '', 0, 0, 0, 0
FROM legacy_settings_number AS n JOIN legacy_settings AS s ON s.guild_id = n.guild_id
WHERE n.source_rowid <> s.source_rowid
    OR n.guild_id IN (SELECT guild_id FROM legacy_known_guild);

INSERT INTO legacy_merged
SELECT n.source, n.source_rowid,
    CASE WHEN n.source_rowid <> c.source_rowid OR n.source <> c.source THEN 'duplicate'
        WHEN g.report_channel_id <> c.channel_id THEN 'the settings name a channel'
        ELSE 'recorded since' END,
    n.guild_id, 0, '', n.channel_id, 0, g.report_channel_id, 0
FROM legacy_channel_number AS n
JOIN legacy_channel AS c ON c.guild_id = n.guild_id
JOIN legacy_guild AS g ON g.guild_id = n.guild_id
WHERE n.channel_id > 0 AND (n.source_rowid <> c.source_rowid OR n.source <> c.source
    OR g.report_channel_id <> c.channel_id OR n.guild_id IN (SELECT guild_id FROM legacy_known_guild));

INSERT INTO legacy_quarantined (source, source_rowid, reason, guild_id)
SELECT source, source_rowid, 'guild_id is no whole number above 0', raw_guild_id
FROM legacy_settings_number WHERE (guild_id > 0) IS NOT 1;
INSERT INTO legacy_quarantined (source, source_rowid, reason, guild_id, channel_id)
SELECT source, source_rowid,
    CASE WHEN guild_id > 0 THEN 'channel_id' ELSE 'guild_id' END || ' is no whole number above 0',
    raw_guild_id, raw_channel_id
FROM legacy_channel_number WHERE (guild_id > 0 AND channel_id > 0) IS NOT 1;

INSERT INTO legacy_takeover
SELECT 'settings', 'first', (SELECT count(*) FROM legacy_settings_raw),
    (SELECT count(*) FROM legacy_settings WHERE guild_id NOT IN (SELECT guild_id FROM legacy_known_guild)),
    (SELECT count(*) FROM legacy_merged WHERE source = 'activity_settings'),
    (SELECT count(*) FROM legacy_quarantined WHERE source = 'activity_settings')
UNION ALL
SELECT 'report channels', 'first', (SELECT count(*) FROM legacy_channel_raw),
    (SELECT count(*) FROM legacy_channel AS c JOIN quiet_activity_settings AS a USING (guild_id)
        WHERE a.report_channel_id = c.channel_id
            AND guild_id NOT IN (SELECT guild_id FROM legacy_known_guild)),
    (SELECT count(*) FROM legacy_merged WHERE source IN ('report_channel', 'activity_report_channel')),
    (SELECT count(*) FROM legacy_quarantined WHERE source IN ('report_channel', 'activity_report_channel'));

-- Nothing stays in the connection but the empty stand-ins.
DROP TABLE temp.legacy_known_member;
DROP TABLE temp.legacy_known_day;
DROP TABLE temp.legacy_known_guild;
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
