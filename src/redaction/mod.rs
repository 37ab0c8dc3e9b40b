//! Finds personal data in text and puts typed placeholders in its place. It knows of texts alone: which of
//! an event's are searched is [`crate::pipeline::redact`]'s.
//!
//! What is found is written in files of rules ([`rules`]): patterns with their checks, and recognisers for
//! what no pattern can tell: [`email`], [`handle`], [`url`], [`card`], [`phone`], [`private_key`] and the author's own id
//! ([`author`]).
//! `docs/redaction.md` lists all, and what is not found. A placeholder is numbered per text, so
//! that two mentions of one address stay one: `<EMAIL_1>`.
//!
//! Cost: one survey of the bytes, many at a time, and one pass in which they are cut into words ([`lexer`]);
//! a text in which nothing is found is given back without a copy. Everything is linear in the length of the
//! text: windows are bounded, and nothing backtracks. Tricks with full-width forms, other scripts' digits
//! and invisible characters are undone in a [`view`] of the text that alone is searched.
//!
//! Taking a span out can uncover another (the number after a card, say), so a text with hits is
//! searched again until nothing is found: redacting twice gives the same as redacting once.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

mod action;
mod address;
mod author;
mod card;
mod chars;
mod context;
mod email;
mod entity;
mod fold;
mod handle;
mod lexer;
mod lexicon;
mod list;
mod numbers;
mod people;
mod phone;
mod places;
mod private_key;
pub mod rules;
mod splice;
mod url;
mod validators;
mod view;
mod words;

pub use action::{Action, Actions, Hasher};
pub use author::Author;
pub use entity::{Counts, Entity};
pub use rules::RulesError;

use lexer::Token;
use rules::{
    RuleSet,
    file::{RuleEntry, RulesFile},
};
use splice::{Splice, Spliced};
use view::{Survey, View};
use words::Words;

/// The version of the shipped rules, as in the column `redaction_version`. Any change of what is found
/// changes it.
pub const RULES_VERSION: &str = "2026-11-28.1";

/// The shipped rules: the name of each file and what is in it.
pub const SHIPPED_RULES: [(&str, &str); 5] = [
    ("builtin.toml", include_str!("rules/builtin.toml")),
    ("identifiers.toml", include_str!("rules/identifiers.toml")),
    ("finance.toml", include_str!("rules/finance.toml")),
    ("network.toml", include_str!("rules/network.toml")),
    ("secrets.toml", include_str!("rules/secrets.toml")),
];

/// The most searches of one text. Real texts need two; the limit keeps the time linear.
const MAX_PASSES: usize = 8;

/// What a placeholder takes, about.
const PLACEHOLDER_BYTES: usize = 16;

thread_local! {
    static TOKENS: RefCell<Tokens> = const { RefCell::new(Tokens::NONE) };
}

/// Lent to each search by its thread: most texts have tokens, and nothing else that takes memory.
struct Tokens {
    /// Of the text that is searched.
    of_text: Vec<Token>,
    /// What the search makes of them.
    spliced: Spliced,
    /// Whether `of_text` is already there, with all that is known of its words: a search of the text before made
    /// this one, and most of its words are the same.
    is_ready: bool,
}

impl Tokens {
    const NONE: Self = Self { of_text: Vec::new(), spliced: Spliced::NONE, is_ready: false };
}

/// Bytes of a view that are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    entity: Entity,
    /// Of rules that take the same characters the highest says what they are.
    priority: u8,
}

impl Span {
    /// A place that a person may be from.
    const PLACE: u8 = 20;
    /// A place that a person lives in, though it may be called after another.
    const HOME: u8 = 31;
    /// A line above an address: a person, if it holds a name.
    const ADDRESSEE: u8 = 25;
    /// Where a person works, or a company, though it may be called after a person.
    const ORGANISATION: u8 = 32;
    /// A name, by lists and the words around it.
    const NAME: u8 = 30;
    /// An address, whatever names and places it holds.
    const ADDRESS: u8 = 35;
    /// What recognisers without a checksum find.
    const PRIORITY: u8 = 40;
    /// What passed a checksum, or has a form that nothing else has.
    const SURE: u8 = 80;

    const fn len(self) -> usize {
        self.end - self.start
    }
}

/// Something that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it is.
    pub entity: Entity,
    /// What stands in its place.
    pub placeholder: String,
}

/// A text after the search, and what was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The text with its placeholders.
    pub text: Cow<'a, str>,
    /// How many of each entity were taken out.
    pub counts: Counts,
    /// Something because of which the text is not to be taken at all ([`Action::Drop`]).
    pub refused: Option<Entity>,
}

