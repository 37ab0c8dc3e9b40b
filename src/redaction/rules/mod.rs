//! Rules as data: read from a file, checked, and compiled into two automata that try all patterns at once.
//!
//! A pattern is tried where a word or a number begins, and there alone:
//!
//! - one that begins with fixed letters (`ghp_`, `(?i:password)`) at words that begin so, which a table of
//!   four letters tells;
//! - any other at a word that holds a digit, and at a short word with a digit or a colon next to it.
//!
//! Most words are neither, so text with nothing to find costs little more than being cut into words. The
//! automata are determinised as they go, without backtracking, and never look at more than
//! [`MAX_MATCH_BYTES`] for one match: the time is linear in the length of the text.

use std::collections::{HashMap, HashSet};

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    nfa::thompson,
    util::{pool::Pool, syntax},
};
use regex_syntax::hir::{Hir, literal::Extractor};

use super::{
    Entity, Span,
    chars::is_boundary,
    lexer::{Kind, Token},
    validators::{Validator, validator},
};

pub mod file;

use file::RuleEntry;

/// The most bytes in which a pattern is tried.
pub const MAX_MATCH_BYTES: usize = 256;
/// The most rules of a file.
pub const MAX_RULES: usize = 500;
/// The most bytes that an automaton takes for what it has determinised, for each thread that uses it at a time.
const CACHE_BYTES: usize = 4 << 20;
/// The most bytes of all patterns, compiled.
const MAX_NFA_BYTES: usize = 4 << 20;
/// The letters of a pattern's beginning that the table of beginnings tells apart.
const BEGINNING_BYTES: usize = 4;
/// The most beginnings of one pattern.
const MAX_BEGINNINGS: usize = 8192;
/// The longest run of `extend` in which a rule with it is tried again: each try looks at the rest of the run, so
/// many in a long one would take quadratic time.
const MAX_RUN_BYTES: usize = 4096;
/// The longest word that is tried for its neighbour's sake.
const SHORT_WORD_BYTES: usize = 4;
/// The longest number that is left alone where nothing goes on.
const SHORT_NUMBER_BYTES: usize = 4;
/// How far before a match the words are that must not be there, in bytes.
const NOT_AFTER_BYTES: usize = 32;

/// Why rules cannot be used. Names the rule and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file is not TOML of this form.
    #[error("the rules cannot be read: {0}")]
    Malformed(#[from] Box<toml::de::Error>),
    /// There are too many.
    #[error("there are {0} rules, and at most {MAX_RULES} are allowed: join some with `|`")]
    TooMany(usize),
    /// Two rules have one name.
    #[error("rule `{0}`: another rule has this name: give each its own")]
    SameName(String),
    /// The entity has another form.
    #[error(
        "rule `{rule}`: entity `{entity}`: use upper-case letters, digits and `_`, at most 32, a letter first"
    )]
    Entity {
        /// The rule.
        rule: String,
        /// What it names.
        entity: String,
    },
    /// There is not one of the two.
    #[error("rule `{0}`: give either `pattern` or `recogniser`")]
    PatternOrRecogniser(String),
    /// No such recogniser or validator.
    #[error("rule `{rule}`: there is no {what} `{name}`; there are: {known}")]
    Unknown {
        /// The rule.
        rule: String,
        /// `recogniser` or `validator`.
        what: &'static str,
        /// What it names.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// The pattern is not a regular expression.
    #[error("rule `{rule}`: {source}")]
    Pattern {
        /// The rule.
        rule: String,
        /// Why, with the place.
        #[source]
        source: Box<regex_syntax::Error>,
    },
    /// The pattern matches nothing at all.
    #[error("rule `{0}`: the pattern matches an empty text: let it take at least one character")]
    Empty(String),
    /// The patterns are too large together.
    #[error("the patterns are too large together: {0}; use smaller counts than in `{{1,500}}`, or `extend`")]
    TooLarge(String),
    /// `extend` is not a list of characters.
    #[error("rule `{0}`: `extend` takes ASCII characters and ranges such as `A-Za-z0-9_-`")]
    Extend(String),
    /// The words around cannot be searched for.
    #[error("rule `{0}`: `context` and `not_after` take words in lower case, none of them empty")]
    Context(String),
}

