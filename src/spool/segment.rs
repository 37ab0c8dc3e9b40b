//! A segment file's name and header. The layout is in the [module's documentation](super).

use uuid::Uuid;

use super::{
    Position,
    frame::{le_u32, le_u64},
};

/// Bytes before the first frame.
pub(super) const HEADER_BYTES: usize = 64;
/// The version of the format that this program reads and writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"ASSENTSP";
const SUFFIX: &str = ".seg";

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) spool_id: Uuid,
    pub(super) base: Position,
    pub(super) first_seq: u64,
}

/// Why a header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// Too short, or not what was written.
    Damaged,
    /// Whole, and of a version that this program does not know.
    Version(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(self.spool_id.as_bytes());
        bytes[32..40].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the file that the name says starts at `base`.
    pub(super) fn decode(bytes: &[u8], base: Position) -> Result<Self, Invalid> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Invalid::Damaged)?;
        if bytes[..8] != MAGIC || le_u32(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(Invalid::Damaged);
        }
        // Only what the checksum vouches for may be called a newer version.
        let version = le_u32(bytes, 8);
        if version != VERSION {
            return Err(Invalid::Version(version));
        }
        let spool_id: &[u8; 16] = bytes[16..].first_chunk().ok_or(Invalid::Damaged)?;
        let header = Self {
            spool_id: Uuid::from_bytes(*spool_id),
            base: Position(le_u64(bytes, 32)),
            first_seq: le_u64(bytes, 40),
        };
        if header.base == base { Ok(header) } else { Err(Invalid::Damaged) }
    }
}

/// The name of the segment that starts at `base`; names sort as positions do.
pub(super) fn file_name(base: Position) -> String {
    format!("{:020}{SUFFIX}", base.0)
}

/// The position that a file's name says; `None` when it is not a segment's.
pub(super) fn parse_file_name(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(SUFFIX)?;
    let canonical = digits.len() == 20 && digits.bytes().all(|it| it.is_ascii_digit());
    canonical.then(|| digits.parse().ok().map(Position)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { spool_id: Uuid::from_u128(7), base: Position(4096), first_seq: 12 }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = header().encode();
        assert_eq!(&bytes[..8], b"ASSENTSP");
        assert_eq!(bytes[8..12], [1, 0, 0, 0]);
        assert_eq!(bytes[12..16], [0; 4]);
        assert_eq!(bytes[16..32], *Uuid::from_u128(7).as_bytes());
        assert_eq!(bytes[32..40], 4096_u64.to_le_bytes());
        assert_eq!(bytes[40..48], 12_u64.to_le_bytes());
        assert_eq!(bytes[48..60], [0; 12]);
        assert_eq!(Header::decode(&bytes, Position(4096)), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes, Position(4096)), Err(Invalid::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes, Position(4096)), Err(Invalid::Version(2)));
        assert_eq!(Header::decode(&header().encode(), Position(0)), Err(Invalid::Damaged));
    }

    #[test]
    fn names_hold_every_position_and_nothing_else() {
        for base in [0, 64, u64::MAX] {
            assert_eq!(parse_file_name(&file_name(Position(base))), Some(Position(base)));
        }
        for name in ["", ".seg", "1.seg", "00000000000000000000.tmp", "+0000000000000000001.seg"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
        assert_eq!(parse_file_name("99999999999999999999.seg"), None, "more than 64 bits");
    }
}
