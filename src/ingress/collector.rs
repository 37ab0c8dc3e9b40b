//! `CollectorService`: events in, answers when they are durable.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    event::{Micros, Tenant},
    ingress::{EventAppender, authenticate, proto, server, status, wire},
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
    stopping: CancellationToken,
    max_stream_age: Option<Duration>,
}

impl Collector {
    /// Puts the service together. Its streams end when `stopping` is cancelled, or when they have come
    /// of age.
    #[must_use]
    pub const fn new(
        credentials: Arc<Credentials>,
        pipeline: Arc<Pipeline>,
        appender: EventAppender,
        stopping: CancellationToken,
        max_stream_age: Option<Duration>,
    ) -> Self {
        Self { credentials, pipeline, appender, stopping, max_stream_age }
    }

    fn end_of_stream(&self) -> impl Future<Output = ()> + Send + use<> {
        let (stopping, age) = (self.stopping.clone(), self.max_stream_age.map(server::jittered));
        async move {
            match age {
                None => stopping.cancelled().await,
                // Whichever comes first.
                Some(age) => drop(tokio::time::timeout(age, stopping.cancelled()).await),
            }
        }
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

/// The requests of a stream until `end`, which takes the place of the next one: whoever keeps a stream
/// open would otherwise keep the collector.
fn until<T: Send>(
    end: impl Future<Output = ()> + Send,
    requests: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let state = (Box::pin(end), Box::pin(requests));
    stream::unfold(Some(state), |state| async move {
        let (mut end, mut requests) = state?;
        tokio::select! {
            biased;
            () = &mut end => Some((Err(status::end_of_stream()), None)),
            request = requests.next() => Some((request?, Some((end, requests)))),
        }
    })
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
        let answers = until(self.end_of_stream(), request.into_inner())
            .map(move |request| {
                let (this, tenant) = (this.clone(), tenant.clone());
                async move { this.ingest(&tenant, request.map_err(status::unreadable)?).await }
            })
            // `buffered` keeps the order of the requests.
            .buffered(STREAM_PIPELINE);
        Ok(Response::new(Box::pin(answers)))
    }
}