/// A recogniser that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recogniser {
    Email,
    Card,
    Phone,
    Author,
    Handle,
    Url,
    PrivateKey,
    Person,
    Address,
    Organization,
    Location,
}

impl Recogniser {
    const ALL: [(&str, Self); 11] = [
        ("email", Self::Email),
        ("card", Self::Card),
        ("phone", Self::Phone),
        ("author", Self::Author),
        ("handle", Self::Handle),
        ("url", Self::Url),
        ("private-key", Self::PrivateKey),
        ("person", Self::Person),
        ("address", Self::Address),
        ("organization", Self::Organization),
        ("location", Self::Location),
    ];
}

/// Rules that are ready for use. They are shared by all threads.
pub(super) struct RuleSet {
    rules: Vec<Rule>,
    /// Those of recognisers too.
    entities: Vec<Entity>,
    words: Option<Automaton>,
    codes: Option<Automaton>,
    beginnings: Beginnings,
    nearby: Nearby,
    caches: Pool<Caches, MakeCaches>,
}

type MakeCaches = Box<dyn Fn() -> Caches + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// A rule with a pattern.
struct Rule {
    entity: Entity,
    priority: u8,
    lead: Option<regex_automata::meta::Regex>,
    before: Option<String>,
    extend: Option<Box<[bool; 256]>>,
    validator: Option<Validator>,
    /// Whether one of some words must be near.
    has_context: bool,
    /// How far before a match they may be, in bytes.
    reach_before: usize,
    /// How far after it.
    reach_after: usize,
    /// The words, where they may be after it; [`Nearby`] has those before.
    context_after: Option<Words>,
    not_after: Option<Words>,
    /// Tried at words that begin with fixed letters, so it may be joined to what is before.
    begins_fixed: bool,
}

/// Patterns that are tried at once, and whose they are.
struct Automaton {
    dfa: DFA,
    /// The rule of each pattern.
    rules: Vec<usize>,
    /// Whether its matches go on by [`RuleEntry::extend`].
    extends: Vec<bool>,
}

/// What a thread needs to run the automata.
struct Caches {
    words: Option<Cache>,
    codes: Option<Cache>,
    /// Where patterns matched: the pattern and the end.
    matches: Vec<(usize, usize)>,
    /// The rules that were found at a place, or cannot be.
    done: Vec<usize>,
    /// What the words before the place say.
    before: Before,
}

impl RuleSet {
    /// Compiles rules. Their examples are not tried; [`super::Engine::check`] does that.
    ///
    /// # Errors
    /// When a rule is wrong, or all are too large together.
    pub(super) fn compile(entries: &[RuleEntry]) -> Result<Self, RulesError> {
        if entries.len() > MAX_RULES {
            return Err(RulesError::TooMany(entries.len()));
        }
        let mut names = HashSet::new();
        let (mut rules, mut entities) = (Vec::new(), Vec::new());
        let (mut words, mut codes) = (Patterns::default(), Patterns::default());
        let mut beginnings = Beginnings::default();
        for entry in entries {
            if !names.insert(entry.name.as_str()) {
                return Err(RulesError::SameName(entry.name.clone()));
            }
            let entity = entity_of(entry)?;
            entities.push(entity);
            let Some(pattern) = pattern_of(entry)? else { continue };
            let fixed = beginnings_of(&pattern);
            let patterns = if fixed.is_some() { &mut words } else { &mut codes };
            patterns.hirs.push(pattern);
            patterns.rules.push(rules.len());
            patterns.extends.push(entry.extend.is_some());
            rules.push(Rule::new(entry, entity, fixed.is_some())?);
            for beginning in fixed.into_iter().flatten() {
                beginnings.add(&beginning);
            }
        }
        let (words, codes) = (words.compile()?, codes.compile()?);
        let dfas = [&words, &codes].map(|automaton| automaton.as_ref().map(|it| it.dfa.clone()));
        let make: MakeCaches = Box::new(move || {
            let [words, codes] = dfas.each_ref().map(|dfa| dfa.as_ref().map(DFA::create_cache));
            Caches { words, codes, matches: Vec::new(), done: Vec::new(), before: Before::default() }
        });
        let nearby = Nearby::new(&rules, entries)?;
        Ok(Self { rules, entities, words, codes, beginnings, nearby, caches: Pool::new(make) })
    }

