//! The file operations that the spool needs, as a trait, so that tests can tear them apart.
//!
//! [`Real`] is the operating system. Under test, `fault::FaultFs` is a file system in memory that
//! loses what was not synced, tears writes, runs out of space and fails to sync.

use std::{
    fmt::Debug,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs},
    io::retry_on_intr,
};

#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code))] // Fuzzing needs a part of it.
pub(crate) mod fault;

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) len: u64,
}

/// A lock that holds until it is dropped, or until its process ends.
pub(crate) trait Held: Debug + Send + Sync {}

/// An open file.
pub(crate) trait File: Debug + Send + Sync {
    /// Writes at the end, perhaps not all of it; says how much.
    fn append(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize>;
    /// Reads from an offset, perhaps less than asked for; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file off.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long, all of them with room of their own on the disk. Not every
    /// file system can.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// A file system.
pub(crate) trait Fs: Debug + Send + Sync + 'static {
    /// Makes a folder and what is missing above it, durably. It may be there already.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The plain files of a folder, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Makes a file that must not be there yet.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file to append to it.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file to read it.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file, over another one if need be.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written to the file system that holds a folder.
    fn available_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock on a file, which is made if need be; `None` when it is taken.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

impl Held for fs::File {}

impl File for fs::File {
    fn append(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut file = self;
        io::Write::write_vectored(&mut file, parts)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fallocate(self, FallocateFlags::empty(), 0, len))?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Fs for Real {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
        for folder in missing.iter().rev() {
            // What the spool holds is pseudonymous, not public.
            match fs::DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_dir(parent(folder))?,
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => entries.push(Entry { name, len: metadata.len() }),
                Ok(_) => {}
                // Removed since: `inspect` may look at a spool in use.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).append(true).create_new(true).open(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).append(true).open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        if stat.f_blocks == 0 {
            // Some file systems say nothing; they are not full for that.
            return Ok(u64::MAX);
        }
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // For whoever is refused and wonders who holds it. On a full disk it stays unsaid.
        let _ =
            file.set_len(0).and_then(|()| file.write_all_at(std::process::id().to_string().as_bytes(), 0));
        Ok(Some(Box::new(file)))
    }
}

/// Whether the disk or a quota is full, which passes.
#[must_use]
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Appends two slices in as few calls as the system takes, one as a rule.
pub(super) fn append_all(file: &dyn File, mut head: &[u8], mut tail: &[u8]) -> io::Result<()> {
    while !(head.is_empty() && tail.is_empty()) {
        match file.append(&[io::IoSlice::new(head), io::IoSlice::new(tail)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                let of_head = written.min(head.len());
                head = &head[of_head..];
                tail = &tail[written - of_head..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; says how much.
pub(super) fn read_up_to(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The folder that a path lies in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path beside `path`, for what is not whole yet. It is the same every time, so that what a crash
/// leaves behind does not add up.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    Ok(path.with_file_name(hidden))
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file durably: after a crash it holds what it held before, or all of `bytes`. Two
/// callers must not write the same path at once.
///
/// # Errors
/// The disk fails, or the folder is not there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically_on(&Real, path, bytes)
}

/// [`write_atomically`] on any file system.
pub(super) fn write_atomically_on(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = unfinished(path)?;
    remove_if_there(fs, &tmp)?;
    let file = fs.create_new(&tmp)?;
    append_all(&*file, bytes, &[])?;
    // The content must be there before the name is.
    file.sync_data()?;
    fs.rename(&tmp, path)?;
    fs.sync_dir(parent(path))
}

/// Makes a file that only its owner can read, durably and whole or not at all.
///
/// # Errors
/// It is there already ([`io::ErrorKind::AlreadyExists`]), the disk fails, or the folder is not there.
pub fn write_new_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = unfinished(path)?;
    remove_if_there(&Real, &tmp)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    // A link, unlike a rename, never replaces what another process has made meanwhile.
    let linked = fs::hard_link(&tmp, path);
    fs::remove_file(&tmp)?;
    linked?;
    Real.sync_dir(parent(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(dir.path().join(".state.tmp"), b"of a crash").unwrap();
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(Real.list(dir.path()).unwrap(), [Entry { name: "state".to_owned(), len: 3 }]);
    }

    #[test]
    fn a_private_file_is_the_owners_alone_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_new_private(&path, b"secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = write_new_private(&path, b"other").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
        assert_eq!(Real.list(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn folders_are_made_with_what_is_missing_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        Real.create_dir(&deep).unwrap();
        Real.create_dir(&deep).unwrap();
        assert_eq!(std::fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Real.available_bytes(&deep).unwrap() > 0);
    }

    #[test]
    fn the_lock_is_exclusive_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Real.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(Real.lock(&path).unwrap().is_none());
        drop(held);
        assert!(Real.lock(&path).unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
    }
}
