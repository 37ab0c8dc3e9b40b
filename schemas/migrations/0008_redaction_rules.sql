-- Every version of the redaction rules that a collector has redacted with, so that one can say years later what was
-- looked for in a row. A version that is not here is not known, and its rows may train nothing.
CREATE TABLE IF NOT EXISTS redaction_rules
(
    version      String,
    digest       String,
    body         String CODEC(ZSTD(1)),
    collector_id String,
    recorded_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (version, digest);

-- Versions that turned out bad. Append-only: what was revoked stays revoked.
CREATE TABLE IF NOT EXISTS redaction_rules_revoked
(
    version    String,
    reason     String,
    revoked_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (version, revoked_at);

-- Whatever writes: a row that says of itself that nothing redacted it is never stored as eligible.
ALTER TABLE events ADD CONSTRAINT IF NOT EXISTS eligible_is_redacted
    CHECK training_scope = 'none' OR redaction_version != '';

-- The training views of migration 0004, and besides: the version that redacted a row must be known and not
-- revoked. It is asked after FINAL, as everything is here: a narrower copy of an event hides the wider one,
-- whoever redacted them.
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
LIMIT 9223372036854775807
SETTINGS join_use_nulls = 0;
