//! Blocks of real events: their heads and rests, and rows taken out of them.

use std::ops::Range;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    clickhouse::native::{BlockError, BlockView, take_rows},
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{
        Context, EventType, FeedbackAction, Jurisdiction, Micros, RedactedText, Stamp, SubjectId, Tenant,
    },
};

fn text(text: &str) -> RedactedText<'static> {
    RedactedText::from_redactor(text.to_owned().into())
}

/// An event that is like no other with another number, of one of the kinds.
pub(crate) fn event(number: u8) -> Redacted<'static> {
    let n = u32::from(number);
    // What an event borrows lives as long as the program.
    let word = |one: &str| -> &'static str { format!("{one}-{}", n % 7).leak() };
    let payload = match n % 4 {
        0 => Payload::TypedText { text: text(&"typed ".repeat(number.into())), language: word("de").into() },
        1 => Payload::SuggestionShown {
            suggestion_id: word("s").into(),
            text: text("shown"),
            language: word("en").into(),
            latency_ms: n * 10_000_000,
            position: n,
        },
        2 => Payload::SuggestionFeedback {
            suggestion_id: word("s").into(),
            action: FeedbackAction::Reported,
            rating: -1,
            final_text: text("final"),
            comment: text(word("comment")),
        },
        _ => {
            Payload::LanguagePreference { language: word("pt").into(), previous_language: word("es").into() }
        }
    };
    Redacted {
        context: Context {
            tenant: Box::leak(Box::new(Tenant::new(word("tenant")))),
            event_id: Uuid::from_u128(u128::MAX / 3 - u128::from(n)),
            occurred_at: Micros(i64::from(n) * -1_000_001),
            received_at: Micros(1_795_500_000_123_456 + i64::from(n)),
            session_id: word("session").into(),
            interaction_id: "".into(),
            feature: word("feature"),
            model: word("model"),
            client_name: "web",
            client_version: n.to_string().leak(),
            platform: "",
            jurisdiction: Jurisdiction::parse(if n.is_multiple_of(2) { "DE" } else { "US-CA" }).unwrap(),
            global_privacy_control: n.is_multiple_of(3),
        },
        subject_id: SubjectId::from_bytes([number; 16]),
        pseudonym_key_id: "k1",
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

/// When the blocks here were sealed.
const SEALED: i64 = 1_795_500_007_000_000;

fn encoded(numbers: &[u8]) -> Block {
    let mut encoder = BlockEncoder::new("c1");
    numbers.iter().for_each(|&number| encoder.push(&event(number)));
    encoder.finish()
}

/// The block of some events, each sealed with another scope and reason than it came with.
fn sealed(numbers: &[u8]) -> Vec<u8> {
    let mut block = encoded(numbers);
    block.scopes.fill(TrainingScope::None as u8);
    block.reasons.fill(EligibilityReason::Withdrawn as u8);
    block.native(SEALED)
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
        let within = take_rows(&whole, &one(start as u32..end as u32)).unwrap();
        prop_assert_eq!(within, sealed(&numbers[start..end]));
        let without = take_rows(&whole, &[0..start as u32, end as u32..numbers.len() as u32]).unwrap();
        prop_assert_eq!(without, sealed(&[&numbers[..start], &numbers[end..]].concat()));
    }

    #[test]
    fn head_and_rest_are_one_block(
        numbers in proptest::collection::vec(any::<u8>(), 0..300),
        sealed_at in any::<i64>(),
    ) {
        let block = encoded(&numbers);
        let native = block.native(sealed_at);
        let view = BlockView::parse(&native).unwrap();
        prop_assert_eq!((view.rows as usize, view.columns.len()), (numbers.len(), usize::from(COLUMNS)));
        let names: Vec<&str> = view.columns.iter().map(|column| column.name).collect();
        prop_assert_eq!(format!("({})", names.join(", ")), INSERT_COLUMNS);
        let events: Vec<Redacted<'_>> = numbers.iter().map(|&number| event(number)).collect();
        let scopes: Vec<[u8; 1]> = events.iter().map(|it| [it.stamp.training_scope as u8]).collect();
        let reasons: Vec<[u8; 1]> = events.iter().map(|it| [it.stamp.reason as u8]).collect();
        prop_assert_eq!(view.fixed::<1>("training_scope").unwrap().values, &scopes[..]);
        prop_assert_eq!(view.fixed::<1>("eligibility_reason").unwrap().values, &reasons[..]);
        let sealed = view.fixed::<8>("sealed_at").unwrap().values;
        prop_assert!(sealed.iter().all(|it| *it == sealed_at.to_le_bytes()));
        let received: Vec<[u8; 8]> =
            events.iter().map(|it| it.context.received_at.0.to_le_bytes()).collect();
        prop_assert_eq!(view.fixed::<8>("received_at").unwrap().values, &received[..]);
    }
}

#[test]
fn an_encoder_starts_anew_after_each_block() {
    let mut encoder = BlockEncoder::new("c1");
    for numbers in [&[1, 2, 3][..], &[], &[7], &[3, 2, 1]] {
        numbers.iter().for_each(|&number| encoder.push(&event(number)));
        assert_eq!(encoder.finish().native(SEALED), encoded(numbers).native(SEALED));
    }
}

#[test]
fn what_is_sealed_changes_the_head_alone() {
    let block = encoded(&[1, 2, 3]);
    let (received, sealed) = (block.native(0), sealed(&[1, 2, 3]));
    assert_ne!(received, sealed);
    assert!(received.ends_with(&block.rest) && sealed.ends_with(&block.rest));
    assert_eq!(received.len(), sealed.len());
}

#[test]
fn rows_are_described_without_text_or_author() {
    let (first, second) = (sealed(&[4, 5]), sealed(&[6, 7, 8]));
    let both = [&first[..], &second].concat();
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
    let whole = sealed(&[1, 2, 3]);
    for end in 1..whole.len() {
        assert!(take_rows(&whole[..end], &one(0..1)).is_err(), "{end}");
        assert!(describe_rows(&whole[..end]).is_err(), "{end}");
    }
    // Of a block of another table there is nothing to be said.
    assert_eq!(describe_rows(&[0, 0]), Err(BlockError::NoColumn("event_id")));
}

#[test]
fn what_is_flipped_is_an_error_or_the_same_number_of_rows() {
    let whole = sealed(&[1, 2, 3]);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(block) = take_rows(&damaged, &one(0..2)) {
            assert_eq!(BlockView::parse(&block).unwrap().rows, 2, "{bit}");
        }
        // Never more than there are, whatever it is.
        assert!(describe_rows(&damaged).map_or(0, |rows| rows.len()) <= 3, "{bit}");
    }
}
