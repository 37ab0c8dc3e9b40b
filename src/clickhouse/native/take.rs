//! A block of some of another's rows.

use std::ops::Range;

use super::{
    encode::{put_low_cardinality, put_low_cardinality_prefix, put_string, put_varint},
    view::{BlockError, BlockView, Dictionary, Values, end_of, split_string},
};

/// A block of the given rows of another, numbered from 0: ranges in order that do not overlap.
///
/// It is what an encoder would make of these rows, to the byte: nothing is left of the others, the
/// keys of `LowCardinality` columns included.
///
/// # Errors
/// The bytes are not one block, it has a type that is not known here, or the rows are not in it.
pub fn take_rows(block: &[u8], rows: &[Range<u32>]) -> Result<Vec<u8>, BlockError> {
    let view = BlockView::parse(block)?;
    let mut last = 0;
    for range in rows {
        if range.start < last || range.end < range.start || range.end > view.rows {
            return Err(BlockError::Rows);
        }
        last = range.end;
    }
    let rows = Rows(rows);
    // Nothing in it is longer than where it comes from.
    let mut out = Vec::with_capacity(block.len());
    put_varint(&mut out, view.columns.len() as u64);
    put_varint(&mut out, rows.len() as u64);
    for column in &view.columns {
        put_string(&mut out, column.name);
        put_string(&mut out, column.data_type);
        if !rows.is_empty() {
            put_values(&mut out, &column.values, &rows);
        }
    }
    Ok(out)
}

/// Rows that are in the block.
struct Rows<'a>(&'a [Range<u32>]);

impl Rows<'_> {
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        self.0.iter().map(|range| range.start as usize..range.end as usize)
    }

    fn len(&self) -> usize {
        self.ranges().map(|range| range.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.ranges().all(|range| range.is_empty())
    }
}

fn put_values(out: &mut Vec<u8>, values: &Values<'_>, rows: &Rows<'_>) {
    match values {
        Values::Fixed { width, bytes } => {
            for range in rows.ranges() {
                out.extend_from_slice(&bytes[range.start * width..range.end * width]);
            }
        }
        Values::Strings(bytes) => put_strings(out, bytes, rows),
        Values::LowCardinality(dictionary) => {
            put_low_cardinality_prefix(out);
            put_dictionary(out, dictionary, rows.ranges());
        }
        Values::CountMap { ends, keys, values } => {
            put_low_cardinality_prefix(out);
            let entries_before = |row: usize| row.checked_sub(1).map_or(0, |row| end_of(ends, row));
            let mut dropped = 0;
            let mut last = 0;
            for range in rows.ranges() {
                dropped += entries_before(range.start) - entries_before(last);
                for row in range.clone() {
                    out.extend_from_slice(&((end_of(ends, row) - dropped) as u64).to_le_bytes());
                }
                last = range.end;
            }
            let entries = rows.ranges().map(|range| entries_before(range.start)..entries_before(range.end));
            put_dictionary(out, keys, entries.clone());
            for range in entries {
                out.extend_from_slice(&values[range.start * size_of::<u16>()..range.end * size_of::<u16>()]);
            }
        }
    }
}

fn put_strings(out: &mut Vec<u8>, bytes: &[u8], rows: &Rows<'_>) {
    let mut rest = bytes;
    let mut row = 0;
    for range in rows.ranges() {
        for _ in row..range.start {
            split_string(&mut rest);
        }
        let start = rest;
        for _ in range.clone() {
            split_string(&mut rest);
        }
        out.extend_from_slice(&start[..start.len() - rest.len()]);
        row = range.end;
    }
}

/// Keeps the keys that are used, in the order in which they are.
fn put_dictionary(out: &mut Vec<u8>, from: &Dictionary<'_>, rows: impl Iterator<Item = Range<usize>>) {
    let keys: Vec<&[u8]> = from.keys().collect();
    let mut new_index: Vec<Option<u32>> = vec![None; from.count()];
    let mut used = 0;
    let mut used_keys = Vec::new();
    let mut indexes = Vec::new();
    for old in rows.flat_map(|range| from.indexes(range)) {
        let index = *new_index[old].get_or_insert_with(|| {
            used_keys.extend_from_slice(keys[old]);
            used += 1;
            used - 1
        });
        indexes.push(index);
    }
    put_low_cardinality(out, used as usize, &used_keys, &indexes);
}
