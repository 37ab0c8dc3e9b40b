//! Makes a text of a wanted length out of a language's sentences.

use std::fmt::Write as _;

use fastrand::Rng;

use super::texts::Language;

/// Domains that are reserved, so that no address is anyone's.
const DOMAINS: [&str; 4] = ["example.com", "example.org", "example.net", "mail.example"];
const MAILBOXES: [&str; 8] =
    ["m.okonkwo", "lena.brandt", "office", "j_alvarez", "tomas.havel", "s.iyer", "front-desk", "nora"];

/// A text of `wanted` bytes, or a few fewer where a character would be cut. One with a contact begins with it, so
/// that no cut can take it away from any but the shortest.
pub(super) fn compose(language: &Language, wanted: usize, contact: bool, rng: &mut Rng) -> String {
    // A sentence may reach beyond.
    let mut text = String::with_capacity(wanted + 256);
    if contact {
        fill(&mut text, pick(language.contacts, rng), language, rng);
    }
    while text.len() < wanted {
        if !text.is_empty() {
            text.push_str(language.space);
        }
        fill(&mut text, pick(language.sentences, rng), language, rng);
    }
    text.truncate(text.floor_char_boundary(wanted));
    text
}

fn fill(text: &mut String, sentence: &str, language: &Language, rng: &mut Rng) {
    let mut rest = sentence;
    while let Some((before, from_gap)) = rest.split_once('{') {
        let (gap, after) = from_gap.split_once('}').unwrap_or((from_gap, ""));
        text.push_str(before);
        // Writing to a String cannot fail.
        let _ = match gap {
            "name" => text.write_str(pick(language.names, rng)),
            "topic" => text.write_str(pick(language.topics, rng)),
            "email" => {
                write!(text, "{}{}@{}", pick(&MAILBOXES, rng), rng.u16(1..1_000), pick(&DOMAINS, rng))
            }
            "phone" => write!(text, "{}{}", language.phone, rng.u8(10..100)),
            _ => write!(text, "{}", rng.u8(2..60)),
        };
        rest = after;
    }
    text.push_str(rest);
}

pub(super) fn pick<'a, T: ?Sized>(from: &[&'a T], rng: &mut Rng) -> &'a T {
    from[rng.usize(..from.len())]
}

#[cfg(test)]
mod tests {
    use assent::{event::RawText, pipeline::Redactor};

    use super::*;
    use crate::generate::texts::LANGUAGES;

    #[test]
    fn a_text_has_the_wanted_length_in_every_script() {
        let mut rng = Rng::with_seed(7);
        for language in LANGUAGES {
            for wanted in [1, 20, 300, 5_000] {
                let text = compose(language, wanted, false, &mut rng);
                assert!(text.len() <= wanted && text.len() + 3 >= wanted, "{} {wanted}", language.tag);
            }
        }
    }

    #[test]
    fn no_gap_stays_open() {
        let mut rng = Rng::with_seed(8);
        for language in LANGUAGES {
            for sentence in language.sentences.iter().chain(language.contacts) {
                let mut text = String::new();
                fill(&mut text, sentence, language, &mut rng);
                assert!(!text.contains(['{', '}']), "{text}");
            }
        }
    }

    #[test]
    fn contacts_are_found_by_the_redactor() {
        let mut rng = Rng::with_seed(9);
        let redactor = Redactor::new();
        for language in LANGUAGES {
            for sentence in language.contacts {
                let mut text = String::new();
                fill(&mut text, sentence, language, &mut rng);
                let (redacted, _) = redactor.redact(RawText::new(&text));
                assert_ne!(redacted.as_str(), text, "nothing to redact in {}: {text}", language.tag);
            }
        }
    }
}
