//! Streets: with a word that says that they are one, before or after their name or in it, and a number.

use super::{
    MAX_NAME_WORDS,
    extent::{city_end, unit_end},
    has_clue,
    postal::plz_and_city,
    token_len,
};
use crate::redaction::{
    lexer::{Case, Kind, Token},
    lexicon::Class,
    list::{Endings, one_of},
    words::Words,
};

/// Streets in one word end so: `Hauptstraße`, `Keizersgracht`.
const STREET_ENDINGS: Endings = Endings::new(&[
    "straße", "strasse", "str", "gasse", "weg", "allee", "platz", "damm", "ring", "ufer", "steig", "gatan",
    "vägen", "vagen", "gränd", "vej", "gade", "veien", "vegen", "gata", "straat", "laan", "plein", "kade",
    "dijk", "gracht", "katu", "tie", "kuja",
]);

/// Whether a word can be a street, a flat or a state at all, whatever is around it: most cannot.
pub(super) fn may_be_street(words: &Words<'_>, at: usize, token: Token) -> bool {
    token.class.is(Class::STREET_AFTER.or(Class::STREET_BEFORE).or(Class::UNIT))
        || token.case == Case::Upper && token.len() <= 3
        || token.len() >= 7 && STREET_ENDINGS.of(words.word(at), 3).is_some()
}

/// Whether a token is the number of a house: `12`, `12a`, `12-14` begins with one.
pub(super) fn is_house_number(words: &Words<'_>, at: usize) -> bool {
    words.get(at).is_some_and(|token| match token.kind {
        Kind::Number => token.len() <= 5,
        Kind::Mixed => {
            let word = words.word(at);
            token.len() <= 5
                && word.starts_with(|c: char| c.is_ascii_digit())
                && word.bytes().filter(u8::is_ascii_alphabetic).count() == 1
        }
        Kind::Word => false,
    })
}

/// Whether a token can be a part of the name of a street.
pub(super) fn is_name_word(words: &Words<'_>, at: usize) -> bool {
    let is_unit = words.is(at, Class::UNIT) && words.get(at + 1).is_some_and(|next| next.kind != Kind::Word);
    words.get(at).is_some_and(|token| token.kind == Kind::Word)
        && !is_unit
        && !words.is_in_code(at)
        && (words.is_capital(at) || is_lower_name_word(words, at))
}

/// The same in a text without capitals: anything that is no word of a sentence.
pub(super) fn is_lower_name_word(words: &Words<'_>, at: usize) -> bool {
    words.no_capitals
        && (!words.is(at, Class::WORD) || words.is(at, Class::GIVEN.or(Class::SURNAME).or(Class::PARTICLE)))
}

/// Where the words of a name end, at most `most` of them, particles between them included.
pub(super) fn name_end(words: &Words<'_>, start: usize, most: usize) -> usize {
    let mut end = start;
    while end < start + most {
        if end > start && !matches!(words.gap_after(end - 1), " " | "-" | "'" | "’" | ". " | "." | "  ") {
            break;
        }
        if end > start
            && words.gap_after(end - 1).starts_with('.')
            && words.word(end - 1).chars().nth(5).is_some()
        {
            break;
        }
        if is_name_word(words, end) {
            end += 1;
            continue;
        }
        // "Calle de la Paz"
        let mut particles = end;
        while particles < end + 3
            && (words.is(particles, Class::PARTICLE)
                || words.is_one_of(
                    particles,
                    one_of!["a", "e", "y", "i", "und", "of", "the", "d", "l", "u", "upon"],
                ))
            && !words.is_capital(particles)
        {
            particles += 1;
        }
        if particles == end
            || end == start && !words.is(end, Class::PARTICLE)
            || !is_name_word(words, particles)
            || !matches!(words.gap_before(particles), " " | "'" | "’")
        {
            break;
        }
        end = particles + 1;
    }
    end.min(words.len())
}

/// "Rue Victor Hugo 12", and "12 Rue …", where the number comes before.
pub(super) fn street_word_before(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let is_numbered = at > 0
        && is_house_number(words, at - 1)
        && !(at > 1
            && words.is_number(at - 2)
            && words.is_number(at - 1)
            && at > 2
            && words.is_number(at - 3));
    // "12 bis rue …"
    let is_bis =
        at > 1 && words.is_one_of(at - 1, one_of!["bis", "ter", "quater"]) && is_house_number(words, at - 2);
    let is_small_word = !words
        .is_one_of(at, one_of!["via", "place", "route", "cours", "plaza", "al", "c", "r", "av"])
        && words.is_capital(at + 1);
    if !(words.is_capital(at) || words.no_capitals || is_numbered || is_bis || is_small_word) {
        return None;
    }
    let name = at + 1;
    if !matches!(words.gap_after(at), " " | ". " | "." | "/" | "/ ") {
        return None;
    }
    let end = name_end(words, name, MAX_NAME_WORDS);
    let numbered_before = is_numbered && matches!(words.gap_before(at), " " | ", " | " bis ");
    if end == name {
        return None;
    }
    let number = number_after(words, end);
    match number {
        Some(end) => Some((if is_bis { at - 2 } else { at }, end)),
        None if numbered_before => Some((at - 1, end)),
        None if is_bis => Some((at - 2, end)),
        None => None,
    }
}

