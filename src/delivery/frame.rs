//! What a spool frame holds: one Native block of rows, and what sealing needs to know of them.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this layout, 2 |
//! | 4 | rows in the block |
//! | 4 × 3 | where, in the block, the values of `training_scope`, `eligibility_reason` and `sealed_at` start |
//! | 4 | bytes of seal records |
//! | … | seal records |
//! | … | the block, to the end of the frame |
//!
//! A seal record stands for one row that was eligible when it was received; no other row can change
//! at the seal, which only narrows. It holds the row's number (4), the subject (16), the consent
//! version of its stamp (4), when it was received (8, microseconds since the epoch, signed), event
//! type, GPC flag, training scope, eligibility reason (1 each), jurisdiction (length 1, text) and
//! feature (length 1, text).
//!
//! Version 1 had no time of receipt; its frames can still be read.

use bytes::Bytes;

use super::encoded::EncodedEvents;
use crate::{
    clickhouse::columns::{BlockEncoder, SealOffsets},
    consent::{EligibilityReason, TrainingScope},
    event::{EventType, Jurisdiction, Micros, Redacted, SubjectId},
    spool::GroupEncoder,
};

const VERSION: u8 = 2;
/// Without the time of receipt.
const VERSION_WITHOUT_RECEIPT: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + 12 + 4;

/// Of a seal record, all but its texts and their lengths.
const RECORD_FIXED_BYTES: usize = 4 + 16 + 4 + 8 + 4;

/// A frame that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Written by a newer version of this program.
    #[error("the frame has layout version {0}, and this program knows none above {VERSION}")]
    Version(u8),
    /// Its parts do not fit together.
    #[error("the frame is malformed: {0}")]
    Malformed(&'static str),
}

/// Makes one frame of all that a commit holds.
pub struct EventEncoder {
    rows: EventRows,
}

impl EventEncoder {
    /// An encoder for events that came from encoders of this collector.
    #[must_use]
    pub fn new(collector_id: &str) -> Self {
        Self { rows: EventRows::new(collector_id) }
    }
}

/// Rows, and the seal records of those that are eligible. Takes [`Redacted`] events alone: nothing else can
/// be spooled.
#[derive(Debug)]
pub(super) struct EventRows {
    block: BlockEncoder,
    seal: Vec<u8>,
}

impl EventRows {
    pub(super) fn new(collector_id: &str) -> Self {
        Self { block: BlockEncoder::new(collector_id), seal: Vec::new() }
    }

    pub(super) fn push(&mut self, event: &Redacted<'_>) {
        let row = u32::try_from(self.block.rows()).unwrap_or(u32::MAX);
        self.block.push(event);
        if event.stamp.training_scope == TrainingScope::None {
            return;
        }
        let jurisdiction = event.context.jurisdiction;
        let seal = &mut self.seal;
        seal.extend_from_slice(&row.to_le_bytes());
        seal.extend_from_slice(event.subject_id.as_bytes());
        seal.extend_from_slice(&event.stamp.consent_version.to_le_bytes());
        seal.extend_from_slice(&event.context.received_at.0.to_le_bytes());
        seal.extend_from_slice(&[
            event.payload.event_type() as u8,
            u8::from(event.context.global_privacy_control),
            event.stamp.training_scope as u8,
            event.stamp.reason as u8,
        ]);
        push_short(seal, jurisdiction.as_str());
        push_short(seal, event.context.feature);
    }

    /// Adds the rows of others.
    pub(super) fn append(&mut self, other: &Self) {
        let first_row = u32::try_from(self.block.rows()).unwrap_or(u32::MAX);
        self.block.append(&other.block);
        let mut records = other.seal.as_slice();
        while let Some((row, rest)) = records.split_first_chunk() {
            let row = u32::from_le_bytes(*row) + first_row;
            self.seal.extend_from_slice(&row.to_le_bytes());
            let (record, rest) = rest.split_at(record_len(rest));
            self.seal.extend_from_slice(record);
            records = rest;
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.block.rows()
    }

    /// About how long a frame of it would be.
    pub(super) fn len_bytes(&self) -> usize {
        if self.len() == 0 { 0 } else { self.block.encoded_len_hint() + self.seal.len() }
    }

    pub(super) fn clear(&mut self) {
        self.block.clear();
        self.seal.clear();
    }
}

/// The length of a seal record of our own, of which the row's number is read.
fn record_len(record: &[u8]) -> usize {
    let jurisdiction = RECORD_FIXED_BYTES - size_of::<u32>();
    let feature = jurisdiction + 1 + usize::from(record[jurisdiction]);
    feature + 1 + usize::from(record[feature])
}

/// The validator lets no jurisdiction or feature of 256 bytes or more through.
fn push_short(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

impl GroupEncoder for EventEncoder {
    type Item = EncodedEvents;

    fn item_bytes(item: &Self::Item) -> usize {
        item.len_bytes()
    }

    fn push(&mut self, item: Self::Item) {
        self.rows.append(item.rows());
    }

    fn len_bytes(&self) -> usize {
        self.rows.len_bytes()
    }

    fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    fn finish(&mut self) -> Vec<u8> {
        let block = self.rows.block.finish();
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.rows.seal.len() + block.native.len());
        frame.push(VERSION);
        frame.extend_from_slice(&block.rows.to_le_bytes());
        for offset in
            [block.offsets.training_scope, block.offsets.eligibility_reason, block.offsets.sealed_at]
        {
            frame.extend_from_slice(&offset.to_le_bytes());
        }
        let seal_len = u32::try_from(self.rows.seal.len()).unwrap_or(u32::MAX);
        frame.extend_from_slice(&seal_len.to_le_bytes());
        frame.extend_from_slice(&self.rows.seal);
        frame.extend_from_slice(&block.native);
        self.rows.seal.clear();
        frame
    }
}

/// A frame, split into its parts.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Rows in the block.
    pub rows: u32,
    /// Where the block's columns that sealing changes start.
    pub offsets: SealOffsets,
    /// One record for each row that was eligible at receipt.
    pub seal: Vec<SealRecord>,
    /// The block.
    pub native: Bytes,
}

