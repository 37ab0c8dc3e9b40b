//! The columns of `events`, and nobody else names them: rows become one `Native` block here, and
//! the three columns that sealing may change are patched in place here.

use std::sync::Arc;

mod read;

pub use read::{RowSummary, describe_rows, seal_offsets, take_rows};

use super::native::{Column, CountMap, LowCardinality, Plain, put_string, put_varint, uuid_bytes};
use crate::{
    consent::{EligibilityReason, TrainingScope},
    event::{Payload, Redacted},
};

const SCOPE: &str = "Enum8('none' = 0, 'first_party' = 1, 'affiliates' = 2)";
const REASON: &str = "Enum8('granted' = 0, 'granted_by_default' = 1, 'denied' = 2, 'unset_opt_in' = 3, \
    'policy_outdated' = 4, 'gpc_signal' = 5, 'consent_unknown' = 6, 'withdrawn_before_write' = 7, \
    'withdrawn' = 8, 'excluded_by_policy' = 9)";
const STATE: &str = "Enum8('unset' = 0, 'granted' = 1, 'denied' = 2)";
const SOURCE: &str =
    "Enum8('policy_default' = 0, 'user_setting' = 1, 'admin' = 2, 'import' = 3, 'gpc_signal' = 4)";
const EVENT_TYPE: &str = "Enum8('typed_text' = 1, 'suggestion_shown' = 2, 'suggestion_feedback' = 3, \
    'language_preference' = 4)";
const ACTION: &str = "Enum8('' = 0, 'accepted' = 1, 'accepted_with_edits' = 2, 'rejected' = 3, 'ignored' = 4, \
    'reported' = 5)";
const TIME: &str = "DateTime64(6, 'UTC')";
const LOW_CARDINALITY: &str = "LowCardinality(String)";

/// What a block takes besides its values: names and types of the columns.
const BLOCK_OVERHEAD_BYTES: usize = 2 << 10;

/// Where, in a block, the values of the columns start that sealing may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealOffsets {
    /// `training_scope`, a byte a row.
    pub training_scope: u32,
    /// `eligibility_reason`, a byte a row.
    pub eligibility_reason: u32,
    /// `sealed_at`, eight bytes a row.
    pub sealed_at: u32,
}

/// Rows as one `Native` block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The block.
    pub native: Vec<u8>,
    /// How many rows it has.
    pub rows: u32,
    /// Where its columns that sealing may change start.
    pub offsets: SealOffsets,
}

/// Says once what the columns are: a field that gathers each, its name, and its type. Those that sealing may
/// change stand before them in a block.
macro_rules! columns {
    ($($name:ident: $column:ty = $data_type:expr,)*) => {
        /// The columns of an insert, in the order of a block.
        pub const INSERT_COLUMNS: &str = concat!(
            "(training_scope, eligibility_reason, sealed_at", $(", ", stringify!($name),)* ")"
        );

        const COLUMNS: u64 = 3 + [$(stringify!($name)),*].len() as u64;

        /// The columns that stay as they are.
        #[derive(Debug, Default)]
        struct Columns {
            $($name: $column,)*
        }

        impl Columns {
            fn append(&mut self, other: &Self) {
                $(self.$name.append(&other.$name);)*
            }

            fn clear(&mut self) {
                $(self.$name.clear();)*
            }

            fn drain_into(&mut self, out: &mut Writer) {
                $(out.column(stringify!($name), $data_type, &mut self.$name);)*
            }
        }
    };
}

columns! {
    consent_state: Plain = STATE,
    consent_source: Plain = SOURCE,
    consent_version: Plain = "UInt32",
    policy_version: LowCardinality = LOW_CARDINALITY,
    policy_digest: LowCardinality = LOW_CARDINALITY,
    jurisdiction: LowCardinality = LOW_CARDINALITY,
    global_privacy_control: Plain = "Bool",
    received_at: Plain = TIME,
    occurred_at: Plain = TIME,
    tenant: LowCardinality = LOW_CARDINALITY,
    subject_id: Plain = "UUID",
    pseudonym_key_id: LowCardinality = LOW_CARDINALITY,
    event_id: Plain = "UUID",
    session_id: Plain = "String",
    interaction_id: Plain = "String",
    feature: LowCardinality = LOW_CARDINALITY,
    model: LowCardinality = LOW_CARDINALITY,
    client_name: LowCardinality = LOW_CARDINALITY,
    client_version: LowCardinality = LOW_CARDINALITY,
    platform: LowCardinality = LOW_CARDINALITY,
    event_type: Plain = EVENT_TYPE,
    language: LowCardinality = LOW_CARDINALITY,
    previous_language: LowCardinality = LOW_CARDINALITY,
    text: Plain = "String",
    suggestion_id: Plain = "String",
    latency_ms: Plain = "UInt32",
    position: Plain = "UInt32",
    feedback_action: Plain = ACTION,
    rating: Plain = "Int8",
    comment: Plain = "String",
    redactions: CountMap = "Map(LowCardinality(String), UInt16)",
    redaction_version: LowCardinality = LOW_CARDINALITY,
    collector_id: LowCardinality = LOW_CARDINALITY,
}

