//! What is known of words: names, places, words of the languages, and those that speak of a person or an
//! address. The lists are in `gazetteer/`; `gazetteer/SOURCES.md` says where they are from.
//!
//! A table of 32-bit entries, made once in a process: 24 bits of the hash of a word, and 8 that say which of the
//! combinations of classes it has. It takes a megabyte, so that it stays near the processor. Entries lie in fours that are
//! compared at once: whether the first is the one is anybody's guess, the processor's too. One unknown word in
//! millions is taken for another, which costs a placeholder too much at worst.

use std::sync::LazyLock;

use super::{
    fold::{self, Folded},
    lexer::{Case, Token},
    places,
    words::hints,
};

/// What a word is; a set, as it can be many things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class(u32);

impl Class {
    /// Not in any list.
    pub(super) const UNKNOWN: Self = Self(0);
    /// A given name.
    pub(super) const GIVEN: Self = Self(1);
    /// A surname.
    pub(super) const SURNAME: Self = Self(1 << 1);
    /// A word of some language.
    pub(super) const WORD: Self = Self(1 << 2);
    /// A word that is a name as often.
    pub(super) const FAMILIAR: Self = Self(1 << 3);
    /// A city, a state or a country.
    pub(super) const PLACE: Self = Self(1 << 4);
    /// Written with a capital, and not a person: a product, a month, a people.
    pub(super) const PROPER: Self = Self(1 << 5);
    /// `Mr`, `Frau`.
    pub(super) const TITLE: Self = Self(1 << 6);
    /// `Hi`, `Liebe`.
    pub(super) const GREETING: Self = Self(1 << 7);
    /// `Regards`, `Grüße`.
    pub(super) const SIGN_OFF: Self = Self(1 << 8);
    /// `van`, `de`.
    pub(super) const PARTICLE: Self = Self(1 << 9);
    /// A word for a street that stands before its name: `Rue`.
    pub(super) const STREET_BEFORE: Self = Self(1 << 10);
    /// A word for a street that stands after its name: `Street`.
    pub(super) const STREET_AFTER: Self = Self(1 << 11);
    /// `Apt`, `Suite`.
    pub(super) const UNIT: Self = Self(1 << 12);
    /// `GmbH`, `Inc`.
    pub(super) const LEGAL: Self = Self(1 << 13);
    /// `said`, `wrote`: what persons do, after their names.
    pub(super) const SAID: Self = Self(1 << 14);
    /// `with`, `asked`: a person may follow.
    pub(super) const TO_SOMEBODY: Self = Self(1 << 15);

    /// `name`, `heiße`: a name may follow.
    pub(super) const NAME_WORD: Self = Self(1 << 16);
    /// `in`, `from`, `office`: a place or an organisation may be next to it.
    pub(super) const PLACE_WORD: Self = Self(1 << 17);
    /// `Postfach`, `APO`: begins an address that has no street.
    pub(super) const BOX: Self = Self(1 << 18);

    /// What comes after a name without being one.
    pub(super) const SUFFIX: Self = Self(1 << 19);
    /// With these behind it a name is that of a thing: "Elizabeth Line".
    pub(super) const THING: Self = Self(1 << 20);
    /// Before these names are those of lakes and the like.
    pub(super) const BEFORE_THING: Self = Self(1 << 21);
    /// Articles of German, French, Spanish, Italian, Portuguese and Dutch, and what they are joined to.
    pub(super) const ARTICLE: Self = Self(1 << 22);
    /// What may stand between the two.
    pub(super) const COPULA: Self = Self(1 << 23);
    /// With a capital a name before anything else; without one a colour, a flower or a coin.
    pub(super) const SMALL: Self = Self(1 << 24);
    /// `work`, `live`: with "in" or "at" behind it a place or an organisation may follow.
    pub(super) const PHRASE: Self = Self(1 << 25);
    /// What says nothing of the word itself.
    const ASIDE: Self = Self::SMALL.or(Self::PHRASE);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is known of it.
    pub(super) const fn is_unknown(self) -> bool {
        self.0 & !Self::ASIDE.0 == 0
    }

