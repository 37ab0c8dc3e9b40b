//! The policy for everybody who decides.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Policy, PolicySet};
use crate::event::Micros;

/// The versions that are loaded. Reading it never waits, also while others are put in their place.
#[derive(Debug)]
pub struct PolicyStore(ArcSwap<PolicySet>);

impl PolicyStore {
    /// A store of these versions.
    #[must_use]
    pub fn new(set: PolicySet) -> Self {
        Self(ArcSwap::from_pointee(set))
    }

    /// The version in force at a time.
    #[must_use]
    pub fn at(&self, at: Micros) -> Arc<Policy> {
        Arc::clone(self.0.load().at(at))
    }

    /// The version in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        self.at(Micros::now())
    }

    /// All versions, for whoever has more than one question and wants one answer.
    #[must_use]
    pub fn versions(&self) -> Arc<PolicySet> {
        self.0.load_full()
    }

    /// Puts other versions in the place of all that are loaded.
    pub(super) fn replace(&self, set: PolicySet) {
        self.0.store(Arc::new(set));
    }
}
