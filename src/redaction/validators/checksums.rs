//! Checksums of more than one kind of number.

use super::digits;

/// Luhn's check of all digits (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(text: &str) -> bool {
    let sum: u32 = digits(text)
        .rev()
        .enumerate()
        .map(|(place, digit)| match (digit, place % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => digit * 2 - 9,
            (digit, _) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Verhoeff's check of all digits (J. Verhoeff, Error Detecting Decimal Codes, 1969): sums in the dihedral group
/// of ten elements.
pub(super) fn verhoeff(text: &str) -> bool {
    /// What becomes of a digit one place further left.
    const PERMUTED: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let sum = digits(text).rev().enumerate().fold(0, |sum, (place, digit)| {
        let digit = (0..place % 8).fold(digit as usize, |digit, _| PERMUTED[digit]);
        dihedral(sum, digit)
    });
    sum == 0
}

/// The product of two elements of the dihedral group: 0 to 4 are turns, 5 to 9 are flips.
const fn dihedral(a: usize, b: usize) -> usize {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}
