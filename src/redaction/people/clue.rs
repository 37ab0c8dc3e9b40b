//! What the words around a word with a capital say of it.

use super::{NAME, ends_phrase, shape::tail};
use crate::redaction::{
    lexicon::Class,
    list::{List, one_of},
    words::Words,
};

/// What the words before say of a word with a capital.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clue {
    Nothing,
    /// Somebody may be meant: "with …".
    Maybe,
    /// A person is meant if it can be a name at all: "I'm …".
    Likely,
    /// Whatever comes is a name: "my name is …", "Mr. …".
    Sure,
}

/// What the words before say of the word at a place.
pub(super) fn clue_before(words: &Words<'_>, at: usize) -> Clue {
    let Some(before) = at.checked_sub(1) else {
        return if is_called(words, at) { Clue::Likely } else { Clue::Nothing };
    };
    let gap = words.gap_before(at);
    if is_after_name_word(words, at) {
        return Clue::Sure;
    }
    let class = words.class(before);
    let is_second = |list: &List| before > 0 && words.is_one_of(before - 1, list);
    if class.is(Class::GREETING) && matches!(gap, " " | ", ") && greets(words, before) {
        let end = tail(words, at);
        let is_alone = words.is(at, NAME) || end > at + 1 || !words.gap_after(end - 1).starts_with(' ');
        return if ends_phrase(words, end) && is_alone { Clue::Likely } else { Clue::Maybe };
    }
    if signs_off(words, before, gap)
        && ends_line(words, tail(words, at))
        && (gap.contains('\n') || words.is(at, NAME))
    {
        return Clue::Likely;
    }
    if is_called(words, at) {
        return Clue::Likely;
    }
    if gap != " " {
        return Clue::Nothing;
    }
    let word = words.word(before);
    let is = |list: &List| words.is_one_of(before, list);
    let likely = (is(one_of!["am", "m"]) && is_second(one_of!["i"]))
        || (is(one_of!["bin"]) && is_second(one_of!["ich"]))
        || (is(one_of!["suis"]) && is_second(one_of!["je"]))
        || (is(one_of!["ben"]) && is_second(one_of!["ik"]))
        || (is(one_of!["me"]) && is_second(one_of!["call", "calls", "called"]))
        || (is(one_of!["as"]) && is_second(one_of!["known"]))
        || is(one_of!["soy", "sono", "sou", "jestem", "jsem", "attn", "heiße", "signed"]) && !word.is_empty();
    if likely {
        return Clue::Likely;
    }
    if (is(one_of!["is", "s"]) && is_second(one_of!["this", "it", "here"])) || class.is(Class::TO_SOMEBODY) {
        return Clue::Maybe;
    }
    Clue::Nothing
}

/// Whether somebody is spoken to, "Petr, can I …" and "Come in, Petr!", or spoken of, "Petr is from …".
pub(super) fn is_called(words: &Words<'_>, at: usize) -> bool {
    let class = words.class(at);
    let may_be = class.is_unknown() || class.is(Class::FAMILIAR) || class.is(NAME) && !class.is(Class::WORD);
    if !may_be {
        return false;
    }
    if words.begins_sentence(at) {
        let asks = one_of![
            "can", "could", "would", "please", "will", "i", "do", "are", "did", "have", "kannst", "peux",
            "puedes", "bitte",
        ];
        return words.gap_after(at) == ", " && words.is_one_of(at + 1, asks)
            || words.is_spaced_after(at)
                && words.is_one_of(at + 1, one_of!["is"])
                && words.is_one_of(at + 2, one_of!["from"]);
    }
    let said =
        words.is(at - 1, Class::SAID) && words.is_spaced_before(at) && words.is_one_of(at + 1, one_of!["to"]);
    let ends = words.gap_after(at).starts_with(['!', '?'])
        || at + 1 == words.len() && words.gap_after(at).starts_with('.');
    said || words.gap_before(at) == ", " && ends && class.is(Class::GIVEN) && !words.is_capital(at - 1)
}

/// Whether a greeting stands where a greeting does: at the beginning of a line or a sentence.
pub(super) fn greets(words: &Words<'_>, at: usize) -> bool {
    words.begins_sentence(at)
        || (at > 0 && words.is(at - 1, Class::GREETING))
        || (at > 0 && words.gap_before(at) == ", ")
}

/// Whether a word is the last before a signature: "Best,\nAnna", "Thanks – Anna".
pub(super) fn signs_off(words: &Words<'_>, before: usize, gap: &str) -> bool {
    let is_break = gap.contains('\n') || matches!(gap.trim_end(), "," | " -" | " –" | " —");
    is_break
        && (words.is(before, Class::SIGN_OFF)
            || (before > 0 && words.is(before - 1, Class::SIGN_OFF) && words.is_spaced_before(before)))
}

pub(super) fn ends_line(words: &Words<'_>, end: usize) -> bool {
    end >= words.len() && words.gap_after(end - 1).len() < 4
        || words.gap_after(end - 1).trim_start_matches([' ', '.', ',']).starts_with('\n')
}

/// Whether "name", and maybe "is" or a colon, stands before a place.
pub(super) fn is_after_name_word(words: &Words<'_>, at: usize) -> bool {
    // Most words are not, which is seen at once.
    if !(at.saturating_sub(3)..at).any(|before| words.is(before, Class::NAME_WORD)) {
        return false;
    }
    let mut word = at;
    for _ in 0..3 {
        let Some(before) = word.checked_sub(1) else { return false };
        let gap = words.gap_before(word);
        if gap.contains(['.', '!', '\n', ',', ';', '(']) || gap.len() > 4 {
            return false;
        }
        if gap.contains('?') && word != at {
            return false;
        }
        if words.is(before, Class::NAME_WORD) {
            return gap.len() < 4
                && (word == at
                    || !words.is_one_of(word, one_of!["of", "to", "und"])
                    || words.is_capital(before));
        }
        if !words.is(before, Class::COPULA) {
            return false;
        }
        word = before;
    }
    false
}
