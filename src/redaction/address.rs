//! Street addresses, post boxes, military addresses, and postcodes with their cities.
//!
//! An address is found by what makes it one ("226 Thomas Avenue", "Postfach 12", "APO AE 09012"), and then taken
//! as far as it goes on: flats, cities, regions, postcodes and countries, over line breaks too.

use super::{
    Entity, Span,
    lexer::{Case, Kind, Token},
    lexicon::Class,
    list::{Endings, List, one_of},
    words::{Hint, Words},
};

/// The most words of the name of a street.
const MAX_NAME_WORDS: usize = 5;
/// The most parts that an address goes on for.
const MAX_PARTS: usize = 8;
/// The most words of the name of a city or a country.
const MAX_CITY_WORDS: usize = 8;

/// Streets in one word end so: `Hauptstraße`, `Keizersgracht`.
const STREET_ENDINGS: Endings = Endings::new(&[
    "straße", "strasse", "str", "gasse", "weg", "allee", "platz", "damm", "ring", "ufer", "steig", "gatan",
    "vägen", "vagen", "gränd", "vej", "gade", "veien", "vegen", "gata", "straat", "laan", "plein", "kade",
    "dijk", "gracht", "katu", "tie", "kuja",
]);
/// States of the USA and its territories, provinces of Canada and states of Australia, as in addresses.
const STATES: &List = one_of![
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY",
    "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND",
    "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC",
    "PR", "VI", "GU", "AS", "MP", "AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK",
    "YT", "NSW", "VIC", "QLD", "TAS", "ACT", "AE", "AP",
];
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

/// Whether a word can be a street, a flat or a state at all, whatever is around it: most cannot.
fn may_be_street(words: &Words<'_>, at: usize, token: Token) -> bool {
    token.class.is(Class::STREET_AFTER.or(Class::STREET_BEFORE).or(Class::UNIT))
        || token.case == Case::Upper && token.len() <= 3
        || token.len() >= 7 && STREET_ENDINGS.of(words.word(at), 3).is_some()
}

/// Whether there is a digit after a word, near enough, or before it within the name of a street.
fn is_near_number(words: &Words<'_>, at: usize, class: Class) -> bool {
    let has_digit = |at: usize| words.get(at).is_some_and(|token| token.kind != Kind::Word);
    is_before_number(words, at, class) || (at.saturating_sub(MAX_NAME_WORDS)..at).any(has_digit)
}

