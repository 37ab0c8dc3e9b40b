use super::{rows::Row, *};
use crate::{
    event::{EventType, Jurisdiction, RawUserId, Tenant},
    pipeline::{KeyRing, PseudonymKey, Pseudonymiser},
};

fn options() -> ReplicaOptions {
    ReplicaOptions {
        refresh_interval: Duration::from_millis(200),
        max_staleness: Duration::from_secs(5),
        overlap: Duration::from_secs(15),
    }
}

fn replica() -> Replica {
    Replica::new(options(), vec!["k1".to_owned()])
}

/// Of a collector with two keys.
fn replica_of_two() -> Replica {
    Replica::new(options(), vec!["k2".to_owned(), "k1".to_owned()])
}

fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n; 16])
}

fn row(n: u8, state: ConsentState, version: u32, key: &str) -> Row<'_> {
    Row {
        subject_id: subject(n),
        scope: Some(ConsentScope::FirstParty),
        state,
        source: Source::UserSetting,
        version,
        terms: "2026",
        missing_key_id: if key == "k1" { "" } else { key },
    }
}

fn apply(replica: &Replica, row: &Row<'_>) {
    let mut applier = Applier::new(replica.clone(), false);
    applier.take(row);
    applier.apply();
}

fn seal_record(n: u8) -> SealRecord<'static> {
    SealRecord {
        row: 0,
        subject_id: subject(n),
        event_type: EventType::TypedText,
        gpc: false,
        training_scope: TrainingScope::FirstParty,
        reason: crate::consent::EligibilityReason::Granted,
        jurisdiction: Jurisdiction::UNKNOWN,
        feature: "",
        consent_version: 1,
        received_at: None,
    }
}

#[test]
fn the_newest_version_counts_whatever_the_order() {
    use ConsentState::{Denied, Granted, Unset};
    let changes = [(Granted, 1), (Denied, 2), (Granted, 3), (Unset, 4)];
    for rotation in 0..changes.len() {
        let replica = replica();
        let mut changes = changes;
        changes.rotate_left(rotation);
        for (state, version) in changes {
            apply(&replica, &row(1, state, version, "k1"));
        }
        let known = replica.known(&subject(1).into());
        assert_eq!((known.first_party.state, known.first_party.version), (Unset, 4));
        assert_eq!(&*known.first_party.terms, "2026");
        assert_eq!(known.affiliates, ScopeConsent::default());
    }
}

#[test]
fn of_two_with_one_version_the_no_counts_whatever_the_order() {
    use ConsentState::{Denied, Granted};
    for states in [[Granted, Denied], [Denied, Granted]] {
        let replica = replica();
        for state in states {
            apply(&replica, &row(1, state, 5, "k1"));
        }
        assert_eq!(replica.known(&subject(1).into()).first_party.state, Denied);
    }
}

#[test]
fn nobody_is_known_before_the_first_refresh_or_after_the_last_is_too_old() {
    let replica = replica();
    apply(&replica, &row(1, ConsentState::Granted, 1, "k1"));
    assert_eq!(replica.consent(&subject(1).into()), Consent::Unknown);
    let Some(long_ago) = Instant::now().checked_sub(options().max_staleness * 2) else { return };
    replica.0.watermark.send_replace(Some(long_ago));
    assert_eq!(replica.consent(&subject(1).into()), Consent::Unknown);
    replica.0.watermark.send_replace(Some(Instant::now()));
    assert!(matches!(replica.consent(&subject(1).into()), Consent::Known(_)));
}

#[test]
fn consent_under_another_key_makes_all_unknown() {
    let replica = replica();
    replica.0.watermark.send_replace(Some(Instant::now()));
    apply(&replica, &row(1, ConsentState::Granted, 1, "k1"));
    assert!(replica.is_fresh());
    let policy = Policy::builtin();
    assert_eq!(replica.decide_for_seal(&policy, &seal_record(1)).training_scope, TrainingScope::FirstParty);
    apply(&replica, &row(2, ConsentState::Denied, 1, "k2"));
    assert!(!replica.is_fresh());
    assert_eq!(replica.consent(&subject(1).into()), Consent::Unknown);
    assert_eq!(replica.decide_for_seal(&policy, &seal_record(1)).training_scope, TrainingScope::None);
}

