//! BCP 47 language tags: well-formedness (RFC 5646, section 2.1) and canonical case (2.1.1).
//!
//! A tag is checked for form, not against the IANA registry: an unknown but well-formed language is
//! better kept than rejected.

use std::borrow::Cow;

/// The longest tag that is taken, in bytes. RFC 5646 (4.4.1) says that 35 hold every tag without
/// extensions and private use.
pub const MAX_TAG_BYTES: usize = 64;

/// The grandfathered tags that the grammar of `langtag` does not produce. The "regular" ones
/// (`art-lojban`, `zh-min-nan`, …) need no mention: they are well-formed as they are.
const IRREGULAR: [&str; 17] = [
    "en-gb-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-be-fr",
    "sgn-be-nl",
    "sgn-ch-de",
];

/// Reads a tag and gives it in canonical case: language lower, script title, region upper, the
/// rest lower. `None` when it is not well-formed or longer than [`MAX_TAG_BYTES`].
#[must_use]
pub fn canonical_tag(tag: &str) -> Option<Cow<'_, str>> {
    if is_simple(tag) {
        return Some(Cow::Borrowed(tag));
    }
    if tag.len() > MAX_TAG_BYTES || !tag.is_ascii() {
        return None;
    }
    let mut tag = tag.to_ascii_lowercase();
    let well_formed =
        is_langtag(&tag) || is_private_use(&tag) || IRREGULAR.binary_search(&tag.as_str()).is_ok();
    if !well_formed {
        return None;
    }
    set_case(&mut tag);
    Some(Cow::Owned(tag))
}

/// Whether a tag is of the kind that most are: a language, or a language and a region, both as they should
/// be written.
fn is_simple(tag: &str) -> bool {
    match tag.as_bytes() {
        [a, b] => a.is_ascii_lowercase() && b.is_ascii_lowercase(),
        [a, b, b'-', c, d] => {
            a.is_ascii_lowercase()
                && b.is_ascii_lowercase()
                && c.is_ascii_uppercase()
                && d.is_ascii_uppercase()
        }
        _ => false,
    }
}

/// `langtag` of the grammar, for a tag in lower case.
fn is_langtag(tag: &str) -> bool {
    // The longest tag has fewer subtags than bytes, and every subtag but the first costs two.
    let subtags: Vec<&str> = tag.split('-').collect();
    let Some((language, mut rest)) = subtags.split_first() else { return false };
    if !is_alpha(language) || !(2..=8).contains(&language.len()) {
        return false;
    }
    if language.len() <= 3 {
        rest = skip_up_to(rest, 3, |subtag| subtag.len() == 3 && is_alpha(subtag));
    }
    rest = skip_up_to(rest, 1, |subtag| subtag.len() == 4 && is_alpha(subtag));
    rest = skip_up_to(rest, 1, |subtag| {
        (subtag.len() == 2 && is_alpha(subtag)) || (subtag.len() == 3 && is_digits(subtag))
    });
    let after_variants = skip_up_to(rest, usize::MAX, is_variant);
    let variants = &rest[..rest.len() - after_variants.len()];
    !has_duplicates(variants) && are_extensions(after_variants)
}

/// `*("-" extension) ["-" privateuse]`, each singleton at most once.
fn are_extensions(mut rest: &[&str]) -> bool {
    let mut singletons = Vec::new();
    while let Some((singleton, after)) = rest.split_first() {
        if *singleton == "x" {
            return is_private_use_rest(after);
        }
        if singleton.len() != 1 || !is_alphanumeric(singleton) || singletons.contains(singleton) {
            return false;
        }
        singletons.push(*singleton);
        let next = skip_up_to(after, usize::MAX, |subtag| {
            (2..=8).contains(&subtag.len()) && is_alphanumeric(subtag)
        });
        if next.len() == after.len() {
            return false;
        }
        rest = next;
    }
    true
}

fn is_private_use(tag: &str) -> bool {
    tag.strip_prefix("x-").is_some_and(|rest| is_private_use_rest(&rest.split('-').collect::<Vec<_>>()))
}

fn is_private_use_rest(subtags: &[&str]) -> bool {
    !subtags.is_empty()
        && subtags.iter().all(|subtag| (1..=8).contains(&subtag.len()) && is_alphanumeric(subtag))
}

fn is_variant(subtag: &str) -> bool {
    is_alphanumeric(subtag)
        && match subtag.len() {
            4 => subtag.starts_with(|c: char| c.is_ascii_digit()),
            5..=8 => true,
            _ => false,
        }
}

fn is_alpha(subtag: &str) -> bool {
    subtag.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_digits(subtag: &str) -> bool {
    subtag.bytes().all(|b| b.is_ascii_digit())
}

fn is_alphanumeric(subtag: &str) -> bool {
    subtag.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn skip_up_to<'a, 'b>(subtags: &'a [&'b str], most: usize, is: impl Fn(&str) -> bool) -> &'a [&'b str] {
    let taken = subtags.iter().take(most).take_while(|subtag| is(subtag)).count();
    &subtags[taken..]
}

