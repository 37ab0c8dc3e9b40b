//! The ledger's rows, as the replica reads them: `RowBinary`, in pieces that end anywhere.

use super::keys::KeyState;
use crate::{
    consent::{ConsentScope, ConsentState, Source},
    event::SubjectId,
};

/// What is read: the rows, and in no particular place among them one that says what the ledger's
/// clock showed when the query began, before it looked at any row, and one for each key that was ever in use.
/// Those come though there is no row of the ledger. They are told by what the ledger gives to none: the scope 0 and
/// the version 0; and from each other by the state ([`CLOCK`], [`KEY_IN_USE`], [`KEY_RETIRED`]).
///
/// The key of a row is of interest when it is not in `$RING`, and neither is another one under which the same
/// change lies. Nobody asks for those whose key is retired and not in the ring.
const QUERY: &str =
    "SELECT subject_id, CAST(scope, 'Int8') AS scope, CAST(state, 'Int8') AS state,
        CAST(source, 'Int8') AS source, consent_version, toString(policy_version) AS terms,
        if(has($RING, toString(pseudonym_key_id)) OR hasAny(also_under, $RING),
           '', toString(pseudonym_key_id)) AS missing_key_id
    FROM consent_changes
    WHERE recorded_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
      AND (has($RING, toString(pseudonym_key_id))
           OR pseudonym_key_id NOT IN (SELECT key_id FROM pseudonym_keys_retired))
    UNION ALL
    SELECT toUUID('00000000-0000-0000-0000-000000000000'), toInt8(0), toInt8(0), toInt8(0), toUInt32(0),
        toString(toUnixTimestamp64Micro(now64(6, 'UTC'))), ''
    UNION ALL
    SELECT DISTINCT toUUID('00000000-0000-0000-0000-000000000000'), toInt8(0), toInt8(1), toInt8(0), toUInt32(0),
        '', key_id
    FROM pseudonym_keys
    UNION ALL
    SELECT DISTINCT toUUID('00000000-0000-0000-0000-000000000000'), toInt8(0), toInt8(2), toInt8(0), toUInt32(0),
        '', key_id
    FROM pseudonym_keys_retired";

/// What is read by a collector with these keys.
pub(super) fn query(ring: &str) -> String {
    QUERY.replace("$RING", ring)
}

/// The row has the time of the ledger's clock.
const CLOCK: u8 = 0;
/// The row has a key that a collector stamps with.
const KEY_IN_USE: u8 = 1;
/// The row has a key that is retired.
const KEY_RETIRED: u8 = 2;

/// Where the state is.
const STATE_AT: usize = 17;
/// The bytes before the two texts.
const FIXED_BYTES: usize = 16 + 3 + 4;
/// The longest text. The ledger has none that is nearly as long.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// An answer that is not made of the ledger's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// One change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) subject_id: SubjectId,
    /// One that this program does not know, from a newer one, is none.
    pub(super) scope: Option<ConsentScope>,
    pub(super) state: ConsentState,
    pub(super) source: Source,
    pub(super) version: u32,
    pub(super) terms: &'a str,
    /// The key that one would have to hold to know of the change; empty when it is known.
    pub(super) missing_key_id: &'a str,
}

/// Puts rows together from pieces.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The beginning of a row whose end has not come yet.
    rest: Vec<u8>,
    /// What the ledger's clock showed, in microseconds since the epoch.
    ledger_us: Option<i64>,
    keys: Vec<KeyState>,
}