/// Where the number of a house after a street ends.
pub(super) fn number_after(words: &Words<'_>, end: usize) -> Option<usize> {
    let gap = words.gap_after(end - 1);
    let is_number_sign = words
        .is_one_of(end, one_of!["n", "nr", "no", "nº", "n°", "num", "núm", "č", "numero", "número"])
        && matches!(gap, " " | ", ");
    let number = if is_number_sign { end + 1 } else { end };
    let gap = words.gap_before(number);
    let is_near = matches!(
        gap,
        " " | ", "
            | ". "
            | "  "
            | ": "
            | " #"
            | ", #"
            | "º "
            | "° "
            | ".º "
            | " n° "
            | ", n° "
            | " nº "
            | ", nº "
    );
    // "Rue Royale, 75001 Paris", but "Av. Paulista, 1578 - Bela Vista".
    let is_postcode = gap == ", "
        && token_len(words, number) >= 4
        && words.is_capital(number + 1)
        && words.is_spaced_after(number);
    if !is_near
        || is_postcode
        || !is_house_number(words, number)
        || words.get(number)?.len() > 4 && !words.is_number(number)
    {
        return None;
    }
    // "12/3", "12-14"
    let mut end = number + 1;
    let is_range = matches!(words.gap_after(number), "/" | "-" | "–") && is_house_number(words, end);
    // "12 b"
    let is_letter = words.is_spaced_after(number)
        && words.word(end).len() == 1
        && words.get(end).is_some_and(|token| token.kind == Kind::Word)
        && !words.is_one_of(end, one_of!["a", "i", "o", "e", "y", "u"])
        && words.gap_after(end) != ".";
    if is_range || is_letter {
        end += 1;
    }
    Some(end)
}

/// "226 Thomas Avenue", "Oak Street 12", "Ivanović Street".
pub(super) fn street_word_after(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let gap = words.gap_before(at);
    if words.get(at)?.len() == 1 && !words.gap_after(at).starts_with('.') {
        return None;
    }
    // "5th Avenue", "St. John's Road"
    let is_of_name = |at: usize| {
        is_name_word(words, at)
            || is_ordinal(words, at)
            || words.word(at) == "s" && matches!(words.gap_before(at), "'" | "’")
    };
    if !matches!(gap, " " | "-" | "  ") || !is_of_name(at.checked_sub(1)?) {
        return None;
    }
    let mut start = at - 1;
    while start > 0
        && at - start < MAX_NAME_WORDS
        && matches!(words.gap_before(start), " " | "-" | "'" | "’" | ". " | "  ")
        && is_of_name(start - 1)
        && !(words.begins_sentence(start)
            && words.gap_before(start) == ". "
            && words.word(start - 1).len() > 2)
    {
        start -= 1;
    }
    let numbered = start > 0
        && is_house_number(words, start - 1)
        && matches!(words.gap_before(start), " " | ", " | "  ");
    if numbered && (words.is_capital(at) || words.no_capitals) && !is_amount(words, start - 1) {
        return Some((start - 1, at + 1));
    }
    if let Some(end) = number_after(words, at + 1)
        && (words.is_capital(at)
            || words.no_capitals
            || words.word(at).len() > 2 && !words.is(at, Class::WORD)
            || words.is_one_of(at, one_of!["utca", "út", "tér", "ulica", "u"]))
        && matches!(words.gap_after(at), " " | ". ")
        && !(start + 1 == at && words.is(start, Class::PARTICLE))
    {
        return Some((trimmed(words, start, at), end));
    }
    let surely = one_of![
        "street",
        "avenue",
        "road",
        "lane",
        "boulevard",
        "drive",
        "ave",
        "rd",
        "blvd",
        "straße",
        "strasse",
        "utca",
    ];
    let name = words.class(at - 1);
    let is_named = name.is(Class::GIVEN.or(Class::SURNAME)) && !name.is(Class::WORD.or(Class::PROPER))
        || name.is_unknown();
    if words.is_capital(at)
        && words.is_capital(at - 1)
        && words.is_one_of(at, surely)
        && is_named
        && words.get(at - 1)?.len() > 3
    {
        return Some((trimmed(words, start, at), at + 1));
    }
    None
}

/// Leaves out the words of a sentence at the beginning of a name: "On Oak Street 12".
pub(super) fn trimmed(words: &Words<'_>, start: usize, last: usize) -> usize {
    let is_plain = |at: usize| words.is(at, Class::WORD) && !words.is(at, Class::GIVEN.or(Class::SURNAME));
    (start..last).find(|&at| !is_plain(at)).unwrap_or(last.saturating_sub(1).max(start))
}