/// Gathers rows, column by column.
#[derive(Debug)]
pub struct BlockEncoder {
    rows: usize,
    own_id: Arc<str>,
    scopes: Vec<u8>,
    reasons: Vec<u8>,
    columns: Columns,
}

/// What an event's payload is in columns; what a kind of event does not have is empty or 0.
#[derive(Default)]
struct PayloadColumns<'a> {
    language: &'a str,
    previous_language: &'a str,
    text: &'a str,
    suggestion_id: &'a str,
    latency_ms: u32,
    position: u32,
    feedback_action: u8,
    rating: i8,
    comment: &'a str,
}

impl<'a> PayloadColumns<'a> {
    fn of(event: &'a Redacted<'_>) -> Self {
        match &event.payload {
            Payload::TypedText { text, language } => {
                Self { language, text: text.as_str(), ..Self::default() }
            }
            Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position } => Self {
                language,
                text: text.as_str(),
                suggestion_id,
                latency_ms: *latency_ms,
                position: *position,
                ..Self::default()
            },
            Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment } => Self {
                text: final_text.as_str(),
                suggestion_id,
                feedback_action: *action as u8,
                rating: *rating,
                comment: comment.as_str(),
                ..Self::default()
            },
            Payload::LanguagePreference { language, previous_language } => {
                Self { language, previous_language, ..Self::default() }
            }
        }
    }
}

impl BlockEncoder {
    /// An encoder whose rows carry this collector's id.
    #[must_use]
    pub fn new(collector_id: &str) -> Self {
        Self {
            rows: 0,
            own_id: collector_id.into(),
            scopes: Vec::new(),
            reasons: Vec::new(),
            columns: Columns::default(),
        }
    }

    /// How many rows were added since the last block.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// About how long the block would be now.
    #[must_use]
    pub fn encoded_len_hint(&self) -> usize {
        // The columns that grow with what clients send; the rest is a few bytes a row.
        let Columns { text, comment, session_id, interaction_id, suggestion_id, .. } = &self.columns;
        let variable = [text, comment, session_id, interaction_id, suggestion_id];
        BLOCK_OVERHEAD_BYTES + self.rows * 110 + variable.map(Column::len_bytes).iter().sum::<usize>()
    }

    /// Adds a row.
    pub fn push(&mut self, event: &Redacted<'_>) {
        let Redacted { context, stamp, .. } = event;
        let payload = PayloadColumns::of(event);
        self.scopes.push(stamp.training_scope as u8);
        self.reasons.push(stamp.reason as u8);
        let columns = &mut self.columns;
        columns.consent_state.push_byte(stamp.state as u8);
        columns.consent_source.push_byte(stamp.source as u8);
        columns.consent_version.push(stamp.consent_version.to_le_bytes());
        columns.policy_version.push(&stamp.policy_version);
        columns.policy_digest.push(&stamp.policy_digest);
        columns.jurisdiction.push(context.jurisdiction.as_str());
        columns.global_privacy_control.push_byte(u8::from(context.global_privacy_control));
        columns.received_at.push(context.received_at.0.to_le_bytes());
        columns.occurred_at.push(context.occurred_at.0.to_le_bytes());
        columns.tenant.push(context.tenant.as_str());
        columns.subject_id.push(uuid_bytes(*event.subject_id.as_bytes()));
        columns.pseudonym_key_id.push(event.pseudonym_key_id);
        columns.event_id.push(uuid_bytes(*context.event_id.as_bytes()));
        columns.session_id.push_string(&context.session_id);
        columns.interaction_id.push_string(&context.interaction_id);
        columns.feature.push(context.feature);
        columns.model.push(context.model);
        columns.client_name.push(context.client_name);
        columns.client_version.push(context.client_version);
        columns.platform.push(context.platform);
        columns.event_type.push_byte(event.payload.event_type() as u8);
        columns.language.push(payload.language);
        columns.previous_language.push(payload.previous_language);
        columns.text.push_string(payload.text);
        columns.suggestion_id.push_string(payload.suggestion_id);
        columns.latency_ms.push(payload.latency_ms.to_le_bytes());
        columns.position.push(payload.position.to_le_bytes());
        columns.feedback_action.push_byte(payload.feedback_action);
        columns.rating.push(payload.rating.to_le_bytes());
        columns.comment.push_string(payload.comment);
        columns.redactions.push(event.redactions.iter().copied());
        columns.redaction_version.push(event.redaction_version);
        columns.collector_id.push(&self.own_id);
        self.rows += 1;
    }

