//! Inserting what was refused once more, when the reason is gone.

use std::{io, path::Path, time::Duration};

use super::{Entry, EraseError, QuarantineError, RefusedRows, erase as quarantine_erase, keep, list};
use crate::{
    clickhouse::{
        Client, Error, ErrorClass,
        native::{BlockError, BlockView, take_rows},
    },
    consent::Erased,
    delivery::{backoff::Backoff, body::Body, proof, split::RowRange},
    event::Micros,
};

/// Tries of one insert whose failure says nothing about the rows.
const TRIES: u32 = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Refusals that one replay takes entries apart for; see `delivery::split`.
const MAX_REFUSALS: u32 = 512;

/// What a replay has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Rows that are in ClickHouse now.
    pub inserted: u64,
    /// Rows that were refused again, and are still in quarantine.
    pub refused: u64,
}

/// A replay that could not go on. What it inserted before is no longer in quarantine.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The quarantine cannot be read.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// Nobody can say who was erased.
    #[error("it cannot be read who was erased; the rows stay in quarantine")]
    Erased(#[source] Error),
    /// Rows of people who were erased cannot be taken out.
    #[error(transparent)]
    Erase(#[from] EraseError),
    /// There are no such rows.
    #[error("there is no {0} in quarantine; `assent spool quarantine list` shows what there is")]
    Unknown(String),
    /// ClickHouse cannot be reached, or has no such table.
    #[error("the rows of {name} could not be inserted; they stay in quarantine")]
    Insert {
        /// Of which entry.
        name: String,
        /// Why.
        source: Error,
    },
    /// The rows are not what was written.
    #[error("the rows of {name} are damaged; they stay in quarantine")]
    Rows {
        /// Of which entry.
        name: String,
        /// What is wrong.
        source: BlockError,
    },
    /// The disk fails or is full.
    #[error("the quarantine {path} cannot be written: {source}")]
    Write {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Inserts the named entries, or all of them, and removes what ClickHouse has taken. An entry of
/// several rows that is refused again is split in two, which are tried in turn, so that in the end only
/// rows that are to blame stay. The stamps of the rows stay as they were sealed: who has said no since is
/// left out by the views, as with any other row.
///
/// # Errors
/// See [`ReplayError`]. Rows that are refused again are none.
pub async fn replay(client: &Client, dir: &Path, names: &[String]) -> Result<ReplayReport, ReplayError> {
    // The collector takes out whom it knows to be erased. What is read here a moment before must not go in after that.
    let erased = Erased::read(client).await.map_err(ReplayError::Erased)?;
    quarantine_erase(dir, &erased)?;
    let mut todo = list(dir)?;
    if let Some(unknown) = names.iter().find(|name| todo.iter().all(|entry| entry.name != **name)) {
        return Err(ReplayError::Unknown(unknown.clone()));
    }
    todo.retain(|entry| names.is_empty() || names.contains(&entry.name));
    todo.reverse();
    let write = |source| ReplayError::Write { path: dir.to_owned(), source };
    let (mut report, mut refusals) = (ReplayReport::default(), 0);
    while let Some(entry) = todo.pop() {
        let body = entry.read()?;
        let rows = entry.reason.rows;
        match insert(client, &entry, &body).await? {
            None => {
                report.inserted += u64::from(rows);
                entry.remove().map_err(write)?;
            }
            Some(_) if rows > 1 && refusals < MAX_REFUSALS => {
                refusals += 1;
                todo.extend(halve(dir, &entry, &body)?);
            }
            Some(error) => {
                report.refused += u64::from(rows);
                let reason = RefusedRows {
                    clickhouse_code: error.code(),
                    message: error.to_string(),
                    refused_at: Micros::now().0,
                    ..entry.reason
                };
                keep(dir, None, &reason, &body).map_err(write)?;
            }
        }
    }
    Ok(report)
}

/// Inserts an entry; gives the error when it was refused for good. Its token may have been used before, by
/// delivery or by a replay that was cut short, so the rows are looked for.
async fn insert(client: &Client, entry: &Entry, body: &[u8]) -> Result<Option<Error>, ReplayError> {
    let RefusedRows { table, columns, .. } = &entry.reason;
    let failed = |source| ReplayError::Insert { name: entry.name.clone(), source };
    let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
    let mut tries = 1;
    let mut rows = Body::compress(body.to_vec()).await;
    loop {
        let token = match tries {
            1 => entry.reason.token(),
            tries => format!("{}+{tries}", entry.reason.token()),
        };
        let error = match client.insert_native(table, columns, rows.pieces(), &token, &[]).await {
            Ok(()) => match proof::missing(client, table, body).await {
                Ok(None) => return Ok(None),
                Ok(Some(missing)) => {
                    rows = Body::compress(missing).await;
                    Error::Malformed("the insert was confirmed, and rows of it are not there")
                }
                Err(error) => error,
            },
            Err(error) if error.class() == ErrorClass::Permanent => return Ok(Some(error)),
            Err(error) => error,
        };
        if tries == TRIES {
            return Err(failed(error));
        }
        tracing::warn!(%error, "an insert did not go through; the same again after a pause");
        tries += 1;
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Makes two entries of one, the second one first. A crash in between leaves rows in two entries; then
/// they count once, by their event ids.
fn halve(dir: &Path, entry: &Entry, body: &[u8]) -> Result<Vec<Entry>, ReplayError> {
    let damaged = |source| ReplayError::Rows { name: entry.name.clone(), source };
    let write = |source| ReplayError::Write { path: dir.to_owned(), source };
    let rows = entry.reason.rows;
    let first = entry.reason.range.map_or(0, |range| range.start);
    let mut halves = Vec::new();
    for half in [RowRange { start: rows / 2, end: rows }, RowRange { start: 0, end: rows / 2 }] {
        let part = take_from_blocks(body, half).map_err(damaged)?;
        let range = Some(RowRange { start: first + half.start, end: first + half.end });
        let reason = RefusedRows { range, rows: half.len(), ..entry.reason.clone() };
        let rows_file = keep(dir, None, &reason, &part).map_err(write)?;
        let reason_file = rows_file.with_extension("json");
        halves.push(Entry { name: reason.stem(), reason, bytes: part.len() as u64, rows_file, reason_file });
    }
    entry.remove().map_err(write)?;
    Ok(halves)
}

/// Some rows of a run of blocks.
fn take_from_blocks(mut body: &[u8], wanted: RowRange) -> Result<Vec<u8>, BlockError> {
    let mut taken = Vec::new();
    let mut first_row = 0;
    while !body.is_empty() {
        let (view, rest) = BlockView::parse_first(body)?;
        let block = &body[..body.len() - rest.len()];
        let end_row = first_row + view.rows;
        let part = wanted.start.max(first_row)..wanted.end.min(end_row);
        if !part.is_empty() {
            let of_block = part.start - first_row..part.end - first_row;
            taken.extend(take_rows(block, std::slice::from_ref(&of_block))?);
        }
        (body, first_row) = (rest, end_row);
    }
    Ok(taken)
}
