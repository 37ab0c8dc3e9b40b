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

/// Every combination: states and terms of both scopes, place, signal, and what the signal denies.
fn every_case(mut check: impl FnMut(&Policy, &Known, &ConsentFacts<'_>, &str)) {
    let terms = ["new", "old", "", "never heard of"];
    for gpc_denies in ["affiliates", "all"] {
        let policy = policy(gpc_denies);
        for first in ConsentState::ALL {
            for affiliates in ConsentState::ALL {
                for first_terms in terms {
                    for affiliates_terms in terms {
                        for place in ["", "DE", "AA", "AA-X", "BB"] {
                            for gpc in [false, true] {
                                let known = Known {
                                    first_party: said(first, first_terms),
                                    affiliates: said(affiliates, affiliates_terms),
                                };
                                check(&policy, &known, &facts(place, gpc), gpc_denies);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a scope is eligible, in other words than the code's.
fn eligible(said: &ScopeConsent, silence_is_yes: bool, signal_says_no: bool) -> bool {
    let yes = said.state == ConsentState::Granted && &*said.terms == "new";
    let silent_yes = said.state == ConsentState::Unset && silence_is_yes;
    (yes || silent_yes) && !signal_says_no
}

#[test]
fn the_scope_is_what_both_answers_allow() {
    every_case(|policy, known, facts, gpc_denies| {
        let country = facts.jurisdiction.country().as_str().to_owned();
        let first = eligible(
            &known.first_party,
            country == "AA" || country == "BB",
            facts.gpc && gpc_denies == "all",
        );
        let affiliates = eligible(&known.affiliates, country == "BB", facts.gpc);
        let expected = match (first, affiliates) {
            (false, _) => TrainingScope::None,
            (true, false) => TrainingScope::FirstParty,
            (true, true) => TrainingScope::Affiliates,
        };
        let decision = decide(&Consent::Known(known.clone()), policy, facts);
        assert_eq!(decision.training_scope, expected, "{known:?} {facts:?}");
    });
}

#[test]
fn a_reason_is_eligible_exactly_when_the_scope_is_not_none() {
    every_case(|policy, known, facts, _| {
        let decision = decide(&Consent::Known(known.clone()), policy, facts);
        assert_eq!(
            decision.reason.is_eligible(),
            decision.training_scope != TrainingScope::None,
            "{known:?} {facts:?} {decision:?}"
        );
    });
}

#[test]
fn unknown_is_never_eligible() {
    every_case(|policy, _, facts, _| {
        let decision = decide(&Consent::Unknown, policy, facts);
        assert_eq!(decision.training_scope, TrainingScope::None);
        assert_eq!(decision.reason, EligibilityReason::ConsentUnknown);
    });
}

#[test]
fn less_consent_is_never_wider() {
    every_case(|policy, known, facts, _| {
        let before = decide(&Consent::Known(known.clone()), policy, facts).training_scope;
        for narrowed in [
            Known { first_party: said(ConsentState::Denied, "new"), ..known.clone() },
            Known { affiliates: said(ConsentState::Denied, "new"), ..known.clone() },
        ] {
            let after = decide(&Consent::Known(narrowed.clone()), policy, facts).training_scope;
            assert!(after <= before, "{known:?} to {narrowed:?} at {facts:?}");
        }
        let with_signal = ConsentFacts { gpc: true, ..*facts };
        assert!(decide(&Consent::Known(known.clone()), policy, &with_signal).training_scope <= before);
    });
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
