//! Names that are written without capitals.

use super::{BLURRED, NAME, clue::is_after_name_word};
use crate::redaction::{
    lexer::{Case, Kind},
    lexicon::Class,
    list::one_of,
    words::Words,
};

/// Names without capitals: where the words before say so, where both a given name and a surname stand
/// together, and in texts without any capital.
pub(super) fn lower_case_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let class = words.class(at);
    if class.is(NAME) && !class.is(BLURRED) {
        if words.is_in_code(at) || words.get(at)?.len() < 4 {
            return None;
        }
        let is_next = words.is_spaced_after(at)
            && words.is(at + 1, NAME)
            && !words.is(at + 1, BLURRED)
            && words.get(at + 1)?.len() >= 4
            && words.get(at + 1)?.case == Case::Lower
            && !words.is_in_code(at + 1);
        let is_unlisted = words.no_capitals
            && class.is(Class::GIVEN)
            && words.is_spaced_after(at)
            && may_be_unlisted(words, at + 1);
        if (is_next || is_unlisted)
            && class.is(Class::GIVEN)
            && (words.is(at + 1, Class::SURNAME) || words.no_capitals)
        {
            let end = if words.is(at + 2, Class::SUFFIX) { at + 3 } else { at + 2 };
            return Some((at, end));
        }
        if words.no_capitals && class.is(Class::GIVEN) {
            return Some((at, at + 1));
        }
    }
    // "mr. chad farmer"
    if words.no_capitals
        && class.is(Class::TITLE)
        && words.gap_after(at) == ". "
        && words.is_one_of(at, one_of!["mr", "mrs", "ms", "dr", "prof"])
        && (words.is(at + 1, NAME) || words.class(at + 1).is_unknown())
        && !words.is_number(at + 1)
    {
        let is_two = words.is_spaced_after(at + 1)
            && (words.is(at + 2, Class::SURNAME)
                && (!words.is(at + 2, Class::WORD) || words.is(at + 2, Class::FAMILIAR))
                || may_be_unlisted(words, at + 2));
        return Some((at, if is_two { at + 3 } else { at + 2 }));
    }
    if class.is(Class::NAME_WORD) {
        (at + 1..at + 4).find_map(|name| introduced_at(words, name))
    } else {
        None
    }
}

/// A name without capitals after "my name is".
pub(super) fn introduced_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let (token, class) = (words.get(at)?, words.class(at));
    let may_be = !class.is(Class::WORD.or(Class::PROPER)) || class.is(Class::FAMILIAR);
    if !may_be
        || token.case != Case::Lower
        || token.kind != Kind::Word
        || token.len() < 3
        || words.is_in_code(at)
        || class.is(Class::NAME_WORD)
    {
        return None;
    }
    let before = at.checked_sub(1)?;
    let is_vague =
        one_of!["of", "to", "und", "name", "names", "nombre", "nome", "nom", "naam", "full", "on", "s", "as"];
    if words.gap_before(at) != " " || !is_after_name_word(words, at) || words.is_one_of(before, is_vague) {
        return None;
    }
    if !class.is(NAME) && !class.is_unknown() {
        return None;
    }
    let goes_on = |at: usize| {
        words.is_spaced_before(at)
            && words
                .get(at)
                .is_some_and(|token| token.case == Case::Lower && token.len() > 2 && token.kind == Kind::Word)
            && (words.is(at, NAME) || words.class(at).is_unknown())
            && !words.is(at, Class::WORD)
    };
    let mut end = at + 1;
    while end < at + 3 && goes_on(end) {
        end += 1;
    }
    Some((at, end))
}

/// Whether a word without a capital can be a surname behind a given name, though in no list.
pub(super) fn may_be_unlisted(words: &Words<'_>, at: usize) -> bool {
    let word = words.word(at);
    let class = words.class(at);
    let is_unlisted = class.is_unknown()
        && word.len() >= 5
        && !["ed", "ing", "s", "ly"].iter().any(|ending| word.ends_with(ending));
    let is_surname = word.len() >= 4
        && class.is(Class::SURNAME)
        && !class.is(Class::PARTICLE)
        && (!class.is(Class::WORD) || class.is(Class::FAMILIAR));
    words.get(at).is_some_and(|token| token.case == Case::Lower && token.kind == Kind::Word)
        && (is_unlisted || is_surname)
        && !words.is_in_code(at)
}
