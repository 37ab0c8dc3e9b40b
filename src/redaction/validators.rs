//! Checks of what a pattern matched: checksums and ranges that a regular expression cannot tell.

/// Says whether a text that matched is what it looks like.
pub(super) type Validator = fn(&str) -> bool;

/// All checks, by the names that rules give.
const VALIDATORS: [(&str, Validator); 1] = [("luhn", luhn)];

/// The check of a name.
pub(super) fn validator(name: &str) -> Option<Validator> {
    VALIDATORS.iter().find(|(known, _)| *known == name).map(|&(_, validator)| validator)
}

/// The names of all checks.
pub(super) fn names() -> Vec<&'static str> {
    VALIDATORS.iter().map(|(name, _)| *name).collect()
}

/// Luhn's check of all digits (ISO/IEC 7812-1, annex B).
fn luhn(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (digit, place % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => digit * 2 - 9,
            (digit, _) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
