//! What each person said, 28 bytes a person and little besides.
//!
//! Pseudonyms are as good as random. The first byte picks one of 256 shards, each behind its own
//! lock; the second one of the shard's 256 buckets. A bucket keeps the rest of its pseudonyms
//! sorted and without gaps, and because they are spread evenly, the place of one can be calculated,
//! give or take a few. Pseudonyms that were not random would be found as surely, by more steps.
//!
//! A hash table would have to keep a good part of its slots empty, and twice the memory while it
//! grows; here a bucket grows by a sixteenth, and only one of 65,536 at a time.

use std::{
    cmp::Ordering,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::said::Entry;
use crate::event::SubjectId;

const SHARDS: usize = 256;
const BUCKETS: usize = 256;
/// The bytes of a pseudonym that shard and bucket leave.
const REST_BYTES: usize = 14;

/// How many changes are made before readers of the shard get a turn: some tens of microseconds.
const MAX_UPDATES_AT_ONCE: usize = 128;

type Rest = [u8; REST_BYTES];

/// A person in a bucket. Bytes alone, so that nothing is lost to alignment.
#[derive(Clone, Copy)]
struct Slot {
    rest: Rest,
    entry: Entry,
}

const _: () = assert!(size_of::<Slot>() == 28);

struct Shard {
    buckets: Vec<Vec<Slot>>,
    subjects: usize,
    /// Of all buckets together.
    capacity: usize,
}

/// Everybody who ever said anything.
pub(super) struct SubjectMap {
    shards: Vec<RwLock<Shard>>,
}

impl SubjectMap {
    pub(super) fn new() -> Self {
        let shard = || Shard { buckets: vec![Vec::new(); BUCKETS], subjects: 0, capacity: 0 };
        Self { shards: (0..SHARDS).map(|_| RwLock::new(shard())).collect() }
    }

    /// What a person said.
    pub(super) fn get(&self, subject: &SubjectId) -> Option<Entry> {
        let (shard, bucket, rest) = split(subject);
        let shard = read(&self.shards[shard]);
        let bucket = &shard.buckets[bucket];
        find(bucket, &rest).ok().map(|at| bucket[at].entry)
    }

    /// Changes what a person said; one who is not known has said nothing until then.
    pub(super) fn update(&self, subject: &SubjectId, change: impl FnOnce(&mut Entry)) {
        let (shard, bucket, rest) = split(subject);
        change(write(&self.shards[shard]).entry(bucket, rest));
    }

    /// The same for many people, in any order, and empties the list. Going shard by shard takes each lock
    /// once and lets the processor fetch one person's place while it is at another's.
    pub(super) fn update_all<C>(&self, changes: &mut Vec<(SubjectId, C)>, change: impl Fn(&mut Entry, &C)) {
        let shard_of = |(subject, _): &(SubjectId, C)| split(subject).0;
        changes.sort_unstable_by_key(shard_of);
        for of_shard in changes.chunk_by(|a, b| shard_of(a) == shard_of(b)) {
            for few in of_shard.chunks(MAX_UPDATES_AT_ONCE) {
                let mut shard = write(&self.shards[shard_of(&few[0])]);
                for (subject, it) in few {
                    let (_, bucket, rest) = split(subject);
                    change(shard.entry(bucket, rest), it);
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
        let slots: usize = self.shards.iter().map(|shard| read(shard).capacity).sum();
        let fixed = SHARDS * (size_of::<RwLock<Shard>>() + BUCKETS * size_of::<Vec<Slot>>());
        fixed + slots * size_of::<Slot>()
    }
}

impl Shard {
    /// What a person said, to change it.
    fn entry(&mut self, bucket: usize, rest: Rest) -> &mut Entry {
        let bucket = &mut self.buckets[bucket];
        let at = match find(bucket, &rest) {
            Ok(at) => at,
            Err(at) => {
                if bucket.len() == bucket.capacity() {
                    let before = bucket.capacity();
                    bucket.reserve_exact((before / 16).max(2));
                    self.capacity += bucket.capacity() - before;
                }
                bucket.insert(at, Slot { rest, entry: Entry::default() });
                self.subjects += 1;
                at
            }
        };
        &mut bucket[at].entry
    }
}

/// Shard, bucket, and what is left.
fn split(subject: &SubjectId) -> (usize, usize, Rest) {
    let [shard, bucket, rest @ ..] = *subject.as_bytes();
    (shard.into(), bucket.into(), rest)
}

/// Where the rest of a pseudonym is in a bucket, or where it belongs.
fn find(bucket: &[Slot], rest: &Rest) -> Result<usize, usize> {
    // Evenly spread pseudonyms are mostly no further than this from where they are expected, in buckets
    // of the hundreds that tens of millions of people make. Neighbours are cheaper to look at than
    // anything that has to be fetched from memory first.
    const NEAR: usize = 16;
    let expected = (u128::from(head(rest)) * bucket.len() as u128) >> 64;
    // Below the length, as the factor is below 1.
    let mut at = usize::try_from(expected).unwrap_or(0);
    let less = |slot: &Slot| compare(&slot.rest, rest) == Ordering::Less;
    if bucket.get(at).is_some_and(less) {
        at += 1;
        at += bucket[at..].iter().take(NEAR).take_while(|slot| less(slot)).count();
        if bucket.get(at).is_some_and(less) {
            at += bucket[at..].partition_point(less);
        }
    } else {
        at -= bucket[..at].iter().rev().take(NEAR).take_while(|slot| !less(slot)).count();
        if at > 0 && !less(&bucket[at - 1]) {
            at = bucket[..at].partition_point(less);
        }
    }
    match bucket.get(at) {
        Some(slot) if slot.rest == *rest => Ok(at),
        _ => Err(at),
    }
}

/// Two numbers are compared faster than 14 bytes.
fn compare(a: &Rest, b: &Rest) -> Ordering {
    head(a).cmp(&head(b)).then_with(|| a[8..].cmp(&b[8..]))
}

fn head(rest: &Rest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *rest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn read(lock: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    // A panic in a change leaves the entry as the change left it, and nothing else half done.
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
            (0_u16..300).prop_map(|n| {
                let mut bytes = [7; 16];
                bytes[14..].copy_from_slice(&n.to_be_bytes());
                bytes
            }),
            (0_u16..300).prop_map(|n| {
                let mut bytes = [9; 16];
                bytes[2..4].copy_from_slice(&n.to_be_bytes());
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
            let (one_by_one, at_once) = updates.split_at(updates.len() / 2);
            for (subject, version) in one_by_one {
                map.update(&SubjectId::from_bytes(*subject), |entry| newest(entry, version));
            }
            let mut changes: Vec<_> =
                at_once.iter().map(|(subject, version)| (SubjectId::from_bytes(*subject), *version)).collect();
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

        #[test]
        fn a_place_is_found_in_any_sorted_bucket(
            heads in prop::collection::btree_set(any::<u64>().prop_map(|n| n >> (n % 64)), 0..2_000),
            wanted in any::<u64>().prop_map(|n| n >> (n % 64)),
        ) {
            let rest = |head: u64| {
                let mut rest = [0; REST_BYTES];
                rest[..8].copy_from_slice(&head.to_be_bytes());
                rest
            };
            let bucket: Vec<_> =
                heads.iter().map(|head| Slot { rest: rest(*head), entry: Entry::default() }).collect();
            for head in heads.iter().copied().chain([wanted, 0, u64::MAX]) {
                let expected = bucket.binary_search_by(|slot| slot.rest.cmp(&rest(head)));
                prop_assert_eq!(find(&bucket, &rest(head)), expected);
            }
        }
    }

    #[test]
    fn memory_is_counted() {
        let map = SubjectMap::new();
        let empty = map.bytes();
        map.update(&SubjectId::from_bytes([1; 16]), |_| {});
        let with_one = map.bytes();
        assert!(with_one > empty);
        map.update(&SubjectId::from_bytes([1; 16]), |_| {});
        assert_eq!((map.bytes(), map.subjects()), (with_one, 1));
    }
}
