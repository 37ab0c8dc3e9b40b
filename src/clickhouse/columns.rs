//! The columns of `events`, and nobody else names them: rows become one `Native` block here.
//!
//! Sealing may change the first three columns alone. They are the *head* of a block, which is written when it
//! is known what they are; all that comes after them, the *rest*, never changes once it is encoded.

use std::sync::Arc;

mod read;

pub use read::{RowSummary, Stamped, describe_rows, find_rows};

use super::native::{Column, CountMap, LowCardinality, Plain, put_string, put_varint, uuid_bytes};
use crate::event::{Payload, Redacted};

/// Those of the head.
const HEAD_COLUMNS: u16 = 3;

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

/// Rows as one `Native` block, without its head.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// How many columns it has, those of the head included.
    pub columns: u16,
    /// How many rows it has.
    pub rows: u32,
    /// `training_scope` as it was at receipt, a byte a row.
    pub scopes: Vec<u8>,
    /// `eligibility_reason` as it was at receipt, a byte a row.
    pub reasons: Vec<u8>,
    /// All columns after the head.
    pub rest: Vec<u8>,
}

impl Block {
    /// The whole block, sealed at a time in microseconds since the epoch.
    #[must_use]
    pub fn native(&self, sealed_at: i64) -> Vec<u8> {
        let mut native = Vec::with_capacity(BLOCK_OVERHEAD_BYTES + self.scopes.len() * 10 + self.rest.len());
        put_head(&mut native, self.columns, &self.scopes, &self.reasons, sealed_at);
        native.extend_from_slice(&self.rest);
        native
    }
}

/// Appends the head of a block of so many columns: their number and that of the rows, and the columns that
/// sealing may change. There is a scope and a reason for each row, and one sealing time, in microseconds since
/// the epoch, for all.
pub fn put_head(out: &mut Vec<u8>, columns: u16, scopes: &[u8], reasons: &[u8], sealed_at: i64) {
    debug_assert_eq!(scopes.len(), reasons.len());
    put_varint(out, columns.into());
    put_varint(out, scopes.len() as u64);
    put_name(out, "training_scope", SCOPE);
    out.extend_from_slice(scopes);
    put_name(out, "eligibility_reason", REASON);
    out.extend_from_slice(reasons);
    put_name(out, "sealed_at", TIME);
    for _ in scopes {
        out.extend_from_slice(&sealed_at.to_le_bytes());
    }
}

fn put_name(out: &mut Vec<u8>, name: &str, data_type: &str) {
    put_string(out, name);
    put_string(out, data_type);
}

/// Says once what the columns are: a field that gathers each, its name, and its type. Those that sealing may
/// change stand before them in a block.
macro_rules! columns {
    ($($name:ident: $column:ty = $data_type:expr,)*) => {
        /// The columns of an insert, in the order of a block.
        pub const INSERT_COLUMNS: &str = concat!(
            "(training_scope, eligibility_reason, sealed_at", $(", ", stringify!($name),)* ")"
        );

        const COLUMNS: u16 = HEAD_COLUMNS + [$(stringify!($name)),*].len() as u16;

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

            /// Appends all of them to a block of so many rows, and starts anew.
            fn drain_into(&mut self, out: &mut Vec<u8>, rows: usize) {
                $(
                    put_name(out, stringify!($name), $data_type);
                    // Without rows the reader takes nothing, not even what comes once for a column.
                    if rows > 0 {
                        self.$name.drain_into(out, rows);
                    }
                )*
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

    /// How much memory the texts have, used or not.
    #[must_use]
    pub fn texts_capacity(&self) -> usize {
        self.columns.text.capacity() + self.columns.comment.capacity()
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
        let mut block = Block::default();
        self.finish_into(&mut block);
        block
    }

    /// The same in the memory of a block that is no longer needed.
    pub fn finish_into(&mut self, block: &mut Block) {
        let rows = std::mem::take(&mut self.rows);
        block.columns = COLUMNS;
        // Nobody has memory for more rows than that.
        block.rows = rows as u32;
        std::mem::swap(&mut block.scopes, &mut self.scopes);
        std::mem::swap(&mut block.reasons, &mut self.reasons);
        self.scopes.clear();
        self.reasons.clear();
        block.rest.clear();
        self.columns.drain_into(&mut block.rest, rows);
    }
}

#[cfg(test)]
pub(crate) mod tests;
