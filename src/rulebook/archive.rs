//! A copy of all rules that ever redacted anything here, in the data folder.
//!
//! ClickHouse may be away while a collector redacts, and still be away when it is restarted as another
//! version. What the older one has spooled is delivered later, and its rules must be known then.
//! Therefore they are copied before the first event is taken.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};

use crate::{
    pipeline::RulesRecord,
    spool::fs::{Fs as _, Real, write_atomically},
};

/// The folder of copies, each named by the SHA-256 of the file.
#[derive(Clone, Debug)]
pub struct RulesArchive {
    dir: PathBuf,
}

/// A copy that cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct ArchiveError {
    /// The copy, or the folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl RulesArchive {
    /// The archive of a data folder. Its folder is made when it is needed.
    #[must_use]
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("redaction-rules") }
    }

    /// Makes durable copies of rules that have none yet. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails. What is redacted by these rules may never become eligible then.
    pub fn keep(&self, records: &[RulesRecord]) -> Result<(), ArchiveError> {
        Real.create_dir(&self.dir).map_err(|source| self.failed(&self.dir, source))?;
        for record in records {
            let copy = serde_json::to_vec(record)
                .map_err(|error| self.failed(&self.dir, io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let path = self.path(&sha256_hex(&copy));
            // One that is damaged is made anew.
            if fs::read(&path).is_ok_and(|there| there == copy) {
                continue;
            }
            write_atomically(&path, &copy).map_err(|source| self.failed(&path, source))?;
        }
        Ok(())
    }

    /// All copies, and the names of those that are damaged. Blocks on the disk.
    pub(super) fn read_all(&self) -> Result<(Vec<RulesRecord>, Vec<String>), ArchiveError> {
        let entries = match Real.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|source| self.failed(&self.dir, source))?,
        };
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for name in entries.iter().filter_map(|entry| entry.name.strip_suffix(".json")) {
            let path = self.path(name);
            let copy = fs::read(&path).map_err(|source| self.failed(&path, source))?;
            match serde_json::from_slice(&copy) {
                Ok(record) if sha256_hex(&copy) == name => records.push(record),
                _ => damaged.push(name.to_owned()),
            }
        }
        Ok((records, damaged))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn failed(&self, path: &Path, source: io::Error) -> ArchiveError {
        ArchiveError { path: path.to_owned(), source }
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str) -> RulesRecord {
        RulesRecord { version: version.to_owned(), digest: "d".to_owned(), body: "b".to_owned() }
    }

    #[test]
    fn rules_are_kept_once_beside_older_ones_and_a_damaged_copy_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let archive = RulesArchive::in_data_dir(&dir.path().join("not/there/yet"));
        archive.keep(&[record("1")]).unwrap();
        archive.keep(&[record("1"), record("2")]).unwrap();
        let (mut records, damaged) = archive.read_all().unwrap();
        records.sort_by(|a, b| a.version.cmp(&b.version));
        assert_eq!((records, damaged.len()), (vec![record("1"), record("2")], 0));

        let copy = serde_json::to_vec(&record("1")).unwrap();
        let forged = String::from_utf8(copy.clone()).unwrap().replace("\"b\"", "\"c\"");
        fs::write(archive.path(&sha256_hex(&copy)), forged).unwrap();
        fs::write(archive.dir.join("notes.txt"), "not a copy").unwrap();
        let (records, damaged) = archive.read_all().unwrap();
        assert_eq!((records, damaged), (vec![record("2")], vec![sha256_hex(&copy)]));
        archive.keep(&[record("1")]).unwrap();
        assert_eq!(archive.read_all().unwrap().0.len(), 2);
    }

    #[test]
    fn a_copy_that_cannot_be_made_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("redaction-rules"), "in the way").unwrap();
        let error = RulesArchive::in_data_dir(dir.path()).keep(&[record("1")]).unwrap_err();
        assert!(error.path.starts_with(dir.path().join("redaction-rules")), "{error}");
    }
}