    /// What is found, rule by rule.
    pub(super) fn entities(&self) -> impl Iterator<Item = Entity> {
        self.entities.iter().copied()
    }

    /// Adds what the patterns take of a text, whose tokens these are.
    pub(super) fn find(&self, text: &str, tokens: &[Token], spans: &mut Vec<Span>) {
        // Got when there is something to try: most texts have nothing.
        let mut caches = None;
        let mut rest = tokens;
        while let Some((start, begins, coded)) = self.next_tried(text, &mut rest) {
            let caches = caches.get_or_insert_with(|| {
                let mut caches = self.caches.get();
                caches.before.long_run_end = 0;
                caches
            });
            let Caches { words, codes, matches, done, before } = &mut **caches;
            before.forget();
            if let (true, Some(automaton), Some(cache)) = (begins, &self.words, words) {
                self.try_at(automaton, cache, (matches, done, before), text, start, spans);
            }
            if let (true, Some(automaton), Some(cache)) = (coded, &self.codes, codes) {
                self.try_at(automaton, cache, (matches, done, before), text, start, spans);
            }
        }
    }

    /// Goes on to the next token at which something is tried: where it begins, whether patterns of fixed letters are,
    /// and whether others are. Apart from [`Self::find`] because it is all that most words meet.
    #[inline(never)]
    fn next_tried(&self, text: &str, rest: &mut &[Token]) -> Option<(usize, bool, bool)> {
        while let Some((token, after)) = rest.split_first() {
            *rest = after;
            let begins =
                token.kind != Kind::Number && self.beginnings.may_begin(text.as_bytes(), token.start());
            // For words in the order of what is seldom: half of them are short.
            let may_be_coded = match (token.kind, text.as_bytes().get(token.end()..token.end() + 2)) {
                (Kind::Word, Some(&[after, next])) => {
                    (next.is_ascii_digit() || after == b':') && token.len() <= SHORT_WORD_BYTES
                }
                (Kind::Word, _) => false,
                (Kind::Number | Kind::Mixed, _) => true,
            };
            let coded = may_be_coded && is_coded(text, *token);
            if begins || coded {
                return Some((token.start(), begins, coded));
            }
        }
        None
    }

    fn try_at(
        &self,
        automaton: &Automaton,
        cache: &mut Cache,
        (matches, done, before): (&mut Vec<(usize, usize)>, &mut Vec<usize>, &mut Before),
        text: &str,
        start: usize,
        spans: &mut Vec<Span>,
    ) {
        matches.clear();
        done.clear();
        automaton.matches_at(cache, text.as_bytes(), start, matches);
        // They come in the order of their ends.
        for &(rule, end) in matches.iter().rev() {
            if done.contains(&rule) {
                continue;
            }
            let found = &self.rules[rule];
            if found.extend.is_some() && start < before.long_run_end {
                continue;
            }
            let run_end = found.extended(text.as_bytes(), end);
            if run_end - start > MAX_RUN_BYTES {
                before.long_run_end = run_end;
                // It is not looked at again, whatever the rule says of it.
                done.push(rule);
            }
            let Some(taken) = found.takes(text, start, run_end) else { continue };
            if found.has_context && !self.nearby.has(rule, before, text, start) {
                if found.reach_after == 0 {
                    // Nor has a shorter match.
                    done.push(rule);
                    continue;
                }
                if !found.has_context_after(text, taken.1) {
                    continue;
                }
            }
            done.push(rule);
            if !found.is_after_what_excludes_it(text, start) {
                let Rule { entity, priority, .. } = *found;
                spans.push(Span { start: taken.0, end: taken.1, entity, priority });
            }
        }
    }
}

