//! The decision: a pure function of (consent, policy, event) to scope and reason.
//!
//! For one scope, the first [`Rule`] that applies decides:
//!
//! | # | when | reason | eligible |
//! |---|---|---|---|
//! | 1 | the view of consent is stale or still loading | `consent_unknown` | no |
//! | 2 | the policy excludes the kind of event or the feature | `excluded_by_policy` | no |
//! | 3 | the person said no | `denied` | no |
//! | 4 | the client sent a Global Privacy Control signal, and the policy takes it for a no to this scope | `gpc_signal` | no |
//! | 5 | the person said yes, to terms that no longer count | `policy_outdated` | no |
//! | 6 | the person said yes | `granted` | yes |
//! | 7 | silence, and the jurisdiction's rule is `opt_in` | `unset_opt_in` | no |
//! | 8 | silence, and the jurisdiction's rule is `opt_out` | `granted_by_default` | yes |
//!
//! An event's scope is `none` unless first party is eligible, and `affiliates` only when that is
//! eligible too.

use super::{
    ConsentScope, ConsentState, EligibilityReason, Policy, Source, TermsVersion, TrainingScope,
    policy::SilenceMeans,
};
use crate::pipeline::ConsentFacts;

/// What is known of a person's consent for one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeConsent {
    /// What the person said last.
    pub state: ConsentState,
    /// Where that comes from.
    pub source: Source,
    /// The terms that it was said to; empty when nothing was said, or nobody noted them.
    pub terms: TermsVersion,
    /// The version of the change; 0 when there is none.
    pub version: u32,
}

/// What is known of a person's consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// For the tenant itself.
    pub first_party: ScopeConsent,
    /// For the tenant's affiliates.
    pub affiliates: ScopeConsent,
}

impl Known {
    /// What is known for a scope.
    #[must_use]
    pub const fn scope(&self, scope: ConsentScope) -> &ScopeConsent {
        match scope {
            ConsentScope::FirstParty => &self.first_party,
            ConsentScope::Affiliates => &self.affiliates,
        }
    }

    /// The version of the newest change; 0 when there is none.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.first_party.version.max(self.affiliates.version)
    }
}

/// A view of a person's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The view is stale or still loading: nobody can say.
    Unknown,
    /// What the view shows.
    Known(Known),
}

/// Who may train on an event, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The widest scope that consent covers.
    pub training_scope: TrainingScope,
    /// Why.
    pub reason: EligibilityReason,
    /// The scope whose rule gave the reason.
    pub decided_by: ConsentScope,
}

impl Decision {
    /// Nobody may train on it.
    #[must_use]
    pub const fn none(reason: EligibilityReason) -> Self {
        Self { training_scope: TrainingScope::None, reason, decided_by: ConsentScope::FirstParty }
    }
}

/// A rule about one scope. Their order is that of the table above, and the first that applies decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The view of consent is stale or still loading.
    ViewUnknown = 1,
    /// The policy excludes the kind of event or the feature.
    Excluded = 2,
    /// The person said no.
    SaidNo = 3,
    /// A Global Privacy Control signal, which the policy takes for a no to this scope.
    PrivacyControl = 4,
    /// The person said yes, to terms that no longer count.
    OutdatedTerms = 5,
    /// The person said yes.
    SaidYes = 6,
    /// Silence, where it means no.
    SilenceMeansNo = 7,
    /// Silence, where it means yes.
    SilenceMeansYes = 8,
}

