//! `manifest.json`: what a dataset is made of. A dataset without it is none.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    IdRange,
    query::{Column, Selection},
};
use crate::spool::fs::write_atomically;

/// Its name in the folder of a dataset.
pub const MANIFEST_FILE: &str = "manifest.json";
/// What it says it is.
const FORMAT: &str = "assent-export";
/// Of the form described here. Another number is another form.
const FORMAT_VERSION: u32 = 1;
/// The longest one that is read: some two hundred thousand shards.
const MAX_BYTES: u64 = 64 << 20;
/// How many values of one column are counted by name; the others are counted together.
const MAX_VALUES: usize = 10_000;
/// Under which name.
const OTHERS: &str = "(others)";

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Manifest {
    /// `assent-export`.
    pub format: String,
    /// 1.
    pub format_version: u32,
    /// This dataset's own id, as in the table `exports`.
    pub export_id: Uuid,
    /// The dataset that it was refreshed from.
    pub parent: Option<Parent>,
    /// Which rows it is of.
    #[serde(flatten)]
    pub selection: Selection,
    /// The query that its rows come from, for all ids; a shard has its own range of them.
    pub query: String,
    /// Whether it is in the table `exports`.
    pub recorded: bool,
    /// All rows that could be seen at this time, by the server's clock, are here, but for those that consent has
    /// taken out since.
    pub started_at: String,
    /// Every change of consent that was acknowledged before this time, by the server's clock, is heeded.
    pub consent_watermark: String,
    /// When it was issued, by the server's clock.
    pub created_at: String,
    /// Who made it.
    pub creator: Creator,
    /// How many rows there are.
    pub rows: u64,
    /// How many bytes the shards have.
    pub bytes: u64,
    /// Rows by partition.
    pub partitions: Vec<Partition>,
    /// Rows by the policy that decided on them.
    pub policies: Vec<Policy>,
    /// Rows by the version of the rules that redacted them.
    pub redaction_versions: BTreeMap<String, u64>,
    /// Rows by the values of some columns.
    pub counts: Counts,
    /// The columns.
    pub schema: Vec<Column>,
    /// The files, in the order of the ids.
    pub shards: Vec<Shard>,
}

/// The dataset that another was refreshed from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Parent {
    /// Its id.
    pub export_id: Uuid,
    /// The SHA-256 of its manifest.
    pub manifest_sha256: String,
}

/// Who made a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Creator {
    /// The program and its version.
    pub program: String,
    /// As whom it read.
    pub clickhouse_user: String,
    /// What it read from.
    pub clickhouse_version: String,
}

/// Rows of one partition of `events`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Partition {
    /// The scope.
    pub training_scope: String,
    /// The day of receipt.
    pub day: String,
    /// How many.
    pub rows: u64,
}

/// Rows that one policy decided on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Policy {
    /// The terms of use that the deciding answer was given under; empty where there was none.
    pub policy_version: String,
    /// The SHA-256 of the policy file, whose text is in the table `policies`.
    pub policy_digest: String,
    /// How many.
    pub rows: u64,
}

/// Rows by the values of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counts {
    /// By tenant.
    pub tenant: BTreeMap<String, u64>,
    /// By reason.
    pub eligibility_reason: BTreeMap<String, u64>,
    /// By kind of event.
    pub event_type: BTreeMap<String, u64>,
    /// By language.
    pub language: BTreeMap<String, u64>,
    /// By feature.
    pub feature: BTreeMap<String, u64>,
}

/// A file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Shard {
    /// Where it lies in the folder of the dataset.
    pub file: String,
    /// The event ids that it is of.
    #[serde(flatten)]
    pub range: IdRange,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// Rows of a dataset, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By scope and day.
    pub partitions: BTreeMap<(String, String), u64>,
    /// By version and digest.
    pub policies: BTreeMap<(String, String), u64>,
    /// By version.
    pub redaction_versions: BTreeMap<String, u64>,
    /// By the values of some columns.
    pub counts: Counts,
}

