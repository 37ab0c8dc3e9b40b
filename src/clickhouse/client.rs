//! Queries and inserts over HTTP.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use clickhouse::{Compression, query::BytesCursor};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use super::{Error, InsertQuorum, compressed};

/// Pieces of a body below this size are put together before they are sent: each that is sent by itself costs the
/// wake-up of a task and a chunk of the request.
const SMALL_PIECE_BYTES: usize = 16 << 10;
/// Until they are so long.
const SENT_TOGETHER_BYTES: usize = 128 << 10;

/// Rows of JSON up to this size are compressed where they are; more of them on a thread that may block.
const COMPRESSED_IN_PLACE_BYTES: usize = 64 << 10;

/// How to reach a server.
#[derive(Clone)]
pub struct Options {
    /// Its HTTP interface.
    pub url: String,
    /// The database of all tables.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: SecretString,
    /// How long one insert may take.
    pub insert_timeout: Duration,
    /// How long one query may take.
    pub query_timeout: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A client of one server and database. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: clickhouse::Client,
    database: String,
    insert_timeout: Duration,
    query_timeout: Duration,
    insert_quorum: InsertQuorum,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL is not one.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let bad_url = || Error::Url { url: options.url.clone() };
        let url: http::Uri = options.url.parse().map_err(|_| bad_url())?;
        if url.host().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(bad_url());
        }
        let inner = clickhouse::Client::default()
            .with_url(&options.url)
            .with_user(&options.user)
            .with_password(options.password.expose_secret())
            .with_compression(Compression::Lz4)
            .with_product_info("assent", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            inner,
            database: options.database.clone(),
            insert_timeout: options.insert_timeout,
            query_timeout: options.query_timeout,
            insert_quorum: InsertQuorum::None,
        })
    }

    /// A client whose inserts are confirmed when so many replicas have them.
    #[must_use]
    pub const fn with_insert_quorum(mut self, quorum: InsertQuorum) -> Self {
        self.insert_quorum = quorum;
        self
    }

    /// The database of all tables.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs a statement that gives no rows.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.in_time(self.in_database().query_raw(sql).execute()).await
    }

    /// Runs an `INSERT … SELECT`, all of which is done or to be done again: the server keeps no token of it.
    ///
    /// # Errors
    /// See [`Error`]; when it timed out, it may have taken effect.
    pub async fn insert_select(&self, sql: &str, params: &[(&str, &str)]) -> Result<(), Error> {
        let mut query = self
            .in_database()
            .query_raw(sql)
            .with_setting("async_insert", "0")
            // The same rows may be wanted again after somebody removed them.
            .with_setting("insert_deduplicate", "0");
        for (name, value) in self.insert_quorum.settings(self.insert_timeout) {
            query = query.with_setting(name, value);
        }
        for (name, value) in params {
            query = query.param(name, value);
        }
        match tokio::time::timeout(self.insert_timeout, query.execute()).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// Makes the database, if it is not there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_database(&self) -> Result<(), Error> {
        // The configuration lets letters, digits and `_` through alone.
        let sql = format!("CREATE DATABASE IF NOT EXISTS `{}`", self.database);
        self.in_time(self.inner.query_raw(&sql).execute()).await
    }

    /// Runs a query and reads its rows by their columns' names. Values come in as server-side
    /// parameters, `{name:Type}` in the query.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn query_rows<T: DeserializeOwned>(
        &self,
        sql: &str,
        params: &[(&str, &str)],
    ) -> Result<Vec<T>, Error> {
        let mut rest = BytesMut::new();
        let mut rows = Vec::new();
        self.query_chunks(sql, params, "JSONEachRow", |chunk| {
            rest.extend_from_slice(chunk);
            while let Some(end) = rest.iter().position(|&b| b == b'\n') {
                let line = rest.split_to(end + 1);
                rows.push(serde_json::from_slice(&line)?);
            }
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The same for a query that needs no database, which may not be there yet.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn query_rows_outside<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Error> {
        let mut outside = self.clone();
        // Every server has it, and everybody may be in it.
        "system".clone_into(&mut outside.database);
        outside.query_rows(sql, &[]).await
    }

    /// Runs a query and hands its answer, in the given format, to `take`, a piece at a time as it
    /// comes in. Pieces end anywhere.
    ///
    /// # Errors
    /// See [`Error`]; the first error of `take` ends it.
    pub async fn query_chunks(
        &self,
        sql: &str,
        params: &[(&str, &str)],
        format: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut query = self
            .in_database()
            .query_raw(sql)
            // Numbers of 64 bits as numbers.
            .with_setting("output_format_json_quote_64bit_integers", "0");
        for (name, value) in params {
            query = query.param(name, value);
        }
        let read = async {
            let mut answer = query.fetch_bytes(format)?;
            while let Some(chunk) = answer.next().await? {
                take(&chunk)?;
            }
            Ok(())
        };
        tokio::time::timeout(self.query_timeout, read).await.unwrap_or(Err(Error::TimedOut))
    }

    /// Runs a query whose answer may take as long as it likes, as long as it keeps coming. The server
    /// is told of no limit but those among the settings.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn query_stream(
        &self,
        sql: &str,
        params: &[(&str, &str)],
        format: &str,
        settings: &[(&str, &str)],
    ) -> Result<Pieces, Error> {
        let mut query = self.in_database().query_raw(sql);
        for (name, value) in params {
            query = query.param(name, value);
        }
        for (name, value) in settings {
            query = query.with_setting(*name, *value);
        }
        Ok(Pieces { answer: query.fetch_bytes(format)?, idle_timeout: self.query_timeout })
    }

    /// How long one query may take.
    #[must_use]
    pub const fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// Inserts blocks in the `Native` format that are [compressed] already; pieces may end anywhere. The server
    /// keeps one of all inserts with one token.
    ///
    /// # Errors
    /// See [`Error`]; its [class](Error::class) says whether the insert may have taken effect.
    pub async fn insert_native(
        &self,
        table: &str,
        columns: &str,
        pieces: &[Bytes],
        token: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), Error> {
        self.insert(table, columns, "Native", pieces, token, settings).await
    }

    /// Inserts rows in the form of `JSONEachRow`, which are compressed here.
    ///
    /// # Errors
    /// As [`insert_native`](Self::insert_native).
    pub async fn insert_json(
        &self,
        table: &str,
        columns: &str,
        body: Bytes,
        token: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), Error> {
        let pieces = [compress(body).await];
        self.insert(table, columns, "JSONEachRow", &pieces, token, settings).await
    }

    async fn insert(
        &self,
        table: &str,
        columns: &str,
        format: &str,
        pieces: &[Bytes],
        token: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), Error> {
        let timeout = Some(self.insert_timeout);
        let mut insert = self
            .in_database()
            // The library would compress what is compressed; an insert's answer is not compressed in any case.
            .with_compression(Compression::None)
            .insert_formatted_with(format!("INSERT INTO {table} {columns} FORMAT {format}"))
            .with_timeouts(timeout, timeout)
            .with_setting("decompress", "1")
            .with_setting("insert_deduplication_token", token)
            // A confirmed insert must be in the table, whatever a profile says.
            .with_setting("async_insert", "0")
            // Of rows that share a key, FINAL and merges choose; sorting them out here costs more.
            .with_setting("optimize_on_insert", "0")
            // A backlog of many days is delivered all the same.
            .with_setting("max_partitions_per_insert_block", "0");
        for (name, value) in self.insert_quorum.settings(self.insert_timeout) {
            insert = insert.with_setting(name, value);
        }
        for (name, value) in settings {
            insert = insert.with_setting(*name, *value);
        }
        for piece in put_together(pieces) {
            insert.send(piece).await?;
        }
        Ok(insert.end().await?)
    }

    fn in_database(&self) -> clickhouse::Client {
        self.inner.clone().with_database(&self.database)
    }

    async fn in_time<T>(&self, work: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.query_timeout, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::TimedOut),
        }
    }
}

