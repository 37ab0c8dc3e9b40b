//! Checks an event against every rule of the contract and gives it its checked form.
//!
//! The first broken rule is reported. A message names the rule and its limit, never the value: it
//! travels through logs and clients that must not see what a person typed.

use std::{borrow::Cow, time::Duration};

use uuid::Uuid;

use crate::event::{
    Context, FeedbackAction, Jurisdiction, Micros, Payload, RawText, RawUserId, Received, ReceivedPayload,
    Tenant, Valid,
};

use super::language::{MAX_TAG_BYTES, canonical_tag};

/// The longest `user_id`, in bytes.
pub const MAX_USER_ID_BYTES: usize = 256;
/// The longest session, interaction or suggestion id, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// The longest `feature`, `model` or field of `client`, in bytes.
pub const MAX_FIELD_BYTES: usize = 128;

/// What is taken in one request and one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub max_text_bytes: usize,
    /// The most events of one request; the ones after are rejected.
    pub max_events: u32,
    /// How far `occurred_at` may be ahead of this collector's clock.
    pub max_ahead: Duration,
    /// How far `occurred_at` may be behind this collector's clock.
    pub max_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text_bytes: 64 * 1024,
            max_events: 10_000,
            max_ahead: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// The rule that an event broke. The numbers are those of the wire's `RejectionReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum RejectionReason {
    /// `event_id` is missing or not a UUID.
    InvalidEventId = 1,
    /// `user_id` is missing or too long.
    InvalidUserId = 2,
    /// `session_id` is malformed.
    InvalidSessionId = 3,
    /// `interaction_id` is malformed.
    InvalidInteractionId = 4,
    /// `suggestion_id` is missing or malformed.
    InvalidSuggestionId = 5,
    /// No payload, or one of an unknown kind.
    MissingPayload = 6,
    /// A language is not a BCP 47 tag, or a language preference has none.
    InvalidLanguage = 7,
    /// An enum has an unknown value or none.
    UnknownEnumValue = 8,
    /// `rating` is not -1, 0 or 1.
    InvalidRating = 9,
    /// A text is too long.
    TextTooLong = 10,
    /// `occurred_at` is missing, malformed, too far ahead or too old.
    TimeOutOfRange = 11,
    /// The request holds more events than are taken in one.
    TooManyEvents = 12,
    /// `jurisdiction` is not an ISO 3166 code.
    InvalidJurisdiction = 13,
    /// `feature`, `model` or a field of `client` is too long or has other characters.
    InvalidField = 14,
    /// A text holds personal data of a kind that the tenant's settings refuse.
    RefusedPersonalData = 15,
}

impl RejectionReason {
    /// The name, for metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEventId => "invalid_event_id",
            Self::InvalidUserId => "invalid_user_id",
            Self::InvalidSessionId => "invalid_session_id",
            Self::InvalidInteractionId => "invalid_interaction_id",
            Self::InvalidSuggestionId => "invalid_suggestion_id",
            Self::MissingPayload => "missing_payload",
            Self::InvalidLanguage => "invalid_language",
            Self::UnknownEnumValue => "unknown_enum_value",
            Self::InvalidRating => "invalid_rating",
            Self::TextTooLong => "text_too_long",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::TooManyEvents => "too_many_events",
            Self::InvalidJurisdiction => "invalid_jurisdiction",
            Self::InvalidField => "invalid_field",
            Self::RefusedPersonalData => "refused_personal_data",
        }
    }
}

/// A broken rule.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Violation {
    /// Which rule.
    pub reason: RejectionReason,
    /// The rule and its limit in words; never the value.
    pub message: String,
}

