//! The columns of `events`, and nobody else names them: rows become one `Native` block here.
//!
//! Sealing may change the first three columns alone. They are the *head* of a block, which is written when it
//! is known what they are; all that comes after them, the *rest*, never changes once it is encoded.

use std::sync::Arc;

mod read;

pub use read::{RowSummary, describe_rows};

use super::native::{Column, CountMap, LowCardinality, Plain, put_string, put_varint, uuid_bytes};
use crate::event::{Payload, Redacted};

/// The columns of an insert, in the order of a block.
pub const INSERT_COLUMNS: &str = "(training_scope, eligibility_reason, sealed_at, consent_state, consent_source, \
    consent_version, policy_version, policy_digest, jurisdiction, global_privacy_control, received_at, occurred_at, \
    tenant, subject_id, pseudonym_key_id, event_id, session_id, interaction_id, feature, model, client_name, \
    client_version, platform, event_type, language, previous_language, text, suggestion_id, latency_ms, position, \
    feedback_action, rating, comment, redactions, redaction_version, collector_id)";

const COLUMNS: u16 = 36;
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
#[derive(Clone, Debug)]
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

/// Gathers rows, column by column.
#[derive(Debug)]
pub struct BlockEncoder {
    rows: usize,
    own_id: Arc<str>,
    training_scope: Plain,
    eligibility_reason: Plain,
    consent_state: Plain,
    consent_source: Plain,
    consent_version: Plain,
    policy_version: LowCardinality,
    policy_digest: LowCardinality,
    jurisdiction: LowCardinality,
    global_privacy_control: Plain,
    received_at: Plain,
    occurred_at: Plain,
    tenant: LowCardinality,
    subject_id: Plain,
    pseudonym_key_id: LowCardinality,
    event_id: Plain,
    session_id: Plain,
    interaction_id: Plain,
    feature: LowCardinality,
    model: LowCardinality,
    client_name: LowCardinality,
    client_version: LowCardinality,
    platform: LowCardinality,
    event_type: Plain,
    language: LowCardinality,
    previous_language: LowCardinality,
    text: Plain,
    suggestion_id: Plain,
    latency_ms: Plain,
    position: Plain,
    feedback_action: Plain,
    rating: Plain,
    comment: Plain,
    redactions: CountMap,
    redaction_version: LowCardinality,
    collector_id: LowCardinality,
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
    fn of(event: &'a Redacted) -> Self {
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
            training_scope: Plain::default(),
            eligibility_reason: Plain::default(),
            consent_state: Plain::default(),
            consent_source: Plain::default(),
            consent_version: Plain::default(),
            policy_version: LowCardinality::default(),
            policy_digest: LowCardinality::default(),
            jurisdiction: LowCardinality::default(),
            global_privacy_control: Plain::default(),
            received_at: Plain::default(),
            occurred_at: Plain::default(),
            tenant: LowCardinality::default(),
            subject_id: Plain::default(),
            pseudonym_key_id: LowCardinality::default(),
            event_id: Plain::default(),
            session_id: Plain::default(),
            interaction_id: Plain::default(),
            feature: LowCardinality::default(),
            model: LowCardinality::default(),
            client_name: LowCardinality::default(),
            client_version: LowCardinality::default(),
            platform: LowCardinality::default(),
            event_type: Plain::default(),
            language: LowCardinality::default(),
            previous_language: LowCardinality::default(),
            text: Plain::default(),
            suggestion_id: Plain::default(),
            latency_ms: Plain::default(),
            position: Plain::default(),
            feedback_action: Plain::default(),
            rating: Plain::default(),
            comment: Plain::default(),
            redactions: CountMap::default(),
            redaction_version: LowCardinality::default(),
            collector_id: LowCardinality::default(),
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
        let variable =
            [&self.text, &self.comment, &self.session_id, &self.interaction_id, &self.suggestion_id];
        BLOCK_OVERHEAD_BYTES + self.rows * 110 + variable.map(Column::len_bytes).iter().sum::<usize>()
    }

