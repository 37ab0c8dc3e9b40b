-- Events as delivered. Why it looks like this: docs/schemas.md.
CREATE TABLE IF NOT EXISTS events
(
    -- The stamp. Rows that may train a model and rows that may not lie in different partitions.
    training_scope     Enum8('none' = 0, 'first_party' = 1, 'affiliates' = 2),
    eligibility_reason Enum8('granted' = 0, 'granted_by_default' = 1, 'denied' = 2, 'unset_opt_in' = 3,
                             'policy_outdated' = 4, 'gpc_signal' = 5, 'consent_unknown' = 6,
                             'withdrawn_before_write' = 7, 'withdrawn' = 8, 'excluded_by_policy' = 9),
    consent_state      Enum8('unset' = 0, 'granted' = 1, 'denied' = 2),
    consent_source     Enum8('policy_default' = 0, 'user_setting' = 1, 'admin' = 2, 'import' = 3, 'gpc_signal' = 4),
    consent_version    UInt32,
    policy_version     LowCardinality(String),
    policy_digest      LowCardinality(String),
    jurisdiction       LowCardinality(String),
    global_privacy_control Bool,

    received_at DateTime64(6, 'UTC') CODEC(Delta, LZ4),
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, LZ4),
    sealed_at   DateTime64(6, 'UTC') CODEC(Delta, LZ4),

    tenant           LowCardinality(String),
    subject_id       UUID,
    pseudonym_key_id LowCardinality(String),
    event_id         UUID,
    session_id       String CODEC(ZSTD(1)),
    interaction_id   String CODEC(ZSTD(1)),

    feature        LowCardinality(String),
    model          LowCardinality(String),
    client_name    LowCardinality(String),
    client_version LowCardinality(String),
    platform       LowCardinality(String),

    event_type Enum8('typed_text' = 1, 'suggestion_shown' = 2, 'suggestion_feedback' = 3, 'language_preference' = 4),
    language          LowCardinality(String),
    previous_language LowCardinality(String),
    text              String CODEC(ZSTD(1)),
    suggestion_id     String CODEC(ZSTD(1)),
    latency_ms        UInt32,
    position          UInt32,
    feedback_action   Enum8('' = 0, 'accepted' = 1, 'accepted_with_edits' = 2, 'rejected' = 3, 'ignored' = 4,
                            'reported' = 5),
    rating            Int8,
    comment           String CODEC(ZSTD(1)),

    redactions        Map(LowCardinality(String), UInt16),
    redaction_version LowCardinality(String),
    collector_id      LowCardinality(String),

    -- Of two rows with one (tenant, event_id), the one with the narrower scope stays.
    narrowness UInt8 MATERIALIZED 2 - CAST(training_scope, 'Int8')
)
ENGINE = ReplacingMergeTree(narrowness)
PARTITION BY (training_scope, toYYYYMMDD(received_at))
-- A retry's key must equal the first try's, so it holds what identifies an event and nothing else. As a
-- number, a UUID of version 7 sorts by time (as a UUID it would not), so parts overlap little.
ORDER BY (tenant, toUInt128(event_id))
SETTINGS non_replicated_deduplication_window = 10000;
