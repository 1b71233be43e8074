-- The activity meter's schema.
--
-- A database of the original bot has tables of these names already. They are set aside first, rows
-- and all, under the prefix legacy_, so that this script succeeds on a new file and on an old one
-- alike; in a new file they are empty. Taking their rows over is the business of a later migration.
CREATE TABLE IF NOT EXISTS activity_meter (guild_id, user_id, score, last_msg);
CREATE TABLE IF NOT EXISTS activity_daily (ymd, guild_id, user_id, msg_cnt);
CREATE TABLE IF NOT EXISTS activity_settings (guild_id, max_score);
ALTER TABLE activity_meter RENAME TO legacy_activity_meter;
ALTER TABLE activity_daily RENAME TO legacy_activity_daily;
ALTER TABLE activity_settings RENAME TO legacy_activity_settings;

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
