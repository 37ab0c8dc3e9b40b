//! Where a dataset is made, and how it gets to its place at once.
//!
//! ```text
//! OUT                      the dataset; not there before it is whole
//! OUT.partial/             while one is made
//!   lock                   held by who makes it
//!   journal.jsonl          what is done so far
//!   dataset/               what becomes OUT: manifest.json, README.md, data/*.parquet
//! ```
//! A new dataset is renamed to its place. A refreshed one and the old one are exchanged in one step, so that whoever
//! opens OUT finds either the one or the other, whole; the old one is removed after that. A shard's name holds a part of
//! its digest, so what was listed in the one is never opened in the other.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{CARD_FILE, DATA_DIR, DATA_PREFIX, MANIFEST_FILE, Manifest, WITHDRAWN_FILE};

/// A folder in which a dataset is made.
#[derive(Debug)]
pub struct Workplace {
    out: PathBuf,
    partial: PathBuf,
    _lock: File,
}

/// A place that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A path without a name, such as `/` or `..`.
    #[error("{} names no folder that a dataset could become", out.display())]
    Nameless {
        /// The path.
        out: PathBuf,
    },
    /// Something is there already.
    #[error("{} is there already: choose another folder, or bring it up to date with `assent export refresh`", out.display())]
    Taken {
        /// The path.
        out: PathBuf,
    },
    /// Another process makes the same dataset.
    #[error("another export is writing to {}", partial.display())]
    Busy {
        /// Its folder.
        partial: PathBuf,
    },
    /// What is begun there is another dataset.
    #[error(
        "{} holds an export that was begun and not finished, with other options ({begun}): run it again with those, or \
         remove the folder",
        partial.display()
    )]
    Other {
        /// Its folder.
        partial: PathBuf,
        /// What it is of.
        begun: String,
    },
    /// A refresh would remove what it did not make.
    #[error("{} is not part of the dataset, and a refresh would remove it: move it elsewhere", path.display())]
    Foreign {
        /// What.
        path: PathBuf,
    },
    /// The disk fails.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names what was done with which path when it failed.
pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError + use<> {
    let path = path.to_owned();
    move |source| PlaceError::Io { doing, path, source }
}

impl Workplace {
    /// Opens the workplace of a dataset, and takes its lock.
    ///
    /// # Errors
    /// The path has no name, another process is at it, or the disk fails.
    pub fn open(out: &Path) -> Result<Self, PlaceError> {
        let nameless = || PlaceError::Nameless { out: out.to_owned() };
        let name = out.file_name().ok_or_else(nameless)?;
        // Without a slash at the end, which would follow a link.
        let out = out.with_file_name(name);
        let mut partial_name = name.to_owned();
        partial_name.push(".partial");
        let partial = out.with_file_name(partial_name);
        make_private(&partial)?;
        let lock_path = partial.join("lock");
        let lock = File::create(&lock_path).map_err(io_error("opening", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PlaceError::Busy { partial }),
            Err(TryLockError::Error(source)) => return Err(io_error("locking", &lock_path)(source)),
        }
        // Who held it before may have finished and removed the folder meanwhile.
        if !lock_path.exists() {
            return Err(PlaceError::Busy { partial });
        }
        make_private(&partial.join("dataset"))?;
        make_private(&partial.join("dataset").join(DATA_DIR))?;
        Ok(Self { out, partial, _lock: lock })
    }

    /// Where the dataset is to be.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Where the journal lies.
    #[must_use]
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where the dataset is while it is made.
    #[must_use]
    pub fn dataset(&self) -> PathBuf {
        self.partial.join("dataset")
    }

