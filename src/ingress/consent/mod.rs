//! `ConsentService`: sets, reads and explains a person's consent.

use std::{borrow::Cow, sync::Arc};

use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::{
    consent::{
        self, Change, ClientInfo, ConsentState, Known, Ledger, LedgerError, PolicyStore, Record, Replica,
        Source, decide, decision::deciding_rule, ledger::After, receipt,
    },
    event::{EventType, Jurisdiction, Micros, RawText, RawUserId, SubjectId, Tenant},
    ingress::{authenticate, proto, status, wire},
    pipeline::{ConsentFacts, Credentials, Pseudonymiser, Redactor, Subjects, language, validate},
};

mod answers;

/// The longest evidence, in bytes.
const MAX_EVIDENCE_BYTES: usize = 4096;
/// The longest name of an actor, in bytes.
const MAX_ACTOR_BYTES: usize = 256;
/// Records on a page of the history, when nobody says how many.
const DEFAULT_PAGE: u32 = 100;
/// The most records on a page, and in a receipt.
const MAX_PAGE: u32 = 1000;

/// What the service is made of. Clones share it.
#[derive(Clone)]
pub struct Parts {
    /// Who may ask.
    pub credentials: Arc<Credentials>,
    /// What people said.
    pub ledger: Arc<Ledger>,
    /// What this collector knows of that.
    pub replica: Replica,
    /// The policies.
    pub policies: Arc<PolicyStore>,
    /// Makes subjects of user ids.
    pub pseudonymiser: Arc<Pseudonymiser>,
    /// Takes personal data out of evidence.
    pub redactor: Arc<Redactor>,
    /// Who decides about the processing.
    pub controllers: Arc<receipt::Controllers>,
}

/// The service.
#[derive(Clone)]
pub struct Consent(Parts);

impl Consent {
    /// Puts the service together.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Who asks, and about whom.
    fn person(&self, metadata: &MetadataMap, user_id: String) -> Result<Person, Status> {
        let tenant =
            authenticate(&self.0.credentials, metadata).map_err(|error| status::unauthenticated(&error))?;
        let raw = RawUserId::new(&user_id);
        validate::user_id(raw).map_err(|broken| status::invalid_argument("user_id", &broken.message))?;
        let subjects = self.0.pseudonymiser.subjects(&tenant, raw);
        Ok(Person { tenant, user_id, subjects })
    }

    fn change(&self, person: &Person, request: proto::SetConsentRequest) -> Result<Change, Status> {
        let scope = wire::scope_in(request.scope)
            .ok_or_else(|| status::invalid_argument("scope", "must be FIRST_PARTY or AFFILIATES"))?;
        let state = wire::state_in(request.state)
            .ok_or_else(|| status::invalid_argument("state", "must be UNSET, GRANTED or DENIED"))?;
        let source = wire::source_in(request.source).ok_or_else(|| {
            status::invalid_argument("source", "must be USER_SETTING, ADMIN, IMPORT or GPC_SIGNAL")
        })?;
        if (state, source) == (ConsentState::Granted, Source::GpcSignal) {
            return Err(status::invalid_argument(
                "source",
                "must not be GPC_SIGNAL on a yes: the signal is a no",
            ));
        }
        validate::field("policy_version", &request.policy_version)
            .map_err(|broken| status::invalid_argument("policy_version", &broken.message))?;
        if request.evidence.len() > MAX_EVIDENCE_BYTES {
            return Err(status::invalid_argument("evidence", "may be at most 4096 bytes of UTF-8"));
        }
        if request.actor.len() > MAX_ACTOR_BYTES {
            return Err(status::invalid_argument("actor", "may be at most 256 bytes of UTF-8"));
        }
        let request_id = match request.request_id.as_str() {
            "" => None,
            sent => Some(validate::uuid(sent).ok_or_else(|| {
                status::invalid_argument(
                    "request_id",
                    "must be a UUID of 36 characters with hyphens, and not the nil UUID, or empty",
                )
            })?),
        };
        let author = RawUserId::new(&person.user_id);
        let redact = |text: &str| {
            self.0.redactor.redact_evidence(&person.tenant, RawText::new(text), author).into_owned()
        };
        Ok(Change {
            tenant: person.tenant.clone(),
            subjects: person.subjects,
            pseudonym_key_ids: Arc::clone(self.0.pseudonymiser.key_ids()),
            scope,
            state,
            source,
            policy_version: request.policy_version,
            jurisdiction: jurisdiction(&request.jurisdiction)?,
            evidence: redact(&request.evidence),
            actor: redact(&request.actor),
            language: language_tag(&request.language)?,
            client: client_info(request.client.unwrap_or_default())?,
            request_id,
        })
    }
}

