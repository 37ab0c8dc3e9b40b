//! Handles of people on social networks: `@name` where the words before say so, where a text begins with it as a
//! reply does, and where it is made as only handles are (`@anna_92`).
//!
//! `@Override`, `@media`, `@scope/package` and the like stay.

use std::sync::LazyLock;

use memchr::memchr_iter;

use super::{Entity, Span};

/// The longest handle, in bytes.
const MAX_BYTES: usize = 32;
/// How far before a handle the words are that say what it is, in bytes.
const CONTEXT_BYTES: usize = 32;

/// What stands before handles. Those in spaces are whole words.
const WORDS: [&str; 64] = [
    "twitter",
    "instagram",
    "insta ",
    "insta:",
    " ig ",
    " ig:",
    "tiktok",
    "tik tok",
    "telegram",
    "snapchat",
    "discord",
    "threads",
    "mastodon",
    "bluesky",
    "youtube",
    "twitch",
    "facebook",
    "linkedin",
    "github",
    "follow",
    "handle",
    "username",
    "find me",
    "tag me",
    "tagged",
    "mention",
    " cc ",
    " cc:",
    " via ",
    " dm ",
    " dms",
    "hit me up",
    "add me",
    "message me",
    "thanks",
    "thank you",
    " thx",
    "credit",
    "shoutout",
    "shout-out",
    " hey ",
    " hi ",
    "hello",
    " ask ",
    "ping ",
    "photo by",
    "made by",
    "posted by",
    "written by",
    "sígueme",
    "sigueme",
    "síguenos",
    "folge",
    "suivez",
    "suis-moi",
    "me siga",
    "siga ",
    "seguimi",
    "gracias",
    "danke",
    "merci",
    "obrigad",
    "grazie",
    "подпис",
];
/// What stands after an `@` and is nobody's name.
const NOT_NAMES: [&str; 60] = [
    "media",
    "import",
    "param",
    "params",
    "return",
    "returns",
    "override",
    "deprecated",
    "property",
    "author",
    "charset",
    "font",
    "keyframes",
    "supports",
    "page",
    "todo",
    "everyone",
    "here",
    "channel",
    "all",
    "types",
    "angular",
    "babel",
    "test",
    "before",
    "after",
    "autowired",
    "component",
    "service",
    "bean",
    "entity",
    "id",
    "see",
    "since",
    "throws",
    "type",
    "example",
    "staticmethod",
    "classmethod",
    "dataclass",
    "pytest",
    "app",
    "click",
    "inject",
    "input",
    "output",
    "include",
    "extend",
    "mixin",
    "apply",
    "layer",
    "container",
    "interface",
    "end",
    "selector",
    "implementation",
    "home",
    "work",
    "gmail",
    "team",
];

static WORDS_BEFORE: LazyLock<Option<aho_corasick::AhoCorasick>> =
    LazyLock::new(|| aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok());

/// Adds the handles of a text that has an `@`.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    // Where the last handle ended: a list of them is one mention after the other.
    let mut last_end = None;
    for at in memchr_iter(b'@', bytes) {
        let joined =
            text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._-@/+%=".contains(c));
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
        let len = bytes[at + 1..].iter().take(MAX_BYTES + 1).take_while(|b| is_name(b)).count();
        let name = text[at + 1..at + 1 + len].trim_end_matches('.');
        let end = at + 1 + name.len();
        let goes_on = matches!(bytes.get(end), Some(b'@' | b'/' | b'(' | b'-' | b'{' | b'='))
            || text[end..]
                .chars()
                .next()
                .is_some_and(|c| c.is_alphanumeric() && !super::chars::is_spaceless(c));
        if joined
            || goes_on
            || !(2..=MAX_BYTES).contains(&name.len())
            || !name.starts_with(|c: char| c != '.')
        {
            continue;
        }
        let lower = name.to_ascii_lowercase();
        if NOT_NAMES.contains(&lower.as_str()) || name.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            continue;
        }
        let in_list = last_end.is_some_and(|end: usize| {
            matches!(text[end..at].trim(), "" | "," | "and" | "&" | "und" | "et" | "y" | "e" | "+")
        });
        if in_list || at == 0 && begins_reply(text, end) || is_made_up(name) || is_announced(text, at) {
            spans.push(Span { start: at, end, entity: Entity::HANDLE, priority: Span::PRIORITY });
            last_end = Some(end);
        }
    }
}

/// Whether a handle that ends here, at the beginning of a text, is followed by words on its line.
fn begins_reply(text: &str, end: usize) -> bool {
    let mut after = text[end..].chars();
    after.next() == Some(' ') && after.next().is_some_and(|c| c.is_alphabetic() || c == '@')
}

/// Whether no name in code is made so: letters and two digits at the end, as in `anna92`, `anna_92`.
fn is_made_up(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() - stem.len() >= 2 && stem.len() >= 3 && stem.bytes().any(|b| b.is_ascii_lowercase())
}

/// Whether the words before a place say that a handle follows.
fn is_announced(text: &str, at: usize) -> bool {
    let reach = text.ceil_char_boundary(at.saturating_sub(CONTEXT_BYTES));
    let line = text[reach..at].rsplit('\n').next().unwrap_or_default();
    // So that the first word of the line is one, too.
    let line = format!(" {line}");
    WORDS_BEFORE.as_ref().is_some_and(|words| words.is_match(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut spans = Vec::new();
        find(text, &mut spans);
        spans.into_iter().map(|span| &text[span.start..span.end]).collect()
    }

    #[test]
    fn handles_are_found_where_something_says_so() {
        for (text, handles) in [
            ("follow me on Instagram @anna.smith!", vec!["@anna.smith"]),
            ("@bob thanks for that", vec!["@bob"]),
            ("cc @bob, @carol and @dan_x.", vec!["@bob", "@carol", "@dan_x"]),
            ("saw anna @anna_92 there", vec!["@anna_92"]),
            ("Twitter: @jack", vec!["@jack"]),
        ] {
            assert_eq!(found(text), handles, "{text}");
        }
    }

    #[test]
    fn what_is_no_handle_stays() {
        for text in [
            "@Override\npublic void run()",
            "@media screen and (x)",
            "npm i @types/node @angular/core",
            "mail a@example.com now",
            "react@18.2.0",
            "dinner @ 8",
            "meet @ the cafe",
            "SELECT @row := 1",
            "a decorator such as @cached_property here",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }
}