    /// Whether it is one of these.
    pub(super) const fn is(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

/// The lists: what all their words are, and the words.
const LISTS: [(Class, &str); 28] = [
    (Class::GIVEN, include_str!("gazetteer/given.txt")),
    (Class::SURNAME, include_str!("gazetteer/surnames.txt")),
    (Class::GIVEN.or(Class::SURNAME), include_str!("gazetteer/both.txt")),
    (Class::FAMILIAR, include_str!("gazetteer/familiar.txt")),
    (Class::WORD, include_str!("gazetteer/words.txt")),
    (Class::PLACE, include_str!("gazetteer/places.txt")),
    (Class::PROPER, include_str!("gazetteer/proper.txt")),
    (Class::PROPER, include_str!("gazetteer/never.txt")),
    (Class::TITLE, include_str!("gazetteer/titles.txt")),
    (Class::GREETING, include_str!("gazetteer/greetings.txt")),
    (Class::SIGN_OFF, include_str!("gazetteer/sign_offs.txt")),
    (Class::PARTICLE, include_str!("gazetteer/particles.txt")),
    (Class::STREET_BEFORE, include_str!("gazetteer/streets_before.txt")),
    (Class::STREET_AFTER, include_str!("gazetteer/streets_after.txt")),
    (Class::UNIT, include_str!("gazetteer/units.txt")),
    (Class::LEGAL, include_str!("gazetteer/legal_forms.txt")),
    (Class::SAID, include_str!("gazetteer/said.txt")),
    (Class::TO_SOMEBODY, include_str!("gazetteer/to_somebody.txt")),
    (Class::NAME_WORD, include_str!("gazetteer/name_words.txt")),
    (Class::PLACE_WORD, include_str!("gazetteer/place_words.txt")),
    (Class::BOX, include_str!("gazetteer/boxes.txt")),
    (Class::SUFFIX, include_str!("gazetteer/suffixes.txt")),
    (Class::THING, include_str!("gazetteer/things.txt")),
    (Class::BEFORE_THING, include_str!("gazetteer/before_things.txt")),
    (Class::ARTICLE, include_str!("gazetteer/articles.txt")),
    (Class::COPULA, include_str!("gazetteer/copulas.txt")),
    (
        Class::SMALL,
        "aurora\nben\nbob\ncarol\ndan\nfanny\nfrank\nglen\nharry\nheather\nhector\nholly\niris\njack\n\
         jasmine\njerry\nkelvin\nlee\nlily\nmatt\nnick\nolive\npatty\npenny\nray\nrex\nrick\nrobin\n\
         rosemary\nsally\nsue\nveronica\nviolet\nwarren\n",
    ),
    // Words that are in no list of words, as they are in those above.
    (Class::WORD, "apt\nave\nblvd\ncorp\ngmbh\ninc\nllc\nltd\nplc\nrd\nst\nste\n"),
];

/// A quarter of twice the words that there are, about, so that few buckets are full.
const BUCKETS_LOG2: u32 = 16;
const BUCKETS: usize = 1 << BUCKETS_LOG2;
/// Entries that are compared at once; those in use come first.
type Bucket = [u32; 4];
/// The bits of an entry that say what the word is.
const COMBINATION_BITS: u32 = 8;
const COMBINATION: u32 = (1 << COMBINATION_BITS) - 1;

/// The lists, ready for look-ups.
pub(super) struct Lexicon {
    /// 0 is empty: no word is of no class.
    buckets: Box<[Bucket; BUCKETS]>,
    /// The combinations of classes that there are; the first is none.
    combinations: Vec<Class>,
    /// The same, and which recognisers look at such a word: in small letters, and otherwise.
    known: [[(Class, u8); 1 << COMBINATION_BITS]; 2],
}

impl Lexicon {
    /// The lists of this build.
    pub(super) fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Lexicon> = LazyLock::new(Lexicon::build);
        &SHIPPED
    }

    fn build() -> Self {
        let mut lexicon = Self {
            buckets: vec![[0; 4]; BUCKETS].into_boxed_slice().try_into().expect("a vector of this length"),
            combinations: vec![Class::UNKNOWN],
            known: [[(Class::UNKNOWN, 0); 1 << COMBINATION_BITS]; 2],
        };
        for (class, list) in LISTS {
            for word in list.lines() {
                lexicon.add(word, class);
            }
        }
        for word in places::first_words() {
            lexicon.add(word, Class::PHRASE);
        }
        for (known, is_capital) in lexicon.known.iter_mut().zip([false, true]) {
            for (known, &class) in known.iter_mut().zip(&lexicon.combinations) {
                *known = (class, hints(class, is_capital));
            }
        }
        lexicon
    }

    fn add(&mut self, word: &str, class: Class) {
        let Some(hash) = Folded::of(word).map(|folded| folded.hash()) else { return };
        let mut bucket = Self::first_bucket(hash);
        let slot = loop {
            let is_it = |&entry: &u32| entry == 0 || Self::is_of(entry, hash);
            if let Some(slot) = self.buckets[bucket].iter().position(is_it) {
                break slot;
            }
            bucket = (bucket + 1) % BUCKETS;
        };
        let class = class.or(self.combination(self.buckets[bucket][slot]));
        let known = self.combinations.iter().position(|&known| known == class);
        let index = known.unwrap_or_else(|| {
            self.combinations.push(class);
            self.combinations.len() - 1
        });
        // A test says that there are not as many.
        let index = u32::try_from(index).unwrap_or_default() & COMBINATION;
        self.buckets[bucket][slot] = (hash as u32) & !COMBINATION | index;
    }

    fn combination(&self, entry: u32) -> Class {
        self.combinations[(entry & COMBINATION) as usize]
    }

    const fn is_of(entry: u32, hash: u64) -> bool {
        (entry ^ hash as u32) & !COMBINATION == 0
    }

    /// What is known of the word of a token in a text, in any case, and which recognisers look at it.
    #[inline]
    pub(super) fn look_up(&self, text: &str, token: Token) -> (Class, u8) {
        let in_place = match token.is_ascii {
            true => fold::hash_in_place(text.as_bytes(), token.start(), token.len()),
            false => None,
        };
        let combination = match in_place.or_else(|| hash_of_copy(text, token)) {
            Some(hash) => self.combination_of(hash),
            None => 0,
        };
        self.known[usize::from(token.case != Case::Lower)][combination as usize]
    }

    /// The combination of the word of a hash; 0 when there is none.
    #[inline]
    fn combination_of(&self, hash: u64) -> u32 {
        let mut bucket = Self::first_bucket(hash);
        loop {
            let entries = self.buckets[bucket];
            let found = entries.map(|entry| if Self::is_of(entry, hash) { entry } else { 0 });
            let found = found[0] | found[1] | found[2] | found[3];
            // Without an empty one it may be in the next.
            if found != 0 || entries[3] == 0 {
                return found & COMBINATION;
            }
            bucket = (bucket + 1) % BUCKETS;
        }
    }

    /// The highest bits; the lowest are compared.
    const fn first_bucket(hash: u64) -> usize {
        (hash >> (u64::BITS - BUCKETS_LOG2)) as usize
    }
}

/// The hash of a word that has to be copied first; `None` when it is too long to be in a list. Apart from the rest, which
/// is for nearly all words and so is kept short.
#[cold]
#[inline(never)]
fn hash_of_copy(text: &str, token: Token) -> Option<u64> {
    Some(Folded::of(&text[token.start()..token.end()])?.hash())
}

#[cfg(test)]
mod tests {
    use super::{super::lexer::Kind, *};

