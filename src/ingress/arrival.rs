//! Bounds what requests take in memory before they are decoded.
//!
//! A layer around the services. Each request of them, from its headers on, and each message that is
//! still arriving has a [`Ticket`] of the bytes in flight:
//!
//! - Nobody's body is read who has no key.
//! - A request counts [`REQUEST_BYTES`] until it is answered, or its stream ends.
//! - A message counts with its whole length as soon as that is known, which is when the transport
//!   library makes room for it. So a message is refused before it is sent, never half way.
//! - A message must arrive whole within a time, so that a slow client gives back what it holds.
//! - A unary request is handed on only when it has ended. The library decodes a message when it has the
//!   last byte, and would hold what it decoded until the client ends the request; what was 10 KiB
//!   can be 8 MiB by then.
//! - A stream holds nothing between its messages.
//! - What has arrived waits for its turn ([`turns`](super::turns)). When that takes long, requests of those who
//!   hold most are refused before their body is read.
//!
//! Decompression and decoding are not counted: they are done in one step (`tonic::codec::decode`), at the end of
//! which the events are counted by the spool's queue. So there is one such message for each worker
//! thread at most, limited by `max_request_bytes`, compressed or not.
//!
//! What the library itself offers does not bound this: `concurrency_limit_per_connection` and `load_shed` count
//! requests of one connection, whatever their size.
//!
//! Events and changes of consent have budgets of their own: no flood of events keeps a "no" out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::Sleep;
use tonic::{Status, body::Body, metadata::MetadataMap};
use tower::{Layer, Service};

use crate::{
    event::Tenant,
    ingress::{
        admission::{
            Tenants,
            flight::{ConnectionBytes, FlightError, InFlight, Ticket},
        },
        authenticate,
        framing::Framing,
        proto::{
            collector_service_server::SERVICE_NAME as COLLECTOR,
            consent_service_server::SERVICE_NAME as CONSENT, privacy_service_server::SERVICE_NAME as PRIVACY,
        },
        status,
        turns::{Turn, Turns, WaitedTooLong},
    },
    pipeline::Credentials,
    spool::Expected,
    telemetry,
};

/// What a request counts besides its messages: headers (16 KiB at most), buffers and tasks.
pub const REQUEST_BYTES: u64 = 32 << 10;
/// The budget of changes of consent.
const CONSENT_BYTES: u64 = 16 << 20;
/// The largest request of `ConsentService`; evidence, its largest field, may have 4 KiB.
pub const MAX_CONSENT_REQUEST_BYTES: usize = 64 << 10;
/// The one method whose requests are streams.
const STREAM_METHOD: &str = "CollectStream";

/// How much may arrive at once, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The budget of `CollectorService`.
    pub max_in_flight_bytes: u64,
    /// Its largest request.
    pub max_request_bytes: u64,
    /// How long a message may take to arrive.
    pub receive_timeout: Duration,
}

/// What a connection holds of each budget; it goes with each of its requests. Clones are of the same
/// connection.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    events: ConnectionBytes,
    consent: ConnectionBytes,
}

/// Lets requests in. Clones share the budgets.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    options: Options,
    credentials: Arc<Credentials>,
    events: Arc<InFlight>,
    consent: Arc<InFlight>,
    turns: Arc<Turns>,
}

impl Gate {
    /// With nothing in flight. What has arrived and waits to be worked on is said to be `expected` by the spool.
    #[must_use]
    pub fn new(
        options: Options,
        credentials: Arc<Credentials>,
        tenants: &Tenants,
        expected: Expected,
    ) -> Self {
        Self(Arc::new(Shared {
            options,
            credentials,
            events: InFlight::new(options.max_in_flight_bytes, tenants.clone()),
            consent: InFlight::new(CONSENT_BYTES, tenants.clone()),
            turns: Turns::new(std::thread::available_parallelism().map_or(1, usize::from), expected),
        }))
    }

    /// Bytes in flight, of all services.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.0.events.bytes() + self.0.consent.bytes()
    }
}

impl Shared {
    /// What is counted of a request, or none of health and reflection, which need no key and take small
    /// messages alone: a probe must have its answer above all when much is going on.
    fn admit(&self, request: &http::Request<Body>) -> Result<Option<Arrival>, Status> {
        let mut path = request.uri().path().trim_start_matches('/').split('/');
        let (service, method) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        let connection = request.extensions().get::<Connection>().cloned().unwrap_or_default();
        let (flight, connection, max_message_bytes) = match service {
            COLLECTOR => (&self.events, connection.events, self.options.max_request_bytes),
            CONSENT | PRIVACY => (&self.consent, connection.consent, MAX_CONSENT_REQUEST_BYTES as u64),
            _ => return Ok(None),
        };
        let tenant = self.tenant(request)?;
        if service == COLLECTOR && self.turns.is_busy(flight.bytes()) && flight.holds_most(&tenant) {
            return Err(overloaded());
        }
        let mut request = flight.ticket(&tenant, connection.clone());
        request.take(REQUEST_BYTES).map_err(refused)?;
        Ok(Some(Arrival {
            request: Arc::new(request),
            message: flight.ticket(&tenant, connection),
            unary: method != STREAM_METHOD,
            turns: (service == COLLECTOR).then(|| Arc::clone(&self.turns)),
            max_message_bytes,
            timeout: self.options.receive_timeout,
        }))
    }

    fn tenant(&self, request: &http::Request<Body>) -> Result<Tenant, Status> {
        // A copy of the headers: they were made for another type, and are few.
        let metadata = MetadataMap::from_headers(request.headers().clone());
        authenticate(&self.credentials, &metadata).map_err(|error| status::unauthenticated(&error))
    }
}