/// Finds personal data with the shipped rules and, maybe, more. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    rules: Arc<RuleSet>,
    actions: Arc<Actions>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// The shipped rules alone. They are compiled once in a process.
    ///
    /// # Panics
    /// Never: a test compiles them.
    #[must_use]
    pub fn shipped() -> Self {
        static SHIPPED: LazyLock<Engine> =
            LazyLock::new(|| Engine::new(&[], Actions::default()).expect("the shipped rules compile"));
        SHIPPED.clone()
    }

    /// Takes the shipped rules and those of `more` into use, with what is done with what they find.
    ///
    /// # Errors
    /// When one of the rules is wrong.
    pub fn new(more: &[RulesFile], actions: Actions) -> Result<Self, RulesError> {
        let mut entries = Vec::new();
        for (_, text) in SHIPPED_RULES {
            entries.extend(RulesFile::parse(text)?.rules);
        }
        entries.extend(more.iter().flat_map(|file| file.rules.iter().cloned()));
        Ok(Self { rules: Arc::new(RuleSet::compile(&entries)?), actions: Arc::new(actions) })
    }

    /// Redacts a text, its author's user id included.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str, author: Option<&Author<'_>>) -> Outcome<'a> {
        let mut text = Cow::Borrowed(text);
        let mut placeholders = Placeholders::new(&self.actions);
        TOKENS.with_borrow_mut(|tokens| {
            tokens.is_ready = false;
            for _ in 0..MAX_PASSES {
                match self.pass(&text, tokens, author, &mut placeholders, |_, _, _| {}) {
                    Some(redacted) => text = Cow::Owned(redacted),
                    None => break,
                }
            }
        });
        Outcome { text, counts: placeholders.counts, refused: placeholders.refused }
    }

    /// Redacts a text and says where what was found stood in it, in order.
    #[must_use]
    pub fn inspect(&self, original: &str, author: Option<&Author<'_>>) -> (String, Vec<Finding>) {
        let mut text = Cow::Borrowed(original);
        let mut placeholders = Placeholders::new(&self.actions);
        let mut findings: Vec<Finding> = Vec::new();
        let mut tokens = Tokens::NONE;
        for _ in 0..MAX_PASSES {
            let mut found = Vec::new();
            let redacted = self.pass(
                &text,
                &mut tokens,
                author,
                &mut placeholders,
                |(start, end), entity, placeholder| {
                    let placeholder = placeholder.to_owned();
                    found.push(Finding { start, end, entity, placeholder });
                },
            );
            let Some(redacted) = redacted else { break };
            findings = with_more(findings, found);
            text = Cow::Owned(redacted);
        }
        (text.into_owned(), findings)
    }

    /// The same rules, with something else done with what they find.
    #[must_use]
    pub fn with_actions(&self, actions: Actions) -> Self {
        Self { rules: Arc::clone(&self.rules), actions: Arc::new(actions) }
    }

    /// Whether some rule finds an entity.
    #[must_use]
    pub fn finds(&self, entity: &str) -> bool {
        self.rules.entities().any(|known| known.as_str() == entity)
    }

    /// All that is found, by name.
    #[must_use]
    pub fn entities(&self) -> Vec<&'static str> {
        let mut entities: Vec<_> = self.rules.entities().map(Entity::as_str).collect();
        entities.sort_unstable();
        entities.dedup();
        entities
    }

    /// Tries the examples of a rule with all rules in use. Gives what went wrong, in words.
    #[must_use]
    pub fn check(&self, rule: &RuleEntry) -> Vec<String> {
        let found = |text: &str| -> Vec<(usize, usize)> {
            let (_, findings) = self.inspect(text, None);
            let of_rule = findings.iter().filter(|finding| finding.entity.as_str() == rule.entity);
            of_rule.map(|finding| (finding.start, finding.end)).collect()
        };
        let mut wrong = Vec::new();
        for example in &rule.hits {
            let (text, expected) = marked(example);
            let found = found(&text);
            if found != expected || expected.is_empty() {
                let taken: Vec<_> = found.iter().map(|&(start, end)| &text[start..end]).collect();
                wrong.push(format!("rule `{}`: `{example}`: found {taken:?}", rule.name));
            }
        }
        for text in &rule.misses {
            for (start, end) in found(text) {
                wrong.push(format!("rule `{}`: `{text}`: found `{}`", rule.name, &text[start..end]));
            }
        }
        wrong
    }

    /// Searches a text once, and tells `replaced` where in it each placeholder goes. `None` when nothing was
    /// found; else what it became, of which `tokens` are left.
    fn pass(
        &self,
        text: &str,
        tokens: &mut Tokens,
        author: Option<&Author<'_>>,
        placeholders: &mut Placeholders<'_>,
        mut replaced: impl FnMut((usize, usize), Entity, &str),
    ) -> Option<String> {
        let survey = Survey::of(text);
        let view = if survey.has_disguise { View::undisguised(text) } else { View::plain(text) };
        let mut spans = Vec::new();
        // They are of the text as it stands.
        let are_known = std::mem::take(&mut tokens.is_ready) && !view.is_undisguised();
        if !are_known {
            lexer::tokenise(view.text(), &mut tokens.of_text);
        }
        self.rules.find(view.text(), &tokens.of_text, &mut spans);
        if !tokens.of_text.is_empty() {
            let words = match are_known {
                true => Words::known(view.text(), &tokens.of_text),
                false => Words::of(view.text(), &mut tokens.of_text),
            };
            people::find(&words, &mut spans);
            address::find(&words, &mut spans);
            places::find(&words, &mut spans);
        }
        url::find(view.text(), &mut spans);
        private_key::find(view.text(), &mut spans);
        if survey.has_at {
            email::find(view.text(), &mut spans);
            handle::find(view.text(), &mut spans);
        }
        if survey.digits >= phone::MIN_DIGITS {
            numbers::for_each_run(view.text(), phone::MIN_DIGITS, |run| {
                let cards = card::find(run);
                phone::find(run, &cards, &mut spans);
                spans.extend(cards);
            });
        }
        if let Some(author) = author {
            author.find(&view, &mut spans);
        }
        if spans.is_empty() {
            return None;
        }
        let mut splice = (!view.is_undisguised()).then(|| Splice::new(&tokens.of_text, &mut tokens.spliced));
        let redacted = replace(text, &view, &disjoint(spans), placeholders, |span, entity, placeholder| {
            if let Some(splice) = &mut splice {
                splice.replaced(span, placeholder);
            }
            replaced(span, entity, placeholder);
        });
        tokens.is_ready = splice.is_some_and(|splice| splice.finish(&redacted));
        if tokens.is_ready {
            std::mem::swap(&mut tokens.of_text, &mut tokens.spliced.tokens);
        }
        Some(redacted)
    }
}

