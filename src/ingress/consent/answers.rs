//! What is known, in the words of the wire.

use crate::{
    consent::{
        ClientInfo, Consent, ConsentScope, ConsentState, Known, Policy, Record, TrainingScope, decide,
        decide_scope,
        explain::{self, Outcome},
    },
    event::{Jurisdiction, SubjectId},
    ingress::{proto, wire},
    pipeline::ConsentFacts,
};

/// A person's consent, and what would be decided about an ordinary event.
pub(super) fn consent(
    policy: &Policy,
    subject_id: &SubjectId,
    place: Jurisdiction,
    known: Known,
    mut records: Vec<Record>,
) -> proto::GetConsentResponse {
    let facts = super::ordinary_event(place);
    let known = Consent::Known(known);
    let decision = decide(&known, policy, &facts);
    let state_of = |scope| match &known {
        Consent::Known(known) => known.scope(scope).state,
        Consent::Unknown => ConsentState::Unset,
    };
    let scopes = ConsentScope::ALL
        .into_iter()
        .map(|scope| {
            let reason = decide_scope(&known, policy, &facts, scope);
            proto::ScopeConsent {
                scope: wire::scope_out(scope).into(),
                state: wire::state_out(state_of(scope)).into(),
                record: take(&mut records, scope, subject_id),
                eligible: match scope {
                    ConsentScope::FirstParty => decision.training_scope >= TrainingScope::FirstParty,
                    ConsentScope::Affiliates => decision.training_scope == TrainingScope::Affiliates,
                },
                eligibility_reason: reason.as_str().to_owned(),
            }
        })
        .collect();
    proto::GetConsentResponse {
        scopes,
        subject_id: subject_id.to_string(),
        training_scope: decision.training_scope.as_str().to_owned(),
        eligibility_reason: decision.reason.as_str().to_owned(),
    }
}

/// A record for the wire.
pub(super) fn record(record: Record, subject_id: &SubjectId) -> proto::ConsentRecord {
    proto::ConsentRecord {
        consent_id: record.consent_id.to_string(),
        subject_id: subject_id.to_string(),
        scope: wire::scope_out(record.scope).into(),
        state: wire::state_out(record.state).into(),
        source: wire::source_out(record.source).into(),
        policy_version: record.policy_version,
        consent_version: record.consent_version.into(),
        jurisdiction: record.jurisdiction,
        evidence: record.evidence,
        actor: record.actor,
        recorded_at: record.recorded_at.map(wire::timestamp),
        request_id: record.request_id.to_string(),
        language: record.language,
        client: (record.client != ClientInfo::default()).then_some(proto::Client {
            name: record.client.name,
            version: record.client.version,
            platform: record.client.platform,
        }),
    }
}

/// Takes the record of a scope out, for the wire.
fn take(
    records: &mut Vec<Record>,
    scope: ConsentScope,
    subject_id: &SubjectId,
) -> Option<proto::ConsentRecord> {
    let at = records.iter().position(|record| record.scope == scope)?;
    Some(record(records.swap_remove(at), subject_id))
}

/// What would be decided about an event, rule by rule.
pub(super) fn explanation(
    policy: &Policy,
    subject_id: &SubjectId,
    consent: &Consent,
    facts: &ConsentFacts<'_>,
    mut records: Vec<Record>,
) -> proto::ExplainDecisionResponse {
    let decision = decide(consent, policy, facts);
    let scopes = ConsentScope::ALL
        .into_iter()
        .map(|scope| {
            let reason = decide_scope(consent, policy, facts, scope);
            proto::ExplainedScope {
                scope: wire::scope_out(scope).into(),
                record: take(&mut records, scope, subject_id),
                allowed: reason.is_eligible(),
                eligibility_reason: reason.as_str().to_owned(),
                rules: explain::explain(consent, policy, facts, scope).into_iter().map(rule).collect(),
            }
        })
        .collect();
    proto::ExplainDecisionResponse {
        subject_id: subject_id.to_string(),
        training_scope: decision.training_scope.as_str().to_owned(),
        eligibility_reason: decision.reason.as_str().to_owned(),
        jurisdiction: facts.jurisdiction.as_str().to_owned(),
        policy_version: policy.version().to_owned(),
        policy_digest: policy.digest().to_owned(),
        scopes,
    }
}

fn rule(explained: explain::Explained) -> proto::ExplainedRule {
    let outcome = match explained.outcome {
        Outcome::Passed => proto::RuleOutcome::Passed,
        Outcome::Decided => proto::RuleOutcome::Decided,
        Outcome::NotReached => proto::RuleOutcome::NotReached,
    };
    proto::ExplainedRule {
        number: explained.rule as u32,
        rule: explained.rule.words().to_owned(),
        found: explained.found,
        outcome: outcome.into(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::consent::Source;

    fn recorded(scope: ConsentScope, state: ConsentState, version: u32) -> Record {
        Record {
            consent_id: Uuid::from_u128(version.into()),
            scope,
            state,
            source: Source::UserSetting,
            policy_version: String::new(),
            consent_version: version,
            jurisdiction: "DE".to_owned(),
            evidence: String::new(),
            actor: String::new(),
            request_id: Uuid::nil(),
            language: String::new(),
            client: ClientInfo::default(),
            recorded_at: None,
        }
    }

    #[test]
    fn affiliates_alone_are_granted_and_not_eligible() {
        let records = vec![recorded(ConsentScope::Affiliates, ConsentState::Granted, 1)];
        let subject = SubjectId::from_bytes([1; 16]);
        let known = Known::of_records(&records);
        let answer = consent(&Policy::builtin(), &subject, Jurisdiction::UNKNOWN, known, records);
        assert_eq!(
            (answer.training_scope.as_str(), answer.eligibility_reason.as_str()),
            ("none", "unset_opt_in")
        );
        let [first, affiliates] = &answer.scopes[..] else { panic!("two scopes") };
        assert!(first.record.is_none() && !first.eligible);
        assert!(affiliates.record.is_some() && !affiliates.eligible);
        assert_eq!(affiliates.eligibility_reason, "granted");
    }
}
