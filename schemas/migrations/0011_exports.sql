-- What an export reads: the training views of migration 0009, a range of event ids at a time, so that shard after shard
-- of a dataset costs one pass over the table and not one each. The views themselves cannot be read in parts: their
-- LIMIT keeps a reader's conditions outside. A parameter is a constant, so it may come in: it is never tried on a row
-- that is not shown in a way that could tell something of it.
--
-- A range of ids is a range of the table's key. All copies of an event have one key, so FINAL within the range finds the
-- narrower copy of each event in it, on whatever day and in whatever partition that lies. The days are asked for after
-- FINAL, as everything else is.
CREATE OR REPLACE VIEW training_first_party_range DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
    SELECT * FROM events FINAL
    WHERE toUInt128(event_id) BETWEEN toUInt128({first_id:UUID}) AND toUInt128({last_id:UUID})
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
WHERE e.training_scope IN ('first_party', 'affiliates')
  AND toDate(e.received_at) BETWEEN {from_day:Date} AND {to_day:Date}
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

CREATE OR REPLACE VIEW training_affiliates_range DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
    SELECT * FROM events FINAL
    WHERE toUInt128(event_id) BETWEEN toUInt128({first_id:UUID}) AND toUInt128({last_id:UUID})
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
WHERE e.training_scope = 'affiliates'
  AND toDate(e.received_at) BETWEEN {from_day:Date} AND {to_day:Date}
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

-- An export is written down before its first row is read, and once more when its manifest is issued, so that what was
-- read and never became a dataset is known too.
ALTER TABLE exports ADD COLUMN IF NOT EXISTS state Enum8('begun' = 0, 'issued' = 1) DEFAULT 'issued' AFTER parent_export_id;
ALTER TABLE exports ADD COLUMN IF NOT EXISTS bytes UInt64 AFTER rows;
-- An export that goes on after it was killed says again that it was begun.
ALTER TABLE exports MODIFY SETTING non_replicated_deduplication_window = 10000;
