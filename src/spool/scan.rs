//! Goes through a segment from its first frame to its end, and around what is damaged.
//!
//! Recovery, inspection and a reader that meets damage share this one walk, so that all three see
//! the same damage in the same bounds.

use std::io;

use memchr::memmem;
use uuid::Uuid;

use super::{
    Position,
    frame::{self, Header},
    fs::{File, read_up_to},
    segment,
};

/// Read at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A whole frame.
    Frame(Header),
    /// Bytes that no frame can be made of, up to the next frame or to the end.
    Damage {
        /// Where they start.
        start: Position,
        /// Where they end.
        end: Position,
        /// They are what a write leaves that was cut short: nothing comes after them, and the file
        /// ends before the frame does or holds zeros to its end.
        torn: bool,
    },
}

impl Item {
    /// Where the next part starts.
    pub(super) fn end(&self) -> Position {
        match self {
            Self::Frame(header) => Position(header.position.0 + header.frame_len()),
            Self::Damage { end, .. } => *end,
        }
    }
}

/// What lies at a place.
enum Found {
    Frame(Header),
    /// A frame of full length that does not match its checksum.
    Altered(Header),
    /// A frame that the file ends in the middle of.
    CutShort,
    NoHeader,
}

/// The walk.
pub(super) struct Scan<'a> {
    window: Window<'a>,
    spool_id: Uuid,
    base: Position,
    at: Position,
    end: Position,
}

impl<'a> Scan<'a> {
    /// Starts at the first frame of the segment at `base`; `end` is the position that it is good to.
    pub(super) fn new(file: &'a dyn File, spool_id: Uuid, base: Position, end: Position) -> Self {
        let at = Position(base.0 + segment::HEADER_BYTES as u64).min(end);
        let window = Window { file, start: 0, bytes: Vec::new(), end: end.0 - base.0 };
        Self { window, spool_id, base, at, end }
    }

    /// The next part; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let found = self.look_at(self.at)?;
        let item = if let Found::Frame(header) = found { Item::Frame(header) } else { self.damage(&found)? };
        self.at = item.end();
        Ok(Some(item))
    }

    fn damage(&mut self, found: &Found) -> io::Result<Item> {
        let start = self.at;
        let search_from = match found {
            // Its header holds, so its length does, and no other frame can start inside of it.
            Found::Altered(header) => Position(start.0 + header.frame_len()),
            _ => Position(start.0 + 1),
        };
        let next = self.find_frame(search_from)?;
        let torn = next.is_none()
            && match found {
                Found::CutShort => true,
                Found::NoHeader => {
                    self.end.0 - start.0 < frame::HEADER_BYTES as u64 || self.only_zeros(start)?
                }
                Found::Frame(_) | Found::Altered(_) => false,
            };
        Ok(Item::Damage { start, end: next.unwrap_or(self.end), torn })
    }

    fn look_at(&mut self, at: Position) -> io::Result<Found> {
        let offset = at.0 - self.base.0;
        let head = self.window.get(offset, frame::HEADER_BYTES)?;
        let Some(header) = Header::decode(head, self.spool_id, at) else { return Ok(Found::NoHeader) };
        let payload_len = header.payload_len as usize;
        let payload = self.window.get(offset + frame::HEADER_BYTES as u64, payload_len)?;
        Ok(if payload.len() < payload_len {
            Found::CutShort
        } else if header.matches(payload) {
            Found::Frame(header)
        } else {
            Found::Altered(header)
        })
    }

    /// The first place from `from` on where a whole frame starts.
    fn find_frame(&mut self, from: Position) -> io::Result<Option<Position>> {
        let mut from = from;
        while from.0 + frame::HEADER_BYTES as u64 <= self.end.0 {
            let bytes = self.window.get(from.0 - self.base.0, CHUNK_BYTES)?;
            let Some(hit) = memmem::find(bytes, &frame::MAGIC) else {
                // The magic may lie across the end of the chunk.
                let seen = bytes.len().saturating_sub(frame::MAGIC.len() - 1).max(1);
                from = Position(from.0 + seen as u64);
                continue;
            };
            let at = Position(from.0 + hit as u64);
            if let Found::Frame(_) = self.look_at(at)? {
                return Ok(Some(at));
            }
            from = Position(at.0 + 1);
        }
        Ok(None)
    }

    fn only_zeros(&mut self, from: Position) -> io::Result<bool> {
        let mut offset = from.0 - self.base.0;
        loop {
            let bytes = self.window.get(offset, CHUNK_BYTES)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|it| *it != 0) {
                return Ok(false);
            }
            offset += bytes.len() as u64;
        }
    }
}

/// A part of a file in memory, which moves along and grows with the largest frame.
struct Window<'a> {
    file: &'a dyn File,
    /// The offset of `bytes` in the file.
    start: u64,
    bytes: Vec<u8>,
    end: u64,
}

