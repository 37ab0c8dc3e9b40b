//! Whether a dataset is what its manifest says, and may still be used.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{
    DATA_DIR, Manifest, ManifestError, ReadError, Source,
    audit::{Revoked, Status, audit, list_revoked},
    place::{PlaceError, foreign},
    query,
    shard::digest_of,
};
use crate::clickhouse::{ExternalError, ExternalTable};

/// How many rows are listed by id. Of which more were taken back, nothing should be used any more.
const MAX_LISTED: u64 = 5_000_000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many rows the dataset has.
    pub rows: u64,
    /// How many of them may no longer be trained on.
    pub revoked: u64,
    /// The same by why, as far as who asked may know.
    pub by_status: BTreeMap<Status, u64>,
    /// How many of these are listed: fewer only when there are millions.
    pub listed: u64,
    /// Every change of consent that was acknowledged before this time, by the server's clock, is heeded.
    pub watermark: String,
}

/// A dataset that is damaged, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It has no manifest that could be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is not what its manifest says.
    #[error("{} is not what its manifest says:\n  {}", dir.display(), problems.join("\n  "))]
    Damaged {
        /// The dataset.
        dir: PathBuf,
        /// What is wrong, file by file.
        problems: Vec<String>,
    },
    /// Its folder cannot be read.
    #[error(transparent)]
    Place(#[from] PlaceError),
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
    /// The list of rows cannot be written.
    #[error("{} cannot be written", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list of rows cannot be made.
    #[error("the list of rows cannot be made")]
    Parquet(#[source] ExternalError),
}

impl VerifyError {
    /// Whether the dataset is to blame, rather than what stood in the way of looking at it.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Manifest(_))
    }
}

/// Looks at every file, and at every row beside today's consent. Rows that may no longer be trained on are listed in a
/// Parquet file; when there are none, there is no such file.
///
/// # Errors
/// See [`VerifyError`].
pub async fn verify(source: &Source, dir: &Path, list: &Path) -> Result<Verified, VerifyError> {
    let (manifest, _) = Manifest::read(dir)?;
    let problems = problems(dir, &manifest)?;
    if !problems.is_empty() {
        return Err(VerifyError::Damaged { dir: dir.to_owned(), problems });
    }
    let explain = |error| source.explain(manifest.selection.scope, error);
    let watermark = query::hello(&source.client).await.map_err(explain)?.now;
    let sees_events = query::may_read_events(&source.client).await;
    let mut found =
        Verified { rows: manifest.rows, revoked: 0, by_status: BTreeMap::new(), listed: 0, watermark };
    let mut lines = None;
    for shard in &manifest.shards {
        let path = dir.join(&shard.file);
        let refused = |source| VerifyError::Audit { path: path.clone(), source };
        let audited =
            audit(&source.external, &manifest.selection, shard.range, &path).await.map_err(refused)?;
        if audited.rows != shard.rows {
            let problem = format!("{}: {} rows, and it has {}", shard.file, shard.rows, audited.rows);
            return Err(VerifyError::Damaged { dir: dir.to_owned(), problems: vec![problem] });
        }
        if audited.revoked == 0 {
            continue;
        }
        let lines = match &mut lines {
            Some(lines) => lines,
            none => none.insert(ListedRows::begin(list)?),
        };
        let listed =
            list_revoked(&source.external, &manifest.selection, shard.range, &path, sees_events, |row| {
                found.revoked += 1;
                *found.by_status.entry(row.status).or_default() += 1;
                if found.listed < MAX_LISTED {
                    found.listed += 1;
                    lines.add(&row)?;
                }
                Ok::<_, ListError>(())
            });
        listed.await.map_err(|error| match error {
            ListError::External(source) => refused(source),
            ListError::Io(source) => VerifyError::List { path: list.to_owned(), source },
        })?;
    }
    match lines {
        Some(lines) => lines.finish(source, list).await?,
        None => match fs::remove_file(list) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(VerifyError::List { path: list.to_owned(), source });
            }
            _ => {}
        },
    }
    Ok(found)
}

/// What is wrong with the files of a dataset.
fn problems(dir: &Path, manifest: &Manifest) -> Result<Vec<String>, VerifyError> {
    let mut problems = Vec::new();
    if dir.join(DATA_DIR).is_dir() {
        // Whoever reads the folder would train on it.
        let stray = foreign(dir, manifest)?.into_iter().filter(|path| path.starts_with(DATA_DIR));
        problems.extend(stray.map(|path| format!("{}: it is not in the manifest", path.display())));
    }
    for shard in &manifest.shards {
        match digest_of(&dir.join(&shard.file)) {
            Err(error) => problems.push(format!("{}: {error}", shard.file)),
            Ok(digest) if digest.bytes != shard.bytes => {
                problems.push(format!("{}: {} bytes, and it has {}", shard.file, shard.bytes, digest.bytes));
            }
            Ok(digest) if digest.sha256 != shard.sha256 => {
                problems
                    .push(format!("{}: SHA-256 {}, and it has {}", shard.file, shard.sha256, digest.sha256));
            }
            Ok(_) => {}
        }
    }
    Ok(problems)
}

#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    External(#[from] ExternalError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Rows on their way into a Parquet file, which ClickHouse writes: until then they wait in a file of lines.
struct ListedRows {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Drop for ListedRows {
    fn drop(&mut self) {
        // The next run begins it anew in any case.
        let _ = fs::remove_file(&self.path);
    }
}

impl ListedRows {
    fn begin(list: &Path) -> Result<Self, VerifyError> {
        let path = beside(list, "rows");
        let failed = |source| VerifyError::List { path: path.clone(), source };
        let file = BufWriter::new(File::create(&path).map_err(failed)?);
        Ok(Self { path, file })
    }

    fn add(&mut self, row: &Revoked) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, row)?;
        self.file.write_all(b"\n")
    }

    async fn finish(mut self, source: &Source, list: &Path) -> Result<(), VerifyError> {
        let failed = |source| VerifyError::List { path: list.to_owned(), source };
        self.file.flush().map_err(failed)?;
        let table = ExternalTable {
            name: "revoked",
            structure: "tenant String, event_id String, subject_id String, status String",
            format: "JSONEachRow",
            file: &self.path,
        };
        let unfinished = beside(list, "tmp");
        let mut parquet = File::create(&unfinished).map_err(failed)?;
        let written = source
            .external
            .query_chunks("SELECT * FROM revoked", table, "Parquet", |piece| {
                Ok::<_, ListError>(parquet.write_all(piece)?)
            })
            .await;
        written.map_err(|error| match error {
            ListError::External(error) => VerifyError::Parquet(error),
            ListError::Io(source) => failed(source),
        })?;
        parquet.sync_all().map_err(failed)?;
        fs::rename(&unfinished, list).map_err(failed)
    }
}

/// A file beside another that is to be.
fn beside(list: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(list.file_name().unwrap_or_default());
    name.push(".");
    name.push(what);
    list.with_file_name(name)
}
