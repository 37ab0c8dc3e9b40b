//! Queries that bring a table of their own along: a file, read by the server as it is. ClickHouse takes such a
//! table as a part of a form over HTTP, from a user who may read and nothing else too.

use std::{
    fmt,
    future::poll_fn,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::AsyncReadExt as _,
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Error, Options, error::of_response};

/// How much of a file is read at once, and how many such pieces wait to be sent.
const PIECE_BYTES: usize = 256 << 10;
const WAITING_PIECES: usize = 4;
/// The longest refusal that is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// A table that comes with a query.
#[derive(Clone, Copy, Debug)]
pub struct ExternalTable<'a> {
    /// Its name in the query: letters and `_` alone.
    pub name: &'a str,
    /// The columns that are wanted of it, and their types.
    pub structure: &'a str,
    /// The format of the file, as ClickHouse calls it.
    pub format: &'a str,
    /// The file.
    pub file: &'a Path,
}

/// A client for such queries. Clones share its connections.
#[derive(Clone)]
pub struct ExternalClient {
    http: HttpClient<HttpsConnector<HttpConnector>, Form>,
    url: String,
    database: String,
    user: String,
    password: SecretString,
    timeout: Duration,
}

impl fmt::Debug for ExternalClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalClient").field("database", &self.database).finish_non_exhaustive()
    }
}

/// A query with a table that failed.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system's certificates cannot be read.
    #[error("cannot read the system's certificates")]
    Certificates(#[source] std::io::Error),
    /// The query failed.
    #[error(transparent)]
    ClickHouse(#[from] Error),
}

impl ExternalClient {
    /// A client. Nothing is sent yet. A query may take as long as the options let one take.
    ///
    /// # Errors
    /// The URL is not one, or there are no certificates to check servers by.
    pub fn new(options: &Options) -> Result<Self, ExternalError> {
        let bad_url = || Error::Url { url: options.url.clone() };
        let url: Uri = options.url.parse().map_err(|_| bad_url())?;
        if url.host().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(bad_url().into());
        }
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(ExternalError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
            url: options.url.trim_end_matches(['?', '/']).to_owned(),
            database: options.database.clone(),
            user: options.user.clone(),
            password: options.password.clone(),
            timeout: options.query_timeout,
        })
    }

    /// Runs a query over a table that comes with it, and hands its answer to `take`, a piece at a time. Pieces
    /// end anywhere. The server sends nothing before it has all of the answer, so that none is cut short by a
    /// failure.
    ///
    /// # Errors
    /// See [`ExternalError`]; the first error of `take` ends it.
    pub async fn query_chunks<E: From<ExternalError>>(
        &self,
        sql: &str,
        table: ExternalTable<'_>,
        format: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let request = self.request(sql, table, format).await?;
        let sent = tokio::time::timeout(self.timeout, self.http.request(request)).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(broken(Box::new(error)).into()),
            Err(_) => return Err(ExternalError::from(Error::TimedOut).into()),
        };
        let (head, mut body) = answer.into_parts();
        let refused =
            head.status != StatusCode::OK || head.headers.contains_key("x-clickhouse-exception-code");
        let mut refusal = BytesMut::new();
        loop {
            let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let frame = match tokio::time::timeout(self.timeout, next).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(broken(Box::new(error)).into()),
                Err(_) => return Err(ExternalError::from(Error::TimedOut).into()),
            };
            let Ok(piece) = frame.into_data() else { continue };
            if refused {
                refusal.extend_from_slice(&piece);
                if refusal.len() > MAX_REFUSAL_BYTES {
                    break;
                }
            } else {
                take(&piece)?;
            }
        }
        if refused {
            let said = String::from_utf8_lossy(&refusal);
            let said = if said.trim().is_empty() { head.status.as_str() } else { &said };
            return Err(ExternalError::from(of_response(said)).into());
        }
        Ok(())
    }

    async fn request(
        &self,
        sql: &str,
        table: ExternalTable<'_>,
        format: &str,
    ) -> Result<Request<Form>, ExternalError> {
        let unreadable = |source| ExternalError::File { file: table.file.to_owned(), source };
        let file = tokio::fs::File::open(table.file).await.map_err(unreadable)?;
        let len = file.metadata().await.map_err(unreadable)?.len();
        let boundary = format!("assent-{}", Uuid::now_v7().simple());
        let (name, structure) = (table.name, table.structure);
        // The query is a part of the form as well: URLs end up in the logs of proxies.
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n{sql}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let uri = format!(
            "{}/?database={}&default_format={}&wait_end_of_query=1&{name}_format={}&{name}_structure={}",
            self.url,
            encoded(&self.database),
            encoded(format),
            encoded(table.format),
            encoded(structure),
        );
        let header = |value: &str| {
            HeaderValue::from_str(value)
                .map_err(|error| Error::Request(clickhouse::error::Error::InvalidParams(Box::new(error))))
        };
        let mut password = header(self.password.expose_secret())?;
        password.set_sensitive(true);
        Request::post(uri)
            .header(CONTENT_TYPE, header(&format!("multipart/form-data; boundary={boundary}"))?)
            .header("x-clickhouse-user", header(&self.user)?)
            .header("x-clickhouse-key", password)
            .body(Form::new(head.into(), file, len, tail.into()))
            .map_err(|_| Error::Url { url: self.url.clone() }.into())
    }
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> ExternalError {
    Error::from(clickhouse::error::Error::Network(error)).into()
}

