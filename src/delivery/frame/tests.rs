use std::sync::LazyLock;

use uuid::Uuid;

use super::*;
use crate::{
    clickhouse::{columns::tests, native::BlockView},
    consent::{ConsentState, Source},
    delivery::EventEncoders,
    event::{Context, Payload, RedactedText, Stamp, Tenant},
};

/// Of a block, what comes before its seal records.
const HEADER_BYTES: usize = 2 + 4 + 4 + 4;

const RECEIVED: Micros = Micros(1_795_500_000_123_456);

static TENANT: LazyLock<Tenant> = LazyLock::new(|| Tenant::new("acme"));

fn event(scope: TrainingScope) -> Redacted<'static> {
    Redacted {
        context: Context {
            tenant: &TENANT,
            event_id: Uuid::from_u128(7),
            occurred_at: Micros(RECEIVED.0 - 5),
            received_at: RECEIVED,
            session_id: "s".into(),
            interaction_id: "i".into(),
            feature: "compose",
            model: "m",
            client_name: "web",
            client_version: "1",
            platform: "web",
            jurisdiction: Jurisdiction::parse("US-CA").unwrap(),
            global_privacy_control: true,
        },
        subject_id: SubjectId::from_bytes([3; 16]),
        pseudonym_key_id: "k1",
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
            text: RedactedText::from_redactor("hello".into()),
            language: "en".into(),
        },
        redactions: Vec::new(),
        redaction_version: "1",
    }
}

/// The frame of one commit of some requests.
fn frame_of<'a>(requests: impl IntoIterator<Item = Vec<Redacted<'a>>>) -> Vec<u8> {
    let encoders = EventEncoders::new("c1");
    let mut encoder = EventEncoder::new("c1");
    for events in requests {
        let mut batch = encoders.encoder();
        events.iter().for_each(|event| batch.push(event));
        encoder.push(batch.finish());
    }
    encoder.finish()
}

fn frame() -> Vec<u8> {
    frame_of([vec![event(TrainingScope::None), event(TrainingScope::FirstParty)]])
}

fn record(received_at: Option<Micros>) -> SealRecord<'static> {
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
        feature: "compose",
    }
}

#[test]
fn a_frame_says_of_each_eligible_row_what_its_seal_needs() {
    let parsed = Frame::parse(&frame().into()).unwrap();
    assert_eq!((parsed.rows(), parsed.blocks.len()), (2, 1));
    assert_eq!(parsed.blocks[0].seal.iter().collect::<Vec<_>>(), [record(Some(RECEIVED))]);
}

/// Frames that the program of 2026-11-24 wrote, of the events 1 to 12.
const OLD: [(u8, &[u8]); 2] =
    [(1, include_bytes!("fixtures/version-1.bin")), (2, include_bytes!("fixtures/version-2.bin"))];

#[test]
fn frames_of_versions_before_are_read_to_the_same_rows() {
    let new = frame_of([(1..=12).map(tests::event).collect()]);
    let new = Frame::parse(&new.into()).unwrap().blocks.remove(0);
    let native = |block: &Block| block.native(&block.scopes, &block.reasons, 0).unwrap();
    for (version, bytes) in OLD {
        assert_eq!(bytes[0], version);
        let parsed = Frame::parse(&Bytes::from_static(bytes)).unwrap();
        let [old] = &parsed.blocks[..] else { panic!("{version}: {} blocks", parsed.blocks.len()) };
        assert_eq!((old.rows, old.columns), (12, new.columns));
        assert_eq!((&old.scopes, &old.reasons), (&new.scopes, &new.reasons));
        // Sealing time 0 is what they had where this program has none.
        assert!(bytes.ends_with(&native(old)), "{version}");
        assert_eq!(native(old), native(&new));
        let records: Vec<SealRecord<'_>> = new
            .seal
            .iter()
            .map(|it| SealRecord { received_at: it.received_at.filter(|_| version > 1), ..it })
            .collect();
        assert_eq!(old.seal.iter().collect::<Vec<_>>(), records);
        assert_eq!(records.len(), 8);
    }
}

#[test]
fn what_is_wrong_with_a_frame_of_before_is_an_error() {
    for (_, bytes) in OLD {
        let seal_len = u32::from_le_bytes(bytes[17..21].try_into().unwrap()) as usize;
        let parsed = |bytes: Vec<u8>| Frame::parse(&bytes.into());
        for end in 0..bytes.len() {
            // What ends in the block is told by the spool, whose frames have a length and a checksum.
            assert!(parsed(bytes[..end].to_vec()).is_err() || end > 21 + seal_len, "{end}");
        }
        // Rows, the three places, the length of the records, and the number of columns.
        for at in (1..21).step_by(4) {
            let mut other = bytes.to_vec();
            other[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(matches!(parsed(other), Err(FrameError::Malformed(_))), "{at}");
        }
        for columns in [0, 2, 128, 255] {
            let mut other = bytes.to_vec();
            other[21 + seal_len] = columns;
            assert!(matches!(parsed(other), Err(FrameError::Malformed(_))), "{columns}");
        }
        // The columns change places, or overlap.
        let mut other = bytes.to_vec();
        other.copy_within(5..9, 9);
        assert!(matches!(parsed(other), Err(FrameError::Malformed(_))));
    }
}

/// A payload of several blocks, and what is in them.
fn several() -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut payload = Vec::new();
    put_version(&mut payload);
    let mut natives = Vec::new();
    for numbers in [1..=3, 4..=4, 5..=9] {
        let (mut encoder, mut seal) = (BlockEncoder::new("c1"), Vec::new());
        for (row, number) in (0..).zip(numbers) {
            let event = tests::event(number);
            encoder.push(&event);
            put_seal_record(&mut seal, row, &event);
        }
        let block = encoder.finish();
        // Made apart, as they may be.
        let mut apart = Vec::new();
        put_block(&mut apart, &seal, &block);
        payload.append(&mut apart);
        natives.push(block.native(7));
    }
    (payload, natives)
}

