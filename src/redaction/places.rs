//! Organisations and places, where what is around them says something of a person: a company with its
//! legal form, where somebody works, where somebody lives or is from.
//!
//! A city or a country alone says nothing of anybody, and is left.

use super::{
    Entity, Span,
    lexer::{Case, Kind},
    lexicon::Class,
    list::{List, one_of},
    words::{Hint, Words},
};

/// The most words of the name of a company or a place.
const MAX_NAME_WORDS: usize = 5;

/// What somebody does at an organisation: the words before its name, the last one last.
const WORK: [(&List, &List); 11] = [
    (
        one_of!["work", "works", "worked", "working", "employed", "intern", "interned", "job"],
        one_of!["at", "for", "by"],
    ),
    (
        one_of![
            "year",
            "years",
            "assistant",
            "manager",
            "engineer",
            "ceo",
            "cto",
            "cfo",
            "director",
            "consultant",
            "employee",
        ],
        one_of!["at"],
    ),
    (one_of!["arbeite", "arbeitet", "arbeiten", "angestellt", "gearbeitet"], one_of!["bei", "für"]),
    (one_of!["travaille", "travaillé", "travaillait", "employé", "employée"], one_of!["chez", "pour"]),
    (one_of!["trabajo", "trabaja", "trabajaba", "trabajé"], one_of!["en", "para"]),
    (one_of!["lavoro", "lavora", "lavorava", "lavorato"], one_of!["per", "presso", "in"]),
    (one_of!["trabalho", "trabalha", "trabalhava"], one_of!["na", "no", "para"]),
    (one_of!["werk", "werkt", "werkte", "gewerkt"], one_of!["bij", "voor"]),
    (one_of!["jobbar", "arbetar", "arbejder", "jobber"], one_of!["på", "hos"]),
    (
        one_of!["employer", "company", "arbeitgeber", "employeur", "werkgever"],
        one_of!["is", "was", "ist", "heißt", "est"],
    ),
    (one_of!["pracuję", "pracuje"], one_of!["w", "dla"]),
];
/// The same for where somebody lives or is from.
const HOME: [(&List, &List); 14] = [
    (
        one_of![
            "live", "lives", "lived", "living", "born", "raised", "resides", "residing", "reside", "grew",
            "based", "am", "m", "stay", "staying",
        ],
        one_of!["in"],
    ),
    (
        one_of![
            "am",
            "m",
            "is",
            "are",
            "s",
            "re",
            "come",
            "comes",
            "came",
            "moved",
            "here",
            "morning",
            "down",
            "originally",
            "was",
            "they",
            "guy",
            "girl",
            "woman",
            "man",
        ],
        one_of!["from"],
    ),
    (one_of!["moved", "move", "moving", "relocated", "relocating", "travelling", "traveling"], one_of!["to"]),
    (one_of!["lives", "arrived", "live"], one_of!["at"]),
    (one_of!["wohne", "wohnt", "lebe", "lebt", "geboren", "wohnhaft", "aufgewachsen"], one_of!["in"]),
    (one_of!["komme", "kommt", "bin", "stamme", "stammt"], one_of!["aus"]),
    (one_of!["habite", "habitons", "vis", "vit", "né", "née", "réside"], one_of!["à", "en", "au"]),
    (one_of!["viens", "vient", "suis"], one_of!["de", "du"]),
    (one_of!["vivo", "vive", "nací", "nació", "nacido", "resido", "reside"], one_of!["en"]),
    (one_of!["soy", "vengo", "viene"], one_of!["de"]),
    (one_of!["vivo", "abito", "abita", "vive", "nato", "nata", "risiedo"], one_of!["a", "in"]),
    (one_of!["moro", "mora", "vivo", "nasci", "nasceu"], one_of!["em"]),
    (one_of!["woon", "woont", "geboren"], one_of!["in", "te"]),
    (one_of!["bor", "född", "født", "mieszkam", "mieszka"], one_of!["i", "w", "we"]),
];
/// What an organisation does, or what is said of it, after its name.
const AFTER_ORGANISATION: &List = one_of!["office", "offices", "headquarters", "employee"];

/// Whether an organisation or a place may be next to a word of a class.
pub(super) const fn is_looked_at(class: Class) -> bool {
    class.is(Class::LEGAL.or(Class::PLACE_WORD))
}