/// A tenant's user.
struct Person {
    tenant: Tenant,
    /// Raw; for [`RawUserId`] alone.
    user_id: String,
    subjects: Subjects,
}

impl Person {
    /// The pseudonym that answers name: the one that new rows carry.
    const fn subject_id(&self) -> SubjectId {
        self.subjects.current()
    }
}

fn language_tag(sent: &str) -> Result<String, Status> {
    if sent.is_empty() {
        return Ok(String::new());
    }
    language::canonical_tag(sent)
        .map(Cow::into_owned)
        .ok_or_else(|| status::invalid_argument("language", "must be a BCP 47 tag (pt-BR) or empty"))
}

fn client_info(sent: proto::Client) -> Result<ClientInfo, Status> {
    for (name, value) in
        [("client.name", &sent.name), ("client.version", &sent.version), ("client.platform", &sent.platform)]
    {
        validate::field(name, value).map_err(|broken| status::invalid_argument(name, &broken.message))?;
    }
    Ok(ClientInfo { name: sent.name, version: sent.version, platform: sent.platform })
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
    if !matches!(error, LedgerError::RequestReused) {
        tracing::warn!(error = error as &dyn std::error::Error, "a request to the consent ledger failed");
    }
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
        let ledger = Arc::clone(&self.0.ledger);
        let recorded = tokio::spawn(async move { ledger.set(&change).await }).await;
        let record = recorded
            .map_err(|_| Status::unavailable("the change could not be made; try again"))?
            .map_err(|error| failed(&error))?;
        Ok(Response::new(proto::SetConsentResponse {
            record: Some(answers::record(record, &person.subject_id())),
        }))
    }

    async fn get_consent(
        &self,
        request: Request<proto::GetConsentRequest>,
    ) -> Result<Response<proto::GetConsentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let person = self.person(&metadata, request.user_id)?;
        let (records, place) = self.current(&person, &request.jurisdiction).await?;
        let policy = self.0.policies.current();
        Ok(Response::new(answers::consent(
            &policy,
            &person.subject_id(),
            place,
            self.known(&person, &records),
            records,
        )))
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
            .0
            .ledger
            .history(&person.tenant, &person.subjects, after, size + 1)
            .await
            .map_err(|error| failed(&error))?;
        let more = records.len() > size as usize;
        records.truncate(size as usize);
        let next_page_token = match records.last() {
            Some(last) if more => format!("{}:{}", last.consent_version, last.consent_id),
            _ => String::new(),
        };
        let records =
            records.into_iter().map(|record| answers::record(record, &person.subject_id())).collect();
        Ok(Response::new(proto::ListConsentHistoryResponse { records, next_page_token }))
    }

    async fn explain_decision(
        &self,
        request: Request<proto::ExplainDecisionRequest>,
    ) -> Result<Response<proto::ExplainDecisionResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let person = self.person(&metadata, std::mem::take(&mut request.user_id))?;
        let event_type = event_type(&request.event_type)?;
        validate::field("feature", &request.feature)
            .map_err(|broken| status::invalid_argument("feature", &broken.message))?;
        let (records, place) = self.current(&person, &request.jurisdiction).await?;
        let facts = ConsentFacts {
            event_type,
            feature: &request.feature,
            jurisdiction: place,
            gpc: request.global_privacy_control,
        };
        // What the person said is read from the ledger; whether this collector knows, from its view.
        let consent = if self.0.replica.is_fresh() {
            consent::Consent::Known(self.known(&person, &records))
        } else {
            consent::Consent::Unknown
        };
        let policy = self.0.policies.current();
        Ok(Response::new(answers::explanation(&policy, &person.subject_id(), &consent, &facts, records)))
    }

    async fn get_consent_receipt(
        &self,
        request: Request<proto::GetConsentReceiptRequest>,
    ) -> Result<Response<proto::GetConsentReceiptResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let person = self.person(&metadata, request.user_id)?;
        let (current, place) = self.current(&person, "").await?;
        let mut records = self
            .0
            .ledger
            .history(&person.tenant, &person.subjects, None, MAX_PAGE + 1)
            .await
            .map_err(|error| failed(&error))?;
        let older_left_out = records.len() > MAX_PAGE as usize;
        records.truncate(MAX_PAGE as usize);
        let policy = self.0.policies.current();
        let facts = ordinary_event(place);
        let known = consent::Consent::Known(self.known(&person, &current));
        let rules =
            consent::ConsentScope::ALL.map(|scope| (scope, deciding_rule(&known, &policy, &facts, scope)));
        let receipt_json = receipt::receipt(&receipt::Facts {
            tenant: &person.tenant,
            subject_id: person.subject_id(),
            records: &records,
            older_left_out,
            rules,
            decision: &decide(&known, &policy, &facts),
            policy: &policy,
            controller: self.0.controllers.of(&person.tenant),
            issued_at: Micros::now(),
        })
        .map_err(|error| {
            tracing::error!(%error, "a receipt cannot be written");
            Status::unavailable("the receipt cannot be written; try again")
        })?;
        Ok(Response::new(proto::GetConsentReceiptResponse { receipt_json }))
    }
}