/// Everything but letters, digits and a few signs as `%XX`.
fn encoded(text: &str) -> String {
    use fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The body of such a request: what comes before the file, the file, and what comes after it.
struct Form {
    head: Option<Bytes>,
    file: Receiver<std::io::Result<Bytes>>,
    tail: Option<Bytes>,
    left: u64,
    reader: JoinHandle<()>,
}

impl Drop for Form {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Form {
    fn new(head: Bytes, mut file: tokio::fs::File, len: u64, tail: Bytes) -> Self {
        let left = len + (head.len() + tail.len()) as u64;
        let (pieces, receiver) = channel(WAITING_PIECES);
        let reader = tokio::spawn(async move {
            // What is written to the file meanwhile is not part of it.
            let mut unread = len;
            while unread > 0 {
                let mut piece = BytesMut::with_capacity(PIECE_BYTES);
                let read = (&mut file).take(unread.min(PIECE_BYTES as u64)).read_buf(&mut piece).await;
                let piece = match read {
                    Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(bytes) => {
                        unread -= bytes as u64;
                        Ok(piece.freeze())
                    }
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if pieces.send(piece).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { head: Some(head), file: receiver, tail: Some(tail), left, reader }
    }

    fn give(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(head) = self.head.take() {
            return self.give(head);
        }
        match self.file.poll_recv(cx) {
            Poll::Ready(Some(Ok(piece))) => self.give(piece),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => match self.tail.take() {
                Some(tail) => self.give(tail),
                None => Poll::Ready(None),
            },
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_address_is_encoded() {
        assert_eq!(
            encoded("a String, b Array(Tuple(x UInt8))"),
            "a%20String%2C%20b%20Array%28Tuple%28x%20UInt8%29%29"
        );
        assert_eq!(encoded("ä&=#\r\n"), "%C3%A4%26%3D%23%0D%0A");
    }

    #[tokio::test]
    async fn a_form_is_as_long_as_it_says_and_holds_the_file_whole() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 17).map(|n| (n % 251) as u8).collect();
        for len in [0, 1, PIECE_BYTES, content.len()] {
            let path = dir.path().join("file");
            std::fs::write(&path, &content[..len]).unwrap();
            let file = tokio::fs::File::open(&path).await.unwrap();
            let mut form =
                Form::new(Bytes::from_static(b"head"), file, len as u64, Bytes::from_static(b"tail"));
            let said = form.size_hint().exact().unwrap();
            let mut sent = Vec::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut form).poll_frame(cx)).await {
                sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert!(form.is_end_stream());
            assert_eq!(sent.len() as u64, said);
            assert_eq!(sent, [b"head", &content[..len], b"tail"].concat());
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = Options {
            url: "http://127.0.0.1:1".to_owned(),
            database: "assent".to_owned(),
            user: "default".to_owned(),
            password: "hunter2".into(),
            insert_timeout: Duration::from_secs(1),
            query_timeout: Duration::from_secs(1),
        };
        assert!(!format!("{:?}", ExternalClient::new(&options).unwrap()).contains("hunter2"));
    }
}
