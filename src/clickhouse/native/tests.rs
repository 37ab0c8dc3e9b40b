//! Blocks read back, whole, in part, and damaged.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// A row of a block with a column of each kind.
type Row = (u64, String, String, Vec<(String, u16)>);

fn block(rows: &[Row]) -> Vec<u8> {
    let mut numbers = Plain::default();
    let mut texts = Plain::default();
    let mut words = LowCardinality::default();
    let mut counts = CountMap::default();
    for (number, text, word, count) in rows {
        numbers.push(number.to_le_bytes());
        texts.push_string(text);
        words.push(word);
        counts.push(count.iter().map(|(key, n)| (key.as_str(), *n)));
    }
    let columns: [(&str, &str, &mut dyn Column); 4] = [
        ("n", "UInt64", &mut numbers),
        ("t", "String", &mut texts),
        ("w", "LowCardinality(String)", &mut words),
        ("c", "Map(LowCardinality(String), UInt16)", &mut counts),
    ];
    let mut out = Vec::new();
    put_varint(&mut out, columns.len() as u64);
    put_varint(&mut out, rows.len() as u64);
    for (name, data_type, column) in columns {
        put_string(&mut out, name);
        put_string(&mut out, data_type);
        if !rows.is_empty() {
            column.drain_into(&mut out, rows.len());
        }
    }
    out
}

fn row() -> impl Strategy<Value = Row> {
    let counts = proptest::collection::vec(("[a-c]", any::<u16>()), 0..3);
    // Texts whose length takes one byte, and two.
    let text = prop_oneof!["[a-z]{0,3}", "[a-zäö]{120,140}"];
    (any::<u64>(), text, "[a-h]{0,1}", counts)
}

/// The rows that are marked, as ranges: some of them touch, some are empty.
fn ranges(marked: &[bool]) -> Vec<Range<u32>> {
    let mut ranges = Vec::new();
    for (at, &marked) in (0..).zip(marked) {
        match ranges.last_mut() {
            Some(Range { end, .. }) if marked && *end == at && at % 3 > 0 => *end = at + 1,
            _ if marked => ranges.push(at..at + 1),
            _ if at % 5 == 0 => ranges.push(at..at),
            _ => {}
        }
    }
    ranges
}

