//! Where a run's data lie.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::progress::say;

/// Where spool and database lie.
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    temporary: Option<TempDir>,
}

impl DataDir {
    pub(crate) fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
            let empty = std::fs::read_dir(path)?.next().is_none();
            ensure!(
                empty,
                "{} is not empty (--data-dir); rows of another run would be counted",
                path.display()
            );
            return Ok(Self { path: path.canonicalize()?, temporary: None });
        }
        // Beside this program is a disk, as a rule; the folder for temporary files often lies in memory.
        let mut builder = tempfile::Builder::new();
        builder.prefix("load-test-");
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
        let folder = match beside.map(|folder| builder.tempdir_in(folder)) {
            Some(Ok(folder)) => folder,
            _ => builder.tempdir().context("cannot create a folder for the data")?,
        };
        Ok(Self { path: folder.path().canonicalize()?, temporary: Some(folder) })
    }

    /// Leaves a temporary folder for whoever wants to know what went wrong.
    pub(crate) fn keep(mut self) {
        if let Some(folder) = self.temporary.take() {
            say(&format!("logs and data are kept in {}", folder.keep().display()));
        }
    }
}
