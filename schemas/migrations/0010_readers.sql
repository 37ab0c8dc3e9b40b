-- The training views of migration 0009, which read every column of the whole table: here FINAL reads the partitions of
-- the scope, for `_days` those of the days alone. A condition on `_partition_value` chooses partitions before FINAL, which
-- one on columns does not. FINAL leaves one row an event of those; whether other partitions have one that takes precedence is
-- looked up by key, in the range in which the rows that were read have theirs (`beaten`). Of all rows of an event the
-- narrowest counts, and of several the one of the first day.
--
-- The reads of one query may see the table at different times. `e` is resolved before `beaten`, and so sees it no later: what
-- `e` has read, `beaten` knows, and what was there before it. docs/adr/0014 tells why this matters.
--
-- A view without `_days` is the view of all days.
CREATE OR REPLACE VIEW training_first_party_days DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (
        SELECT (min(toUInt128(event_id)), max(toUInt128(event_id))) FROM events
        WHERE training_scope IN ('first_party', 'affiliates')
          AND received_at >= {from_day:Date} AND received_at < {to_day:Date} + 1
    ) AS ids,
    beaten AS
    (
        SELECT tenant, id, arrayJoin(arrayFilter(it -> it < maxIf(precedence, NOT is_read),
                                                 groupUniqArrayIf(precedence, is_read)))
        FROM
        (
            SELECT
                tenant, toUInt128(event_id) AS id,
                training_scope IN ('first_party', 'affiliates')
                    AND received_at >= {from_day:Date} AND received_at < {to_day:Date} + 1 AS is_read,
                (2 - toUInt8(training_scope)) * 65536 + 65535 - toUInt16(toDate(received_at)) AS precedence
            FROM events
            WHERE toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
        )
        GROUP BY tenant, id
        HAVING max(is_read) AND NOT min(is_read)
        SETTINGS optimize_aggregation_in_order = 1
    )
SELECT
    e.received_at AS received_at, e.occurred_at AS occurred_at, e.tenant AS tenant, e.subject_id AS subject_id,
    e.event_id AS event_id, e.session_id AS session_id, e.interaction_id AS interaction_id,
    e.suggestion_id AS suggestion_id, e.event_type AS event_type,
    e.feature AS feature, e.model AS model, e.client_name AS client_name, e.client_version AS client_version,
    e.platform AS platform, e.jurisdiction AS jurisdiction,
    e.language AS language, e.previous_language AS previous_language, e.text AS text, e.comment AS comment,
    e.latency_ms AS latency_ms, e.position AS position, e.feedback_action AS feedback_action, e.rating AS rating,
    e.redactions AS redactions, e.redaction_version AS redaction_version,
    e.training_scope AS training_scope, e.eligibility_reason AS eligibility_reason,
    e.consent_version AS consent_version, e.policy_version AS policy_version, e.policy_digest AS policy_digest
FROM
(
    SELECT *, toUInt128(event_id) AS id,
           (2 - toUInt8(training_scope)) * 65536 + 65535 - toUInt16(toDate(received_at)) AS precedence
    FROM events FINAL
    WHERE _partition_value.1 IN ('first_party', 'affiliates')
      AND _partition_value.2 >= toYYYYMMDD({from_day:Date}) AND _partition_value.2 <= toYYYYMMDD({to_day:Date})
      AND toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
    SETTINGS do_not_merge_across_partitions_select_final = 0
) AS e
LEFT JOIN
(
    SELECT
        tenant, subject_id,
        maxIf(consent_version, state = 'denied') AS denied_version,
        maxIf(consent_version, state = 'unset') AS taken_back_version
    FROM consent_changes
    WHERE scope = 'first_party' AND state != 'granted'
    GROUP BY tenant, subject_id
) AS w ON w.tenant = e.tenant AND w.subject_id = e.subject_id
WHERE (e.tenant, e.id, e.precedence) NOT IN beaten
  AND e.eligibility_reason IN ('granted', 'granted_by_default')
  AND (w.denied_version = 0 OR w.denied_version < e.consent_version)
  AND (w.taken_back_version < e.consent_version
       OR (w.taken_back_version = e.consent_version AND e.eligibility_reason = 'granted_by_default'))
  AND e.redaction_version IN
      (
          SELECT version FROM redaction_rules
          WHERE version != '' AND version NOT IN (SELECT version FROM redaction_rules_revoked)
      )
  AND e.pseudonym_key_id NOT IN (SELECT key_id FROM pseudonym_keys_retired)