proptest! {
    #[test]
    fn joined_blocks_are_what_the_encoder_makes_of_their_rows(
        parts in proptest::collection::vec(proptest::collection::vec(row(), 0..9), 1..6),
    ) {
        let blocks: Vec<_> = parts.iter().map(|rows| block(rows)).collect();
        prop_assert_eq!(join(&blocks).unwrap(), block(&parts.concat()));
    }

    #[test]
    fn taken_rows_are_what_an_encoder_makes_of_them(
        rows in proptest::collection::vec((row(), any::<bool>()), 0..40),
    ) {
        let (rows, marked): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let expected: Vec<Row> =
            rows.iter().zip(&marked).filter(|(_, marked)| **marked).map(|(row, _)| row.clone()).collect();
        let whole = block(&rows);
        prop_assert_eq!(take_rows(&whole, &ranges(&marked)).unwrap(), block(&expected));
        let all = 0..rows.len() as u32;
        prop_assert_eq!(take_rows(&whole, std::slice::from_ref(&all)).unwrap(), whole);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_block(
        rows in proptest::collection::vec(row(), 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut damaged = block(&rows);
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        check_damaged(&damaged);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_block(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_damaged(&bytes);
    }
}

/// Whatever it is, what is taken from it can be read.
fn check_damaged(bytes: &[u8]) {
    let Ok(view) = BlockView::parse(bytes) else {
        assert!(take_rows(bytes, &[]).is_err());
        return;
    };
    let rows = view.rows;
    for taken in [0..rows, 0..rows / 2, rows / 2..rows, 0..0] {
        let native = take_rows(bytes, std::slice::from_ref(&taken)).unwrap();
        let again = BlockView::parse(&native).unwrap();
        assert_eq!((again.rows, again.columns.len()), (taken.end - taken.start, view.columns.len()));
    }
}

fn some_rows() -> Vec<Row> {
    let row = |n: u64, counts: &[(&str, u16)]| {
        let counts = counts.iter().map(|&(key, n)| (key.to_owned(), n)).collect();
        (n, format!("text {n}"), format!("word {}", n % 2), counts)
    };
    vec![row(1, &[("EMAIL", 2), ("PHONE", 1)]), row(2, &[]), row(3, &[("EMAIL", 9)])]
}

#[test]
fn every_bit_and_every_end_was_tried() {
    let whole = block(&some_rows());
    for end in 0..whole.len() {
        assert!(take_rows(&whole[..end], &[]).is_err(), "{end}");
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check_damaged(&damaged);
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(take_rows(&longer, &[]), Err(BlockError::Malformed(_))));
}

#[test]
fn indexes_get_narrower_with_the_rows() {
    let rows: Vec<Row> =
        (0..70_000).map(|n| (n, String::new(), n.to_string(), vec![(n.to_string(), 1)])).collect();
    let whole = block(&rows);
    for part in [0..1, 5..300, 1_000..69_000, 0..70_000] {
        let expected = block(&rows[part.clone()]);
        let part = part.start as u32..part.end as u32;
        assert!(take_rows(&whole, std::slice::from_ref(&part)).unwrap() == expected, "{part:?}");
    }
}

#[test]
fn rows_must_be_in_order_and_in_the_block() {
    let whole = block(&some_rows());
    let backwards = Range { start: 2, end: 1 };
    let wrong: [&[Range<u32>]; 5] =
        [&[0..1, 1..4], &[1..2, 0..1], &[0..2, 1..3], &[0..1, backwards], &[2..3, 2..3]];
    for wrong in wrong {
        assert_eq!(take_rows(&whole, wrong), Err(BlockError::Rows), "{wrong:?}");
    }
    let right: [&[Range<u32>]; 3] = [&[], &[0..1, 1..1, 1..3], &[0..3, 3..3]];
    for right in right {
        take_rows(&whole, right).unwrap();
    }
}

#[test]
fn claims_of_a_few_bytes_take_no_memory() {
    let column = |rows: u64, data_type: &str, values: &[u8]| {
        let mut out = Vec::new();
        put_varint(&mut out, 1);
        put_varint(&mut out, rows);
        put_string(&mut out, "c");
        put_string(&mut out, data_type);
        [&out, values].concat()
    };
    let max = u64::MAX.to_le_bytes();
    let huge = u64::from(u32::MAX);
    let flags = (form::HAS_OWN_KEYS | 3).to_le_bytes();
    let one = 1_u64.to_le_bytes();
    for wrong in [
        column(huge, "UUID", &[0; 16]),
        column(huge, "String", &[0; 16]),
        column(u64::MAX, "UInt8", &[0; 16]),
        // A string longer than memory; keys and entries without end.
        column(1, "String", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        column(1, "String", &[0xff; 16]),
        column(1, "LowCardinality(String)", &[one, flags, max, one].concat()),
        column(huge, "LowCardinality(String)", &[one, flags, one].concat()),
        column(1, "Map(LowCardinality(String), UInt16)", &[one, max, flags, max, max].concat()),
        // Far more columns than there are.
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1].to_vec(),
    ] {
        let error = BlockView::parse(&wrong).unwrap_err();
        assert!(matches!(error, BlockError::Truncated | BlockError::Malformed(_)), "{error}: {wrong:?}");
    }
    let other = column(1, "LowCardinality(Nullable(String))", &[0; 64]);
    assert_eq!(take_rows(&other, &[]), Err(BlockError::UnknownType { number: 1 }));
}

#[test]
fn blocks_of_other_columns_are_not_joined() {
    let row = (7, "text".to_owned(), "word".to_owned(), vec![("a".to_owned(), 1)]);
    let one = block(std::slice::from_ref(&row));
    let name = one.iter().position(|&b| b == b'n').unwrap();
    let mut renamed = one.clone();
    renamed[name] = b'm';
    let mut fewer = one.clone();
    fewer[0] = 3;
    for other in [renamed, fewer, one[..one.len() - 1].to_vec()] {
        assert!(join(&[one.clone(), other]).is_err());
    }
    assert_eq!(join::<Vec<u8>>(&[]), Err(BlockError::Truncated));
}
