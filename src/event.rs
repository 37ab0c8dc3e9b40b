//! The stages of an event as types.
//!
//! ```text
//! Received ─▶ Valid ─▶ Pseudonymous ─▶ Tagged ─▶ Redacted
//! ```
//!
//! Each stage of [`crate::pipeline`] takes one type and gives the next, so a stage cannot be
//! skipped, and the spool's encoder takes [`Redacted`] alone: text that was not redacted and user
//! ids that were not pseudonymised have no way to a disk. [`RawText`] and [`RawUserId`] cannot be
//! printed, logged or serialised by accident: their `Debug` says how long they are and nothing more.
//!
//! Texts are borrowed from the request that brought them (`'a`), all the way to the encoder, which
//! copies them once. What a stage has to change, it owns from there on.

use std::{borrow::Cow, fmt, sync::Arc};

use uuid::Uuid;

use crate::consent::{ConsentState, EligibilityReason, Source, TermsVersion, TrainingScope};

/// One product or company; every credential belongs to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// Names a tenant. The configuration checks the form of the name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name, as in the column `tenant`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tenant's own id of a person. It leaves memory as a [`SubjectId`] only.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RawUserId<'a>(&'a str);

impl<'a> RawUserId<'a> {
    /// Wraps an id as it came in.
    #[must_use]
    pub const fn new(id: &'a str) -> Self {
        Self(id)
    }

    /// The id itself, for the pseudonymiser and for the validator.
    #[must_use]
    pub const fn expose(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for RawUserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawUserId({} bytes)", self.0.len())
    }
}

/// Text as a person typed it. It leaves memory as [`RedactedText`] only.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RawText<'a>(&'a str);

impl<'a> RawText<'a> {
    /// Wraps a text as it came in.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text itself, for the redactor and for the validator.
    #[must_use]
    pub const fn expose(&self) -> &'a str {
        self.0
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for RawText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawText({} bytes)", self.0.len())
    }
}

/// Text that went through the redactor. Only [`crate::pipeline::redact`] makes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactedText<'a>(Cow<'a, str>);

impl<'a> RedactedText<'a> {
    pub(crate) const fn from_redactor(text: Cow<'a, str>) -> Self {
        Self(text)
    }

    /// The same, independent of the request that brought it.
    #[must_use]
    pub fn into_owned(self) -> RedactedText<'static> {
        RedactedText(Cow::Owned(self.0.into_owned()))
    }

    /// The text with its placeholders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person's keyed 128-bit pseudonym: the only identity that reaches a disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId([u8; 16]);

impl SubjectId {
    /// Takes the 16 bytes that the pseudonymiser computed, or that a store gave back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order in which the UUID prints them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The same as a UUID, as in the column `subject_id`.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.0)
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_uuid().fmt(f)
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectId({self})")
    }
}

/// Microseconds since 1970-01-01 UTC, the resolution of every time column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// The wall clock's time. Stored and shown, never compared across machines.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Micros {
    /// As RFC 3339, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        prost_types::Timestamp { seconds: self.0.div_euclid(1_000_000), nanos }.fmt(f)
    }
}

/// Where a person is: an ISO 3166-1 alpha-2 or 3166-2 code in upper case, or unknown (empty).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Jurisdiction {
    len: u8,
    code: [u8; 6],
}

impl Jurisdiction {
    /// Nobody said where the person is; the strictest rule applies.
    pub const UNKNOWN: Self = Self { len: 0, code: [0; 6] };

