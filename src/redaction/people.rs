//! Names of people: by lists of given names and surnames, and by what is written around them.
//!
//! A word that is a name and nothing else is one wherever it stands with a capital. A word that is also
//! a word of a language, a city or a product is one next to a name ("Mark Kowalski"), or where the
//! words around say so ("Hi Mark,"); there even a word in no list is.

use super::{
    Entity, Span,
    lexer::Case,
    lexicon::Class,
    list::{List, one_of},
    words::{Hint, Words},
};

mod clue;
mod shape;
mod small;

use clue::{Clue, clue_before};
use shape::{Part, after_initials, after_title, part, tail};
use small::lower_case_at;
/// What names share with words of a language, cities and products.
const BLURRED: Class = Class::WORD.or(Class::PROPER).or(Class::PLACE).or(Class::GREETING).or(Class::SIGN_OFF);
const NAME: Class = Class::GIVEN.or(Class::SURNAME);

/// Brands and figures that are called like people, where no title says otherwise.
const CALLED_LIKE_PEOPLE: &List = one_of![
    "alfa romeo",
    "aston martin",
    "ben & jerry",
    "calvin klein",
    "charlie brown",
    "dolce & gabbana",
    "donald duck",
    "dr pepper",
    "dr. pepper",
    "elizabeth arden",
    "ernst & young",
    "estée lauder",
    "goldman sachs",
    "harley davidson",
    "harley-davidson",
    "harry potter",
    "hugo boss",
    "jack daniel",
    "jack wolfskin",
    "jack russell",
    "james bond",
    "jim beam",
    "jimmy choo",
    "john deere",
    "johnnie walker",
    "johnson & johnson",
    "karl lagerfeld",
    "kate spade",
    "louis vuitton",
    "marc jacobs",
    "marks & spencer",
    "mary kay",
    "michael kors",
    "mickey mouse",
    "morgan stanley",
    "procter & gamble",
    "ralph lauren",
    "robin hood",
    "rolls royce",
    "rolls-royce",
    "santa claus",
    "sherlock holmes",
    "tom clancy",
    "tom ford",
    "tommy hilfiger",
    "tomb raider",
    "tory burch",
    "uncle ben",
    "victoria's secret",
    "wells fargo",
    "yves rocher",
];
/// Before a name, where it is a place's.
const SAINTS: &List = one_of!["san", "santa", "santo", "são", "saint", "sainte", "sankt"];

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
                Part::WeakGiven | Part::WeakSurname if !words.is(at, Class::GREETING.or(Class::SIGN_OFF)) => {
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

/// The name that begins with a word with a capital, or with the title before it.
fn capitalised_at(words: &Words<'_>, at: usize) -> Option<(usize, usize)> {
    if !words.is_capital(at) {
        return None;
    }
    let class = words.class(at);
    if class.is(Class::TITLE) && !words.is_one_of(at + 1, one_of!["pepper"]) {
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
    // "San Francisco"
    if words.is_one_of(at, SAINTS) && words.is_spaced_after(at) && words.is_capital(at + 1) {
        return None;
    }
    let is_known_thing = |at: usize| (2..=3).any(|len| CALLED_LIKE_PEOPLE.holds(words.phrase(at, at + len)));
    if is_known_thing(at) || at > 0 && is_known_thing(at - 1) {
        return None;
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
    // "Murphy's Law", "the Dijkstra algorithm", "Jack of all trades", "Ruby on Rails".
    if words.word(at + 1) == "s" && words.is(at + 2, Class::THING)
        || words.is(at + 1, Class::THING) && words.is_spaced_after(at) && words.is(at, Class::SURNAME)
        || words.is_one_of(at + 1, one_of!["of"]) && words.is_one_of(at + 2, one_of!["all"])
        || words.is_one_of(at + 1, one_of!["on"]) && words.is_one_of(at + 2, one_of!["rails"])
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

#[cfg(test)]
mod tests;