/// An example without its marks, and what stood between them.
fn marked(example: &str) -> (String, Vec<(usize, usize)>) {
    let (mut text, mut spans, mut start) = (String::new(), Vec::new(), 0);
    for c in example.chars() {
        match c {
            '»' => start = text.len(),
            '«' => spans.push((start, text.len())),
            _ => text.push(c),
        }
    }
    (text, spans)
}

/// Sorts spans and joins those that overlap; the one with the highest priority says what the whole is, and
/// between equals the widest.
fn disjoint(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, usize::MAX - span.end, u8::MAX - span.priority));
    let mut joined: Vec<(Span, usize)> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some((last, width)) if span.start < last.end => {
                if (span.priority, span.len()) > (last.priority, *width) {
                    (last.entity, last.priority, *width) = (span.entity, span.priority, span.len());
                }
                last.end = last.end.max(span.end);
            }
            _ => joined.push((span, span.len())),
        }
    }
    joined.into_iter().map(|(span, _)| span).collect()
}

fn replace(
    text: &str,
    view: &View<'_>,
    spans: &[Span],
    placeholders: &mut Placeholders<'_>,
    mut replaced: impl FnMut((usize, usize), Entity, &str),
) -> String {
    let mut redacted = String::with_capacity(text.len() + PLACEHOLDER_BYTES * spans.len());
    let mut copied = 0;
    for span in spans {
        let (start, end) = view.original(span.start, span.end);
        redacted.push_str(&text[copied..start]);
        let placeholder = redacted.len();
        placeholders.push(&mut redacted, span.entity, &view.text()[span.start..span.end]);
        replaced((start, end), span.entity, &redacted[placeholder..]);
        copied = end;
    }
    redacted.push_str(&text[copied..]);
    redacted
}

