//! URLs that say who somebody is or let one in: with user info, with tokens in the query, the fragment or the path,
//! and those that the author calls their own. Others stay in the text.
//!
//! A connection string with a password (`postgres://user:password@host`) is a secret.
//!
//! Each byte is looked at a bounded number of times: the next URL begins after the one before.

use std::sync::LazyLock;

use memchr::memmem;

use super::{Entity, Span};

/// The longest scheme, in bytes.
const MAX_SCHEME_BYTES: usize = 24;
/// How far before a URL the words are that call it somebody's own, in bytes.
const CONTEXT_BYTES: usize = 48;
/// The fewest bytes of a value that may be a token of a parameter whose name says so.
const MIN_TOKEN_BYTES: usize = 6;
/// The fewest bytes of a value that is a token whatever it is called.
const MIN_RANDOM_BYTES: usize = 32;

/// Parts of the names of parameters that hold secrets.
const SECRET_NAMES: [&str; 24] = [
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "auth",
    "sig",
    "signature",
    "session",
    "jwt",
    "credential",
    "otp",
    "ticket",
    "subscription-key",
    "hmac",
    "assertion",
    "reset",
    "invite",
    "magic",
];
/// Whole names of such parameters.
const SECRET_WHOLE_NAMES: [&str; 10] =
    ["key", "sid", "code", "pass", "pw", "user", "username", "login", "h", "k"];
/// Path segments after which a token stands.
const SECRET_PATHS: [&str; 14] = [
    "services",
    "webhooks",
    "webhook",
    "reset",
    "reset-password",
    "password-reset",
    "invite",
    "verify",
    "confirm",
    "activate",
    "unsubscribe",
    "magic",
    "token",
    "share",
];
/// What people write before a URL of their own.
const OWN: [&str; 55] = [
    "my work",
    "my app",
    "my project",
    "my github",
    "my linkedin",
    "my website",
    "my web site",
    "my site",
    "my blog",
    "my homepage",
    "my home page",
    "my page",
    "my portfolio",
    "my profile",
    "my channel",
    "my shop",
    "my store",
    "my domain",
    "my url",
    "my link",
    "my personal",
    "my resume",
    "my cv",
    "our website",
    "our site",
    "our blog",
    "our homepage",
    "just posted",
    "posted a photo",
    "posted a video",
    "follow me",
    "find me",
    "check out my",
    "check my",
    "visit my",
    "visit me",
    "contact me at",
    "reach me at",
    "his website",
    "her website",
    "their website",
    "meine website",
    "meine webseite",
    "meine seite",
    "mein blog",
    "meine homepage",
    "mon site",
    "mon blog",
    "mi sitio",
    "mi página",
    "mi web",
    "mi blog",
    "meu site",
    "meu blog",
    "il mio sito",
];

static MARK: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("://"));
static OWN_WORDS: LazyLock<Option<aho_corasick::AhoCorasick>> =
    LazyLock::new(|| aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(OWN).ok());

/// Adds the URLs of a text that are personal.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = MARK.find(&bytes[from..]) {
        let mark = from + found;
        from = mark + 3;
        let reach = mark.saturating_sub(MAX_SCHEME_BYTES);
        let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || b"+.-:".contains(b);
        let len = bytes[reach..mark].iter().rev().take_while(|b| is_scheme(b)).count();
        let scheme = &text[mark - len..mark];
        let start = mark - scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).len();
        let end = mark + 3 + url_len(&text[mark + 3..]);
        if start == mark || end == mark + 3 {
            continue;
        }
        from = end;
        if let Some(entity) = entity_of(text, &text[start..mark], &text[mark + 3..end], start) {
            spans.push(Span { start, end, entity, priority: PRIORITY });
        }
    }
}

/// More than that of an e-mail address: the `@` of user info makes what is around it look like one.
const PRIORITY: u8 = 92;

/// How long what may stand in a URL is, without the punctuation of the sentence after it.
fn url_len(rest: &str) -> usize {
    let ends =
        |c: char| c.is_whitespace() || c.is_control() || "<>\"`|\\^{}，。、；：！？）】》」»«".contains(c);
    let url = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let mut url = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    while let Some(without) = url.strip_suffix([')', ']']) {
        let (open, close) = if url.ends_with(')') { ('(', ')') } else { ('[', ']') };
        if url.matches(open).count() >= url.matches(close).count() {
            break;
        }
        url = without.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    }
    url.len()
}

