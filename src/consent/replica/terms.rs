//! Versions of terms, each kept once.

use std::{
    collections::HashMap,
    sync::{OnceLock, PoisonError, RwLock},
};

use super::said::Said;
use crate::consent::TermsVersion;

/// Terms beyond this many are not told apart any more, and then do not count where the policy says
/// which do. The limit is what fits into [`Said`].
const MAX_TERMS: u16 = Said::MAX_TERMS;

/// Texts by number. The first is "nobody noted which". They are never given back: there are few, and
/// whoever reads one needs neither a lock nor a count of its holders.
#[derive(Debug)]
pub(super) struct Terms {
    texts: Box<[OnceLock<&'static str>]>,
    index_of: RwLock<HashMap<&'static str, u16>>,
}

impl Terms {
    pub(super) fn new() -> Self {
        let texts: Box<[_]> = (0..MAX_TERMS).map(|_| OnceLock::new()).collect();
        texts[0].get_or_init(|| "");
        Self { texts, index_of: RwLock::new(HashMap::from([("", 0)])) }
    }

    /// The number of a text, which gets one if it has none and there is one left.
    pub(super) fn index_of(&self, text: &str) -> u16 {
        if let Some(&index) = self.index_of.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return index;
        }
        let mut index_of = self.index_of.write().unwrap_or_else(PoisonError::into_inner);
        let index = u16::try_from(index_of.len()).unwrap_or(MAX_TERMS).min(MAX_TERMS);
        if let Some(place) = self.texts.get(usize::from(index)).filter(|_| !index_of.contains_key(text)) {
            let text = place.get_or_init(|| Box::leak(text.into()));
            index_of.insert(text, index);
        }
        index_of.get(text).copied().unwrap_or(MAX_TERMS)
    }

    pub(super) fn text(&self, index: u16) -> TermsVersion {
        let text = self.texts.get(usize::from(index)).and_then(OnceLock::get);
        TermsVersion::interned(text.copied().unwrap_or("(one of many)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_beyond_number_are_not_taken_for_known_ones() {
        let terms = Terms::new();
        for n in 0..MAX_TERMS + 10 {
            terms.index_of(&n.to_string());
        }
        let index = terms.index_of("another");
        assert_eq!(&*terms.text(index), "(one of many)");
        let first = terms.index_of("0");
        assert_eq!(&*terms.text(first), "0");
        assert_eq!(&*terms.text(terms.index_of("")), "");
        let last = terms.index_of(&(MAX_TERMS - 2).to_string());
        assert_eq!((last, &*terms.text(last)), (MAX_TERMS - 1, &*(MAX_TERMS - 2).to_string()));
    }
}
