//! Moments in a width that never changes, so that they can be written in place.
//!
//! On the wire, a `Timestamp` is two numbers of as many bytes as they need. Seconds need five from 1978 until 3058, and
//! nanoseconds from 268,435,456 on. An earlier part of a second is therefore put off to the second before: the bytes
//! stay those that any client would write.

use prost_types::Timestamp;

/// The bytes of each of the two numbers.
const NUMBER_BYTES: usize = 5;
/// The bytes of a `Timestamp`: each number with its tag.
pub(crate) const MOMENT_BYTES: usize = 2 * (1 + NUMBER_BYTES);
/// The least that needs as many bytes.
const LEAST: u64 = 1 << (7 * (NUMBER_BYTES - 1));
const TAGS: [u8; 2] = [0x08, 0x10];
const MICROS: u64 = 1_000_000;
/// Long enough that what is earlier than [`LEAST`] nanoseconds ends up in the second before.
const PUT_OFF_MICROS: u64 = LEAST.div_ceil(1_000);

/// Seconds and nanoseconds, each of five bytes on the wire, at the moment or up to 0.27 s before it.
const fn split(unix_micros: u64) -> (u64, u64) {
    let early = unix_micros % MICROS < PUT_OFF_MICROS;
    let micros = if early { unix_micros - PUT_OFF_MICROS } else { unix_micros };
    (micros / MICROS, micros % MICROS * 1_000)
}

/// A moment as a message, for what is encoded the ordinary way.
pub(super) fn timestamp(unix_micros: u64) -> Timestamp {
    let (seconds, nanos) = split(unix_micros);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// The same on the wire.
pub(super) fn write(unix_micros: u64, out: &mut [u8; MOMENT_BYTES]) {
    let (seconds, nanos) = split(unix_micros);
    let (first, second) = out.split_at_mut(MOMENT_BYTES / 2);
    for (tag, (number, half)) in TAGS.into_iter().zip([(seconds, first), (nanos, second)]) {
        half[0] = tag;
        for (place, byte) in half[1..].iter_mut().enumerate() {
            let more = if place < NUMBER_BYTES - 1 { 0x80 } else { 0 };
            *byte = (number >> (7 * place)) as u8 & 0x7f | more;
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_moment_on_the_wire_is_what_any_client_writes() {
        let second = 1_790_000_000 * MICROS;
        for micros in [0, 1, 268_434, 268_435, 268_436, 500_000, 731_563, 731_564, 999_999] {
            let moment = second + micros;
            let mut written = [0; MOMENT_BYTES];
            write(moment, &mut written);
            assert_eq!(timestamp(moment).encode_to_vec(), written, "{micros}");
            let back = Timestamp::decode(&written[..]).unwrap();
            let back =
                u64::try_from(back.seconds).unwrap() * MICROS + u64::try_from(back.nanos).unwrap() / 1_000;
            assert!(back <= moment && moment - back <= PUT_OFF_MICROS, "{micros}: {back}");
        }
    }
}