impl Automaton {
    /// Adds all matches that begin at a place: the rule and the end, in the order of the ends.
    ///
    /// This steps itself because the library's own search begins anew for each match, and most searches here
    /// are over after three bytes.
    fn matches_at(&self, cache: &mut Cache, bytes: &[u8], start: usize, matches: &mut Vec<(usize, usize)>) {
        let end = bytes.len().min(start + MAX_MATCH_BYTES);
        let input = Input::new(bytes).range(start..end).anchored(Anchored::Yes);
        // Only a byte that makes the automaton quit, or a cache that gives up, is an error: there are none.
        let Ok(mut state) = self.dfa.start_state_forward(cache, &input) else { return };
        // A match shows one byte late.
        for at in start..end {
            let Ok(next) = self.dfa.next_state(cache, state, bytes[at]) else { return };
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    self.add_matches(cache, state, (bytes, at), matches);
                } else if state.is_dead() || state.is_quit() {
                    return;
                }
            }
        }
        let last = match bytes.get(end) {
            Some(&next) => self.dfa.next_state(cache, state, next),
            None => self.dfa.next_eoi_state(cache, state),
        };
        if let Ok(state) = last
            && state.is_match()
        {
            self.add_matches(cache, state, (bytes, end), matches);
        }
    }

    fn add_matches(
        &self,
        cache: &Cache,
        state: LazyStateID,
        (bytes, end): (&[u8], usize),
        matches: &mut Vec<(usize, usize)>,
    ) {
        // Most matches end within a word or a number, and so are none.
        let is_within =
            bytes[end - 1].is_ascii_alphanumeric() && bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
        for at in 0..self.dfa.match_len(cache, state) {
            let pattern = self.dfa.match_pattern(cache, state, at).as_usize();
            if !is_within || self.extends[pattern] {
                matches.push((self.rules[pattern], end));
            }
        }
    }
}

impl Rule {
    fn new(entry: &RuleEntry, entity: Entity, begins_fixed: bool) -> Result<Self, RulesError> {
        let name = || entry.name.clone();
        let lead = entry.lead.as_deref().map(|lead| lead_of(entry, lead)).transpose()?;
        let extend = match &entry.extend {
            Some(set) => Some(set_of(set).ok_or_else(|| RulesError::Extend(name()))?),
            None => None,
        };
        let validator = match &entry.validator {
            Some(named) => Some(validator(named).ok_or_else(|| RulesError::Unknown {
                rule: name(),
                what: "validator",
                name: named.clone(),
                known: super::validators::names().join(", "),
            })?),
            None => None,
        };
        let words = |words: &[String]| Words::new(words).ok_or_else(|| RulesError::Context(name()));
        let some_words = |list: &[String]| if list.is_empty() { Ok(None) } else { words(list).map(Some) };
        Ok(Self {
            entity,
            priority: entry.priority,
            lead,
            before: entry.before.clone(),
            extend,
            validator,
            has_context: !entry.context.is_empty(),
            context_after: if entry.reach_after > 0 { some_words(&entry.context)? } else { None },
            reach_before: entry.reach_before,
            reach_after: entry.reach_after,
            not_after: some_words(&entry.not_after)?,
            begins_fixed,
        })
    }

    /// Where a match ends with the characters with which it may go on.
    fn extended(&self, bytes: &[u8], end: usize) -> usize {
        match &self.extend {
            Some(set) => {
                end + bytes[end..].iter().position(|&b| !set[usize::from(b)]).unwrap_or(bytes.len() - end)
            }
            None => end,
        }
    }

