-- Every policy that a collector has used, so that a stamp can be explained years later.
CREATE TABLE IF NOT EXISTS policies
(
    version        String,
    digest         String,
    effective_from Date,
    body           String,
    recorded_at    DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (version, digest);

-- Erasures and how far they have come; the newest row of an erasure counts.
CREATE TABLE IF NOT EXISTS erasures
(
    erasure_id   UUID,
    tenant       LowCardinality(String),
    subject_id   UUID,
    state        Enum8('requested' = 1, 'running' = 2, 'completed' = 3),
    requested_at DateTime64(6, 'UTC'),
    updated_at   DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    rows_erased  UInt64,
    actor        String,
    collector_id LowCardinality(String)
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (tenant, erasure_id);

-- Issued manifests of exports.
CREATE TABLE IF NOT EXISTS exports
(
    export_id         UUID,
    parent_export_id  Nullable(UUID),
    scope             Enum8('first_party' = 1, 'affiliates' = 2),
    from_day          Date,
    to_day            Date,
    rows              UInt64,
    shards            UInt32,
    consent_watermark DateTime64(6, 'UTC'),
    manifest          String CODEC(ZSTD(1)),
    manifest_sha256   String,
    created_by        String,
    created_at        DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (created_at, export_id);
