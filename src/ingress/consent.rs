//! `ConsentService`: sets and reads a person's consent.

use std::sync::Arc;

use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::{
    consent::{
        self, Change, ConsentState, Known, Ledger, LedgerError, Policy, PolicyStore, Record, decide,
        decide_scope, ledger::After,
    },
    event::{EventType, Jurisdiction, RawText, RawUserId, SubjectId, Tenant},
    ingress::{authenticate, proto, status, wire},
    pipeline::{ConsentFacts, Credentials, Pseudonymiser, Redactor, validate},
};

/// The longest evidence, in bytes.
const MAX_EVIDENCE_BYTES: usize = 4096;
/// The longest name of an actor, in bytes.
const MAX_ACTOR_BYTES: usize = 256;
/// Records on a page of the history, when nobody says how many.
const DEFAULT_PAGE: u32 = 100;
/// The most records on a page.
const MAX_PAGE: u32 = 1000;

/// The service.
#[derive(Clone)]
pub struct Consent {
    credentials: Arc<Credentials>,
    ledger: Arc<Ledger>,
    policies: Arc<PolicyStore>,
    pseudonymiser: Arc<Pseudonymiser>,
    redactor: Arc<Redactor>,
}

impl Consent {
    /// Puts the service together.
    #[must_use]
    pub const fn new(
        credentials: Arc<Credentials>,
        ledger: Arc<Ledger>,
        policies: Arc<PolicyStore>,
        pseudonymiser: Arc<Pseudonymiser>,
        redactor: Arc<Redactor>,
    ) -> Self {
        Self { credentials, ledger, policies, pseudonymiser, redactor }
    }

    /// Who asks, and about whom.
    fn person(&self, metadata: &MetadataMap, user_id: String) -> Result<Person, Status> {
        let tenant =
            authenticate(&self.credentials, metadata).map_err(|error| status::unauthenticated(&error))?;
        let user_id = RawUserId::new(user_id);
        validate::user_id(&user_id).map_err(|broken| status::invalid_argument("user_id", &broken.message))?;
        let subject_id = self.pseudonymiser.subject(&tenant, &user_id);
        Ok(Person { tenant, user_id, subject_id })
    }

    fn change(&self, person: &Person, request: proto::SetConsentRequest) -> Result<Change, Status> {
        let scope = wire::scope_in(request.scope)
            .ok_or_else(|| status::invalid_argument("scope", "must be FIRST_PARTY or AFFILIATES"))?;
        let state = wire::state_in(request.state)
            .ok_or_else(|| status::invalid_argument("state", "must be UNSET, GRANTED or DENIED"))?;
        let source = wire::source_in(request.source).ok_or_else(|| {
            status::invalid_argument("source", "must be USER_SETTING, ADMIN, IMPORT or GPC_SIGNAL")
        })?;
        validate::field("policy_version", &request.policy_version)
            .map_err(|broken| status::invalid_argument("policy_version", &broken.message))?;
        if request.evidence.len() > MAX_EVIDENCE_BYTES {
            return Err(status::invalid_argument("evidence", "may be at most 4096 bytes of UTF-8"));
        }
        if request.actor.len() > MAX_ACTOR_BYTES {
            return Err(status::invalid_argument("actor", "may be at most 256 bytes of UTF-8"));
        }
        let redact = |text: String| self.redactor.redact_evidence(RawText::new(text), &person.user_id);
        Ok(Change {
            tenant: person.tenant.clone(),
            subject_id: person.subject_id,
            pseudonym_key_id: Arc::clone(self.pseudonymiser.key_id()),
            scope,
            state,
            source,
            policy_version: request.policy_version,
            jurisdiction: jurisdiction(&request.jurisdiction)?,
            evidence: redact(request.evidence),
            actor: redact(request.actor),
        })
    }
}

/// A tenant's user.
struct Person {
    tenant: Tenant,
    user_id: RawUserId,
    subject_id: SubjectId,
}

fn jurisdiction(code: &str) -> Result<Jurisdiction, Status> {
    Jurisdiction::parse(code).ok_or_else(|| {
        status::invalid_argument(
            "jurisdiction",
            "must be an ISO 3166-1 alpha-2 code (DE), an ISO 3166-2 code (US-CA) or empty",
        )
    })
}

/// Logged here, where it is handled; the client learns what to do.
fn failed(error: &LedgerError) -> Status {
    tracing::warn!(error = error as &dyn std::error::Error, "a request to the consent ledger failed");
    status::ledger(error)
}

