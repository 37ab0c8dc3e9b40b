//! `CollectorService`: events in, answers when they are durable.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{
    Stream, StreamExt as _,
    stream::{self, FuturesOrdered},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    delivery::{EncodedEvents, EventEncoders},
    event::{Micros, Tenant},
    ingress::{
        EventAppender,
        admission::{Admission, ShareSpent},
        authenticate, proto,
        request::CollectRequest,
        server, status, wire,
    },
    pipeline::{Credentials, Pipeline},
    telemetry::{self, Refusal},
};

/// Requests of one stream that may be under way at once. While one waits for its commit the next
/// are already read, so that a stream is not held to one commit a request.
const STREAM_PIPELINE: usize = 16;

/// The service.
#[derive(Clone)]
pub struct Collector {
    credentials: Arc<Credentials>,
    pipeline: Arc<Pipeline>,
    encoders: EventEncoders,
    appender: EventAppender,
    admission: Arc<Admission>,
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
        encoders: EventEncoders,
        appender: EventAppender,
        admission: Arc<Admission>,
        stopping: CancellationToken,
        max_stream_age: Option<Duration>,
    ) -> Self {
        Self { credentials, pipeline, encoders, appender, admission, stopping, max_stream_age }
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
        request: CollectRequest,
    ) -> Result<proto::CollectResponse, Status> {
        // Before the work: a refusal must cost less than what it saves.
        self.admission.check(tenant).map_err(share_spent)?;
        // No borrowed event, and nothing raw, outlives this block.
        let (outcome, encoded) = {
            let received = request.events().map_err(|_| status::unreadable_request())?;
            let mut encoder = self.encoders.encoder();
            let mut tally = telemetry::Tally::default();
            let outcome = self.pipeline.run(tenant, received, Micros::now(), |event| {
                tally.count(event);
                encoder.push(event);
            });
            telemetry::received(&tally, &outcome.rejected);
            (outcome, encoder.finish())
        };
        drop(request);
        if outcome.accepted > 0 {
            self.append(tenant, encoded).await?;
        }
        telemetry::acknowledged(outcome.accepted);
        let rejected = outcome.rejected.into_iter().map(wire::rejected).collect();
        Ok(proto::CollectResponse { accepted: outcome.accepted, rejected })
    }

    async fn append(&self, tenant: &Tenant, events: EncodedEvents) -> Result<(), Status> {
        let bytes = self.appender.item_bytes(&events) as u64;
        let admitted = self.admission.admit(tenant, bytes).map_err(share_spent)?;
        match self.appender.append(events).await {
            Ok(end) => {
                admitted.written(end);
                Ok(())
            }
            Err(error) => {
                admitted.refused();
                telemetry::refused(&error);
                Err(status::append(&error))
            }
        }
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

fn share_spent(spent: ShareSpent) -> Status {
    telemetry::refused(Refusal::TenantShare);
    status::share_spent(spent)
}

#[tonic::async_trait]
impl proto::collector_service_server::CollectorService for Collector {
    async fn collect(
        &self,
        request: Request<CollectRequest>,
    ) -> Result<Response<proto::CollectResponse>, Status> {
        let tenant = authenticate(&self.credentials, request.metadata())
            .map_err(|error| status::unauthenticated(&error))?;
        self.ingest(&tenant, request.into_inner()).await.map(Response::new)
    }

    type CollectStreamStream = Pin<Box<dyn Stream<Item = Result<proto::CollectResponse, Status>> + Send>>;

    async fn collect_stream(
        &self,
        request: Request<Streaming<CollectRequest>>,
    ) -> Result<Response<Self::CollectStreamStream>, Status> {
        let tenant = authenticate(&self.credentials, request.metadata())
            .map_err(|error| status::unauthenticated(&error))?;
        let this = self.clone();
        let requests = until(self.end_of_stream(), request.into_inner());
        let answer = move |request: Result<_, Status>| {
            let (this, tenant) = (this.clone(), tenant.clone());
            async move { this.ingest(&tenant, request.map_err(status::unreadable)?).await }
        };
        Ok(Response::new(Box::pin(answers(requests, answer))))
    }
}

/// Answers requests in their order, [`STREAM_PIPELINE`] at once. Unlike `buffered`, it starts on each before it
/// reads the next: a decoded request that nobody works on yet would be counted by nobody.
fn answers<Q, A, F>(
    requests: impl Stream<Item = Q> + Send + 'static,
    answer: impl Fn(Q) -> F + Send + 'static,
) -> impl Stream<Item = A> + Send
where
    Q: Send,
    A: Send,
    F: Future<Output = A> + Send,
{
    let state = (Box::pin(requests.fuse()), FuturesOrdered::new(), answer);
    stream::unfold(state, async |(mut requests, mut under_way, answer)| {
        loop {
            let has_room = under_way.len() < STREAM_PIPELINE && !requests.is_done();
            tokio::select! {
                // In this order: what was just begun is worked on before the next is read.
                biased;
                Some(answered) = under_way.next() => return Some((answered, (requests, under_way, answer))),
                Some(request) = requests.next(), if has_room => under_way.push_back(answer(request)),
                else => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn each_request_is_begun_before_the_next_is_read() {
        let (read, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let requests = {
            let (read, begun) = (Arc::clone(&read), Arc::clone(&begun));
            futures_util::stream::iter(0..100).map(move |n| {
                assert_eq!(read.fetch_add(1, Ordering::Relaxed), begun.load(Ordering::Relaxed));
                n
            })
        };
        let answer = {
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            move |n: usize| {
                let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
                async move {
                    begun.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.unwrap().forget();
                    n
                }
            }
        };
        let mut answers = Box::pin(answers(requests, answer));
        assert!(futures_util::poll!(answers.next()).is_pending());
        assert_eq!(read.load(Ordering::Relaxed), STREAM_PIPELINE);
        gate.add_permits(100);
        assert_eq!(answers.collect::<Vec<_>>().await, (0..100).collect::<Vec<_>>());
    }
}
