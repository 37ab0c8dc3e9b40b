//! What the words of a name can be, and where it ends.

use super::{BLURRED, ends_phrase};
use crate::redaction::{lexer::Case, lexicon::Class, list::Endings, words::Words};

/// The most words of a name.
const MAX_PARTS: usize = 6;

/// Endings that surnames have and hardly a word, long ones alone.
const SURNAME_ENDINGS: Endings = Endings::new(&[
    "ov", "ev", "shita", "moto", "yama", "mura", "quez", "guez", "rsen", "elsen", "ksen", "ucci", "ieva",
    "ová", "ova", "ović", "ovic", "ević", "evic", "ić", "sson", "dóttir", "dottir", "ovich", "evich", "enko",
    "wski", "wska", "cki", "cka", "ński", "ńska", "escu", "opoulos", "poulou", "idis", "akis", "shvili",
    "yan", "zadeh", "oğlu", "oglu", "ов", "ова", "енко", "ский", "ская",
]);

/// What a word with a capital can be in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A given name and nothing else.
    Given,
    /// A surname and nothing else.
    Surname,
    /// A given name, or something else.
    WeakGiven,
    /// A surname, or something else.
    WeakSurname,
    /// One letter.
    Initial,
    /// In no list.
    Unknown,
    /// No name.
    Other,
}

pub(super) fn part(words: &Words<'_>, at: usize) -> Part {
    if !words.is_capital(at) || words.is_in_code(at) {
        return Part::Other;
    }
    let (class, word) = (words.class(at), words.word(at));
    let Some(token) = words.get(at) else { return Part::Other };
    if words.is_initial(at) {
        return if word == "I" && !words.gap_after(at).starts_with('.') {
            Part::Other
        } else {
            Part::Initial
        };
    }
    let is_short = word.chars().nth(2).is_none();
    let is_acronym = token.case == Case::Upper && token.len() <= 4;
    let is_weak = class.is(BLURRED) || is_short || is_acronym || token.case == Case::Camel;
    match class {
        _ if class.is(Class::GIVEN) => {
            if is_weak {
                Part::WeakGiven
            } else {
                Part::Given
            }
        }
        _ if class.is(Class::SURNAME) => {
            if is_weak {
                Part::WeakSurname
            } else {
                Part::Surname
            }
        }
        _ if class.is(BLURRED
            .or(Class::TITLE)
            .or(Class::GREETING)
            .or(Class::SIGN_OFF)
            .or(Class::UNIT)
            .or(Class::LEGAL))
            || is_acronym =>
        {
            Part::Other
        }
        _ if token.case == Case::Camel => {
            let begins = ["Mc", "Mac", "De", "Di", "Van", "Fitz", "Le", "La", "Du"];
            let rest = begins.iter().find_map(|begin| word.strip_prefix(begin)).unwrap_or_default();
            let (first, rest) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
            let is_name = first.chars().all(char::is_uppercase)
                && rest.len() > 2
                && rest.chars().all(char::is_lowercase);
            if is_name { Part::Surname } else { Part::Other }
        }
        _ if token.case == Case::Upper => Part::Other,
        _ if has_surname_ending(word) => Part::Surname,
        _ => Part::Unknown,
    }
}

pub(super) fn has_surname_ending(word: &str) -> bool {
    word.len() >= 6 && SURNAME_ENDINGS.of(word, 3).is_some()
}

