//! Histories that must pass, and ones that must not.

use std::time::Duration;

use assent::consent::{
    ConsentScope::{self, Affiliates, FirstParty},
    ConsentState::{self, Denied, Granted, Unset},
};

use super::*;
use crate::history::Try;

const EVENT: Uuid = Uuid::from_u128(7);

fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

fn ok(ms: u64) -> Answer {
    Answer::Acknowledged(at(ms))
}

fn failed(ms: u64) -> Answer {
    Answer::Failed(at(ms))
}

fn change(scope: ConsentScope, state: ConsentState, began: u64, answer: Answer) -> Change {
    Change { user: 1, scope, state, via: 0, began: at(began), answer }
}

/// One event of these requests.
fn history(changes: Vec<Change>, tries: &[(u64, Answer)]) -> History {
    let tries = tries.iter().map(|(began, answer)| Try { via: 1, began: at(*began), answer: answer.clone() });
    History { changes, events: HashMap::from([(EVENT, Event { user: 1, tries: tries.collect() })]) }
}

/// It is there once, with that scope, and in no view.
fn stored(scope: TrainingScope) -> Rows {
    Rows { raw: HashMap::from([(EVENT, 1)]), counted: vec![(EVENT, scope)], ..Rows::default() }
}

fn kinds(history: &History, rows: &Rows) -> Vec<Kind> {
    check(history, rows, &[]).into_iter().map(|violation| violation.kind).collect()
}

/// What is found when the event is eligible for first party.
fn if_eligible(changes: Vec<Change>, tries: &[(u64, Answer)]) -> Vec<Kind> {
    kinds(&history(changes, tries), &stored(TrainingScope::FirstParty))
}

#[test]
fn an_event_after_a_yes_may_be_eligible() {
    let yes = || change(FirstParty, Granted, 0, ok(10));
    assert_eq!(if_eligible(vec![yes()], &[(20, ok(30))]), []);
    // While the yes was under way.
    assert_eq!(if_eligible(vec![yes()], &[(5, ok(8))]), []);
    // A no that began after the event, and one that was under way beside it.
    for began in [25, 40] {
        let no = change(FirstParty, Denied, began, ok(60));
        assert_eq!(if_eligible(vec![yes(), no], &[(20, ok(30))]), []);
    }
    // Of a no that was not acknowledged, nobody was told that it holds.
    assert_eq!(if_eligible(vec![yes(), change(FirstParty, Denied, 12, failed(15))], &[(20, ok(30))]), []);
}

#[test]
fn an_event_after_a_no_may_not_be_eligible() {
    for no in [Denied, Unset] {
        let changes = || vec![change(FirstParty, Granted, 0, ok(10)), change(FirstParty, no, 11, ok(15))];
        assert_eq!(if_eligible(changes(), &[(20, ok(30))]), [Kind::EligibleAfterDenial]);
        // Whether or not anybody knows that it was taken.
        assert_eq!(if_eligible(changes(), &[(20, failed(30))]), [Kind::EligibleAfterDenial]);
        // A yes that began in time.
        let mut again = changes();
        again.push(change(FirstParty, Granted, 25, ok(90)));
        assert_eq!(if_eligible(again, &[(20, ok(30))]), []);
        assert_eq!(kinds(&history(changes(), &[(20, ok(30))]), &stored(TrainingScope::None)), []);
    }
}

#[test]
fn a_yes_that_failed_before_the_no_began_is_no_excuse() {
    let no = || change(FirstParty, Denied, 11, ok(15));
    let yes = |answer| change(FirstParty, Granted, 0, answer);
    assert_eq!(if_eligible(vec![yes(failed(10)), no()], &[(20, ok(30))]), [Kind::EligibleAfterDenial]);
    // But one that somebody may be working on still is.
    assert_eq!(if_eligible(vec![yes(Answer::None), no()], &[(20, ok(30))]), []);
    // So is one that was under way beside the no.
    assert_eq!(if_eligible(vec![yes(ok(12)), no()], &[(20, ok(30))]), []);
}

#[test]
fn an_event_before_every_yes_may_not_be_eligible() {
    let yes = |began| change(FirstParty, Granted, began, ok(began + 10));
    assert_eq!(if_eligible(vec![yes(40)], &[(20, ok(30))]), [Kind::EligibleByLaterOptIn]);
    assert_eq!(if_eligible(vec![], &[(20, ok(30))]), [Kind::EligibleByLaterOptIn]);
    let refused = change(FirstParty, Granted, 0, Answer::Refused("no".to_owned()));
    let found = if_eligible(vec![refused], &[(20, ok(30))]);
    assert_eq!(found, [Kind::Refused, Kind::EligibleByLaterOptIn]);
}

#[test]
fn of_several_requests_each_acknowledged_one_has_to_allow_it() {
    let changes = || vec![change(FirstParty, Granted, 0, ok(10)), change(FirstParty, Denied, 41, ok(50))];
    // The first was taken before the no and nobody knew; the row of the second is narrower, and counts.
    let tries = [(20, failed(30)), (60, ok(70))];
    assert_eq!(if_eligible(changes(), &tries), [Kind::EligibleAfterDenial]);
    let tries = [(20, failed(30)), (60, failed(70))];
    assert_eq!(if_eligible(changes(), &tries), []);
}

