//! One frame: what one commit wrote. The layout is in the [module's documentation](super).

use bytes::Bytes;
use uuid::Uuid;

use super::Position;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 32;
/// The most that a payload may hold in this version of the format.
pub(super) const MAX_PAYLOAD_BYTES: u32 = 256 << 20;
/// What a frame starts with.
pub(super) const MAGIC: [u8; 4] = *b"AFRM";

/// A frame, as the reader gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it starts.
    pub position: Position,
    /// Where to go on reading.
    pub next: Position,
    /// Its number; one more than that of the frame before it.
    pub seq: u64,
    /// What the encoder made. A slice of a larger read, which it keeps in memory.
    pub payload: Bytes,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_len: u32,
    pub(super) position: Position,
    pub(super) seq: u64,
    pub(super) payload_crc: u32,
}

impl Header {
    /// The header of a payload. Its length is below [`MAX_PAYLOAD_BYTES`], which the writer checks.
    pub(super) fn of(position: Position, seq: u64, payload: &[u8]) -> Self {
        let payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { payload_len, position, seq, payload_crc: crc32c::crc32c(payload) }
    }

    /// Header and payload, in bytes.
    pub(super) fn frame_len(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_len)
    }

    pub(super) fn encode(&self, spool_id: Uuid) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(&bytes, spool_id);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if there is one that belongs to this spool and to this
    /// place in it.
    pub(super) fn decode(bytes: &[u8], spool_id: Uuid, position: Position) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let header = Self {
            payload_len: le_u32(bytes, 4),
            position: Position(le_u64(bytes, 8)),
            seq: le_u64(bytes, 16),
            payload_crc: le_u32(bytes, 24),
        };
        let valid = bytes[..4] == MAGIC
            && header.position == position
            && header.payload_len <= MAX_PAYLOAD_BYTES
            && le_u32(bytes, 28) == header_crc(bytes, spool_id);
        valid.then_some(header)
    }

    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_len as usize && crc32c::crc32c(payload) == self.payload_crc
    }
}

/// The spool's id goes into the checksum: a block of the disk that held another spool's frame at
/// the same place, and that a crash brought back, is not taken for one of ours.
fn header_crc(bytes: &[u8; HEADER_BYTES], spool_id: Uuid) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(spool_id.as_bytes()), &bytes[..28])
}

/// The little-endian number at an offset. Only ever called within a header.
pub(super) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |it| u32::from_le_bytes(*it))
}

/// The little-endian number at an offset. Only ever called within a header.
pub(super) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |it| u64::from_le_bytes(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

    #[test]
    fn the_layout_is_the_documented_one() {
        let header = Header::of(Position(0x1122), 0x33, b"123456789");
        let bytes = header.encode(ID);
        assert_eq!(&bytes[..4], b"AFRM");
        assert_eq!(bytes[4..8], [9, 0, 0, 0]);
        assert_eq!(bytes[8..16], [0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..24], [0x33, 0, 0, 0, 0, 0, 0, 0]);
        // The check value of CRC-32C.
        assert_eq!(bytes[24..28], 0xe306_9283_u32.to_le_bytes());
        assert_eq!(Header::decode(&bytes, ID, Position(0x1122)), Some(header));
        assert!(header.matches(b"123456789"));
        assert_eq!(header.frame_len(), 41);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = Header::of(Position(64), 7, b"payload").encode(ID);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped, ID, Position(64)), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_place_or_another_spool_is_none_of_ours() {
        let bytes = Header::of(Position(64), 7, b"payload").encode(ID);
        assert_eq!(Header::decode(&bytes, ID, Position(65)), None);
        assert_eq!(Header::decode(&bytes, Uuid::nil(), Position(64)), None);
        assert_eq!(Header::decode(&bytes[..31], ID, Position(64)), None);
    }

    #[test]
    fn a_length_beyond_the_limit_is_none() {
        let mut header = Header::of(Position(64), 7, b"");
        header.payload_len = MAX_PAYLOAD_BYTES;
        assert!(Header::decode(&header.encode(ID), ID, Position(64)).is_some());
        header.payload_len += 1;
        assert!(Header::decode(&header.encode(ID), ID, Position(64)).is_none());
    }
}
