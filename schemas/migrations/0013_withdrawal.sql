-- A row whose author has taken consent back is moved to a narrower partition: copied there, then removed where it
-- was (docs/adr/0016-withdrawal-by-copy-and-remove.md). A copy says from which scope it came, and when; other rows
-- say `none`, from where nothing can be moved.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS moved_from Enum8('none' = 0, 'first_party' = 1, 'affiliates' = 2) DEFAULT 'none',
    ADD COLUMN IF NOT EXISTS moved_at DateTime64(6, 'UTC') CODEC(Delta, LZ4);

-- The passes over `events`: who works at them, what was found and what was done. The newest row of a pass counts.
CREATE TABLE IF NOT EXISTS withdrawal_passes
(
    pass_id      UUID,
    collector_id LowCardinality(String),
    mode         Enum8('move' = 1, 'purge' = 2),
    state        Enum8('running' = 1, 'finished' = 2, 'failed' = 3),
    started_at   DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    updated_at   DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    -- What was found at the last look: rows that are still to be moved, of how many people, and when the first of
    -- them took consent back (the epoch when there is nothing).
    rows_due     UInt64,
    subjects_due UInt64,
    oldest_at    DateTime64(6, 'UTC'),
    -- What was done since the pass began.
    rows_moved   UInt64,
    rows_purged  UInt64,
    mutations    UInt32
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY pass_id
TTL toDateTime(started_at) + INTERVAL 2 YEAR;