fn has_duplicates(subtags: &[&str]) -> bool {
    subtags.iter().enumerate().any(|(at, subtag)| subtags[..at].contains(subtag))
}

/// Section 2.1.1: all lower, except two-letter subtags upper and four-letter ones title, unless
/// they are at the start or after a singleton.
fn set_case(tag: &mut str) {
    let mut at = 0;
    let lengths: Vec<usize> = tag.split('-').map(str::len).collect();
    for (nth, len) in lengths.into_iter().enumerate() {
        if len == 1 {
            return;
        }
        match (nth, len) {
            (0, _) => {}
            (_, 2) => tag[at..at + 2].make_ascii_uppercase(),
            (_, 4) => tag[at..=at].make_ascii_uppercase(),
            _ => {}
        }
        at += len + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_tags_are_put_in_canonical_case() {
        for (tag, canonical) in [
            // RFC 5646, appendix A and section 2.1.1.
            ("de", "de"),
            ("DE-de", "de-DE"),
            ("zh-hant", "zh-Hant"),
            ("ZH-CMN-HANS-cn", "zh-cmn-Hans-CN"),
            ("sr-latn-rs", "sr-Latn-RS"),
            ("sl-rozaj-biske", "sl-rozaj-biske"),
            ("de-CH-1901", "de-CH-1901"),
            ("sl-IT-nedis", "sl-IT-nedis"),
            ("hy-Latn-IT-arevela", "hy-Latn-IT-arevela"),
            ("es-419", "es-419"),
            ("de-CH-x-phonebk", "de-CH-x-phonebk"),
            ("az-Arab-x-AZE-derbend", "az-Arab-x-aze-derbend"),
            ("x-whatever", "x-whatever"),
            ("X-AA", "x-aa"),
            ("qaa-Qaaa-QM-x-southern", "qaa-Qaaa-QM-x-southern"),
            ("en-US-u-islamcal", "en-US-u-islamcal"),
            ("zh-CN-a-myext-x-private", "zh-CN-a-myext-x-private"),
            ("en-a-myext-b-another", "en-a-myext-b-another"),
            ("EN-ca-X-CA", "en-CA-x-ca"),
            ("en-u-ca-gregory-LATN", "en-u-ca-gregory-latn"),
            ("AZ-latn-X-LATN", "az-Latn-x-latn"),
            // Extended languages, long languages, numeric regions, digit variants.
            ("zh-yue-HK", "zh-yue-HK"),
            ("zh-aaa-bbb-ccc", "zh-aaa-bbb-ccc"),
            ("abcde", "abcde"),
            ("und", "und"),
            ("en-1994", "en-1994"),
            // Grandfathered.
            ("en-gb-OED", "en-GB-oed"),
            ("I-Klingon", "i-klingon"),
            ("sgn-be-fr", "sgn-BE-FR"),
            ("art-lojban", "art-lojban"),
            ("zh-min-nan", "zh-min-nan"),
        ] {
            assert_eq!(canonical_tag(tag).as_deref(), Some(canonical), "{tag}");
        }
    }

    #[test]
    fn canonical_tags_stay_as_they_are() {
        for tag in ["zh-cmn-Hans-CN", "en-GB-oed", "x-a", "az-Latn-x-latn", "i-default"] {
            assert_eq!(canonical_tag(tag).as_deref(), Some(tag));
        }
    }

    #[test]
    fn other_strings_are_not_tags() {
        for tag in [
            "",
            "-",
            "e",
            "a-DE",
            "en_US",
            "en--US",
            "en-",
            "-en",
            "en US",
            "english language",
            "abcdefghi",
            "de-419-DE",
            "ar-a-aaa-b-bbb-a-ccc",
            "de-1901-1901",
            "sl-rozaj-ROZAJ",
            "en-a",
            "en-a-b",
            "en-x",
            "x",
            "x-",
            "x-toolongsub",
            "en-x-123456789",
            "zh-aaa-bbb-ccc-ddd",
            "abcd-aaa",
            "en-abc1",
            "en-12",
            "en-US-Latn",
            "deutsch-österreich",
            "ｅｎ",
            "i-unknown",
            "1a",
            "en\n",
            "anna@example.com",
        ] {
            assert_eq!(canonical_tag(tag), None, "{tag:?}");
        }
        let long = format!("en-x{}", "-abcdefg".repeat(8));
        assert_eq!(canonical_tag(&long), None);
    }

    #[test]
    fn irregular_tags_are_sorted_for_the_search() {
        assert!(IRREGULAR.is_sorted());
    }
}