impl Consent {
    /// A person's newest records, and where the person is: as asked, or else as the newest says.
    async fn current(&self, person: &Person, asked: &str) -> Result<(Vec<Record>, Jurisdiction), Status> {
        let asked = jurisdiction(asked)?;
        let records =
            self.0.ledger.current(&person.tenant, &person.subjects).await.map_err(|error| failed(&error))?;
        let place = if asked.is_unknown() { place_of(&records) } else { asked };
        Ok((records, place))
    }
}

impl Consent {
    /// What a person said: as the ledger has it, and a "no" that it did not take and that holds here.
    fn known(&self, person: &Person, records: &[Record]) -> Known {
        let mut known = Known::of_records(records);
        let here = self.0.replica.known(&person.subjects);
        for (in_ledger, here) in
            [(&mut known.first_party, here.first_party), (&mut known.affiliates, here.affiliates)]
        {
            if here.state == ConsentState::Denied && here.version >= in_ledger.version {
                *in_ledger = here;
            }
        }
        known
    }
}

/// An ordinary event of an ordinary feature: what a settings page speaks of.
const fn ordinary_event(place: Jurisdiction) -> ConsentFacts<'static> {
    ConsentFacts { event_type: EventType::TypedText, feature: "", jurisdiction: place, gpc: false }
}

fn event_type(name: &str) -> Result<EventType, Status> {
    if name.is_empty() {
        return Ok(EventType::TypedText);
    }
    EventType::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
        status::invalid_argument(
            "event_type",
            "must be typed_text, suggestion_shown, suggestion_feedback, language_preference or empty",
        )
    })
}

/// Where the newest record says that the person is.
fn place_of(records: &[Record]) -> Jurisdiction {
    records
        .iter()
        .max_by_key(|record| record.consent_version)
        .and_then(|record| Jurisdiction::parse(&record.jurisdiction))
        .unwrap_or_default()
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
