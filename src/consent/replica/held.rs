//! A "no" that the ledger did not take holds on the collector that was asked all the same.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Instant,
};

use super::{Replica, merge, said::Said};
use crate::{
    consent::{ConsentScope, ConsentState, Source},
    pipeline::Subjects,
};

/// The most that is remembered of changes that the ledger did not take. One beyond it holds as well, but
/// for changes that were made before it on other collectors and are not known here yet.
const MAX_HELD: usize = 100_000;
/// A "no" that the ledger did not take.
pub(super) struct Held {
    subjects: Subjects,
    scope: ConsentScope,
    source: Source,
    terms: u16,
    since: Instant,
}

impl Replica {
    /// Lets a "no" hold here that the ledger did not take, from now on and above `newest`, the newest
    /// version that was seen. Changes that were acknowledged before it, and that this view has not seen
    /// yet, do not come after it: when the next refresh has brought them, it holds above them as well. It
    /// ends with a change that is made after that.
    pub(in crate::consent) fn hold(
        &self,
        subjects: &Subjects,
        scope: ConsentScope,
        source: Source,
        terms: &str,
        newest: u32,
    ) {
        for subject in subjects {
            self.apply(*subject, scope, ConsentState::Denied, source, terms, newest);
        }
        let mut held = self.held();
        held.retain(|it| (&it.subjects, it.scope) != (subjects, scope));
        if held.len() < MAX_HELD {
            let terms = self.0.terms.index_of(terms);
            held.push(Held { subjects: *subjects, scope, source, terms, since: Instant::now() });
        }
    }

    /// A later change of the same person and scope was recorded.
    pub(in crate::consent) fn release(&self, subjects: &Subjects, scope: ConsentScope) {
        self.held().retain(|it| (&it.subjects, it.scope) != (subjects, scope));
    }

    /// A refresh that started then has succeeded.
    pub(super) fn hold_on(&self, started: Instant) {
        self.held().retain(|it| {
            if it.since > started {
                return true;
            }
            let newest = self.known(&it.subjects).version();
            let said = Said::new(newest, ConsentState::Denied, it.source, it.terms);
            for subject in &it.subjects {
                self.0.subjects.update(subject, |entry| merge(entry, &(it.scope, said)));
            }
            false
        });
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        // Nothing in it can panic but for want of memory.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
