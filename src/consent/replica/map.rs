//! What each person said, in about 31 bytes a person, and one trip to memory a look-up.
//!
//! Pseudonyms are as good as random. The first byte picks one of 256 shards, each behind its own
//! lock; the rest, taken as a fraction, says where in the shard's slots its place is. A slot that is
//! taken already pushes the later one on: a shard is sorted, each slot is at its place or behind it,
//! and there is no empty slot in between (linear probing in the order of the keys). So a look-up goes
//! to the place and counts how many of the next slots are smaller. Pseudonyms that were not random
//! would be found as surely, by more steps.
//!
//! Only a tenth of the slots is empty, where a usual hash table has up to half of them empty, and a
//! shard grows by an eighteenth, one of 256 at a time.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::said::{Entry, PackedEntry};
use crate::event::SubjectId;

const SHARDS: usize = 256;
/// The bytes of a pseudonym that the shard leaves.
const KEY_BYTES: usize = 15;
/// Slots behind the last place, for those who are pushed on.
const MARGIN: usize = 32;
/// The fewest places of a shard.
const MIN_PLACES: usize = 16;

/// How many changes are made before readers of the shard get a turn: some tens of microseconds.
const MAX_UPDATES_AT_ONCE: usize = 128;

/// A shard is written anew when there is a change for so many of its people, or a larger part.
const MERGE_FRACTION: usize = 16;

/// In a hundredth: the fullest that a shard may be. More, and many would be pushed far.
const MAX_LOAD: usize = 93;
/// How full it is after it was written anew.
const LOAD: usize = 91;

type Key = [u8; KEY_BYTES];

/// The key of an empty slot: it sorts behind all others.
const EMPTY: Key = [u8::MAX; KEY_BYTES];

/// A person in a shard. Bytes alone, so that nothing is lost to alignment.
#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    entry: PackedEntry,
}

const _: () = assert!(size_of::<Slot>() == 28);

struct Shard {
    slots: Vec<Slot>,
    /// How many places there are; the slots are a few more.
    places: usize,
    subjects: usize,
    /// Whoever has the key that stands for nobody.
    of_empty: Option<Entry>,
}

/// Everybody who ever said anything.
pub(super) struct SubjectMap {
    shards: Vec<RwLock<Shard>>,
}

impl SubjectMap {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::new(Shard::with_places(MIN_PLACES))).collect() }
    }

    /// What a person said.
    pub(super) fn get(&self, subject: &SubjectId) -> Option<Entry> {
        let (shard, key) = split(subject);
        read(&self.shards[shard]).get(&key)
    }

    /// Changes what a person said; one who is not known has said nothing until then.
    pub(super) fn update(&self, subject: &SubjectId, change: impl FnOnce(&mut Entry)) {
        let (shard, key) = split(subject);
        write(&self.shards[shard]).update(&key, change);
    }

    /// The same for many people, in any order, and empties the list. Each shard's lock is taken once, or
    /// once for every few; one that changes a good deal is written anew, which is faster than making
    /// room for each.
    pub(super) fn update_all<C>(&self, changes: &mut Vec<(SubjectId, C)>, change: impl Fn(&mut Entry, &C)) {
        changes.sort_unstable_by_key(|(subject, _)| u128::from_be_bytes(*subject.as_bytes()));
        let shard_of = |(subject, _): &(SubjectId, C)| split(subject).0;
        for of_shard in changes.chunk_by(|a, b| shard_of(a) == shard_of(b)) {
            let lock = &self.shards[shard_of(&of_shard[0])];
            if of_shard.len() * MERGE_FRACTION >= read(lock).subjects {
                write(lock).merge(of_shard, &change);
                continue;
            }
            for few in of_shard.chunks(MAX_UPDATES_AT_ONCE) {
                let mut shard = write(lock);
                for (subject, it) in few {
                    shard.update(&split(subject).1, |entry| change(entry, it));
                }
            }
        }
        changes.clear();
    }

    /// How many people there are.
    pub(super) fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).subjects).sum()
    }

    /// How much memory they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| read(shard).slots.capacity()).sum();
        SHARDS * size_of::<RwLock<Shard>>() + slots * size_of::<Slot>()
    }
}

impl Shard {
    fn with_places(places: usize) -> Self {
        let slots = vec![Slot::EMPTY; places + MARGIN];
        Self { slots, places, subjects: 0, of_empty: None }
    }

