//! What an export has done so far, so that one which was killed goes on: `OUT.partial/journal.jsonl`, a JSON object a line,
//! each fsynced before what comes after it is begun.
//!
//! A later line stands above earlier ones: a shard takes the place of all whose ids overlap with its own. A line that
//! was cut off by a crash is no line.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{IdRange, Parent, Shard, query::Selection, range::gaps};

/// The file.
const JOURNAL_FILE: &str = "journal.jsonl";
/// The longest one that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Job {
    /// The dataset's id.
    pub export_id: Uuid,
    /// Which rows.
    pub selection: Selection,
    /// The dataset to refresh.
    pub parent: Option<Parent>,
    /// When it was begun, by the server's clock.
    pub started_at: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Begun(Job),
    /// Whole and fsynced under its name; `reused` when it came from the parent.
    Shard {
        shard: Shard,
        reused: bool,
    },
    /// It must not become part of the dataset.
    Dropped(IdRange),
    /// The manifest is written; what is left is to put the dataset in its place.
    Issued {
        manifest_sha256: String,
    },
}

/// A shard that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The shard.
    pub shard: Shard,
    /// Whether it came from the parent.
    pub reused: bool,
}

/// The journal of one export.
#[derive(Debug)]
pub struct Journal {
    file: File,
    job: Job,
    finished: Vec<Finished>,
    issued: Option<String>,
}

impl Journal {
    /// Goes on with the journal in a folder; none when there is none, or nothing in it.
    ///
    /// # Errors
    /// It cannot be read, or is none ([`io::ErrorKind::InvalidData`]).
    pub fn resume(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(JOURNAL_FILE);
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        (&mut file).take(MAX_BYTES).read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = text[..whole].split_inclusive(|byte| *byte == b'\n');
        let Some(first) = lines.next() else { return Ok(None) };
        let Entry::Begun(job) = serde_json::from_slice(first)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as a journal does"));
        };
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let mut journal = Self { file, job, finished: Vec::new(), issued: None };
        for line in lines {
            journal.apply(serde_json::from_slice(line)?);
        }
        Ok(Some(journal))
    }

    /// Begins one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(dir: &Path, job: Job) -> io::Result<Self> {
        let file = File::create(dir.join(JOURNAL_FILE))?;
        let mut journal = Self { file, job: job.clone(), finished: Vec::new(), issued: None };
        journal.write(Entry::Begun(job))?;
        File::open(dir)?.sync_all()?;
        Ok(journal)
    }

    /// What is to be done.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// The shards that are there, in the order of their ids.
    #[must_use]
    pub fn finished(&self) -> &[Finished] {
        &self.finished
    }

    /// The SHA-256 of the manifest, once it is issued.
    #[must_use]
    pub fn issued(&self) -> Option<&str> {
        self.issued.as_deref()
    }

    /// The ids that no shard is of yet.
    #[must_use]
    pub fn gaps(&self) -> Vec<IdRange> {
        gaps(self.finished.iter().map(|it| it.shard.range))
    }

    /// A shard is whole and durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, shard: Shard, reused: bool) -> io::Result<()> {
        self.write(Entry::Shard { shard, reused })
    }

    /// A shard must not become part of the dataset.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn drop_range(&mut self, range: IdRange) -> io::Result<()> {
        self.write(Entry::Dropped(range))
    }

    /// The manifest is durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn issue(&mut self, manifest_sha256: String) -> io::Result<()> {
        self.write(Entry::Issued { manifest_sha256 })
    }

    fn write(&mut self, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.apply(entry);
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Begun(job) => self.job = job,
            Entry::Shard { shard, reused } => {
                self.finished.retain(|it| !it.shard.range.overlaps(&shard.range));
                let at = self.finished.partition_point(|it| it.shard.range.first < shard.range.first);
                self.finished.insert(at, Finished { shard, reused });
                self.issued = None;
            }
            Entry::Dropped(range) => {
                self.finished.retain(|it| !it.shard.range.overlaps(&range));
                self.issued = None;
            }
            Entry::Issued { manifest_sha256 } => self.issued = Some(manifest_sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::query::Scope;

    fn job() -> Job {
        Job {
            export_id: Uuid::from_u128(7),
            selection: Selection {
                scope: Scope::FirstParty,
                from_day: "2026-01-01".parse().unwrap(),
                to_day: "2026-01-02".parse().unwrap(),
            },
            parent: None,
            started_at: "2026-01-02 00:00:00.000000".to_owned(),
        }
    }

    fn shard(first: u128, last: u128) -> Shard {
        let range = IdRange { first: Uuid::from_u128(first), last: Uuid::from_u128(last) };
        Shard { file: format!("data/{first}.parquet"), range, rows: 1, bytes: 2, sha256: String::new() }
    }

    fn ranges(journal: &Journal) -> Vec<(u128, u128)> {
        let range = |it: &Finished| (it.shard.range.first.as_u128(), it.shard.range.last.as_u128());
        journal.finished().iter().map(range).collect()
    }

    #[test]
    fn what_is_written_is_there_after_a_crash_wherever_the_last_line_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::resume(dir.path()).unwrap().is_none());
        let mut journal = Journal::begin(dir.path(), job()).unwrap();
        journal.add(shard(0, 9), false).unwrap();
        journal.add(shard(10, 19), true).unwrap();
        let before = std::fs::metadata(dir.path().join(JOURNAL_FILE)).unwrap().len() as usize;
        journal.add(shard(20, u128::MAX), false).unwrap();
        drop(journal);
        let path = dir.path().join(JOURNAL_FILE);
        let whole = std::fs::read(&path).unwrap();
        for len in before..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let mut journal = Journal::resume(dir.path()).unwrap().unwrap();
            assert_eq!(ranges(&journal), [(0, 9), (10, 19)]);
            assert!(journal.finished()[1].reused && journal.job() == &job());
            assert_eq!(journal.gaps(), [shard(20, u128::MAX).range]);
            journal.add(shard(20, u128::MAX), false).unwrap();
            assert_eq!(ranges(&Journal::resume(dir.path()).unwrap().unwrap()).len(), 3);
        }
        // Not even the first line.
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(Journal::resume(dir.path()).unwrap().is_none());
        std::fs::write(&path, b"{\"dropped\":{}}\n").unwrap();
        Journal::resume(dir.path()).unwrap_err();
    }

    #[test]
    fn a_shard_takes_the_place_of_those_that_it_overlaps() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(dir.path(), job()).unwrap();
        for (first, last) in [(0, 9), (10, 29), (30, u128::MAX)] {
            journal.add(shard(first, last), false).unwrap();
        }
        journal.issue("digest".to_owned()).unwrap();
        // In two parts, and killed between them.
        journal.add(shard(10, 19), false).unwrap();
        let again = Journal::resume(dir.path()).unwrap().unwrap();
        assert_eq!(ranges(&again), [(0, 9), (10, 19), (30, u128::MAX)]);
        assert_eq!(again.gaps(), [shard(20, 29).range]);
        assert_eq!(again.issued(), None, "what was issued is no longer what is there");
        journal.drop_range(shard(0, 9).range).unwrap();
        assert_eq!(ranges(&Journal::resume(dir.path()).unwrap().unwrap()), [(10, 19), (30, u128::MAX)]);
    }
}
