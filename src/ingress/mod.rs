//! The way in: the only place that knows gRPC.
//!
//! - [`server`] binds, ends TLS, sets the limits and serves;
//! - [`connections`] bounds the connections, [`arrival`] what requests take until they are decoded, `turns` how
//!   long they wait for that, and [`admission`] what each tenant may have in the spool;
//! - [`collector`], [`consent`] and [`privacy`] are the services;
//! - `codec` takes messages in, [`decode`] finds the events in a [`request`], [`wire`] maps the wire's words to the product's own and
//!   back, [`status`] maps errors to statuses;
//! - [`client`] is the other end, for the command line, the demo and the tests.

use tonic::metadata::MetadataMap;

use crate::{
    delivery::EncodedEvents,
    event::Tenant,
    pipeline::{AuthError, Credentials},
    spool::Appender,
};

pub mod admission;
pub mod arrival;
pub mod client;
pub(crate) mod codec;
pub mod collector;
mod connections;
pub mod consent;
pub mod decode;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod privacy;
pub mod proto;
pub mod request;
pub mod server;
pub mod status;
mod turns;
pub mod wire;

/// What appends a request's events to the spool.
pub type EventAppender = Appender<EncodedEvents>;

/// The tenant of a request, by its `authorization: Bearer …` or `x-api-key`.
fn authenticate(credentials: &Credentials, metadata: &MetadataMap) -> Result<Tenant, AuthError> {
    credentials.authenticate(presented(metadata))
}

/// The same for a request that only a privacy key may make.
fn authenticate_privacy(credentials: &Credentials, metadata: &MetadataMap) -> Result<Tenant, AuthError> {
    credentials.authenticate_privacy(presented(metadata))
}

fn presented(metadata: &MetadataMap) -> Option<&str> {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| text("x-api-key"))
}