    fn get(&self, key: &Key) -> Option<Entry> {
        match self.find(key) {
            _ if *key == EMPTY => self.of_empty,
            Ok(at) => Some(self.slots[at].entry.into()),
            Err(_) => None,
        }
    }

    fn update(&mut self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if *key == EMPTY {
            self.subjects += usize::from(self.of_empty.is_none());
            return change(self.of_empty.get_or_insert_default());
        }
        let at = match self.find(key) {
            Ok(at) => at,
            Err(at) => self.insert(at, *key),
        };
        let slot = &mut self.slots[at];
        let mut entry = slot.entry.into();
        change(&mut entry);
        slot.entry = entry.into();
    }

    /// Where somebody is, or belongs.
    fn find(&self, key: &Key) -> Result<usize, usize> {
        /// Most are not pushed on further than this, so that most look-ups are one round, whose
        /// slots all come from memory at once.
        const WINDOW: usize = 8;
        let head = head(key);
        let mut at = place(head, self.places);
        loop {
            let window = &self.slots[at..self.slots.len().min(at + WINDOW)];
            let less: usize = window.iter().map(|slot| usize::from(self::head(&slot.key) < head)).sum();
            at += less;
            if less < WINDOW {
                break;
            }
        }
        // Two heads are hardly ever the same, so that this is one round. What is the same is found out
        // faster than what is less.
        while let Some(slot) = self.slots.get(at) {
            if slot.key == *key {
                return Ok(at);
            }
            if slot.key > *key {
                break;
            }
            at += 1;
        }
        Err(at)
    }

    /// Puts somebody in who belongs there, and has said nothing yet.
    fn insert(&mut self, mut at: usize, key: Key) -> usize {
        if self.subjects * 100 >= self.places * MAX_LOAD {
            self.grow();
            at = self.find(&key).unwrap_or_else(|belongs| belongs);
        }
        let behind = self.slots[at..].iter().position(Slot::is_empty);
        let end = at + behind.unwrap_or_else(|| self.slots.len() - at);
        if end == self.slots.len() {
            self.slots.reserve_exact(MARGIN);
            self.slots.resize(end + MARGIN, Slot::EMPTY);
        }
        self.slots.copy_within(at..end, at + 1);
        self.slots[at] = Slot { key, ..Slot::EMPTY };
        self.subjects += 1;
        at
    }

    fn grow(&mut self) {
        let places = self.places + (self.places / 18).max(4);
        self.slots = lay_out(self.occupied(), places);
        self.places = places;
    }

    /// Makes changes, which come in the order of the subjects, in one go through all slots.
    fn merge<C>(&mut self, changes: &[(SubjectId, C)], change: impl Fn(&mut Entry, &C)) {
        let mut people = Vec::with_capacity(self.subjects + changes.len());
        let mut before = self.occupied().peekable();
        let mut of_empty = self.of_empty;
        for of_one in changes.chunk_by(|a, b| a.0 == b.0) {
            let (_, key) = split(&of_one[0].0);
            let apply = |entry: &mut Entry| of_one.iter().for_each(|(_, it)| change(entry, it));
            if key == EMPTY {
                apply(of_empty.get_or_insert_default());
                continue;
            }
            while let Some(slot) = before.next_if(|slot| slot.key < key) {
                people.push(slot);
            }
            let known = before.next_if(|slot| slot.key == key);
            let mut entry = known.map(|slot| slot.entry.into()).unwrap_or_default();
            apply(&mut entry);
            people.push(Slot { key, entry: entry.into() });
        }
        people.extend(before);
        let places = self.places.max(people.len() * 100 / LOAD);
        self.subjects = people.len() + usize::from(of_empty.is_some());
        self.slots = lay_out(people.into_iter(), places);
        (self.places, self.of_empty) = (places, of_empty);
    }

    fn occupied(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().filter(|slot| !slot.is_empty()).copied()
    }
}

/// People in the order of their keys, each at their place, or behind the one before.
fn lay_out(people: impl Iterator<Item = Slot>, places: usize) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(places + MARGIN);
    for slot in people {
        let at = place(head(&slot.key), places).max(slots.len());
        slots.resize(at, Slot::EMPTY);
        slots.push(slot);
    }
    slots.resize(slots.len().max(places + MARGIN), Slot::EMPTY);
    slots
}

impl Slot {
    const EMPTY: Self = Self { key: EMPTY, entry: PackedEntry::NOTHING };

