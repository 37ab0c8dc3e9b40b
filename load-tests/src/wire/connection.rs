//! A connection, and requests with one answer each.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use assent::ingress::proto::CollectResponse;
use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderValue, Method, Request, Uri, header};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tonic::Status;

use super::answer::{Answers, broken};
use crate::scenario::Compression;

const COLLECT: &str = "/assent.v1.CollectorService/Collect";
const COLLECT_STREAM: &str = "/assent.v1.CollectorService/CollectStream";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What answers that nobody has read yet may take beside their bytes.
const MAX_ANSWERS_OVERHEAD_BYTES: usize = 16 << 20;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("load-tests/", env!("CARGO_PKG_VERSION")));

/// A connection to the collector. Clones share it. It is not made anew when it breaks: no collector closes one in a run.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    collect: Uri,
    collect_stream: Uri,
    authorization: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
}

impl Connection {
    /// Connects; what drives the connection goes to `tasks`. Of each answer, the collector may send `window_bytes` before
    /// it is asked for more; without, as much as is usual.
    pub(super) async fn open(
        addr: SocketAddr,
        compression: Compression,
        api_key: Option<&str>,
        window_bytes: Option<u32>,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let whom = || format!("cannot connect to the collector at {addr}");
        let connect = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let mut builder = h2::client::Builder::new();
            // Answers are a few bytes each, and hundreds may come at once: by default, the library takes that for an attack.
            builder.data_frame_budget(MAX_ANSWERS_OVERHEAD_BYTES);
            if let Some(bytes) = window_bytes {
                builder.initial_window_size(bytes);
            }
            anyhow::Ok(builder.handshake(stream).await?)
        };
        let (requests, connection) =
            timeout(CONNECT_TIMEOUT, connect).await.with_context(whom)?.with_context(whom)?;
        tasks.spawn(async move {
            // Whoever has a request under way gets the error.
            let _ = connection.await;
        });
        let uri = |path: &str| format!("http://{addr}{path}").parse::<Uri>();
        Ok(Self {
            requests,
            collect: uri(COLLECT)?,
            collect_stream: uri(COLLECT_STREAM)?,
            authorization: api_key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose()?,
            encoding: match compression {
                Compression::None => None,
                compression => Some(HeaderValue::try_from(compression.to_string())?),
            },
        })
    }

    pub(super) async fn collect(&self, framed: Bytes) -> Result<CollectResponse, Status> {
        let (response, mut body) = self.call(&self.collect).await?;
        // A collector may answer before it has read everything, and end the stream: then its answer says why.
        let sent = body.send_data(framed, true);
        let response = response.await.map_err(|error| broken(&sent.err().unwrap_or(error)))?;
        let mut answers = Answers::new(response)?;
        let answer = answers.next().await?;
        // The end may bear another status.
        match answers.next().await? {
            None => answer.ok_or_else(|| Status::internal("an answer without a message")),
            Some(_) => Err(Status::internal("an answer of two messages")),
        }
    }

    /// A call whose body is still to be sent.
    pub(super) async fn open_call(&self) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
        self.call(&self.collect).await
    }

    pub(super) async fn open_stream(&self) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
        self.call(&self.collect_stream).await
    }

    async fn call(&self, uri: &Uri) -> Result<(ResponseFuture, SendStream<Bytes>), Status> {
        // Waits while as many streams are open as the collector lets a connection have.
        let mut requests = self.requests.clone().ready().await.map_err(|error| broken(&error))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(header::TE, TRAILERS);
        headers.insert(header::USER_AGENT, USER_AGENT);
        if let Some(encoding) = &self.encoding {
            headers.insert("grpc-encoding", encoding.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        requests.send_request(request, false).map_err(|error| broken(&error))
    }
}
