//! A file system in memory that fails the way disks do.
//!
//! What was not synced may be lost in a crash. Of each file, a prefix of the changes since its last
//! sync survives, the last of them torn or followed by zeros, or all of the length and any of the
//! pages. Of the folders, a prefix of the changes in the order they were made, as a journal leaves
//! them, or any of them. What a sync failed to write is never written, though it can be read, and the
//! next sync succeeds. Clones share everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use super::File;

mod calls;
mod content;

use calls::FaultFile;
use content::{Content, Dice, NameChange};

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
    fault: Option<Fault>,
    fail_set_len: bool,
    no_allocate: bool,
    /// Appends and reads take at most so many bytes at a time.
    short_io: Option<usize>,
    /// Every other append and read is interrupted.
    interrupt: bool,
    calls: u64,
    hold_syncs: bool,
    held_syncs: usize,
    counts: Counts,
}

/// An operation that can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Create,
    Remove,
    Rename,
    SyncDir,
    Append,
    Read,
    SetLen,
    Allocate,
    Sync,
}

impl Call {
    pub(crate) const ALL: [Self; 10] = [
        Self::List,
        Self::Create,
        Self::Remove,
        Self::Rename,
        Self::SyncDir,
        Self::Append,
        Self::Read,
        Self::SetLen,
        Self::Allocate,
        Self::Sync,
    ];
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    call: Call,
    skip: u32,
    errno: Errno,
}

/// What was asked of the file system so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) appends: u64,
    pub(crate) syncs: u64,
    pub(crate) reads: u64,
    pub(crate) dir_syncs: u64,
}

fn eio() -> io::Error {
    Errno::IO.into()
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
        let in_order = dice.below(2) == 0;
        let first = dice.below(state.journal.len() + 1);
        for (at, change) in state.journal.iter().enumerate() {
            if if in_order { at < first } else { dice.below(2) == 0 } {
                change.apply(&mut names);
            }
        }
        let files = state.files.iter().map(|file| Content::of(file.survive(&mut dice))).collect();
        let (dirs, capacity) = (state.dirs.clone(), state.capacity);
        let state = State { files, durable_names: names.clone(), names, dirs, capacity, ..State::default() };
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
            capacity: state.capacity,
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

    /// Appends and reads take at most so many bytes at a time, and are interrupted all the time.
    pub(crate) fn short_io(&self, most_bytes: Option<usize>) {
        let mut state = self.state();
        state.short_io = most_bytes;
        state.interrupt = most_bytes.is_some();
    }

    /// After so many more calls of this kind, one fails.
    pub(crate) fn fail_once(&self, call: Call, skip: u32, errno: Errno) {
        self.state().fault = Some(Fault { call, skip, errno });
    }

    /// All works again, but for the power.
    pub(crate) fn repair(&self) {
        let mut state = self.state();
        (state.fault, state.fail_syncs, state.fail_set_len) = (None, None, false);
    }

    /// Whether there is something that a sync failed to write.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.state().files.iter().any(|it| !it.unwritten.is_empty())
    }

    /// All files, and their lengths.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        state.names.iter().map(|(path, file)| (path.clone(), state.files[*file].now.len() as u64)).collect()
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
        let content = &mut state.files[file];
        content.now[at] ^= 1 << bit;
        if at < content.written_before() {
            content.durable[at] ^= 1 << bit;
        } else {
            content.sync();
        }
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

    fn rename_entry(&self, call: Call, change: NameChange) -> io::Result<()> {
        let mut state = self.state();
        state.burn()?;
        state.check(call)?;
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

    /// Fails if it is this call's turn to.
    fn check(&mut self, call: Call) -> io::Result<()> {
        match &mut self.fault {
            Some(fault) if fault.call == call && fault.skip > 0 => fault.skip -= 1,
            Some(fault) if fault.call == call => {
                let errno = fault.errno;
                self.fault = None;
                return Err(errno.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn interrupt(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.interrupt && self.calls.is_multiple_of(2) { Err(Errno::INTR.into()) } else { Ok(()) }
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