LIMIT 9223372036854775807
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW training_first_party DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM {database}.training_first_party_days(from_day = '1970-01-01', to_day = '2149-06-05');

CREATE OR REPLACE VIEW training_affiliates_days DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (
        SELECT (min(toUInt128(event_id)), max(toUInt128(event_id))) FROM events
        WHERE training_scope = 'affiliates'
          AND received_at >= {from_day:Date} AND received_at < {to_day:Date} + 1
    ) AS ids,
    beaten AS
    (
        SELECT tenant, id, arrayJoin(arrayFilter(it -> it < maxIf(precedence, NOT is_read),
                                                 groupUniqArrayIf(precedence, is_read)))
        FROM
        (
            SELECT
                tenant, toUInt128(event_id) AS id,
                training_scope = 'affiliates'
                    AND received_at >= {from_day:Date} AND received_at < {to_day:Date} + 1 AS is_read,
                (2 - toUInt8(training_scope)) * 65536 + 65535 - toUInt16(toDate(received_at)) AS precedence
            FROM events
            WHERE toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
        )
        GROUP BY tenant, id
        HAVING max(is_read) AND NOT min(is_read)
        SETTINGS optimize_aggregation_in_order = 1
    )
SELECT
    e.received_at AS received_at, e.occurred_at AS occurred_at, e.tenant AS tenant, e.subject_id AS subject_id,
    e.event_id AS event_id, e.session_id AS session_id, e.interaction_id AS interaction_id,
    e.suggestion_id AS suggestion_id, e.event_type AS event_type,
    e.feature AS feature, e.model AS model, e.client_name AS client_name, e.client_version AS client_version,
    e.platform AS platform, e.jurisdiction AS jurisdiction,
    e.language AS language, e.previous_language AS previous_language, e.text AS text, e.comment AS comment,
    e.latency_ms AS latency_ms, e.position AS position, e.feedback_action AS feedback_action, e.rating AS rating,
    e.redactions AS redactions, e.redaction_version AS redaction_version,
    e.training_scope AS training_scope, e.eligibility_reason AS eligibility_reason,
    e.consent_version AS consent_version, e.policy_version AS policy_version, e.policy_digest AS policy_digest
FROM
(
    SELECT *, toUInt128(event_id) AS id,
           (2 - toUInt8(training_scope)) * 65536 + 65535 - toUInt16(toDate(received_at)) AS precedence
    FROM events FINAL
    WHERE _partition_value.1 = 'affiliates'
      AND _partition_value.2 >= toYYYYMMDD({from_day:Date}) AND _partition_value.2 <= toYYYYMMDD({to_day:Date})
      AND toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
    SETTINGS do_not_merge_across_partitions_select_final = 0
) AS e
LEFT JOIN
(
    -- Affiliates need first party too, so a "no" to either withdraws.
    SELECT
        tenant, subject_id,
        maxIf(consent_version, state = 'denied') AS denied_version,
        maxIf(consent_version, state = 'unset') AS taken_back_version
    FROM consent_changes
    WHERE state != 'granted'
    GROUP BY tenant, subject_id
) AS w ON w.tenant = e.tenant AND w.subject_id = e.subject_id
WHERE (e.tenant, e.id, e.precedence) NOT IN beaten
  AND e.eligibility_reason IN ('granted', 'granted_by_default')
  AND (w.denied_version = 0 OR w.denied_version < e.consent_version)
  AND (w.taken_back_version < e.consent_version
       OR (w.taken_back_version = e.consent_version AND e.eligibility_reason = 'granted_by_default'))
  AND e.redaction_version IN
      (
          SELECT version FROM redaction_rules
          WHERE version != '' AND version NOT IN (SELECT version FROM redaction_rules_revoked)
      )
  AND e.pseudonym_key_id NOT IN (SELECT key_id FROM pseudonym_keys_retired)