/// Adds the organisations and places of a text.
pub(super) fn find(words: &Words<'_>, spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(at) = words.next_with(Hint::PLACE, from) {
        from = at + 1;
        if words.is(at, Class::LEGAL)
            && let Some((start, end)) = company_at(words, at)
        {
            push(words, start, end, (Entity::ORGANIZATION, Span::ORGANISATION), spans);
        }
        if !words.is(at, Class::PLACE_WORD) {
            continue;
        }
        let is_organisational = AFTER_ORGANISATION.holds(words.word(at));
        if !is_organisational && !is_after_phrase(words, at) {
            continue;
        }
        // What follows is taken, which has a capital.
        if words.case(at) != Case::Lower
            || !words.is_capital(at + 1) && !words.is_one_of(at + 1, one_of!["the", "der", "la"])
            || !words.is_spaced_after(at)
        {
            if is_organisational && words.case(at) == Case::Lower {
                office_of(words, at, spans);
            }
            continue;
        }
        if follows_one_of(words, at, &WORK) {
            let start = if words.is_capital(at + 1) { at + 1 } else { at + 2 };
            let end = company_end(words, start);
            push(words, start, end, (Entity::ORGANIZATION, Span::ORGANISATION), spans);
        } else if follows_one_of(words, at, &HOME) {
            let start = if words.is_capital(at + 1) { at + 1 } else { at + 2 };
            let end = place_end(words, start);
            // What is "from" somewhere may be from somebody.
            let priority = if words.word(at) == "from" { Span::PLACE } else { Span::HOME };
            push(words, start, end, (Entity::LOCATION, priority), spans);
        }
    }
}

fn push(
    words: &Words<'_>,
    start: usize,
    end: usize,
    (entity, priority): (Entity, u8),
    spans: &mut Vec<Span>,
) {
    if end > start
        && let (Some(first), Some(last)) = (words.get(start), words.get(end - 1))
    {
        spans.push(Span { start: first.start(), end: last.end(), entity, priority });
    }
}

/// The first words of the phrases.
pub(super) fn first_words() -> impl Iterator<Item = &'static str> {
    WORK.iter().chain(&HOME).flat_map(|(first, _)| first.words()).copied()
}

/// Whether a word may be the last of some phrase: most are not.
fn is_after_phrase(words: &Words<'_>, at: usize) -> bool {
    (at.saturating_sub(2)..at).any(|before| words.is(before, Class::PHRASE))
}

/// Whether a word is the last of one of these phrases.
fn follows_one_of(words: &Words<'_>, at: usize, phrases: &[(&List, &List)]) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    if !words.is_spaced_before(at) && !words.gap_before(at).is_empty() {
        return false;
    }
    // "as an engineer at", "grew up in": one word may stand between.
    phrases.iter().any(|(first, last)| {
        words.is_one_of(at, last)
            && (words.is_one_of(before, first)
                || (before > 0
                    && words.is_spaced_before(before)
                    && words.is_one_of(
                        before,
                        one_of![
                            "up",
                            "now",
                            "currently",
                            "here",
                            "originally",
                            "back",
                            "part",
                            "ich",
                            "je",
                            "full",
                        ],
                    )
                    && words.is_one_of(before - 1, first)))
    })
}

/// The company whose legal form this is: "Brown-Weaver Ltd.", "Müller & Söhne GmbH".
fn company_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    let form = words.get(at)?;
    let is_written_so = words.is_capital(at)
        || words.no_capitals && form.len() > 2
        || matches!(words.word(at), "mbH" | "eG" | "gmbh" | "s");
    let is_short = form.len() <= 2;
    if !is_written_so
        || words.is_in_code(at)
        || is_short
            && (form.case != Case::Upper && words.word(at) != "Co"
                || words.is_capital(at + 1) && words.is_spaced_after(at))
    {
        return None;
    }
    let mut start = at;
    while start > 0 && at - start < MAX_NAME_WORDS + 2 {
        let gap = words.gap_before(start);
        let is_joined = matches!(gap, " " | "-" | " & " | "&" | "  " | " + " | "." | ". " | "'" | "’")
            || gap == ", " && (start == at || words.is(start, Class::LEGAL))
            || gap == ", " && (start..at).any(|at| words.is_one_of(at, one_of!["and", "und", "et"]));
        if !is_joined || gap == ". " && !words.is(start - 1, Class::LEGAL) {
            break;
        }
        let before = start - 1;
        let may_be = words.is_capital(before)
            && !(words.begins_sentence(before)
                && words.is(before, Class::WORD)
                && !words.is(before, Class::GIVEN.or(Class::SURNAME))
                && at - before > 1)
            || words.is_one_of(before, one_of!["and", "und", "et", "of"])
                && before > 0
                && words.is_capital(before - 1)
                && words.gap_before(before) == " "
            || words.no_capitals
                && !words.is(before, Class::WORD)
                && words.get(before).is_some_and(|token| token.kind == Kind::Word);
        if !may_be || words.is_in_code(before) {
            break;
        }
        start = before;
    }
    // One word that is a word of the language is no name: "Co", "The Ltd".
    let is_named = (start..at).any(|at| {
        words.get(at).is_some_and(|token| token.kind == Kind::Word && token.len() > 1)
            && !words.is(at, Class::LEGAL)
    });
    if !is_named
        || is_short
            && at - start == 1
            && words.is(start, Class::WORD)
            && words.get(start)?.case != Case::Capital
    {
        return None;
    }
    let mut end = at + 1;
    while end < at + 3
        && words.is(end, Class::LEGAL)
        && words.is_capital(end)
        && matches!(words.gap_before(end), " " | " & " | ". " | "." | ". & ")
    {
        end += 1;
    }
    Some((start, end))
}