fn refused(error: FlightError) -> Status {
    telemetry::refused(match error {
        FlightError::ShareSpent => telemetry::Refusal::InFlightShare,
        FlightError::Full => telemetry::Refusal::InFlight,
    });
    status::in_flight(error)
}

fn overloaded() -> Status {
    telemetry::refused(telemetry::Refusal::Overloaded);
    status::overloaded()
}

/// A request that was let in.
struct Arrival {
    request: Arc<Ticket>,
    message: Ticket,
    unary: bool,
    /// Where its messages wait; none if they are small and need no turn.
    turns: Option<Arc<Turns>>,
    max_message_bytes: u64,
    timeout: Duration,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

/// The services behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.gate.0.admit(&request) {
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
            Ok(None) => Box::pin(self.inner.call(request)),
            Ok(Some(arrival)) => {
                let ticket = Arc::clone(&arrival.request);
                let answer = self.inner.call(request.map(|body| Body::new(Arriving::new(body, arrival))));
                Box::pin(async move {
                    let answer = answer.await;
                    // A stream's answer begins here; its request goes on, and keeps the ticket.
                    drop(ticket);
                    answer
                })
            }
        }
    }
}

type TurnFuture = Pin<Box<dyn Future<Output = Result<Turn, WaitedTooLong>> + Send>>;

/// A request's body.
struct Arriving {
    inner: Body,
    arrival: Arrival,
    framing: Framing,
    /// The end of a message, until it is its turn, and in a unary request until that has ended.
    last_piece: Option<Bytes>,
    turn: Option<TurnFuture>,
    /// When the message began that is under way, or waits for its turn.
    began: Instant,
    /// What the message under way counts.
    counted_bytes: u64,
    /// What the message counts of which `last_piece` is the end.
    ended_bytes: u64,
    trailers: Option<http::HeaderMap>,
    ended: bool,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    fn new(inner: Body, arrival: Arrival) -> Self {
        Self {
            inner,
            arrival,
            framing: Framing::new(),
            last_piece: None,
            turn: None,
            began: Instant::now(),
            counted_bytes: 0,
            ended_bytes: 0,
            trailers: None,
            ended: false,
            deadline: None,
        }
    }

    /// Counts a piece; gives it back unless it has to wait.
    fn arrived(&mut self, piece: Bytes) -> Result<Option<Bytes>, Status> {
        if piece.is_empty() {
            return Ok(None);
        }
        // Of a stream, nothing is read while a message waits.
        if self.last_piece.is_some() {
            return Err(status::unreadable_request());
        }
        if !self.arrival.unary && self.framing.is_between() {
            self.began = Instant::now();
        }
        let advance = self.framing.advance(&piece);
        if advance.ended > 0 {
            self.ended_bytes = std::mem::take(&mut self.counted_bytes);
            // The time is a message's own.
            self.deadline = self.deadline.take().filter(|_| self.arrival.unary);
        }
        if let Some(len) = advance.begun.map(u64::from) {
            // One that is too long is refused by whoever decodes it, before there is room for it.
            if len <= self.arrival.max_message_bytes {
                self.arrival.message.take(len).map_err(refused)?;
                self.counted_bytes = len;
            }
        }
        if advance.ended == 0 {
            return Ok(Some(piece));
        }
        self.ended = self.arrival.unary && self.inner.is_end_stream();
        self.last_piece = Some(piece);
        Ok(None)
    }

    /// Waits until what has arrived may be worked on.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(turns) = &self.arrival.turns else { return Poll::Ready(Ok(())) };
        let turn = self.turn.get_or_insert_with(|| Box::pin(Arc::clone(turns).take()));
        let taken = ready!(turn.as_mut().poll(cx));
        turns.took(self.began.elapsed());
        self.turn = None;
        // Dropped here: the work is done by whoever polls this, before anything else.
        Poll::Ready(taken.map(drop).map_err(|WaitedTooLong| overloaded()))
    }

    /// Whether the client is owed time at most, not patience.
    const fn is_awaited(&self) -> bool {
        self.arrival.unary || !self.framing.is_between()
    }

    fn fail(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        (self.last_piece, self.trailers, self.turn) = (None, None, None);
        self.arrival.message.give_back(u64::MAX);
        // What the client still sends is not read.
        self.inner = Body::empty();
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if this.last_piece.is_some() && (this.ended || !this.arrival.unary) {
                this.deadline = None;
                if let Err(status) = ready!(this.poll_turn(cx)) {
                    return this.fail(status);
                }
                if !this.arrival.unary {
                    this.arrival.message.give_back(this.ended_bytes);
                }
                return Poll::Ready(this.last_piece.take().map(Frame::data).map(Ok));
            }
            if this.ended {
                return Poll::Ready(this.trailers.take().map(Frame::trailers).map(Ok));
            }
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(None) => this.ended = true,
                Poll::Ready(Some(Err(status))) => return this.fail(status),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => match this.arrived(piece) {
                        Ok(None) => {}
                        Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                        Err(status) => return this.fail(status),
                    },
                    // Nothing comes after trailers.
                    Err(frame) => (this.trailers, this.ended) = (frame.into_trailers().ok(), true),
                },
                Poll::Pending => {
                    if this.is_awaited() {
                        let timeout = this.arrival.timeout;
                        let deadline =
                            this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                        if deadline.as_mut().poll(cx).is_ready() {
                            telemetry::refused(telemetry::Refusal::ReceiveTimeout);
                            return this.fail(status::receive_timeout());
                        }
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        if self.ended {
            self.last_piece.is_none() && self.trailers.is_none()
        } else {
            self.last_piece.is_none() && self.inner.is_end_stream()
        }
    }
}

#[cfg(test)]
mod tests;