/// Adds what a later pass found to what those before it found: `found` says where in their result. Where it
/// took one of their placeholders with it, the two become one.
fn with_more(before: Vec<Finding>, found: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::with_capacity(before.len() + found.len());
    let mut before = before.into_iter().peekable();
    // The bytes of the placeholders so far, and of what they replaced: how a place in the result is one in the text.
    let (mut added, mut removed) = (0, 0);
    for Finding { start, end, entity, placeholder } in found {
        let ends_by = |earlier: &Finding, added: usize, removed: usize, place: usize| {
            earlier.start + added + earlier.placeholder.len() <= place + removed
        };
        while let Some(earlier) = before.next_if(|earlier| ends_by(earlier, added, removed, start)) {
            added += earlier.placeholder.len();
            removed += earlier.end - earlier.start;
            all.push(earlier);
        }
        let mut first = (start + removed).saturating_sub(added);
        let starts_by =
            |earlier: &Finding, added: usize, removed: usize| earlier.start + added < end + removed;
        let mut last = None;
        while let Some(earlier) = before.next_if(|earlier| starts_by(earlier, added, removed)) {
            first = first.min(earlier.start);
            last = Some(earlier.end);
            added += earlier.placeholder.len();
            removed += earlier.end - earlier.start;
        }
        let end = (end + removed).saturating_sub(added).max(last.unwrap_or(first));
        all.push(Finding { start: first, end, entity, placeholder });
    }
    all.extend(before);
    all
}

/// Numbers the placeholders of one text, the same value the same number.
struct Placeholders<'a> {
    actions: &'a Actions,
    counts: Counts,
    refused: Option<Entity>,
    /// How many values each entity has.
    distinct: Vec<(Entity, usize)>,
    /// Their numbers: the entity, where in `values` the value is, and the number.
    few: Vec<(Entity, Range<usize>, usize)>,
    /// The values of `few`, one after the other.
    values: String,
    /// The numbers once there are more than a few.
    many: Option<HashMap<(Entity, String), usize>>,
}

impl<'a> Placeholders<'a> {
    /// Values that are looked for one by one.
    const FEW: usize = 16;

    fn new(actions: &'a Actions) -> Self {
        Self {
            actions,
            counts: Counts::default(),
            refused: None,
            distinct: Vec::new(),
            few: Vec::new(),
            values: String::new(),
            many: None,
        }
    }

    fn push(&mut self, to: &mut String, entity: Entity, value: &str) {
        self.counts.add(entity);
        if self.actions.of(entity) == Action::Drop {
            self.refused.get_or_insert(entity);
        }
        if entity == Entity::USER {
            // There is one author.
            return to.push_str("<USER>");
        }
        let start = self.values.len();
        add_key(entity, value, &mut self.values);
        if let Some(hash) = self.actions.hash(entity, &self.values[start..]) {
            self.values.truncate(start);
            to.extend(["<", entity.as_str(), ":", &hash, ">"]);
            return;
        }
        let number = self.number(entity, start);
        to.push('<');
        to.push_str(entity.as_str());
        to.push('_');
        push_number(to, number);
        to.push('>');
    }

    /// The number of the value that begins here and ends the values.
    fn number(&mut self, entity: Entity, start: usize) -> usize {
        let (before, value) = self.values.split_at(start);
        let known = match &self.many {
            Some(many) => many.get(&(entity, value.to_owned())).copied(),
            None => self
                .few
                .iter()
                .find(|(known, at, _)| *known == entity && &before[at.clone()] == value)
                .map(|&(_, _, number)| number),
        };
        if let Some(number) = known {
            self.values.truncate(start);
            return number;
        }
        let number = match self.distinct.iter_mut().find(|(known, _)| *known == entity) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.distinct.push((entity, 1));
                1
            }
        };
        if self.many.is_none() && self.few.len() < Self::FEW {
            self.few.push((entity, start..self.values.len(), number));
            return number;
        }
        let value = value.to_owned();
        let few = self.few.drain(..).map(|(entity, at, number)| ((entity, before[at].to_owned()), number));
        let many = self.many.get_or_insert_default();
        many.extend(few);
        many.insert((entity, value), number);
        self.values.clear();
        number
    }
}

/// What two mentions of one value have in common.
fn add_key(entity: Entity, value: &str, to: &mut String) {
    match entity {
        // 0049 and +49 are the same.
        Entity::PHONE => {
            let digits = value.chars().filter(char::is_ascii_digit);
            let zeros = digits.clone().take_while(|&digit| digit == '0').count();
            to.extend(digits.skip(zeros & !1));
        }
        _ if value.is_ascii() => {
            let is_kept = |b: &u8| entity == Entity::EMAIL || b.is_ascii_alphanumeric();
            to.extend(value.bytes().filter(is_kept).map(|b| char::from(b.to_ascii_lowercase())));
        }
        // In dots and hyphens addresses differ.
        Entity::EMAIL => to.push_str(&value.to_lowercase()),
        _ => to.extend(value.to_lowercase().chars().filter(|c| c.is_alphanumeric())),
    }
}

/// Most numbers have one digit.
fn push_number(to: &mut String, number: usize) {
    match u8::try_from(number) {
        Ok(digit @ 0..10) => to.push(char::from(b'0' + digit)),
        _ => to.push_str(&number.to_string()),
    }
}

#[cfg(test)]
mod tests;
