//! Whether rows are there that ClickHouse says it has.
//!
//! ClickHouse writes to the table's log of tokens that it has a block before the block's part has its place. A
//! kill -9 between the two, which was seen about once in a hundred kills in the middle of inserts, leaves the token and takes the
//! part: a repeat under the token is confirmed, and inserts nothing. So when an insert may have been begun before, delivery
//! looks, and inserts what is missing.

use bytes::Bytes;

use crate::clickhouse::{
    Client, Error,
    columns::{self, SEALED_ROW_BYTES, SEALED_ROWS, Seal, SealedRows},
    native::BlockError,
};

/// The rows of an insert's body that are not in the table; with their number.
///
/// A merge may have dropped a row in favour of another one of the same event; then it is among them, and inserting
/// it again does no harm.
pub(super) async fn missing(client: &Client, body: &Bytes) -> Result<Option<(Bytes, u32)>, LookError> {
    let Some(Seal { sealed_at, first, last }) = columns::seal_of(body)? else { return Ok(None) };
    let [sealed_at, first, last] = [sealed_at, first, last].map(|time| time.to_string());
    let params = [("sealed_at", sealed_at.as_str()), ("first", &first), ("last", &last)];
    let mut found = SealedRows::default();
    let mut rest = Vec::new();
    client
        .query_chunks(SEALED_ROWS, &params, "RowBinary", |chunk| {
            rest.extend_from_slice(chunk);
            let (rows, _) = rest.as_chunks::<SEALED_ROW_BYTES>();
            rows.iter().for_each(|row| found.add(row));
            let whole = rows.len() * SEALED_ROW_BYTES;
            rest.drain(..whole);
            Ok(())
        })
        .await?;
    let (missing, rows) = columns::missing_rows(body, found)?;
    Ok((rows > 0).then(|| (missing.into(), rows)))
}

/// Nobody knows what is there.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// It cannot be asked.
    #[error(transparent)]
    Query(#[from] Error),
    /// The insert's own blocks cannot be read.
    #[error(transparent)]
    Block(#[from] BlockError),
}