/// `5th`, `42nd`.
pub(super) fn is_ordinal(words: &Words<'_>, at: usize) -> bool {
    let word = words.word(at);
    word.len() <= 5
        && word.starts_with(|c: char| c.is_ascii_digit())
        && ["th", "st", "nd", "rd"].iter().any(|end| word.to_ascii_lowercase().ends_with(end))
}

/// Whether a number is a price or a part of a date or a version.
pub(super) fn is_amount(words: &Words<'_>, at: usize) -> bool {
    words.gap_before(at).ends_with(['$', '€', '£', '.', '/', ':', '-', '#', 'v'])
}

/// "Pachergasse 64", "12 Rijksweg".
pub(super) fn street_in_one(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let token = words.get(at)?;
    if token.len() < 7 || token.case == Case::Camel {
        return None;
    }
    let word = words.word(at);
    let ending = STREET_ENDINGS.of(word, 3)?;
    let is_sure = ending.len() > 4 && !matches!(ending, "platz" | "allee");
    // "Anweg 2" is hardly anything, and "Ordering 5" is a word.
    let may_be = words.is_capital(at) || is_sure || words.no_capitals;
    if !may_be
        || words.is(at, Class::WORD) && !is_sure
        || words.begins_sentence(at) && !is_sure && words.is(at, Class::WORD)
    {
        return None;
    }
    let is_of_name = |at: usize| {
        words.is_capital(at)
            && (!words.is(at, Class::WORD) || words.is(at, Class::GIVEN) && !words.begins_sentence(at))
    };
    let start = (at.saturating_sub(3)..at).find(|&start| {
        is_of_name(start)
            && (start..at).all(|at| {
                words.is_spaced_after(at) && (is_of_name(at) || words.is(at, Class::PARTICLE) && at > start)
            })
    });
    let start = start.unwrap_or(at);
    if let Some(end) = number_after(words, at + 1)
        && !matches!(words.gap_after(at), ", " | ": ")
    {
        return Some((start, end));
    }
    if word.ends_with("str") && words.gap_after(at) == ". " && is_house_number(words, at + 1) {
        return Some((start, at + 2));
    }
    let numbered = start > 0
        && is_house_number(words, start - 1)
        && words.is_spaced_before(start)
        && !is_amount(words, start - 1);
    numbered.then(|| (start - 1, at + 1))
}

/// What begins with a number: "95 Joaquin Suarez 2906", "10115 Berlin", "12 Main St".
pub(super) fn numbered_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    if words.gap_before(at).ends_with(['.', ':', '$', '€', '£', '#', '_', '=', '/'])
        && at > 0
        && words.get(at - 1)?.kind != Kind::Word
        && !words.gap_before(at).contains([' ', '\n'])
    {
        return None;
    }
    plz_and_city(words, at).or_else(|| {
        if !is_house_number(words, at) || !matches!(words.gap_after(at), " " | "  ") {
            return None;
        }
        let mut end = name_end(words, at + 1, MAX_NAME_WORDS);
        // "71 Luite tee 12, Apt. 5": words for streets in small letters that are in no list.
        if end > at + 1 && (1..=2).contains(&(numbered_end(words, end) - end)) {
            let number = numbered_end(words, end);
            if unit_end(words, number + 1).is_some() || has_clue(words, at) {
                end = number;
            }
        }
        if end == at + 1
            || words.is(at + 1, Class::PROPER)
            || words.is(at + 1, Class::WORD) && !words.is(at + 1, Class::GIVEN.or(Class::SURNAME))
        {
            return None;
        }
        // A number, a name and a number are an address if it goes on like one.
        let is_numbered =
            words.is_spaced_after(end - 1) && words.is_number(end) && words.get(end)?.len() <= 5;
        let goes_on = |end: usize| {
            unit_end(words, end).is_some()
                || words.gap_after(end - 1).contains('\n')
                    && words.is_capital(end)
                    && city_end(words, end) > end
        };
        if is_numbered
            && (goes_on(end + 1)
                || has_clue(words, at)
                || words.gap_after(end).starts_with(',')
                    && words.is_capital(end + 1)
                    && !words.is(end + 1, Class::WORD))
        {
            return Some((at, end + 1));
        }
        // "12 Whatever, Apt. 5"
        unit_end(words, end).map(|end| (at, end))
    })
}

/// Where a number comes after at most two words in small letters; the start itself when none does.
pub(super) fn numbered_end(words: &Words<'_>, start: usize) -> usize {
    let is_small = |at: usize| {
        words.get(at).is_some_and(|token| token.kind == Kind::Word && token.case == Case::Lower)
            && words.is_spaced_before(at)
    };
    let end = (start..start + 2).find(|&at| !is_small(at)).unwrap_or(start + 2);
    if words.is_number(end) && words.is_spaced_before(end) && token_len(words, end) <= 5 {
        end
    } else {
        start
    }
}
