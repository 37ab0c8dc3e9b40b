-- What erasures leave behind: that there was one, when, and how many rows it took. Nothing of whom.
-- `subject_id` of migration 0003 stays empty; whom an erasure is about stands in `erasure_subjects`, for as long as
-- anybody may still bring rows of theirs.
ALTER TABLE erasures
    ADD COLUMN IF NOT EXISTS completed_at DateTime64(6, 'UTC'),
    ADD COLUMN IF NOT EXISTS forgotten_at DateTime64(6, 'UTC');

-- Whom erasures are about, under each pseudonym. Rows of the person with a lower consent version than `below_version`
-- are to go; those that the person causes afterwards have that version or a higher one. A row with 0 was written
-- before the version was known. Emptied by `assent` when the erasure is forgotten.
CREATE TABLE IF NOT EXISTS erasure_subjects
(
    erasure_id       UUID,
    tenant           LowCardinality(String),
    subject_id       UUID,
    pseudonym_key_id LowCardinality(String),
    below_version    UInt32,
    recorded_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (tenant, subject_id, erasure_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- What was done for an erasure, by whom, and how many rows that took. Append-only.
CREATE TABLE IF NOT EXISTS erasure_steps
(
    erasure_id   UUID,
    tenant       LowCardinality(String),
    -- `table NAME`, `spool` (its rows dropped and its files removed, quarantine included), `quarantine damaged`
    -- (files that nobody can search), `verified`, `files removed`, `forgotten`.
    step         LowCardinality(String),
    collector_id LowCardinality(String),
    rows_found   UInt64,
    rows_removed UInt64,
    recorded_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (erasure_id, recorded_at)
SETTINGS non_replicated_deduplication_window = 10000;

-- Collectors, since an erasure has to reach the spool of each. The newest row of one counts.
CREATE TABLE IF NOT EXISTS collectors
(
    collector_id String,
    -- `drained`: it was stopped with nothing in its spool or quarantine. `retired`: its disk is gone, says an operator.
    state        Enum8('running' = 1, 'drained' = 2, 'retired' = 3),
    seen_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(seen_at)
ORDER BY collector_id;

-- Which collector carries erasures out in which interval. One insert of each number takes effect, and one more when
-- it is done.
CREATE TABLE IF NOT EXISTS erasure_rounds
(
    round        UInt64,
    collector_id String,
    is_done      Bool,
    claimed_at   DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY round
TTL claimed_at + INTERVAL 1 DAY
SETTINGS non_replicated_deduplication_window = 1000;
