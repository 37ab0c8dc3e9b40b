//! Consent as the pipeline asks for it: the replica's view, under the policy in force at receipt.

use std::sync::Arc;

use super::{Consent, PolicyStore, Replica, decide};
use crate::{
    event::{Micros, Stamp},
    pipeline::{ConsentView, Decide},
};

/// Decides at receipt.
#[derive(Debug)]
pub struct StampingView {
    replica: Replica,
    policies: Arc<PolicyStore>,
}

impl StampingView {
    /// Puts the view together.
    #[must_use]
    pub const fn new(replica: Replica, policies: Arc<PolicyStore>) -> Self {
        Self { replica, policies }
    }
}

impl ConsentView for StampingView {
    fn at(&self, received_at: Micros) -> Decide<'_> {
        let policy = self.policies.at(received_at);
        let is_fresh = self.replica.is_fresh();
        Box::new(move |subjects, facts| {
            let consent =
                if is_fresh { Consent::Known(self.replica.known(subjects)) } else { Consent::Unknown };
            let decision = decide(&consent, &policy, facts);
            let (said, version) = match &consent {
                Consent::Unknown => (super::ScopeConsent::default(), 0),
                Consent::Known(known) => (known.scope(decision.decided_by).clone(), known.version()),
            };
            Stamp {
                training_scope: decision.training_scope,
                reason: decision.reason,
                state: said.state,
                source: said.source,
                consent_version: version,
                policy_version: said.terms,
                policy_digest: Arc::clone(policy.shared_digest()),
            }
        })
    }
}
