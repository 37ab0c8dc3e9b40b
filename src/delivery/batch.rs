//! A run of frames that goes into one insert, or into several when ClickHouse refuses a part of it.

use bytes::Bytes;

use super::{
    DeliveryError,
    body::{Body, BodyError},
    frame::{self, Block, Frame},
    split::RowRange,
    state::{Narrowed, Plan},
};
use crate::{
    clickhouse::{
        columns,
        compressed::{self, CompressedError},
        native::{join, take_rows},
    },
    consent::{Decision, EligibilityReason, Erased, TrainingScope},
    spool::{Position, Reader},
};

/// A block of fewer rows is joined with those next to it. ClickHouse takes about 0.8 ms for a block whatever is in
/// it, which is more than it costs here to decompress, join and compress a few hundred rows (docs/performance.md).
const SMALL_ROWS: u32 = 400;
/// Joined blocks have about so many rows, or so many compressed bytes.
const JOINED_ROWS: u32 = 8_192;
const JOINED_BYTES: usize = 1 << 20;

/// The limits of a batch. A single frame may exceed them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_rows: u32,
    /// Of compressed blocks, with what sealing needs to know of their rows.
    pub(super) max_bytes: u64,
}

impl Limits {
    pub(super) const NONE: Self = Self { max_rows: u32::MAX, max_bytes: u64::MAX };
}

/// The blocks of frames, in the order of the spool.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) start: Position,
    /// Where the last frame ends; where the batch starts, if there is none.
    pub(super) end: Position,
    pub(super) rows: u32,
    blocks: Vec<Block>,
}

impl Batch {
    /// Reads the frames that start from `start` on and before `until`, up to the first limit. Blocks
    /// on the disk.
    pub(super) fn read(
        reader: &Reader,
        start: Position,
        until: Position,
        limits: Limits,
    ) -> Result<Self, DeliveryError> {
        let mut batch = Self { start, end: start, rows: 0, blocks: Vec::new() };
        let mut bytes = 0;
        while batch.end < until {
            let Some(found) = reader.read_from(batch.end)?.filter(|it| it.position < until) else { break };
            let frame = Frame::parse(&found.payload)
                .map_err(|source| DeliveryError::Frame { position: found.position.0, source })?;
            let rows = batch.rows.saturating_add(frame.rows());
            bytes += frame.blocks.iter().map(|block| block.len_bytes() as u64).sum::<u64>();
            let full = rows > limits.max_rows || bytes > limits.max_bytes;
            if full && !batch.is_empty() {
                break;
            }
            batch.rows = rows;
            batch.end = found.next;
            batch.blocks.extend(frame.blocks);
        }
        Ok(batch)
    }

