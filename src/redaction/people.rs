//! Names of people: by lists of given names and surnames, and by what is written around them.
//!
//! A word that is a name and nothing else is one wherever it stands with a capital. A word that is also
//! a word of a language, a city or a product is one next to a name ("Mark Kowalski"), or where the
//! words around say so ("Hi Mark,"); there even a word in no list is.

use super::{
    Entity, Span,
    lexer::{Case, Kind},
    lexicon::Class,
    list::{Endings, List, one_of},
    words::{Hint, Words},
};

/// The most words of a name.
const MAX_PARTS: usize = 6;
/// What names share with words of a language, cities and products.
const BLURRED: Class = Class::WORD.or(Class::PROPER).or(Class::PLACE).or(Class::GREETING).or(Class::SIGN_OFF);
const NAME: Class = Class::GIVEN.or(Class::SURNAME);

/// Endings that surnames have and hardly a word, long ones alone.
const SURNAME_ENDINGS: Endings = Endings::new(&[
    "ov", "ev", "shita", "moto", "yama", "mura", "quez", "guez", "rsen", "elsen", "ksen", "ucci", "ieva",
    "ová", "ova", "ović", "ovic", "ević", "evic", "ić", "sson", "dóttir", "dottir", "ovich", "evich", "enko",
    "wski", "wska", "cki", "cka", "ński", "ńska", "escu", "opoulos", "poulou", "idis", "akis", "shvili",
    "yan", "zadeh", "oğlu", "oglu", "ов", "ова", "енко", "ский", "ская",
]);

/// What a word with a capital can be in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
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

/// What the words before say of a word with a capital.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Clue {
    Nothing,
    /// Somebody may be meant: "with …".
    Maybe,
    /// A person is meant if it can be a name at all: "I'm …".
    Likely,
    /// Whatever comes is a name: "my name is …", "Mr. …".
    Sure,
}

/// Whether a name may begin with a word of a class, or follow it: most words are of a language and nothing else.
pub(super) const fn is_looked_at(class: Class, is_capital: bool) -> bool {
    if is_capital {
        !class.is(BLURRED) || class.is(NAME.or(Class::TITLE))
    } else {
        class.is(NAME) && !class.is(BLURRED.or(Class::SMALL)) || class.is(Class::TITLE.or(Class::NAME_WORD))
    }
}

/// Adds the names of a text.
pub(super) fn find(words: &Words<'_>, spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(at) = words.next_with(Hint::NAME, from) {
        let found = match words.case(at) {
            Case::Lower => lower_case_at(words, at),
            _ => capitalised_at(words, at),
        };
        let Some((start, end)) = found else {
            from = at + 1;
            continue;
        };
        push(words, start, end, spans);
        neighbours(words, start, end, spans);
        from = end.max(at + 1);
    }
}

fn push(words: &Words<'_>, start: usize, end: usize, spans: &mut Vec<Span>) {
    if let (Some(first), Some(last)) = (words.get(start), words.get(end - 1)) {
        spans.push(Span {
            start: first.start(),
            end: last.end(),
            entity: Entity::PERSON,
            priority: Span::NAME,
        });
    }
}

/// Names in no list, and words that are names too, in a row with a name: "Leehy, Perkins and Young".
fn neighbours(words: &Words<'_>, start: usize, end: usize, spans: &mut Vec<Span>) {
    let is_name = |at: usize| {
        words.get(at).is_some_and(|token| token.case == Case::Capital)
            && match part(words, at) {
                Part::Unknown => true,
                Part::WeakGiven | Part::WeakSurname => {
                    !words.is(at, Class::WORD.or(Class::PROPER)) || words.is(at, Class::FAMILIAR)
                }
                _ => false,
            }
    };
    let follows_capital = |at: usize| at > 0 && words.is_capital(at - 1) && words.is_spaced_before(at);
    let mut first = start;
    while first > 0
        && start - first < 3
        && words.gap_before(first) == ", "
        && is_name(first - 1)
        && !follows_capital(first - 1)
    {
        push(words, first - 1, first, spans);
        first -= 1;
    }
    let mut last = end;
    for _ in 0..3 {
        let next = match words.gap_after(last - 1) {
            ", " => last,
            " " if words.is_one_of(last, one_of!["and", "und", "y", "et", "en", "och", "og"])
                && words.is_spaced_after(last) =>
            {
                last + 1
            }
            _ => return,
        };
        let is_alone = !(words.is_capital(next + 1) && words.is_spaced_after(next));
        if !is_name(next) || !is_alone {
            return;
        }
        push(words, next, next + 1, spans);
        last = next + 1;
    }
}

