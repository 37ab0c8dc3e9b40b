//! What a spool frame holds: blocks of rows, compressed as ClickHouse takes them, and what sealing needs to know
//! of them.
//!
//! All numbers are little-endian. The frame's payload begins with one byte, the version of this layout, 3. One
//! block or more follow, to the payload's end:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | columns of the block, those of its head included |
//! | 4 | rows, one at least |
//! | 4 | bytes of seal records |
//! | 4 | bytes of the rest |
//! | … | seal records |
//! | 1 × rows | `training_scope` of each row, as it was decided at receipt |
//! | 1 × rows | `eligibility_reason` of each row |
//! | … | the rest: all columns of the `Native` block but the three of its head, as compressed frames of ClickHouse ([`compressed`]) |
//!
//! The head of the block (the number of columns and rows, and the columns `training_scope`,
//! `eligibility_reason` and `sealed_at`) is not in the spool: it is written at the seal, which may change it
//! ([`columns::put_head`]). The rest goes to ClickHouse as it lies here.
//!
//! A seal record stands for one row that was eligible when it was received; no other row can change
//! at the seal, which only narrows. It holds the row's number in its block (4), the subject (16), the consent
//! version of its stamp (4), when it was received (8, microseconds since the epoch, signed), event
//! type, GPC flag, training scope, eligibility reason (1 each), jurisdiction (length 1, text) and
//! feature (length 1, text).
//!
//! Versions 1 and 2 had one block, whole and not compressed; their frames can still be read (`old`).

use bytes::Bytes;

use super::encoded::{EncodedEvents, Form};
use crate::{
    clickhouse::{
        columns::{self, BlockEncoder},
        compressed::{self, CompressedError},
    },
    consent::{EligibilityReason, TrainingScope},
    event::{EventType, Jurisdiction, Micros, Redacted, SubjectId},
    spool::GroupEncoder,
};

mod old;

const VERSION: u8 = 3;
/// The most bytes that the rest of one block has before it is compressed: far more than what the spool takes at
/// once.
const MAX_REST_BYTES: usize = 1 << 30;

/// Of a seal record, what lies between the row's number and its two texts.
const RECORD_FIXED_BYTES: usize = 16 + 4 + 8 + 4;

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

/// Rows, and the seal records of those that are eligible. Takes [`Redacted`] events alone: nothing else can
/// be spooled.
#[derive(Debug)]
pub(super) struct EventRows {
    encoder: BlockEncoder,
    seal: Vec<u8>,
    /// The last block that was made of them, for its memory.
    block: columns::Block,
}

impl EventRows {
    pub(super) fn new(collector_id: &str) -> Self {
        Self { encoder: BlockEncoder::new(collector_id), seal: Vec::new(), block: columns::Block::default() }
    }

    pub(super) fn push(&mut self, event: &Redacted<'_>) {
        let row = u32::try_from(self.encoder.rows()).unwrap_or(u32::MAX);
        self.encoder.push(event);
        if event.stamp.training_scope != TrainingScope::None {
            put_seal_record(&mut self.seal, row, event);
        }
    }

    /// Adds the rows of others.
    pub(super) fn append(&mut self, other: &Self) {
        let first_row = u32::try_from(self.encoder.rows()).unwrap_or(u32::MAX);
        self.encoder.append(&other.encoder);
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
        self.encoder.rows()
    }

    /// About how long a block of them would be before it is compressed.
    pub(super) fn len_bytes(&self) -> usize {
        if self.len() == 0 { 0 } else { self.encoder.encoded_len_hint() + self.seal.len() }
    }

    /// How much memory is held for the texts, of which most is.
    pub(super) fn memory_bytes(&self) -> usize {
        self.encoder.texts_capacity() + self.block.rest.capacity() + self.seal.capacity()
    }

    /// Appends a block of them to a payload, and starts anew.
    pub(super) fn drain_into(&mut self, payload: &mut Vec<u8>) {
        self.encoder.finish_into(&mut self.block);
        put_block(payload, &self.seal, &self.block);
        self.seal.clear();
    }

    pub(super) fn clear(&mut self) {
        self.encoder.clear();
        self.seal.clear();
    }
}

