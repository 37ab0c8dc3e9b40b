//! Frames of any content, as delivery and the quarantine read them.

use bytes::Bytes;

use super::frame::Frame;
use crate::clickhouse::{
    columns,
    native::{BlockView, take_rows},
};

/// Reads a frame, its block, and each half of the block. Nothing panics; what can be taken apart has as
/// many rows as it says, and its halves have together what it has.
pub fn frame(input: &[u8]) {
    let Ok(frame) = Frame::parse(&Bytes::copy_from_slice(input)) else { return };
    assert!(frame.seal.iter().all(|record| record.row < frame.rows));
    let mut block = frame.native.to_vec();
    columns::patch_sealed_at(&mut block, &frame.offsets, frame.rows, 1);
    for record in &frame.seal {
        columns::patch_scope(&mut block, &frame.offsets, record.row, crate::consent::TrainingScope::None);
    }
    let described = columns::describe_rows(&frame.native);
    let Ok(view) = BlockView::parse(&frame.native) else { return };
    let rows = view.rows;
    if let Ok(described) = described {
        assert_eq!(described.len(), rows as usize);
    }
    let middle = rows / 2;
    let (Ok(first), Ok(second)) =
        (take_rows(&frame.native, &[0..middle]), take_rows(&frame.native, &[middle..rows]))
    else {
        return;
    };
    let describe = |block: &[u8]| columns::describe_rows(block);
    if let (Ok(all), Ok(first), Ok(second)) = (describe(&frame.native), describe(&first), describe(&second)) {
        assert_eq!([first, second].concat(), all, "the halves are the whole");
    }
}
