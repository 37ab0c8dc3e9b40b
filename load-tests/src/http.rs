//! As much HTTP as readiness and ClickHouse's counts need.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers are a few numbers, or an error's text.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A client.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub(crate) async fn get(&self, addr: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
        self.call(Method::GET, format!("http://{addr}{path}"), Bytes::new()).await
    }

    pub(crate) async fn post(&self, addr: SocketAddr, path: &str, body: String) -> anyhow::Result<String> {
        let (status, answer) = self.call(Method::POST, format!("http://{addr}{path}"), body.into()).await?;
        if !status.is_success() {
            bail!("{status}: {}", answer.trim());
        }
        Ok(answer)
    }

    async fn call(&self, method: Method, uri: String, body: Bytes) -> anyhow::Result<(StatusCode, String)> {
        let request = Request::builder().method(method).uri(&uri).body(Full::new(body))?;
        let call = async {
            let response = self.0.request(request).await.with_context(|| format!("cannot reach {uri}"))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{uri}: {error}"))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::time::timeout(TIMEOUT, call).await.with_context(|| format!("{uri} does not answer"))?
    }
}