#[test]
fn affiliates_need_both_scopes() {
    let all = stored(TrainingScope::Affiliates);
    let yes = |scope| change(scope, Granted, 0, ok(10));
    let event = [(20, ok(30))];
    assert_eq!(kinds(&history(vec![yes(FirstParty), yes(Affiliates)], &event), &all), []);
    assert_eq!(kinds(&history(vec![yes(FirstParty)], &event), &all), [Kind::EligibleByLaterOptIn]);
    for scope in ConsentScope::ALL {
        let changes = vec![yes(FirstParty), yes(Affiliates), change(scope, Denied, 11, ok(15))];
        assert_eq!(kinds(&history(changes, &event), &all), [Kind::EligibleAfterDenial], "{scope:?}");
    }
    // A no to affiliates says nothing of first party.
    let changes = vec![yes(FirstParty), yes(Affiliates), change(Affiliates, Denied, 11, ok(15))];
    assert_eq!(kinds(&history(changes, &event), &stored(TrainingScope::FirstParty)), []);
}

#[test]
fn every_acknowledged_event_is_there_once() {
    let sent = |tries: &[(u64, Answer)]| history(vec![], tries);
    let none = Rows::default();
    assert_eq!(kinds(&sent(&[(20, ok(30))]), &none), [Kind::Lost]);
    assert_eq!(kinds(&sent(&[(20, failed(30))]), &none), []);
    let mut twice = stored(TrainingScope::None);
    twice.raw.insert(EVENT, 2);
    assert_eq!(kinds(&sent(&[(20, ok(30))]), &twice), [Kind::Twice]);
    assert_eq!(kinds(&sent(&[(20, failed(30)), (40, ok(50))]), &twice), []);
    let mut counted = twice.clone();
    counted.counted.push((EVENT, TrainingScope::None));
    assert_eq!(kinds(&sent(&[(20, failed(30)), (40, ok(50))]), &counted), [Kind::Twice]);
    assert_eq!(kinds(&History::default(), &stored(TrainingScope::None)), [Kind::NeverSent]);
}

#[test]
fn a_view_shows_nothing_that_a_later_no_took_back() {
    let mut rows = stored(TrainingScope::Affiliates);
    (rows.first_party, rows.affiliates) = (vec![EVENT], vec![EVENT]);
    let yes = || [change(FirstParty, Granted, 0, ok(10)), change(Affiliates, Granted, 0, ok(10))];
    let with = |last: Change, tries: &[(u64, Answer)]| {
        kinds(&history(yes().into_iter().chain([last]).collect(), tries), &rows)
    };
    let withdrawn = Kind::ShownAfterWithdrawal;
    let no = |scope| change(scope, Denied, 40, ok(50));
    assert_eq!(with(no(FirstParty), &[(20, ok(30))]), [withdrawn, withdrawn]);
    // It stays in the view of first party.
    assert_eq!(with(no(Affiliates), &[(20, ok(30))]), [withdrawn]);
    // Beside the no, either order is right.
    assert_eq!(with(no(FirstParty), &[(20, ok(45))]), []);
    assert_eq!(with(change(FirstParty, Denied, 40, failed(50)), &[(20, ok(30))]), []);
    // Sent once more by its author under a new yes.
    let again = [change(FirstParty, Denied, 40, ok(50)), change(FirstParty, Granted, 60, ok(70))];
    let changes: Vec<_> = yes().into_iter().chain(again).collect();
    assert_eq!(kinds(&history(changes, &[(20, ok(30)), (80, ok(90))]), &rows), []);
}

#[test]
fn a_view_shows_nothing_that_is_not_eligible() {
    let mut rows = stored(TrainingScope::None);
    rows.first_party = vec![EVENT];
    let changes = vec![change(FirstParty, Granted, 0, ok(10))];
    assert_eq!(kinds(&history(changes, &[(20, ok(30))]), &rows), [Kind::ShownNotEligible]);
}

#[test]
fn collectors_agree_when_all_is_quiet() {
    use TrainingScope::{Affiliates, FirstParty as First, None};
    let probes = [1, 2, 3].map(Uuid::from_u128);
    let found = |decided: &[TrainingScope], stamped: [TrainingScope; 3], changes: &[Change]| {
        let changes: Vec<&Change> = changes.iter().collect();
        let last = Final { user: 1, decided: decided.to_vec(), probes: probes.to_vec() };
        agreement(&changes, &last, &probes.into_iter().zip(stamped).collect(), &HashMap::new()).is_some()
    };
    let lost_no = [change(FirstParty, Denied, 0, failed(10))];
    assert!(!found(&[First; 3], [First; 3], &[]));
    assert!(!found(&[], [None; 3], &[]));
    assert!(found(&[First, None, First], [None; 3], &[]));
    assert!(found(&[], [First, None, First], &[]));
    // One collector knows of a no that the ledger does not have, and says so.
    assert!(!found(&[First, None, First], [First, None, First], &lost_no));
    assert!(!found(&[], [First, None, First], &lost_no));
    assert!(found(&[First, None, First], [First, None, First], &[]));
    // Or the no arrives in between.
    assert!(!found(&[First; 3], [First, None, First], &lost_no));
    // But none may make more of an event than it says.
    assert!(found(&[First, None, First], [First; 3], &lost_no));
    assert!(found(&[First; 3], [First, Affiliates, First], &lost_no));
}