/// The length of what is left of a seal record of our own after the row's number.
fn record_len(record: &[u8]) -> usize {
    let feature = RECORD_FIXED_BYTES + 1 + usize::from(record[RECORD_FIXED_BYTES]);
    feature + 1 + usize::from(record[feature])
}

/// Makes one frame of all that a commit holds: requests of many events bring a block of their own, and of the
/// others one block is made.
pub struct EventEncoder {
    /// Empty, or begun with blocks.
    payload: Vec<u8>,
    others: EventRows,
}

impl EventEncoder {
    /// An encoder for events of this collector.
    #[must_use]
    pub fn new(collector_id: &str) -> Self {
        Self { payload: Vec::new(), others: EventRows::new(collector_id) }
    }
}

/// Appends the seal record of a row of a block.
pub fn put_seal_record(seal: &mut Vec<u8>, row: u32, event: &Redacted<'_>) {
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
    push_short(seal, event.context.jurisdiction.as_str());
    push_short(seal, event.context.feature);
}

/// The validator lets no jurisdiction or feature of 256 bytes or more through.
fn push_short(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

/// Begins a payload. Blocks have to follow.
pub fn put_version(payload: &mut Vec<u8>) {
    payload.push(VERSION);
}

/// Appends a block with the seal records of its rows to a payload, and compresses it. What is appended
/// depends on nothing before it, so blocks that were made apart can be put together after one version. Nothing is
/// appended for a block without rows.
pub fn put_block(payload: &mut Vec<u8>, seal: &[u8], block: &columns::Block) {
    if block.rows == 0 {
        return;
    }
    // A frame holds 256 MiB at most.
    let len_of = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    payload.extend_from_slice(&block.columns.to_le_bytes());
    payload.extend_from_slice(&block.rows.to_le_bytes());
    payload.extend_from_slice(&len_of(seal.len()));
    let rest_len = payload.len();
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(seal);
    payload.extend_from_slice(&block.scopes);
    payload.extend_from_slice(&block.reasons);
    let rest = payload.len();
    compressed::compress_into(payload, &block.rest);
    let bytes = len_of(payload.len() - rest);
    payload[rest_len..rest_len + bytes.len()].copy_from_slice(&bytes);
}

impl GroupEncoder for EventEncoder {
    type Item = EncodedEvents;

    fn item_bytes(item: &Self::Item) -> usize {
        item.len_bytes()
    }

    fn push(&mut self, item: Self::Item) {
        match item.form() {
            Form::Rows(rows) => self.others.append(rows),
            // A payload without a block could not be read.
            Form::Block([]) => {}
            Form::Block(block) => {
                if self.payload.is_empty() {
                    put_version(&mut self.payload);
                }
                self.payload.extend_from_slice(block);
            }
        }
    }

    fn len_bytes(&self) -> usize {
        self.payload.len() + self.others.len_bytes()
    }

    fn is_empty(&self) -> bool {
        self.payload.is_empty() && self.others.len() == 0
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut payload = std::mem::take(&mut self.payload);
        if payload.is_empty() {
            put_version(&mut payload);
        }
        self.others.drain_into(&mut payload);
        payload
    }
}

/// A frame, split into its blocks.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its blocks, one at least.
    pub blocks: Vec<Block>,
}

/// A block of rows. All bytes are slices of the frame's payload.
#[derive(Clone, Debug)]
pub struct Block {
    /// How many columns it has, those of its head included.
    pub columns: u16,
    /// How many rows it has.
    pub rows: u32,
    /// One record for each row that was eligible at receipt.
    pub seal: SealRecords,
    /// `training_scope` at receipt, a byte a row.
    pub scopes: Bytes,
    /// `eligibility_reason` at receipt, a byte a row.
    pub reasons: Bytes,
    /// The columns after the head, compressed.
    pub rest: Bytes,
}

