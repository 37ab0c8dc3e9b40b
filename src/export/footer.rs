//! How many rows a Parquet file has, by its own footer: `… FileMetaData, u32 length, "PAR1"`, the metadata in Thrift's
//! compact protocol. Of `FileMetaData` only field 3, `num_rows`, is read, and what stands before it is skipped.
//! See <https://parquet.apache.org/docs/file-format/metadata/>.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

/// What begins and ends a Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";
/// The longest footer that is read: room for a hundred thousand columns of row groups.
const MAX_FOOTER_BYTES: u32 = 64 << 20;
/// How deep its structures may be nested. They are four deep.
const MAX_DEPTH: u8 = 16;
/// The id of `num_rows`.
const NUM_ROWS: i16 = 3;

/// Reads the number of rows.
///
/// # Errors
/// It is no whole Parquet file ([`io::ErrorKind::InvalidData`]), or cannot be read.
pub fn rows(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic).map_err(|_| damaged("it is too short"))?;
    if magic != *MAGIC || len < 12 {
        return Err(damaged("it does not begin as one"));
    }
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, magic @ ..] = end;
    let footer_bytes = u32::from_le_bytes([a, b, c, d]);
    if magic != *MAGIC {
        return Err(damaged("it does not end as one"));
    }
    if footer_bytes > MAX_FOOTER_BYTES || u64::from(footer_bytes) + 12 > len {
        return Err(damaged("the length of its footer cannot be"));
    }
    file.seek(SeekFrom::End(-8 - i64::from(footer_bytes)))?;
    let mut footer = vec![0; footer_bytes as usize];
    file.read_exact(&mut footer)?;
    num_rows(&footer).ok_or_else(|| damaged("its footer cannot be read"))
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no whole Parquet file: {why}"))
}

fn num_rows(footer: &[u8]) -> Option<u64> {
    let mut rest = Compact(footer);
    let mut id = 0;
    loop {
        let kind = rest.field(&mut id)?;
        if kind == STOP {
            return None;
        }
        if id == NUM_ROWS && kind == I64 {
            return u64::try_from(rest.zigzag()?).ok();
        }
        rest.skip(kind, MAX_DEPTH)?;
    }
}

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Thrift's compact protocol, as far as it takes to skip values.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's type, with its id in place of the last one's; [`STOP`] at the end of the structure.
    fn field(&mut self, id: &mut i16) -> Option<u8> {
        let head = self.byte()?;
        let (delta, kind) = (head >> 4, head & 0x0f);
        if kind == STOP {
            return Some(STOP);
        }
        *id = match delta {
            0 => i16::try_from(self.zigzag()?).ok()?,
            delta => id.checked_add(i16::from(delta))?,
        };
        Some(kind)
    }

    fn skip_bytes(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.skip_bytes(1),
            I16..=I64 => self.varint().map(drop),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let bytes = self.varint()?;
                self.skip_bytes(bytes)
            }
            LIST | SET => {
                let head = self.byte()?;
                let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.skip_each(&[head & 0x0f], len, deeper)
            }
            MAP => match self.varint()? {
                0 => Some(()),
                len => {
                    let kinds = self.byte()?;
                    self.skip_each(&[kinds >> 4, kinds & 0x0f], len, deeper)
                }
            },
            STRUCT => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        STOP => return Some(()),
                        kind => self.skip(kind, deeper)?,
                    }
                }
            }
            _ => None,
        }
    }

    fn skip_each(&mut self, kinds: &[u8], len: u64, depth: u8) -> Option<()> {
        for _ in 0..len {
            for kind in kinds {
                match *kind {
                    // In a list, unlike in a field, a truth value takes a byte.
                    TRUE | FALSE => self.skip_bytes(1)?,
                    kind => self.skip(kind, depth)?,
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// `version = 1`, a schema of one element with a name, `num_rows = 300`.
    const FOOTER: &[u8] = &[0x15, 2, 0x19, 0x1c, 0x48, 1, b'r', 0x15, 2, 0, 0x16, 0xd8, 0x04, 0];

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn parquet(footer: &[u8]) -> Vec<u8> {
        let len = u32::try_from(footer.len()).unwrap().to_le_bytes();
        [b"PAR1", &[0xaa; 50][..], footer, &len, b"PAR1"].concat()
    }

    #[test]
    fn the_number_of_rows_is_read() {
        assert_eq!(rows(&mut file_of(&parquet(FOOTER))).unwrap(), 300);
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_refused_and_never_makes_it_panic() {
        let whole = parquet(FOOTER);
        for len in 0..whole.len() {
            let error = rows(&mut file_of(&whole[..len])).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{len}: {error}");
        }
        for at in 0..FOOTER.len() {
            for byte in 0..=u8::MAX {
                let mut footer = FOOTER.to_vec();
                footer[at] = byte;
                let _ = num_rows(&footer);
            }
        }
        // A list of more elements than there are bytes.
        assert_eq!(num_rows(&[0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        assert_eq!(num_rows(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
        // Structures in structures without end.
        assert_eq!(num_rows(&[0x1c; 1 << 16]), None);
    }
}