    /// Whether there is nothing in it but damage, if anything.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The rows that the seal narrows, by a decision for each eligible row.
    pub(super) fn seal(&self, decide: impl Fn(&frame::SealRecord<'_>) -> Decision) -> Vec<Narrowed> {
        let mut narrowed = Vec::new();
        let mut first_row = 0;
        for block in &self.blocks {
            narrowed.extend(super::seal::seal(block, first_row, &decide));
            first_row += block.rows;
        }
        narrowed
    }

    /// The rows that are to go since their author was erased, as ranges in order. Everything is decompressed for it.
    ///
    /// # Errors
    /// A block is not what was written.
    pub(super) fn erased(&self, erased: &Erased) -> Result<Vec<RowRange>, BodyError> {
        let mut found: Vec<RowRange> = Vec::new();
        let mut first_row = 0;
        for block in &self.blocks {
            let native = block.native(&block.scopes, &block.reasons, 0)?;
            let of_block = columns::find_rows(&native, |(subject, version)| {
                let taken = erased.takes(subject, *version);
                if taken {
                    erased.count_dropped(subject, 1);
                }
                taken
            })?;
            found.extend(
                of_block
                    .into_iter()
                    .map(|rows| RowRange { start: first_row + rows.start, end: first_row + rows.end }),
            );
            first_row += block.rows;
        }
        Ok(found)
    }

    /// The body of an insert of some of the rows of the plan that describes this batch: its blocks,
    /// one after the other, sealed, without the rows that the plan leaves out. The same rows always give the same bytes.
    ///
    /// A block that is wanted as a whole gets its head and is else sent as it lies in the spool, if it is not a
    /// small one among others.
    ///
    /// # Errors
    /// A block, of which only a part is asked for, cannot be taken apart.
    pub(super) fn body(&self, plan: &Plan, rows: RowRange) -> Result<Body, BodyError> {
        let mut pieces = Pieces { sealed_at: plan.sealed_at, pieces: Vec::new(), small: Vec::new() };
        let mut narrowed = plan.narrowed.iter().peekable();
        let mut first_row = 0;
        for block in &self.blocks {
            let end_row = first_row + block.rows;
            let (mut scopes, mut reasons) = (block.scopes.to_vec(), block.reasons.to_vec());
            while let Some(Narrowed(row, scope, reason)) = narrowed.next_if(|it| it.0 < end_row) {
                // Both were written by this program; what a newer one might have written is narrowed
                // all the way.
                let scope = TrainingScope::from_i8(*scope).unwrap_or_default();
                let reason =
                    EligibilityReason::from_i8(*reason).unwrap_or(EligibilityReason::WithdrawnBeforeWrite);
                let row = (row - first_row) as usize;
                (scopes[row], reasons[row]) = (scope as u8, reason as u8);
            }
            let sealed = Sealed { block, scopes, reasons };
            let start = rows.start.max(first_row);
            let of_block = plan.left_of(RowRange { start, end: rows.end.min(end_row).max(start) });
            if matches!(&of_block[..], [all] if all.len() == block.rows) {
                pieces.push(sealed);
            } else if !of_block.is_empty() {
                pieces.flush();
                let of_block: Vec<_> =
                    of_block.iter().map(|it| it.start - first_row..it.end - first_row).collect();
                let part = take_rows(&sealed.native(plan.sealed_at)?, &of_block)?;
                pieces.pieces.push(compressed::compress(&part).into());
            }
            first_row = end_row;
        }
        pieces.flush();
        Ok(Body::new(pieces.pieces))
    }
}

/// A block with the scopes and reasons that it is sealed with.
struct Sealed<'a> {
    block: &'a Block,
    scopes: Vec<u8>,
    reasons: Vec<u8>,
}

impl Sealed<'_> {
    fn native(&self, sealed_at: i64) -> Result<Vec<u8>, CompressedError> {
        self.block.native(&self.scopes, &self.reasons, sealed_at)
    }
}

/// A body under way.
struct Pieces<'a> {
    sealed_at: i64,
    pieces: Vec<Bytes>,
    /// Small blocks that follow one another, not sent yet.
    small: Vec<Sealed<'a>>,
}

impl<'a> Pieces<'a> {
    fn push(&mut self, sealed: Sealed<'a>) {
        if sealed.block.rows >= SMALL_ROWS {
            self.flush();
            return self.whole(&sealed);
        }
        self.small.push(sealed);
        let rows: u32 = self.small.iter().map(|it| it.block.rows).sum();
        let bytes: usize = self.small.iter().map(|it| it.block.rest.len()).sum();
        if rows >= JOINED_ROWS || bytes >= JOINED_BYTES {
            self.flush();
        }
    }

    /// Ends a run of small blocks: they are sent as one.
    fn flush(&mut self) {
        let small = std::mem::take(&mut self.small);
        match self.joined(&small) {
            Some(joined) => self.pieces.push(compressed::compress(&joined).into()),
            // One block, or some that have not the same columns, of two versions of this program.
            None => small.iter().for_each(|sealed| self.whole(sealed)),
        }
    }

    fn joined(&self, small: &[Sealed<'_>]) -> Option<Vec<u8>> {
        if small.len() < 2 {
            return None;
        }
        let natives = small.iter().map(|sealed| sealed.native(self.sealed_at)).collect::<Result<Vec<_>, _>>();
        join(&natives.ok()?).ok()
    }

    fn whole(&mut self, Sealed { block, scopes, reasons }: &Sealed<'_>) {
        let mut head = Vec::new();
        columns::put_head(&mut head, block.columns, scopes, reasons, self.sealed_at);
        self.pieces.push(compressed::compress(&head).into());
        self.pieces.push(block.rest.clone());
    }
}

#[cfg(test)]
mod tests;
