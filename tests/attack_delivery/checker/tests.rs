//! The checker of the attack finds what is wrong: each case doctors a history or rows in which all is well.

use uuid::Uuid;

use super::*;
use crate::{
    event::make,
    history::Outcome::{self, Acknowledged, Refused, Rejected, Unknown},
};

/// Events of all kinds, each with its outcomes, all rows as they should be.
struct Case {
    history: History,
    rows: Rows,
    keys: Vec<Key>,
}

const SCOPE: i8 = 2;

fn case(outcomes: &[&[Outcome]]) -> Case {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut case = Case { history: History::default(), rows: Rows::default(), keys: Vec::new() };
    for outcomes in outcomes {
        let made = make(0, &mut rng, &(5..=50), outcomes.contains(&Rejected));
        for outcome in *outcomes {
            case.history.note(&made, 0, *outcome);
        }
        case.keys.push(made.key);
        let taken = outcomes.iter().filter(|outcome| **outcome == Acknowledged).count();
        if taken > 0 {
            let found =
                Found { copies: u32::try_from(taken).unwrap(), digest: Some(made.digest), narrowest: SCOPE };
            case.rows.stored.insert(made.key, found);
            let once = Found { copies: 1, ..found };
            case.rows.counted.insert(made.key, once);
            case.view(made.kind).insert(made.key, once);
            for training in &mut case.rows.training {
                training.insert(made.key, once);
            }
        }
    }
    case
}

impl Case {
    fn view(&mut self, kind: Kind) -> &mut Place {
        &mut self.rows.views[kind as usize - 1]
    }

    fn kind(&self, n: usize) -> Kind {
        self.history.events[&self.keys[n]].kind
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> =
            check(&self.history, &self.rows).into_iter().map(|finding| finding.fault).collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }
}

#[test]
fn what_is_well_is_no_finding() {
    let case = case(&[
        &[Acknowledged],
        &[Unknown, Acknowledged],
        &[Acknowledged, Acknowledged],
        &[Refused, Acknowledged],
        &[Unknown],
        &[Refused],
        &[Rejected],
        &[Unknown, Rejected],
    ]);
    assert_eq!(case.faults(), []);
}

#[test]
fn an_unknown_event_may_be_there_and_may_not() {
    let mut there = case(&[&[Acknowledged]]);
    let record = there.history.events.get_mut(&there.keys[0]).unwrap();
    record.acknowledged = 0;
    assert_eq!(there.faults(), []);
    // But not in half of the places.
    there.rows.counted.clear();
    assert_eq!(there.faults(), [Fault::Lost]);
}

#[test]
fn a_lost_row_is_found() {
    let mut lost = case(&[&[Acknowledged], &[Acknowledged]]);
    let key = lost.keys[1];
    lost.rows.stored.remove(&key);
    assert!(lost.faults().contains(&Fault::Lost));
    let mut hidden = case(&[&[Acknowledged], &[Acknowledged]]);
    let (key, kind) = (hidden.keys[0], hidden.kind(0));
    hidden.view(kind).remove(&key);
    assert_eq!(hidden.faults(), [Fault::Lost]);
    let mut uncounted = case(&[&[Acknowledged]]);
    uncounted.rows.counted.clear();
    assert_eq!(uncounted.faults(), [Fault::Lost]);
}

#[test]
fn a_doubled_row_is_found() {
    let mut inserted_twice = case(&[&[Acknowledged]]);
    inserted_twice.rows.stored.get_mut(&inserted_twice.keys[0]).unwrap().copies = 2;
    assert_eq!(inserted_twice.faults(), [Fault::InsertedTwice]);
    // A retry allows for a second row of its own, a refusal for none.
    let mut retried = case(&[&[Unknown, Acknowledged]]);
    retried.rows.stored.get_mut(&retried.keys[0]).unwrap().copies = 2;
    assert_eq!(retried.faults(), []);
    let mut refused = case(&[&[Refused, Acknowledged]]);
    refused.rows.stored.get_mut(&refused.keys[0]).unwrap().copies = 2;
    assert_eq!(refused.faults(), [Fault::InsertedTwice]);
    let mut counted_twice = case(&[&[Acknowledged, Acknowledged]]);
    counted_twice.rows.counted.get_mut(&counted_twice.keys[0]).unwrap().copies = 2;
    assert_eq!(counted_twice.faults(), [Fault::CountsTwice]);
    let mut shown_twice = case(&[&[Acknowledged]]);
    let (key, kind) = (shown_twice.keys[0], shown_twice.kind(0));
    shown_twice.view(kind).get_mut(&key).unwrap().copies = 2;
    assert_eq!(shown_twice.faults(), [Fault::CountsTwice]);
}