#[tonic::async_trait]
impl proto::consent_service_server::ConsentService for Consent {
    async fn set_consent(
        &self,
        request: Request<proto::SetConsentRequest>,
    ) -> Result<Response<proto::SetConsentResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let person = self.person(&metadata, std::mem::take(&mut request.user_id))?;
        let change = self.change(&person, request)?;
        // A client that goes away must not leave a change half made: in the ledger, and not in the
        // view of this collector.
        let ledger = Arc::clone(&self.ledger);
        let recorded = tokio::spawn(async move { ledger.set(&change).await }).await;
        let record = recorded
            .map_err(|_| Status::unavailable("the change could not be made; try again"))?
            .map_err(|error| failed(&error))?;
        Ok(Response::new(proto::SetConsentResponse { record: Some(to_wire(record, &person.subject_id)) }))
    }

    async fn get_consent(
        &self,
        request: Request<proto::GetConsentRequest>,
    ) -> Result<Response<proto::GetConsentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let person = self.person(&metadata, request.user_id)?;
        let asked = jurisdiction(&request.jurisdiction)?;
        let records =
            self.ledger.current(&person.tenant, &person.subject_id).await.map_err(|error| failed(&error))?;
        let place = if asked.is_unknown() { place_of(&records) } else { asked };
        let policy = self.policies.current();
        Ok(Response::new(answer(&policy, &person.subject_id, place, records)))
    }

    async fn list_consent_history(
        &self,
        request: Request<proto::ListConsentHistoryRequest>,
    ) -> Result<Response<proto::ListConsentHistoryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let person = self.person(&metadata, request.user_id)?;
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size if size <= MAX_PAGE => size,
            _ => return Err(status::invalid_argument("page_size", "may be at most 1000")),
        };
        let after = page_start(&request.page_token)?;
        // One more than asked for tells whether there is another page.
        let mut records = self
            .ledger
            .history(&person.tenant, &person.subject_id, after, size + 1)
            .await
            .map_err(|error| failed(&error))?;
        let more = records.len() > size as usize;
        records.truncate(size as usize);
        let next_page_token = match records.last() {
            Some(last) if more => format!("{}:{}", last.consent_version, last.consent_id),
            _ => String::new(),
        };
        let records = records.into_iter().map(|record| to_wire(record, &person.subject_id)).collect();
        Ok(Response::new(proto::ListConsentHistoryResponse { records, next_page_token }))
    }
}

/// Where the newest record says that the person is.
fn place_of(records: &[Record]) -> Jurisdiction {
    records
        .iter()
        .max_by_key(|record| record.consent_version)
        .and_then(|record| Jurisdiction::parse(&record.jurisdiction))
        .unwrap_or_default()
}

fn answer(
    policy: &Policy,
    subject_id: &SubjectId,
    place: Jurisdiction,
    records: Vec<Record>,
) -> proto::GetConsentResponse {
    // An ordinary event of an ordinary feature: what a settings page speaks of.
    let facts =
        ConsentFacts { event_type: EventType::TypedText, feature: "", jurisdiction: place, gpc: false };
    let known = consent::Consent::Known(Known::of_records(&records));
    let decision = decide(&known, policy, &facts);
    let mut records = records;
    let scopes = consent::ConsentScope::ALL
        .into_iter()
        .map(|scope| {
            let reason = decide_scope(&known, policy, &facts, scope);
            let record = records
                .iter()
                .position(|record| record.scope == scope)
                .map(|at| to_wire(records.swap_remove(at), subject_id));
            proto::ScopeConsent {
                scope: wire::scope_out(scope).into(),
                state: record
                    .as_ref()
                    .map_or(wire::state_out(ConsentState::Unset).into(), |record| record.state),
                record,
                eligible: match scope {
                    consent::ConsentScope::FirstParty => {
                        decision.training_scope >= consent::TrainingScope::FirstParty
                    }
                    consent::ConsentScope::Affiliates => {
                        decision.training_scope == consent::TrainingScope::Affiliates
                    }
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

fn to_wire(record: Record, subject_id: &SubjectId) -> proto::ConsentRecord {
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
    }
}

fn page_start(token: &str) -> Result<Option<After>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once(':').and_then(|(version, id)| {
        Some(After { consent_version: version.parse().ok()?, consent_id: Uuid::parse_str(id).ok()? })
    });
    parsed.map(Some).ok_or_else(|| {
        status::invalid_argument("page_token", "must be the next_page_token of the page before, or empty")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::{ConsentScope, Source};

    fn record(scope: ConsentScope, state: ConsentState, version: u32) -> Record {
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
            recorded_at: None,
        }
    }

    #[test]
    fn affiliates_alone_are_granted_and_not_eligible() {
        let records = vec![record(ConsentScope::Affiliates, ConsentState::Granted, 1)];
        let subject = SubjectId::from_bytes([1; 16]);
        let answer = answer(&Policy::builtin(), &subject, Jurisdiction::UNKNOWN, records);
        assert_eq!(
            (answer.training_scope.as_str(), answer.eligibility_reason.as_str()),
            ("none", "unset_opt_in")
        );
        let [first, affiliates] = &answer.scopes[..] else { panic!("two scopes") };
        assert!(first.record.is_none() && !first.eligible);
        assert!(affiliates.record.is_some() && !affiliates.eligible);
        assert_eq!(affiliates.eligibility_reason, "granted");
    }

    #[test]
    fn a_page_token_that_is_none_is_refused() {
        let after = After { consent_version: 7, consent_id: Uuid::from_u128(9) };
        assert_eq!(page_start(&format!("7:{}", after.consent_id)).unwrap(), Some(after));
        assert_eq!(page_start("").unwrap(), None);
        for token in ["7", "x:y", "7:", "-1:00000000-0000-0000-0000-000000000009"] {
            assert_eq!(page_start(token).unwrap_err().code(), tonic::Code::InvalidArgument, "{token}");
        }
    }
}
