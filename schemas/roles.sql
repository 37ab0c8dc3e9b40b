-- The roles of assent as SQL, for servers that keep users in SQL. The same as schemas/users.d/assent.xml.
-- The database is `assent`; put another name in its place if yours has one.

CREATE ROLE IF NOT EXISTS assent_collector;
GRANT INSERT ON assent.events TO assent_collector;
GRANT SELECT(tenant, event_id, training_scope) ON assent.events TO assent_collector;
GRANT SELECT, INSERT ON assent.consent_changes TO assent_collector;
GRANT SELECT, INSERT ON assent.policies TO assent_collector;
GRANT SELECT, INSERT ON assent.redaction_rules TO assent_collector;
GRANT SELECT ON assent.redaction_rules_revoked TO assent_collector;
GRANT SELECT, INSERT ON assent.pseudonym_keys TO assent_collector;
GRANT SELECT ON assent.pseudonym_keys_retired TO assent_collector;
GRANT SELECT, INSERT ON assent.erasures TO assent_collector;
GRANT SELECT, INSERT ON assent.erasure_subjects TO assent_collector;
GRANT SELECT, INSERT ON assent.erasure_steps TO assent_collector;
GRANT SELECT, INSERT ON assent.erasure_rounds TO assent_collector;
GRANT SELECT, INSERT ON assent.collectors TO assent_collector;
GRANT SELECT ON assent.schema_migrations TO assent_collector;
GRANT SELECT ON system.merge_tree_settings TO assent_collector;
GRANT SELECT ON system.replicated_merge_tree_settings TO assent_collector;

CREATE ROLE IF NOT EXISTS assent_reconciler;
GRANT SELECT, INSERT, ALTER DELETE ON assent.events TO assent_reconciler;
GRANT SELECT ON assent.consent_changes TO assent_reconciler;
GRANT SELECT(erasure_id, state) ON assent.erasures TO assent_reconciler;
GRANT SELECT(erasure_id, tenant, subject_id) ON assent.erasure_subjects TO assent_reconciler;
GRANT SELECT, INSERT ON assent.withdrawal_passes TO assent_reconciler;
GRANT SELECT ON system.mutations TO assent_reconciler;

CREATE ROLE IF NOT EXISTS assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, feature, model, client_name, client_version, platform, jurisdiction, language, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.typed_texts TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, suggestion_id, feature, model, client_name, client_version, platform, jurisdiction, language, latency_ms, position, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.suggestions_shown TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, suggestion_id, feature, model, client_name, client_version, platform, jurisdiction, feedback_action, rating, redactions, redaction_version, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.suggestion_feedback TO assent_analyst;
GRANT SELECT(received_at, occurred_at, tenant, event_id, session_id, interaction_id, feature, client_name, client_version, platform, jurisdiction, language, previous_language, training_scope, eligibility_reason, consent_state, consent_source, policy_version) ON assent.language_preferences TO assent_analyst;
GRANT SELECT ON assent.feature_daily TO assent_analyst;
GRANT SELECT ON assent.consent_coverage_daily TO assent_analyst;
GRANT SELECT ON assent.retention TO assent_analyst;

CREATE ROLE IF NOT EXISTS assent_ml_first_party;
GRANT SELECT ON assent.training_first_party TO assent_ml_first_party;
GRANT SELECT ON assent.training_first_party_days TO assent_ml_first_party;
GRANT SELECT ON assent.training_first_party_range TO assent_ml_first_party;

CREATE ROLE IF NOT EXISTS assent_ml_affiliates;
GRANT SELECT ON assent.training_affiliates TO assent_ml_affiliates;
GRANT SELECT ON assent.training_affiliates_days TO assent_ml_affiliates;
GRANT SELECT ON assent.training_affiliates_range TO assent_ml_affiliates;

CREATE ROLE IF NOT EXISTS assent_privacy;
GRANT SELECT ON assent.* TO assent_privacy;

CREATE ROLE IF NOT EXISTS assent_exporter;
GRANT INSERT ON assent.exports TO assent_exporter;

CREATE ROLE IF NOT EXISTS assent_eraser;
GRANT SELECT ON assent.* TO assent_eraser;
GRANT ALTER DELETE ON assent.* TO assent_eraser;
GRANT SELECT ON system.tables TO assent_eraser;
GRANT SELECT ON system.columns TO assent_eraser;
GRANT SELECT ON system.mutations TO assent_eraser;
GRANT SELECT ON system.parts TO assent_eraser;

-- Readers may change no settings but those that say how an answer is computed and written.
CREATE SETTINGS PROFILE IF NOT EXISTS assent_reader SETTINGS
    readonly = 1,
    max_threads CHANGEABLE_IN_READONLY,
    max_execution_time CHANGEABLE_IN_READONLY,
    max_memory_usage CHANGEABLE_IN_READONLY,
    max_block_size CHANGEABLE_IN_READONLY,
    max_result_rows CHANGEABLE_IN_READONLY,
    max_result_bytes CHANGEABLE_IN_READONLY,
    result_overflow_mode CHANGEABLE_IN_READONLY,
    log_comment CHANGEABLE_IN_READONLY,
    session_timezone CHANGEABLE_IN_READONLY,
    date_time_output_format CHANGEABLE_IN_READONLY,
    enable_http_compression CHANGEABLE_IN_READONLY,
    http_zlib_compression_level CHANGEABLE_IN_READONLY,
    network_compression_method CHANGEABLE_IN_READONLY,
    network_zstd_compression_level CHANGEABLE_IN_READONLY,
    send_progress_in_http_headers CHANGEABLE_IN_READONLY,
    http_headers_progress_interval_ms CHANGEABLE_IN_READONLY,
    cancel_http_readonly_queries_on_client_close CHANGEABLE_IN_READONLY,
    output_format_json_quote_64bit_integers CHANGEABLE_IN_READONLY,
    output_format_json_quote_denormals CHANGEABLE_IN_READONLY,
    output_format_native_encode_types_in_binary_format CHANGEABLE_IN_READONLY,
    output_format_parquet_compression_method CHANGEABLE_IN_READONLY,
    output_format_parquet_row_group_size CHANGEABLE_IN_READONLY,
    output_format_parquet_string_as_string CHANGEABLE_IN_READONLY,
    output_format_arrow_compression_method CHANGEABLE_IN_READONLY,
    output_format_arrow_string_as_string CHANGEABLE_IN_READONLY,
    output_format_pretty_max_rows CHANGEABLE_IN_READONLY,
    output_format_pretty_color CHANGEABLE_IN_READONLY
TO assent_analyst, assent_ml_first_party, assent_ml_affiliates, assent_privacy;
