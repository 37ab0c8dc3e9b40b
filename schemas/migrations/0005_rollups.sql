-- What became of suggestions, a day (of receipt) at a time. A feedback has no language of its own: it is that of
-- the suggestion. The edit distance is in characters, between a suggestion and the text that the person made
-- of it; texts longer than 4,000 bytes are left out of it.
CREATE VIEW IF NOT EXISTS feature_daily DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    day, tenant, feature, model, language, client_name,
    countIf(action = '-') AS shown,
    countIf(action = 'accepted') AS accepted,
    countIf(action = 'accepted_with_edits') AS accepted_with_edits,
    countIf(action = 'rejected') AS rejected,
    countIf(action = 'ignored') AS ignored,
    countIf(action = 'reported') AS reported,
    if(count() = shown, NULL, (accepted + accepted_with_edits) / (count() - shown)) AS acceptance_rate,
    if(shown = 0, NULL, quantileIf(0.5)(latency_ms, action = '-')) AS latency_ms_p50,
    if(shown = 0, NULL, quantileIf(0.95)(latency_ms, action = '-')) AS latency_ms_p95,
    if(shown = 0, NULL, quantileIf(0.99)(latency_ms, action = '-')) AS latency_ms_p99,
    avg(distance) AS edit_distance_avg
FROM
(
    SELECT
        toDate(received_at) AS day, tenant, feature, model, language, client_name,
        '-' AS action, latency_ms, CAST(NULL, 'Nullable(UInt64)') AS distance
    FROM suggestions_shown
    UNION ALL
    SELECT
        toDate(f.received_at) AS day, f.tenant, f.feature, f.model, s.language, f.client_name,
        toString(f.feedback_action) AS action, 0 AS latency_ms,
        if(f.feedback_action = 'accepted_with_edits' AND s.text != '' AND length(s.text) <= 4000
               AND length(f.final_text) <= 4000,
           toNullable(editDistanceUTF8(substringUTF8(s.text, 1, 4000), substringUTF8(f.final_text, 1, 4000))), NULL) AS distance
    FROM suggestion_feedback AS f
    LEFT ANY JOIN suggestions_shown AS s ON s.tenant = f.tenant AND s.suggestion_id = f.suggestion_id
)
GROUP BY day, tenant, feature, model, language, client_name;

-- Whose events came with which consent, a day (of receipt) at a time.
CREATE VIEW IF NOT EXISTS consent_coverage_daily DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(received_at) AS day, tenant, training_scope, consent_state, consent_source, eligibility_reason,
    jurisdiction, policy_version, policy_digest,
    count() AS events,
    uniqExact(subject_id) AS people
FROM events FINAL
GROUP BY day, tenant, training_scope, consent_state, consent_source, eligibility_reason,
         jurisdiction, policy_version, policy_digest;