#[test]
fn a_frame_may_have_several_blocks() {
    let (payload, natives) = several();
    let parsed = Frame::parse(&payload.into()).unwrap();
    assert_eq!(parsed.rows(), 9);
    assert_eq!(parsed.blocks.iter().map(|it| it.rows).collect::<Vec<_>>(), [3, 1, 5]);
    for (block, native) in parsed.blocks.iter().zip(natives) {
        assert_eq!(block.native(&block.scopes, &block.reasons, 7).unwrap(), native);
        assert_eq!(BlockView::parse(&native).unwrap().rows, block.rows);
        let rows: Vec<u32> = block.seal.iter().map(|record| record.row).collect();
        assert_eq!(rows, (0..block.rows).collect::<Vec<_>>());
    }
    // A block without rows leaves nothing, and a frame without blocks is none.
    let mut empty = Vec::new();
    put_version(&mut empty);
    put_block(&mut empty, &[], &BlockEncoder::new("c1").finish());
    assert_eq!(empty, [VERSION]);
    assert!(matches!(Frame::parse(&empty.into()), Err(FrameError::Malformed(_))));
}

#[test]
fn a_frame_of_a_version_to_come_or_cut_off_is_an_error() {
    let (payload, _) = several();
    for version in [0, 4, 255] {
        let mut other = payload.clone();
        other[0] = version;
        assert!(matches!(Frame::parse(&other.into()), Err(FrameError::Version(v)) if v == version));
    }
    let blocks = Frame::parse(&payload.clone().into()).unwrap().blocks;
    let mut ends = vec![1];
    for block in &blocks {
        ends.push(ends[ends.len() - 1] + HEADER_BYTES + block.len_bytes());
    }
    assert_eq!(ends.pop(), Some(payload.len()));
    for end in 0..payload.len() {
        let parsed = Frame::parse(&payload[..end].to_vec().into());
        // Where a block ends, the spool alone can tell that there were more.
        assert_eq!(parsed.is_ok(), ends[1..].contains(&end), "{end}");
    }
}

#[test]
fn no_length_in_a_frame_is_trusted() {
    let (payload, _) = several();
    // Rows, and the lengths of the records and of the rest, of the first block.
    for at in [3, 7, 11] {
        let len = u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
        for wrong in [0, len - 1, len + 1, u32::MAX / 2, u32::MAX] {
            let mut other = payload.clone();
            other[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
            assert!(Frame::parse(&other.into()).is_err(), "{at}: {wrong}");
        }
    }
    // A record of a row that is not there.
    let mut other = payload;
    other[1 + HEADER_BYTES] = 3;
    assert!(matches!(Frame::parse(&other.into()), Err(FrameError::Malformed(_))));
}

#[test]
fn a_rest_that_is_damaged_is_an_error_when_it_is_read() {
    let (payload, _) = several();
    let mut damaged = payload.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let parsed = Frame::parse(&damaged.into()).unwrap();
    let block = &parsed.blocks[2];
    assert!(matches!(block.native(&block.scopes, &block.reasons, 7), Err(CompressedError::Checksum)));
}

/// The rows of a frame's blocks, in their order, and the rows that seal records are of.
fn rows_of(frame: Vec<u8>) -> (Vec<usize>, Vec<u8>, Vec<u32>) {
    let frame = Frame::parse(&frame.into()).unwrap();
    let (mut natives, mut sealed, mut first_row) = (Vec::new(), Vec::new(), 0);
    for block in &frame.blocks {
        natives.extend(block.native(&block.scopes, &block.reasons, 0).unwrap());
        sealed.extend(block.seal.iter().map(|record| first_row + record.row));
        first_row += block.rows;
    }
    (frame.blocks.iter().map(|block| block.rows as usize).collect(), natives, sealed)
}

#[test]
fn small_requests_share_a_block_that_is_the_same_as_if_they_were_one() {
    let events: Vec<_> = (1..=60).map(tests::event).collect();
    let requests = events.chunks(7).map(<[_]>::to_vec).chain([Vec::new()]);
    assert_eq!(rows_of(frame_of(requests)), rows_of(frame_of([events])));
}

#[test]
fn a_large_request_has_a_block_of_its_own() {
    let large: Vec<_> = (0..4_100).map(|n| tests::event((n % 200) as u8)).collect();
    let small: Vec<_> = (1..=5).map(tests::event).collect();
    let (rows, natives, sealed) = rows_of(frame_of([small.clone(), large.clone(), small.clone()]));
    assert_eq!(rows, [4_100, 10]);
    let (_, of_large, sealed_of_large) = rows_of(frame_of([large]));
    assert_eq!(natives[..of_large.len()], of_large);
    let (_, of_small, sealed_of_small) = rows_of(frame_of([[small.clone(), small].concat()]));
    assert_eq!(natives[of_large.len()..], of_small);
    let expected = sealed_of_large.into_iter().chain(sealed_of_small.into_iter().map(|row| row + 4_100));
    assert_eq!(sealed, expected.collect::<Vec<_>>());
}

#[test]
fn a_request_of_few_long_texts_has_a_block_of_its_own() {
    let long = Redacted {
        payload: Payload::TypedText {
            text: RedactedText::from_redactor("x".repeat(1_100 << 10).into()),
            language: "en".into(),
        },
        ..event(TrainingScope::FirstParty)
    };
    let (rows, ..) = rows_of(frame_of([vec![event(TrainingScope::None)], vec![long]]));
    assert_eq!(rows, [1, 1]);
}
