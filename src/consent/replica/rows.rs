//! The ledger's rows, as the replica reads them: `RowBinary`, in pieces that end anywhere.

use crate::{
    consent::{ConsentScope, ConsentState, Source},
    event::SubjectId,
};

/// What is read. The time is the same in all rows: that of the query's start, before it looked at
/// any of them.
pub(super) const QUERY: &str = "SELECT toUnixTimestamp64Micro(now64(6, 'UTC')), subject_id,
        CAST(scope, 'Int8'), CAST(state, 'Int8'), CAST(source, 'Int8'), consent_version,
        toString(policy_version), toString(pseudonym_key_id)
    FROM consent_changes
    WHERE recorded_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')";

/// The bytes before the two texts.
const FIXED_BYTES: usize = 8 + 16 + 3 + 4;

/// One change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) ledger_now_us: i64,
    pub(super) subject_id: SubjectId,
    pub(super) scope: ConsentScope,
    pub(super) state: ConsentState,
    pub(super) source: Source,
    pub(super) version: u32,
    pub(super) terms: &'a str,
    pub(super) pseudonym_key_id: &'a str,
}

/// Puts rows together from pieces.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The beginning of a row whose end has not come yet.
    rest: Vec<u8>,
}

impl Rows {
    /// Takes a piece in, and hands out the rows that are complete.
    pub(super) fn read(&mut self, chunk: &[u8], mut take: impl FnMut(Row<'_>)) {
        self.rest.extend_from_slice(chunk);
        let mut at = 0;
        while let Some((row, bytes)) = Row::read(&self.rest[at..]) {
            at += bytes;
            if let Some(row) = row {
                take(row);
            }
        }
        self.rest.drain(..at);
    }
}

impl<'a> Row<'a> {
    /// The first row of some bytes and how long it is; nothing when its end is not there. A row
    /// with a word that this program does not know, from a newer one, is taken as a denial.
    fn read(bytes: &'a [u8]) -> Option<(Option<Self>, usize)> {
        let (fixed, texts) = bytes.split_at_checked(FIXED_BYTES)?;
        let (terms, rest) = text(texts)?;
        let (pseudonym_key_id, rest) = text(rest)?;
        let used = bytes.len() - rest.len();
        let mut subject = [0; 16];
        subject.copy_from_slice(&fixed[8..24]);
        let [scope, state, source] = [fixed[24], fixed[25], fixed[26]];
        let scope = ConsentScope::ALL.into_iter().find(|it| *it as u8 == scope);
        let state = ConsentState::ALL.into_iter().find(|it| *it as u8 == state);
        let source = Source::ALL.into_iter().find(|it| *it as u8 == source);
        let row = scope.map(|scope| Self {
            ledger_now_us: i64::from_le_bytes(array(&fixed[..8])),
            subject_id: SubjectId::from_bytes(crate::clickhouse::native::uuid_bytes(subject)),
            scope,
            state: state.unwrap_or(ConsentState::Denied),
            source: source.unwrap_or_default(),
            version: u32::from_le_bytes(array(&fixed[27..])),
            terms,
            pseudonym_key_id,
        });
        Some((row, used))
    }
}

/// Of a slice that is as long as that.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// A text with its length in front (LEB128), and what comes after.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let mut len = 0_usize;
    let mut shift = 0;
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        len |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    let (text, rest) = rest.split_at_checked(len)?;
    // The ledger holds what this program wrote; other bytes stand for terms that nobody knows.
    Some((std::str::from_utf8(text).unwrap_or("\u{fffd}"), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(version: u32, state: u8, terms: &str) -> Vec<u8> {
        let mut row = 7_i64.to_le_bytes().to_vec();
        row.extend([8, 7, 6, 5, 4, 3, 2, 1, 16, 15, 14, 13, 12, 11, 10, 9]);
        row.extend([1, state, 1]);
        row.extend(version.to_le_bytes());
        crate::clickhouse::native::put_string(&mut row, terms);
        crate::clickhouse::native::put_string(&mut row, "key");
        row
    }

    #[test]
    fn rows_are_found_wherever_pieces_end() {
        let long = "t".repeat(300);
        let bytes = [encoded(1, 1, "2026"), encoded(2, 2, &long), encoded(3, 0, "")].concat();
        for piece in 1..bytes.len() {
            let mut rows = Rows::default();
            let mut found = Vec::new();
            for chunk in bytes.chunks(piece) {
                rows.read(chunk, |row| found.push((row.version, row.state, row.terms.len())));
            }
            assert_eq!(
                found,
                [(1, ConsentState::Granted, 4), (2, ConsentState::Denied, 300), (3, ConsentState::Unset, 0)],
                "pieces of {piece}"
            );
            assert!(rows.rest.is_empty());
        }
    }

    #[test]
    fn a_row_is_read_field_by_field() {
        let bytes = encoded(9, 1, "2026");
        let (row, used) = Row::read(&bytes).unwrap();
        assert_eq!(used, bytes.len());
        let row = row.unwrap();
        assert_eq!(row.subject_id.as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!((row.ledger_now_us, row.scope), (7, ConsentScope::FirstParty));
        assert_eq!((row.source, row.pseudonym_key_id), (Source::UserSetting, "key"));
    }

    #[test]
    fn a_state_of_a_newer_program_is_a_no() {
        let bytes = encoded(1, 77, "");
        assert_eq!(Row::read(&bytes).unwrap().0.unwrap().state, ConsentState::Denied);
    }
}
