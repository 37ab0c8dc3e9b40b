//! Why an event would be decided as it would be, rule by rule, in words.
//!
//! The rules are those of [`super::decision`], asked in the same order, so that an explanation cannot
//! say one thing and a stamp another.

use super::{
    Consent, ConsentScope, ConsentState, Policy, Rule, ScopeConsent, decision::deciding_rule,
    policy::SilenceMeans,
};
use crate::pipeline::ConsentFacts;

/// A rule, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule.
    pub rule: Rule,
    /// What it looked at, in words. Empty when it was not reached.
    pub found: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does not apply.
    Passed,
    /// It applies, and decides.
    Decided,
    /// A rule before it decided.
    NotReached,
}

impl Rule {
    /// When it applies, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ViewUnknown => "the view of consent is stale or still loading",
            Self::Excluded => "the policy excludes the kind of event or the feature",
            Self::SaidNo => "the person said no",
            Self::PrivacyControl => {
                "the client sent a Global Privacy Control signal, which the policy takes for a no"
            }
            Self::OutdatedTerms => "the person said yes, to terms that no longer count",
            Self::SaidYes => "the person said yes",
            Self::SilenceMeansNo => "silence, where it means no",
            Self::SilenceMeansYes => "silence, where it means yes",
        }
    }
}

/// Explains the decision on one scope: all rules, in their order.
#[must_use]
pub fn explain(
    consent: &Consent,
    policy: &Policy,
    facts: &ConsentFacts<'_>,
    scope: ConsentScope,
) -> Vec<Explained> {
    let deciding = deciding_rule(consent, policy, facts, scope);
    Rule::ALL
        .into_iter()
        .map(|rule| {
            let outcome = match (rule as u8).cmp(&(deciding as u8)) {
                std::cmp::Ordering::Less => Outcome::Passed,
                std::cmp::Ordering::Equal => Outcome::Decided,
                std::cmp::Ordering::Greater => Outcome::NotReached,
            };
            let found = match outcome {
                Outcome::NotReached => String::new(),
                Outcome::Passed | Outcome::Decided => found(rule, consent, policy, facts, scope),
            };
            Explained { rule, found, outcome }
        })
        .collect()
}

fn found(
    rule: Rule,
    consent: &Consent,
    policy: &Policy,
    facts: &ConsentFacts<'_>,
    scope: ConsentScope,
) -> String {
    let nothing = ScopeConsent::default();
    let said = match consent {
        Consent::Unknown => &nothing,
        Consent::Known(known) => known.scope(scope),
    };
    match rule {
        Rule::ViewUnknown => match consent {
            Consent::Unknown => "this collector's view is stale or still loading".to_owned(),
            Consent::Known(_) => "the view is fresh".to_owned(),
        },
        Rule::Excluded => format!(
            "event type {}, {}: {}",
            facts.event_type.as_str(),
            if facts.feature.is_empty() {
                "no feature".to_owned()
            } else {
                format!("feature {:?}", facts.feature)
            },
            if policy.excludes(facts.event_type, facts.feature) { "excluded" } else { "not excluded" }
        ),
        Rule::SaidNo | Rule::SaidYes => answer(said),
        Rule::PrivacyControl => match (facts.gpc, policy.gpc_denies(scope)) {
            (false, _) => "no signal was sent".to_owned(),
            (true, true) => format!("a signal was sent; the policy takes it for a no to {}", scope.as_str()),
            (true, false) => {
                format!("a signal was sent; the policy does not take it for a no to {}", scope.as_str())
            }
        },
        Rule::OutdatedTerms => match said.state {
            ConsentState::Granted if policy.terms_count(&said.terms) => {
                format!("a yes to terms {:?} counts", &*said.terms)
            }
            ConsentState::Granted => format!("a yes to terms {:?} no longer counts", &*said.terms),
            ConsentState::Unset | ConsentState::Denied => "there is no yes".to_owned(),
        },
        Rule::SilenceMeansNo | Rule::SilenceMeansYes => place(policy, facts, scope),
    }
}

fn answer(said: &ScopeConsent) -> String {
    match (said.state, said.version) {
        (ConsentState::Unset, 0) => "nothing was ever said".to_owned(),
        (ConsentState::Unset, version) => format!("the answer was taken back (version {version})"),
        (state, version) => {
            format!("{} by {} (version {version})", state.as_str(), said.source.as_str())
        }
    }
}

fn place(policy: &Policy, facts: &ConsentFacts<'_>, scope: ConsentScope) -> String {
    let rule = policy.place_rule(facts.jurisdiction, scope);
    let place = match facts.jurisdiction.as_str() {
        "" => "an unknown place",
        code => code,
    };
    format!("in {place} silence on {} means {} ({})", scope.as_str(), silence_is(rule.means), rule.from)
}

/// The answer that silence is taken for.
const fn silence_is(means: SilenceMeans) -> &'static str {
    match means {
        SilenceMeans::OptIn => "no",
        SilenceMeans::OptOut => "yes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consent::{Known, Source},
        event::{EventType, Jurisdiction},
    };

    fn explained(consent: &Consent, gpc: bool) -> Vec<Explained> {
        let policy = Policy::parse(include_str!("../../policies/mixed-jurisdictions.toml")).unwrap();
        let facts = ConsentFacts {
            event_type: EventType::TypedText,
            feature: "compose",
            jurisdiction: Jurisdiction::parse("US-CA").unwrap(),
            gpc,
        };
        explain(consent, &policy, &facts, ConsentScope::FirstParty)
    }

    fn decided(rules: &[Explained]) -> &Explained {
        rules.iter().find(|it| it.outcome == Outcome::Decided).unwrap()
    }

    #[test]
    fn silence_names_the_place_and_the_rule() {
        let rules = explained(&Consent::Known(Known::default()), true);
        assert_eq!(rules.len(), 8);
        let decided = decided(&rules);
        assert_eq!(decided.rule, Rule::SilenceMeansNo);
        assert_eq!(decided.found, "in US-CA silence on first_party means no (jurisdictions.US-CA)");
        assert!(rules[3].found.contains("does not take it for a no to first_party"));
        assert_eq!(rules[7].outcome, Outcome::NotReached);
        assert_eq!(rules[7].found, "");
    }

    #[test]
    fn an_outdated_yes_names_its_terms() {
        let said = ScopeConsent {
            state: ConsentState::Granted,
            source: Source::UserSetting,
            terms: "2023-11".into(),
            version: 3,
        };
        let known = Known { first_party: said, ..Known::default() };
        let rules = explained(&Consent::Known(known), false);
        assert_eq!(decided(&rules).rule, Rule::OutdatedTerms);
        assert_eq!(decided(&rules).found, "a yes to terms \"2023-11\" no longer counts");
        assert_eq!(rules[2].found, "granted by user_setting (version 3)");
    }

    #[test]
    fn a_stale_view_ends_it_at_once() {
        let rules = explained(&Consent::Unknown, false);
        assert_eq!(decided(&rules).rule, Rule::ViewUnknown);
        assert!(rules[1..].iter().all(|it| it.outcome == Outcome::NotReached));
    }
}
