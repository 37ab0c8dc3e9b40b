//! Rows that ClickHouse refuses for good: kept on disk with the reason beside them, listed and replayed.
//!
//! In `quarantine/` in the spool's folder, where the spool keeps its damaged ranges too:
//!
//! | file | what |
//! |---|---|
//! | `delivery-START-END-FIRST-LAST.native` | rows in ClickHouse's `Native` format, sealed, one block or several. START and END are the positions of the insert that they were planned for, FIRST and LAST their place in it, LAST not included |
//! | the same with `.json` | why they were refused ([`RefusedRows`]). It is written last and removed last: rows without it are those of a try that was cut short and is made again |
//!
//! A program from before rows were looked for one by one left FIRST and LAST out.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::split::RowRange;
use crate::{
    clickhouse::{Error, columns},
    event::Micros,
    spool::{Reserve, fs::write_atomically},
};

mod erase;
mod replay;

pub use erase::{EraseError, Erasure, erase};
pub use replay::{ReplayError, ReplayReport, replay};

/// Why rows are in quarantine, and where they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRows {
    /// The spool that the positions are of.
    #[serde(default)]
    pub spool_id: Option<Uuid>,
    /// Where the insert that they were planned for starts in the spool.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Which of its rows they are; `None` for all of them.
    #[serde(default)]
    pub range: Option<RowRange>,
    /// How many they are.
    pub rows: u32,
    /// The table that refused them.
    pub table: String,
    /// Its columns, as an `INSERT` names them.
    pub columns: String,
    /// ClickHouse's code.
    pub clickhouse_code: Option<u32>,
    /// What it said.
    pub message: String,
    /// When it last refused them, in microseconds since the epoch.
    #[serde(default)]
    pub refused_at: i64,
}

impl RefusedRows {
    pub(super) fn new(
        spool_id: Uuid,
        start: u64,
        end: u64,
        range: RowRange,
        rows: u32,
        error: &Error,
    ) -> Self {
        Self {
            spool_id: Some(spool_id),
            start,
            end,
            range: Some(range),
            rows,
            table: super::insert::TABLE.to_owned(),
            columns: columns::INSERT_COLUMNS.to_owned(),
            clickhouse_code: error.code(),
            message: error.to_string(),
            refused_at: Micros::now().0,
        }
    }

    /// The name of its files, less their endings.
    fn stem(&self) -> String {
        let Self { start, end, .. } = self;
        match self.range {
            Some(RowRange { start: first, end: last }) => {
                format!("delivery-{start:020}-{end:020}-{first:010}-{last:010}")
            }
            None => format!("delivery-{start:020}-{end:020}"),
        }
    }

    /// The token of an insert of these rows: the one that they were refused under, where that is known.
    fn token(&self) -> String {
        match (self.spool_id, self.range) {
            (Some(spool_id), Some(RowRange { start: first, end: last })) => {
                format!("{spool_id}:{}-{}:{first}-{last}", self.start, self.end)
            }
            _ => format!("quarantine:{}", self.stem()),
        }
    }
}

/// Rows in quarantine.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is called on the command line: the name of its files, less their endings.
    pub name: String,
    /// Why it is here.
    pub reason: RefusedRows,
    /// The file of rows.
    pub rows_file: PathBuf,
    /// Its size.
    pub bytes: u64,
    reason_file: PathBuf,
}