/// An answer that is still coming in.
pub struct Pieces {
    answer: BytesCursor,
    idle_timeout: Duration,
}

impl Pieces {
    /// The next piece; pieces end anywhere. None at the end of the answer.
    ///
    /// # Errors
    /// See [`Error`]; it timed out when no piece came for as long as a whole query may take.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(self.idle_timeout, self.answer.next()).await {
            Ok(piece) => Ok(piece?),
            Err(_) => Err(Error::TimedOut),
        }
    }
}

async fn compress(body: Bytes) -> Bytes {
    if body.len() <= COMPRESSED_IN_PLACE_BYTES {
        return compressed::compress(&body).into();
    }
    match spawn_blocking(move || compressed::compress(&body).into()).await {
        Ok(compressed) => compressed,
        // It is never aborted, so it panicked, and so does who waits for it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The same bytes in fewer pieces, if some are small. Long ones stay as they are.
fn put_together(pieces: &[Bytes]) -> impl Iterator<Item = Bytes> {
    let mut left = pieces.iter().peekable();
    std::iter::from_fn(move || {
        let first = left.next()?;
        if first.len() >= SMALL_PIECE_BYTES || left.peek().is_none_or(|next| next.len() >= SMALL_PIECE_BYTES)
        {
            return Some(first.clone());
        }
        let mut together = BytesMut::from(&first[..]);
        while together.len() < SENT_TOGETHER_BYTES
            && let Some(small) = left.next_if(|next| next.len() < SMALL_PIECE_BYTES)
        {
            together.extend_from_slice(small);
        }
        Some(together.freeze())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> Options {
        Options {
            url: url.to_owned(),
            database: "assent".to_owned(),
            user: "default".to_owned(),
            password: "hunter2".into(),
            insert_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn what_is_no_url_is_refused_before_anything_is_sent() {
        for url in ["", "127.0.0.1:8123", "tcp://127.0.0.1:9000", "http://"] {
            assert!(matches!(Client::new(&options(url)), Err(Error::Url { .. })), "{url}");
        }
        Client::new(&options("https://clickhouse.internal:8443")).unwrap();
    }

    #[test]
    fn small_pieces_are_sent_together_and_long_ones_as_they_are() {
        let lens = [10, 20, SMALL_PIECE_BYTES, 30, SMALL_PIECE_BYTES * 3, SMALL_PIECE_BYTES - 1, 40];
        let mut pieces: Vec<Bytes> = (0..).zip(lens).map(|(n, len)| vec![n; len].into()).collect();
        pieces.extend(vec![Bytes::from_static(&[7; 1_000]); 1_000]);
        let sent: Vec<Bytes> = put_together(&pieces).collect();
        assert_eq!(sent.concat(), pieces.concat());
        assert!(sent.len() < 20, "{}", sent.len());
        assert_eq!(sent[..2].iter().map(Bytes::len).collect::<Vec<_>>(), [30, SMALL_PIECE_BYTES]);
        let longest = sent.iter().filter(|it| it[0] >= 5).map(Bytes::len).max();
        assert!(longest < Some(SENT_TOGETHER_BYTES + SMALL_PIECE_BYTES), "{longest:?}");
        // Not copied.
        assert_eq!((sent[3].as_ptr(), sent[3].len()), (pieces[4].as_ptr(), pieces[4].len()));
        assert_eq!(put_together(&[]).count(), 0);
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = options("http://127.0.0.1:1");
        let client = Client::new(&options).unwrap();
        assert!(!format!("{options:?} {client:?}").contains("hunter2"));
    }

    /// A server that answers with a few pieces, a pause before each, and then falls silent.
    async fn dripping(pieces: usize, pause: Duration) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A small request comes in one piece.
            assert!(stream.read(&mut [0; 16 << 10]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            for _ in 0..pieces {
                tokio::time::sleep(pause).await;
                stream.write_all(b"5\r\npiece\r\n").await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        url
    }

    #[tokio::test]
    async fn a_stream_may_take_long_and_not_be_silent_long() {
        let url = dripping(8, Duration::from_millis(200)).await;
        let options = Options { query_timeout: Duration::from_secs(1), ..options(&url) };
        let client = Client::new(&options).unwrap();
        let mut pieces = client.query_stream("SELECT 1", &[], "RowBinary", &[]).unwrap();
        for n in 0..8 {
            let piece = pieces.next().await.unwrap();
            assert_eq!(piece.as_deref(), Some(&b"piece"[..]), "piece {n}");
        }
        assert!(matches!(pieces.next().await, Err(Error::TimedOut)));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_from_one_that_broke_off() {
        use crate::clickhouse::ErrorClass;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(&options(&url)).unwrap();
        let insert = || client.insert_json("t", "(a)", Bytes::from_static(b"{}"), "1", &[]);
        // It takes the request and says nothing.
        let broken = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
        });
        let error = insert().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Ambiguous, "{error}");
        broken.await.unwrap();
        let error = insert().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    }
}
