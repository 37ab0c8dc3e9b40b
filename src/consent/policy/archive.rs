//! A copy of every version that was ever loaded, in the data folder.
//!
//! A stamp names the policy that decided by its digest, so that policy must be found years later. It
//! is recorded in ClickHouse, which may be away when a version is loaded, and still be away when
//! the collector is restarted with another one. Therefore a version is copied, durably, before it
//! comes into force, and the copies are recorded.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Policy, PolicySet, sha256_hex};
use crate::spool::fs::{Fs as _, Real, write_atomically};

/// The folder of copies, each named by its digest.
#[derive(Clone, Debug)]
pub struct PolicyArchive {
    dir: PathBuf,
    changed: Arc<Notify>,
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

impl PolicyArchive {
    /// The archive of a data folder. Its folder is made when it is needed.
    #[must_use]
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("policies"), changed: Arc::default() }
    }

    /// Makes durable copies of versions that have none yet. Blocks on the disk, and must not be
    /// called twice at once.
    ///
    /// # Errors
    /// The disk fails. The versions must not come into force then.
    pub fn keep(&self, set: &PolicySet) -> Result<(), ArchiveError> {
        Real.create_dir(&self.dir).map_err(|source| self.failed(&self.dir, source))?;
        for policy in set.policies() {
            self.keep_one(policy)?;
        }
        Ok(())
    }

    fn keep_one(&self, policy: &Policy) -> Result<(), ArchiveError> {
        let path = self.path(policy.digest());
        // One that is damaged is made anew.
        if fs::read(&path).is_ok_and(|copy| copy == policy.body().as_bytes()) {
            return Ok(());
        }
        write_atomically(&path, policy.body().as_bytes()).map_err(|source| self.failed(&path, source))?;
        self.changed.notify_one();
        Ok(())
    }

    /// Resolves when copies were made since it last did. For one caller.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The digests of all copies. Blocks on the disk.
    pub(super) fn digests(&self) -> Result<Vec<String>, ArchiveError> {
        let entries = Real.list(&self.dir).map_err(|source| self.failed(&self.dir, source))?;
        let digest = |name: &str| {
            let digest = name.strip_suffix(".toml")?;
            let form = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            form.then(|| digest.to_owned())
        };
        Ok(entries.iter().filter_map(|entry| digest(&entry.name)).collect())
    }

    /// A copy's text; `None` when it is damaged. Blocks on the disk.
    pub(super) fn read(&self, digest: &str) -> Result<Option<String>, ArchiveError> {
        let path = self.path(digest);
        let copy = fs::read(&path).map_err(|source| self.failed(&path, source))?;
        Ok((sha256_hex(&copy) == digest).then(|| String::from_utf8(copy).ok()).flatten())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.toml"))
    }

    fn failed(&self, path: &Path, source: io::Error) -> ArchiveError {
        ArchiveError { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_kept_once_and_a_damaged_copy_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let archive = PolicyArchive::in_data_dir(&dir.path().join("not/there/yet"));
        let set = PolicySet::builtin();
        let digest = Policy::builtin().digest().to_owned();
        archive.keep(&set).unwrap();
        archive.keep(&set).unwrap();
        assert_eq!(archive.digests().unwrap(), [digest.as_str()]);
        assert_eq!(archive.read(&digest).unwrap().unwrap(), Policy::builtin().body());
        fs::write(archive.path(&digest), "cut o").unwrap();
        fs::write(archive.dir.join("notes.toml"), "not a copy").unwrap();
        assert_eq!(archive.digests().unwrap(), [digest.as_str()]);
        assert_eq!(archive.read(&digest).unwrap(), None);
        archive.keep(&set).unwrap();
        assert_eq!(archive.read(&digest).unwrap().unwrap(), Policy::builtin().body());
    }

    #[test]
    fn a_copy_that_cannot_be_made_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("policies"), "in the way").unwrap();
        let error = PolicyArchive::in_data_dir(dir.path()).keep(&PolicySet::builtin()).unwrap_err();
        assert!(error.path.starts_with(dir.path().join("policies")), "{error}");
    }
}
