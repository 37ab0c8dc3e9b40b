//! Bodies of inserts, and of parts of them.

use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    clickhouse::columns::{BlockEncoder, tests::event},
    delivery::{
        frame::{put_block, put_seal_record, put_version},
        state::Progress,
    },
    event::SubjectId,
};

const SEALED: i64 = 1_795_500_007_000_000;

/// A batch of blocks of events of these numbers, a frame for each list of blocks.
fn batch(frames: &[Vec<Vec<u8>>]) -> Batch {
    let mut blocks = Vec::new();
    for frame in frames {
        let mut payload = Vec::new();
        put_version(&mut payload);
        for numbers in frame {
            let (mut encoder, mut seal) = (BlockEncoder::new("c1"), Vec::new());
            for (row, &number) in (0..).zip(numbers) {
                let event = event(number);
                encoder.push(&event);
                if event.stamp.training_scope != TrainingScope::None {
                    put_seal_record(&mut seal, row, &event);
                }
            }
            put_block(&mut payload, &seal, &encoder.finish());
        }
        blocks.extend(Frame::parse(&payload.into()).unwrap().blocks);
    }
    let rows = blocks.iter().map(|block| block.rows).sum();
    Batch { start: Position(0), end: Position(1), rows, blocks }
}

/// A plan that narrows every row whose author is one of the even ones.
fn plan(batch: &Batch) -> Plan {
    let narrowed = batch.seal(|record| {
        if record.subject_id.as_bytes()[0].is_multiple_of(2) {
            Decision::none(EligibilityReason::WithdrawnBeforeWrite)
        } else {
            Decision { training_scope: record.training_scope, ..Decision::none(record.reason) }
        }
    });
    let erased = Vec::new();
    Plan {
        start: 0,
        end: 1,
        rows: batch.rows,
        sealed_at: SEALED,
        narrowed,
        erased,
        progress: Progress::Whole,
    }
}

/// What the rows are to be in ClickHouse, as the events say it.
fn expected(numbers: &[u8]) -> Vec<(u128, u8, u8)> {
    numbers
        .iter()
        .map(|&number| {
            let event = event(number);
            let (scope, reason) = (event.stamp.training_scope, event.stamp.reason);
            let narrowed = scope != TrainingScope::None && number.is_multiple_of(2);
            let (scope, reason) = if narrowed {
                (TrainingScope::None, EligibilityReason::WithdrawnBeforeWrite)
            } else {
                (scope, reason)
            };
            (event.context.event_id.as_u128(), scope as u8, reason as u8)
        })
        .collect()
}

fn rows_of(native: &[u8]) -> Vec<(u128, u8, u8)> {
    let ids = columns::describe_rows(native).unwrap();
    let (mut rest, mut stamps) = (native, Vec::new());
    while !rest.is_empty() {
        let (view, after) = crate::clickhouse::native::BlockView::parse_first(rest).unwrap();
        let scopes = view.fixed::<1>("training_scope").unwrap().values;
        let reasons = view.fixed::<1>("eligibility_reason").unwrap().values;
        assert!(view.fixed::<8>("sealed_at").unwrap().values.iter().all(|it| *it == SEALED.to_le_bytes()));
        stamps.extend(scopes.iter().zip(reasons).map(|(scope, reason)| (scope[0], reason[0])));
        rest = after;
    }
    ids.iter().zip(stamps).map(|(row, (scope, reason))| (row.event_id.as_u128(), scope, reason)).collect()
}

fn range(rows: Range<u32>) -> RowRange {
    RowRange { start: rows.start, end: rows.end }
}

fn frames() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let block = proptest::collection::vec(any::<u8>(), 1..20);
    proptest::collection::vec(proptest::collection::vec(block, 1..4), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_body_has_the_rows_asked_for_as_they_were_sealed(
        frames in frames(),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let numbers = frames.concat().concat();
        let batch = batch(&frames);
        let plan = plan(&batch);
        let whole = batch.body(&plan, range(0..batch.rows)).unwrap();
        prop_assert_eq!(rows_of(&whole.native().unwrap()), expected(&numbers));
        let (a, b) = (cut.0.index(numbers.len() + 1), cut.1.index(numbers.len() + 1));
        let (start, end) = (a.min(b), a.max(b));
        let part = batch.body(&plan, range(start as u32..end as u32)).unwrap();
        prop_assert_eq!(rows_of(&part.native().unwrap()), expected(&numbers[start..end]));
        // Of those whom an erasure takes, not a row is left, in whatever part.
        let erased = Erased::default();
        for number in (0..=u8::MAX).filter(|number| number % 3 == 0 || number % 5 == 0) {
            // Who came back after it keeps what they did then.
            let below = u32::from(number) + u32::from(number % 3 == 0);
            erased.learn(SubjectId::from_bytes([number; 16]), below);
        }
        let without = Plan { erased: batch.erased(&erased).unwrap(), ..plan.clone() };
        for (start, end) in [(0, numbers.len()), (start, end)] {
            let kept: Vec<u8> = numbers[start..end].iter().copied().filter(|number| number % 3 > 0).collect();
            let body = batch.body(&without, range(start as u32..end as u32)).unwrap();
            prop_assert_eq!(rows_of(&body.native().unwrap()), expected(&kept));
        }
        // A retry after a restart sends the same bytes.
        let again = self::batch(&frames);
        for (rows, body) in [(0..batch.rows, whole), (start as u32..end as u32, part)] {
            let again = again.body(&plan, range(rows)).unwrap();
            prop_assert_eq!(again.pieces(), body.pieces());
        }
    }
}

/// Enough events for a block that is not joined with others.
fn large() -> Vec<u8> {
    (0..SMALL_ROWS).map(|n| (n % 200) as u8).collect()
}

#[test]
fn what_is_sent_is_what_lies_in_the_spool() {
    let batch = batch(&[vec![large(), large()], vec![large()]]);
    let body = batch.body(&plan(&batch), range(0..batch.rows)).unwrap();
    let pieces = body.pieces();
    assert_eq!(pieces.len(), 6);
    let same = |a: &Bytes, b: &Bytes| (a.as_ptr(), a.len()) == (b.as_ptr(), b.len());
    for (block, pieces) in batch.blocks.iter().zip(pieces.chunks(2)) {
        assert!(same(&pieces[1], &block.rest), "not a copy");
    }
    // Of a part, the blocks that are wanted as a whole still are.
    let part = batch.body(&plan(&batch), range(1..batch.rows)).unwrap();
    assert_eq!(part.pieces().len(), 5);
    assert!(same(&part.pieces()[2], &batch.blocks[1].rest));
    assert!(same(&part.pieces()[4], &batch.blocks[2].rest));
    assert!(batch.body(&plan(&batch), range(2..2)).unwrap().pieces().is_empty());
}

#[test]
fn small_blocks_that_follow_one_another_are_sent_as_one() {
    let frames = [vec![vec![1, 2, 3], vec![4]], vec![vec![5, 6], large(), vec![7]], vec![vec![8]]];
    let batch = batch(&frames);
    let body = batch.body(&plan(&batch), range(0..batch.rows)).unwrap();
    // Three in one, the large one with its head, two in one.
    assert_eq!(body.pieces().len(), 4);
    assert_eq!(rows_of(&body.native().unwrap()), expected(&frames.concat().concat()));
    // A run of them ends somewhere.
    let many = self::batch(&[vec![vec![1; 399]; 42]]);
    let body = many.body(&plan(&many), range(0..many.rows)).unwrap();
    assert_eq!(body.pieces().len(), 2);
    assert_eq!(rows_of(&body.native().unwrap()).len(), 42 * 399);
}