    /// What is taken of a match of the pattern; `None` when the rule's other demands on it are not met. The words
    /// around it are not looked at.
    fn takes(&self, text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
        let bytes = text.as_bytes();
        if !text.is_char_boundary(end) || !ends_word(text, end, self.begins_fixed) {
            return None;
        }
        if !self.begins_fixed && is_joined_before(bytes, start) {
            return None;
        }
        let taken = match &self.lead {
            Some(lead) => {
                let input = Input::new(text).range(start..end).anchored(Anchored::Yes);
                lead.find(input)?.end()
            }
            None => start,
        };
        let taken = match &self.before {
            Some(before) => text[..taken].strip_suffix(before.as_str())?.len(),
            None => taken,
        };
        if taken >= end || !self.validator.is_none_or(|validator| validator.passes(text, taken, end)) {
            return None;
        }
        Some((taken, end))
    }

    /// Whether one of its words is after a match that ends here.
    fn has_context_after(&self, text: &str, end: usize) -> bool {
        self.context_after.as_ref().is_some_and(|words| words.are_in(text, end, end + self.reach_after))
    }

    /// Whether one of the words that must not be there is before a match.
    fn is_after_what_excludes_it(&self, text: &str, start: usize) -> bool {
        let is_after = |words: &Words| words.are_in(text, start.saturating_sub(NOT_AFTER_BYTES), start);
        self.not_after.as_ref().is_some_and(is_after)
    }
}

/// Whether a pattern without fixed letters at its beginning is tried at a word: where there is a digit, or one
/// comes next. A short number is tried only where it can go on, for no code is that short. A word is at most
/// [`SHORT_WORD_BYTES`] long.
fn is_coded(text: &str, token: Token) -> bool {
    let after = &text.as_bytes()[token.end()..];
    let is_coded = match token.kind {
        Kind::Mixed => true,
        Kind::Number if token.len() > SHORT_NUMBER_BYTES => true,
        Kind::Number => match *after {
            // The day of a date may have the month's name after it.
            [b' ', next, ..] | [b'.', b' ', next, ..] if token.len() <= 2 => {
                next.is_ascii_alphanumeric() || !next.is_ascii() || b"-/.".contains(&next)
            }
            [b' ', next, ..] => next.is_ascii_digit() || next.is_ascii_uppercase() || b"-/.".contains(&next),
            [b'-' | b'.' | b'/', next, ..] => next.is_ascii_alphanumeric() || next == b' ',
            [b':', next, ..] => next.is_ascii_hexdigit() || next == b':',
            _ => false,
        },
        Kind::Word => match *after {
            [b' ' | b'-' | b'.' | b'/', next, ..] => next.is_ascii_digit(),
            [b':', next, ..] => next.is_ascii_hexdigit() || next == b':',
            _ => false,
        },
    };
    is_coded && !is_joined_before(text.as_bytes(), token.start())
}

/// Whether the digits before a place go on there, as in `1.5` and `2024-01`, or a name does, as in `a_1`.
fn is_joined_before(bytes: &[u8], start: usize) -> bool {
    match bytes[..start] {
        [.., b'_'] => true,
        [.., before, b'-' | b'.' | b','] => before.is_ascii_digit(),
        _ => false,
    }
}

/// Whether no word, and no number of which this is a part, goes on at a place.
fn ends_word(text: &str, end: usize, begins_fixed: bool) -> bool {
    let after = text[end..].chars().next();
    if after == Some('_') || !is_boundary(text[..end].chars().next_back(), after) {
        return false;
    }
    begins_fixed || !matches!(text.as_bytes()[end..], [b'-' | b'.' | b',', next, ..] if next.is_ascii_digit())
}

fn entity_of(entry: &RuleEntry) -> Result<Entity, RulesError> {
    Entity::named(&entry.entity)
        .ok_or_else(|| RulesError::Entity { rule: entry.name.clone(), entity: entry.entity.clone() })
}

