//! Takes personal data out of an event's texts. What is found, and how, is [`crate::redaction`]'s; this stage
//! knows which texts of an event are searched.

use crate::{
    event::{Payload, RawText, RawUserId, Redacted, RedactedText, Tagged},
    redaction::{Author, Counts, Engine},
};

pub use crate::redaction::RULES_VERSION;

/// The stage. It has no settings yet; tenants will bring their own rules.
#[derive(Clone, Debug)]
pub struct Redactor {
    engine: Engine,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    /// Takes the rules of [`RULES_VERSION`] into use.
    #[must_use]
    pub fn new() -> Self {
        Self { engine: Engine::shipped() }
    }

    /// Redacts a text whose author is not known here.
    #[must_use]
    pub fn redact<'a>(&self, text: RawText<'a>) -> (RedactedText<'a>, Counts) {
        self.search(text, None)
    }

    /// Redacts the evidence or the actor of a consent change, the user id of 3 bytes and more
    /// included; a shorter one only when it is the whole text.
    #[must_use]
    pub fn redact_evidence<'a>(&self, text: RawText<'a>, user_id: RawUserId<'_>) -> RedactedText<'a> {
        self.search(text, Some(&Author::of_evidence(user_id.expose()))).0
    }

    /// Redacts every free text of an event, its author's user id of 4 bytes and more included.
    #[must_use]
    pub(super) fn redact_event<'a>(&self, tagged: Tagged<'a>, author: &Author<'_>) -> Redacted<'a> {
        let mut counts = Counts::default();
        let mut redact = |text: RawText<'a>| {
            let (text, found) = self.search(text, Some(author));
            counts.merge(&found);
            text
        };
        let Tagged { event, stamp } = tagged;
        let payload = match event.payload {
            Payload::TypedText { text, language } => Payload::TypedText { text: redact(text), language },
            Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position } => {
                let text = redact(text);
                Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position }
            }
            Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment } => {
                let (final_text, comment) = (redact(final_text), redact(comment));
                Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment }
            }
            Payload::LanguagePreference { language, previous_language } => {
                Payload::LanguagePreference { language, previous_language }
            }
        };
        Redacted {
            context: event.context,
            subject_id: event.subject_id,
            pseudonym_key_id: event.pseudonym_key_id,
            stamp,
            payload,
            redactions: counts.iter().collect(),
            redaction_version: RULES_VERSION,
        }
    }

    fn search<'a>(&self, text: RawText<'a>, author: Option<&Author<'_>>) -> (RedactedText<'a>, Counts) {
        let outcome = self.engine.redact(text.expose(), author);
        (RedactedText::from_redactor(outcome.text), outcome.counts)
    }
}