    /// What a word is, alone and in a longer text.
    fn class_of(word: &str) -> Class {
        let [alone, within] = [(word.to_owned(), 0), (format!("({word}) and some more text behind"), 1)].map(
            |(text, start)| {
                let token = Token::new(start, start + word.len(), (Kind::Word, Case::Lower), word.is_ascii());
                Lexicon::shipped().look_up(&text, token).0
            },
        );
        assert_eq!(alone, within, "{word}");
        alone
    }

    #[test]
    fn words_are_what_their_lists_say() {
        for (word, of, not_of) in [
            ("Niklas", Class::GIVEN, Class::WORD.or(Class::SURNAME)),
            ("NOVÁKOVÁ", Class::SURNAME, Class::WORD),
            ("Novakova", Class::SURNAME, Class::WORD),
            ("Анна", Class::GIVEN, Class::WORD),
            ("Will", Class::GIVEN.or(Class::WORD), Class::FAMILIAR),
            ("Grace", Class::FAMILIAR, Class::PLACE),
            ("Koch", Class::WORD, Class::GIVEN),
            ("Kubernetes", Class::PROPER, Class::GIVEN.or(Class::SURNAME)),
            ("Denmark", Class::PLACE, Class::GIVEN),
            ("Straße", Class::STREET_AFTER, Class::GIVEN),
            ("GmbH", Class::LEGAL, Class::GIVEN),
            ("xqwzt", Class::UNKNOWN, Class::GIVEN),
        ] {
            let class = class_of(word);
            assert!(of == Class::UNKNOWN || class.is(of), "{word} is {class:?}");
            assert!(!class.is(not_of), "{word} is {class:?}");
        }
    }

    /// Every word of every list is found again, so the table is neither full nor out of combinations.
    #[test]
    fn all_words_are_found_again() {
        let lexicon = Lexicon::shipped();
        assert!(lexicon.combinations.len() < 1 << COMBINATION_BITS, "{}", lexicon.combinations.len());
        let full = lexicon.buckets.iter().filter(|bucket| bucket[3] != 0).count();
        assert!(full < BUCKETS / 4, "{full} of {BUCKETS} buckets are full");
        for (class, list) in LISTS {
            for word in list.lines() {
                let found = class_of(word);
                assert!(found.or(class) == found, "{word} is {found:?}, not {class:?}");
            }
        }
    }

    /// Lists are as `make.py` leaves them: one word a line, in lower case without marks, sorted.
    #[test]
    fn lists_are_in_order() {
        for (_, list) in LISTS {
            let words: Vec<&str> = list.lines().collect();
            assert!(words.is_sorted(), "{:?}", words.first());
            for word in words {
                assert_eq!(Folded::of(word).unwrap().as_bytes(), word.as_bytes(), "{word}");
            }
        }
    }
}
