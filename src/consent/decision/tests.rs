//! The whole product of what a decision depends on, against rules written a second time, and
//! properties that must hold whatever the table says.

use super::*;
use crate::event::{EventType, Jurisdiction};

const POLICY: &str = r#"
version = "t"
effective_from = "2026-01-01"
[default]
first_party = "opt_in"
affiliates = "opt_in"
[gpc]
denies = "affiliates"
[terms]
versions = ["old", "new"]
oldest = "new"
[jurisdictions.AA]
first_party = "opt_out"
[jurisdictions.BB]
first_party = "opt_out"
affiliates = "opt_out"
[exclude]
event_types = ["language_preference"]
features = ["notes"]
"#;

fn policy(gpc_denies: &str) -> Policy {
    Policy::parse(&POLICY.replace("denies = \"affiliates\"", &format!("denies = \"{gpc_denies}\""))).unwrap()
}

fn said(state: ConsentState, terms: &str) -> ScopeConsent {
    let version = u32::from(state != ConsentState::Unset);
    ScopeConsent { state, source: Source::UserSetting, terms: terms.into(), version }
}

fn facts(jurisdiction: &str, gpc: bool) -> ConsentFacts<'_> {
    ConsentFacts {
        event_type: EventType::TypedText,
        feature: "compose",
        jurisdiction: Jurisdiction::parse(jurisdiction).unwrap(),
        gpc,
    }
}

/// What a scope's own answer comes to, in other words than the code's: a chain of refusals, then what
/// is left. `counts` is whether the terms of a yes count.
fn expected_reason(case: &Case<'_>, scope: ConsentScope) -> EligibilityReason {
    use ConsentState::{Denied, Granted, Unset};
    use EligibilityReason as Reason;
    let said = case.known.scope(scope);
    let counts = &*said.terms == "new";
    let silence_is_yes = match (case.place, scope) {
        ("AA" | "AA-X", ConsentScope::FirstParty) | ("BB", _) => true,
        // "" and "DE" have the default, "AA" says nothing of affiliates.
        _ => false,
    };
    let signal_counts = case.gpc && (scope == ConsentScope::Affiliates || case.gpc_denies == "all");
    match (case.fresh, case.excluded, said.state, signal_counts) {
        (false, ..) => Reason::ConsentUnknown,
        (true, Some(_), ..) => Reason::ExcludedByPolicy,
        (true, None, Denied, _) => Reason::Denied,
        (true, None, Granted | Unset, true) => Reason::GpcSignal,
        (true, None, Granted, false) if counts => Reason::Granted,
        (true, None, Granted, false) => Reason::PolicyOutdated,
        (true, None, Unset, false) if silence_is_yes => Reason::GrantedByDefault,
        (true, None, Unset, false) => Reason::UnsetOptIn,
    }
}

/// One point of the product.
#[derive(Debug)]
struct Case<'a> {
    known: Known,
    place: &'a str,
    gpc: bool,
    gpc_denies: &'a str,
    /// What the policy excludes it by, if anything.
    excluded: Option<Excluded>,
    fresh: bool,
}

#[derive(Clone, Copy, Debug)]
enum Excluded {
    EventType,
    Feature,
}

const PLACES: [&str; 5] = ["", "DE", "AA", "AA-X", "BB"];
const TERMS: [&str; 4] = ["new", "old", "", "never heard of"];

impl Case<'_> {
    fn consent(&self) -> Consent {
        if self.fresh { Consent::Known(self.known.clone()) } else { Consent::Unknown }
    }

    fn facts(&self) -> ConsentFacts<'_> {
        let facts = facts(self.place, self.gpc);
        match self.excluded {
            None => facts,
            Some(Excluded::EventType) => ConsentFacts { event_type: EventType::LanguagePreference, ..facts },
            Some(Excluded::Feature) => ConsentFacts { feature: "notes", ..facts },
        }
    }

    fn decide(&self, policy: &Policy) -> Decision {
        decide(&self.consent(), policy, &self.facts())
    }
}