/// Whether a token is the number of a house: `12`, `12a`, `12-14` begins with one.
fn is_house_number(words: &Words<'_>, at: usize) -> bool {
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
fn is_name_word(words: &Words<'_>, at: usize) -> bool {
    let is_unit = words.is(at, Class::UNIT) && words.get(at + 1).is_some_and(|next| next.kind != Kind::Word);
    words.get(at).is_some_and(|token| token.kind == Kind::Word)
        && !is_unit
        && !words.is_in_code(at)
        && (words.is_capital(at) || is_lower_name_word(words, at))
}

/// The same in a text without capitals: anything that is no word of a sentence.
fn is_lower_name_word(words: &Words<'_>, at: usize) -> bool {
    words.no_capitals
        && (!words.is(at, Class::WORD) || words.is(at, Class::GIVEN.or(Class::SURNAME).or(Class::PARTICLE)))
}

/// Where the words of a name end, at most `most` of them, particles between them included.
fn name_end(words: &Words<'_>, start: usize, most: usize) -> usize {
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
fn street_word_before(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
    if !matches!(words.gap_after(at), " " | ". " | "." | "/") {
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
fn number_after(words: &Words<'_>, end: usize) -> Option<usize> {
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
    // "Rue Royale, 75001 Paris"
    let is_postcode = gap == ", " && token_len(words, number) >= 4 && words.is_capital(number + 1);
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
fn street_word_after(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn trimmed(words: &Words<'_>, start: usize, last: usize) -> usize {
    let is_plain = |at: usize| words.is(at, Class::WORD) && !words.is(at, Class::GIVEN.or(Class::SURNAME));
    (start..last).find(|&at| !is_plain(at)).unwrap_or(last.saturating_sub(1).max(start))
}

/// `5th`, `42nd`.
fn is_ordinal(words: &Words<'_>, at: usize) -> bool {
    let word = words.word(at);
    word.len() <= 5
        && word.starts_with(|c: char| c.is_ascii_digit())
        && ["th", "st", "nd", "rd"].iter().any(|end| word.to_ascii_lowercase().ends_with(end))
}

/// Whether a number is a price or a part of a date or a version.
fn is_amount(words: &Words<'_>, at: usize) -> bool {
    words.gap_before(at).ends_with(['$', '€', '£', '.', '/', ':', '-', '#', 'v'])
}

/// "Pachergasse 64", "12 Rijksweg".
fn street_in_one(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn numbered_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn numbered_end(words: &Words<'_>, start: usize) -> usize {
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

fn has_clue(words: &Words<'_>, at: usize) -> bool {
    (at.saturating_sub(CLUE_WORDS)..at).any(|before| words.is_one_of(before, CLUES))
}

/// "10115 Berlin", where Berlin is known or the line begins so; "1012 AB Amsterdam".
fn plz_and_city(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let token = words.get(at)?;
    let starts_line = at == 0
        || words.gap_before(at).contains('\n')
        || words.gap_before(at).ends_with(", ")
        || words.gap_before(at) == "-" && words.word(at - 1).len() <= 2;
    if words.gap_after(at) != " " || !words.is_capital(at + 1) || words.is_in_code(at + 1) {
        return None;
    }
    let is_dutch = token.len() == 4
        && words.word(at + 1).len() == 2
        && words.get(at + 1)?.case == Case::Upper
        && words.is_spaced_after(at + 1)
        && words.is_capital(at + 2);
    if is_dutch && (words.is(at + 2, Class::PLACE) || starts_line && words.class(at + 2).is_unknown()) {
        return Some((at, city_end(words, at + 2).max(at + 3)));
    }
    let is_city = words.is(at + 1, Class::PLACE) && !words.is(at + 1, Class::WORD);
    (token.len() == 5 && is_city && (starts_line || has_clue(words, at)))
        .then(|| (at, city_end(words, at + 1).max(at + 2)))
}

/// "P.O. Box 46", "Postfach 12 34".
fn post_box_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let is = |at: usize, list: &List| words.is_one_of(at, list);
    let numbered = |end: usize| {
        let gap = words.gap_after(end - 1);
        let is_number = words.get(end).is_some_and(|token| token.kind != Kind::Word && token.len() <= 7);
        (is_number && matches!(gap, " " | ": " | " #" | ". " | "." | " n° " | " nº ")).then(|| {
            // In groups of two: "12 34 56".
            let mut end = end + 1;
            while words.is_spaced_after(end - 1)
                && words.is_number(end)
                && words.get(end).is_some_and(|token| token.len() <= 2)
                && words.is_number(end - 1)
                && words.get(end - 1).is_some_and(|token| token.len() == 2)
            {
                end += 1;
            }
            end
        })
    };
    if is(at, one_of!["p", "po", "post"]) {
        let office =
            if is(at, one_of!["p"]) && is(at + 1, one_of!["o"]) && words.gap_after(at).starts_with('.') {
                at + 1
            } else {
                at
            };
        let office = if is(at, one_of!["post"]) && is(at + 1, one_of!["office"]) { at + 1 } else { office };
        if is(office + 1, one_of!["box"]) && words.gap_after(office).len() <= 2 {
            return numbered(office + 2).map(|end| (at, end));
        }
        return None;
    }
    if is(at, one_of!["postfach", "postbus", "apartado", "casilla", "postboks", "postilokero", "skrytka"]) {
        return numbered(at + 1).map(|end| (at, end));
    }
    if is(at, one_of!["caixa", "boîte", "casella"]) && is(at + 1, one_of!["postal", "postale"]) {
        return numbered(at + 2).map(|end| (at, end));
    }
    if words.word(at) == "BP"
        || is(at, one_of!["box"])
            && words.is_capital(at)
            && at > 0
            && words.is_spaced_before(at)
            && is(at - 1, one_of!["po", "pob"])
    {
        return numbered(at + 1).map(|end| (at, end));
    }
    None
}

/// "PSC 9236, Box 1684\nAPO AP 02137", "USS Smith\nFPO AE 09012".
fn military_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    if !words.is_one_of(at, one_of!["apo", "fpo", "dpo"])
        || !words.is_one_of(at + 1, one_of!["aa", "ae", "ap"])
        || !words.is_spaced_after(at)
    {
        return None;
    }
    let end = if words.is_number(at + 2) && words.get(at + 2)?.len() == 5 { at + 3 } else { at + 2 };
    // What is before, on the line before at most.
    let begins = |start: usize| {
        words.is_one_of(
            start,
            one_of!["psc", "unit", "uss", "usns", "usnv", "usnav", "usav", "uscgc", "cmr", "box"],
        )
    };
    let start = (at.saturating_sub(6)..at).find(|&start| begins(start));
    Some((start.unwrap_or(at), end))
}

/// "Austin, TX 78701".
fn city_state_zip(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let token = words.get(at)?;
    if !(2..=3).contains(&token.len()) || token.case != Case::Upper || !STATES.holds(words.word(at)) {
        return None;
    }
    let is_zip = words.is_number(at + 1)
        && words.get(at + 1)?.len() == 5
        && matches!(words.gap_after(at), " " | ", " | "  ");
    let city = at.checked_sub(1)?;
    if !is_zip || !matches!(words.gap_before(at), ", " | " ") || !words.is_capital(city) {
        return None;
    }
    let mut start = city;
    while start > 0
        && at - start < 4
        && words.is_spaced_before(start)
        && words.is_capital(start - 1)
        && !words.begins_sentence(start)
        && !(words.is(start - 1, Class::WORD) && words.begins_sentence(start - 1))
    {
        start -= 1;
    }
    Some((start, zip_end(words, at + 1)))
}

fn zip_end(words: &Words<'_>, zip: usize) -> usize {
    let has_more = words.gap_after(zip) == "-"
        && words.is_number(zip + 1)
        && words.get(zip + 1).is_some_and(|token| (3..=4).contains(&token.len()));
    if has_more { zip + 2 } else { zip + 1 }
}

/// "Apt. 884", which hardly anything else is called.
fn flat_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let is_flat = words.is_one_of(at, one_of!["apt", "apartment"])
        && words.is_capital(at)
        && words.get(at + 1)?.kind != Kind::Word;
    let gap = words.gap_after(at);
    (is_flat && matches!(gap, " " | ". " | " #" | ". #") && words.get(at + 1)?.len() <= 5)
        .then_some((at, at + 2))
}

/// A British, Irish or Canadian postcode: "SW1A 1AA", "K1A 0B1".
fn postcode_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let (first, second) = (words.word(at).as_bytes(), words.word(at + 1).as_bytes());
    if words.gap_after(at) != " "
        || second.len() != 3
        || first.len() > 4
        || words.is_in_code(at)
        || words.is_in_code(at + 1)
        || words.gap_before(at).ends_with('-')
    {
        return None;
    }
    let is_inward =
        second[0].is_ascii_digit() && second[1].is_ascii_uppercase() && second[2].is_ascii_uppercase();
    let letters = first.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let is_outward = (1..=2).contains(&letters)
        && first.len() >= 2
        && first.get(letters).is_some_and(u8::is_ascii_digit)
        && first[letters..].len() <= 2
        && first.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let is_canadian = matches!(*first, [a, b, c] if a.is_ascii_uppercase() && b.is_ascii_digit() && c.is_ascii_uppercase())
        && matches!(*second, [a, b, c] if a.is_ascii_digit() && b.is_ascii_uppercase() && c.is_ascii_digit());
    if !(is_inward && is_outward || is_canadian) {
        return None;
    }
    // Its city.
    let mut start = at;
    while start > 0
        && at - start < 2
        && matches!(words.gap_before(start), " " | ", ")
        && words.is_capital(start - 1)
        && (words.is(start - 1, Class::PLACE)
            || words.get(start - 1)?.case == Case::Upper && words.get(start - 1)?.len() > 3)
    {
        start -= 1;
    }
    Some((start, at + 2))
}

/// Where a flat or a floor that begins at a token ends: "Suite 427", "Apt. #5B", "# 12".
fn unit_end(words: &Words<'_>, at: usize) -> Option<usize> {
    if at >= words.len() || !is_link(words.gap_before(at)) {
        return None;
    }
    if !words.is(at, Class::UNIT) || words.is_in_code(at) {
        return None;
    }
    let is_numbered = |at: usize| {
        words.get(at).is_some_and(|token| {
            token.kind != Kind::Word && token.len() <= 5 || token.len() == 1 && token.case == Case::Capital
        })
    };
    (is_numbered(at + 1)
        && matches!(words.gap_after(at), " " | ". " | "." | " #" | ". #" | "#" | " n. " | ": " | "  "))
    .then_some(at + 2)
}

/// Whether an address may go on over what stands between two words.
fn is_link(gap: &str) -> bool {
    gap.len() <= 12
        && gap.bytes().filter(|&b| b == b'\n').count() <= 2
        && gap.chars().all(|c| {
            matches!(
                c,
                ' ' | ','
                    | '\n'
                    | '\r'
                    | '?'
                    | '>'
                    | '|'
                    | '-'
                    | '.'
                    | '/'
                    | '('
                    | '\t'
                    | ';'
                    | '\u{A0}'
                    | '\\'
            )
        })
}

/// Where the name of a city, a region or a country that begins at a token ends; the token itself when none does.
fn city_end(words: &Words<'_>, start: usize) -> usize {
    let first = words.class(start);
    if words.is(start, Class::GREETING.or(Class::SIGN_OFF)) && !first.is(Class::PLACE) {
        return start;
    }
    let end = name_end(words, start, MAX_CITY_WORDS);
    if end == start {
        return start;
    }
    // The beginning of the next sentence is no city.
    let is_plain = first.is(Class::WORD)
        && !first.is(Class::PLACE.or(Class::FAMILIAR))
        && !words.get(start).is_some_and(|token| token.case == Case::Upper);
    let is_followed =
        words.get(end).is_some_and(|token| token.kind == Kind::Number && (4..=6).contains(&token.len()))
            || words.case(end) == Case::Upper && STATES.holds(words.word(end))
            || end >= words.len()
            || words.gap_after(end - 1).contains('\n')
            || words.gap_after(end - 1).starts_with(',');
    let is_known = end > start + 1 && words.is(end - 1, Class::PLACE);
    if is_plain && !is_followed && !is_known { start } else { end }
}

/// Where an address goes on to, from where its street ends.
fn after(words: &Words<'_>, mut end: usize) -> usize {
    let mut is_in_city = false;
    for _ in 0..MAX_PARTS {
        let gap = words.gap_after(end - 1);
        if end >= words.len() || !is_link(gap) {
            break;
        }
        // A full stop ends the sentence, but not after "St." and the like.
        if gap.trim_start().starts_with(['.', '?']) && !gap.contains('\n') && words.word(end - 1).len() > 4
            || gap.starts_with(". ") && words.is_number(end - 1)
        {
            break;
        }
        if let Some(unit) = unit_end(words, end) {
            end = unit;
            continue;
        }
        if let Some((start, core)) = core_at(words, end)
            && start == end
            && !words.is(end, Class::UNIT)
            && !is_in_city
        {
            end = core;
            continue;
        }
        if let Some((start, core)) = post_box_at(words, end).or_else(|| postcode_at(words, end))
            && start == end
        {
            end = core;
            is_in_city = true;
            continue;
        }
        // "3º B"
        let is_floor = gap == ", " && words.is_number(end) && token_len(words, end) <= 2;
        if is_floor && words.gap_after(end).starts_with(['º', 'ª', '°']) {
            end += 1;
            if words.gap_after(end - 1).ends_with(' ')
                && token_len(words, end) <= 3
                && words.case(end) == Case::Capital
            {
                end += 1;
            }
            continue;
        }
        // A crossing: "the corner of … and …".
        if gap == " "
            && words.is_one_of(end, one_of!["and", "und", "&"])
            && !is_in_city
            && let Some((start, core)) = core_at(words, end + 1)
                .or_else(|| core_at(words, end + 2))
                .or_else(|| core_at(words, end + 3))
            && start == end + 1
        {
            end = core;
            continue;
        }
        // "Praha 6"
        let closes = |gap: &str| gap.starts_with([',', '\n']) || gap.trim_start().starts_with([',', '\n']);
        if is_in_city
            && gap == " "
            && words.is_number(end)
            && token_len(words, end) <= 2
            && (end + 1 >= words.len() || closes(words.gap_after(end)))
        {
            end += 1;
            continue;
        }
        let is_code =
            words.get(end).is_some_and(|token| token.kind == Kind::Number && (3..=6).contains(&token.len()))
                || words.gap_after(end) == "-"
                    && token_len(words, end) == 2
                    && words.is_number(end)
                    && words.is_number(end + 1)
                    && token_len(words, end + 1) == 3;
        if is_code
            && !gap.contains('.')
            && (is_in_city
                || words.is_capital(end + 1)
                || words.is_capital(end + 2) && words.gap_after(end) == "-"
                || token_len(words, end) >= 4 && gap.contains(','))
        {
            end = zip_end(words, end);
            // "1012 AB"
            if words.word(end).len() == 2
                && words.get(end).is_some_and(|token| token.case == Case::Upper)
                && words.is_spaced_after(end - 1)
            {
                end += 1;
            }
            is_in_city = true;
            continue;
        }
        let city = if words.is_capital(end) || words.no_capitals { city_end(words, end) } else { end };
        if city > end && (gap.contains('\n') || !gap.starts_with('.')) {
            end = city;
            is_in_city = true;
            continue;
        }
        // A region in two or three letters before its postcode, however written.
        let is_region = words.word(end).len() <= 3 && gap.contains([',', ' ']) && words.get(end).is_some();
        if is_in_city
            && is_region
            && is_link(words.gap_after(end))
            && words.is_number(end + 1)
            && token_len(words, end + 1) >= 4
            && token_len(words, end + 1) <= 6
        {
            end = zip_end(words, end + 1);
            continue;
        }
        break;
    }
    end
}

fn token_len(words: &Words<'_>, at: usize) -> usize {
    words.get(at).map_or(0, super::lexer::Token::len)
}

/// Where an address begins, from where what makes it one does: numbers before the street.
fn before(words: &Words<'_>, mut start: usize, taken: usize) -> usize {
    // "Unit 2451 Box 9006", "Flat 12, …"
    let is_unit = |at: usize| words.is(at, Class::UNIT) || words.is_one_of(at, one_of!["psc", "cmr"]);
    if start > taken && is_unit(start - 1) && words.is_spaced_before(start) {
        return start - 1;
    }
    start = street_before_city(words, start, taken);
    if start >= taken + 2
        && words.gap_before(start) == ", "
        && words.is_spaced_before(start - 1)
        && (is_unit(start - 2) && words.get(start - 1).is_some_and(|token| token.kind != Kind::Word)
            || is_unit(start - 1) && is_ordinal(words, start - 2))
    {
        return start - 2;
    }
    for _ in 0..2 {
        if start == taken
            || !matches!(words.gap_before(start), " " | ", " | "  ")
            || words.gap_before(start) == ", " && words.is_number(start)
        {
            break;
        }
        let number = start - 1;
        if !words.is_number(number) || token_len(words, number) > 5 || is_amount(words, number) {
            break;
        }
        start = number;
    }
    crossing(words, start, taken)
}

/// The street before a postcode and its city, though no word says that it is one: "Am Alten Markt 7, 50667 Köln",
/// "99 Bishopsgate, London EC2M 3XD".
fn street_before_city(words: &Words<'_>, start: usize, taken: usize) -> usize {
    if start <= taken || !matches!(words.gap_before(start), ", " | "\n" | ",\n") {
        return start;
    }
    let ends_with_number = is_house_number(words, start - 1) && token_len(words, start - 1) <= 4;
    let last = if ends_with_number { start - 1 } else { start };
    let mut first = last;
    while first > taken
        && last - first < MAX_NAME_WORDS
        && (first == start || matches!(words.gap_before(first), " " | "-" | "'" | ". "))
        && words.get(first - 1).is_some_and(|token| token.kind == Kind::Word)
        && (words.is_capital(first - 1) || words.is(first - 1, Class::PARTICLE))
        && !words.is_in_code(first - 1)
    {
        first -= 1;
    }
    let is_numbered = first > taken && is_house_number(words, first - 1) && words.is_spaced_before(first);
    match (ends_with_number, is_numbered) {
        _ if first == last || !words.is_capital(first) || words.is(first, Class::PROPER) => start,
        (_, true) => first - 1,
        (true, false) => first,
        (false, false) => start,
    }
}

/// The lines above an address that begins one: who lives there, or what is there. Lines of names alone are meant,
/// two at most; people are found on their own.
fn addressee(words: &Words<'_>, start: usize, taken: usize, spans: &mut Vec<Span>) {
    let mut end = start;
    for _ in 0..2 {
        if end <= taken || !words.gap_before(end).contains('\n') || !is_link(words.gap_before(end)) {
            return;
        }
        let mut first = end;
        while first > taken
            && end - first < 6
            && (first == end
                || matches!(words.gap_before(first), " " | "-" | " & " | ". " | "'" | ", " | "."))
        {
            let is_joining = words
                .is_one_of(first - 1, one_of!["and", "of", "de", "und", "for", "the", "et", "der", "y", "s"])
                && first < end;
            if !(words.is_capital(first - 1)
                || is_joining
                || words.no_capitals
                || words.get(first - 1).is_some_and(|token| token.kind != Kind::Word))
            {
                return;
            }
            first -= 1;
        }
        let begins = first == 0 || words.gap_before(first).contains('\n');
        let ends = !words.gap_after(end - 1).trim_start().starts_with([':', '.', '!', ',']);
        if !begins
            || !ends
            || first == end
            || (first..end).any(|at| words.is(at, Class::GREETING) && at == first)
        {
            return;
        }
        if let (Some(from), Some(to)) = (words.get(first), words.get(end - 1)) {
            spans.push(Span {
                start: from.start(),
                end: to.end(),
                entity: Entity::ORGANIZATION,
                priority: Span::ADDRESSEE,
            });
        }
        end = first;
    }
}

/// The other street of a crossing, and "the corner of".
fn crossing(words: &Words<'_>, start: usize, taken: usize) -> usize {
    let mut start = start;
    if start >= taken + 2
        && words.is_one_of(start - 1, one_of!["and", "&"])
        && words.is_spaced_before(start)
        && words.is_spaced_before(start - 1)
    {
        let mut other = start - 1;
        if words.is_number(other - 1) && token_len(words, other - 1) <= 4 && other > taken + 1 {
            other -= 1;
        }
        let end = other;
        while other > taken
            && start - other < 5
            && words.is_spaced_before(other)
            && (words.is_capital(other - 1) && !words.is(other - 1, Class::WORD.or(Class::PROPER))
                || words.is_capital(other - 1) && words.is(other - 1, Class::GIVEN.or(Class::STREET_AFTER)))
        {
            other -= 1;
        }
        if other < end {
            start = other;
        }
    }
    if start >= taken + 3
        && words.is_one_of(start - 1, one_of!["of"])
        && words.is_one_of(start - 2, one_of!["corner"])
    {
        start -= 3;
    }
    start
}

#[cfg(test)]
mod tests;
