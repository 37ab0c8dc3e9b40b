-- Keys of pseudonyms that collectors stamp with, each announced before it was used. Ids alone; a key is in no table.
CREATE TABLE IF NOT EXISTS pseudonym_keys
(
    key_id      String,
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (key_id, recorded_at);

-- Keys that are not used any more. Append-only: what was retired stays retired.
CREATE TABLE IF NOT EXISTS pseudonym_keys_retired
(
    key_id      String,
    reason      String,
    -- How many people had consent under it and under no other key.
    left_behind UInt64,
    retired_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (key_id, retired_at);

-- The keys that the same change was recorded under together with this row: who holds one of them knows of the change.
-- Empty in rows from before a person could have several pseudonyms.
ALTER TABLE consent_changes
    ADD COLUMN IF NOT EXISTS also_under Array(String);

-- The training views of migration 0008, and besides: no row whose author's pseudonym is under a retired key. Nobody can make
-- that pseudonym any more, so no "no" would reach the row.
CREATE OR REPLACE VIEW training_first_party DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
FROM (SELECT * FROM events FINAL) AS e
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
FROM (SELECT * FROM events FINAL) AS e
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