impl Rule {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::ViewUnknown,
        Self::Excluded,
        Self::SaidNo,
        Self::PrivacyControl,
        Self::OutdatedTerms,
        Self::SaidYes,
        Self::SilenceMeansNo,
        Self::SilenceMeansYes,
    ];

    /// What follows when it decides.
    #[must_use]
    pub const fn reason(self) -> EligibilityReason {
        match self {
            Self::ViewUnknown => EligibilityReason::ConsentUnknown,
            Self::Excluded => EligibilityReason::ExcludedByPolicy,
            Self::SaidNo => EligibilityReason::Denied,
            Self::PrivacyControl => EligibilityReason::GpcSignal,
            Self::OutdatedTerms => EligibilityReason::PolicyOutdated,
            Self::SaidYes => EligibilityReason::Granted,
            Self::SilenceMeansNo => EligibilityReason::UnsetOptIn,
            Self::SilenceMeansYes => EligibilityReason::GrantedByDefault,
        }
    }

    /// Whether it applies, given that none before it did.
    #[must_use]
    pub fn applies(
        self,
        consent: &Consent,
        policy: &Policy,
        facts: &ConsentFacts<'_>,
        scope: ConsentScope,
    ) -> bool {
        let Consent::Known(known) = consent else { return self == Self::ViewUnknown };
        let said = known.scope(scope);
        match self {
            Self::ViewUnknown => false,
            Self::Excluded => policy.excludes(facts.event_type, facts.feature),
            Self::SaidNo => said.state == ConsentState::Denied,
            Self::PrivacyControl => facts.gpc && policy.gpc_denies(scope),
            Self::OutdatedTerms => said.state == ConsentState::Granted && !policy.terms_count(&said.terms),
            Self::SaidYes => said.state == ConsentState::Granted,
            Self::SilenceMeansNo => policy.silence(facts.jurisdiction, scope) == SilenceMeans::OptIn,
            Self::SilenceMeansYes => true,
        }
    }
}

/// The rule that decides for one scope alone.
#[must_use]
pub fn deciding_rule(
    consent: &Consent,
    policy: &Policy,
    facts: &ConsentFacts<'_>,
    scope: ConsentScope,
) -> Rule {
    let mut rules = Rule::ALL.into_iter();
    // The last rule always applies, so there is one; were there none, nobody could say.
    rules.find(|rule| rule.applies(consent, policy, facts, scope)).unwrap_or(Rule::ViewUnknown)
}

/// Decides for one scope alone.
#[must_use]
pub fn decide_scope(
    consent: &Consent,
    policy: &Policy,
    facts: &ConsentFacts<'_>,
    scope: ConsentScope,
) -> EligibilityReason {
    deciding_rule(consent, policy, facts, scope).reason()
}

/// Decides who may train on an event.
#[must_use]
pub fn decide(consent: &Consent, policy: &Policy, facts: &ConsentFacts<'_>) -> Decision {
    decide_by(|scope| decide_scope(consent, policy, facts, scope))
}

/// Decides by what was decided for each scope alone.
pub(super) fn decide_by(reason_of: impl Fn(ConsentScope) -> EligibilityReason) -> Decision {
    let first = reason_of(ConsentScope::FirstParty);
    if !first.is_eligible() {
        return Decision::none(first);
    }
    let affiliates = reason_of(ConsentScope::Affiliates);
    if !affiliates.is_eligible() {
        return Decision {
            training_scope: TrainingScope::FirstParty,
            reason: first,
            decided_by: ConsentScope::FirstParty,
        };
    }
    // The row stands on both answers, so the weaker of the two is its reason.
    let (reason, decided_by) = match first {
        EligibilityReason::GrantedByDefault => (first, ConsentScope::FirstParty),
        _ => (affiliates, ConsentScope::Affiliates),
    };
    Decision { training_scope: TrainingScope::Affiliates, reason, decided_by }
}

/// The narrower of what was decided at receipt and what is decided at the seal.
///
/// A row that narrows to `none` was withdrawn before it was written. One that keeps a scope, though
/// a narrower one, keeps an eligible reason: that of the second decision.
#[must_use]
pub fn seal(
    received: (TrainingScope, EligibilityReason),
    sealed: &Decision,
) -> (TrainingScope, EligibilityReason) {
    if sealed.training_scope >= received.0 {
        received
    } else if sealed.training_scope == TrainingScope::None {
        (TrainingScope::None, EligibilityReason::WithdrawnBeforeWrite)
    } else {
        (sealed.training_scope, sealed.reason)
    }
}

#[cfg(test)]
mod tests;
