//! A file system in memory that fails the way disks do.
//!
//! What was not synced may be lost in a crash: of each file, a prefix of the changes since its last
//! sync survives, the last of them torn or followed by zeros; of the folders, a prefix of the changes
//! in the order they were made, as a journal leaves them. Clones share everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use super::{Entry, File, Fs, Held};

/// The file system.
#[derive(Clone, Debug)]
pub(crate) struct FaultFs {
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    journal: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    /// Writes and syncs until the power is cut.
    fuse: Option<u32>,
    power_off: bool,
    fail_syncs: Option<Errno>,
    fail_set_len: bool,
    no_allocate: bool,
    /// Appends take at most so many bytes at a time.
    short_writes: Option<usize>,
    hold_syncs: bool,
    held_syncs: usize,
    counts: Counts,
}

/// What was asked of the file system so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) appends: u64,
    pub(crate) syncs: u64,
    pub(crate) reads: u64,
    pub(crate) dir_syncs: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
    since_sync: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Append(Vec<u8>),
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

fn eio() -> io::Error {
    Errno::IO.into()
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from((self.0 >> 33) % bound.max(1) as u64).unwrap()
    }
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        self.since_sync.clear();
    }

    fn survive(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let kept = dice.below(self.since_sync.len() + 1);
        for change in &self.since_sync[..kept] {
            match change {
                Change::Append(added) => bytes.extend_from_slice(added),
                Change::SetLen(len) => bytes.truncate(*len),
            }
        }
        if let Some(Change::Append(added)) = self.since_sync.get(kept) {
            bytes.extend_from_slice(&added[..dice.below(added.len() + 1)]);
            if dice.below(4) == 0 {
                // The file grew, and its blocks were never written.
                bytes.resize(bytes.len() + dice.below(100), 0);
            }
        }
        bytes
    }
}