LIMIT 9223372036854775807
SETTINGS join_use_nulls = 0;

CREATE OR REPLACE VIEW training_affiliates DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM {database}.training_affiliates_days(from_day = '1970-01-01', to_day = '2149-06-05');

-- How long rows and texts are kept, as `assent migrate` has set it: in days, 0 for ever. What was received before
-- `complete_from` may have gone by what held before that.
CREATE TABLE IF NOT EXISTS retention
(
    training_scope Enum8('none' = 0, 'first_party' = 1, 'affiliates' = 2),
    event_type     Enum8('typed_text' = 1, 'suggestion_shown' = 2, 'suggestion_feedback' = 3, 'language_preference' = 4),
    rows_days      UInt16,
    text_days      UInt16,
    complete_from  Date,
    applied_at     DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY (training_scope, event_type);

-- The rollups. Days whose rows have changed are computed anew, whole: whatever happened to a day's rows (retries,
-- withdrawals, erasures) counts then, and nothing has to be undone. docs/schemas.md#rollups tells how.

-- The first day of which no row and no text has gone by its age.
CREATE OR REPLACE VIEW rollup_first_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT max(greatest(complete_from,
                    if(rows_days = 0, toDate(0), toDate(now('UTC')) - rows_days),
                    if(text_days = 0, toDate(0), toDate(now('UTC')) - text_days))) AS first_day
FROM retention FINAL;

-- By day, which of its events are there on other days too. What happens to those tells in no part of this day.
CREATE TABLE IF NOT EXISTS rollup_copies
(
    day         Date,
    fingerprint UInt128
)
ENGINE = MergeTree
ORDER BY day;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_copies_refresh REFRESH EVERY 1 DAY TO rollup_copies EMPTY
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT arrayJoin(days) AS day, sum(hash) AS fingerprint
FROM
(
    SELECT
        groupUniqArray(toDate(received_at)) AS days,
        toUInt128(cityHash64(tenant, toUInt128(event_id), arraySort(days), max(narrowness))) AS hash
    FROM events
    GROUP BY tenant, toUInt128(event_id)
    HAVING length(days) > 1
    SETTINGS optimize_aggregation_in_order = 1
)
GROUP BY day;

-- The days that have rows, and what tells whether those are still the same: the hashes of their parts' files.
CREATE TABLE IF NOT EXISTS rollup_days
(
    day         Date,
    fingerprint UInt128
)
ENGINE = MergeTree
ORDER BY day;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_days_refresh REFRESH EVERY 5 MINUTE TO rollup_days EMPTY
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT p.day AS day, p.fingerprint + c.fingerprint AS fingerprint
FROM
(
    SELECT
        YYYYMMDDToDate(toUInt32(splitByChar('-', partition_id)[2])) AS day,
        sum(reinterpretAsUInt128(unhex(hash_of_all_files))) AS fingerprint
    FROM system.parts
    WHERE database = '{database}' AND table = 'events' AND active AND rows > 0
    GROUP BY day
) AS p
LEFT ANY JOIN rollup_copies AS c ON c.day = p.day
SETTINGS join_use_nulls = 0;

