//! Columns, gathered value by value and written at once.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::form;

/// Appends a number as LEB128.
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a text with its length in front.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The 16 bytes of a UUID as ClickHouse stores them: two numbers of 64 bits, the first half first.
#[must_use]
pub fn uuid_bytes(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..8].reverse();
    bytes[8..].reverse();
    bytes
}

/// A column whose values are gathered until the block is finished.
pub trait Column {
    /// Appends the values to a block, and starts anew. `rows` were gathered.
    fn drain_into(&mut self, out: &mut Vec<u8>, rows: usize);

    /// Adds the values of another, after those that are here.
    fn append(&mut self, other: &Self)
    where
        Self: Sized;

    /// Forgets the values, and keeps the memory.
    fn clear(&mut self);

    /// About how many bytes that would be.
    fn len_bytes(&self) -> usize;
}

/// Values of fixed width, `String`s included: whatever is stored one value after the other.
#[derive(Debug, Default)]
pub struct Plain(Vec<u8>);

impl Plain {
    /// Adds a value of one byte: `UInt8`, `Int8`, `Bool`, `Enum8`.
    pub fn push_byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Adds a value of fixed width, little-endian.
    pub fn push<const N: usize>(&mut self, value: [u8; N]) {
        self.0.extend_from_slice(&value);
    }

    /// How many bytes there is memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Adds a `String`.
    pub fn push_string(&mut self, text: &str) {
        put_string(&mut self.0, text);
    }
}

impl Column for Plain {
    fn drain_into(&mut self, out: &mut Vec<u8>, _rows: usize) {
        out.append(&mut self.0);
    }

    fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

/// `LowCardinality(String)`: the distinct values, and an index into them per row.
#[derive(Debug, Default)]
pub struct LowCardinality {
    /// The index of each key, found by the key's hash.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The keys, each with its length in front.
    keys: Vec<u8>,
    /// Where the text of each key starts and ends there.
    spans: Vec<(u32, u32)>,
    indexes: Vec<u32>,
    /// While another is appended: our index of each of its keys.
    index_of_other: Vec<u32>,
}

/// Appends the part of a `LowCardinality` column that comes once, before anything else of it.
pub(super) fn put_low_cardinality_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&form::VERSION.to_le_bytes());
}

/// Appends the rest of it: `count` keys, each with its length in front, and an index into them per
/// row.
pub(super) fn put_low_cardinality(out: &mut Vec<u8>, count: usize, keys: &[u8], indexes: &[u32]) {
    // The reader takes nothing for no values, not even flags.
    if indexes.is_empty() {
        return;
    }
    let width: u64 = match count {
        0..=0x100 => 0,
        0x101..=0x1_0000 => 1,
        _ => 2,
    };
    out.extend_from_slice(&(form::HAS_OWN_KEYS | form::REPLACES_KEYS | width).to_le_bytes());
    out.extend_from_slice(&(count as u64).to_le_bytes());
    out.extend_from_slice(keys);
    out.extend_from_slice(&(indexes.len() as u64).to_le_bytes());
    match width {
        0 => out.extend(indexes.iter().map(|&index| index as u8)),
        1 => out.extend(indexes.iter().flat_map(|&index| (index as u16).to_le_bytes())),
        _ => out.extend(indexes.iter().flat_map(|&index| index.to_le_bytes())),
    }
}

impl LowCardinality {
    /// Adds a value.
    pub fn push(&mut self, value: &str) {
        let index = match self.indexes.last() {
            // Most rows have the value of the row before.
            Some(&last) if self.key(last) == value.as_bytes() => last,
            _ => self.index_of(value.as_bytes()),
        };
        self.indexes.push(index);
    }

    fn key(&self, index: u32) -> &[u8] {
        let (start, end) = self.spans[index as usize];
        &self.keys[start as usize..end as usize]
    }

    fn index_of(&mut self, value: &[u8]) -> u32 {
        let Self { table, hasher, keys, spans, .. } = self;
        let key =
            |keys: &[u8], (start, end): (u32, u32)| hasher.hash_one(&keys[start as usize..end as usize]);
        let is_it = |&index: &u32| {
            let (start, end) = spans[index as usize];
            &keys[start as usize..end as usize] == value
        };
        let hash = hasher.hash_one(value);
        if let Some(&index) = table.find(hash, is_it) {
            return index;
        }
        // A block has fewer than 2^32 rows, and so fewer keys, and fewer bytes of keys than a frame has.
        let index = spans.len() as u32;
        table.insert_unique(hash, index, |&index| key(keys, spans[index as usize]));
        put_varint(keys, value.len() as u64);
        let start = keys.len() as u32;
        keys.extend_from_slice(value);
        spans.push((start, keys.len() as u32));
        index
    }

