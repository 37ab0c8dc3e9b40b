-- The roles of assent as SQL, for servers that keep users in SQL. The same as schemas/users.d/assent.xml.
-- The database is `assent`; put another name in its place if yours has one.

CREATE ROLE IF NOT EXISTS assent_collector;
GRANT INSERT ON assent.events TO assent_collector;
GRANT SELECT, INSERT ON assent.consent_changes TO assent_collector;
GRANT SELECT, INSERT ON assent.policies TO assent_collector;
GRANT SELECT ON assent.schema_migrations TO assent_collector;

CREATE ROLE IF NOT EXISTS assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, feature, model, client_name, client_version, platform, jurisdiction, language, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.typed_texts TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, suggestion_id, feature, model, client_name, client_version, platform, jurisdiction, language, latency_ms, position, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.suggestions_shown TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, suggestion_id, feature, model, client_name, client_version, platform, jurisdiction, feedback_action, rating, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.suggestion_feedback TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, feature, client_name, client_version, platform, jurisdiction, language, previous_language, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.language_preferences TO assent_analyst;
GRANT SELECT ON assent.feature_daily TO assent_analyst;
GRANT SELECT ON assent.consent_coverage_daily TO assent_analyst;

CREATE ROLE IF NOT EXISTS assent_ml_first_party;
GRANT SELECT ON assent.training_first_party TO assent_ml_first_party;

CREATE ROLE IF NOT EXISTS assent_ml_affiliates;
GRANT SELECT ON assent.training_affiliates TO assent_ml_affiliates;

CREATE ROLE IF NOT EXISTS assent_privacy;
GRANT SELECT ON assent.* TO assent_privacy;
