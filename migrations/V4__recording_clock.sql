-- The time by which event ids are remembered: it follows the host's clock, and skips its jumps. One
-- row, which the program writes.
CREATE TABLE activity_clock (
    id             INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- What activity_event.recorded_at is taken from (Unix seconds).
    recording_time INTEGER NOT NULL,
    -- The host's clock at that time.
    clock_seen     INTEGER NOT NULL
) STRICT;