/// Adds to a count, under a name of its own as long as there are not too many.
pub(super) fn add(counts: &mut BTreeMap<String, u64>, value: String, rows: u64) {
    let value =
        if counts.len() < MAX_VALUES || counts.contains_key(&value) { value } else { OTHERS.to_owned() };
    *counts.entry(value).or_default() += rows;
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error("{} is not there, so there is no dataset: an export that was not finished has none", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none.
    #[error("{} is not a manifest of an export", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It says something that cannot be.
    #[error("{} cannot be: {why}", path.display())]
    Impossible {
        /// The file.
        path: PathBuf,
        /// What.
        why: String,
    },
}

impl Manifest {
    /// What a manifest of this form says of itself.
    #[must_use]
    pub fn form() -> (String, u32) {
        (FORMAT.to_owned(), FORMAT_VERSION)
    }

    /// As the bytes of a file.
    ///
    /// # Errors
    /// None that is known of: there are no keys but texts.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Writes it durably, whole or not at all, and gives its SHA-256.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<String, ManifestError> {
        let path = dir.join(MANIFEST_FILE);
        let bytes =
            self.to_bytes().map_err(|source| ManifestError::Malformed { path: path.clone(), source })?;
        write_atomically(&path, &bytes).map_err(|source| ManifestError::Io { path, source })?;
        Ok(sha256_hex(&bytes))
    }

    /// Reads that of a folder, with its SHA-256.
    ///
    /// # Errors
    /// It is not there, is none, or contradicts itself.
    pub fn read(dir: &Path) -> Result<(Self, String), ManifestError> {
        Self::read_file(&dir.join(MANIFEST_FILE))
    }

    /// Reads a file of that kind.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_file(path: &Path) -> Result<(Self, String), ManifestError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ManifestError::Missing { path: path.to_owned() }
            }
            _ => ManifestError::Io { path: path.to_owned(), source },
        };
        let impossible = |why: String| ManifestError::Impossible { path: path.to_owned(), why };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
            return Err(impossible(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|source| ManifestError::Malformed { path: path.to_owned(), source })?;
        manifest.check().map_err(impossible)?;
        Ok((manifest, sha256_hex(&bytes)))
    }

    /// What can be said without looking at the shards.
    fn check(&self) -> Result<(), String> {
        if (self.format.as_str(), self.format_version) != (FORMAT, FORMAT_VERSION) {
            return Err(format!(
                "its format is {:?} {}, and this program knows {FORMAT:?} {FORMAT_VERSION}",
                self.format, self.format_version
            ));
        }
        for shard in &self.shards {
            if !is_shard_name(&shard.file) {
                return Err(format!("{:?} is no name of a shard", shard.file));
            }
        }
        // In a total order without overlaps nothing is left of all ids but what no shard is of.
        let mut next = Some(0);
        for shard in &self.shards {
            if next != Some(shard.range.first.as_u128()) || shard.range.last < shard.range.first {
                return Err(format!("{} does not begin where the one before it ends", shard.file));
            }
            next = shard.range.last.as_u128().checked_add(1);
        }
        if next.is_some() {
            return Err("its shards do not cover all event ids".to_owned());
        }
        let sums = self.shards.iter().try_fold((0_u64, 0_u64), |(rows, bytes), shard| {
            Some((rows.checked_add(shard.rows)?, bytes.checked_add(shard.bytes)?))
        });
        if sums != Some((self.rows, self.bytes)) {
            return Err("its sums are not those of its shards".to_owned());
        }
        Ok(())
    }
}

/// Shards lie in one folder, under names that lead nowhere else.
fn is_shard_name(file: &str) -> bool {
    file.strip_prefix(super::DATA_PREFIX).is_some_and(|name| {
        name.ends_with(".parquet")
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

/// The SHA-256 of some bytes, in hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_lead_nowhere_else() {
        for (name, sound) in [
            ("data/shard-00.parquet", true),
            ("data/../shard.parquet", false),
            ("data/a/b.parquet", false),
            ("/etc/passwd", false),
            ("data/.parquet", false),
            ("data/x.txt", false),
            ("shard.parquet", false),
        ] {
            assert_eq!(is_shard_name(name), sound, "{name}");
        }
    }

    #[test]
    fn values_beyond_number_are_counted_together() {
        let mut counts = BTreeMap::new();
        for n in 0..MAX_VALUES as u64 + 5 {
            add(&mut counts, n.to_string(), 2);
        }
        add(&mut counts, "3".to_owned(), 1);
        assert_eq!((counts.len(), counts[OTHERS], counts["3"]), (MAX_VALUES + 1, 10, 3));
    }
}
