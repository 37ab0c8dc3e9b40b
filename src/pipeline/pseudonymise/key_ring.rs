//! Several pseudonym keys in one text: the current one first, older ones below it.

use super::{KeyError, PseudonymKey};

/// The most keys of a ring. Each costs an HMAC whenever a person is looked up.
pub(super) const MAX_KEYS: usize = 4;

/// Why a text is no key ring. None of these repeats the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RingError {
    /// There is no key in it.
    #[error("there is no pseudonym key in it: make one with `assent pseudonyms generate`")]
    Empty,
    /// A line is not a key.
    #[error("line {line}: {source}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The same key is there twice.
    #[error("line {line}: the pseudonym key {id} is there already: remove one of the two lines")]
    Twice {
        /// The second one's line, from 1.
        line: usize,
        /// The key's id.
        id: String,
    },
    /// There are too many.
    #[error("there are more than {MAX_KEYS} pseudonym keys: remove those under which nothing lies any more")]
    TooMany,
}

/// At least one key and at most four, no two of them equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<PseudonymKey>,
}

impl KeyRing {
    /// Reads one key a line. Empty lines, and white space around a line, are ignored.
    ///
    /// # Errors
    /// When there is no key, a line is not a key, a key is there twice, or there are too many.
    pub fn from_text(text: &str) -> Result<Self, RingError> {
        let mut keys: Vec<PseudonymKey> = Vec::with_capacity(MAX_KEYS);
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let key = PseudonymKey::from_text(text).map_err(|source| RingError::Line { line, source })?;
            // By id too: two keys of one id could not be told apart in `pseudonym_key_id`.
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(RingError::Twice { line, id: key.id().to_owned() });
            }
            if keys.len() == MAX_KEYS {
                return Err(RingError::TooMany);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self { keys }) }
    }

    /// The ids, the current key's first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(PseudonymKey::id)
    }

    /// The key that new rows are stamped under.
    #[must_use]
    pub fn current(&self) -> &PseudonymKey {
        // There is at least one.
        &self.keys[0]
    }

    /// The keys that people are looked for under besides.
    pub(super) fn older(&self) -> &[PseudonymKey] {
        &self.keys[1..]
    }
}

/// A ring of one.
impl From<PseudonymKey> for KeyRing {
    fn from(key: PseudonymKey) -> Self {
        Self { keys: vec![key] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PseudonymKey {
        PseudonymKey::generate().unwrap()
    }

    fn text_of<'a>(keys: impl IntoIterator<Item = &'a PseudonymKey>) -> String {
        keys.into_iter().map(|key| key.to_text().to_string()).collect()
    }

    #[test]
    fn the_first_key_is_the_current_one() {
        let keys = [key(), key(), key(), key()];
        let ring = KeyRing::from_text(&format!("\n{}\r\n \n", text_of(&keys))).unwrap();
        assert!(ring.ids().eq(keys.iter().map(PseudonymKey::id)));
        assert_eq!((ring.current(), ring.older()), (&keys[0], &keys[1..]));
    }

    #[test]
    fn a_file_of_one_key_stays_good() {
        let key = key();
        for text in [key.to_text().to_string(), key.to_text().trim().to_owned()] {
            assert_eq!(KeyRing::from_text(&text).unwrap(), KeyRing::from(key.clone()));
        }
    }

    #[test]
    fn what_is_no_ring_is_refused_and_not_repeated() {
        let keys = [key(), key(), key(), key(), key()];
        let (first, other) = (keys[0].to_text(), keys[1].to_text());
        let secret = first.split_whitespace().nth(2).unwrap();
        let id = keys[0].id().to_owned();
        for (text, error) in [
            (String::new(), RingError::Empty),
            (" \n\r\n".to_owned(), RingError::Empty),
            (text_of(&keys), RingError::TooMany),
            (
                format!(
                    "{}\n{}",
                    first.trim(),
                    first.to_uppercase().replace("ASSENT-PSEUDONYM-V", "assent-pseudonym-v")
                ),
                RingError::Twice { line: 2, id },
            ),
            // Two keys on one line, a line cut in two, another key's id.
            (
                format!("{} {}", first.trim(), other.trim()),
                RingError::Line { line: 1, source: KeyError::Malformed },
            ),
            (format!("{}\n{secret}", other.trim()), RingError::Line { line: 2, source: KeyError::Malformed }),
            (
                format!("{}assent-pseudonym-v1 {} {secret}", *other, keys[1].id()),
                RingError::Line { line: 2, source: KeyError::WrongId },
            ),
        ] {
            let refused = KeyRing::from_text(&text).unwrap_err();
            assert_eq!(refused, error);
            for shown in [refused.to_string(), format!("{refused:?}")] {
                assert!(!shown.contains(&secret[..12]), "{shown}");
            }
        }
    }

    #[test]
    fn debug_hides_the_keys() {
        let keys = [key(), key()];
        let shown = format!("{:?}", KeyRing::from_text(&text_of(&keys)).unwrap());
        for key in &keys {
            let text = key.to_text();
            assert!(
                shown.contains(key.id()) && !shown.contains(&text.split_whitespace().nth(2).unwrap()[..12])
            );
        }
    }
}
