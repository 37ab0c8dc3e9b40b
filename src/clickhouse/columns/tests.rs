//! Rows taken out of blocks of real events.

use std::ops::Range;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    clickhouse::native::BlockError,
    consent::{ConsentState, Source},
    event::{
        Context, EventType, FeedbackAction, Jurisdiction, Micros, RedactedText, Stamp, SubjectId, Tenant,
    },
};

fn text(text: &str) -> RedactedText {
    RedactedText::from_redactor(text.to_owned())
}

/// An event that is like no other with another number, of one of the kinds.
fn event(number: u8) -> Redacted {
    let n = u32::from(number);
    let word = |one: &str| format!("{one}-{}", n % 7);
    let payload = match n % 4 {
        0 => Payload::TypedText { text: text(&"typed ".repeat(number.into())), language: word("de") },
        1 => Payload::SuggestionShown {
            suggestion_id: word("s"),
            text: text("shown"),
            language: word("en"),
            latency_ms: n * 10_000_000,
            position: n,
        },
        2 => Payload::SuggestionFeedback {
            suggestion_id: word("s"),
            action: FeedbackAction::Reported,
            rating: -1,
            final_text: text("final"),
            comment: text(&word("comment")),
        },
        _ => Payload::LanguagePreference { language: word("pt"), previous_language: word("es") },
    };
    Redacted {
        context: Context {
            tenant: Tenant::new(&word("tenant")),
            event_id: Uuid::from_u128(u128::MAX / 3 - u128::from(n)),
            occurred_at: Micros(i64::from(n) * -1_000_001),
            received_at: Micros(1_795_500_000_123_456 + i64::from(n)),
            session_id: word("session"),
            interaction_id: String::new(),
            feature: word("feature"),
            model: word("model"),
            client_name: "web".to_owned(),
            client_version: n.to_string(),
            platform: String::new(),
            jurisdiction: Jurisdiction::parse(if n.is_multiple_of(2) { "DE" } else { "US-CA" }).unwrap(),
            global_privacy_control: n.is_multiple_of(3),
        },
        subject_id: SubjectId::from_bytes([number; 16]),
        pseudonym_key_id: "k1".into(),
        stamp: Stamp {
            training_scope: TrainingScope::from_i8((n % 3) as i8).unwrap(),
            reason: EligibilityReason::from_i8((n % 10) as i8).unwrap(),
            state: ConsentState::Granted,
            source: Source::UserSetting,
            consent_version: n,
            policy_version: "2024-09".into(),
            policy_digest: word("digest").into(),
        },
        payload,
        redactions: [("EMAIL", 3), ("PHONE", 1)][..(n % 3) as usize].to_vec(),
        redaction_version: "1",
    }
}

/// The block of some events, each sealed with another scope, reason and time than it came with.
fn sealed(numbers: &[u8]) -> Block {
    let mut encoder = BlockEncoder::new("c1");
    numbers.iter().for_each(|&number| encoder.push(&event(number)));
    let mut block = encoder.finish();
    for (row, &number) in (0..).zip(numbers) {
        patch_scope(&mut block.native, &block.offsets, row, TrainingScope::None);
        patch_reason(&mut block.native, &block.offsets, row, EligibilityReason::Withdrawn);
        let at = block.offsets.sealed_at as usize + row as usize * 8;
        block.native[at..at + 8].copy_from_slice(&(-i64::from(number)).to_le_bytes());
    }
    block
}

fn one(range: Range<u32>) -> [Range<u32>; 1] {
    [range]
}

proptest! {
    #[test]
    fn taken_events_are_what_the_encoder_makes_of_them(
        numbers in proptest::collection::vec(any::<u8>(), 1..30),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let (a, b) = (cut.0.index(numbers.len() + 1), cut.1.index(numbers.len() + 1));
        let (start, end) = (a.min(b), a.max(b));
        let whole = sealed(&numbers);
        let within = take_rows(&whole.native, &one(start as u32..end as u32)).unwrap();
        let expected = sealed(&numbers[start..end]);
        prop_assert_eq!(&within.native, &expected.native);
        prop_assert_eq!((within.rows, within.offsets), (expected.rows, expected.offsets));
        let without = take_rows(&whole.native, &[0..start as u32, end as u32..whole.rows]).unwrap();
        prop_assert_eq!(without.native, sealed(&[&numbers[..start], &numbers[end..]].concat()).native);
    }
}

#[test]
fn offsets_are_found_as_the_encoder_gave_them() {
    let block = sealed(&[1, 2, 3]);
    assert_eq!(seal_offsets(&block.native), Ok(block.offsets));
    // Of a block of another table they are not there to be found.
    assert_eq!(seal_offsets(&[0, 0]), Err(BlockError::NoColumn("training_scope")));
}

#[test]
fn a_taken_block_can_be_sealed() {
    let whole = sealed(&[1, 2, 3]);
    let mut taken = take_rows(&whole.native, &one(1..2)).unwrap();
    patch_sealed_at(&mut taken.native, &taken.offsets, taken.rows, 77);
    patch_scope(&mut taken.native, &taken.offsets, 0, TrainingScope::Affiliates);
    let mut expected = sealed(&[2]);
    patch_sealed_at(&mut expected.native, &expected.offsets, 1, 77);
    patch_scope(&mut expected.native, &expected.offsets, 0, TrainingScope::Affiliates);
    assert_eq!(taken.native, expected.native);
}

#[test]
fn rows_are_described_without_text_or_author() {
    let (first, second) = (sealed(&[4, 5]), sealed(&[6, 7, 8]));
    let both = [&first.native[..], &second.native].concat();
    let described = describe_rows(&both).unwrap();
    let expected: Vec<_> = (4..=8)
        .map(|number| {
            let Redacted { context, payload, .. } = event(number);
            RowSummary {
                event_id: context.event_id,
                event_type: Some(payload.event_type()),
                tenant: context.tenant.as_str().into(),
                received_at: context.received_at,
                training_scope: Some(TrainingScope::None),
            }
        })
        .collect();
    assert_eq!(described, expected);
    let received = event(5).context.received_at;
    let expected = format!("{}  suggestion_shown  tenant-5  {received}", event(5).context.event_id);
    assert_eq!(described[1].to_string(), expected);
    assert!(described.iter().any(|row| row.event_type == Some(EventType::LanguagePreference)));
}

#[test]
fn what_is_cut_off_is_an_error() {
    let whole = sealed(&[1, 2, 3]).native;
    for end in 1..whole.len() {
        assert!(take_rows(&whole[..end], &one(0..1)).is_err(), "{end}");
        assert!(describe_rows(&whole[..end]).is_err(), "{end}");
        assert!(seal_offsets(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_is_flipped_is_an_error_or_the_same_number_of_rows() {
    let whole = sealed(&[1, 2, 3]).native;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(block) = take_rows(&damaged, &one(0..2)) {
            assert_eq!((block.rows, seal_offsets(&block.native)), (2, Ok(block.offsets)), "{bit}");
        }
        // Never more than there are, whatever it is.
        assert!(describe_rows(&damaged).map_or(0, |rows| rows.len()) <= 3, "{bit}");
    }
}
