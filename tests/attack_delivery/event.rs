//! What is sent: events made of random words, and a digest that tells each from all others.

use std::{ops::RangeInclusive, time::SystemTime};

use assent::ingress::proto::{self, event::Payload};
use fastrand::Rng;
use uuid::Uuid;

/// Who sends. Each has a key of its own.
pub(crate) const TENANTS: [&str; 3] = ["ash", "birch", "cedar"];

/// How many people each tenant has.
pub(crate) const USERS: u32 = 16;

const WORDS: [&str; 16] = [
    "meadow", "lantern", "quiet", "harbour", "between", "copper", "evening", "thistle", "window", "ferry",
    "marble", "orchard", "saddle", "violet", "whisper", "yonder",
];
const FEATURES: [&str; 3] = ["compose", "reply", "rewrite"];
const LANGUAGES: [&str; 4] = ["en", "de", "pt-BR", "ja"];

/// What an event counts once by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Which of [`TENANTS`].
    pub(crate) tenant: u8,
    pub(crate) id: Uuid,
}

/// The kinds of events, by their numbers in ClickHouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    TypedText = 1,
    SuggestionShown = 2,
    SuggestionFeedback = 3,
    LanguagePreference = 4,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::TypedText, Self::SuggestionShown, Self::SuggestionFeedback, Self::LanguagePreference];

    /// The view that shows it.
    pub(crate) const fn view(self) -> &'static str {
        match self {
            Self::TypedText => "typed_texts",
            Self::SuggestionShown => "suggestions_shown",
            Self::SuggestionFeedback => "suggestion_feedback",
            Self::LanguagePreference => "language_preferences",
        }
    }

    /// The names of the digest's fields in its view; `''` for those that it has not.
    pub(crate) const fn fields(self) -> [&'static str; 7] {
        let [feature, session, interaction] = ["feature", "session_id", "interaction_id"];
        match self {
            Self::TypedText | Self::SuggestionShown => {
                [feature, session, interaction, "language", "''", "text", "''"]
            }
            Self::SuggestionFeedback => [feature, session, interaction, "''", "''", "final_text", "comment"],
            Self::LanguagePreference => {
                [feature, session, interaction, "language", "previous_language", "''", "''"]
            }
        }
    }
}

/// The names of the digest's fields in the table `events`.
pub(crate) const FIELDS: [&str; 7] =
    ["feature", "session_id", "interaction_id", "language", "previous_language", "text", "comment"];

/// The digest as ClickHouse computes it of what it has.
pub(crate) fn digest_sql(fields: [&str; 7]) -> String {
    format!("reinterpretAsUInt64(SHA256(concat({})))", fields.join(r", '\x1f', "))
}

/// The digest of what was sent.
pub(crate) fn digest(fields: [&str; 7]) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, fields.join("\x1f").as_bytes());
    u64::from_le_bytes(digest.as_ref()[..8].try_into().unwrap())
}

/// An event, and what the checker has to know of it.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) digest: u64,
    /// It breaks a rule and has to be rejected.
    pub(crate) is_bad: bool,
    pub(crate) event: proto::Event,
}

/// The tenant's id of a person. Even ones say yes in the beginning, where a scenario asks them to.
pub(crate) fn user_id(user: u32) -> String {
    format!("person-{user}")
}

/// Makes an event of some person, with texts of about so many bytes.
pub(crate) fn make(tenant: usize, rng: &mut Rng, text_bytes: &RangeInclusive<usize>, is_bad: bool) -> Made {
    let id = Uuid::now_v7();
    let kind = rng.choice(Kind::ALL).unwrap_or(Kind::TypedText);
    // The id in letters, since what is redacted out of texts has digits: a person sees which texts were mixed up.
    let nibble = |at: u32| char::from(b'a' + u8::try_from(id.as_u128() >> (124 - 4 * at) & 0xf).unwrap());
    let letters: String = (0..32).map(nibble).chain(" ".chars()).collect();
    let feature = rng.choice(FEATURES).unwrap_or_default();
    let session = format!("s-{tenant}-{}", rng.u16(..));
    let interaction = format!("i-{id}");
    let [language, previous] = [(); 2].map(|()| rng.choice(LANGUAGES).unwrap_or_default());
    let text = letters + &text(rng, text_bytes);
    let comment = if rng.bool() { WORDS[rng.usize(..WORDS.len())] } else { "" };
    let (payload, varying) = match kind {
        Kind::TypedText => {
            let sent = proto::TypedText { text: text.clone(), language: language.to_owned() };
            (Payload::TypedText(sent), [language, "", &text, ""])
        }
        Kind::SuggestionShown => {
            let sent = proto::SuggestionShown {
                suggestion_id: "g-1".to_owned(),
                text: text.clone(),
                language: language.to_owned(),
                latency_ms: rng.u32(..500),
                position: rng.u32(..4),
            };
            (Payload::SuggestionShown(sent), [language, "", &text, ""])
        }
        Kind::SuggestionFeedback => {
            let sent = proto::SuggestionFeedback {
                suggestion_id: "g-1".to_owned(),
                action: proto::FeedbackAction::AcceptedWithEdits.into(),
                rating: 1,
                final_text: text.clone(),
                comment: comment.to_owned(),
            };
            (Payload::SuggestionFeedback(sent), ["", "", &text, comment])
        }
        Kind::LanguagePreference => {
            let sent = proto::LanguagePreference {
                language: language.to_owned(),
                previous_language: previous.to_owned(),
            };
            (Payload::LanguagePreference(sent), [language, previous, "", ""])
        }
    };
    let [language, previous, text, comment] = varying;
    let digest = digest([feature, &session, &interaction, language, previous, text, comment]);
    let event = proto::Event {
        event_id: id.to_string(),
        user_id: if is_bad { String::new() } else { user_id(rng.u32(..USERS)) },
        occurred_at: Some(SystemTime::now().into()),
        session_id: session,
        interaction_id: interaction,
        feature: feature.to_owned(),
        model: "quill-2".to_owned(),
        payload: Some(payload),
        ..proto::Event::default()
    };
    let tenant = u8::try_from(tenant).unwrap();
    Made { key: Key { tenant, id }, kind, digest, is_bad, event }
}

fn text(rng: &mut Rng, bytes: &RangeInclusive<usize>) -> String {
    let bytes = rng.usize(bytes.clone());
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        text.push_str(WORDS[rng.usize(..WORDS.len())]);
        text.push(' ');
    }
    text
}
