//! Versions of terms, each kept once.

use std::{collections::HashMap, sync::Arc};

use super::said::Said;

/// Terms beyond this many are not told apart any more, and then do not count where the policy says
/// which do. The limit is what fits into [`Said`].
const MAX_TERMS: u16 = Said::MAX_TERMS;

/// Texts by number. The first is "nobody noted which".
#[derive(Debug)]
pub(super) struct Terms {
    texts: Vec<Arc<str>>,
    index_of: HashMap<Arc<str>, u16>,
}

impl Terms {
    pub(super) fn new() -> Self {
        Self { texts: vec!["".into()], index_of: HashMap::from([("".into(), 0)]) }
    }

    /// The number of terms that have one.
    pub(super) fn known(&self, text: &str) -> Option<u16> {
        self.index_of.get(text).copied()
    }

    pub(super) fn index_of(&mut self, text: &str) -> u16 {
        if let Some(index) = self.known(text) {
            return index;
        }
        let index = u16::try_from(self.texts.len()).unwrap_or(MAX_TERMS).min(MAX_TERMS);
        if index < MAX_TERMS {
            let text: Arc<str> = text.into();
            self.index_of.insert(Arc::clone(&text), index);
            self.texts.push(text);
        }
        index
    }

    pub(super) fn text(&self, index: u16) -> Arc<str> {
        self.texts.get(usize::from(index)).cloned().unwrap_or_else(|| "(one of many)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_beyond_number_are_not_taken_for_known_ones() {
        let mut terms = Terms::new();
        for n in 0..MAX_TERMS + 10 {
            terms.index_of(&n.to_string());
        }
        assert!(terms.texts.len() <= usize::from(MAX_TERMS));
        let index = terms.index_of("another");
        assert_eq!(&*terms.text(index), "(one of many)");
        let first = terms.index_of("0");
        assert_eq!(&*terms.text(first), "0");
    }
}
