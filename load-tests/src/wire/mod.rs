//! gRPC as far as sending events needs it, on HTTP/2 itself: requests are bytes that lie ready, and answers are small.
//! A general client copies each request once more, and its layers cost as much as the rest of the generator.

use std::net::SocketAddr;

use assent::ingress::proto::CollectResponse;
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Status;

mod answer;
mod connection;
mod slow;
mod stream;
#[cfg(test)]
mod tests;

use connection::Connection;
pub(crate) use slow::{Pace, SlowSender};
use stream::Stream;

use crate::scenario::{Call, Compression};

/// What sends requests: a connection, or a stream on one.
#[derive(Clone)]
pub(crate) enum Sender {
    Unary(Connection),
    Stream(Stream),
}

impl Sender {
    /// Sends a framed `CollectRequest` and waits for its answer.
    pub(crate) async fn collect(&self, framed: Bytes) -> Result<CollectResponse, Status> {
        match self {
            Self::Unary(connection) => connection.collect(framed).await,
            Self::Stream(stream) => stream.collect(framed).await,
        }
    }
}

/// The connections of a run. Dropping it closes them.
pub(crate) struct Wire {
    addr: SocketAddr,
    compression: Compression,
    tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) fn new(addr: SocketAddr, compression: Compression) -> Self {
        Self { addr, compression, tasks: JoinSet::new() }
    }

    /// A connection of its own.
    pub(crate) async fn open(&mut self, call: Call, api_key: Option<&str>) -> anyhow::Result<Sender> {
        let connection = self.connect(api_key, None).await?;
        Ok(match call {
            Call::Collect => Sender::Unary(connection),
            Call::CollectStream => Sender::Stream(Stream::new(connection)),
        })
    }

    /// The same, slow on purpose.
    pub(crate) async fn open_slow(
        &mut self,
        pace: Pace,
        api_key: Option<&str>,
    ) -> anyhow::Result<SlowSender> {
        Ok(SlowSender::new(self.connect(api_key, pace.window_bytes()).await?, pace))
    }

    async fn connect(
        &mut self,
        api_key: Option<&str>,
        window_bytes: Option<u32>,
    ) -> anyhow::Result<Connection> {
        Connection::open(self.addr, self.compression, api_key, window_bytes, &mut self.tasks).await
    }
}