    /// Adds a row.
    pub fn push(&mut self, event: &Redacted) {
        let Redacted { context, stamp, .. } = event;
        let payload = PayloadColumns::of(event);
        self.training_scope.push_byte(stamp.training_scope as u8);
        self.eligibility_reason.push_byte(stamp.reason as u8);
        self.consent_state.push_byte(stamp.state as u8);
        self.consent_source.push_byte(stamp.source as u8);
        self.consent_version.push(stamp.consent_version.to_le_bytes());
        self.policy_version.push(&stamp.policy_version);
        self.policy_digest.push(&stamp.policy_digest);
        self.jurisdiction.push(context.jurisdiction.as_str());
        self.global_privacy_control.push_byte(u8::from(context.global_privacy_control));
        self.received_at.push(context.received_at.0.to_le_bytes());
        self.occurred_at.push(context.occurred_at.0.to_le_bytes());
        self.tenant.push(context.tenant.as_str());
        self.subject_id.push(uuid_bytes(*event.subject_id.as_bytes()));
        self.pseudonym_key_id.push(&event.pseudonym_key_id);
        self.event_id.push(uuid_bytes(*context.event_id.as_bytes()));
        self.session_id.push_string(&context.session_id);
        self.interaction_id.push_string(&context.interaction_id);
        self.feature.push(&context.feature);
        self.model.push(&context.model);
        self.client_name.push(&context.client_name);
        self.client_version.push(&context.client_version);
        self.platform.push(&context.platform);
        self.event_type.push_byte(event.payload.event_type() as u8);
        self.language.push(payload.language);
        self.previous_language.push(payload.previous_language);
        self.text.push_string(payload.text);
        self.suggestion_id.push_string(payload.suggestion_id);
        self.latency_ms.push(payload.latency_ms.to_le_bytes());
        self.position.push(payload.position.to_le_bytes());
        self.feedback_action.push_byte(payload.feedback_action);
        self.rating.push(payload.rating.to_le_bytes());
        self.comment.push_string(payload.comment);
        self.redactions.push(event.redactions.iter().copied());
        self.redaction_version.push(event.redaction_version);
        self.collector_id.push(&self.own_id);
        self.rows += 1;
    }

    /// Gives the block, and starts anew.
    pub fn finish(&mut self) -> Block {
        let rows = std::mem::take(&mut self.rows);
        let mut out = Writer::new(rows, BLOCK_OVERHEAD_BYTES + rows * 110 + self.text.len_bytes());
        let (mut scopes, mut reasons) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        self.training_scope.drain_into(&mut scopes, rows);
        self.eligibility_reason.drain_into(&mut reasons, rows);
        out.column("consent_state", STATE, &mut self.consent_state);
        out.column("consent_source", SOURCE, &mut self.consent_source);
        out.column("consent_version", "UInt32", &mut self.consent_version);
        out.column("policy_version", LOW_CARDINALITY, &mut self.policy_version);
        out.column("policy_digest", LOW_CARDINALITY, &mut self.policy_digest);
        out.column("jurisdiction", LOW_CARDINALITY, &mut self.jurisdiction);
        out.column("global_privacy_control", "Bool", &mut self.global_privacy_control);
        out.column("received_at", TIME, &mut self.received_at);
        out.column("occurred_at", TIME, &mut self.occurred_at);
        out.column("tenant", LOW_CARDINALITY, &mut self.tenant);
        out.column("subject_id", "UUID", &mut self.subject_id);
        out.column("pseudonym_key_id", LOW_CARDINALITY, &mut self.pseudonym_key_id);
        out.column("event_id", "UUID", &mut self.event_id);
        out.column("session_id", "String", &mut self.session_id);
        out.column("interaction_id", "String", &mut self.interaction_id);
        out.column("feature", LOW_CARDINALITY, &mut self.feature);
        out.column("model", LOW_CARDINALITY, &mut self.model);
        out.column("client_name", LOW_CARDINALITY, &mut self.client_name);
        out.column("client_version", LOW_CARDINALITY, &mut self.client_version);
        out.column("platform", LOW_CARDINALITY, &mut self.platform);
        out.column("event_type", EVENT_TYPE, &mut self.event_type);
        out.column("language", LOW_CARDINALITY, &mut self.language);
        out.column("previous_language", LOW_CARDINALITY, &mut self.previous_language);
        out.column("text", "String", &mut self.text);
        out.column("suggestion_id", "String", &mut self.suggestion_id);
        out.column("latency_ms", "UInt32", &mut self.latency_ms);
        out.column("position", "UInt32", &mut self.position);
        out.column("feedback_action", ACTION, &mut self.feedback_action);
        out.column("rating", "Int8", &mut self.rating);
        out.column("comment", "String", &mut self.comment);
        out.column("redactions", "Map(LowCardinality(String), UInt16)", &mut self.redactions);
        out.column("redaction_version", LOW_CARDINALITY, &mut self.redaction_version);
        out.column("collector_id", LOW_CARDINALITY, &mut self.collector_id);
        debug_assert_eq!(out.columns, COLUMNS - HEAD_COLUMNS);
        // Nobody has memory for more rows than that.
        Block { columns: COLUMNS, rows: rows as u32, scopes, reasons, rest: out.bytes }
    }
}

/// The columns after the head, under way.
struct Writer {
    bytes: Vec<u8>,
    rows: usize,
    columns: u16,
}

impl Writer {
    fn new(rows: usize, capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), rows, columns: 0 }
    }

    fn column(&mut self, name: &str, data_type: &str, values: &mut dyn Column) {
        put_name(&mut self.bytes, name, data_type);
        self.columns += 1;
        // Without rows the reader takes nothing, not even what comes once for a column.
        if self.rows > 0 {
            values.drain_into(&mut self.bytes, self.rows);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
