//! Accounts, banks and crypto-currency addresses.

use ring::digest::{SHA256, digest};

use super::{alphanumerics, exactly, is_varied, weighted};

/// How many characters the IBANs of each country have (the IBAN registry, ISO 13616).
const IBAN_LENGTHS: [(&[u8; 2], usize); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 23),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The remainder of letters (A is 10) and digits by 97, and how many they are.
fn remainder(characters: impl Iterator<Item = u8>) -> u32 {
    characters.fold(0, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    })
}

/// ISO 7064, MOD 97-10, of all letters and digits.
pub(super) fn mod97(text: &str) -> bool {
    remainder(alphanumerics(text)) == 1
}

/// An IBAN (ISO 13616): its country's length, and MOD 97-10 with the first four characters at the end.
pub(super) fn iban(text: &str) -> bool {
    let mut country = alphanumerics(text);
    let (Some(a), Some(b)) = (country.next(), country.next()) else { return false };
    let Ok(at) = IBAN_LENGTHS.binary_search_by_key(&[a, b], |(country, _)| **country) else { return false };
    alphanumerics(text).count() == IBAN_LENGTHS[at].1
        && remainder(alphanumerics(text).skip(4).chain(alphanumerics(text).take(4))) == 1
}

/// A routing number of a US bank: nine digits, weights 3, 7, 1, and a prefix that is assigned (American Bankers
/// Association).
pub(super) fn aba(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    let prefix = number[0] * 10 + number[1];
    let assigned = matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80);
    assigned && weighted(&number, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// A BIC (ISO 9362): four letters, a country, two or five more. No plain word in small letters.
pub(super) fn bic(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) && matches!(text.len(), 8 | 11)
}

/// The number of an account: not all the same digit, and no year.
pub(super) fn account(text: &str) -> bool {
    // `2023-2024` are years.
    let years = text.len() == 9 && text.get(4..5) == Some("-");
    !years && is_varied(text, 6)
}

/// A base58 text whose last four bytes are the first of its double SHA-256: Bitcoin addresses and keys, and those
/// of Litecoin, Dogecoin, Tron, …
pub(super) fn base58check(text: &str) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    /// What the longest such text becomes.
    const MAX_BYTES: usize = 48;
    let mut number = [0_u8; MAX_BYTES];
    for b in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|&letter| letter == b) else { return false };
        let mut carry = value;
        for byte in number.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry % 256).unwrap_or(0);
            carry /= 256;
        }
        if carry != 0 {
            return false;
        }
    }
    let zeros = text.bytes().take_while(|&b| b == b'1').count();
    let first = number.iter().position(|&b| b != 0).unwrap_or(MAX_BYTES);
    let Some(start) = first.checked_sub(zeros) else { return false };
    let Some((payload, check)) = number[start..].split_last_chunk::<4>() else { return false };
    matches!(payload.len(), 21 | 33 | 34)
        && digest(&SHA256, digest(&SHA256, payload).as_ref()).as_ref()[..4] == *check
}

/// A bech32 text (BIP 173) or a bech32m one (BIP 350), of one case.
pub(super) fn bech32(text: &str) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const BECH32: u32 = 1;
    const BECH32M: u32 = 0x2BC8_30A3;
    if text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase()) {
        return false;
    }
    let text = text.to_ascii_lowercase();
    let Some((prefix, data)) = text.rsplit_once('1') else { return false };
    let values = data.bytes().map(|b| ALPHABET.iter().position(|&letter| letter == b));
    let Some(values) = values.map(|value| u8::try_from(value?).ok()).collect::<Option<Vec<u8>>>() else {
        return false;
    };
    let expanded = prefix.bytes().map(|b| b >> 5).chain([0]).chain(prefix.bytes().map(|b| b & 31));
    let sum = expanded.chain(values).fold(1_u32, |sum, value| {
        const GENERATOR: [u32; 5] = [0x3B6A_57B2, 0x2650_8E6D, 0x1EA1_19FA, 0x3D42_33DD, 0x2A14_62B3];
        let top = sum >> 25;
        let next = (sum & 0x1FF_FFFF) << 5 ^ u32::from(value);
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(next, |next, (_, g)| next ^ g)
    });
    sum == BECH32 || sum == BECH32M
}
