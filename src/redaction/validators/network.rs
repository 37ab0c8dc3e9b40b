//! Addresses of networks and devices.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 address (RFC 791) that is no version: after `Chrome/` a version stands, and the unspecified address,
/// the loopback and masks are nobody's.
pub(super) fn ipv4(text: &str, start: usize, end: usize) -> bool {
    let address = text[start..end].split(['/', ':']).next().unwrap_or_default();
    let Ok(address) = address.parse::<Ipv4Addr>() else { return false };
    let octets = address.octets();
    if octets[0] == 0
        || (octets[1..] == [0; 3] && !text[start..end].contains('/'))
        || octets[0] == 255
        || octets == [127, 0, 0, 1]
    {
        return false;
    }
    // `openssl 3.0.2.1` is a version as likely as not: small numbers want a word that says what they are.
    let is_small = octets[0] < 10 && octets.iter().all(|&octet| octet <= 40) && octets[1..] != [octets[0]; 3];
    if is_small && !is_announced(text, start) {
        return false;
    }
    // `Chrome/120.1.2.3`, `v1.2.3.4`, `§1.2.3.4`, but `http://192.0.2.1` and `1.2.3.4/24`.
    let before = &text[..start];
    let product = before.strip_suffix('/').is_some_and(|b| b.ends_with(|c: char| c.is_ascii_alphanumeric()));
    !product && !before.ends_with(['.', '§', '^', '~', '='].as_slice())
        || before.ends_with('=') && !before.ends_with("==")
}

/// Whether a word before a place speaks of an address.
fn is_announced(text: &str, start: usize) -> bool {
    const WORDS: [&str; 16] = [
        "ip", "ips", "address", "addr", "host", "server", "client", "from", "at", "to", "dns", "ping", "via",
        "remote", "gateway", "adresse",
    ];
    let reach = text.ceil_char_boundary(start.saturating_sub(24));
    let line = text[reach..start].rsplit('\n').next().unwrap_or_default();
    line.split(|c: char| !c.is_alphanumeric())
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// An IPv6 address in any form of RFC 4291, 2.2, with a zone or without (RFC 4007), that is no time and no path of
/// code: with four groups at least, or `::` and a digit.
pub(super) fn ipv6(text: &str, start: usize, end: usize) -> bool {
    let whole = &text[start..end];
    let address = whole.split(['%', '/']).next().unwrap_or_default();
    let before = text[..start].chars().next_back();
    let joined = matches!(before, Some(':' | '.'))
        || (address.starts_with(':') && before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '>'));
    if text[end..].starts_with("::") || joined {
        return false;
    }
    let Ok(parsed) = address.parse::<Ipv6Addr>() else { return false };
    if parsed.is_unspecified() {
        return false;
    }
    // `a::b` is a path of code as well. With digits and more than one group it is none.
    let groups = address.split(':').filter(|group| !group.is_empty()).count();
    let has_digit = address.bytes().any(|b| b.is_ascii_digit());
    has_digit && (address.starts_with("::") || groups >= 3 || address.len() >= 7)
}

/// A MAC address (IEEE 802, EUI-48 and EUI-64) that is no run of a longer dump of bytes.
pub(super) fn mac(text: &str, start: usize, end: usize) -> bool {
    let taken = &text[start..end];
    let mut separators = taken.bytes().filter(|b| !b.is_ascii_alphanumeric());
    let Some(first) = separators.next() else { return false };
    let goes_on =
        |c: Option<u8>, beyond: Option<u8>| c == Some(first) && beyond.is_some_and(|b| b.is_ascii_hexdigit());
    let bytes = text.as_bytes();
    let before = (start.checked_sub(1), start.checked_sub(2));
    let before = (before.0.map(|at| bytes[at]), before.1.map(|at| bytes[at]));
    separators.all(|b| b == first)
        && !goes_on(before.0, before.1)
        && !goes_on(bytes.get(end).copied(), bytes.get(end + 1).copied())
        // 00:00:00:00:00:00 is nobody's, and so is the broadcast.
        && !taken.bytes().filter(u8::is_ascii_alphanumeric).all(|b| b == b'0')
        && !taken.bytes().filter(u8::is_ascii_alphanumeric).all(|b| b.eq_ignore_ascii_case(&b'f'))
}