/// The pattern of a rule, its lead before it; `None` when a recogniser takes its place.
fn pattern_of(entry: &RuleEntry) -> Result<Option<Hir>, RulesError> {
    match (&entry.pattern, &entry.recogniser) {
        (None, Some(name)) if Recogniser::ALL.iter().any(|(known, _)| known == name) => Ok(None),
        (None, Some(name)) => Err(RulesError::Unknown {
            rule: entry.name.clone(),
            what: "recogniser",
            name: name.clone(),
            known: Recogniser::ALL.map(|(name, _)| name).join(", "),
        }),
        (Some(pattern), None) => {
            let pattern = parsed(entry, pattern)?;
            if pattern.properties().minimum_len().is_none_or(|len| len == 0) {
                return Err(RulesError::Empty(entry.name.clone()));
            }
            match &entry.lead {
                Some(lead) => Ok(Some(Hir::concat(vec![parsed(entry, lead)?, pattern]))),
                None => Ok(Some(pattern)),
            }
        }
        _ => Err(RulesError::PatternOrRecogniser(entry.name.clone())),
    }
}

fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn parsed(entry: &RuleEntry, pattern: &str) -> Result<Hir, RulesError> {
    let parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    parser.map_err(|error| RulesError::Pattern { rule: entry.name.clone(), source: Box::new(error) })
}

fn lead_of(entry: &RuleEntry, lead: &str) -> Result<regex_automata::meta::Regex, RulesError> {
    regex_automata::meta::Regex::builder()
        .syntax(syntax_config())
        .build(lead)
        .map_err(|error| RulesError::TooLarge(format!("rule `{}`: {error}", entry.name)))
}

/// The letters with which all matches of a pattern begin, in lower case, at most four of each; `None` when
/// there is no such list, or one of them is no letter.
fn beginnings_of(pattern: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut extractor = Extractor::new();
    extractor.limit_class(16).limit_repeat(3).limit_literal_len(BEGINNING_BYTES).limit_total(MAX_BEGINNINGS);
    let mut literals = extractor.extract(pattern);
    literals.keep_first_bytes(BEGINNING_BYTES);
    let mut beginnings: Vec<Vec<u8>> =
        literals.literals()?.iter().map(|literal| literal.as_bytes().to_ascii_lowercase()).collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    let is_letter = |b: &u8| b.is_ascii_alphabetic() || !b.is_ascii();
    let is_fixed = |literal: &Vec<u8>| literal.len() >= 2 && literal.first().is_some_and(is_letter);
    (!beginnings.is_empty() && beginnings.iter().all(is_fixed)).then_some(beginnings)
}

/// Patterns on their way to an automaton.
#[derive(Default)]
struct Patterns {
    hirs: Vec<Hir>,
    rules: Vec<usize>,
    extends: Vec<bool>,
}

impl Patterns {
    fn compile(self) -> Result<Option<Automaton>, RulesError> {
        if self.hirs.is_empty() {
            return Ok(None);
        }
        let config = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(MAX_NFA_BYTES))
            .which_captures(thompson::WhichCaptures::None);
        let nfa = thompson::Compiler::new()
            .configure(config)
            .build_many_from_hir(&self.hirs)
            .map_err(|error| RulesError::TooLarge(error.to_string()))?;
        let config = DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE_BYTES);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa)
            .map_err(|error| RulesError::TooLarge(error.to_string()))?;
        Ok(Some(Automaton { dfa, rules: self.rules, extends: self.extends }))
    }
}

/// Which four letters, or two or three, some pattern may begin with: sets with few false hits.
struct Beginnings {
    /// By the first two letters, the third letters that may follow: no pattern begins like most words.
    thirds: Box<[u32; 1 << 10]>,
    bits: Box<[u64; 1 << (Self::BITS - 6)]>,
    /// Of two letters, of three and of four: the bytes that count; 0 where there are none of that length.
    masks: [u32; 3],
}

impl Default for Beginnings {
    fn default() -> Self {
        Self { thirds: Box::new([0; 1 << 10]), bits: Box::new([0; 1 << (Self::BITS - 6)]), masks: [0; 3] }
    }
}

impl Beginnings {
    const BITS: u32 = 15;
    /// Makes ASCII letters small; what it makes of others is hit by few.
    const CASE: u32 = 0x2020_2020;