    /// Adds the rows of another.
    pub fn append(&mut self, other: &Self) {
        self.rows += other.rows;
        self.scopes.extend_from_slice(&other.scopes);
        self.reasons.extend_from_slice(&other.reasons);
        self.columns.append(&other.columns);
    }

    /// Forgets the rows, and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.scopes.clear();
        self.reasons.clear();
        self.columns.clear();
    }

    /// Gives the block, and starts anew.
    pub fn finish(&mut self) -> Block {
        let rows = std::mem::take(&mut self.rows);
        let mut out = Writer::new(rows, BLOCK_OVERHEAD_BYTES + rows * 110 + self.columns.text.len_bytes());
        let training_scope = out.bytes_column("training_scope", SCOPE, &mut self.scopes);
        let eligibility_reason = out.bytes_column("eligibility_reason", REASON, &mut self.reasons);
        let sealed_at = out.zeroed("sealed_at", TIME, size_of::<i64>());
        self.columns.drain_into(&mut out);
        debug_assert_eq!(out.columns, COLUMNS);
        Block {
            native: out.bytes,
            // A frame holds 256 MiB at most, and a row takes more than a byte.
            rows: rows as u32,
            offsets: SealOffsets { training_scope, eligibility_reason, sealed_at },
        }
    }
}

/// A block under way.
struct Writer {
    bytes: Vec<u8>,
    rows: usize,
    columns: u64,
}

impl Writer {
    fn new(rows: usize, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        put_varint(&mut bytes, COLUMNS);
        put_varint(&mut bytes, rows as u64);
        Self { bytes, rows, columns: 0 }
    }

    fn name(&mut self, name: &str, data_type: &str) -> u32 {
        put_string(&mut self.bytes, name);
        put_string(&mut self.bytes, data_type);
        self.columns += 1;
        // See `Block::rows`.
        self.bytes.len() as u32
    }

    /// Writes a column and says where its values start.
    fn column(&mut self, name: &str, data_type: &str, values: &mut dyn Column) -> u32 {
        let at = self.name(name, data_type);
        // Without rows the reader takes nothing, not even what comes once for a column.
        if self.rows > 0 {
            values.drain_into(&mut self.bytes, self.rows);
        }
        at
    }

    fn bytes_column(&mut self, name: &str, data_type: &str, values: &mut Vec<u8>) -> u32 {
        let at = self.name(name, data_type);
        self.bytes.append(values);
        at
    }

    fn zeroed(&mut self, name: &str, data_type: &str, width: usize) -> u32 {
        let at = self.name(name, data_type);
        self.bytes.resize(self.bytes.len() + self.rows * width, 0);
        at
    }
}

/// Sets the scope of one row of a block.
pub fn patch_scope(block: &mut [u8], offsets: &SealOffsets, row: u32, scope: TrainingScope) {
    block[offsets.training_scope as usize + row as usize] = scope as u8;
}

/// Sets the reason of one row of a block.
pub fn patch_reason(block: &mut [u8], offsets: &SealOffsets, row: u32, reason: EligibilityReason) {
    block[offsets.eligibility_reason as usize + row as usize] = reason as u8;
}

/// Sets the sealing time, in microseconds since the epoch, of all rows of a block.
pub fn patch_sealed_at(block: &mut [u8], offsets: &SealOffsets, rows: u32, sealed_at: i64) {
    let at = offsets.sealed_at as usize;
    let width = size_of::<i64>();
    for value in block[at..at + rows as usize * width].chunks_exact_mut(width) {
        value.copy_from_slice(&sealed_at.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