/// Where the name of a company that begins at a word ends.
fn company_end(words: &Words<'_>, start: usize) -> usize {
    let mut end = start;
    while end < start + MAX_NAME_WORDS {
        let is_joined =
            end == start || matches!(words.gap_before(end), " " | "-" | " & " | "&" | "  " | "'" | ".");
        let goes_on = words.is_capital(end)
            || words.is_one_of(end, one_of!["of", "and", "de", "for", "und"])
                && words.is_capital(end + 1)
                && end > start
                && !words.is(end + 1, Class::WORD)
            || words.get(end).is_some_and(|token| token.kind == Kind::Mixed) && end > start;
        if !is_joined || !goes_on || words.is_in_code(end) {
            break;
        }
        end += 1;
    }
    // A day or a month is no employer.
    let is_one = end == start + 1
        && words.class(start).is(Class::WORD)
        && !words.is(start, Class::GIVEN.or(Class::SURNAME).or(Class::PROPER))
        && words.get(start).is_some_and(|token| token.case == Case::Capital);
    if end == start || is_one && words.word(start) == "I" { start } else { end }
}

/// "The … office", where the name has no legal form.
fn office_of(words: &Words<'_>, at: usize, spans: &mut Vec<Span>) {
    if !(words.is_one_of(at + 1, one_of!["is", "are"]) && words.is_one_of(at + 2, one_of!["at", "in", "on"]))
    {
        return;
    }
    let mut start = at;
    while start > 0
        && at - start < MAX_NAME_WORDS
        && matches!(words.gap_before(start), " " | "-" | ". " | " & " | ", ")
        && (words.is_capital(start - 1)
            || words.is_one_of(start - 1, one_of!["of", "and"]) && start < at
            || words.no_capitals && !words.is_one_of(start - 1, one_of!["the", "our", "my", "your"]))
        && !words.is_one_of(start - 1, one_of!["the", "our", "my", "your"])
    {
        start -= 1;
    }
    if start < at {
        push(words, start, at, (Entity::ORGANIZATION, Span::ORGANISATION), spans);
    }
}

/// Where the name of a place that begins at a word ends.
fn place_end(words: &Words<'_>, start: usize) -> usize {
    let is_placeless = |at: usize| {
        let class = words.class(at);
        // "from Monday", "in English", "from API 2"
        class.is(Class::PROPER) && !class.is(Class::PLACE)
            || class.is(Class::WORD)
                && !class.is(Class::PLACE)
                && !(words.is_capital(at + 1) && matches!(words.gap_after(at), " " | ". "))
    };
    if is_placeless(start)
        || words.is_in_code(start)
        || words.get(start).is_some_and(|token| {
            token.case == Case::Upper
                && token.len() < 5
                && !words.is_one_of(start, one_of!["usa", "uk", "uae"])
        })
    {
        return start;
    }
    let mut end = start;
    while end < start + MAX_NAME_WORDS {
        let is_joined = end == start || matches!(words.gap_before(end), " " | "-" | ". " | "'" | "’");
        if !is_joined || words.is_in_code(end) {
            break;
        }
        // "Bosnia and Herzegovina"
        let joins = || {
            end > start
                && (words.is(end, Class::PARTICLE)
                    || words.is_one_of(end, one_of!["of", "and", "the", "a", "y", "u"]))
                && (words.is_capital(end + 1)
                    || words.is_capital(end + 2) && words.is_one_of(end + 1, one_of!["the", "la", "del"]))
                && words.is_spaced_after(end)
                && !(words.is_one_of(end, one_of!["and"])
                    && !words.is(end + 1, Class::PLACE)
                    && !words
                        .is_one_of(end + 1, one_of!["Herzegovina", "Tobago", "Barbuda", "Nevis", "Principe"]))
        };
        if !words.is_capital(end) && !joins() {
            break;
        }
        end += 1;
    }
    if end == start { start } else { end }
}

#[cfg(test)]
mod tests;
