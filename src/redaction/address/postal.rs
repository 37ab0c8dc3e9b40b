//! What the post made up: postcodes, post boxes, states and military addresses.

use super::{extent::city_end, has_clue};
use crate::redaction::{
    lexer::{Case, Kind},
    lexicon::Class,
    list::{List, one_of},
    words::Words,
};

/// States of the USA and its territories, provinces of Canada and states of Australia, as in addresses.
pub(super) const STATES: &List = one_of![
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY",
    "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND",
    "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC",
    "PR", "VI", "GU", "AS", "MP", "AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK",
    "YT", "NSW", "VIC", "QLD", "TAS", "ACT", "AE", "AP",
];

/// "10115 Berlin", where Berlin is known or the line begins so; "1012 AB Amsterdam".
pub(super) fn plz_and_city(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
pub(super) fn post_box_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
pub(super) fn military_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
pub(super) fn city_state_zip(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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

pub(super) fn zip_end(words: &Words<'_>, zip: usize) -> usize {
    let has_more = words.gap_after(zip) == "-"
        && words.is_number(zip + 1)
        && words.get(zip + 1).is_some_and(|token| (3..=4).contains(&token.len()));
    if has_more { zip + 2 } else { zip + 1 }
}

/// A British, Irish or Canadian postcode: "SW1A 1AA", "K1A 0B1".
pub(super) fn postcode_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
