//! Frames of any content, as delivery and the quarantine read them.

use std::ops::Range;

use bytes::Bytes;

use super::frame::{Block, Frame};
use crate::clickhouse::{
    columns,
    native::{BlockView, take_rows},
};

/// Reads a frame, its blocks, and each half of each. Nothing panics; what can be taken apart has as
/// many rows as it says, and its halves have together what it has.
pub fn frame(input: &[u8]) {
    let Ok(frame) = Frame::parse(&Bytes::copy_from_slice(input)) else { return };
    assert!(!frame.blocks.is_empty());
    frame.blocks.iter().for_each(block);
}

fn block(block: &Block) {
    assert!(block.seal.iter().all(|record| record.row < block.rows));
    assert_eq!((block.scopes.len(), block.reasons.len()), (block.rows as usize, block.rows as usize));
    let mut scopes = block.scopes.to_vec();
    for record in block.seal.iter() {
        scopes[record.row as usize] = 0;
    }
    let Ok(native) = block.native(&scopes, &block.reasons, 1) else { return };
    let described = columns::describe_rows(&native);
    let Ok(view) = BlockView::parse(&native) else { return };
    let rows = view.rows;
    assert_eq!(rows, block.rows);
    if let Ok(described) = described {
        assert_eq!(described.len(), rows as usize);
    }
    let middle = rows / 2;
    let take = |rows: Range<u32>| take_rows(&native, std::slice::from_ref(&rows));
    let (Ok(first), Ok(second)) = (take(0..middle), take(middle..rows)) else { return };
    let describe = |block: &[u8]| columns::describe_rows(block);
    if let (Ok(all), Ok(first), Ok(second)) = (describe(&native), describe(&first), describe(&second)) {
        assert_eq!([first, second].concat(), all, "the halves are the whole");
    }
}