#[test]
fn an_altered_event_is_found() {
    let mut altered = case(&[&[Acknowledged]]);
    altered.rows.stored.get_mut(&altered.keys[0]).unwrap().digest = Some(1);
    assert_eq!(altered.faults(), [Fault::Altered]);
    let mut differing = case(&[&[Acknowledged, Acknowledged]]);
    differing.rows.stored.get_mut(&differing.keys[0]).unwrap().digest = None;
    assert_eq!(differing.faults(), [Fault::Altered]);
    // Two events that changed their texts.
    let mut swapped = case(&[&[Acknowledged], &[Acknowledged]]);
    let [one, other] = [0, 1].map(|n| swapped.rows.counted[&swapped.keys[n]]);
    swapped.rows.counted.insert(swapped.keys[0], other);
    swapped.rows.counted.insert(swapped.keys[1], one);
    assert_eq!(swapped.faults(), [Fault::Altered]);
}

#[test]
fn what_was_never_taken_may_not_be_there() {
    let mut never_sent = case(&[&[Acknowledged]]);
    let found = never_sent.rows.stored[&never_sent.keys[0]];
    never_sent.rows.stored.insert(Key { tenant: 0, id: Uuid::from_u128(9) }, found);
    assert_eq!(never_sent.faults(), [Fault::NeverTaken]);
    // The same id, of another tenant.
    let mut other_tenant = case(&[&[Acknowledged]]);
    other_tenant.rows.stored.insert(Key { tenant: 1, ..other_tenant.keys[0] }, found);
    assert_eq!(other_tenant.faults(), [Fault::NeverTaken]);
    for outcome in [Refused, Rejected] {
        let mut taken = case(&[&[outcome]]);
        let found = Found { digest: Some(taken.history.events[&taken.keys[0]].digest), ..found };
        taken.rows.stored.insert(taken.keys[0], found);
        assert!(taken.faults().contains(&Fault::NeverTaken), "{outcome:?}");
    }
    let mut foreign = case(&[&[Acknowledged]]);
    foreign.rows.foreign = 1;
    assert_eq!(foreign.faults(), [Fault::NeverTaken]);
}

#[test]
fn an_event_in_anothers_view_is_found() {
    let mut strayed = case(&[&[Acknowledged]]);
    let found = strayed.rows.counted[&strayed.keys[0]];
    let (key, kind) = (strayed.keys[0], strayed.kind(0));
    let other = Kind::ALL.into_iter().find(|other| *other != kind).unwrap();
    strayed.view(other).insert(key, found);
    assert_eq!(strayed.faults(), [Fault::WrongView]);
}

#[test]
fn the_wider_of_two_copies_is_found() {
    let mut widened = case(&[&[Acknowledged, Acknowledged]]);
    widened.rows.stored.get_mut(&widened.keys[0]).unwrap().narrowest = 0;
    assert_eq!(widened.faults(), [Fault::Widened]);
    let mut denied = case(&[&[Acknowledged, Acknowledged]]);
    denied.history.narrow.insert(denied.keys[0]);
    assert_eq!(denied.faults(), [Fault::Widened]);
    // Even if only the views for training show it.
    widened.rows.counted.get_mut(&widened.keys[0]).unwrap().narrowest = 0;
    assert_eq!(widened.faults(), [Fault::Widened]);
}

#[test]
fn a_wrong_answer_is_found() {
    let mut accepted = case(&[&[Acknowledged]]);
    accepted.history.events.get_mut(&accepted.keys[0]).unwrap().is_bad = true;
    assert!(accepted.faults().contains(&Fault::Misjudged));
    let mut rejected = case(&[&[Rejected]]);
    rejected.history.events.get_mut(&rejected.keys[0]).unwrap().is_bad = false;
    assert_eq!(rejected.faults(), [Fault::Misjudged]);
    let mut complaint = case(&[]);
    complaint.history.complaints.push("INTERNAL".to_owned());
    assert_eq!(complaint.faults(), [Fault::Complaint]);
}
