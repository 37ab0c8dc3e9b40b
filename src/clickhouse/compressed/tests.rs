use proptest::prelude::*;

use super::*;

const ENOUGH: usize = 64 << 20;

/// A frame of an LZ4 block of any content, which says of itself what it is told to, with a right checksum.
fn frame(method: u8, frame_len: Option<u32>, raw_len: u32, lz4: &[u8]) -> Vec<u8> {
    let mut hashed = vec![method];
    let right = (HEADER_BYTES + lz4.len()) as u32;
    hashed.extend_from_slice(&frame_len.unwrap_or(right).to_le_bytes());
    hashed.extend_from_slice(&raw_len.to_le_bytes());
    hashed.extend_from_slice(lz4);
    [&checksum_of(&hashed)[..], &hashed].concat()
}

/// Texts that repeat themselves, as ours do, and noise, which does not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4_000),
        (proptest::collection::vec(any::<u8>(), 1..40), 0_usize..3_000)
            .prop_map(|(word, times)| word.repeat(times)),
    ]
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(raw in body(), before in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut out = before.clone();
        compress_into(&mut out, &raw);
        prop_assert_eq!(&out[..before.len()], &before[..]);
        prop_assert_eq!(decompress(&out[before.len()..], raw.len()).unwrap(), &raw[..]);
        // And the same again, whatever this thread compressed in between.
        let _ = compress(&raw.repeat(3));
        prop_assert_eq!(compress(&raw), &out[before.len()..]);
    }

    #[test]
    fn any_bytes_are_an_error_or_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decompress(&bytes, ENOUGH);
        // With a right checksum, so that LZ4 has to find it out.
        let hostile = frame(METHOD_LZ4, None, bytes.len() as u32 * 3, &bytes);
        prop_assert!(decompress(&hostile, ENOUGH).map_or(0, |raw| raw.len()) <= bytes.len() * 3);
    }
}

#[test]
fn a_long_body_is_several_frames() {
    let raw: Vec<u8> = (0..PIECE_BYTES * 2 + 77).map(|n| (n / 7 % 251) as u8).collect();
    let frames = compress(&raw);
    let lens: Vec<usize> = split(&frames).map(|frame| frame.unwrap().raw_len).collect();
    assert_eq!(lens, [PIECE_BYTES, PIECE_BYTES, 77]);
    assert_eq!(decompress(&frames, raw.len()).unwrap(), raw);
    assert!(compress(&[]).is_empty());
    assert!(decompress(&[], 0).unwrap().is_empty());
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let frames = compress(b"a text that is long enough to be compressed, a text that is long enough");
    for bit in 0..frames.len() * 8 {
        let mut damaged = frames.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decompress(&damaged, ENOUGH).is_err(), "{bit}");
    }
    for end in 1..frames.len() {
        assert!(decompress(&frames[..end], ENOUGH).is_err(), "{end}");
        assert!(decompress(&[&frames[..], &frames[..end]].concat(), ENOUGH).is_err(), "{end}");
    }
}

#[test]
fn a_hostile_frame_is_told_by_what_is_wrong_with_it() {
    use CompressedError::{Checksum, Lz4, Malformed, Method, TooLarge, Truncated};
    // A literal of four bytes.
    let sound = [0x40, b'a', b'b', b'c', b'd'];
    let read = |frames: &[u8]| decompress(frames, 1_000);
    assert_eq!(read(&frame(METHOD_LZ4, None, 4, &sound)).unwrap(), b"abcd");
    assert!(matches!(read(&frame(0x90, None, 4, &sound)), Err(Method(0x90))));
    for frame_len in [0, 8, 13, 15, u32::MAX] {
        let error = read(&frame(METHOD_LZ4, Some(frame_len), 4, &sound)).unwrap_err();
        assert!(matches!(error, Malformed(_) | Truncated | Checksum), "{frame_len}: {error}");
    }
    // Four GiB out of five bytes are not even tried, nor what nobody has room for.
    assert!(matches!(read(&frame(METHOD_LZ4, None, u32::MAX, &sound)), Err(Malformed(_))));
    assert!(matches!(read(&frame(METHOD_LZ4, None, 1_001, &sound)), Err(TooLarge { bytes: 1_001, .. })));
    let many = frame(METHOD_LZ4, None, 4, &sound).repeat(251);
    assert!(matches!(read(&many), Err(TooLarge { bytes: 1_004, max_bytes: 1_000 })));
    // It holds less, or more, than it says.
    assert!(matches!(read(&frame(METHOD_LZ4, None, 5, &sound)), Err(Malformed(_))));
    assert!(matches!(read(&frame(METHOD_LZ4, None, 3, &sound)), Err(Lz4(_))));
    // A copy of what lies before the beginning, one of nothing, and an endless length.
    for lz4 in [&[0x10, b'a', 9, 0, 0][..], &[0x10, b'a', 0, 0, 0], &[0xff; 40], &[]] {
        assert!(read(&frame(METHOD_LZ4, None, 9, lz4)).is_err(), "{lz4:?}");
    }
}
