//! Disk space put by: a file whose blocks are given up when the disk is full, so that delivery's
//! state can still be written. A spool that could not write it would never drain.
//!
//! While the reserve is spent, nothing is appended until it could be made anew
//! ([`Reserve::beside`]): what was given up is for the state, and not for the next event.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    fs::{File, Fs, append_all, is_out_of_space, remove_if_there, write_atomically_on},
    store::guard,
};

/// The file.
pub(super) const RESERVE_FILE: &str = "reserve";
/// The file while it is made. What a crash leaves of it is removed by the next opening.
const UNFINISHED: &str = ".reserve.tmp";
const CHUNK_BYTES: usize = 64 << 10;

/// The space that a spool has put by. Clones are the same reserve.
#[derive(Clone, Debug)]
pub struct Reserve {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// 0: there is none.
    bytes: u64,
    /// The file is not there. Changed only while `file` is held.
    spent: AtomicBool,
    /// Held by whoever writes beside the reserve, and by whoever gives it up until what it was given
    /// up for is written. Otherwise an append could take the room in between.
    gate: Mutex<()>,
    /// Held while the file is made or removed. Taken after `gate`.
    file: Mutex<()>,
}

impl Reserve {
    /// The reserve as it is found. It is not made yet: opening may need its room first.
    pub(super) fn find(fs: &Arc<dyn Fs>, dir: &Path, bytes: u64) -> io::Result<Self> {
        remove_if_there(&**fs, &dir.join(UNFINISHED))?;
        let found = fs.list(dir)?.into_iter().find(|it| it.name == RESERVE_FILE);
        let whole = found.as_ref().is_some_and(|it| it.len == bytes);
        if found.is_some() && (!whole || bytes == 0) {
            fs.remove(&dir.join(RESERVE_FILE))?;
        }
        let inner = Inner {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            bytes,
            spent: AtomicBool::new(!whole && bytes > 0),
            gate: Mutex::new(()),
            file: Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes it, if it is missing and fits. Whether its blocks are there is asked anew also when it
    /// is found: a copy of the folder may have holes.
    pub(super) fn make(&self) -> io::Result<()> {
        let inner = &*self.inner;
        let _file = guard(&inner.file);
        let made = if self.is_spent() { inner.make() } else { inner.fill() };
        match made {
            Err(error) if is_out_of_space(&error) => {
                remove_if_there(&*inner.fs, &inner.dir.join(UNFINISHED))?;
                Ok(())
            }
            made => made,
        }
    }

    /// Makes it anew, if it is missing and the disk has room for twice as much. Blocks.
    pub fn refill(&self) {
        if !self.is_spent() {
            return;
        }
        let inner = &*self.inner;
        match inner.fs.available_bytes(&inner.dir) {
            Ok(available) if available < inner.bytes.saturating_mul(2) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "how much room the spool's disk has cannot be told");
                return;
            }
        }
        self.make_anew();
    }

    /// Says whether it is there.
    fn make_anew(&self) -> bool {
        match self.make() {
            Ok(()) if self.is_spent() => {}
            Ok(()) => tracing::info!(bytes = self.inner.bytes, "the spool's reserve is there again"),
            Err(error) => tracing::warn!(%error, "the spool's reserve cannot be made anew"),
        }
        !self.is_spent()
    }

    /// Whether it was given up, or could not be made.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.inner.spent.load(Ordering::Acquire)
    }

    /// Writes a file durably and whole or not at all, as [`write_atomically`](super::fs::write_atomically)
    /// does. If the disk is full, the reserve is given up for it. Blocks.
    ///
    /// # Errors
    /// The disk fails, or it is full and the reserve is spent or too small.
    pub fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.with(|| write_atomically_on(&*self.inner.fs, path, bytes))
    }

    /// Writes, on a full disk with the room of the reserve. `write` may be called three times.
    pub(super) fn with<T>(&self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if is_out_of_space(&error) => {}
            written => return written,
        }
        let inner = &*self.inner;
        let _gate = guard(&inner.gate);
        self.give_up()?;
        match write() {
            Err(error) if is_out_of_space(&error) => {}
            written => return written,
        }
        // Some file systems hand out the blocks of a removed file only when its removal is durable.
        inner.fs.sync_dir(&inner.dir)?;
        write()
    }

    /// Writes something that may not have the room of the reserve, and nothing while the reserve is
    /// spent and cannot be made anew. `needed` is about how many bytes it takes.
    pub(super) fn beside<T>(&self, needed: u64, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _gate = guard(&self.inner.gate);
        // Whether there is room is asked first since that is cheap. A quota may say no all the same.
        if self.is_spent() && (self.lacks(needed) || !self.make_anew()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        write()
    }

    /// Whether the disk has no room for `needed` bytes beside the reserve. A disk that does not say
    /// is tried.
    pub(super) fn lacks(&self, needed: u64) -> bool {
        let inner = &*self.inner;
        let needed = if self.is_spent() { needed.saturating_add(inner.bytes) } else { needed };
        inner.fs.available_bytes(&inner.dir).is_ok_and(|available| available < needed)
    }

    /// Removes it. The caller holds the gate, or is the only one that writes.
    pub(super) fn give_up(&self) -> io::Result<()> {
        let inner = &*self.inner;
        let _file = guard(&inner.file);
        if inner.bytes == 0 || self.is_spent() {
            return Ok(());
        }
        // If that fails, it is there for the next time.
        remove_if_there(&*inner.fs, &inner.dir.join(RESERVE_FILE))?;
        inner.spent.store(true, Ordering::Release);
        tracing::warn!(
            bytes = inner.bytes,
            dir = %inner.dir.display(),
            "the disk is full; the spool's reserve is given up, and nothing is taken until there is room"
        );
        Ok(())
    }
}

impl Inner {
    fn make(&self) -> io::Result<()> {
        let tmp = self.dir.join(UNFINISHED);
        remove_if_there(&*self.fs, &tmp)?;
        let file = self.fs.create_new(&tmp)?;
        allocate(&*file, self.bytes)?;
        file.sync_data()?;
        self.fs.rename(&tmp, &self.dir.join(RESERVE_FILE))?;
        self.spent.store(false, Ordering::Release);
        self.fs.sync_dir(&self.dir)
    }

    fn fill(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let file = self.fs.open_append(&self.dir.join(RESERVE_FILE))?;
        match file.allocate(self.bytes) {
            Err(error) if !is_out_of_space(&error) => Ok(()),
            Ok(()) => file.sync_data(),
            full => full,
        }
    }
}

/// Gives an empty file blocks of its own, by writing to it where there is no other way. Not zeros:
/// a file system that compresses or leaves holes would keep nothing for them.
fn allocate(file: &dyn File, bytes: u64) -> io::Result<()> {
    match file.allocate(bytes) {
        Err(error) if !is_out_of_space(&error) => {}
        done => return done,
    }
    file.set_len(0)?;
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let chunk: Vec<u8> = std::iter::repeat_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()
        })
        .flatten()
        .take(left.min(CHUNK_BYTES))
        .collect();
        append_all(file, &chunk, &[])?;
        left -= chunk.len();
    }
    Ok(())
}