    fn add(&mut self, beginning: &[u8]) {
        let len = beginning.len().min(BEGINNING_BYTES);
        let mut letters = [0; BEGINNING_BYTES];
        letters[..len].copy_from_slice(&beginning[..len]);
        let letters = u32::from_le_bytes(letters) | Self::CASE;
        let mask = u32::MAX >> (8 * (BEGINNING_BYTES - len));
        self.masks[len - 2] = mask;
        let slot = Self::slot(letters & mask);
        self.bits[slot / 64] |= 1 << (slot % 64);
        self.thirds[Self::pair(letters)] |= if len == 2 { u32::MAX } else { 1 << Self::third(letters) };
    }

    /// Whether one may be at a place in a text.
    #[inline]
    fn may_begin(&self, text: &[u8], start: usize) -> bool {
        let letters = match text.get(start..start + BEGINNING_BYTES) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => {
                let mut letters = [0; BEGINNING_BYTES];
                letters.iter_mut().zip(&text[start..]).for_each(|(letter, &b)| *letter = b);
                u32::from_le_bytes(letters)
            }
        } | Self::CASE;
        self.thirds[Self::pair(letters)] & 1 << Self::third(letters) != 0
            && self.masks.iter().any(|&mask| {
                let slot = Self::slot(letters & mask);
                mask != 0 && self.bits[slot / 64] & (1 << (slot % 64)) != 0
            })
    }

    /// Five bits of each of the first two letters.
    const fn pair(letters: u32) -> usize {
        (letters & 31 | (letters >> 8 & 31) << 5) as usize
    }

    /// Five bits of the third.
    const fn third(letters: u32) -> u32 {
        letters >> 16 & 31
    }

    const fn slot(letters: u32) -> usize {
        (letters.wrapping_mul(0x9E37_79B1) >> (u32::BITS - Self::BITS)) as usize
    }
}

/// The words that the rules want before a match, all in one automaton: many rules match a number, and all ask of
/// the same words before it.
struct Nearby {
    automaton: Option<aho_corasick::AhoCorasick>,
    /// Of each word whether it may go on, and the rules that want it.
    words: Vec<(bool, Vec<usize>)>,
    /// How far before a match each rule's words may be, in bytes.
    reaches: Vec<usize>,
    /// The furthest of them.
    reach: usize,
}

/// What the words before a place say, looked up when a rule first asks.
#[derive(Default)]
struct Before {
    is_known: bool,
    /// The rules that have one of their words there.
    rules: Vec<usize>,
    /// Where in the text the last run of `extend` ends that was longer than [`MAX_RUN_BYTES`].
    long_run_end: usize,
}

impl Before {
    /// Goes on to another place.
    fn forget(&mut self) {
        self.is_known = false;
        self.rules.clear();
    }
}

impl Nearby {
    /// Takes the words of the rules, whose entries are among these.
    fn new(rules: &[Rule], entries: &[RuleEntry]) -> Result<Self, RulesError> {
        let mut numbers: HashMap<(String, bool), usize> = HashMap::new();
        let (mut stems, mut words) = (Vec::new(), Vec::<(bool, Vec<usize>)>::new());
        let with_pattern = entries.iter().filter(|entry| entry.pattern.is_some());
        for (rule, entry) in with_pattern.enumerate() {
            for word in spellings(&entry.context).ok_or_else(|| RulesError::Context(entry.name.clone()))? {
                let number = *numbers.entry(word).or_insert_with_key(|(stem, may_go_on)| {
                    stems.push(stem.clone());
                    words.push((*may_go_on, Vec::new()));
                    words.len() - 1
                });
                words[number].1.push(rule);
            }
        }
        let reaches: Vec<usize> = rules.iter().map(|rule| rule.reach_before).collect();
        let with_context = rules.iter().filter(|rule| rule.has_context).map(|rule| rule.reach_before);
        let reach = with_context.max().unwrap_or(0);
        Ok(Self { automaton: automaton_of(&stems), words, reaches, reach })
    }