impl Block {
    /// How much memory it takes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.seal.bytes.len() + self.scopes.len() + self.reasons.len() + self.rest.len()
    }

    /// The whole block in the `Native` format, with scopes and reasons that may have been narrowed.
    ///
    /// # Errors
    /// The rest is not what was written.
    pub fn native(&self, scopes: &[u8], reasons: &[u8], sealed_at: i64) -> Result<Vec<u8>, CompressedError> {
        let rest = compressed::decompress(&self.rest, MAX_REST_BYTES)?;
        let mut native = Vec::new();
        columns::put_head(&mut native, self.columns, scopes, reasons, sealed_at);
        native.extend_from_slice(&rest);
        Ok(native)
    }
}

/// The seal records of a block, which can be read.
#[derive(Clone, Debug)]
pub struct SealRecords {
    bytes: Bytes,
    form: RecordForm,
}

/// How seal records are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordForm {
    /// As in version 1 of the layout, which had no time of receipt.
    WithoutReceipt,
    WithReceipt,
}

impl SealRecords {
    /// Checks that all of them can be read.
    fn new(bytes: Bytes, form: RecordForm, rows: u32) -> Result<Self, FrameError> {
        let mut cursor = Cursor { rest: &bytes };
        while !cursor.rest.is_empty() {
            if cursor.seal_record(form)?.row >= rows {
                return Err(FrameError::Malformed("a seal record is of a row that is not there"));
            }
        }
        Ok(Self { bytes, form })
    }

    /// The records, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = SealRecord<'_>> {
        let mut cursor = Cursor { rest: &self.bytes };
        // They were all read before.
        std::iter::from_fn(move || cursor.seal_record(self.form).ok())
    }
}

/// What sealing needs to know of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRecord<'a> {
    /// Its number in its block, from 0.
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
    pub feature: &'a str,
}

impl Frame {
    /// Splits a frame's payload. What is compressed in it stays as it is, and is not looked at.
    ///
    /// # Errors
    /// It was written by another version, or its parts do not fit together.
    pub fn parse(payload: &Bytes) -> Result<Self, FrameError> {
        let mut cursor = Cursor { rest: payload };
        match cursor.u8()? {
            VERSION => {}
            version @ (old::VERSION_1 | old::VERSION_2) => {
                return Ok(Self { blocks: vec![old::parse(version, payload)?] });
            }
            version => return Err(FrameError::Version(version)),
        }
        let mut blocks = vec![cursor.block(payload)?];
        while !cursor.rest.is_empty() {
            blocks.push(cursor.block(payload)?);
        }
        Ok(Self { blocks })
    }

    /// The rows of all its blocks.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.blocks.iter().fold(0, |rows, block| rows.saturating_add(block.rows))
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

    /// A block of the payload that this runs through.
    fn block(&mut self, payload: &Bytes) -> Result<Block, FrameError> {
        let columns = u16::from_le_bytes(self.array()?);
        let rows = self.u32()?;
        let (seal_len, rest_len) = (self.u32()? as usize, self.u32()? as usize);
        if rows == 0 {
            return Err(FrameError::Malformed("a block has no rows"));
        }
        let seal = payload.slice_ref(self.take(seal_len)?);
        let scopes = payload.slice_ref(self.take(rows as usize)?);
        let reasons = payload.slice_ref(self.take(rows as usize)?);
        let rest = payload.slice_ref(self.take(rest_len)?);
        let seal = SealRecords::new(seal, RecordForm::WithReceipt, rows)?;
        Ok(Block { columns, rows, seal, scopes, reasons, rest })
    }

    fn short_text(&mut self) -> Result<&'a str, FrameError> {
        let len = usize::from(self.u8()?);
        std::str::from_utf8(self.take(len)?).map_err(|_| FrameError::Malformed("a text is not UTF-8"))
    }

    fn seal_record(&mut self, form: RecordForm) -> Result<SealRecord<'a>, FrameError> {
        let row = self.u32()?;
        let subject_id = SubjectId::from_bytes(self.array()?);
        let consent_version = self.u32()?;
        let received_at = match form {
            RecordForm::WithoutReceipt => None,
            RecordForm::WithReceipt => Some(Micros(i64::from_le_bytes(self.array()?))),
        };
        let [event_type, gpc, scope, reason] = self.array()?;
        let jurisdiction = Jurisdiction::parse(self.short_text()?)
            .ok_or(FrameError::Malformed("a jurisdiction is not one"))?;
        let feature = self.short_text()?;
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
