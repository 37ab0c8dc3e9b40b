//! Takes personal data out of text and leaves typed placeholders.
//!
//! What is found today: e-mail addresses ([`email`]), payment cards ([`card`]), phone numbers
//! ([`phone`]) and the author's own user id ([`author`]); `docs/redaction.md` says what is not. A
//! placeholder is numbered per text, so that two mentions of one address stay one: `<EMAIL_1>`.
//!
//! Cost: one cheap survey of the bytes; a text without an `@`, with too few digits and without its
//! author's id is given back without a copy. Everything else is linear in the length of the text:
//! scanners with bounded windows, no backtracking. Tricks with full-width forms, other scripts'
//! digits and invisible characters are undone in a [`view`] of the text that alone is searched.
//!
//! Taking a span out can uncover another (the number after a card, say), so a text with hits is
//! searched again until nothing is found: redacting twice gives the same as redacting once.

use std::{borrow::Cow, collections::HashMap};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::event::{Payload, RawText, RawUserId, Redacted, RedactedText, Tagged};

pub(super) mod author;
mod card;
mod chars;
mod context;
mod email;
mod numbers;
mod phone;
mod view;

use author::Author;
use view::{Survey, View};

/// The version of the rules, as in the column `redaction_version`. Any change of what is found
/// changes it.
pub const RULES_VERSION: &str = "2026-11-24.1";

/// The rules in words, for the record of [`RULES_VERSION`]; their form is that of the code.
const RULES_BODY: &str = "EMAIL: local@domain.tld in any script, quoted local parts, [address] domains; encoded and \
disguised forms.\nCARD: 12 to 19 digits with Luhn's check and a known network's prefix and length.\nPHONE: country codes, \
national forms with separators, 7 to 15 digits after a word that says so.\nUSER: the author's own user id, whole words.\n";

/// Rules as they are recorded beside the rows that they redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRecord {
    /// Their version, as in the column `redaction_version`.
    pub version: String,
    /// SHA-256 of the body, in hexadecimal digits.
    pub digest: String,
    /// The rules themselves.
    pub body: String,
}

/// The most searches of one text. Real texts need two; the limit keeps the time linear.
const MAX_PASSES: usize = 8;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
enum Entity {
    Email,
    Card,
    Phone,
    User,
}

impl Entity {
    const ALL: [Self; 4] = [Self::Email, Self::Card, Self::Phone, Self::User];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Card => "CARD",
            Self::Phone => "PHONE",
            Self::User => "USER",
        }
    }
}

/// Bytes of a view that are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    entity: Entity,
}

impl Span {
    const fn len(self) -> usize {
        self.end - self.start
    }
}

/// How many of each entity were taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u16; Entity::ALL.len()]);

impl Counts {
    /// The entities that were found, by name, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u16)> + '_ {
        Entity::ALL
            .into_iter()
            .map(|entity| (entity.as_str(), self.0[entity as usize]))
            .filter(|&(_, count)| count > 0)
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn add(&mut self, entity: Entity) {
        let count = &mut self.0[entity as usize];
        *count = count.saturating_add(1);
    }

    fn merge(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }
}

/// The stage. It has no settings yet; tenants will bring their own rules.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    _rules: (),
}

impl Redactor {
    /// Takes the rules of [`RULES_VERSION`] into use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All rules that an event may be redacted by, for the record.
    #[must_use]
    pub fn records(&self) -> Vec<RulesRecord> {
        use std::fmt::Write as _;
        let hash = digest(&SHA256, RULES_BODY.as_bytes());
        let digest = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        vec![RulesRecord { version: RULES_VERSION.to_owned(), digest, body: RULES_BODY.to_owned() }]
    }