/// Where a name that begins at a token ends.
pub(super) fn tail(words: &Words<'_>, start: usize) -> usize {
    let mut end = start + 1;
    while end < words.len() && end - start < MAX_PARTS {
        let gap = words.gap_after(end - 1);
        let is_joined = match gap {
            " " | "-" | "  " | "\u{A0}" => true,
            "'" | "’" => words.word(end - 1).len() == 1,
            ". " | "." => words.is_initial(end - 1),
            ", " => {
                words.is(end, Class::SUFFIX) && words.get(end).is_some_and(|token| token.case == Case::Upper)
            }
            _ => false,
        };
        if !is_joined {
            break;
        }
        if words.is(end, Class::SUFFIX) && (words.no_capitals || words.is_capital(end)) {
            return end + 1;
        }
        if !words.is_capital(end) {
            // Particles with the name behind them.
            let mut name = end;
            while name < end + 3
                && words.is(name, Class::PARTICLE)
                && !words.is_capital(name)
                && matches!(words.gap_after(name), " " | "-" | "'" | "’")
            {
                name += 1;
            }
            if name > end && words.is_capital(name) && part(words, name) != Part::Other {
                end = name + 1;
                continue;
            }
            break;
        }
        if words.is(end, Class::THING) {
            // "Elizabeth Line" is none, and "Elizabeth Line" must not be half of one.
            break;
        }
        let goes_on = match part(words, end) {
            Part::Given | Part::Surname | Part::Unknown => true,
            // "Jonathan Talon DDS"
            _ if words.is(end + 1, Class::SUFFIX)
                && words.case(end + 1) == Case::Upper
                && words.is_spaced_after(end) =>
            {
                true
            }
            Part::WeakSurname => {
                !words.is(end, Class::PROPER)
                    || part(words, start) == Part::Given && !words.is(end, Class::WORD)
            }
            Part::WeakGiven => {
                !words.is(end, Class::PROPER)
                    && (words.is(end, Class::FAMILIAR.or(Class::SURNAME))
                        || gap == "-"
                        || matches!(part(words, end + 1), Part::Surname | Part::Given))
            }
            Part::Initial => true,
            Part::Other => {
                words.is(end, Class::PARTICLE)
                    && words.is_capital(end + 1)
                    && words.is_spaced_after(end)
                    && part(words, end + 1) != Part::Other
            }
        };
        if !goes_on {
            break;
        }
        end += 1;
    }
    end
}

/// The name after a title, with it: "Mr. Derek Young".
pub(super) fn after_title(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let mut name = at + 1;
    while words.is(name, Class::TITLE)
        && words.is_capital(name)
        && name < at + 3
        && matches!(words.gap_before(name), " " | ". " | ".")
    {
        name += 1;
    }
    if !matches!(words.gap_before(name), " " | ". " | "." | "  ") || words.is_in_code(at) {
        return None;
    }
    if words.is(name, Class::PARTICLE) && !words.is_capital(name) && words.is_capital(name + 1) {
        return (part(words, name + 1) != Part::Other).then(|| (at, tail(words, name + 1)));
    }
    match part(words, name) {
        Part::Other => None,
        // "Mrs. O'Neill"
        Part::Initial if matches!(words.gap_after(name), "'" | "’") && words.is_capital(name + 1) => {
            Some((at, tail(words, name)))
        }
        Part::Initial => after_initials(words, name)
            .map(|end| (at, end))
            .or((words.get(name + 1).is_none() || ends_phrase(words, name + 1)).then_some((at, name + 1))),
        Part::WeakGiven | Part::WeakSurname
            if !words.is(name, Class::FAMILIAR)
                && !ends_phrase(words, tail(words, name))
                && words.begins_sentence(at)
                && words.word(at).len() > 3 =>
        {
            None
        }
        _ => Some((at, tail(words, name))),
    }
}

/// Where a name that begins with initials ends: "H. J. Wilson".
pub(super) fn after_initials(words: &Words<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    let mut dotted = 0;
    while words.is_initial(at) && at < start + 3 {
        match words.gap_after(at) {
            ". " | "." | ".-" => dotted += 1,
            " " => {}
            _ => return None,
        }
        at += 1;
    }
    while words.is(at, Class::PARTICLE)
        && !words.is_capital(at)
        && at < start + 5
        && words.is_spaced_after(at)
    {
        at += 1;
    }
    if dotted == 0 || words.is_in_code(start) {
        return None;
    }
    match part(words, at) {
        Part::Surname | Part::Given => Some(tail(words, at)),
        Part::WeakSurname | Part::WeakGiven
            if dotted >= 2 || words.is(at, Class::FAMILIAR) && !words.begins_sentence(start + 1) =>
        {
            Some(tail(words, at))
        }
        Part::WeakSurname if words.is(at, Class::FAMILIAR) && start > 0 && !words.is_capital(start - 1) => {
            Some(tail(words, at))
        }
        Part::Unknown if dotted >= 2 => Some(tail(words, at)),
        _ => None,
    }
}