    /// Adds the rows of a column that was written, by its keys and by an index into them for each row.
    pub(super) fn push_all<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
        indexes: impl Iterator<Item = usize>,
    ) {
        let mut index_of_key = std::mem::take(&mut self.index_of_other);
        index_of_key.clear();
        index_of_key.extend(keys.map(|key| self.index_of(key)));
        self.indexes.extend(indexes.map(|index| index_of_key[index]));
        self.index_of_other = index_of_key;
    }

    pub(super) fn drain_values(&mut self, out: &mut Vec<u8>) {
        put_low_cardinality(out, self.spans.len(), &self.keys, &self.indexes);
        self.clear();
    }
}

impl Column for LowCardinality {
    fn drain_into(&mut self, out: &mut Vec<u8>, rows: usize) {
        debug_assert_eq!(self.indexes.len(), rows);
        put_low_cardinality_prefix(out);
        self.drain_values(out);
    }

    fn append(&mut self, other: &Self) {
        let mut index_of_other = std::mem::take(&mut self.index_of_other);
        index_of_other.clear();
        index_of_other.extend((0..other.spans.len() as u32).map(|index| self.index_of(other.key(index))));
        self.indexes.extend(other.indexes.iter().map(|&index| index_of_other[index as usize]));
        self.index_of_other = index_of_other;
    }

    fn clear(&mut self) {
        self.table.clear();
        self.keys.clear();
        self.spans.clear();
        self.indexes.clear();
    }

    fn len_bytes(&self) -> usize {
        self.keys.len() + self.indexes.len()
    }
}

/// `Map(LowCardinality(String), UInt16)`: counts by name.
#[derive(Debug, Default)]
pub struct CountMap {
    ends: Vec<u8>,
    keys: LowCardinality,
    values: Vec<u8>,
}

impl CountMap {
    /// Adds a row.
    pub fn push<'a>(&mut self, entries: impl IntoIterator<Item = (&'a str, u16)>) {
        for (key, value) in entries {
            self.keys.push(key);
            self.values.extend_from_slice(&value.to_le_bytes());
        }
        self.ends.extend_from_slice(&(self.keys.indexes.len() as u64).to_le_bytes());
    }
}

impl Column for CountMap {
    fn drain_into(&mut self, out: &mut Vec<u8>, _rows: usize) {
        put_low_cardinality_prefix(out);
        out.append(&mut self.ends);
        self.keys.drain_values(out);
        out.append(&mut self.values);
    }

    fn append(&mut self, other: &Self) {
        let entries = self.keys.indexes.len() as u64;
        let ends =
            other.ends.as_chunks().0.iter().map(|end| (u64::from_le_bytes(*end) + entries).to_le_bytes());
        self.ends.extend(ends.flatten());
        self.keys.append(&other.keys);
        self.values.extend_from_slice(&other.values);
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.keys.clear();
        self.values.clear();
    }

    fn len_bytes(&self) -> usize {
        self.ends.len() + self.keys.len_bytes() + self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(column: &mut dyn Column, rows: usize) -> Vec<u8> {
        let mut out = Vec::new();
        column.drain_into(&mut out, rows);
        out
    }

    #[test]
    fn varints_are_leb128() {
        for (n, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (300, vec![0xac, 2])] {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            assert_eq!(out, bytes, "{n}");
        }
    }

    #[test]
    fn a_value_of_low_cardinality_is_kept_once() {
        let mut column = LowCardinality::default();
        for value in ["en", "en", "de", "en"] {
            column.push(value);
        }
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0, 6, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"\x02en\x02de");
        expected.extend([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(drained(&mut column, 4), expected);
        // It starts anew: the next block knows nothing of this one.
        column.push("de");
        assert!(drained(&mut column, 1).ends_with(b"\x02de\x01\0\0\0\0\0\0\0\0"));
    }

    #[test]
    fn indexes_are_as_wide_as_they_must_be() {
        for (keys, width) in [(256, 1), (257, 2), (65_537, 4)] {
            let mut column = LowCardinality::default();
            for key in 0..keys {
                column.push(&key.to_string());
            }
            let keys_bytes = column.keys.len();
            assert_eq!(drained(&mut column, keys).len(), 32 + keys_bytes + keys * width, "{keys}");
        }
    }

    #[test]
    fn empty_maps_have_neither_keys_nor_flags() {
        let mut column = CountMap::default();
        column.push([]);
        column.push([]);
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0; 16]);
        assert_eq!(drained(&mut column, 2), expected);
    }
}