/// What sealing needs to know of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealRecord {
    /// Its number in the block, from 0.
    pub row: u32,
    /// Its author.
    pub subject_id: SubjectId,
    /// The author's newest change that the decision at receipt took into account.
    pub consent_version: u32,
    /// When it was received; `None` in frames of version 1.
    pub received_at: Option<Micros>,
    /// Its kind.
    pub event_type: EventType,
    /// Whether the client sent a Global Privacy Control signal.
    pub gpc: bool,
    /// The decision at receipt.
    pub training_scope: TrainingScope,
    /// Its reason.
    pub reason: EligibilityReason,
    /// Where the author is.
    pub jurisdiction: Jurisdiction,
    /// The product's feature.
    pub feature: String,
}

impl Frame {
    /// Splits a frame's payload.
    ///
    /// # Errors
    /// It was written by another version, or its parts do not fit together.
    pub fn parse(payload: &Bytes) -> Result<Self, FrameError> {
        let mut cursor = Cursor { rest: payload };
        let version = cursor.u8()?;
        if version != VERSION && version != VERSION_WITHOUT_RECEIPT {
            return Err(FrameError::Version(version));
        }
        let rows = cursor.u32()?;
        let offsets = SealOffsets {
            training_scope: cursor.u32()?,
            eligibility_reason: cursor.u32()?,
            sealed_at: cursor.u32()?,
        };
        let seal_len = cursor.u32()? as usize;
        let mut seal_bytes = Cursor { rest: cursor.take(seal_len)? };
        let mut seal = Vec::new();
        while !seal_bytes.rest.is_empty() {
            let record = seal_bytes.seal_record(version)?;
            if record.row >= rows {
                return Err(FrameError::Malformed("a seal record is of a row that is not there"));
            }
            seal.push(record);
        }
        let native = payload.slice(HEADER_BYTES + seal_len..);
        let fits = |offset: u32, width: usize| offset as usize + rows as usize * width <= native.len();
        if !(fits(offsets.training_scope, 1)
            && fits(offsets.eligibility_reason, 1)
            && fits(offsets.sealed_at, 8))
        {
            return Err(FrameError::Malformed("a column that sealing changes lies outside of the block"));
        }
        Ok(Self { rows, offsets, seal, native })
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(FrameError::Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| FrameError::Malformed("it ends too early"))
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn short_text(&mut self) -> Result<&'a str, FrameError> {
        let len = usize::from(self.u8()?);
        std::str::from_utf8(self.take(len)?).map_err(|_| FrameError::Malformed("a text is not UTF-8"))
    }

    fn seal_record(&mut self, version: u8) -> Result<SealRecord, FrameError> {
        let row = self.u32()?;
        let subject_id = SubjectId::from_bytes(self.array()?);
        let consent_version = self.u32()?;
        let received_at = match version {
            VERSION_WITHOUT_RECEIPT => None,
            _ => Some(Micros(i64::from_le_bytes(self.array()?))),
        };
        let [event_type, gpc, scope, reason] = self.array()?;
        let jurisdiction = Jurisdiction::parse(self.short_text()?)
            .ok_or(FrameError::Malformed("a jurisdiction is not one"))?;
        let feature = self.short_text()?.to_owned();
        Ok(SealRecord {
            row,
            subject_id,
            consent_version,
            received_at,
            event_type: EventType::ALL
                .into_iter()
                .find(|kind| *kind as u8 == event_type)
                .ok_or(FrameError::Malformed("an event type is unknown"))?,
            gpc: gpc != 0,
            training_scope: i8::try_from(scope)
                .ok()
                .and_then(TrainingScope::from_i8)
                .ok_or(FrameError::Malformed("a training scope is unknown"))?,
            reason: i8::try_from(reason)
                .ok()
                .and_then(EligibilityReason::from_i8)
                .ok_or(FrameError::Malformed("an eligibility reason is unknown"))?,
            jurisdiction,
            feature,
        })
    }
}

#[cfg(test)]
mod tests;
