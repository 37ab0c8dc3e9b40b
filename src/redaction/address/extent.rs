//! How far an address goes, from what makes it one: flats, cities, regions and countries after it, numbers and the other
//! street of a crossing before it, whoever lives there above it.

use super::{
    MAX_NAME_WORDS, core_at,
    postal::{STATES, post_box_at, postcode_at, zip_end},
    street::{is_amount, is_house_number, is_ordinal, name_end},
    token_len,
};
use crate::redaction::{
    Entity, Span,
    lexer::{Case, Kind},
    lexicon::Class,
    list::one_of,
    words::Words,
};

/// The most parts that an address goes on for.
const MAX_PARTS: usize = 8;

/// The most words of the name of a city or a country.
const MAX_CITY_WORDS: usize = 8;

/// "Apt. 884", which hardly anything else is called.
pub(super) fn flat_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let is_flat = words.is_one_of(at, one_of!["apt", "apartment"])
        && words.is_capital(at)
        && words.get(at + 1)?.kind != Kind::Word;
    let gap = words.gap_after(at);
    (is_flat && matches!(gap, " " | ". " | " #" | ". #") && words.get(at + 1)?.len() <= 5)
        .then_some((at, at + 2))
}

/// Where a flat or a floor that begins at a token ends: "Suite 427", "Apt. #5B", "# 12".
pub(super) fn unit_end(words: &Words<'_>, at: usize) -> Option<usize> {
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
pub(super) fn is_link(gap: &str) -> bool {
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
pub(super) fn city_end(words: &Words<'_>, start: usize) -> usize {
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
pub(super) fn after(words: &Words<'_>, mut end: usize) -> usize {
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

/// Where an address begins, from where what makes it one does: numbers before the street.
pub(super) fn before(words: &Words<'_>, mut start: usize, taken: usize) -> usize {
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
pub(super) fn street_before_city(words: &Words<'_>, start: usize, taken: usize) -> usize {
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
pub(super) fn addressee(words: &Words<'_>, start: usize, taken: usize, spans: &mut Vec<Span>) {
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
pub(super) fn crossing(words: &Words<'_>, start: usize, taken: usize) -> usize {
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
