//! The feed that a training pipeline polls: which rows of a dataset may no longer be used, since it asked last.
//!
//! What was given out is kept in a file, the cursor, which is written after the rows were taken. So each is
//! given out at least once, and again only when the cursor could not be written.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    MANIFEST_FILE, Manifest, ManifestError, ReadError, Source,
    audit::{Revoked, audit, list_revoked},
    query,
};
use crate::{clickhouse::ExternalError, spool::fs::write_atomically};

/// A line of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line<'a> {
    /// A row that may no longer be used.
    Revocation {
        /// The row.
        #[serde(flatten)]
        row: &'a Revoked,
        /// The shard that it is in.
        file: &'a str,
    },
    /// The last line: how far the feed has come.
    Cursor {
        /// Every change of consent that was acknowledged before this time, by the server's clock, is heeded.
        watermark: &'a str,
        /// Of which dataset.
        manifest_sha256: &'a str,
        /// How many rows of it may no longer be used, all in all.
        revoked: u64,
        /// How many of them were given out now.
        new: u64,
    },
}

/// A feed that came to an end.
#[derive(Debug, thiserror::Error)]
pub enum RevocationsError {
    /// There is no manifest that could be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cursor is another dataset's.
    #[error("the cursor {} is of another dataset: give each its own", path.display())]
    OtherCursor {
        /// The cursor.
        path: PathBuf,
    },
    /// The cursor cannot be read or written.
    #[error("the cursor {} cannot be read or written", path.display())]
    Cursor {
        /// The cursor.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A shard is not there, or of another length than it should be.
    #[error("{} is not what the manifest says: run `assent export verify`", path.display())]
    Shard {
        /// The file.
        path: PathBuf,
    },
    /// The view cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A shard cannot be looked at.
    #[error("the server cannot read the shard {}", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ExternalError,
    },
    /// The lines cannot be given out.
    #[error("the lines cannot be written")]
    Output(#[source] io::Error),
}

#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error(transparent)]
    External(#[from] ExternalError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// What was given out.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Cursor {
    manifest_sha256: String,
    watermark: String,
    /// Tenant and event id.
    given: HashSet<(String, String)>,
}

/// Gives the rows to `take` that may no longer be used, and at the end how far it has come. `take` gets `None` when
/// everything must have left it: then the cursor is written.
///
/// # Errors
/// See [`RevocationsError`].
pub async fn revocations(
    source: &Source,
    since: &Path,
    cursor: Option<&Path>,
    mut take: impl FnMut(Option<&Line<'_>>) -> io::Result<()>,
) -> Result<(), RevocationsError> {
    let file = if since.is_dir() { since.join(MANIFEST_FILE) } else { since.to_owned() };
    let dir = file.parent().unwrap_or(Path::new(""));
    let (manifest, sha256) = Manifest::read_file(&file)?;
    let mut given = cursor.map_or_else(|| Ok(Cursor::default()), |path| read(path, &sha256))?;
    let explain = |error| source.explain(manifest.selection.scope, error);
    let watermark = query::hello(&source.client).await.map_err(explain)?.now;
    let sees_events = query::may_read_events(&source.client).await;
    let (mut revoked, mut new) = (0, 0);
    for shard in &manifest.shards {
        let path = dir.join(&shard.file);
        if !fs::metadata(&path).is_ok_and(|file| file.len() == shard.bytes) {
            return Err(RevocationsError::Shard { path });
        }
        let refused = |source| RevocationsError::Audit { path: path.clone(), source };
        let selection = &manifest.selection;
        if audit(&source.external, selection, shard.range, &path).await.map_err(refused)?.revoked == 0 {
            continue;
        }
        let listed = list_revoked(&source.external, selection, shard.range, &path, sees_events, |row| {
            revoked += 1;
            if given.given.insert((row.tenant.clone(), row.event_id.clone())) {
                new += 1;
                take(Some(&Line::Revocation { row: &row, file: &shard.file }))?;
            }
            Ok::<_, TakeError>(())
        });
        listed.await.map_err(|error| match error {
            TakeError::External(source) => refused(source),
            TakeError::Output(source) => RevocationsError::Output(source),
        })?;
    }
    let last = Line::Cursor { watermark: &watermark, manifest_sha256: &sha256, revoked, new };
    take(Some(&last)).and_then(|()| take(None)).map_err(RevocationsError::Output)?;
    if let Some(path) = cursor {
        (given.watermark, given.manifest_sha256) = (watermark, sha256);
        serde_json::to_vec(&given)
            .map_err(io::Error::from)
            .and_then(|bytes| write_atomically(path, &bytes))
            .map_err(|source| RevocationsError::Cursor { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn read(path: &Path, manifest_sha256: &str) -> Result<Cursor, RevocationsError> {
    let failed = |source| RevocationsError::Cursor { path: path.to_owned(), source };
    let cursor: Cursor = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cursor::default()),
        Err(error) => return Err(failed(error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
    };
    if cursor.manifest_sha256 != manifest_sha256 {
        return Err(RevocationsError::OtherCursor { path: path.to_owned() });
    }
    Ok(cursor)
}
