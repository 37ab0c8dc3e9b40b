//! A run of frames that goes into one insert, or into several when ClickHouse refuses a part of it.

use bytes::Bytes;

use super::{
    DeliveryError,
    frame::{self, Frame},
    split::RowRange,
    state::{Narrowed, Plan},
};
use crate::{
    clickhouse::{
        columns,
        native::{BlockError, take_rows},
    },
    consent::{Decision, EligibilityReason, TrainingScope},
    spool::{Position, Reader},
};

/// The limits of a batch. A single frame may exceed them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_rows: u32,
    pub(super) max_bytes: u64,
}

impl Limits {
    pub(super) const NONE: Self = Self { max_rows: u32::MAX, max_bytes: u64::MAX };
}

/// Frames in the order of the spool.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) start: Position,
    /// Where the last frame ends; where the batch starts, if there is none.
    pub(super) end: Position,
    pub(super) rows: u32,
    frames: Vec<Frame>,
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
        let mut batch = Self { start, end: start, rows: 0, frames: Vec::new() };
        let mut bytes = 0;
        while batch.end < until {
            let Some(found) = reader.read_from(batch.end)?.filter(|it| it.position < until) else { break };
            let frame = Frame::parse(&found.payload)
                .map_err(|source| DeliveryError::Frame { position: found.position.0, source })?;
            let rows = batch.rows.saturating_add(frame.rows);
            bytes += frame.native.len() as u64;
            let full = rows > limits.max_rows || bytes > limits.max_bytes;
            if full && !batch.frames.is_empty() {
                break;
            }
            batch.rows = rows;
            batch.end = found.next;
            batch.frames.push(frame);
        }
        Ok(batch)
    }

    /// Whether there is nothing in it but damage, if anything.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The rows that the seal narrows, by a decision for each eligible row.
    pub(super) fn seal(&self, decide: impl Fn(&frame::SealRecord) -> Decision) -> Vec<Narrowed> {
        let mut narrowed = Vec::new();
        let mut first_row = 0;
        for frame in &self.frames {
            narrowed.extend(super::seal::seal(frame, first_row, &decide));
            first_row += frame.rows;
        }
        narrowed
    }

    /// The body of an insert of some of the rows of the plan that describes this batch: its blocks,
    /// one after the other, sealed. The same rows always give the same bytes.
    ///
    /// # Errors
    /// A block, of which only a part is asked for, cannot be taken apart.
    pub(super) fn body(&self, plan: &Plan, rows: RowRange) -> Result<Bytes, BlockError> {
        let mut body = Vec::with_capacity(self.frames.iter().map(|frame| frame.native.len()).sum());
        let mut narrowed = plan.narrowed.iter().peekable();
        let mut first_row = 0;
        for frame in &self.frames {
            let at = body.len();
            body.extend_from_slice(&frame.native);
            let block = &mut body[at..];
            columns::patch_sealed_at(block, &frame.offsets, frame.rows, plan.sealed_at);
            let end_row = first_row + frame.rows;
            while let Some(Narrowed(row, scope, reason)) = narrowed.next_if(|it| it.0 < end_row) {
                // Both were written by this program; what a newer one might have written is narrowed
                // all the way.
                let scope = TrainingScope::from_i8(*scope).unwrap_or_default();
                let reason =
                    EligibilityReason::from_i8(*reason).unwrap_or(EligibilityReason::WithdrawnBeforeWrite);
                columns::patch_scope(block, &frame.offsets, row - first_row, scope);
                columns::patch_reason(block, &frame.offsets, row - first_row, reason);
            }
            let wanted = rows.start.max(first_row)..rows.end.min(end_row);
            if wanted.is_empty() {
                body.truncate(at);
            } else if wanted != (first_row..end_row) {
                let part = take_rows(block, &[wanted.start - first_row..wanted.end - first_row])?;
                body.truncate(at);
                body.extend_from_slice(&part);
            }
            first_row = end_row;
        }
        Ok(body.into())
    }
}
