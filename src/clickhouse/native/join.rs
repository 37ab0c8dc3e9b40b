//! One block of several.

use super::{
    encode::{LowCardinality, put_low_cardinality_prefix, put_string, put_varint},
    view::{BlockError, BlockView, Dictionary, Values, end_of, without_len},
};

/// One block of the rows of several, in their order. They must have the same columns.
///
/// It is what an encoder would make of these rows at once, to the byte: keys of `LowCardinality` columns that
/// several have are in it once.
///
/// # Errors
/// The bytes are not blocks, one has a type that is not known here, or their columns differ.
pub fn join<B: AsRef<[u8]>>(blocks: &[B]) -> Result<Vec<u8>, BlockError> {
    let views: Vec<_> =
        blocks.iter().map(|block| BlockView::parse(block.as_ref())).collect::<Result<_, _>>()?;
    // Of no rows, nothing is stored but the names: not even what comes once for a column.
    let views: Vec<_> = views.into_iter().filter(|view| view.rows > 0).collect();
    let Some(first) = views.first() else {
        return blocks.first().map(|block| block.as_ref().to_vec()).ok_or(BlockError::Truncated);
    };
    let mut out = Vec::with_capacity(blocks.iter().map(|block| block.as_ref().len()).sum());
    put_varint(&mut out, first.columns.len() as u64);
    put_varint(&mut out, views.iter().map(|view| u64::from(view.rows)).sum());
    for (number, column) in first.columns.iter().enumerate() {
        let same = |view: &BlockView<'_>| {
            view.columns.len() == first.columns.len()
                && view.columns[number].name == column.name
                && view.columns[number].data_type == column.data_type
        };
        if !views.iter().all(same) {
            return Err(BlockError::Malformed(
                "it has other columns than those that it is to be joined with",
            ));
        }
        put_string(&mut out, column.name);
        put_string(&mut out, column.data_type);
        let parts = || views.iter().map(|view| (view.rows as usize, &view.columns[number].values));
        put_values(&mut out, &column.values, parts);
    }
    Ok(out)
}

/// The values of a column of all blocks, which are of the kind of `first`.
fn put_values<'a, 'b: 'a, I>(out: &mut Vec<u8>, first: &Values<'_>, parts: impl Fn() -> I)
where
    I: Iterator<Item = (usize, &'a Values<'b>)>,
{
    match first {
        Values::Fixed { .. } | Values::Strings(_) => {
            for (_, values) in parts() {
                if let Values::Fixed { bytes, .. } | Values::Strings(bytes) = values {
                    out.extend_from_slice(bytes);
                }
            }
        }
        Values::LowCardinality(_) => {
            put_low_cardinality_prefix(out);
            let mut joined = LowCardinality::default();
            for (rows, values) in parts() {
                if let Values::LowCardinality(dictionary) = values {
                    add(&mut joined, dictionary, rows);
                }
            }
            joined.drain_values(out);
        }
        Values::CountMap { .. } => {
            put_low_cardinality_prefix(out);
            let (mut joined, mut entries) = (LowCardinality::default(), 0);
            for (rows, values) in parts() {
                if let Values::CountMap { ends, keys, .. } = values {
                    for row in 0..rows {
                        out.extend_from_slice(&((entries + end_of(ends, row)) as u64).to_le_bytes());
                    }
                    let of_block = rows.checked_sub(1).map_or(0, |last| end_of(ends, last));
                    add(&mut joined, keys, of_block);
                    entries += of_block;
                }
            }
            joined.drain_values(out);
            for (_, values) in parts() {
                if let Values::CountMap { values, .. } = values {
                    out.extend_from_slice(values);
                }
            }
        }
    }
}

fn add(joined: &mut LowCardinality, dictionary: &Dictionary<'_>, rows: usize) {
    joined.push_all(dictionary.keys().map(without_len), dictionary.indexes(0..rows));
}