fn part(words: &Words<'_>, at: usize) -> Part {
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

fn has_surname_ending(word: &str) -> bool {
    word.len() >= 6 && SURNAME_ENDINGS.of(word, 3).is_some()
}

/// The name that begins with a word with a capital, or with the title before it.
fn capitalised_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    if !words.is_capital(at) {
        return None;
    }
    let class = words.class(at);
    if class.is(Class::TITLE) {
        let titled = after_title(words, at);
        if titled.is_some() {
            return titled;
        }
    }
    if class.is(BLURRED) && !class.is(NAME) {
        return None;
    }
    // "SMITH, JOHN"
    let is_upper = |at: usize| words.case(at) == Case::Upper && words.word(at).len() > 2;
    if is_upper(at)
        && is_upper(at + 1)
        && words.gap_after(at) == ", "
        && class.is(Class::SURNAME)
        && words.is(at + 1, Class::GIVEN)
        && !words.is_in_code(at)
    {
        return Some((at, at + 2));
    }
    let first = part(words, at);
    match first {
        Part::Other => return None,
        Part::Initial => return after_initials(words, at).map(|end| (at, end)),
        _ => {}
    }
    let end = tail(words, at);
    let is_full = end > at + 1;
    if is_full && first == Part::Given {
        return Some((at, end));
    }
    let clue = clue_before(words, at);
    let next = if is_full { part(words, at + 1) } else { Part::Other };
    let familiar = |at: usize| words.is(at, Class::FAMILIAR);
    // "SELECT name FROM"
    let is_keyword = words.get(at)?.case == Case::Upper && class.is(BLURRED);
    let taken = clue == Clue::Sure && !is_keyword
        || match first {
            Part::Given => is_full || may_stand_alone(words, at, clue),
            Part::Surname => {
                (is_full && (last_is(words, at, end, Part::Given) || last_is(words, at, end, Part::Surname)))
                    || clue >= Clue::Maybe
                    || (words.word(at).chars().nth(3).is_some() && may_stand_alone(words, at, clue))
                    || words.is(at + 1, Class::SAID)
            }
            Part::WeakGiven => {
                clue >= Clue::Likely && may_be_meant(words, at)
                    || (is_full && last_is(words, at, end, Part::Surname))
                    || (is_full && familiar(at) && familiar(end - 1) && words.is(end - 1, Class::SURNAME))
                    || (is_full && familiar(at) && clue >= Clue::Maybe && next == Part::Unknown)
                    || (is_full && familiar(at) && next == Part::Given && words.is(at + 1, Class::SURNAME))
                    // A city and a name, and no "in" before it.
                    || (is_full && next == Part::Unknown && !class.is(Class::WORD.or(Class::PROPER)) && !is_after_in(words, at))
                    || (end > at + 2 && next == Part::Initial)
                    || (familiar(at) && clue == Clue::Maybe && may_stand_alone(words, at, clue))
                    || (familiar(at) && words.is(at + 1, Class::SAID) && words.is_spaced_after(at))
            }
            Part::WeakSurname => {
                clue >= Clue::Likely && may_be_meant(words, at) && (is_full || ends_phrase(words, end))
                    || (words.is(at, Class::FAMILIAR) && is_after_initials(words, at))
            }
            Part::Unknown => {
                // Of languages in other scripts we know too few words to tell the first of a sentence.
                let is_latin = words.word(at).starts_with(|c: char| c < '\u{370}');
                let may_be = is_latin || !words.begins_sentence(at);
                (is_full && may_be && last_is(words, at, end, Part::Surname))
                    || (clue == Clue::Likely
                        && words.word(at).chars().nth(14).is_none()
                        && (is_full || ends_phrase(words, end)))
                    || (words.is(at + 1, Class::SAID)
                        && words.is_spaced_after(at)
                        && words.is_one_of(at + 1, one_of!["said", "says", "wrote", "asked", "replied"]))
            }
            Part::Initial | Part::Other => false,
        };
    taken.then_some((at, end))
}

fn is_after_in(words: &Words<'_>, at: usize) -> bool {
    at > 0
        && words.is_one_of(
            at - 1,
            one_of![
                "in", "at", "from", "near", "to", "of", "via", "en", "à", "a", "aus", "nach", "bei", "da",
                "di", "em", "te",
            ],
        )
}

/// Whether a word that is also something else is a name where one is likely.
fn may_be_meant(words: &Words<'_>, at: usize) -> bool {
    let class = words.class(at);
    let greeted = at > 0 && (words.is(at - 1, Class::GREETING) || words.is_one_of(at - 1, one_of!["me"]));
    if class.is(Class::PROPER) {
        return greeted && class.is(Class::GIVEN);
    }
    !class.is(Class::WORD) || class.is(Class::FAMILIAR) || greeted && class.is(Class::GIVEN)
}