/// Quarantine that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// A file, or the folder.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A reason that is none.
    #[error(
        "{path} is not what assent wrote: {source}; if it cannot be mended, move it and its .native file away"
    )]
    Reason {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Keeps rows with their reason, durably; with the room of the spool's reserve, if that is given and the
/// disk is full.
///
/// # Errors
/// The disk fails or is full.
pub(super) fn keep(
    dir: &Path,
    reserve: Option<&Reserve>,
    refused: &RefusedRows,
    body: &[u8],
) -> io::Result<PathBuf> {
    let write = |path: &Path, bytes: &[u8]| match reserve {
        Some(reserve) => reserve.write_atomically(path, bytes),
        None => write_atomically(path, bytes),
    };
    fs::create_dir_all(dir)?;
    let stem = refused.stem();
    let rows = dir.join(format!("{stem}.native"));
    write(&rows, body)?;
    write(&dir.join(format!("{stem}.json")), &serde_json::to_vec_pretty(refused)?)?;
    Ok(rows)
}

/// The rows in quarantine, in the order of their names. None if the folder is not there.
///
/// # Errors
/// The folder or a reason in it cannot be read.
pub fn list(dir: &Path) -> Result<Vec<Entry>, QuarantineError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| QuarantineError::Read { path, source }
    };
    let files = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.map_err(failed(dir))?,
    };
    let mut entries = Vec::new();
    for file in files {
        let reason_file = file.map_err(failed(dir))?.path();
        let Some(name) = reason_file.file_name().and_then(|it| it.to_str()?.strip_suffix(".json")) else {
            continue;
        };
        if !name.starts_with("delivery-") {
            continue;
        }
        let rows_file = reason_file.with_extension("native");
        let bytes = match fs::metadata(&rows_file) {
            // A replay that was cut short between its two removals.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(failed(&rows_file))?.len(),
        };
        let text = fs::read(&reason_file).map_err(failed(&reason_file))?;
        let reason = serde_json::from_slice(&text)
            .map_err(|source| QuarantineError::Reason { path: reason_file.clone(), source })?;
        entries.push(Entry { name: name.to_owned(), reason, rows_file, bytes, reason_file });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

impl Entry {
    /// The rows, in ClickHouse's `Native` format.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, QuarantineError> {
        fs::read(&self.rows_file)
            .map_err(|source| QuarantineError::Read { path: self.rows_file.clone(), source })
    }

    /// Removes it, the rows first. It may be gone already.
    fn remove(&self) -> io::Result<()> {
        for file in [&self.rows_file, &self.reason_file] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.rows_file.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(range: RowRange) -> RefusedRows {
        let error = Error::Server { code: 469, message: "no".to_owned() };
        RefusedRows::new(Uuid::nil(), 100, 250, range, range.len(), &error)
    }

    #[test]
    fn what_is_kept_is_listed_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = dir.path().join("quarantine");
        assert!(list(&quarantine).unwrap().is_empty());
        let (one, two) = (RowRange { start: 3, end: 4 }, RowRange { start: 10, end: 12 });
        keep(&quarantine, None, &refused(two), b"two").unwrap();
        keep(&quarantine, None, &refused(one), b"one").unwrap();
        // Of a try that was cut short, and the spool's own.
        fs::write(quarantine.join("delivery-1-2-0-1.native"), b"half").unwrap();
        fs::write(quarantine.join("spool-1-2.damaged"), b"x").unwrap();
        let entries = list(&quarantine).unwrap();
        assert_eq!(entries.iter().map(|it| it.reason.range).collect::<Vec<_>>(), [Some(one), Some(two)]);
        assert_eq!(entries[0].read().unwrap(), b"one");
        entries[0].remove().unwrap();
        entries[0].remove().unwrap();
        assert_eq!(list(&quarantine).unwrap().len(), 1);
        assert_eq!(entries[1].reason.token(), "00000000-0000-0000-0000-000000000000:100-250:10-12");
    }

    #[test]
    fn the_reasons_of_the_program_before_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let stem = format!("delivery-{:020}-{:020}", 5, 9);
        fs::write(dir.path().join(format!("{stem}.native")), b"rows").unwrap();
        fs::write(
            dir.path().join(format!("{stem}.json")),
            r#"{"start":5,"end":9,"rows":2,"table":"events","columns":"(a)","clickhouse_code":469,"message":"no"}"#,
        )
        .unwrap();
        let entries = list(dir.path()).unwrap();
        assert_eq!((entries[0].reason.rows, entries[0].reason.range), (2, None));
        assert_eq!(entries[0].reason.stem(), stem);
        fs::write(dir.path().join(format!("{stem}.json")), "{}").unwrap();
        assert!(matches!(list(dir.path()), Err(QuarantineError::Reason { .. })));
    }
}
