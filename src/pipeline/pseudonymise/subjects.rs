//! All pseudonyms of one person that can be made with the keys at hand.

use std::fmt;

use super::key_ring::MAX_KEYS;
use crate::event::SubjectId;

/// A person's pseudonyms, one under each key of the ring and in its order: the current key's first.
///
/// What was ever recorded of a person may lie under any of them, so whoever looks for it looks under all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subjects {
    /// Those beyond the count repeat the first.
    ids: [SubjectId; MAX_KEYS],
    count: u8,
}

impl Subjects {
    /// Adds the pseudonym under the ring's next key. A ring has no more keys than there is room for.
    pub(super) fn push(&mut self, id: SubjectId) {
        if let Some(free) = self.ids.get_mut(usize::from(self.count)) {
            *free = id;
            self.count += 1;
        }
    }

    /// Those that were recorded of a person, at most as many as a ring has keys; none if there are none.
    #[must_use]
    pub fn of_ids(ids: &[SubjectId]) -> Option<Self> {
        let (first, others) = ids.split_first()?;
        let mut subjects = Self::from(*first);
        others.iter().for_each(|id| subjects.push(*id));
        Some(subjects)
    }

    /// The one under the current key, which new rows carry.
    #[must_use]
    pub const fn current(&self) -> SubjectId {
        self.ids[0]
    }

    /// All of them, in the order of the ring.
    #[must_use]
    pub fn as_slice(&self) -> &[SubjectId] {
        self.ids.get(..usize::from(self.count)).unwrap_or(&self.ids)
    }

    /// All of them, in the order of the ring.
    pub fn iter(&self) -> std::slice::Iter<'_, SubjectId> {
        self.as_slice().iter()
    }
}

impl<'a> IntoIterator for &'a Subjects {
    type Item = &'a SubjectId;
    type IntoIter = std::slice::Iter<'a, SubjectId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Of a person who has a pseudonym under one key alone.
impl From<SubjectId> for Subjects {
    fn from(id: SubjectId) -> Self {
        Self { ids: [id; MAX_KEYS], count: 1 }
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