/// What a URL is, when it is to be taken. `rest` is what follows `://`.
fn entity_of(text: &str, scheme: &str, rest: &str, start: usize) -> Option<Entity> {
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(authority_len);
    let is_web =
        ["http", "https", "ftp", "ws", "wss", "file"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    if let Some((user_info, _)) = authority.rsplit_once('@') {
        if let Some((_, password)) = user_info.split_once(':') {
            let is_placeholder = password.is_empty() || password.starts_with(['<', '$', '{']);
            return match (is_web, is_placeholder) {
                (_, true) => None,
                (true, false) => Some(Entity::URL),
                (false, false) => Some(Entity::SECRET),
            };
        }
        // `ssh://git@host` names nobody.
        return (!matches!(user_info, "git" | "")).then_some(Entity::URL);
    }
    if has_secret(after) {
        return Some(if is_web { Entity::URL } else { Entity::SECRET });
    }
    (is_web && is_own(text, start)).then_some(Entity::URL)
}

/// Whether a path, a query or a fragment holds a token.
fn has_secret(after: &str) -> bool {
    let (path, parameters) = after.split_at(after.find(['?', '#']).unwrap_or(after.len()));
    let mut named = false;
    for segment in path.split('/') {
        if named && segment.len() >= 16 && is_mixed(segment) {
            return true;
        }
        named |= SECRET_PATHS.contains(&segment);
    }
    parameters.split(['?', '#', '&', ';']).any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let lower = name.to_ascii_lowercase();
        let named = SECRET_NAMES.iter().any(|part| lower.contains(part));
        let whole = SECRET_WHOLE_NAMES.contains(&lower.as_str());
        let is_placeholder = value.starts_with(['<', '$', '{', '[']) || value.starts_with("YOUR");
        !is_placeholder
            && ((named && value.len() >= MIN_TOKEN_BYTES && (is_mixed(value) || lower.contains("pass")))
                || (whole && value.len() >= MIN_TOKEN_BYTES && is_mixed(value))
                || (value.len() >= MIN_RANDOM_BYTES && is_random(value)))
    })
}

/// Whether there are letters and digits.
fn is_mixed(value: &str) -> bool {
    value.bytes().any(|b| b.is_ascii_digit()) && value.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether a value is as tokens are: letters of both cases and digits, and nothing that parts words.
fn is_random(value: &str) -> bool {
    let has = |is: fn(&u8) -> bool| value.bytes().any(|b| is(&b));
    has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && value.bytes().filter(|&b| matches!(b, b'/' | b'+' | b'%' | b':')).count() <= 4
}

/// Whether the words before a place say that what follows is the author's own.
fn is_own(text: &str, start: usize) -> bool {
    let reach = text.ceil_char_boundary(start.saturating_sub(CONTEXT_BYTES));
    let line = text[reach..start].rsplit('\n').next().unwrap_or_default();
    OWN_WORDS.as_ref().is_some_and(|words| words.is_match(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, &'static str)> {
        let mut spans = Vec::new();
        find(text, &mut spans);
        spans.into_iter().map(|span| (&text[span.start..span.end], span.entity.as_str())).collect()
    }

    #[test]
    fn what_lets_one_in_is_taken_whole() {
        for (text, url, entity) in [
            ("see https://anna:pw1@example.com/x.", "https://anna:pw1@example.com/x", "URL"),
            ("(https://x.org/a?access_token=ab12cd34)", "https://x.org/a?access_token=ab12cd34", "URL"),
            ("https://x.org/#id_token=ab12cd34, ok", "https://x.org/#id_token=ab12cd34", "URL"),
            ("DB=postgres://app:s3cret@db:5432/x end", "postgres://app:s3cret@db:5432/x", "SECRET"),
            ("mongodb+srv://u:p4ss@c0.example.net/t", "mongodb+srv://u:p4ss@c0.example.net/t", "SECRET"),
            (
                "jdbc:mysql://h/db?user=u&password=hunter",
                "jdbc:mysql://h/db?user=u&password=hunter",
                "SECRET",
            ),
            ("My website is http://VoipPolicy.ch/", "http://VoipPolicy.ch/", "URL"),
            (
                "https://hooks.example.com/services/T00/B00/a1b2c3d4e5f6g7h8i9",
                "https://hooks.example.com/services/T00/B00/a1b2c3d4e5f6g7h8i9",
                "URL",
            ),
            (
                "https://b.s3.example.com/k?X-Amz-Signature=fe5f80f77d5fa3beca03&x=1",
                "https://b.s3.example.com/k?X-Amz-Signature=fe5f80f77d5fa3beca03&x=1",
                "URL",
            ),
        ] {
            assert_eq!(found(text), [(url, entity)], "{text}");
        }
    }

    #[test]
    fn other_urls_stay() {
        for text in [
            "https://docs.rs/regex/1.10.2/regex/?search=new",
            "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=43s",
            "https://example.com/search?q=my+key+words&page=2",
            "https://x.org/?token=<token>",
            "ssh://git@example.com/a/b.git",
            "postgres://localhost/db",
            "://",
            "a :// b",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn many_marks_take_linear_time() {
        assert!(found(&"a://".repeat(200_000)).is_empty());
        assert!(found(&"http://a)".repeat(50_000)).is_empty());
    }
}
