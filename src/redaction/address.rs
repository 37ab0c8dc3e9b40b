//! Street addresses, post boxes, military addresses, and postcodes with their cities.
//!
//! An address is found by what makes it one ("226 Thomas Avenue", "Postfach 12", "APO AE 09012"), and then taken
//! as far as it goes on: flats, cities, regions, postcodes and countries, over line breaks too.

use super::{
    Entity, Span,
    lexer::{Case, Kind, Token},
    lexicon::Class,
    list::{List, one_of},
    words::{Hint, Words},
};

mod extent;
mod postal;
mod street;

use extent::{addressee, after, before, flat_at};
use postal::{city_state_zip, military_at, post_box_at, postcode_at};
use street::{may_be_street, numbered_at, street_in_one, street_word_after, street_word_before};

/// The most words of the name of a street.
const MAX_NAME_WORDS: usize = 5;
/// Words before an address, near enough that a weak form of one is meant.
const CLUES: &List = one_of![
    "address",
    "addresses",
    "live",
    "lives",
    "living",
    "ship",
    "shipped",
    "deliver",
    "delivered",
    "send",
    "sent",
    "taxi",
    "meet",
    "adresse",
    "wohne",
    "wohnt",
    "anschrift",
    "dirección",
    "direccion",
    "indirizzo",
    "endereço",
    "adres",
    "adress",
    "habite",
    "vivo",
    "abito",
];
/// How far back a clue is looked for, in words.
const CLUE_WORDS: usize = 10;

/// Whether an address may be where a word of a class is, whatever is near.
pub(super) const fn is_looked_at(class: Class, is_capital: bool) -> bool {
    class.is(Class::BOX) || is_capital && class.is(Class::STREET_AFTER.or(Class::STREET_BEFORE))
}

/// Adds the addresses of a text.
pub(super) fn find(words: &Words<'_>, spans: &mut Vec<Span>) {
    let mut taken = 0;
    let mut at = 0;
    let mut last_number = None;
    while at < words.len() {
        let is_after_number = last_number.is_some_and(|last| at - last <= MAX_NAME_WORDS);
        if !is_after_number {
            // On to what says that there may be one, and the words of a street before it.
            let Some(next) = words.next_with(Hint::ADDRESS, at) else { break };
            at = at.max(next.saturating_sub(MAX_NAME_WORDS + 1));
        }
        if words.get(at).is_some_and(|token| token.kind != Kind::Word) {
            last_number = Some(at);
        } else if !may_begin(words, at, last_number) {
            at += 1;
            continue;
        }
        let Some((start, end)) = core_at(words, at) else {
            at += 1;
            continue;
        };
        let start = before(words, start, taken);
        let end = after(words, end);
        addressee(words, start, taken, spans);
        if let (Some(first), Some(last)) = (words.get(start), words.get(end - 1)) {
            spans.push(Span {
                start: first.start(),
                end: last.end(),
                entity: Entity::ADDRESS,
                priority: Span::ADDRESS,
            });
        }
        taken = end;
        at = end.max(at + 1);
    }
}

/// Whether a word is looked at: the fewest are.
fn may_begin(words: &Words<'_>, at: usize, last_number: Option<usize>) -> bool {
    let class = words.class(at);
    if class.is(Class::BOX) {
        return true;
    }
    let is_after_number = last_number.is_some_and(|last| at - last <= MAX_NAME_WORDS);
    is_after_number
        || is_before_number(words, at, class)
        || class.is(Class::STREET_AFTER.or(Class::STREET_BEFORE)) && words.case(at) != Case::Lower
}

/// Whether there is a digit right after a word, or behind the name of the street that it begins.
fn is_before_number(words: &Words<'_>, at: usize, class: Class) -> bool {
    let reach = if class.is(Class::STREET_BEFORE) { MAX_NAME_WORDS + 1 } else { 2 };
    (at + 1..=at + reach).any(|at| words.get(at).is_some_and(|token| token.kind != Kind::Word))
}

/// What makes an address, if a word there does: its first token and where it ends.
fn core_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let token = words.get(at)?;
    match token.kind {
        Kind::Number => numbered_at(words, at),
        Kind::Mixed => postcode_at(words, at),
        Kind::Word => {
            let class = words.class(at);
            if class.is(Class::BOX) {
                let boxed = post_box_at(words, at).or_else(|| military_at(words, at));
                if boxed.is_some() {
                    return boxed;
                }
            }
            if !may_be_street(words, at, token) {
                return None;
            }
            let has_number = is_near_number(words, at, class);
            let is_street = class.is(Class::STREET_AFTER.or(Class::STREET_BEFORE).or(Class::UNIT));
            // A street without a number has a word for one, with a capital.
            if !(has_number || is_street && token.case != Case::Lower) || words.is_in_code(at) {
                return None;
            }
            None.or_else(|| class.is(Class::STREET_AFTER).then(|| street_word_after(words, at)).flatten())
                .or_else(|| class.is(Class::STREET_BEFORE).then(|| street_word_before(words, at)).flatten())
                .or_else(|| street_in_one(words, at))
                .or_else(|| city_state_zip(words, at))
                .or_else(|| flat_at(words, at))
        }
    }
}

/// Whether there is a digit after a word, near enough, or before it within the name of a street.
fn is_near_number(words: &Words<'_>, at: usize, class: Class) -> bool {
    let has_digit = |at: usize| words.get(at).is_some_and(|token| token.kind != Kind::Word);
    is_before_number(words, at, class) || (at.saturating_sub(MAX_NAME_WORDS)..at).any(has_digit)
}

fn has_clue(words: &Words<'_>, at: usize) -> bool {
    (at.saturating_sub(CLUE_WORDS)..at).any(|before| words.is_one_of(before, CLUES))
}

fn token_len(words: &Words<'_>, at: usize) -> usize {
    words.get(at).map_or(0, Token::len)
}

#[cfg(test)]
mod tests;
