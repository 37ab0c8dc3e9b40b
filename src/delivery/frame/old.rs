//! Frames of versions 1 and 2, which a collector of an older version may have left in the spool.
//!
//! They have one block, in the `Native` format as it is. All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the layout |
//! | 4 | rows in the block |
//! | 4 × 3 | where, in the block, the values of `training_scope`, `eligibility_reason` and `sealed_at` start |
//! | 4 | bytes of seal records |
//! | … | seal records; in version 1 without the time of receipt |
//! | … | the block, to the end of the frame |
//!
//! The three columns are the first ones of the block, so what is after `sealed_at` is the rest of version 3.

use bytes::Bytes;

use super::{Block, Cursor, FrameError, RecordForm, SealRecords};
use crate::clickhouse::compressed;

pub(super) const VERSION_1: u8 = 1;
pub(super) const VERSION_2: u8 = 2;

/// Splits the payload of a frame of the first or second version, and compresses its block.
///
/// # Errors
/// Its parts do not fit together.
pub(super) fn parse(version: u8, payload: &Bytes) -> Result<Block, FrameError> {
    let mut cursor = Cursor { rest: payload.get(1..).unwrap_or_default() };
    let rows = cursor.u32()?;
    let offsets = [cursor.u32()? as usize, cursor.u32()? as usize, cursor.u32()? as usize];
    let seal_len = cursor.u32()? as usize;
    let seal = payload.slice_ref(cursor.take(seal_len)?);
    let native = payload.slice_ref(cursor.rest);
    let outside = FrameError::Malformed("a column that sealing changes lies outside of the block");
    let [scopes, reasons, sealed_at] = offsets;
    let ends = [(scopes, 1), (reasons, 1), (sealed_at, size_of::<i64>())]
        .map(|(start, width)| start.saturating_add((rows as usize).saturating_mul(width)));
    if ends[0] > reasons || ends[1] > sealed_at || ends[2] > native.len() {
        return Err(outside);
    }
    // The number of columns is LEB128, and was always below 128.
    let Some(&columns @ 3..128) = native.first() else {
        return Err(FrameError::Malformed("it has not the columns that sealing changes"));
    };
    let form = if version == VERSION_1 { RecordForm::WithoutReceipt } else { RecordForm::WithReceipt };
    Ok(Block {
        columns: columns.into(),
        rows,
        seal: SealRecords::new(seal, form, rows)?,
        scopes: native.slice(scopes..ends[0]),
        reasons: native.slice(reasons..ends[1]),
        rest: compressed::compress(&native[ends[2]..]).into(),
    })
}