#[test]
fn a_no_between_receipt_and_seal_narrows_though_a_yes_came_after_it() {
    use ConsentState::{Denied, Granted, Unset};
    for no in [Denied, Unset] {
        let mut changes = [(Granted, 1), (no, 2), (Granted, 3)];
        for rotation in 0..changes.len() {
            changes.rotate_left(rotation);
            let replica = replica();
            for (state, version) in changes {
                apply(&replica, &row(1, state, version, "k1"));
            }
            let policy = Policy::builtin();
            let decide = |consent_version| {
                replica
                    .decide_for_seal(&policy, &SealRecord { consent_version, ..seal_record(1) })
                    .training_scope
            };
            assert_eq!(replica.known(&subject(1).into()).first_party.state, Granted);
            assert_eq!(decide(1), TrainingScope::None, "{no:?}");
            assert_eq!(decide(3), TrainingScope::FirstParty, "{no:?}");
        }
    }
}

#[test]
fn a_no_of_the_row_s_own_version_narrows_it_under_a_later_yes() {
    use ConsentState::{Denied, Granted};
    let replica = replica();
    for (state, version) in [(Granted, 2), (Denied, 2), (Granted, 3)] {
        apply(&replica, &row(1, state, version, "k1"));
    }
    let record = SealRecord { consent_version: 2, ..seal_record(1) };
    assert_eq!(replica.decide_for_seal(&Policy::builtin(), &record).training_scope, TrainingScope::None);
}

#[test]
fn a_denial_that_nobody_recorded_counts_even_for_somebody_unknown() {
    let replica = replica();
    let first = ConsentScope::FirstParty;
    replica.apply(subject(1), first, ConsentState::Denied, Source::UserSetting, "", 0);
    let known = replica.known(&subject(1).into());
    assert_eq!((known.first_party.state, known.version()), (ConsentState::Denied, 0));
}

#[test]
fn a_no_to_affiliates_in_between_leaves_first_party() {
    let replica = replica();
    let said = |scope, state, version| {
        replica.apply(subject(1), scope, state, Source::UserSetting, "", version);
    };
    said(ConsentScope::FirstParty, ConsentState::Granted, 1);
    said(ConsentScope::Affiliates, ConsentState::Granted, 2);
    said(ConsentScope::Affiliates, ConsentState::Denied, 3);
    said(ConsentScope::Affiliates, ConsentState::Granted, 4);
    let record =
        SealRecord { training_scope: TrainingScope::Affiliates, consent_version: 2, ..seal_record(1) };
    let policy = Policy::builtin();
    assert_eq!(replica.decide_for_seal(&policy, &record).training_scope, TrainingScope::FirstParty);
    let later = SealRecord { consent_version: 4, ..record };
    assert_eq!(replica.decide_for_seal(&policy, &later).training_scope, TrainingScope::Affiliates);
}

#[test]
fn a_scope_that_is_not_known_is_a_no_to_both() {
    let replica = replica();
    for scope in ConsentScope::ALL {
        replica.apply(subject(1), scope, ConsentState::Granted, Source::UserSetting, "", 1);
    }
    apply(&replica, &Row { scope: None, ..row(1, ConsentState::Denied, 2, "k1") });
    let known = replica.known(&subject(1).into());
    assert_eq!(
        (known.first_party.state, known.affiliates.state),
        (ConsentState::Denied, ConsentState::Denied)
    );
    assert_eq!(replica.subjects(), 1);
}

#[test]
fn the_overlap_is_longer_than_two_timeouts_of_any_collector() {
    assert!(OVERLAP > MAX_LEDGER_TIMEOUT * 2);
}

#[test]
fn a_held_no_ends_with_what_was_made_after_it() {
    use ConsentState::{Denied, Granted};
    let replica = replica();
    let first = ConsentScope::FirstParty;
    let state = |replica: &Replica| replica.known(&subject(1).into()).first_party.state;
    let before = Instant::now();
    apply(&replica, &row(1, Granted, 1, "k1"));
    replica.hold(&subject(1).into(), first, Source::UserSetting, "2026", 1);
    assert_eq!(state(&replica), Denied);
    // A refresh that had started before brings a yes, and one that started after it another.
    apply(&replica, &row(1, Granted, 2, "k1"));
    replica.hold_on(before);
    assert_eq!(state(&replica), Granted, "what the refresh after that brings is not known yet");
    apply(&replica, &row(1, Granted, 3, "k1"));
    replica.hold_on(Instant::now());
    assert_eq!((state(&replica), replica.known(&subject(1).into()).version()), (Denied, 3));
    apply(&replica, &row(1, Granted, 4, "k1"));
    replica.hold_on(Instant::now());
    assert_eq!(state(&replica), Granted);
    // One that was recorded after all holds no longer.
    replica.hold(&subject(1).into(), first, Source::UserSetting, "2026", 4);
    replica.release(&subject(1).into(), first);
    apply(&replica, &row(1, Granted, 5, "k1"));
    replica.hold_on(Instant::now());
    assert_eq!(state(&replica), Granted);
}