    /// Whether a rule has one of its words before a place.
    fn has(&self, rule: usize, before: &mut Before, text: &str, place: usize) -> bool {
        if !before.is_known {
            before.is_known = true;
            let start = text.ceil_char_boundary(place.saturating_sub(self.reach));
            let input = aho_corasick::Input::new(text).range(start..place);
            for found in self.automaton.iter().flat_map(|it| it.find_overlapping_iter(input.clone())) {
                let (may_go_on, rules) = &self.words[found.pattern().as_usize()];
                let reaches = |rule: &usize| place - found.start() <= self.reaches[*rule];
                if is_whole(text, found.start(), found.end(), *may_go_on) {
                    before.rules.extend(rules.iter().copied().filter(reaches));
                }
            }
        }
        before.rules.contains(&rule)
    }
}

/// Words as they are looked for, and whether each may go on. `None` when one is empty or not in lower case.
fn spellings(words: &[String]) -> Option<Vec<(String, bool)>> {
    let mut all = Vec::with_capacity(words.len());
    for word in words {
        let stem = word.trim_end_matches('*');
        if stem.trim().is_empty() || stem.contains(char::is_uppercase) {
            return None;
        }
        let may_go_on = word.ends_with('*');
        all.push((stem.to_owned(), may_go_on));
        // The automaton knows the case of ASCII alone: others are also looked for as a sentence begins.
        let mut rest = stem.chars();
        if let Some(first) = rest.next().filter(|first| !first.is_ascii()) {
            let capital: String = first.to_uppercase().chain(rest).collect();
            if capital != stem {
                all.push((capital, may_go_on));
            }
        }
    }
    Some(all)
}

fn automaton_of(stems: &[String]) -> Option<aho_corasick::AhoCorasick> {
    aho_corasick::AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(aho_corasick::AhoCorasickKind::ContiguousNFA))
        .build(stems)
        .ok()
}

/// Whether what stands at these bytes is a word of its own, or the beginning of one.
fn is_whole(text: &str, start: usize, end: usize, may_go_on: bool) -> bool {
    let stem = &text[start..end];
    is_boundary(text[..start].chars().next_back(), stem.chars().next())
        && (may_go_on || is_boundary(stem.chars().next_back(), text[end..].chars().next()))
}

/// Words or phrases to look for, whole; one that ends in `*` may go on.
struct Words {
    automaton: aho_corasick::AhoCorasick,
    may_go_on: Vec<bool>,
}

impl Words {
    /// `None` when a word is empty or not in lower case.
    fn new(words: &[String]) -> Option<Self> {
        let (stems, may_go_on): (Vec<_>, Vec<_>) = spellings(words)?.into_iter().unzip();
        Some(Self { automaton: automaton_of(&stems)?, may_go_on })
    }

    /// Whether one of them is in bytes `start..end` of a text, which are cut to its characters.
    fn are_in(&self, text: &str, start: usize, end: usize) -> bool {
        let start = text.ceil_char_boundary(start);
        let end = text.floor_char_boundary(end.min(text.len()));
        let Some(window) = text.get(start..end) else { return false };
        self.automaton.find_overlapping_iter(window).any(|found| {
            let may_go_on = self.may_go_on[found.pattern().as_usize()];
            is_whole(text, start + found.start(), start + found.end(), may_go_on)
        })
    }
}

/// The set that a list of characters and ranges names.
fn set_of(list: &str) -> Option<Box<[bool; 256]>> {
    let mut set = Box::new([false; 256]);
    let bytes = list.as_bytes();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let last = match bytes.get(at + 1..at + 3) {
            Some(&[b'-', last]) if last > first => {
                at += 2;
                last
            }
            _ => first,
        };
        if !last.is_ascii() || first.is_ascii_whitespace() {
            return None;
        }
        for b in first..=last {
            set[usize::from(b)] = true;
        }
        at += 1;
    }
    (!bytes.is_empty()).then_some(set)
}

#[cfg(test)]
mod tests;