fn last_is(words: &Words<'_>, start: usize, end: usize, wanted: Part) -> bool {
    end > start + 1 && (start + 1..end).any(|at| part(words, at) == wanted)
}

fn is_after_initials(words: &Words<'_>, at: usize) -> bool {
    at > 0 && words.is_initial(at - 1) && words.gap_before(at).starts_with('.')
}

/// Whether a phrase ends before a token.
fn ends_phrase(words: &Words<'_>, end: usize) -> bool {
    let gap = words.gap_after(end - 1);
    end >= words.len()
        || gap
            .trim_start_matches(' ')
            .starts_with([',', '.', '!', '?', ';', ':', '\n', ')', '"', '-', '–', '—', '\''])
        || words.is_one_of(
            end,
            one_of![
                "and", "und", "et", "y", "e", "en", "from", "here", "but", "speaking", "aus", "de", "von",
                "with",
            ],
        )
}

/// Whether one name without another is a person, for all that is next to it.
fn may_stand_alone(words: &Words<'_>, at: usize, clue: Clue) -> bool {
    // "Elizabeth Line" and "Lake Victoria" are none.
    if words.is_capital(at + 1) && words.is_spaced_after(at) && !words.is_initial(at + 1) {
        return false;
    }
    // "Murphy's Law", "Jack of all trades".
    if words.word(at + 1) == "s" && words.is(at + 2, Class::THING)
        || words.is_one_of(at + 1, one_of!["of"]) && words.is_one_of(at + 2, one_of!["all"])
    {
        return false;
    }
    // "the Maven, Ruby and Spark builds": one of a row of products.
    let is_thing = |at: usize| words.is_capital(at) && words.is(at, Class::PROPER) && !words.is(at, NAME);
    if matches!(words.gap_before(at), ", " | "/") && at > 0 && is_thing(at - 1)
        || matches!(words.gap_after(at), ", " | "/") && is_thing(at + 1)
    {
        return false;
    }
    // "der Koch", "la Casa": in languages of which we know too few words.
    let is_article = at > 0 && words.is_spaced_before(at) && words.is(at - 1, Class::ARTICLE);
    if is_article && !words.is(at, Class::GIVEN) {
        return false;
    }
    if words.gap_after(at).starts_with('-')
        && words.get(at + 1).is_some_and(|next| next.case == Case::Lower)
        && words.gap_after(at) == "-"
    {
        return false;
    }
    if clue >= Clue::Maybe || at == 0 {
        return true;
    }
    let before = at - 1;
    if words.gap_before(at) == "-" && !words.is_capital(before) {
        return false;
    }
    if !(words.is_capital(before) && words.is_spaced_before(at))
        || words.is(before, Class::GREETING.or(Class::TITLE))
    {
        return true;
    }
    if words.is(before, Class::BEFORE_THING) {
        return false;
    }
    // A capital at the beginning of a sentence says nothing, and in German nouns have one.
    words.begins_sentence(before) || (part(words, at) == Part::Given && words.is(before, Class::WORD))
}

/// Where a name that begins at a token ends.
fn tail(words: &Words<'_>, start: usize) -> usize {
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
fn after_title(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn after_initials(words: &Words<'_>, start: usize) -> Option<usize> {
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

/// What the words before say of the word at a place.
fn clue_before(words: &Words<'_>, at: usize) -> Clue {
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
fn is_called(words: &Words<'_>, at: usize) -> bool {
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
fn greets(words: &Words<'_>, at: usize) -> bool {
    words.begins_sentence(at)
        || (at > 0 && words.is(at - 1, Class::GREETING))
        || (at > 0 && words.gap_before(at) == ", ")
}

/// Whether a word is the last before a signature: "Best,\nAnna".
fn signs_off(words: &Words<'_>, before: usize, gap: &str) -> bool {
    let is_break = gap.contains('\n') || gap.trim_end() == ",";
    is_break
        && (words.is(before, Class::SIGN_OFF)
            || (before > 0 && words.is(before - 1, Class::SIGN_OFF) && words.is_spaced_before(before)))
}

fn ends_line(words: &Words<'_>, end: usize) -> bool {
    end >= words.len() && words.gap_after(end - 1).len() < 4
        || words.gap_after(end - 1).trim_start_matches([' ', '.', ',']).starts_with('\n')
}

/// Whether "name", and maybe "is" or a colon, stands before a place.
fn is_after_name_word(words: &Words<'_>, at: usize) -> bool {
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

/// Names without capitals: where the words before say so, where both a given name and a surname stand
/// together, and in texts without any capital.
fn lower_case_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn introduced_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
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
fn may_be_unlisted(words: &Words<'_>, at: usize) -> bool {
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

#[cfg(test)]
mod tests;
