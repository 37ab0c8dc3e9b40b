//! As much HTTP as readiness, ClickHouse's counts and the baseline's rows need.

use std::{fs::File, io::Write as _, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers are a few numbers, or an error's text.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// But for those that are a line for each request of a run.
const MAX_LINES_BYTES: usize = 256 << 20;
/// How long a single query may take that reads all rows.
const LONG_TIMEOUT: Duration = Duration::from_secs(300);

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
        successful(self.call(Method::POST, format!("http://{addr}{path}"), body.into()).await?)
    }

    /// The answer to a query that may be long.
    pub(crate) async fn read(&self, addr: SocketAddr, path: &str, query: String) -> anyhow::Result<String> {
        let uri = format!("http://{addr}{path}");
        let read = self.answer(Method::POST, &uri, query.into(), MAX_LINES_BYTES);
        let read = tokio::time::timeout(LONG_TIMEOUT, read).await;
        successful(read.with_context(|| format!("{uri} does not answer"))??)
    }

    /// Writes the answer to a query to a file, makes it durable, and says how long it is.
    pub(crate) async fn download(
        &self,
        addr: SocketAddr,
        path: &str,
        query: String,
        to: &Path,
    ) -> anyhow::Result<u64> {
        let uri = format!("http://{addr}{path}");
        let download = async {
            let mut response = self.response(Method::POST, &uri, query.into()).await?;
            let status = response.status();
            if !status.is_success() {
                let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
                let body = body.map_err(|error| anyhow::anyhow!("{uri}: {error}"))?.to_bytes();
                bail!("{status}: {}", String::from_utf8_lossy(&body).trim());
            }
            let mut file = File::create(to)?;
            let mut bytes = 0;
            while let Some(frame) = response.body_mut().frame().await {
                if let Ok(piece) = frame?.into_data() {
                    file.write_all(&piece)?;
                    bytes += piece.len() as u64;
                }
            }
            // What is still to be written would be written while something is measured.
            file.sync_all()?;
            Ok(bytes)
        };
        tokio::time::timeout(LONG_TIMEOUT, download)
            .await
            .with_context(|| format!("{uri} does not answer"))?
    }

    async fn call(&self, method: Method, uri: String, body: Bytes) -> anyhow::Result<(StatusCode, String)> {
        let call = self.answer(method, &uri, body, MAX_ANSWER_BYTES);
        tokio::time::timeout(TIMEOUT, call).await.with_context(|| format!("{uri} does not answer"))?
    }

    async fn answer(
        &self,
        method: Method,
        uri: &str,
        body: Bytes,
        max_bytes: usize,
    ) -> anyhow::Result<(StatusCode, String)> {
        let response = self.response(method, uri, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), max_bytes).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{uri}: {error}"))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn response(&self, method: Method, uri: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(uri).body(Full::new(body))?;
        self.0.request(request).await.with_context(|| format!("cannot reach {uri}"))
    }
}

fn successful((status, answer): (StatusCode, String)) -> anyhow::Result<String> {
    if !status.is_success() {
        bail!("{status}: {}", answer.trim());
    }
    Ok(answer)
}