impl Violation {
    fn new(reason: RejectionReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The stage.
#[derive(Clone, Debug)]
pub struct Validator {
    limits: Limits,
}

impl Validator {
    /// Takes the limits into use.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Checks that the event at `index` (from 0) is not one too many for its request.
    ///
    /// # Errors
    /// When the request holds more events than are taken in one.
    pub fn check_index(&self, index: u32) -> Result<(), Violation> {
        let most = self.limits.max_events;
        if index < most {
            return Ok(());
        }
        Err(Violation::new(
            RejectionReason::TooManyEvents,
            format!("a request may hold at most {most} events: send this one in another"),
        ))
    }

    /// Checks one event. `now` is this collector's clock; it becomes `received_at`.
    ///
    /// # Errors
    /// The first rule that the event breaks.
    pub fn validate<'a>(
        &self,
        tenant: &'a Tenant,
        received: Received<'a>,
        now: Micros,
    ) -> Result<Valid<'a>, Violation> {
        use RejectionReason::{InvalidInteractionId, InvalidJurisdiction, InvalidSessionId, MissingPayload};

        let event_id = event_id(received.event_id)?;
        user_id(received.user_id)?;
        let payload = received.payload.ok_or_else(|| {
            Violation::new(MissingPayload, "the event needs a payload of a kind that this collector knows")
        })?;
        let occurred_at = self.occurred_at(received.occurred_at, now)?;
        let session_id = id("session_id", received.session_id, InvalidSessionId)?;
        let interaction_id = id("interaction_id", received.interaction_id, InvalidInteractionId)?;
        field("feature", received.feature)?;
        field("model", received.model)?;
        field("client.name", received.client_name)?;
        field("client.version", received.client_version)?;
        field("client.platform", received.platform)?;
        let jurisdiction = Jurisdiction::parse(received.jurisdiction).ok_or_else(|| {
            Violation::new(
                InvalidJurisdiction,
                "jurisdiction must be an ISO 3166-1 alpha-2 code (DE), an ISO 3166-2 code (US-CA) or empty",
            )
        })?;
        let context = Context {
            tenant,
            event_id,
            occurred_at,
            received_at: now,
            session_id,
            interaction_id,
            feature: received.feature,
            model: received.model,
            client_name: received.client_name,
            client_version: received.client_version,
            platform: received.platform,
            jurisdiction,
            global_privacy_control: received.global_privacy_control,
        };
        Ok(Valid { context, user_id: received.user_id, payload: self.payload(payload)? })
    }

    fn payload<'a>(&self, payload: ReceivedPayload<'a>) -> Result<Payload<'a, RawText<'a>>, Violation> {
        Ok(match payload {
            ReceivedPayload::TypedText { text, language } => Payload::TypedText {
                text: self.text("typed_text.text", text)?,
                language: optional_language("typed_text.language", language)?,
            },
            ReceivedPayload::SuggestionShown { suggestion_id, text, language, latency_ms, position } => {
                let suggestion_id = required_suggestion_id(suggestion_id)?;
                Payload::SuggestionShown {
                    suggestion_id,
                    text: self.text("suggestion_shown.text", text)?,
                    language: optional_language("suggestion_shown.language", language)?,
                    latency_ms,
                    position,
                }
            }
            ReceivedPayload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment } => {
                let suggestion_id = required_suggestion_id(suggestion_id)?;
                Payload::SuggestionFeedback {
                    suggestion_id,
                    action: feedback_action(action)?,
                    rating: feedback_rating(rating)?,
                    final_text: self.text("suggestion_feedback.final_text", final_text)?,
                    comment: self.text("suggestion_feedback.comment", comment)?,
                }
            }
            ReceivedPayload::LanguagePreference { language, previous_language } => {
                if language.is_empty() {
                    return Err(Violation::new(
                        RejectionReason::InvalidLanguage,
                        "language_preference.language is missing",
                    ));
                }
                Payload::LanguagePreference {
                    language: optional_language("language_preference.language", language)?,
                    previous_language: optional_language(
                        "language_preference.previous_language",
                        previous_language,
                    )?,
                }
            }
        })
    }

    fn occurred_at(&self, sent: Option<(i64, i32)>, now: Micros) -> Result<Micros, Violation> {
        let broken = |message: String| Violation::new(RejectionReason::TimeOutOfRange, message);
        let (seconds, nanos) = sent.ok_or_else(|| broken("occurred_at is missing".to_owned()))?;
        if !(0..1_000_000_000).contains(&nanos) {
            return Err(broken("occurred_at.nanos must be 0 to 999,999,999".to_owned()));
        }
        // In 128 bits no sum or difference of 64-bit times overflows.
        let micros = i128::from(seconds) * 1_000_000 + i128::from(nanos) / 1_000;
        let ahead = micros - i128::from(now.0);
        let Limits { max_ahead, max_age, .. } = &self.limits;
        if ahead > i128::try_from(max_ahead.as_micros()).unwrap_or(i128::MAX) {
            return Err(broken(format!(
                "occurred_at may be at most {} ahead of the collector's clock",
                in_words(*max_ahead)
            )));
        }
        if -ahead > i128::try_from(max_age.as_micros()).unwrap_or(i128::MAX) {
            return Err(broken(format!("occurred_at may be at most {} old", in_words(*max_age))));
        }
        i64::try_from(micros)
            .map(Micros)
            .map_err(|_| broken("occurred_at is not a time that can be stored".to_owned()))
    }

    fn text<'a>(&self, name: &str, text: RawText<'a>) -> Result<RawText<'a>, Violation> {
        let most = self.limits.max_text_bytes;
        if text.len() <= most {
            return Ok(text);
        }
        Err(Violation::new(
            RejectionReason::TextTooLong,
            format!("{name} may be at most {most} bytes of UTF-8"),
        ))
    }
}

