use uuid::Uuid;

use super::*;
use crate::{
    consent::{ConsentState, Source},
    event::{Context, Payload, RedactedText, Stamp, Tenant},
};

const RECEIVED: Micros = Micros(1_795_500_000_123_456);

fn event(scope: TrainingScope) -> Redacted {
    Redacted {
        context: Context {
            tenant: Tenant::new("acme"),
            event_id: Uuid::from_u128(7),
            occurred_at: Micros(RECEIVED.0 - 5),
            received_at: RECEIVED,
            session_id: "s".to_owned(),
            interaction_id: "i".to_owned(),
            feature: "compose".to_owned(),
            model: "m".to_owned(),
            client_name: "web".to_owned(),
            client_version: "1".to_owned(),
            platform: "web".to_owned(),
            jurisdiction: Jurisdiction::parse("US-CA").unwrap(),
            global_privacy_control: true,
        },
        subject_id: SubjectId::from_bytes([3; 16]),
        pseudonym_key_id: "k1".into(),
        stamp: Stamp {
            training_scope: scope,
            reason: EligibilityReason::Granted,
            state: ConsentState::Granted,
            source: Source::UserSetting,
            consent_version: 9,
            policy_version: "2024-09".into(),
            policy_digest: "00".into(),
        },
        payload: Payload::TypedText {
            text: RedactedText::from_redactor("hello".to_owned()),
            language: "en".to_owned(),
        },
        redactions: Vec::new(),
        redaction_version: "1",
    }
}

fn frame() -> Vec<u8> {
    let mut encoder = EventEncoder::new("c1");
    encoder.push(vec![event(TrainingScope::None), event(TrainingScope::FirstParty)]);
    encoder.finish()
}

fn record(received_at: Option<Micros>) -> SealRecord {
    SealRecord {
        row: 1,
        subject_id: SubjectId::from_bytes([3; 16]),
        consent_version: 9,
        received_at,
        event_type: EventType::TypedText,
        gpc: true,
        training_scope: TrainingScope::FirstParty,
        reason: EligibilityReason::Granted,
        jurisdiction: Jurisdiction::parse("US-CA").unwrap(),
        feature: "compose".to_owned(),
    }
}

#[test]
fn a_frame_says_of_each_eligible_row_what_its_seal_needs() {
    let parsed = Frame::parse(&frame().into()).unwrap();
    assert_eq!(parsed.rows, 2);
    assert_eq!(parsed.seal, [record(Some(RECEIVED))]);
}

#[test]
fn a_frame_of_the_first_version_can_still_be_read() {
    let mut frame = frame();
    frame[0] = 1;
    // It differs in the eight bytes after row, subject and consent version, and in its length.
    let at = HEADER_BYTES + 4 + 16 + 4;
    frame.drain(at..at + 8);
    let len = u32::from_le_bytes(frame[17..21].try_into().unwrap()) - 8;
    frame[17..21].copy_from_slice(&len.to_le_bytes());
    let parsed = Frame::parse(&frame.into()).unwrap();
    assert_eq!((parsed.rows, parsed.seal), (2, vec![record(None)]));
}

#[test]
fn a_frame_of_a_version_to_come_or_cut_off_is_an_error() {
    let frame = frame();
    for version in [0, 3] {
        let mut other = frame.clone();
        other[0] = version;
        assert!(matches!(Frame::parse(&other.into()), Err(FrameError::Version(v)) if v == version));
    }
    // What ends in the block is told by the spool, whose frames have a length and a checksum.
    let seal_len = u32::from_le_bytes(frame[17..21].try_into().unwrap()) as usize;
    for end in 0..frame.len() {
        let parsed = Frame::parse(&frame[..end].to_vec().into());
        assert!(parsed.is_err() || end > HEADER_BYTES + seal_len, "{end}");
    }
}
