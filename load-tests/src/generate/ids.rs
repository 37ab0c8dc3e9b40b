//! Event ids, fast: UUIDs of version 7 that no two events of a run share, written in place.

/// The characters of a UUID.
pub(crate) const ID_CHARS: usize = 36;

/// Two characters for each byte.
static HEX: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// An endless source of ids.
///
/// Of the 74 bits that version 7 leaves to chance, 64 are the id's number, scattered by a bijection: they look random, as
/// an editor's do, so that they compress and sort alike, and still no two are the same. Where the numbers begin is
/// random, so two runs do not share any either.
pub(crate) struct Ids {
    next: u64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self::from(fastrand::u64(..))
    }

    const fn from(next: u64) -> Self {
        Self { next }
    }

    /// Writes the next one. Ids sort by `unix_ms`, the milliseconds since 1970.
    pub(crate) fn write(&mut self, unix_ms: u64, out: &mut [u8; ID_CHARS]) {
        let scattered = scatter(self.next);
        self.next = self.next.wrapping_add(1);
        let high = (unix_ms << 16) | (7 << 12) | (scattered >> 52);
        // Ten bits more than there are, taken from others of the same number.
        let low =
            (0b10 << 62) | ((scattered ^ (scattered >> 23)) & 0x3ff) << 52 | (scattered & ((1 << 52) - 1));
        let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = low.to_be_bytes();
        put(out, 0, [a, b, c, d]);
        out[8] = b'-';
        put(out, 9, [e, f]);
        out[13] = b'-';
        put(out, 14, [g, h]);
        out[18] = b'-';
        put(out, 19, [i, j]);
        out[23] = b'-';
        put(out, 24, [k, l, m, n, o, p]);
    }
}

/// The finishing steps of `SplitMix64`, each of which can be undone.
const fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn put<const N: usize>(out: &mut [u8; ID_CHARS], at: usize, bytes: [u8; N]) {
    for (place, byte) in bytes.into_iter().enumerate() {
        out[at + 2 * place..][..2].copy_from_slice(&HEX[usize::from(byte)]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::{Uuid, Variant};

    use super::*;

    fn next(ids: &mut Ids, unix_ms: u64) -> (String, Uuid) {
        let mut chars = [0; ID_CHARS];
        ids.write(unix_ms, &mut chars);
        let text = String::from_utf8(chars.to_vec()).unwrap();
        let uuid = Uuid::parse_str(&text).unwrap();
        (text, uuid)
    }

    #[test]
    fn ids_are_uuids_of_version_7_and_carry_their_time() {
        let mut ids = Ids::new();
        for unix_ms in [1, 1_700_000_000_123, (1 << 48) - 1] {
            let (text, uuid) = next(&mut ids, unix_ms);
            assert_eq!(uuid.hyphenated().to_string(), text);
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, Variant::RFC4122));
            let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
            assert_eq!(seconds * 1_000 + u64::from(nanos) / 1_000_000, unix_ms);
        }
    }

    #[test]
    fn no_two_are_the_same_though_their_time_is() {
        // Around the end of the numbers, too.
        for start in [0, u64::MAX - 100_000] {
            let mut ids = Ids::from(start);
            let all: HashSet<Uuid> = (0..200_000).map(|_| next(&mut ids, 1_700_000_000_000).1).collect();
            assert_eq!(all.len(), 200_000);
        }
    }

    #[test]
    fn every_bit_that_is_left_to_chance_varies() {
        let mut ids = Ids::from(1);
        let ones = (0..10_000).fold([0_u32; 128], |mut ones, _| {
            let id = next(&mut ids, 0).1.as_u128();
            ones.iter_mut().enumerate().for_each(|(bit, count)| *count += u32::from(id >> bit & 1 == 1));
            ones
        });
        for bit in (0..62).chain(64..76) {
            assert!((4_500..5_500).contains(&ones[bit]), "bit {bit}: {} of 10,000", ones[bit]);
        }
    }
}
