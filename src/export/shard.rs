//! One shard: what ClickHouse streams, as it comes, into a file.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use ring::digest::{Context, SHA256};

use super::{footer, manifest::hex};
use crate::clickhouse::{Client, Error};

/// What a reader may say about an answer, and no more: the profile `assent_reader` lets these through.
const SETTINGS: [(&str, &str); 4] = [
    ("output_format_parquet_compression_method", "zstd"),
    ("output_format_parquet_row_group_size", "100000"),
    ("output_format_parquet_string_as_string", "1"),
    ("cancel_http_readonly_queries_on_client_close", "1"),
];

/// A file that was read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// The file is whole and durable.
    Whole {
        /// What it is.
        digest: Digest,
        /// How many rows it has, by its own footer.
        rows: u64,
    },
    /// It would have become too large; what was written is of no use.
    TooLarge,
}

/// A shard that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The query failed.
    #[error(transparent)]
    ClickHouse(#[from] Error),
    /// The file cannot be written, or is not what it should be.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Streams a query's answer into a file as Parquet, of that many bytes at most.
///
/// # Errors
/// See [`StreamError`].
pub async fn stream(
    client: &Client,
    sql: &str,
    path: &Path,
    max_bytes: u64,
    mut on_bytes: impl FnMut(u64),
) -> Result<Streamed, StreamError> {
    let mut pieces = client.query_stream(sql, &[], "Parquet", &SETTINGS)?;
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    let mut context = Context::new(&SHA256);
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await? {
        bytes += piece.len() as u64;
        if bytes > max_bytes {
            return Ok(Streamed::TooLarge);
        }
        // On a thread of the runtime, since this program has nothing else to do meanwhile.
        file.write_all(&piece)?;
        context.update(&piece);
        on_bytes(bytes);
    }
    // Also whether the answer came to its end.
    let rows = footer::rows(&mut file)?;
    file.sync_all()?;
    Ok(Streamed::Whole { digest: Digest { bytes, sha256: hex(context.finish().as_ref()) }, rows })
}

/// Length and digest of a file.
///
/// # Errors
/// It cannot be read.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest { bytes, sha256: hex(context.finish().as_ref()) }),
            read => {
                context.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}
