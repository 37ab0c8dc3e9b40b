//! What is known of words: names, places, words of the languages, and those that speak of a person or an
//! address. The lists are in `gazetteer/`; `gazetteer/SOURCES.md` says where they are from.
//!
//! A table of 64-bit entries, made once in a process: 44 bits of the hash of a word and 20 bits of what it is. Two
//! words in a billion are taken for each other, which costs a placeholder too much at worst.

use std::sync::LazyLock;

use super::fold::{self, Folded};

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

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is one of these.
    pub(super) const fn is(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

/// The lists: what all their words are, and the words.
const LISTS: [(Class, &str); 22] = [
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
    // Words that are in no list of words, as they are in those above.
    (Class::WORD, "st\nave\nrd\nblvd\napt\nste\ninc\nltd\ngmbh\nllc\ncorp\nplc\n"),
];

/// Twice the words that there are, about, so that few share a slot.
const SLOTS_LOG2: u32 = 18;
const SLOTS: usize = 1 << SLOTS_LOG2;
const CLASS_BITS: u32 = 20;
const CLASSES: u64 = (1 << CLASS_BITS) - 1;

/// The lists, ready for look-ups.
pub(super) struct Lexicon {
    /// 0 is empty: no word is of no class.
    slots: Box<[u64]>,
}

impl Lexicon {
    /// The lists of this build.
    pub(super) fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Lexicon> = LazyLock::new(Lexicon::build);
        &SHIPPED
    }

    fn build() -> Self {
        let mut lexicon = Self { slots: vec![0; SLOTS].into_boxed_slice() };
        for (class, list) in LISTS {
            for word in list.lines() {
                lexicon.add(word, class);
            }
        }
        lexicon
    }

    fn add(&mut self, word: &str, class: Class) {
        let Some(hash) = Folded::of(word).map(|folded| folded.hash()) else { return };
        let mut slot = Self::first_slot(hash);
        loop {
            let entry = self.slots[slot];
            if entry == 0 || entry >> CLASS_BITS == hash >> CLASS_BITS {
                self.slots[slot] = (hash >> CLASS_BITS << CLASS_BITS) | entry & CLASSES | u64::from(class.0);
                return;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// What a word is, in any case.
    pub(super) fn class(&self, word: &str) -> Class {
        Folded::of(word).map_or(Class::UNKNOWN, |folded| self.class_of(folded.hash()))
    }

    /// What the word at a place in a text is.
    pub(super) fn class_in(&self, text: &str, start: usize, end: usize) -> Class {
        match fold::hash_in_place(text.as_bytes(), start, end - start) {
            Some(hash) => self.class_of(hash),
            None => self.class(&text[start..end]),
        }
    }

    fn class_of(&self, hash: u64) -> Class {
        let mut slot = Self::first_slot(hash);
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return Class::UNKNOWN;
            }
            if entry >> CLASS_BITS == hash >> CLASS_BITS {
                return Class((entry & CLASSES) as u32);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The highest bits, which are part of what is compared too.
    const fn first_slot(hash: u64) -> usize {
        (hash >> (u64::BITS - SLOTS_LOG2)) as usize
    }
}