    /// Redacts a text whose author is not known here.
    #[must_use]
    pub fn redact<'a>(&self, text: RawText<'a>) -> (RedactedText<'a>, Counts) {
        search(text, None)
    }

    /// Redacts the evidence or the actor of a consent change, the user id of 3 bytes and more
    /// included; a shorter one only when it is the whole text.
    #[must_use]
    pub fn redact_evidence<'a>(&self, text: RawText<'a>, user_id: RawUserId<'_>) -> RedactedText<'a> {
        search(text, Some(&Author::of_evidence(user_id))).0
    }

    /// Redacts every free text of an event, its author's user id of 4 bytes and more included.
    #[must_use]
    pub(super) fn redact_event<'a>(&self, tagged: Tagged<'a>, author: &Author<'_>) -> Redacted<'a> {
        let mut counts = Counts::default();
        let mut redact = |text: RawText<'a>| {
            let (text, found) = search(text, Some(author));
            counts.merge(found);
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
}

fn search<'a>(text: RawText<'a>, author: Option<&Author<'_>>) -> (RedactedText<'a>, Counts) {
    let mut text = Cow::Borrowed(text.expose());
    let mut placeholders = Placeholders::default();
    for _ in 0..MAX_PASSES {
        match pass(&text, author, &mut placeholders) {
            Some(redacted) => text = Cow::Owned(redacted),
            None => break,
        }
    }
    (RedactedText::from_redactor(text), placeholders.counts)
}

/// Searches a text once. `None` when nothing was found.
fn pass(text: &str, author: Option<&Author<'_>>, placeholders: &mut Placeholders) -> Option<String> {
    let survey = Survey::of(text);
    let mut view = View::plain(text);
    let mut spans = Vec::new();
    if survey.may_hold_data() {
        if survey.has_disguise {
            view = View::undisguised(text);
        }
        if survey.has_at {
            email::find(view.text(), &mut spans);
        }
        if survey.digits >= phone::MIN_DIGITS {
            numbers::for_each_run(view.text(), phone::MIN_DIGITS, |run| {
                let cards = card::find(run);
                phone::find(run, &cards, &mut spans);
                spans.extend(cards);
            });
        }
    }
    if let Some(author) = author {
        author.find(&view, &mut spans);
    }
    if spans.is_empty() {
        return None;
    }
    Some(replace(text, &view, &disjoint(spans), placeholders))
}

/// Sorts spans and joins those that overlap; the widest says what the whole is, and between equals
/// the rule that says more than "the author's own id".
fn disjoint(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, usize::MAX - span.end, span.entity == Entity::User));
    let mut joined: Vec<(Span, usize)> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some((last, widest)) if span.start < last.end => {
                if span.len() > *widest {
                    (last.entity, *widest) = (span.entity, span.len());
                }
                last.end = last.end.max(span.end);
            }
            _ => joined.push((span, span.len())),
        }
    }
    joined.into_iter().map(|(span, _)| span).collect()
}

fn replace(text: &str, view: &View<'_>, spans: &[Span], placeholders: &mut Placeholders) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for span in spans {
        let (start, end) = view.original(span.start, span.end);
        redacted.push_str(&text[copied..start]);
        placeholders.push(&mut redacted, span.entity, &view.text()[span.start..span.end]);
        copied = end;
    }
    redacted.push_str(&text[copied..]);
    redacted
}

/// Numbers the placeholders of one text, the same value the same number.
#[derive(Default)]
struct Placeholders {
    counts: Counts,
    /// `None` until there is a first one: most texts have none, and even an empty map costs something.
    numbers: Option<HashMap<(Entity, String), usize>>,
    distinct: [usize; Entity::ALL.len()],
}

impl Placeholders {
    fn push(&mut self, to: &mut String, entity: Entity, value: &str) {
        self.counts.add(entity);
        let key = match entity {
            // There is one author.
            Entity::User => return to.push_str("<USER>"),
            Entity::Email => value.to_lowercase(),
            Entity::Card => digits_of(value),
            // 0049 and +49 are the same.
            Entity::Phone => digits_of(value).trim_start_matches("00").to_owned(),
        };
        let distinct = &mut self.distinct[entity as usize];
        let number = *self.numbers.get_or_insert_default().entry((entity, key)).or_insert_with(|| {
            *distinct += 1;
            *distinct
        });
        to.push('<');
        to.push_str(entity.as_str());
        to.push('_');
        to.push_str(&number.to_string());
        to.push('>');
    }
}

fn digits_of(value: &str) -> String {
    value.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests;