CREATE TABLE IF NOT EXISTS rollup_features
(
    day                 Date,
    tenant              LowCardinality(String),
    feature             LowCardinality(String),
    model               LowCardinality(String),
    language            LowCardinality(String),
    client_name         LowCardinality(String),
    shown               UInt64,
    accepted            UInt64,
    accepted_with_edits UInt64,
    rejected            UInt64,
    ignored             UInt64,
    reported            UInt64,
    latency_ms_p50      Nullable(Float64),
    latency_ms_p95      Nullable(Float64),
    latency_ms_p99      Nullable(Float64),
    edit_distances      UInt64,
    edit_distance_avg   Nullable(Float64),
    edit_distance_p50   Nullable(Float64),
    -- Not 0 in one row a day, which has nothing else: the day was computed when it looked like this.
    fingerprint         UInt128,
    computed_at         DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY (day, tenant, feature, model, language, client_name);

CREATE TABLE IF NOT EXISTS rollup_consent
(
    day                Date,
    tenant             LowCardinality(String),
    training_scope     Enum8('none' = 0, 'first_party' = 1, 'affiliates' = 2),
    consent_state      Enum8('unset' = 0, 'granted' = 1, 'denied' = 2),
    consent_source     Enum8('policy_default' = 0, 'user_setting' = 1, 'admin' = 2, 'import' = 3, 'gpc_signal' = 4),
    eligibility_reason Enum8('granted' = 0, 'granted_by_default' = 1, 'denied' = 2, 'unset_opt_in' = 3,
                             'policy_outdated' = 4, 'gpc_signal' = 5, 'consent_unknown' = 6,
                             'withdrawn_before_write' = 7, 'withdrawn' = 8, 'excluded_by_policy' = 9),
    jurisdiction       LowCardinality(String),
    policy_version     LowCardinality(String),
    policy_digest      LowCardinality(String),
    events             UInt64,
    people             UInt64,
    fingerprint        UInt128,
    computed_at        DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY (day, tenant, training_scope, eligibility_reason);

-- The days to compute now, the newest first, so many at a time that a refresh has an end. A day is computed until the
-- first of its rows or texts are due to be removed; what it came to is kept then.
CREATE TABLE IF NOT EXISTS rollup_due
(
    day         Date,
    fingerprint UInt128
)
ENGINE = MergeTree
ORDER BY day;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_due_refresh REFRESH EVERY 5 MINUTE DEPENDS ON rollup_days_refresh
TO rollup_due EMPTY DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, fingerprint
FROM rollup_days
WHERE day >= (SELECT first_day FROM rollup_first_day)
  AND ((day, fingerprint) NOT IN (SELECT day, fingerprint FROM rollup_features WHERE fingerprint != 0)
       OR (day, fingerprint) NOT IN (SELECT day, fingerprint FROM rollup_consent WHERE fingerprint != 0))
ORDER BY day DESC
LIMIT 32;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_features_refresh REFRESH EVERY 5 MINUTE DEPENDS ON rollup_due_refresh
TO rollup_features EMPTY DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (SELECT groupArray(day) FROM rollup_due) AS due,
    (SELECT groupArray(day) FROM rollup_days) AS there,
    (
        SELECT (min(toUInt128(event_id)), max(toUInt128(event_id))) FROM events
        WHERE has(due, toDate(received_at))
    ) AS ids,
    -- An event that is there more than once counts on the first of its days, as its narrowest copy says.
    copied AS
    (
        SELECT tenant, toUInt128(event_id) FROM events
        WHERE toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
        GROUP BY tenant, toUInt128(event_id)
        HAVING count() > 1
        SETTINGS optimize_aggregation_in_order = 1
    ),
    once AS
    (
        SELECT toDate(received_at) AS day, tenant, feature, model, language, client_name, event_type, text, suggestion_id, latency_ms, feedback_action
        FROM events
        WHERE has(due, toDate(received_at)) AND event_type IN ('suggestion_shown', 'suggestion_feedback')
          AND toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
          AND (tenant, toUInt128(event_id)) NOT IN copied
        UNION ALL
        SELECT day, tenant, feature, model, language, client_name, event_type, text, suggestion_id, latency_ms, feedback_action
        FROM
        (
            SELECT min(toDate(received_at)) OVER (PARTITION BY tenant, event_id) AS day,
                   tenant, feature, model, language, client_name, event_type, text, suggestion_id, latency_ms, feedback_action,
                   narrowness, sealed_at, event_id
            FROM events
            WHERE (tenant, toUInt128(event_id)) IN copied
            ORDER BY narrowness DESC, sealed_at DESC
            LIMIT 1 BY tenant, toUInt128(event_id)
        )
        WHERE has(due, day) AND event_type IN ('suggestion_shown', 'suggestion_feedback')
    ),
    -- A feedback has no language of its own: it is that of the suggestion, which came in the seven days before.
    suggestions AS
    (
        SELECT tenant, suggestion_id,
               argMin((language, text), (received_at, event_id)) AS what
        FROM events
        WHERE event_type = 'suggestion_shown' AND suggestion_id != ''
          AND has(arrayDistinct(arrayFlatten(arrayMap(day -> arrayMap(back -> day - back, range(8)), due))),
                  toDate(received_at))
          AND (tenant, suggestion_id) IN
              (SELECT tenant, suggestion_id FROM once WHERE event_type = 'suggestion_feedback')
        GROUP BY tenant, suggestion_id
    ),
    counted AS
    (
        SELECT day, tenant, feature, model, language, client_name, '-' AS action, latency_ms,
               false AS is_measured, CAST(NULL, 'Nullable(UInt64)') AS distance
        FROM once
        WHERE event_type = 'suggestion_shown'
        UNION ALL
        SELECT f.day, f.tenant, f.feature, f.model, s.what.1 AS language, f.client_name,
               toString(f.feedback_action) AS action, 0 AS latency_ms,
               f.feedback_action = 'accepted_with_edits' AND s.what.2 != '' AND f.text != ''
                   AND length(s.what.2) <= 4000 AND length(f.text) <= 4000 AS is_measured,
               -- Of what is not measured nothing is computed either, however long it is.
               if(is_measured,
                  toNullable(editDistanceUTF8(if(is_measured, s.what.2, ''), if(is_measured, f.text, ''))),
                  NULL) AS distance
        FROM (SELECT * FROM once WHERE event_type = 'suggestion_feedback') AS f
        LEFT ANY JOIN suggestions AS s ON s.tenant = f.tenant AND s.suggestion_id = f.suggestion_id
    )
SELECT
    day, tenant, feature, model, language, client_name,
    countIf(action = '-') AS shown,
    countIf(action = 'accepted') AS accepted,
    countIf(action = 'accepted_with_edits') AS accepted_with_edits,
    countIf(action = 'rejected') AS rejected,
    countIf(action = 'ignored') AS ignored,
    countIf(action = 'reported') AS reported,
    if(shown = 0, NULL, quantileExactIf(0.5)(latency_ms, action = '-')) AS latency_ms_p50,
    if(shown = 0, NULL, quantileExactIf(0.95)(latency_ms, action = '-')) AS latency_ms_p95,
    if(shown = 0, NULL, quantileExactIf(0.99)(latency_ms, action = '-')) AS latency_ms_p99,
    count(distance) AS edit_distances,
    avg(distance) AS edit_distance_avg,
    quantileExact(0.5)(distance) AS edit_distance_p50,
    toUInt128(0) AS fingerprint,
    now('UTC') AS computed_at
FROM counted
GROUP BY day, tenant, feature, model, language, client_name
UNION ALL
SELECT day, '', '', '', '', '', 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, 0, NULL, NULL, fingerprint, now('UTC')
FROM rollup_due
WHERE has(due, day)
UNION ALL
SELECT * FROM rollup_features
WHERE NOT has(due, day)
  AND (has(there, day) OR day < (SELECT first_day FROM rollup_first_day))
SETTINGS join_use_nulls = 0, enable_shared_storage_snapshot_in_query = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS rollup_consent_refresh REFRESH EVERY 5 MINUTE DEPENDS ON rollup_due_refresh
TO rollup_consent EMPTY DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (SELECT groupArray(day) FROM rollup_due) AS due,
    (SELECT groupArray(day) FROM rollup_days) AS there,
    (
        SELECT (min(toUInt128(event_id)), max(toUInt128(event_id))) FROM events
        WHERE has(due, toDate(received_at))
    ) AS ids,
    -- An event that is there more than once counts on the first of its days, as its narrowest copy says.
    copied AS
    (
        SELECT tenant, toUInt128(event_id) FROM events
        WHERE toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
        GROUP BY tenant, toUInt128(event_id)
        HAVING count() > 1
        SETTINGS optimize_aggregation_in_order = 1
    ),
    once AS
    (
        SELECT toDate(received_at) AS day, tenant, training_scope, consent_state, consent_source, eligibility_reason, jurisdiction, policy_version, policy_digest, subject_id
        FROM events
        WHERE has(due, toDate(received_at))
          AND toUInt128(event_id) >= ids.1 AND toUInt128(event_id) <= ids.2
          AND (tenant, toUInt128(event_id)) NOT IN copied
        UNION ALL
        SELECT day, tenant, training_scope, consent_state, consent_source, eligibility_reason, jurisdiction, policy_version, policy_digest, subject_id
        FROM
        (
            SELECT min(toDate(received_at)) OVER (PARTITION BY tenant, event_id) AS day,
                   tenant, training_scope, consent_state, consent_source, eligibility_reason, jurisdiction, policy_version, policy_digest, subject_id,
                   narrowness, sealed_at, event_id
            FROM events
            WHERE (tenant, toUInt128(event_id)) IN copied
            ORDER BY narrowness DESC, sealed_at DESC
            LIMIT 1 BY tenant, toUInt128(event_id)
        )
        WHERE has(due, day)
    )
SELECT
    day, tenant, training_scope, consent_state, consent_source, eligibility_reason,
    jurisdiction, policy_version, policy_digest,
    count() AS events,
    uniqExact(subject_id) AS people,
    toUInt128(0) AS fingerprint,
    now('UTC') AS computed_at
FROM once
GROUP BY day, tenant, training_scope, consent_state, consent_source, eligibility_reason,
         jurisdiction, policy_version, policy_digest
UNION ALL
SELECT day, '', 'none', 'unset', 'policy_default', 'denied', '', '', '', 0, 0, fingerprint, now('UTC')
FROM rollup_due
WHERE has(due, day)
UNION ALL
SELECT * FROM rollup_consent
WHERE NOT has(due, day)
  AND (has(there, day) OR day < (SELECT first_day FROM rollup_first_day))
SETTINGS join_use_nulls = 0, enable_shared_storage_snapshot_in_query = 1;

-- What became of suggestions, a day (of receipt, UTC) at a time. The edit distance is in characters, between a
-- suggestion and what the person made of it, of texts of up to 4,000 bytes.
CREATE OR REPLACE VIEW feature_daily DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    day, tenant, feature, model, language, client_name,
    shown, accepted, accepted_with_edits, rejected, ignored, reported,
    if(accepted + accepted_with_edits + rejected + ignored + reported = 0, NULL,
       (accepted + accepted_with_edits) / (accepted + accepted_with_edits + rejected + ignored + reported))
        AS acceptance_rate,
    latency_ms_p50, latency_ms_p95, latency_ms_p99, edit_distances, edit_distance_avg, edit_distance_p50, computed_at
FROM rollup_features
WHERE fingerprint = 0;

-- Whose events came with which consent, a day (of receipt, UTC) at a time.
CREATE OR REPLACE VIEW consent_coverage_daily DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    day, tenant, training_scope, consent_state, consent_source, eligibility_reason,
    jurisdiction, policy_version, policy_digest, events, people, computed_at
FROM rollup_consent
WHERE fingerprint = 0;
