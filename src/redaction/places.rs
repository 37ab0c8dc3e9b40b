//! Organisations and places, where what is around them says something of a person: a company with its
//! legal form, where somebody works, where somebody lives or is from.
//!
//! A city or a country alone says nothing of anybody, and is left.

use super::{
    Entity, Span,
    lexer::{Case, Kind},
    lexicon::Class,
    words::Words,
};

/// The most words of the name of a company or a place.
const MAX_NAME_WORDS: usize = 5;

/// What somebody does at an organisation: the words before its name, the last one last.
const WORK: [(&[&str], &[&str]); 11] = [
    (&["work", "works", "worked", "working", "employed", "intern", "interned", "job"], &["at", "for", "by"]),
    (
        &[
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
        &["at"],
    ),
    (&["arbeite", "arbeitet", "arbeiten", "angestellt", "gearbeitet"], &["bei", "für"]),
    (&["travaille", "travaillé", "travaillait", "employé", "employée"], &["chez", "pour"]),
    (&["trabajo", "trabaja", "trabajaba", "trabajé"], &["en", "para"]),
    (&["lavoro", "lavora", "lavorava", "lavorato"], &["per", "presso", "in"]),
    (&["trabalho", "trabalha", "trabalhava"], &["na", "no", "para"]),
    (&["werk", "werkt", "werkte", "gewerkt"], &["bij", "voor"]),
    (&["jobbar", "arbetar", "arbejder", "jobber"], &["på", "hos"]),
    (
        &["employer", "company", "arbeitgeber", "employeur", "werkgever"],
        &["is", "was", "ist", "heißt", "est"],
    ),
    (&["pracuję", "pracuje"], &["w", "dla"]),
];
/// The same for where somebody lives or is from.
const HOME: [(&[&str], &[&str]); 14] = [
    (
        &[
            "live", "lives", "lived", "living", "born", "raised", "resides", "residing", "reside", "grew",
            "based", "am", "m", "stay", "staying",
        ],
        &["in"],
    ),
    (
        &[
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
        &["from"],
    ),
    (&["moved", "move", "moving", "relocated", "relocating", "travelling", "traveling"], &["to"]),
    (&["lives", "arrived", "live"], &["at"]),
    (&["wohne", "wohnt", "lebe", "lebt", "geboren", "wohnhaft", "aufgewachsen"], &["in"]),
    (&["komme", "kommt", "bin", "stamme", "stammt"], &["aus"]),
    (&["habite", "habitons", "vis", "vit", "né", "née", "réside"], &["à", "en", "au"]),
    (&["viens", "vient", "suis"], &["de", "du"]),
    (&["vivo", "vive", "nací", "nació", "nacido", "resido", "reside"], &["en"]),
    (&["soy", "vengo", "viene"], &["de"]),
    (&["vivo", "abito", "abita", "vive", "nato", "nata", "risiedo"], &["a", "in"]),
    (&["moro", "mora", "vivo", "nasci", "nasceu"], &["em"]),
    (&["woon", "woont", "geboren"], &["in", "te"]),
    (&["bor", "född", "født", "mieszkam", "mieszka"], &["i", "w", "we"]),
];
/// What an organisation does, or what is said of it, after its name.
const AFTER_ORGANISATION: [&str; 4] = ["office", "offices", "headquarters", "employee"];

/// Adds the organisations and places of a text.
pub(super) fn find(words: &Words<'_>, spans: &mut Vec<Span>) {
    for at in 0..words.len() {
        let Some(token) = words.get(at) else { break };
        if !words.is(at, Class::LEGAL.or(Class::PLACE_WORD)) {
            continue;
        }
        if words.is(at, Class::LEGAL)
            && let Some((start, end)) = company_at(words, at)
        {
            push(words, start, end, (Entity::ORGANIZATION, Span::ORGANISATION), spans);
        }
        // What is below takes what follows, which has a capital.
        if !words.is(at, Class::PLACE_WORD) {
            continue;
        }
        if token.case != Case::Lower
            || !words.is_capital(at + 1) && !words.is_one_of(at + 1, &["the", "der", "la"])
            || words.gap_after(at) != " "
        {
            if AFTER_ORGANISATION.contains(&words.word(at)) {
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

/// Whether a word is the last of one of these phrases.
fn follows_one_of(words: &Words<'_>, at: usize, phrases: &[(&[&str], &[&str])]) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    if words.gap_before(at) != " " && !words.gap_before(at).is_empty() {
        return false;
    }
    // "as an engineer at", "grew up in": one word may stand between.
    phrases.iter().any(|(first, last)| {
        words.is_one_of(at, last)
            && (words.is_one_of(before, first)
                || (before > 0
                    && words.gap_before(before) == " "
                    && words.is_one_of(
                        before,
                        &[
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
                || words.is_capital(at + 1) && words.gap_after(at) == " ")
    {
        return None;
    }
    let mut start = at;
    while start > 0 && at - start < MAX_NAME_WORDS + 2 {
        let gap = words.gap_before(start);
        let is_joined = matches!(gap, " " | "-" | " & " | "&" | "  " | " + " | "." | ". " | "'" | "’")
            || gap == ", " && (start == at || words.is(start, Class::LEGAL))
            || gap == ", " && (start..at).any(|at| words.is_one_of(at, &["and", "und", "et"]));
        if !is_joined || gap == ". " && !words.is(start - 1, Class::LEGAL) {
            break;
        }
        let before = start - 1;
        let may_be = words.is_capital(before)
            && !(words.begins_sentence(before)
                && words.is(before, Class::WORD)
                && !words.is(before, Class::GIVEN.or(Class::SURNAME))
                && at - before > 1)
            || words.is_one_of(before, &["and", "und", "et", "of"])
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
            || words.is_one_of(end, &["of", "and", "de", "for", "und"])
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
    if !(words.is_one_of(at + 1, &["is", "are"]) && words.is_one_of(at + 2, &["at", "in", "on"])) {
        return;
    }
    let mut start = at;
    while start > 0
        && at - start < MAX_NAME_WORDS
        && matches!(words.gap_before(start), " " | "-" | ". " | " & " | ", ")
        && (words.is_capital(start - 1)
            || words.is_one_of(start - 1, &["of", "and"]) && start < at
            || words.no_capitals && !words.is_one_of(start - 1, &["the", "our", "my", "your"]))
        && !words.is_one_of(start - 1, &["the", "our", "my", "your"])
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
            token.case == Case::Upper && token.len() < 5 && !words.is_one_of(start, &["usa", "uk", "uae"])
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
                    || words.is_one_of(end, &["of", "and", "the", "a", "y", "u"]))
                && (words.is_capital(end + 1)
                    || words.is_capital(end + 2) && words.is_one_of(end + 1, &["the", "la", "del"]))
                && words.gap_after(end) == " "
                && !(words.is_one_of(end, &["and"])
                    && !words.is(end + 1, Class::PLACE)
                    && !words.is_one_of(end + 1, &["Herzegovina", "Tobago", "Barbuda", "Nevis", "Principe"]))
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