/// Every answer that a person can have given for a scope: state, source and terms.
fn every_answer() -> Vec<ScopeConsent> {
    let mut answers = Vec::new();
    for state in ConsentState::ALL {
        for source in Source::ALL {
            for terms in TERMS {
                answers.push(ScopeConsent { source, ..said(state, terms) });
            }
        }
    }
    answers
}

/// The whole product of state × scope × source × terms × place × signal × what the signal denies ×
/// exclusion × freshness.
fn every_case(mut check: impl FnMut(&Policy, &Case<'_>)) {
    let answers = every_answer();
    for gpc_denies in ["affiliates", "all"] {
        let policy = policy(gpc_denies);
        for first_party in &answers {
            for affiliates in &answers {
                for place in PLACES {
                    for gpc in [false, true] {
                        for excluded in [None, Some(Excluded::EventType), Some(Excluded::Feature)] {
                            for fresh in [false, true] {
                                let known = Known {
                                    first_party: first_party.clone(),
                                    affiliates: affiliates.clone(),
                                };
                                check(&policy, &Case { known, place, gpc, gpc_denies, excluded, fresh });
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_whole_product_is_decided_as_the_table_says() {
    use ConsentScope::{Affiliates, FirstParty};
    let mut cases = 0_u32;
    every_case(|policy, case| {
        cases += 1;
        let (first, affiliates) = (expected_reason(case, FirstParty), expected_reason(case, Affiliates));
        for (scope, expected) in [(FirstParty, first), (Affiliates, affiliates)] {
            assert_eq!(decide_scope(&case.consent(), policy, &case.facts(), scope), expected, "{case:?}");
        }
        let expected = match (first.is_eligible(), affiliates.is_eligible()) {
            (false, _) => (TrainingScope::None, first),
            (true, false) => (TrainingScope::FirstParty, first),
            // It stands on both answers, and a silence is the weaker one.
            (true, true) if first == EligibilityReason::GrantedByDefault => {
                (TrainingScope::Affiliates, first)
            }
            (true, true) => (TrainingScope::Affiliates, affiliates),
        };
        let decision = case.decide(policy);
        assert_eq!((decision.training_scope, decision.reason), expected, "{case:?}");
        let eligible = decision.training_scope != TrainingScope::None;
        assert_eq!(decision.reason.is_eligible(), eligible, "{case:?}");
    });
    assert_eq!(cases, 2 * 60 * 60 * 5 * 2 * 3 * 2);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// A policy of any kind, and any event under it.
    #[derive(Clone, Debug)]
    struct Any {
        policy: String,
        known: Known,
        place: &'static str,
        gpc: bool,
        event_type: EventType,
        feature: &'static str,
    }

    impl Any {
        fn facts(&self) -> ConsentFacts<'_> {
            ConsentFacts {
                event_type: self.event_type,
                feature: self.feature,
                jurisdiction: Jurisdiction::parse(self.place).unwrap(),
                gpc: self.gpc,
            }
        }

        fn scope_of(&self, consent: &Consent) -> TrainingScope {
            decide(consent, &self.policy(), &self.facts()).training_scope
        }

        fn policy(&self) -> Policy {
            Policy::parse(&self.policy).unwrap()
        }
    }

    fn silence() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["opt_in", "opt_out"])
    }

    fn any_policy() -> impl Strategy<Value = String> {
        let rules = (silence(), silence(), silence(), silence(), silence());
        let rest = (
            prop::sample::select(vec!["affiliates", "all"]),
            prop::option::of(prop::sample::select(vec!["old", "new"])),
            prop::sample::subsequence(vec!["typed_text", "suggestion_shown", "language_preference"], 0..=3),
            prop::bool::ANY,
        );
        (rules, rest).prop_map(|((d1, d2, a1, b1, b2), (gpc, oldest, types, notes))| {
            let oldest = oldest.map(|it| format!("oldest = \"{it}\"\n")).unwrap_or_default();
            let features = if notes { "[\"notes\"]" } else { "[]" };
            format!(
                "version = \"t\"\neffective_from = \"2026-01-01\"\n\
                 [default]\nfirst_party = \"{d1}\"\naffiliates = \"{d2}\"\n\
                 [gpc]\ndenies = \"{gpc}\"\n[terms]\nversions = [\"old\", \"new\"]\n{oldest}\
                 [jurisdictions.AA]\nfirst_party = \"{a1}\"\n\
                 [jurisdictions.BB]\nfirst_party = \"{b1}\"\naffiliates = \"{b2}\"\n\
                 [exclude]\nevent_types = {types:?}\nfeatures = {features}\n"
            )
        })
    }

    fn any_answer() -> impl Strategy<Value = ScopeConsent> {
        prop::sample::select(every_answer())
    }

    fn any() -> impl Strategy<Value = Any> {
        let event = (
            prop::sample::select(PLACES.to_vec()),
            prop::bool::ANY,
            prop::sample::select(EventType::ALL.to_vec()),
            prop::sample::select(vec!["compose", "notes", ""]),
        );
        (any_policy(), any_answer(), any_answer(), event).prop_map(
            |(policy, first_party, affiliates, (place, gpc, event_type, feature))| Any {
                policy,
                known: Known { first_party, affiliates },
                place,
                gpc,
                event_type,
                feature,
            },
        )
    }

    proptest! {
        #[test]
        fn unknown_is_never_eligible(any in any()) {
            prop_assert_eq!(any.scope_of(&Consent::Unknown), TrainingScope::None);
        }

        #[test]
        fn affiliates_are_never_eligible_without_first_party(any in any()) {
            let consent = Consent::Known(any.known.clone());
            let first =
                decide_scope(&consent, &any.policy(), &any.facts(), ConsentScope::FirstParty).is_eligible();
            prop_assert_eq!(any.scope_of(&consent) != TrainingScope::None, first);
        }

        /// Less is: a no in the place of anything, silence in the place of a yes that counts, a signal, an
        /// exclusion, a view that is not fresh. (An outdated yes is no more than silence, and no less.)
        #[test]
        fn less_consent_is_never_wider(any in any()) {
            let before = any.scope_of(&Consent::Known(any.known.clone()));
            let policy = any.policy();
            let less = |answer: &ScopeConsent| {
                let mut less = vec![said(ConsentState::Denied, &answer.terms)];
                if answer.state == ConsentState::Granted && policy.terms_count(&answer.terms) {
                    less.push(ScopeConsent::default());
                    less.push(said(ConsentState::Granted, "never heard of"));
                }
                less
            };
            let mut narrowed: Vec<Known> = Vec::new();
            for first_party in less(&any.known.first_party) {
                narrowed.push(Known { first_party, ..any.known.clone() });
            }
            for affiliates in less(&any.known.affiliates) {
                narrowed.push(Known { affiliates, ..any.known.clone() });
            }
            for known in narrowed {
                prop_assert!(any.scope_of(&Consent::Known(known)) <= before);
            }
            let with_signal = Any { gpc: true, ..any.clone() };
            prop_assert!(with_signal.scope_of(&Consent::Known(any.known.clone())) <= before);
            let stricter = any.policy.replace("features = []", "features = [\"compose\", \"notes\"]");
            let excluded = Any { policy: stricter.replace("opt_out", "opt_in"), ..any.clone() };
            prop_assert!(excluded.scope_of(&Consent::Known(any.known.clone())) <= before);
        }

        #[test]
        fn the_seal_never_widens(any in any(), later in any()) {
            let received = decide(&Consent::Known(any.known.clone()), &any.policy(), &any.facts());
            for consent in [Consent::Known(later.known.clone()), Consent::Unknown] {
                let second = decide(&consent, &later.policy(), &later.facts());
                let (scope, reason) = seal((received.training_scope, received.reason), &second);
                prop_assert_eq!(scope, received.training_scope.min(second.training_scope));
                prop_assert_eq!(reason.is_eligible(), scope != TrainingScope::None);
            }
        }
    }
}

#[test]
fn what_is_excluded_is_excluded_with_all_consent() {
    let everything = Known {
        first_party: said(ConsentState::Granted, "new"),
        affiliates: said(ConsentState::Granted, "new"),
    };
    let consent = Consent::Known(everything);
    let policy = policy("affiliates");
    let plain = facts("BB", false);
    for excluded in [
        ConsentFacts { event_type: EventType::LanguagePreference, ..plain },
        ConsentFacts { feature: "notes", ..plain },
    ] {
        let decision = decide(&consent, &policy, &excluded);
        assert_eq!(decision.training_scope, TrainingScope::None);
        assert_eq!(decision.reason, EligibilityReason::ExcludedByPolicy);
    }
    assert_eq!(decide(&consent, &policy, &plain).training_scope, TrainingScope::Affiliates);
}

#[test]
fn reasons_name_the_rule_that_applied() {
    use ConsentState::{Denied, Granted, Unset};
    use EligibilityReason as Reason;
    let table = [
        // state, terms, place, signal, reason for first party, with a signal that denies all
        (Unset, "", "DE", false, Reason::UnsetOptIn),
        (Unset, "", "", false, Reason::UnsetOptIn),
        (Unset, "", "AA", false, Reason::GrantedByDefault),
        (Unset, "", "AA-X", false, Reason::GrantedByDefault),
        (Unset, "", "AA", true, Reason::GpcSignal),
        (Granted, "new", "DE", false, Reason::Granted),
        (Granted, "new", "DE", true, Reason::GpcSignal),
        (Granted, "old", "DE", false, Reason::PolicyOutdated),
        // An outdated yes is not silence.
        (Granted, "old", "AA", false, Reason::PolicyOutdated),
        (Denied, "new", "AA", true, Reason::Denied),
        // A no counts whatever it was said to.
        (Denied, "old", "AA", false, Reason::Denied),
    ];
    let policy = policy("all");
    for (state, terms, place, gpc, reason) in table {
        let known = Known { first_party: said(state, terms), ..Known::default() };
        let decision = decide(&Consent::Known(known), &policy, &facts(place, gpc));
        assert_eq!(decision.reason, reason, "{state:?} {terms} {place} {gpc}");
    }
}

#[test]
fn affiliates_that_stand_on_silence_say_so() {
    let known = Known { affiliates: said(ConsentState::Granted, "new"), ..Known::default() };
    let decision = decide(&Consent::Known(known), &policy("affiliates"), &facts("AA", false));
    assert_eq!(decision.training_scope, TrainingScope::Affiliates);
    assert_eq!(decision.reason, EligibilityReason::GrantedByDefault);
}

#[test]
fn the_seal_takes_the_narrower_and_never_widens() {
    let scopes = [TrainingScope::None, TrainingScope::FirstParty, TrainingScope::Affiliates];
    let reason_of = |scope| match scope {
        TrainingScope::None => EligibilityReason::Denied,
        _ => EligibilityReason::Granted,
    };
    for received in scopes {
        for second in scopes {
            let decision = Decision {
                training_scope: second,
                reason: reason_of(second),
                decided_by: ConsentScope::FirstParty,
            };
            let (scope, reason) = seal((received, reason_of(received)), &decision);
            assert_eq!(scope, received.min(second));
            assert_eq!(reason.is_eligible(), scope != TrainingScope::None);
            let withdrawn = received != TrainingScope::None && second == TrainingScope::None;
            assert_eq!(reason == EligibilityReason::WithdrawnBeforeWrite, withdrawn);
        }
    }
}
