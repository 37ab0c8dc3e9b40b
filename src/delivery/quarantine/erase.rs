//! Taking the rows of people who were erased out of quarantine.

use std::{io, path::Path};

use super::{QuarantineError, RefusedRows, keep, list};
use crate::{clickhouse::columns, consent::Erased, delivery::proof};

/// What was taken out, and what nobody can say anything of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Rows that were removed.
    pub rows: u64,
    /// Damaged pieces of the spool: no frame can be read from them, so nobody knows whose rows they hold.
    pub damaged_files: u64,
}

/// A quarantine that could not be gone through.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// It cannot be read.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// Rows are not what was written.
    #[error("the rows of {name} in quarantine are damaged, so nobody knows whose they are: remove them")]
    Rows {
        /// Of which entry.
        name: String,
        /// What is wrong.
        source: crate::clickhouse::native::BlockError,
    },
    /// The disk fails or is full.
    #[error("the quarantine cannot be written")]
    Write(#[source] io::Error),
}

/// Removes the rows of people who were erased. An entry is replaced by what is left of it, whole or not at all. Blocks.
///
/// # Errors
/// See [`EraseError`]; what was removed before stays removed.
pub fn erase(dir: &Path, erased: &Erased) -> Result<Erasure, EraseError> {
    let mut done = Erasure { damaged_files: damaged_files(dir).map_err(EraseError::Write)?, rows: 0 };
    for entry in list(dir)? {
        let body = entry.read()?;
        let rows = |source| EraseError::Rows { name: entry.name.clone(), source };
        let taken = columns::find_rows(&body, |(subject, version)| erased.takes(subject, *version));
        let taken: u32 = taken.map_err(rows)?.iter().map(|it| it.end - it.start).sum();
        if taken == 0 {
            continue;
        }
        let left = proof::without_erased(&body, erased).map_err(rows)?;
        if left.is_empty() {
            entry.remove().map_err(EraseError::Write)?;
        } else {
            let reason = RefusedRows { rows: entry.reason.rows.saturating_sub(taken), ..entry.reason };
            keep(dir, None, &reason, &left).map_err(EraseError::Write)?;
        }
        done.rows += u64::from(taken);
    }
    Ok(done)
}

fn damaged_files(dir: &Path) -> io::Result<u64> {
    let files = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    let mut damaged = 0;
    for file in files {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        damaged += u64::from(name.ends_with(".damaged") || name.ends_with(".seg"));
    }
    Ok(damaged)
}
