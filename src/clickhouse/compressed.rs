//! ClickHouse's compressed frames, as its HTTP interface takes them in the body of an insert with `decompress=1`.
//!
//! A body is any number of frames, one after the other, and what they hold put together is the body before it was
//! compressed. All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | CityHash128, in the version 1.0.2 that ClickHouse has, of all that follows; the high half of the crate's number first |
//! | 1 | the method: 0x82 for LZ4, the only one that is written or read here |
//! | 4 | bytes from the method to the end of the frame |
//! | 4 | bytes of what is compressed |
//! | … | one LZ4 block |
//!
//! Frames lie in the spool too, so no length in one is trusted.

use std::cell::RefCell;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, get_maximum_output_size,
};

/// The most bytes that one frame holds, so that neither side has to hold a long body twice.
const PIECE_BYTES: usize = 1 << 20;
const CHECKSUM_BYTES: usize = 16;
/// What is in front of the LZ4 block and is under the checksum.
const HEADER_BYTES: usize = 1 + 4 + 4;
const METHOD_LZ4: u8 = 0x82;
/// LZ4 makes no more bytes than this of one.
const MAX_RATIO: usize = 255;

thread_local! {
    /// Where LZ4 notes what it has seen. Always the large one: a small one becomes large with the first long piece, and
    /// then the same bytes would be compressed to others.
    static TABLE: RefCell<CompressTable> = RefCell::new(CompressTable::large());
    /// Where LZ4 writes: it needs room for the worst case, which nobody has to clear or hold each time.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are no compressed frames, or hold more than they may.
#[derive(Debug, thiserror::Error)]
pub enum CompressedError {
    /// They end too early.
    #[error("the compressed bytes end in the middle of a frame")]
    Truncated,
    /// They are not what was written.
    #[error("a compressed frame does not match its checksum")]
    Checksum,
    /// They are compressed in another way.
    #[error("a compressed frame has the method {0:#04x}, and this program knows LZ4 (0x82) alone")]
    Method(u8),
    /// Lengths do not fit together.
    #[error("a compressed frame is malformed: {0}")]
    Malformed(&'static str),
    /// The LZ4 block is none.
    #[error("the LZ4 block of a compressed frame cannot be read")]
    Lz4(#[source] DecompressError),
    /// There is more in them than the reader has room for.
    #[error("the compressed bytes hold {bytes} bytes, and no more than {max_bytes} may be there")]
    TooLarge {
        /// How many they say they hold.
        bytes: usize,
        /// How many it may be.
        max_bytes: usize,
    },
}

/// The bytes as compressed frames: none for none.
#[must_use]
pub fn compress(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress_into(&mut out, raw);
    out
}

/// Appends the bytes as compressed frames. The same bytes always make the same frames.
pub fn compress_into(out: &mut Vec<u8>, raw: &[u8]) {
    TABLE.with_borrow_mut(|table| {
        ROOM.with_borrow_mut(|room| {
            raw.chunks(PIECE_BYTES).for_each(|piece| put_frame(out, piece, table, room))
        });
    });
}

fn put_frame(out: &mut Vec<u8>, piece: &[u8], table: &mut CompressTable, room: &mut Vec<u8>) {
    let worst = HEADER_BYTES + get_maximum_output_size(piece.len());
    if room.len() < worst {
        room.resize(worst, 0);
    }
    let lz4_len = match compress_into_with_table(piece, &mut room[HEADER_BYTES..], table) {
        Ok(len) => len,
        Err(error) => unreachable!("there is room for the worst case: {error}"),
    };
    let hashed = &mut room[..HEADER_BYTES + lz4_len];
    hashed[0] = METHOD_LZ4;
    // Both are lengths of a piece, a MiB or little more.
    let (frame_len, raw_len) = (hashed.len() as u32, piece.len() as u32);
    hashed[1..5].copy_from_slice(&frame_len.to_le_bytes());
    hashed[5..9].copy_from_slice(&raw_len.to_le_bytes());
    out.extend_from_slice(&checksum_of(hashed));
    out.extend_from_slice(hashed);
}

fn checksum_of(hashed: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(hashed).rotate_right(u64::BITS).to_le_bytes()
}

/// What the frames hold, `max_bytes` at most. Everything is checked before memory is taken for it, but for the LZ4 blocks
/// themselves.
///
/// # Errors
/// See [`CompressedError`].
pub fn decompress(frames: &[u8], max_bytes: usize) -> Result<Vec<u8>, CompressedError> {
    let mut bytes = 0_usize;
    for frame in split(frames) {
        bytes = bytes.saturating_add(frame?.raw_len);
    }
    if bytes > max_bytes {
        return Err(CompressedError::TooLarge { bytes, max_bytes });
    }
    let mut raw = vec![0; bytes];
    let mut room = &mut raw[..];
    for frame in split(frames) {
        let Frame { raw_len, lz4 } = frame?;
        let (piece, after) = room.split_at_mut(raw_len);
        if decompress_into(lz4, piece).map_err(CompressedError::Lz4)? != raw_len {
            return Err(CompressedError::Malformed("its LZ4 block holds less than the frame says"));
        }
        room = after;
    }
    Ok(raw)
}

/// A frame that matches its checksum.
struct Frame<'a> {
    raw_len: usize,
    lz4: &'a [u8],
}

/// The frames one by one; nothing after the first error.
fn split(frames: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, CompressedError>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = split_first(rest);
        rest = first.as_ref().map_or(&[][..], |(_, after)| after);
        Some(first.map(|(frame, _)| frame))
    })
}

fn split_first(frames: &[u8]) -> Result<(Frame<'_>, &[u8]), CompressedError> {
    let (checksum, rest) = frames.split_first_chunk().ok_or(CompressedError::Truncated)?;
    let (&[method, a, b, c, d, e, f, g, h], _) =
        rest.split_first_chunk::<HEADER_BYTES>().ok_or(CompressedError::Truncated)?;
    if method != METHOD_LZ4 {
        return Err(CompressedError::Method(method));
    }
    let frame_len = u32::from_le_bytes([a, b, c, d]) as usize;
    let raw_len = u32::from_le_bytes([e, f, g, h]) as usize;
    let (hashed, after) = rest.split_at_checked(frame_len).ok_or(CompressedError::Truncated)?;
    let lz4 =
        hashed.get(HEADER_BYTES..).ok_or(CompressedError::Malformed("it is shorter than its own header"))?;
    if raw_len > lz4.len().saturating_mul(MAX_RATIO) {
        return Err(CompressedError::Malformed("it says that it holds more than LZ4 can make of it"));
    }
    if checksum_of(hashed) != *checksum {
        return Err(CompressedError::Checksum);
    }
    Ok((Frame { raw_len, lz4 }, after))
}

#[cfg(test)]
mod tests;