    fn is_empty(&self) -> bool {
        self.key == EMPTY
    }
}

/// Shard, and what is left.
fn split(subject: &SubjectId) -> (usize, Key) {
    let [shard, key @ ..] = *subject.as_bytes();
    (shard.into(), key)
}

/// Numbers are compared faster than bytes.
fn head(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The place of a head: below `places`, as the factor is below 1.
fn place(head: u64, places: usize) -> usize {
    usize::try_from((u128::from(head) * places as u128) >> 64).unwrap_or(0)
}

fn read(lock: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    // A panic in a change leaves the entry as it was, and nothing else half done.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(lock: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::consent::{ConsentState, Source, replica::said::Said};

    /// Random pseudonyms, and others that are anything but: few different bytes, all in one bucket.
    fn subject() -> impl Strategy<Value = [u8; 16]> {
        prop_oneof![
            any::<[u8; 16]>(),
            prop::array::uniform16(prop_oneof![Just(0), Just(1), Just(255)]),
            Just([u8::MAX; 16]),
            // The end of a shard.
            (0_u16..300).prop_map(|n| {
                let mut bytes = [u8::MAX; 16];
                bytes[12..14].copy_from_slice(&n.to_be_bytes());
                bytes
            }),
            (0_u16..300).prop_map(|n| {
                let mut bytes = [7; 16];
                bytes[14..].copy_from_slice(&n.to_be_bytes());
                bytes
            }),
            (0_u16..300).prop_map(|n| {
                let mut bytes = [9; 16];
                bytes[4..6].copy_from_slice(&n.to_be_bytes());
                bytes
            }),
        ]
    }

    fn said(version: u32) -> Said {
        Said::new(version, ConsentState::Granted, Source::UserSetting, 3)
    }

    fn newest(entry: &mut Entry, version: &u32) {
        entry[1] = said((*version).max(entry[1].version()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn it_holds_what_a_hash_map_would(
            updates in prop::collection::vec((subject(), any::<u32>()), 0..600),
            others in prop::collection::vec(subject(), 0..50),
        ) {
            let map = SubjectMap::new();
            let mut model: HashMap<_, u32> = HashMap::new();
            // The first of the lists meets an empty map, the others people, few changes among them and many.
            let (at_first, others_of) = updates.split_at(updates.len() / 3);
            let (one_by_one, at_once) = others_of.split_at(others_of.len() / 2);
            let changes_of = |part: &[([u8; 16], u32)]| -> Vec<_> {
                part.iter().map(|(subject, version)| (SubjectId::from_bytes(*subject), *version)).collect()
            };
            map.update_all(&mut changes_of(at_first), newest);
            for (subject, version) in one_by_one {
                map.update(&SubjectId::from_bytes(*subject), |entry| newest(entry, version));
            }
            let mut changes = changes_of(at_once);
            map.update_all(&mut changes, newest);
            prop_assert!(changes.is_empty());
            for (subject, version) in &updates {
                let known = model.entry(*subject).or_default();
                *known = (*version).max(*known);
            }
            prop_assert_eq!(map.subjects(), model.len());
            for subject in updates.iter().map(|(subject, _)| subject).chain(&others) {
                let expected = model.get(subject).map(|version| [Said::default(), said(*version)]);
                prop_assert_eq!(map.get(&SubjectId::from_bytes(*subject)), expected);
            }
        }
    }

    #[test]
    fn many_take_little_more_than_their_slots() {
        let map = SubjectMap::new();
        let count = 200_000_u64;
        for n in 0..count {
            let mut bytes = [0; 16];
            // A permutation that looks random, in both halves.
            bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).to_be_bytes());
            bytes[8..].copy_from_slice(&n.to_be_bytes());
            map.update(&SubjectId::from_bytes(bytes), |entry| newest(entry, &7));
        }
        assert_eq!(map.subjects() as u64, count);
        let bytes = map.bytes() as u64;
        assert!(bytes > count * 29 && bytes < count * 36, "{}", bytes / count);
    }

    #[test]
    fn memory_is_counted() {
        let map = SubjectMap::new();
        let empty = map.bytes();
        for n in 0..200 {
            map.update(&SubjectId::from_bytes([n; 16]), |_| {});
            map.update(&SubjectId::from_bytes([n; 16]), |_| {});
        }
        assert_eq!((map.bytes(), map.subjects()), (empty, 200), "one in each shard needs no more");
    }
}