impl Window<'_> {
    /// `len` bytes from an offset; fewer where the file ends, or at `end`.
    fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let held = self.start..self.start + self.bytes.len() as u64;
        if !(held.start <= offset && offset + len as u64 <= held.end) {
            self.fill(offset, len.max(CHUNK_BYTES).min(left))?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(&self.bytes[from..self.bytes.len().min(from + len)])
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let skip = offset.checked_sub(self.start).and_then(|it| usize::try_from(it).ok());
        let kept = match skip {
            Some(skip) if skip < self.bytes.len() => {
                self.bytes.copy_within(skip.., 0);
                self.bytes.len() - skip
            }
            _ => 0,
        };
        let kept = kept.min(len);
        self.start = offset;
        self.bytes.resize(len, 0);
        let read = read_up_to(self.file, &mut self.bytes[kept..], offset + kept as u64);
        // After an error nothing here may be taken for the file's content.
        self.bytes.truncate(kept + read.as_ref().copied().unwrap_or(0));
        read.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spool::fs::{Fs as _, append_all, fault::FaultFs};

    const ID: Uuid = Uuid::from_u128(9);
    const BASE: Position = Position(1000);

    fn segment_of(payloads: &[&[u8]]) -> (Vec<u8>, Vec<Position>) {
        let mut bytes = segment::Header { spool_id: ID, base: BASE, first_seq: 0 }.encode().to_vec();
        let mut starts = Vec::new();
        for (seq, payload) in payloads.iter().enumerate() {
            let at = Position(BASE.0 + bytes.len() as u64);
            starts.push(at);
            bytes.extend_from_slice(&Header::of(at, seq as u64, payload).encode(ID));
            bytes.extend_from_slice(payload);
        }
        starts.push(Position(BASE.0 + bytes.len() as u64));
        (bytes, starts)
    }

    /// Frames by their number; damage by its bounds.
    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Frame(u64),
        Damage(Position, Position),
        Torn(Position, Position),
    }

    fn scan(bytes: &[u8]) -> Vec<Seen> {
        let fs = FaultFs::new();
        let file = fs.create_new(Path::new("file")).unwrap();
        append_all(&*file, bytes, &[]).unwrap();
        let mut scan = Scan::new(&*file, ID, BASE, Position(BASE.0 + bytes.len() as u64));
        let mut seen = Vec::new();
        while let Some(item) = scan.next().unwrap() {
            seen.push(match item {
                Item::Frame(header) => Seen::Frame(header.seq),
                Item::Damage { start, end, torn: true } => Seen::Torn(start, end),
                Item::Damage { start, end, torn: false } => Seen::Damage(start, end),
            });
        }
        seen
    }

    #[test]
    fn whole_frames_are_found_in_order_also_beyond_one_chunk() {
        let large = vec![1_u8; CHUNK_BYTES * 2 + 17];
        let (bytes, _) = segment_of(&[b"one", &large, b"", b"four"]);
        assert_eq!(scan(&bytes), [Seen::Frame(0), Seen::Frame(1), Seen::Frame(2), Seen::Frame(3)]);
        assert_eq!(scan(&bytes[..segment::HEADER_BYTES]), []);
    }

    #[test]
    fn any_flipped_byte_costs_its_own_frame_alone() {
        let (bytes, starts) = segment_of(&[b"first", b"second", b"third"]);
        for at in starts[1].0..starts[2].0 {
            let mut bytes = bytes.clone();
            bytes[usize::try_from(at - BASE.0).unwrap()] ^= 0x10;
            assert_eq!(
                scan(&bytes),
                [Seen::Frame(0), Seen::Damage(starts[1], starts[2]), Seen::Frame(2)],
                "at {at}"
            );
        }
    }

    #[test]
    fn a_payload_that_looks_like_a_frame_is_not_taken_for_one() {
        let decoy = segment_of(&[b"decoy"]).0;
        let (mut bytes, starts) = segment_of(&[&decoy, b"second"]);
        bytes[usize::try_from(starts[0].0 - BASE.0).unwrap()] ^= 1;
        assert_eq!(scan(&bytes), [Seen::Damage(starts[0], starts[1]), Seen::Frame(1)]);
    }

    #[test]
    fn damage_longer_than_a_chunk_is_stepped_over() {
        let large = vec![b'A'; CHUNK_BYTES + 5];
        let (mut bytes, starts) = segment_of(&[b"first", &large, b"third"]);
        let at = usize::try_from(starts[1].0 - BASE.0).unwrap();
        bytes[at..at + 4].fill(0);
        assert_eq!(scan(&bytes), [Seen::Frame(0), Seen::Damage(starts[1], starts[2]), Seen::Frame(2)]);
    }

    #[test]
    fn a_write_cut_anywhere_is_torn() {
        let (bytes, starts) = segment_of(&[b"first", b"second"]);
        let second = usize::try_from(starts[1].0 - BASE.0).unwrap();
        for len in second + 1..bytes.len() {
            let end = Position(BASE.0 + len as u64);
            assert_eq!(scan(&bytes[..len]), [Seen::Frame(0), Seen::Torn(starts[1], end)], "{len} bytes");
        }
        let mut zeros = bytes.clone();
        zeros[second..].fill(0);
        assert_eq!(scan(&zeros), [Seen::Frame(0), Seen::Torn(starts[1], starts[2])]);
    }

    #[test]
    fn a_last_frame_of_full_length_that_does_not_match_is_damage_and_not_torn() {
        let (bytes, starts) = segment_of(&[b"first", b"second"]);
        for at in [starts[1].0, starts[2].0 - 1] {
            let mut bytes = bytes.clone();
            bytes[usize::try_from(at - BASE.0).unwrap()] ^= 1;
            assert_eq!(scan(&bytes), [Seen::Frame(0), Seen::Damage(starts[1], starts[2])]);
        }
    }
}