    /// A place must be free for a new dataset: not there, or an empty folder.
    ///
    /// # Errors
    /// Something is there.
    pub fn must_be_free(&self) -> Result<(), PlaceError> {
        match fs::read_dir(&self.out) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(PlaceError::Taken { out: self.out.clone() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(_) => Err(PlaceError::Taken { out: self.out.clone() }),
        }
    }

    /// Removes every file of shards that is not among those.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep_only<'a>(&self, shards: impl Iterator<Item = &'a str>) -> Result<(), PlaceError> {
        let dir = self.dataset().join(DATA_DIR);
        let kept: BTreeSet<&OsStr> =
            shards.filter_map(|file| file.strip_prefix(DATA_PREFIX)).map(OsStr::new).collect();
        for name in names(&dir)? {
            if !kept.contains(name.as_os_str()) {
                let path = dir.join(name);
                fs::remove_file(&path).map_err(io_error("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Puts the dataset in its place: into the free one, or into that of the dataset which it replaces.
    ///
    /// # Errors
    /// The disk fails, or something came into the free place.
    pub fn put_in_place(&self, replaces: bool) -> Result<(), PlaceError> {
        let dataset = self.dataset();
        if replaces {
            let permissions = fs::metadata(&self.out).map_err(io_error("reading", &self.out))?.permissions();
            fs::set_permissions(&dataset, permissions).map_err(io_error("changing", &dataset))?;
            renameat_with(CWD, &dataset, CWD, &self.out, RenameFlags::EXCHANGE)
                .map_err(|error| io_error("exchanging the old dataset for", &dataset)(error.into()))?;
        } else {
            self.must_be_free()?;
            fs::rename(&dataset, &self.out).map_err(io_error("putting in its place", &dataset))?;
        }
        let parent = match self.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        sync_dir(parent)
    }

    /// Removes everything but the dataset that is in its place.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove(self) -> Result<(), PlaceError> {
        fs::remove_dir_all(&self.partial).map_err(io_error("removing", &self.partial))
    }
}

/// Makes the entries of a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), PlaceError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("making durable", dir))
}

/// Texts of people are for who exported them. Whoever wants to share a dataset changes its mode.
fn make_private(dir: &Path) -> Result<(), PlaceError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("making", dir))
}

fn names(dir: &Path) -> Result<Vec<OsString>, PlaceError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(io_error("listing", dir))
}

/// What lies in the folder of a dataset and is not part of it.
///
/// # Errors
/// The disk fails.
pub fn foreign(dir: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, PlaceError> {
    let own = [MANIFEST_FILE, CARD_FILE, DATA_DIR, WITHDRAWN_FILE].map(OsStr::new);
    let shards: BTreeSet<PathBuf> = manifest.shards.iter().map(|shard| PathBuf::from(&shard.file)).collect();
    let beside = names(dir)?.into_iter().filter(|name| !own.contains(&name.as_os_str())).map(PathBuf::from);
    let data = names(&dir.join(DATA_DIR))?.into_iter().map(|name| Path::new(DATA_DIR).join(name));
    let mut foreign: Vec<_> = beside.chain(data.filter(|path| !shards.contains(path))).collect();
    foreign.sort();
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_only_into_a_free_place() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        let place = Workplace::open(&out).unwrap();
        assert!(matches!(Workplace::open(&out), Err(PlaceError::Busy { .. })));
        fs::create_dir(&out).unwrap();
        place.must_be_free().unwrap();
        fs::write(out.join("mine"), b"").unwrap();
        assert!(matches!(place.must_be_free(), Err(PlaceError::Taken { .. })));
        assert!(matches!(place.put_in_place(false), Err(PlaceError::Taken { .. })));
        assert!(out.join("mine").exists());
        for nameless in ["/", "..", ""] {
            assert!(
                matches!(Workplace::open(Path::new(nameless)), Err(PlaceError::Nameless { .. })),
                "{nameless}"
            );
        }
    }

    #[test]
    fn a_dataset_appears_whole_and_is_exchanged_whole() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        for (content, replaces) in [("old", false), ("new", true)] {
            let place = Workplace::open(&out).unwrap();
            for name in ["stray", "kept"] {
                fs::write(place.dataset().join(DATA_DIR).join(name), content).unwrap();
            }
            place.keep_only(["data/kept"].into_iter()).unwrap();
            place.put_in_place(replaces).unwrap();
            place.remove().unwrap();
            assert_eq!(fs::read_to_string(out.join("data/kept")).unwrap(), content);
            assert_eq!(names(&out.join(DATA_DIR)).unwrap(), ["kept"]);
            assert_eq!(names(dir.path()).unwrap(), ["set"]);
        }
    }
}