impl FaultFs {
    pub(crate) fn new() -> Self {
        Self { disk: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.disk.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there after a power cut, as another file system: whoever still uses this one has no
    /// part in that one.
    pub(crate) fn crash(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let state = self.state();
        let mut names = state.durable_names.clone();
        for change in &state.journal[..dice.below(state.journal.len() + 1)] {
            change.apply(&mut names);
        }
        let files = state.files.iter().map(|file| file.survive(&mut dice));
        let files: Vec<_> = files
            .map(|bytes| Content { durable: bytes.clone(), now: bytes, since_sync: Vec::new() })
            .collect();
        let dirs = state.dirs.clone();
        let state = State { files, durable_names: names.clone(), names, dirs, ..State::default() };
        Self { disk: Arc::new(Disk { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// What another process finds after a kill: all that was written, synced or not.
    pub(crate) fn kill(&self) -> Self {
        let state = self.state();
        let copy = State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            journal: state.journal.clone(),
            dirs: state.dirs.clone(),
            ..State::default()
        };
        Self { disk: Arc::new(Disk { state: Mutex::new(copy), changed: Condvar::new() }) }
    }

    /// The power goes after so many more changes; nothing works from then on.
    pub(crate) fn cut_power_after(&self, changes: u32) {
        self.state().fuse = Some(changes);
    }

    /// Limits the bytes of all files.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    pub(crate) fn fail_syncs(&self, fail: Option<Errno>) {
        self.state().fail_syncs = fail;
    }

    pub(crate) fn fail_set_len(&self, fail: bool) {
        self.state().fail_set_len = fail;
    }

    /// Files get their blocks by being written to, and by nothing else.
    pub(crate) fn no_allocate(&self) {
        self.state().no_allocate = true;
    }

    pub(crate) fn short_writes(&self, most_bytes: Option<usize>) {
        self.state().short_writes = most_bytes;
    }

    /// Syncs wait until they are let go.
    pub(crate) fn hold_syncs(&self) {
        self.state().hold_syncs = true;
    }

    pub(crate) fn let_syncs_go(&self) {
        self.state().hold_syncs = false;
        self.disk.changed.notify_all();
    }

    /// Waits until a sync is held.
    pub(crate) fn wait_for_held_sync(&self) {
        let state = self.state();
        let waited = self.disk.changed.wait_while(state, |state| state.held_syncs == 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until the folders look as they should; asked after every change of them.
    pub(crate) fn wait_until(&self, looks: impl Fn(&Names<'_>) -> bool) {
        let waited =
            self.disk.changed.wait_while(self.state(), |state| !looks(&Names { names: &state.names }));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(crate) fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut state = self.state();
        let file = state.names[path];
        let at = usize::try_from(offset).unwrap();
        state.files[file].now[at] ^= 1 << bit;
        state.files[file].sync();
    }

    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|file| state.files[*file].now.clone())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let state = self.state();
        state.powered()?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FaultFile { fs: self.clone(), file }))
    }

    fn rename_entry(&self, change: NameChange) -> io::Result<()> {
        let mut state = self.state();
        state.burn()?;
        change.apply(&mut state.names);
        state.journal.push(change);
        drop(state);
        self.disk.changed.notify_all();
        Ok(())
    }
}

/// The files that there are.
pub(crate) struct Names<'a> {
    names: &'a BTreeMap<PathBuf, usize>,
}

impl Names<'_> {
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.names.contains_key(path)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.len() as u64).sum()
    }

    fn powered(&self) -> io::Result<()> {
        if self.power_off { Err(eio()) } else { Ok(()) }
    }

    /// A change: the fuse gets shorter.
    fn burn(&mut self) -> io::Result<()> {
        self.powered()?;
        match &mut self.fuse {
            Some(0) => {
                self.power_off = true;
                Err(eio())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Fs for FaultFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.powered()?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        state.powered()?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(here
            .map(|(path, file)| Entry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                len: state.files[*file].now.len() as u64,
            })
            .collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = {
            let mut state = self.state();
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.powered()?;
            state.files.push(Content::default());
            state.files.len() - 1
        };
        self.rename_entry(NameChange::Add(path.to_owned(), file))?;
        self.open(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        self.rename_entry(NameChange::Remove(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.open(from)?;
        self.rename_entry(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.burn()?;
        state.counts.dir_syncs += 1;
        if let Some(errno) = state.fail_syncs {
            return Err(errno.into());
        }
        let upto = state.journal.iter().rposition(|change| change.touches(dir)).map_or(0, |at| at + 1);
        let changes: Vec<_> = state.journal.drain(..upto).collect();
        for change in changes {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn available_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        state.powered()?;
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let mut state = self.state();
        state.powered()?;
        let free = state.locks.insert(path.to_owned());
        let held = || Box::new(FaultLock { fs: self.clone(), path: path.to_owned() }) as Box<dyn Held>;
        Ok(free.then(held))
    }
}

#[derive(Debug)]
struct FaultLock {
    fs: FaultFs,
    path: PathBuf,
}

impl Held for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.fs.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct FaultFile {
    fs: FaultFs,
    file: usize,
}

impl File for FaultFile {
    fn append(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.burn()?;
        state.counts.appends += 1;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|it| it.iter().copied()).collect();
        if let Some(most) = state.short_writes {
            bytes.truncate(most);
        }
        if let Some(capacity) = state.capacity {
            let left = usize::try_from(capacity.saturating_sub(state.used())).unwrap_or(usize::MAX);
            if left == 0 {
                return Err(Errno::NOSPC.into());
            }
            bytes.truncate(left);
        }
        let file = &mut state.files[self.file];
        file.now.extend_from_slice(&bytes);
        let written = bytes.len();
        file.since_sync.push(Change::Append(bytes));
        Ok(written)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.powered()?;
        state.counts.reads += 1;
        let now = &state.files[self.file].now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(now.len());
        let read = buf.len().min(now.len() - from);
        buf[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.burn()?;
        if state.fail_set_len {
            return Err(eio());
        }
        let len = usize::try_from(len).unwrap();
        let file = &mut state.files[self.file];
        assert!(len <= file.now.len(), "the spool never grows a file without writing to it");
        file.now.truncate(len);
        file.since_sync.push(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.burn()?;
        if state.no_allocate {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let used = state.used();
        let file = &state.files[self.file];
        let missing = usize::try_from(len).unwrap().saturating_sub(file.now.len());
        if state.capacity.is_some_and(|capacity| used + missing as u64 > capacity) {
            return Err(Errno::NOSPC.into());
        }
        let file = &mut state.files[self.file];
        file.now.resize(file.now.len() + missing, 0);
        file.since_sync.push(Change::Append(vec![0; missing]));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.fs.state();
        state.held_syncs += 1;
        self.fs.disk.changed.notify_all();
        let waited = self.fs.disk.changed.wait_while(state, |state| state.hold_syncs);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.held_syncs -= 1;
        state.burn()?;
        state.counts.syncs += 1;
        if let Some(errno) = state.fail_syncs {
            return Err(errno.into());
        }
        state.files[self.file].sync();
        Ok(())
    }
}
