//! A run of frames that goes into one insert.

use bytes::Bytes;

use super::{
    DeliveryError,
    frame::Frame,
    state::{Narrowed, Plan},
};
use crate::{
    clickhouse::columns,
    consent::{EligibilityReason, TrainingScope},
    spool::{Position, Reader},
};

/// The limits of a batch. A single frame may exceed rows and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_frames: usize,
    pub(super) max_rows: u32,
    pub(super) max_bytes: u64,
}

impl Limits {
    pub(super) const NONE: Self = Self { max_frames: usize::MAX, max_rows: u32::MAX, max_bytes: u64::MAX };
}

/// Frames in the order of the spool.
pub(super) struct Batch {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) rows: u32,
    pub(super) frames: Vec<Frame>,
}

impl Batch {
    /// Reads frames from `start` up to `until`, or to the first limit. Blocks on the disk.
    pub(super) fn read(
        reader: &Reader,
        start: Position,
        until: Position,
        limits: Limits,
    ) -> Result<Self, DeliveryError> {
        let mut batch = Self { start, end: start, rows: 0, frames: Vec::new() };
        let mut bytes = 0;
        while batch.end < until && batch.frames.len() < limits.max_frames {
            let Some(found) = reader.read_from(batch.end)? else { break };
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

    /// The rows that the seal narrows, by a decision for each eligible row.
    pub(super) fn seal(
        &self,
        decide: impl Fn(&super::frame::SealRecord) -> crate::consent::Decision,
    ) -> Vec<Narrowed> {
        let mut narrowed = Vec::new();
        let mut first_row = 0;
        for frame in &self.frames {
            narrowed.extend(super::seal::seal(frame, first_row, &decide));
            first_row += frame.rows;
        }
        narrowed
    }

    /// The body of the insert that a plan of this batch describes: its blocks, one after the other,
    /// sealed.
    pub(super) fn body(&self, plan: &Plan) -> Bytes {
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
            first_row = end_row;
        }
        body.into()
    }
}