impl Rows {
    /// Takes a piece in, and hands out the rows that are complete.
    pub(super) fn read(&mut self, chunk: &[u8], mut take: impl FnMut(&Row<'_>)) -> Result<(), Malformed> {
        self.rest.extend_from_slice(chunk);
        let mut at = 0;
        while let Some((row, bytes)) = Row::read(&self.rest[at..])? {
            match self.rest[at + STATE_AT] {
                _ if row.scope.is_some() || row.version > 0 => take(&row),
                CLOCK => {
                    let time = row.terms.parse().map_err(|_| Malformed("the ledger's time is no number"))?;
                    self.ledger_us = Some(time);
                }
                state @ (KEY_IN_USE | KEY_RETIRED) => self
                    .keys
                    .push(KeyState { key_id: row.missing_key_id.to_owned(), retired: state == KEY_RETIRED }),
                _ => return Err(Malformed("a key has a state that is not known")),
            }
            at += bytes;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// What the ledger's clock showed, and all keys; an answer that broke off has no time, or ends within a row.
    pub(super) fn finish(self) -> Result<(i64, Vec<KeyState>), Malformed> {
        match self.ledger_us {
            Some(time) if self.rest.is_empty() => Ok((time, self.keys)),
            _ => Err(Malformed("it is not complete")),
        }
    }
}

impl<'a> Row<'a> {
    /// The first row of some bytes and how long it is; nothing when its end is not there. A row
    /// with a word that this program does not know, from a newer one, is taken as a denial.
    fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((fixed, texts)) = bytes.split_at_checked(FIXED_BYTES) else { return Ok(None) };
        let Some((terms, rest)) = text(texts)? else { return Ok(None) };
        let Some((missing_key_id, rest)) = text(rest)? else { return Ok(None) };
        let used = bytes.len() - rest.len();
        let mut subject = [0; 16];
        subject.copy_from_slice(&fixed[..16]);
        let [scope, state, source] = [fixed[16], fixed[17], fixed[18]];
        let scope = ConsentScope::ALL.into_iter().find(|it| *it as u8 == scope);
        let state = ConsentState::ALL.into_iter().find(|it| *it as u8 == state);
        let source = Source::ALL.into_iter().find(|it| *it as u8 == source);
        let row = Self {
            subject_id: SubjectId::from_bytes(crate::clickhouse::native::uuid_bytes(subject)),
            scope,
            // Whatever may have been allowed there: that it was not more can only be guessed.
            state: if scope.is_some() { state.unwrap_or(ConsentState::Denied) } else { ConsentState::Denied },
            // Not what an erasure has, whatever it is.
            source: source.unwrap_or(Source::UserSetting),
            version: u32::from_le_bytes(array(&fixed[19..])),
            terms,
            missing_key_id,
        };
        Ok(Some((row, used)))
    }
}

/// Of a slice that is as long as that.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// A text with its length in front (LEB128), and what comes after; nothing when its end is not there.
fn text(bytes: &[u8]) -> Result<Option<(&str, &[u8])>, Malformed> {
    let mut len = 0_usize;
    let mut rest = bytes;
    // Three bytes hold any length that is allowed.
    for shift in [0, 7, 14] {
        let Some((&byte, after)) = rest.split_first() else { return Ok(None) };
        rest = after;
        len |= usize::from(byte & 0x7f) << shift;
        if len > MAX_TEXT_BYTES {
            break;
        }
        if byte & 0x80 == 0 {
            let Some((text, rest)) = rest.split_at_checked(len) else { return Ok(None) };
            // The ledger holds what this program wrote; other bytes stand for terms that nobody knows.
            return Ok(Some((std::str::from_utf8(text).unwrap_or("\u{fffd}"), rest)));
        }
    }
    Err(Malformed("a row has a text of more than 64 KiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: u32, scope: u8, state: u8, terms: &str) -> Vec<u8> {
        let mut row = vec![8, 7, 6, 5, 4, 3, 2, 1, 16, 15, 14, 13, 12, 11, 10, 9];
        row.extend([scope, state, 1]);
        row.extend(version.to_le_bytes());
        crate::clickhouse::native::put_string(&mut row, terms);
        crate::clickhouse::native::put_string(&mut row, "key");
        row
    }

    fn encoded(version: u32, state: u8, terms: &str) -> Vec<u8> {
        row(version, 1, state, terms)
    }

    #[test]
    fn rows_are_found_wherever_pieces_end() {
        let long = "t".repeat(300);
        let time = row(0, 0, 0, "1700000000000000");
        let bytes = [encoded(1, 1, "2026"), time, encoded(2, 2, &long), encoded(3, 0, "")].concat();
        for piece in 1..bytes.len() {
            let mut rows = Rows::default();
            let mut found = Vec::new();
            for chunk in bytes.chunks(piece) {
                rows.read(chunk, |row| found.push((row.version, row.state, row.terms.len()))).unwrap();
            }
            assert_eq!(
                found,
                [(1, ConsentState::Granted, 4), (2, ConsentState::Denied, 300), (3, ConsentState::Unset, 0)],
                "pieces of {piece}"
            );
            assert_eq!(rows.finish(), Ok((1_700_000_000_000_000, Vec::new())));
        }
    }

    #[test]
    fn a_row_is_read_field_by_field() {
        let bytes = encoded(9, 1, "2026");
        let (row, used) = Row::read(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(row.subject_id.as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!((row.scope, row.version), (Some(ConsentScope::FirstParty), 9));
        assert_eq!((row.source, row.missing_key_id), (Source::UserSetting, "key"));
    }

    #[test]
    fn what_a_newer_program_says_is_a_no() {
        for bytes in [row(1, 1, 77, ""), row(1, 77, 1, ""), row(1, 0, 1, "")] {
            assert_eq!(Row::read(&bytes).unwrap().unwrap().0.state, ConsentState::Denied);
        }
        let mut taken = 0;
        Rows::default().read(&row(1, 0, 1, ""), |row| taken += i32::from(row.scope.is_none())).unwrap();
        assert_eq!(taken, 1, "it is not taken for the time");
    }

    #[test]
    fn keys_are_told_from_changes_and_from_the_time() {
        let bytes = [row(0, 0, 1, ""), row(0, 0, 0, "17"), row(0, 0, 2, ""), encoded(1, 1, "")].concat();
        let (mut rows, mut taken) = (Rows::default(), 0);
        rows.read(&bytes, |_| taken += 1).unwrap();
        let key = |retired| KeyState { key_id: "key".to_owned(), retired };
        assert_eq!((taken, rows.finish()), (1, Ok((17, vec![key(false), key(true)]))));
        // A key of which a newer program says what this one does not know: nobody can say.
        assert!(Rows::default().read(&row(0, 0, 3, ""), |_| {}).is_err());
    }

    #[test]
    fn an_answer_that_broke_off_is_an_error() {
        let time = row(0, 0, 0, "17");
        for bytes in [encoded(1, 1, ""), time[..time.len() - 1].to_vec(), [&time[..], &time[..9]].concat()] {
            let mut rows = Rows::default();
            rows.read(&bytes, |_| {}).unwrap();
            assert!(rows.finish().is_err());
        }
        assert!(Rows::default().read(&row(0, 0, 0, "now"), |_| {}).is_err());
    }

    #[test]
    fn no_length_makes_it_wait_for_more_than_a_text_may_have() {
        let most = "t".repeat(MAX_TEXT_BYTES);
        Rows::default().read(&encoded(1, 1, &most), |_| {}).unwrap();
        let fixed = &encoded(1, 1, "")[..FIXED_BYTES];
        for length in [&[0x81, 0x80, 0x04][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80, 0x80, 0x80]] {
            let read = Rows::default().read(&[fixed, length].concat(), |_| {});
            assert!(read.is_err(), "{length:?}");
        }
    }
}
