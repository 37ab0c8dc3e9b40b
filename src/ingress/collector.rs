//! `CollectorService`: events in, answers when they are durable.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    event::{Micros, Tenant},
    ingress::{EventAppender, authenticate, proto, status, wire},
    pipeline::{Credentials, Pipeline},
    telemetry,
};

/// Requests of one stream that may be under way at once. While one waits for its commit the next
/// are already read, so that a stream is not held to one commit a request.
const STREAM_PIPELINE: usize = 16;

/// The service.
#[derive(Clone)]
pub struct Collector {
    credentials: Arc<Credentials>,
    pipeline: Arc<Pipeline>,
    appender: EventAppender,
}

impl Collector {
    /// Puts the service together.
    #[must_use]
    pub const fn new(
        credentials: Arc<Credentials>,
        pipeline: Arc<Pipeline>,
        appender: EventAppender,
    ) -> Self {
        Self { credentials, pipeline, appender }
    }

    async fn ingest(
        &self,
        tenant: &Tenant,
        request: proto::CollectRequest,
    ) -> Result<proto::CollectResponse, Status> {
        let received = request.events.into_iter().map(wire::received).collect();
        let outcome = self.pipeline.run(tenant, received, Micros::now());
        telemetry::received(&outcome);
        let accepted = u32::try_from(outcome.accepted.len()).unwrap_or(u32::MAX);
        if accepted > 0 {
            self.appender.append(outcome.accepted).await.map_err(|error| {
                telemetry::refused(&error);
                status::append(&error)
            })?;
        }
        telemetry::acknowledged(accepted);
        let rejected = outcome.rejected.into_iter().map(wire::rejected).collect();
        Ok(proto::CollectResponse { accepted, rejected })
    }
}

#[tonic::async_trait]
impl proto::collector_service_server::CollectorService for Collector {
    async fn collect(
        &self,
        request: Request<proto::CollectRequest>,
    ) -> Result<Response<proto::CollectResponse>, Status> {
        let tenant = authenticate(&self.credentials, request.metadata())
            .map_err(|error| status::unauthenticated(&error))?;
        self.ingest(&tenant, request.into_inner()).await.map(Response::new)
    }

    type CollectStreamStream = Pin<Box<dyn Stream<Item = Result<proto::CollectResponse, Status>> + Send>>;

    async fn collect_stream(
        &self,
        request: Request<Streaming<proto::CollectRequest>>,
    ) -> Result<Response<Self::CollectStreamStream>, Status> {
        let tenant = authenticate(&self.credentials, request.metadata())
            .map_err(|error| status::unauthenticated(&error))?;
        let this = self.clone();
        let answers = request
            .into_inner()
            .map(move |request| {
                let (this, tenant) = (this.clone(), tenant.clone());
                async move { this.ingest(&tenant, request.map_err(status::unreadable)?).await }
            })
            // `buffered` keeps the order of the requests.
            .buffered(STREAM_PIPELINE);
        Ok(Response::new(Box::pin(answers)))
    }
}
