//! Short lists of words, and of endings, in which hardly any word is: that is seen without comparing.

/// Some words in lower case.
pub(super) struct List {
    words: &'static [&'static str],
    /// One bit of 256 for each word. A word that has another is in no list.
    keys: [u64; 4],
}

/// A [`List`] that is made as the program is compiled.
macro_rules! one_of {
    ($($word:literal),+ $(,)?) => {
        const { &$crate::redaction::list::List::new(&[$($word),+]) }
    };
}
pub(super) use one_of;

impl List {
    /// # Panics
    /// When a word is empty. It is used in constants alone.
    pub(super) const fn new(words: &'static [&'static str]) -> Self {
        let (mut keys, mut at) = ([0; 4], 0);
        while at < words.len() {
            let key = key(words[at].as_bytes());
            keys[key / 64] |= 1 << (key % 64);
            at += 1;
        }
        Self { words, keys }
    }

    /// Whether a word is one of them, in any case of ASCII letters.
    #[inline]
    pub(super) fn holds(&self, word: &str) -> bool {
        if word.is_empty() {
            return false;
        }
        let key = key(word.as_bytes());
        self.keys[key / 64] & 1 << (key % 64) != 0 && self.compare(word)
    }

    #[inline(never)]
    fn compare(&self, word: &str) -> bool {
        self.words.iter().any(|listed| listed.eq_ignore_ascii_case(word))
    }

    pub(super) const fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

/// 0 to 255, of the length, the first byte and the last; the same for all cases of ASCII letters.
const fn key(word: &[u8]) -> usize {
    let (first, last) = (word[0] & 31, word[word.len() - 1] & 31);
    (first as usize + 37 * last as usize + 91 * word.len()) % 256
}

/// Some endings of words, each of at least two bytes.
pub(super) struct Endings {
    endings: &'static [&'static str],
    /// One bit of 128 for the last two bytes of each.
    keys: u128,
}

impl Endings {
    /// # Panics
    /// When an ending is shorter than two bytes. It is used in constants alone.
    pub(super) const fn new(endings: &'static [&'static str]) -> Self {
        let (mut keys, mut at) = (0, 0);
        while at < endings.len() {
            keys |= 1 << ending_key(endings[at].as_bytes());
            at += 1;
        }
        Self { endings, keys }
    }

    /// The first that a word has, in any case of ASCII letters, after `before` bytes or more.
    #[inline]
    pub(super) fn of(&self, word: &str, before: usize) -> Option<&'static str> {
        let word = word.as_bytes();
        if word.len() < 2 || self.keys & 1 << ending_key(word) == 0 {
            return None;
        }
        let is_it = |ending: &&&str| {
            word.len() >= ending.len() + before
                && word[word.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes())
        };
        self.endings.iter().find(is_it).copied()
    }
}

/// 0 to 127, of the last two bytes.
const fn ending_key(word: &[u8]) -> u64 {
    let (last, before) = (word[word.len() - 1] & 31, word[word.len() - 2] & 31);
    (last as u64 + 9 * before as u64) % 128
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &List = one_of!["am", "né", "living", "n°"];
    const ENDINGS: Endings = Endings::new(&["straße", "strasse", "str", "ová"]);

    #[test]
    fn a_list_holds_its_words_in_any_case() {
        for word in LIST.words() {
            assert!(LIST.holds(word) && LIST.holds(&word.to_ascii_uppercase()), "{word}");
            assert!(!LIST.holds(&format!("{word}s")) && !LIST.holds(&word[..1]), "{word}");
        }
        assert!(!LIST.holds("") && !LIST.holds("liking"));
    }

    #[test]
    fn endings_are_found_behind_enough() {
        assert_eq!(ENDINGS.of("HauptSTRASSE", 3), Some("strasse"));
        assert_eq!(ENDINGS.of("Hauptstraße", 5), Some("straße"));
        assert_eq!(ENDINGS.of("Hauptstraße", 6), None);
        assert_eq!(ENDINGS.of("Nováková", 3), Some("ová"));
        assert_eq!((ENDINGS.of("r", 0), ENDINGS.of("", 0), ENDINGS.of("Strand", 0)), (None, None, None));
    }
}
