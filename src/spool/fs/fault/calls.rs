//! The calls that the spool makes, with all that can go wrong with them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{
    super::{Entry, File, Fs, Held},
    Call, FaultFs, PoisonError,
    content::{Content, NameChange},
    eio,
};

impl Fs for FaultFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.powered()?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.powered()?;
        state.check(Call::List)?;
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
        self.rename_entry(Call::Create, NameChange::Add(path.to_owned(), file))?;
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
        self.rename_entry(Call::Remove, NameChange::Remove(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.open(from)?;
        let file = self.state().names[from];
        self.rename_entry(Call::Rename, NameChange::Rename(from.to_owned(), to.to_owned(), file))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.burn()?;
        state.counts.dir_syncs += 1;
        state.check(Call::SyncDir)?;
        if let Some(errno) = state.fail_syncs {
            return Err(errno.into());
        }
        // A rename takes what was done to its other folder before with it.
        let mut dirs = BTreeSet::from([dir.to_owned()]);
        let (mut synced, mut left) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut state.journal).into_iter().rev() {
            if change.dirs().any(|it| dirs.contains(it)) {
                dirs.extend(change.dirs().map(Path::to_owned));
                synced.push(change);
            } else {
                left.push(change);
            }
        }
        left.reverse();
        state.journal = left;
        for change in synced.into_iter().rev() {
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
pub(super) struct FaultFile {
    pub(super) fs: FaultFs,
    pub(super) file: usize,
}

impl File for FaultFile {
    fn append(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.burn()?;
        state.check(Call::Append)?;
        state.interrupt()?;
        state.counts.appends += 1;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|it| it.iter().copied()).collect();
        if let Some(most) = state.short_io {
            bytes.truncate(most);
        }
        if let Some(capacity) = state.capacity {
            let left = usize::try_from(capacity.saturating_sub(state.used())).unwrap_or(usize::MAX);
            if left == 0 {
                return Err(Errno::NOSPC.into());
            }
            bytes.truncate(left);
        }
        let written = bytes.len();
        state.files[self.file].append(bytes);
        Ok(written)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.powered()?;
        state.check(Call::Read)?;
        state.interrupt()?;
        state.counts.reads += 1;
        let most = state.short_io.unwrap_or(usize::MAX);
        let now = &state.files[self.file].now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(now.len());
        let read = buf.len().min(now.len() - from).min(most);
        buf[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.burn()?;
        state.check(Call::SetLen)?;
        if state.fail_set_len {
            return Err(eio());
        }
        let len = usize::try_from(len).unwrap();
        let file = &mut state.files[self.file];
        assert!(len <= file.now.len(), "the spool never grows a file without writing to it");
        file.set_len(len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.burn()?;
        state.check(Call::Allocate)?;
        if state.no_allocate {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let used = state.used();
        let file = &state.files[self.file];
        let missing = usize::try_from(len).unwrap().saturating_sub(file.now.len());
        if state.capacity.is_some_and(|capacity| used + missing as u64 > capacity) {
            return Err(Errno::NOSPC.into());
        }
        state.files[self.file].append(vec![0; missing]);
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
        let failed = state.fail_syncs.map(io::Error::from).map_or(Ok(()), Err);
        if let Err(error) = failed.and_then(|()| state.check(Call::Sync)) {
            state.files[self.file].fail_to_sync();
            return Err(error);
        }
        state.files[self.file].sync();
        Ok(())
    }
}
