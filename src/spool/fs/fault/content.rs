//! What of a file and of the folders is durable, and what of the rest survives a crash.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) durable: Vec<u8>,
    pub(super) now: Vec<u8>,
    pub(super) since_sync: Vec<Change>,
    /// What a sync failed to write, and no later one will.
    pub(super) unwritten: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(Vec<u8>),
    SetLen(usize),
}

/// A change of folders; it survives a crash as a whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }

    pub(super) fn dirs(&self) -> impl Iterator<Item = &Path> {
        let (one, other) = match self {
            Self::Add(path, _) | Self::Remove(path) => (path, None),
            Self::Rename(from, to, _) => (from, Some(to)),
        };
        [Some(one), other].into_iter().flatten().filter_map(|it| it.parent())
    }
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from((self.0 >> 33) % bound.max(1) as u64).unwrap()
    }
}

impl Content {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, since_sync: Vec::new(), unwritten: Vec::new() }
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.now.truncate(len);
        self.since_sync.push(Change::SetLen(len));
        self.unwritten.retain_mut(|it| {
            it.end = it.end.min(len);
            it.start < it.end
        });
    }

    pub(super) fn append(&mut self, bytes: Vec<u8>) {
        self.now.extend_from_slice(&bytes);
        self.since_sync.push(Change::Append(bytes));
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.now);
        for range in &self.unwritten {
            self.durable[range.clone()].fill(0);
        }
        self.since_sync.clear();
    }

    /// The system forgets that these pages were to be written.
    pub(super) fn fail_to_sync(&mut self) {
        let written = self.written_before();
        if written < self.now.len() {
            self.unwritten.push(written..self.now.len());
        }
    }

    /// Up to where the content is what was synced last.
    pub(super) fn written_before(&self) -> usize {
        let cut = self.since_sync.iter().filter_map(|it| match it {
            Change::SetLen(len) => Some(*len),
            Change::Append(_) => None,
        });
        cut.chain([self.durable.len(), self.now.len()]).min().unwrap_or(0)
    }

    pub(super) fn survive(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = if dice.below(2) == 0 { self.prefix(dice) } else { self.pages(dice) };
        for range in &self.unwritten {
            if let Some(lost) = bytes.get_mut(range.start..) {
                let len = lost.len().min(range.len());
                lost[..len].fill(0);
            }
        }
        bytes
    }

    pub(super) fn prefix(&self, dice: &mut Dice) -> Vec<u8> {
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

    /// The length as it is, and any of the pages that were not synced.
    pub(super) fn pages(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.now.clone();
        let page = [16, 64, 512][dice.below(3)];
        let mut at = self.written_before();
        while at < bytes.len() {
            let end = ((at / page + 1) * page).min(bytes.len());
            if dice.below(2) == 0 {
                for (offset, byte) in bytes[at..end].iter_mut().enumerate() {
                    *byte = self.durable.get(at + offset).copied().unwrap_or(0);
                }
            }
            at = end;
        }
        bytes
    }
}