/// Ann, under two keys.
fn ann() -> Subjects {
    let key = || PseudonymKey::generate().unwrap().to_text();
    let ring = KeyRing::from_text(&format!("{}{}", *key(), *key())).unwrap();
    Pseudonymiser::of_ring(&ring).subjects(&Tenant::new("acme"), RawUserId::new("ann"))
}

#[test]
fn under_all_pseudonyms_the_newest_counts_and_of_two_the_no() {
    use ConsentState::{Denied, Granted, Unset};
    for (current, older, expected) in [
        (None, Some((Denied, 1)), (Denied, 1)),
        (Some((Granted, 1)), Some((Denied, 2)), (Denied, 2)),
        (Some((Denied, 2)), Some((Granted, 1)), (Denied, 2)),
        (Some((Granted, 3)), Some((Denied, 3)), (Denied, 3)),
        (Some((Denied, 3)), Some((Unset, 3)), (Denied, 3)),
        (Some((Granted, 4)), Some((Denied, 3)), (Granted, 4)),
    ] {
        let (replica, ann) = (replica_of_two(), ann());
        for (subject, change) in ann.iter().zip([current, older]) {
            if let Some((state, version)) = change {
                replica.apply(*subject, ConsentScope::FirstParty, state, Source::Admin, "", version);
            }
        }
        let known = replica.known(&ann).first_party;
        assert_eq!((known.state, known.version), expected, "{current:?} {older:?}");
    }
}

#[test]
fn a_stamp_that_stands_on_what_lies_under_an_older_key_alone_is_not_narrowed() {
    let policy = Policy::builtin();
    let record = SealRecord { consent_version: 5, ..seal_record(1) };
    let sealed =
        |replica: &Replica, record: &SealRecord<'_>| replica.decide_for_seal(&policy, record).training_scope;
    let two = replica_of_two();
    assert_eq!(sealed(&two, &record), TrainingScope::FirstParty);
    // With one key, whose ledger has lost the yes, nobody can say.
    assert_eq!(sealed(&replica(), &record), TrainingScope::None);
    // Who never said anything has no yes under an older key.
    assert_eq!(sealed(&two, &SealRecord { consent_version: 0, ..record }), TrainingScope::None);
    // Affiliates were answered later, under both keys; first party only under the older one.
    two.apply(subject(1), ConsentScope::Affiliates, ConsentState::Granted, Source::Admin, "", 5);
    let wide = SealRecord { training_scope: TrainingScope::Affiliates, ..record };
    assert_eq!(sealed(&two, &wide), TrainingScope::Affiliates);
    two.apply(subject(1), ConsentScope::Affiliates, ConsentState::Denied, Source::Admin, "", 6);
    assert_eq!(sealed(&two, &wide), TrainingScope::FirstParty);
    // What is said after the stamp is said under both.
    two.apply(subject(1), ConsentScope::FirstParty, ConsentState::Denied, Source::Admin, "", 7);
    assert_eq!(sealed(&two, &record), TrainingScope::None);
    // The policy has its say all the same.
    let other = replica_of_two();
    let gpc = SealRecord { gpc: true, training_scope: TrainingScope::Affiliates, ..record };
    assert_eq!(sealed(&other, &gpc), TrainingScope::FirstParty);
}

#[test]
fn a_no_that_the_ledger_did_not_take_holds_under_all_pseudonyms() {
    let (replica, made) = (replica_of_two(), ann());
    replica.hold(&made, ConsentScope::FirstParty, Source::UserSetting, "", 3);
    replica.hold_on(Instant::now());
    for subject in &made {
        assert_eq!(replica.known(&(*subject).into()).first_party.state, ConsentState::Denied);
    }
}
