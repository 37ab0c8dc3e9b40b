//! A connection that sends requests which are encoded already.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use assent::ingress::proto;
use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::scenario::Compression;

const COLLECT: &str = "/assent.v1.CollectorService/Collect";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the collector. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    grpc: Grpc<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Connection {
    pub(crate) async fn open(
        addr: SocketAddr,
        compression: Compression,
        api_key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{addr}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .with_context(|| format!("cannot connect to the collector at {addr}"))?;
        let grpc = Grpc::new(channel);
        let grpc = match compression {
            Compression::None => grpc,
            Compression::Gzip => grpc.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => grpc.send_compressed(CompressionEncoding::Zstd),
        };
        let authorization = api_key.map(|key| format!("Bearer {key}").parse()).transpose()?;
        Ok(Self { grpc, authorization })
    }

    /// Sends an encoded `CollectRequest`.
    pub(crate) async fn collect(&self, encoded: Bytes) -> Result<proto::CollectResponse, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(encoded);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        grpc.unary(request, PathAndQuery::from_static(COLLECT), Collect).await.map(Response::into_inner)
    }
}

/// Requests as bytes, responses as messages.
struct Collect;

impl Codec for Collect {
    type Encode = Bytes;
    type Decode = proto::CollectResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Collect {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, encoded: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(encoded);
        Ok(())
    }
}

impl Decoder for Collect {
    type Item = proto::CollectResponse;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        proto::CollectResponse::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer is not a CollectResponse: {error}")))
    }
}
