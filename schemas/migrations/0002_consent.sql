-- The ledger: append-only, never updated. `consent_version` orders the changes of one subject; between two of
-- one version and scope (two collectors at once) the one that says less counts.
CREATE TABLE IF NOT EXISTS consent_changes
(
    tenant           LowCardinality(String),
    subject_id       UUID,
    scope            Enum8('first_party' = 1, 'affiliates' = 2),
    state            Enum8('unset' = 0, 'granted' = 1, 'denied' = 2),
    source           Enum8('policy_default' = 0, 'user_setting' = 1, 'admin' = 2, 'import' = 3, 'gpc_signal' = 4),
    policy_version   LowCardinality(String),
    consent_version  UInt32,
    jurisdiction     LowCardinality(String),
    evidence         String,
    actor            String,
    consent_id       UUID,
    pseudonym_key_id LowCardinality(String),
    collector_id     LowCardinality(String),
    -- By this server's clock; collectors' clocks play no part.
    recorded_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, LZ4),

    -- For one person's consent and history; the table's own order serves the collectors' tails.
    PROJECTION by_subject (SELECT * ORDER BY (tenant, subject_id, consent_version))
)
ENGINE = MergeTree
ORDER BY (recorded_at, consent_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- The newest change per (tenant, subject, scope).
CREATE VIEW IF NOT EXISTS consent_current AS
SELECT
    tenant, subject_id, scope,
    newest.1 AS state,
    newest.2 AS source,
    newest.3 AS policy_version,
    newest.4 AS consent_version,
    newest.5 AS jurisdiction,
    newest.6 AS consent_id,
    newest.7 AS recorded_at
FROM
(
    SELECT
        tenant, subject_id, scope,
        argMax((state, source, policy_version, consent_version, jurisdiction, consent_id, recorded_at),
               (consent_version, state = 'denied', state = 'unset', consent_id)) AS newest
    FROM consent_changes
    GROUP BY tenant, subject_id, scope
);