    /// Reads `DE`, `us-ca` or an empty string. `None` when it has another form.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let bytes = code.as_bytes();
        let well_formed = match bytes {
            [] => true,
            [a, b] => a.is_ascii_alphabetic() && b.is_ascii_alphabetic(),
            [a, b, b'-', rest @ ..] => {
                a.is_ascii_alphabetic()
                    && b.is_ascii_alphabetic()
                    && (1..=3).contains(&rest.len())
                    && rest.iter().all(u8::is_ascii_alphanumeric)
            }
            _ => false,
        };
        if !well_formed {
            return None;
        }
        let mut upper = [0; 6];
        for (to, from) in upper.iter_mut().zip(bytes) {
            *to = from.to_ascii_uppercase();
        }
        Some(Self { len: u8::try_from(bytes.len()).ok()?, code: upper })
    }

    /// The code in upper case; empty when unknown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // `parse` lets nothing but ASCII in.
        std::str::from_utf8(&self.code[..usize::from(self.len)]).unwrap_or_default()
    }

    /// The country of a subdivision (`US` of `US-CA`); itself when it is a country or unknown.
    #[must_use]
    pub fn country(&self) -> Self {
        if self.len <= 2 {
            return *self;
        }
        Self { len: 2, code: [self.code[0], self.code[1], 0, 0, 0, 0] }
    }

    /// Whether nobody said where the person is.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jurisdiction({:?})", self.as_str())
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of an event. The numbers are those of the column `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum EventType {
    /// A text that a person typed.
    TypedText = 1,
    /// A suggestion that a person was shown.
    SuggestionShown = 2,
    /// What a person thought of a suggestion.
    SuggestionFeedback = 3,
    /// A language that a person chose.
    LanguagePreference = 4,
}

impl EventType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::TypedText, Self::SuggestionShown, Self::SuggestionFeedback, Self::LanguagePreference];

    /// The name, as in the column and in policy files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TypedText => "typed_text",
            Self::SuggestionShown => "suggestion_shown",
            Self::SuggestionFeedback => "suggestion_feedback",
            Self::LanguagePreference => "language_preference",
        }
    }
}

/// What a person did with a suggestion. The numbers are those of the column `feedback_action`,
/// where 0 stands for "not a feedback".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum FeedbackAction {
    /// Taken as it was.
    Accepted = 1,
    /// Taken, then changed.
    AcceptedWithEdits = 2,
    /// Turned down.
    Rejected = 3,
    /// Neither taken nor turned down.
    Ignored = 4,
    /// Reported as harmful or wrong.
    Reported = 5,
}

/// An event as it came off the wire: mapped, nothing checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received<'a> {
    /// The idempotency key as sent.
    pub event_id: &'a str,
    /// The tenant's own id of the person.
    pub user_id: RawUserId<'a>,
    /// Seconds and nanoseconds since the epoch, by the client's clock.
    pub occurred_at: Option<(i64, i32)>,
    /// See [`Context`].
    pub session_id: &'a str,
    /// See [`Context`].
    pub interaction_id: &'a str,
    /// See [`Context`].
    pub feature: &'a str,
    /// See [`Context`].
    pub model: &'a str,
    /// See [`Context`].
    pub client_name: &'a str,
    /// See [`Context`].
    pub client_version: &'a str,
    /// See [`Context`].
    pub platform: &'a str,
    /// As sent, in any case.
    pub jurisdiction: &'a str,
    /// Whether the client sent a Global Privacy Control signal.
    pub global_privacy_control: bool,
    /// What happened; `None` when it is absent or of a kind unknown here.
    pub payload: Option<ReceivedPayload<'a>>,
}

/// A payload as it came off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedPayload<'a> {
    /// A text that a person typed.
    TypedText {
        /// The text.
        text: RawText<'a>,
        /// BCP 47.
        language: &'a str,
    },
    /// A suggestion that a person was shown.
    SuggestionShown {
        /// The suggestion's id.
        suggestion_id: &'a str,
        /// The suggested text.
        text: RawText<'a>,
        /// BCP 47.
        language: &'a str,
        /// Milliseconds from request to suggestion.
        latency_ms: u32,
        /// Its place in a list, from 0.
        position: u32,
    },
    /// What a person thought of a suggestion.
    SuggestionFeedback {
        /// The suggestion's id.
        suggestion_id: &'a str,
        /// The action's number on the wire.
        action: i32,
        /// The rating as sent.
        rating: i32,
        /// The text as the person left it.
        final_text: RawText<'a>,
        /// What the person wrote about it.
        comment: RawText<'a>,
    },
    /// A language that a person chose.
    LanguagePreference {
        /// BCP 47.
        language: &'a str,
        /// BCP 47.
        previous_language: &'a str,
    },
}

/// What all valid events share, apart from identity and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// Whose event it is.
    pub tenant: &'a Tenant,
    /// The idempotency key.
    pub event_id: Uuid,
    /// When it happened, by the client's clock.
    pub occurred_at: Micros,
    /// When it was received, by this collector's clock.
    pub received_at: Micros,
    /// Groups the events of one sitting.
    pub session_id: Cow<'a, str>,
    /// Ties typed text, suggestion and feedback together.
    pub interaction_id: Cow<'a, str>,
    /// The product's feature.
    pub feature: &'a str,
    /// The model that made the suggestion.
    pub model: &'a str,
    /// The app's name.
    pub client_name: &'a str,
    /// The app's version.
    pub client_version: &'a str,
    /// What the app runs on.
    pub platform: &'a str,
    /// Where the person is.
    pub jurisdiction: Jurisdiction,
    /// Whether the client sent a Global Privacy Control signal.
    pub global_privacy_control: bool,
}

/// What happened, with texts of type `T`: [`RawText`] before the redactor, [`RedactedText`] after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a, T> {
    /// A text that a person typed.
    TypedText {
        /// The text.
        text: T,
        /// BCP 47, or empty.
        language: Cow<'a, str>,
    },
    /// A suggestion that a person was shown.
    SuggestionShown {
        /// The suggestion's id.
        suggestion_id: Cow<'a, str>,
        /// The suggested text.
        text: T,
        /// BCP 47, or empty.
        language: Cow<'a, str>,
        /// Milliseconds from request to suggestion.
        latency_ms: u32,
        /// Its place in a list, from 0.
        position: u32,
    },
    /// What a person thought of a suggestion.
    SuggestionFeedback {
        /// The suggestion's id.
        suggestion_id: Cow<'a, str>,
        /// What the person did.
        action: FeedbackAction,
        /// -1, 0 or 1.
        rating: i8,
        /// The text as the person left it.
        final_text: T,
        /// What the person wrote about it.
        comment: T,
    },
    /// A language that a person chose.
    LanguagePreference {
        /// BCP 47.
        language: Cow<'a, str>,
        /// BCP 47, or empty.
        previous_language: Cow<'a, str>,
    },
}

impl<T> Payload<'_, T> {
    /// The kind of the event.
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::TypedText { .. } => EventType::TypedText,
            Self::SuggestionShown { .. } => EventType::SuggestionShown,
            Self::SuggestionFeedback { .. } => EventType::SuggestionFeedback,
            Self::LanguagePreference { .. } => EventType::LanguagePreference,
        }
    }
}

/// An event that broke no rule.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    /// What all events share.
    pub context: Context<'a>,
    /// The person, not yet pseudonymised.
    pub user_id: RawUserId<'a>,
    /// What happened, not yet redacted.
    pub payload: Payload<'a, RawText<'a>>,
}

/// The consent that an event is stamped with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The widest scope that the author's consent covers.
    pub training_scope: TrainingScope,
    /// Why.
    pub reason: EligibilityReason,
    /// The state for `first_party`, without which nothing is eligible.
    pub state: ConsentState,
    /// Where that state comes from.
    pub source: Source,
    /// The subject's newest consent version in the view that decided; 0 when there is no record.
    pub consent_version: u32,
    /// The terms that the consent was given under; empty when there is no record.
    pub policy_version: TermsVersion,
    /// SHA-256 of the policy that decided, in lower-case hexadecimal.
    pub policy_digest: Arc<str>,
}

/// An event with its author's pseudonym in place of the author's id.
#[derive(Clone, Debug)]
pub struct Pseudonymous<'a> {
    /// What all events share.
    pub context: Context<'a>,
    /// The person's pseudonym.
    pub subject_id: SubjectId,
    /// The key that made it.
    pub pseudonym_key_id: &'a str,
    /// What happened, not yet redacted.
    pub payload: Payload<'a, RawText<'a>>,
}

/// An event with the consent that its author had given when it was received.
#[derive(Clone, Debug)]
pub struct Tagged<'a> {
    /// The event.
    pub event: Pseudonymous<'a>,
    /// Its stamp.
    pub stamp: Stamp,
}

/// An event that may be written to a disk.
#[derive(Clone, Debug)]
pub struct Redacted<'a> {
    /// What all events share.
    pub context: Context<'a>,
    /// The person's pseudonym.
    pub subject_id: SubjectId,
    /// The key that made it.
    pub pseudonym_key_id: &'a str,
    /// The consent at receipt.
    pub stamp: Stamp,
    /// What happened.
    pub payload: Payload<'a, RedactedText<'a>>,
    /// How many of each entity the redactor took out, by its name.
    pub redactions: Vec<(&'static str, u16)>,
    /// The version of the redactor's rules.
    pub redaction_version: &'a str,
}
