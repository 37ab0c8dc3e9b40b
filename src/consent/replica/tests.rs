use super::*;
use crate::{
    consent::TrainingScope,
    event::{EventType, Jurisdiction},
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

fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n; 16])
}

fn row(n: u8, state: ConsentState, version: u32, key: &str) -> Row<'_> {
    Row {
        ledger_now_us: 0,
        subject_id: subject(n),
        scope: ConsentScope::FirstParty,
        state,
        source: Source::UserSetting,
        version,
        terms: "2026",
        pseudonym_key_id: key,
    }
}

fn seal_record(n: u8) -> SealRecord {
    SealRecord {
        row: 0,
        subject_id: subject(n),
        event_type: EventType::TypedText,
        gpc: false,
        training_scope: TrainingScope::FirstParty,
        reason: crate::consent::EligibilityReason::Granted,
        jurisdiction: Jurisdiction::UNKNOWN,
        feature: String::new(),
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
            replica.apply_row(&row(1, state, version, "k1"));
        }
        let known = replica.known(&subject(1));
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
            replica.apply_row(&row(1, state, 5, "k1"));
        }
        assert_eq!(replica.known(&subject(1)).first_party.state, Denied);
    }
}

#[test]
fn nobody_is_known_before_the_first_refresh_or_after_the_last_is_too_old() {
    let replica = replica();
    replica.apply_row(&row(1, ConsentState::Granted, 1, "k1"));
    assert_eq!(replica.consent(&subject(1)), Consent::Unknown);
    let Some(long_ago) = Instant::now().checked_sub(options().max_staleness * 2) else { return };
    replica.0.watermark.send_replace(Some(long_ago));
    assert_eq!(replica.consent(&subject(1)), Consent::Unknown);
    replica.0.watermark.send_replace(Some(Instant::now()));
    assert!(matches!(replica.consent(&subject(1)), Consent::Known(_)));
}

#[test]
fn consent_under_another_key_makes_all_unknown() {
    let replica = replica();
    replica.0.watermark.send_replace(Some(Instant::now()));
    replica.apply_row(&row(1, ConsentState::Granted, 1, "k1"));
    assert!(replica.is_fresh());
    let policy = Policy::builtin();
    assert_eq!(replica.decide_for_seal(&policy, &seal_record(1)).training_scope, TrainingScope::FirstParty);
    replica.apply_row(&row(2, ConsentState::Denied, 1, "k2"));
    assert!(!replica.is_fresh());
    assert_eq!(replica.consent(&subject(1)), Consent::Unknown);
    assert_eq!(replica.decide_for_seal(&policy, &seal_record(1)).training_scope, TrainingScope::None);
}

#[test]
fn terms_beyond_number_are_not_taken_for_known_ones() {
    let mut terms = Terms::new();
    for n in 0..MAX_TERMS + 10 {
        terms.index_of(&n.to_string());
    }
    assert!(terms.texts.len() <= MAX_TERMS + 1);
    let index = terms.index_of("another");
    assert_eq!(&*terms.text(index), "(one of many)");
    let first = terms.index_of("0");
    assert_eq!(&*terms.text(first), "0");
}

#[test]
fn an_entry_stays_small() {
    assert_eq!(size_of::<(SubjectId, Entry)>(), 32);
}
