//! `PrivacyService`: erases people, and reports what is held about them.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream::try_unfold};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::{
    clickhouse::Client,
    event::{Micros, RawText, RawUserId, Tenant},
    ingress::{authenticate_privacy, proto, status, wire},
    pipeline::{Credentials, Pseudonymiser, Redactor, Subjects, validate},
    privacy::{
        erasure::{self, Erasure, ErasureError, Erasures, State, Step},
        subject::Report,
    },
};

/// The longest name of an actor, in bytes.
const MAX_ACTOR_BYTES: usize = 256;

/// What the service is made of. Clones share it.
#[derive(Clone)]
pub struct Parts {
    /// Who may ask.
    pub credentials: Arc<Credentials>,
    /// Makes subjects of user ids.
    pub pseudonymiser: Arc<Pseudonymiser>,
    /// Takes personal data out of who asks.
    pub redactor: Arc<Redactor>,
    /// Erases.
    pub erasures: Arc<Erasures>,
    /// Reads everything.
    pub reader: Client,
}

/// The service.
#[derive(Clone)]
pub struct Privacy(Parts);

impl Privacy {
    /// Puts the service together.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self(parts)
    }

    fn tenant(&self, metadata: &MetadataMap) -> Result<Tenant, Status> {
        authenticate_privacy(&self.0.credentials, metadata).map_err(|error| status::not_for_privacy(&error))
    }

    fn subjects(&self, tenant: &Tenant, user_id: RawUserId<'_>) -> Result<Subjects, Status> {
        validate::user_id(user_id).map_err(|broken| status::invalid_argument("user_id", &broken.message))?;
        Ok(self.0.pseudonymiser.subjects(tenant, user_id))
    }
}

/// Logged here, where it is handled; the client learns what to do.
fn failed(error: &ErasureError) -> Status {
    if !matches!(error, ErasureError::RequestReused) {
        tracing::warn!(error = error as &dyn std::error::Error, "a request about an erasure failed");
    }
    status::erasure(error)
}

#[tonic::async_trait]
impl proto::privacy_service_server::PrivacyService for Privacy {
    async fn erase_user(
        &self,
        request: Request<proto::EraseUserRequest>,
    ) -> Result<Response<proto::EraseUserResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let tenant = self.tenant(&metadata)?;
        let user_id = RawUserId::new(&request.user_id);
        let subjects = self.subjects(&tenant, user_id)?;
        if request.actor.len() > MAX_ACTOR_BYTES {
            return Err(status::invalid_argument("actor", "may be at most 256 bytes of UTF-8"));
        }
        let request_id = match request.request_id.as_str() {
            "" => None,
            sent => Some(uuid("request_id", sent)?),
        };
        if request.dry_run {
            let steps = self.0.erasures.dry_run(&tenant, &subjects).await.map_err(|error| failed(&error))?;
            let steps = steps.into_iter().map(step).collect();
            let erasure = Some(proto::Erasure { steps, ..proto::Erasure::default() });
            return Ok(Response::new(proto::EraseUserResponse { erasure }));
        }
        let actor = self.0.redactor.redact_evidence(&tenant, RawText::new(&request.actor), user_id);
        let request = erasure::Request {
            tenant,
            subjects,
            pseudonym_key_ids: Arc::clone(self.0.pseudonymiser.key_ids()),
            request_id,
            actor: actor.into_owned(),
        };
        // A client that goes away leaves nothing half done: it is gone on with later, and better now.
        let erasures = Arc::clone(&self.0.erasures);
        let recorded = tokio::spawn(async move { erasures.request(request).await }).await;
        let recorded = recorded
            .map_err(|_| Status::unavailable("the erasure could not be recorded; try again"))?
            .map_err(|error| failed(&error))?;
        Ok(Response::new(proto::EraseUserResponse { erasure: Some(answer(recorded)) }))
    }

    async fn get_erasure(
        &self,
        request: Request<proto::GetErasureRequest>,
    ) -> Result<Response<proto::GetErasureResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let tenant = self.tenant(&metadata)?;
        let id = uuid("erasure_id", &request.erasure_id)?;
        let found = self.0.erasures.get(&tenant, id).await.map_err(|error| failed(&error))?;
        let found = found.ok_or_else(|| Status::not_found("this tenant has no such erasure"))?;
        Ok(Response::new(proto::GetErasureResponse { erasure: Some(answer(found)) }))
    }

    type ReportSubjectStream =
        Pin<Box<dyn Stream<Item = Result<proto::ReportSubjectResponse, Status>> + Send>>;

    async fn report_subject(
        &self,
        request: Request<proto::ReportSubjectRequest>,
    ) -> Result<Response<Self::ReportSubjectStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let tenant = self.tenant(&metadata)?;
        let subjects = self.subjects(&tenant, RawUserId::new(&request.user_id))?;
        let report = Report::begin(self.0.reader.clone(), tenant, &subjects).await;
        let report = report.map_err(|error| failed(&error.into()))?;
        let pieces = try_unfold(report, |mut report| async move {
            let piece = report.next().await.map_err(|error| failed(&error.into()))?;
            Ok(piece.map(|json| (proto::ReportSubjectResponse { json: json.into() }, report)))
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

fn uuid(field: &'static str, sent: &str) -> Result<Uuid, Status> {
    validate::uuid(sent).ok_or_else(|| {
        status::invalid_argument(field, "must be a UUID of 36 characters with hyphens, and not the nil UUID")
    })
}

fn answer(erasure: Erasure) -> proto::Erasure {
    let state = match erasure.state {
        State::Requested => proto::ErasureState::Requested,
        State::Running => proto::ErasureState::Running,
        State::Completed => proto::ErasureState::Completed,
    };
    let waiting = |it: erasure::Collector| proto::WaitingCollector {
        collector_id: it.collector_id,
        seen_at: Some(wire::timestamp(Micros(it.seen_at_us))),
    };
    proto::Erasure {
        erasure_id: erasure.erasure_id.to_string(),
        state: state.into(),
        requested_at: erasure.requested_at.map(wire::timestamp),
        completed_at: erasure.completed_at.map(wire::timestamp),
        forgotten_at: erasure.forgotten_at.map(wire::timestamp),
        actor: erasure.actor,
        steps: erasure.steps.into_iter().map(step).collect(),
        waiting_for: erasure.waiting_for.into_iter().map(waiting).collect(),
    }
}

fn step(step: Step) -> proto::ErasureStep {
    proto::ErasureStep {
        step: step.step,
        rows_found: step.rows_found,
        rows_removed: step.rows_removed,
        at: (step.at_us > 0).then(|| wire::timestamp(Micros(step.at_us))),
    }
}
