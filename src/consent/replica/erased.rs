//! Who was erased. An erasure is a row of the ledger under each of the person's pseudonyms, the taking back of an
//! answer that comes from nobody ([`ERASED`]), which no client can record. So collectors learn of it as they learn of
//! a "no": by the tail, before the watermark passes the time at which it was acknowledged.
//!
//! Its version tells what has to go: what was stamped before a collector knew of the erasure has a lower one, and what
//! the person causes afterwards has that version or a higher one. That needs no clock, and survives restarts. What was
//! stamped while the view was stale has the version 0, and goes too: nobody can say that it came after.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    clickhouse::{Client, Error},
    consent::{ConsentState, Source},
    event::SubjectId,
};

/// What the ledger has of an erasure.
pub(in crate::consent) const ERASED: (ConsentState, Source) = (ConsentState::Unset, Source::PolicyDefault);

/// The people of whom rows may still come. About 64 bytes for each pseudonym, from the erasure until a while after this
/// collector was done with it.
#[derive(Debug, Default)]
pub struct Erased {
    people: RwLock<HashMap<SubjectId, Person>>,
    learnt: AtomicU64,
}

#[derive(Deserialize)]
struct Row {
    subject_id: Uuid,
    version: u32,
}

#[derive(Debug)]
struct Person {
    /// Rows of lower versions are to go.
    below: u32,
    /// How many were dropped here instead of being delivered.
    dropped: AtomicU64,
}

impl Erased {
    /// Whom the ledger has erasures of now.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let sql = "SELECT subject_id, max(consent_version) AS version FROM consent_changes
            WHERE state = 'unset' AND source = 'policy_default' GROUP BY subject_id";
        let erased = Self::default();
        for row in client.query_rows::<Row>(sql, &[]).await? {
            erased.learn(SubjectId::from_bytes(*row.subject_id.as_bytes()), row.version);
        }
        Ok(erased)
    }

    /// The ledger has an erasure of this version.
    pub(crate) fn learn(&self, subject: SubjectId, version: u32) {
        // The tail brings the same rows again and again.
        if self.below(&subject).is_some_and(|below| below >= version) {
            return;
        }
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        let person = people.entry(subject).or_insert(Person { below: 0, dropped: AtomicU64::new(0) });
        person.below = person.below.max(version);
        drop(people);
        self.learnt.fetch_add(1, Ordering::Release);
    }

    /// The version that a row has to have to stay; none of whom nothing is to go.
    pub(crate) fn below(&self, subject: &SubjectId) -> Option<u32> {
        self.people.read().unwrap_or_else(PoisonError::into_inner).get(subject).map(|person| person.below)
    }

    /// How many erasures were learnt of: whoever sees another number than before has to look anew.
    #[must_use]
    pub fn learnt(&self) -> u64 {
        self.learnt.load(Ordering::Acquire)
    }

    /// Whether a row with this stamp is one that an erasure takes.
    #[must_use]
    pub fn takes(&self, subject: &SubjectId, consent_version: u32) -> bool {
        self.below(subject).is_some_and(|below| consent_version < below)
    }

    /// Nothing is left here that was stamped before this erasure was known. From then on rows that were stamped while
    /// the view was stale are taken for what they are, new ones.
    pub(crate) fn forget(&self, subject: &SubjectId, below: u32) {
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        if people.get(subject).is_some_and(|person| person.below == below) {
            people.remove(subject);
        }
    }

    /// Rows of a person were dropped.
    pub fn count_dropped(&self, subject: &SubjectId, rows: u64) {
        if let Some(person) = self.people.read().unwrap_or_else(PoisonError::into_inner).get(subject) {
            person.dropped.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// How many rows of these pseudonyms were dropped since this collector started.
    #[must_use]
    pub fn dropped(&self, subjects: &[SubjectId]) -> u64 {
        let people = self.people.read().unwrap_or_else(PoisonError::into_inner);
        let of = |subject: &SubjectId| people.get(subject).map_or(0, |it| it.dropped.load(Ordering::Relaxed));
        subjects.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_goes_and_what_came_after_stays() {
        let erased = Erased::default();
        let [ann, ben] = [1, 2].map(|n| SubjectId::from_bytes([n; 16]));
        assert!(!erased.takes(&ann, 0));
        erased.learn(ann, 7);
        assert_eq!([0, 6, 7, 8].map(|version| erased.takes(&ann, version)), [true, true, false, false]);
        assert!(!erased.takes(&ben, 0));
        // The tail brings it again, and what is older.
        erased.learn(ann, 7);
        erased.learn(ann, 6);
        assert_eq!(erased.learnt(), 1);
        erased.learn(ann, 9);
        assert!(erased.takes(&ann, 8) && erased.learnt() == 2);
        erased.count_dropped(&ann, 3);
        erased.count_dropped(&ben, 3);
        assert_eq!(erased.dropped(&[ann, ben]), 3);
        erased.forget(&ann, 7);
        assert!(erased.takes(&ann, 8), "there was another one since");
        erased.forget(&ann, 9);
        assert!(!erased.takes(&ann, 0));
    }
}