fn event_id(sent: &str) -> Result<Uuid, Violation> {
    uuid(sent).ok_or_else(|| {
        Violation::new(
            RejectionReason::InvalidEventId,
            "event_id must be a UUID of 36 characters with hyphens, and not the nil UUID",
        )
    })
}

/// Any version; hyphenated, in any case. The nil UUID is what an unset one looks like.
#[must_use]
pub fn uuid(sent: &str) -> Option<Uuid> {
    // `Uuid::parse_str` also takes braces, `urn:uuid:` and no hyphens: two forms of one id would be
    // no harm, but the contract has one.
    Uuid::parse_str(sent).ok().filter(|id| sent.len() == 36 && !id.is_nil())
}

/// Checks the form of a `user_id`, for the consent service too.
///
/// # Errors
/// When it is empty, blank or longer than [`MAX_USER_ID_BYTES`].
pub fn user_id(sent: RawUserId<'_>) -> Result<(), Violation> {
    let id = sent.expose();
    if id.len() <= MAX_USER_ID_BYTES && !id.trim().is_empty() {
        return Ok(());
    }
    Err(Violation::new(
        RejectionReason::InvalidUserId,
        format!("user_id must be 1 to {MAX_USER_ID_BYTES} bytes of UTF-8 and not blank"),
    ))
}

/// What an id may hold.
static ID_BYTES: Alphabet = Alphabet::alphanumeric_and(b"._:-");
/// What a field may hold.
static FIELD_BYTES: Alphabet = Alphabet::alphanumeric_and(b" ._:/+()-");

/// A set of ASCII characters, as a table: several short fields of each event are looked at.
struct Alphabet([bool; 256]);

impl Alphabet {
    const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut at = 0;
        while at < table.len() {
            table[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        Self(table)
    }

    fn hold(&self, text: &str) -> bool {
        // No early end, so that there are no branches.
        text.bytes().fold(true, |all, b| all & self.0[usize::from(b)])
    }
}

/// Such ids are stored as they are, so their form leaves no room for an e-mail address.
fn id<'a>(name: &str, sent: &'a str, reason: RejectionReason) -> Result<Cow<'a, str>, Violation> {
    let well_formed = sent.len() <= MAX_ID_BYTES && ID_BYTES.hold(sent);
    if well_formed {
        return Ok(Cow::Borrowed(sent));
    }
    Err(Violation::new(
        reason,
        format!("{name} may be at most {MAX_ID_BYTES} of the letters a to z, digits and ._:-"),
    ))
}

fn required_suggestion_id(sent: &str) -> Result<Cow<'_, str>, Violation> {
    if sent.is_empty() {
        return Err(Violation::new(RejectionReason::InvalidSuggestionId, "suggestion_id is missing"));
    }
    id("suggestion_id", sent, RejectionReason::InvalidSuggestionId)
}

/// Checks a field that is stored as it is, in a column for few distinct values.
///
/// # Errors
/// When it is longer than [`MAX_FIELD_BYTES`] or has other characters.
pub fn field(name: &str, sent: &str) -> Result<(), Violation> {
    let well_formed = sent.len() <= MAX_FIELD_BYTES && FIELD_BYTES.hold(sent);
    if well_formed {
        return Ok(());
    }
    Err(Violation::new(
        RejectionReason::InvalidField,
        format!("{name} may be at most {MAX_FIELD_BYTES} of the letters a to z, digits, space and ._:/+()-"),
    ))
}

fn optional_language<'a>(name: &str, sent: &'a str) -> Result<Cow<'a, str>, Violation> {
    if sent.is_empty() {
        return Ok(Cow::Borrowed(sent));
    }
    canonical_tag(sent).ok_or_else(|| {
        Violation::new(
            RejectionReason::InvalidLanguage,
            format!("{name} must be a well-formed BCP 47 tag of at most {MAX_TAG_BYTES} bytes"),
        )
    })
}

fn feedback_action(sent: i32) -> Result<FeedbackAction, Violation> {
    Ok(match sent {
        1 => FeedbackAction::Accepted,
        2 => FeedbackAction::AcceptedWithEdits,
        3 => FeedbackAction::Rejected,
        4 => FeedbackAction::Ignored,
        5 => FeedbackAction::Reported,
        _ => {
            return Err(Violation::new(
                RejectionReason::UnknownEnumValue,
                "suggestion_feedback.action must be one of the actions 1 to 5",
            ));
        }
    })
}

fn feedback_rating(sent: i32) -> Result<i8, Violation> {
    i8::try_from(sent).ok().filter(|rating| (-1..=1).contains(rating)).ok_or_else(|| {
        Violation::new(RejectionReason::InvalidRating, "suggestion_feedback.rating must be -1, 0 or 1")
    })
}

fn in_words(limit: Duration) -> String {
    match limit.as_secs() {
        s if s >= 86_400 && s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s >= 60 && s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

#[cfg(test)]
mod tests;
