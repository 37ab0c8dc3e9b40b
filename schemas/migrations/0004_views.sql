-- Views count an event once: FINAL keeps one row of those with the same (tenant, event_id), across partitions,
-- and of those the one with the narrowest scope. A view runs with the rights of who made it, so that a
-- reader needs no right on the tables beneath.

CREATE VIEW IF NOT EXISTS typed_texts DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    received_at, occurred_at, tenant, subject_id, event_id, session_id, interaction_id,
    feature, model, client_name, client_version, platform, jurisdiction,
    language, text, redactions, redaction_version,
    training_scope, eligibility_reason, consent_state, consent_source, consent_version, policy_version
FROM events FINAL
WHERE event_type = 'typed_text';

CREATE VIEW IF NOT EXISTS suggestions_shown DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    received_at, occurred_at, tenant, subject_id, event_id, session_id, interaction_id, suggestion_id,
    feature, model, client_name, client_version, platform, jurisdiction,
    language, text, latency_ms, position, redactions, redaction_version,
    training_scope, eligibility_reason, consent_state, consent_source, consent_version, policy_version
FROM events FINAL
WHERE event_type = 'suggestion_shown';

CREATE VIEW IF NOT EXISTS suggestion_feedback DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    received_at, occurred_at, tenant, subject_id, event_id, session_id, interaction_id, suggestion_id,
    feature, model, client_name, client_version, platform, jurisdiction,
    feedback_action, rating, text AS final_text, comment, redactions, redaction_version,
    training_scope, eligibility_reason, consent_state, consent_source, consent_version, policy_version
FROM events FINAL
WHERE event_type = 'suggestion_feedback';

CREATE VIEW IF NOT EXISTS language_preferences DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    received_at, occurred_at, tenant, subject_id, event_id, session_id, interaction_id,
    feature, client_name, client_version, platform, jurisdiction,
    language, previous_language,
    training_scope, eligibility_reason, consent_state, consent_source, consent_version, policy_version
FROM events FINAL
WHERE event_type = 'language_preference';

-- Eligible rows whose author has not taken consent back since. "Since" is a number and not a time: a row knows
-- the newest change of its author that its stamp took into account, and a later "no" (or a later taking back
-- of an answer) withdraws it for good, whatever is granted after that. Two changes made at once may have one
-- number; then the "no" counts, so it withdraws rows of its own number too. The same holds for a taking back,
-- but not for rows that stand on the silence which it left.
--
-- The LIMIT limits nothing. It keeps the reader's own conditions from being tried on rows that the view does not
-- show: an error in such a condition would tell what they hold.
CREATE VIEW IF NOT EXISTS training_first_party DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
LIMIT 9223372036854775807
SETTINGS join_use_nulls = 0;

CREATE VIEW IF NOT EXISTS training_affiliates DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
LIMIT 9223372036854775807
SETTINGS join_use_nulls = 0;
