//! Payment card numbers: 13 to 19 digits (12 for Maestro) that pass Luhn's check (ISO/IEC 7812-1)
//! and begin like a card of a known network, of a length that the network issues.
//!
//! Groups may be set apart by a space, a hyphen, a dot or a slash, mixed as one likes. One number in ten
//! passes Luhn's check by chance, and the networks' prefixes are a fifth of all numbers, so about
//! one long number in fifty is taken wrongly; a leaked card weighs more.

use super::{
    Entity, Span,
    numbers::{Group, Run},
};

const MIN_DIGITS: usize = 12;
const MAX_DIGITS: usize = 19;

/// The cards of a run, from left to right, the longest first at each place.
pub(super) fn find(run: Run<'_>) -> Vec<Span> {
    let mut cards = Vec::new();
    let mut first = 0;
    while first < run.len() {
        match last_group(run, first) {
            Some(last) => {
                let (start, end) = (run.groups[first].start, run.groups[last].end);
                cards.push(Span { start, end, entity: Entity::CARD, priority: Span::SURE });
                first = last + 1;
            }
            None => first += 1,
        }
    }
    cards
}

/// The last group of the card that begins with group `first`.
fn last_group(run: Run<'_>, first: usize) -> Option<usize> {
    if is_attached(run.before(first).bytes().next_back()) || is_fraction(run, first) {
        return None;
    }
    let mut digits = [0_u8; MAX_DIGITS];
    let mut total = 0;
    let mut found = None;
    for group in first..run.len() {
        let Group { start, end } = run.groups[group];
        if group > first && !matches!(run.separator(group - 1), " " | "-" | "." | "/" | " - " | "  ") {
            break;
        }
        let Some(room) = digits.get_mut(total..total + (end - start)) else { break };
        for (digit, ascii) in room.iter_mut().zip(run.digits(group)) {
            *digit = ascii - b'0';
        }
        total += end - start;
        let number = &digits[..total];
        if total >= MIN_DIGITS
            && is_issued(number)
            && passes_luhn(number)
            && is_card_like(run, first, group)
            && !is_attached(run.after(group).bytes().next())
        {
            found = Some(group);
        }
    }
    found
}

/// Whether the neighbour makes the digits part of a longer word, such as a hash.
fn is_attached(neighbour: Option<u8>) -> bool {
    neighbour.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether the group is the fraction of a decimal number.
fn is_fraction(run: Run<'_>, group: usize) -> bool {
    group > 0 && run.separator(group - 1) == "." && run.width(group) >= MIN_DIGITS
}

/// Whether digits are grouped as people group them: all groups alike but the last, or of at least
/// three digits. A list of small numbers is not.
fn is_card_like(run: Run<'_>, first: usize, last: usize) -> bool {
    let mut widths = (first..last).map(|group| run.width(group));
    let width = run.width(first);
    let alike = widths.clone().all(|other| other == width) && run.width(last) <= width.max(4);
    first == last || alike || widths.all(|width| width >= 3)
}

/// Whether a network issues numbers that begin so, of this length.
fn is_issued(digits: &[u8]) -> bool {
    let prefix =
        |len: usize| digits[..len].iter().fold(0_u32, |prefix, &digit| prefix * 10 + u32::from(digit));
    let len = digits.len();
    match prefix(4) {
        // Visa.
        4000..=4999 => matches!(len, 13 | 16 | 19),
        // American Express.
        3400..=3499 | 3700..=3799 => len == 15,
        // Diners Club.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&len),
        // JCB.
        3528..=3589 => (16..=19).contains(&len),
        // Mastercard; Mir begins at 2200.
        2200..=2204 => (16..=19).contains(&len),
        2221..=2720 | 5100..=5599 => len == 16,
        // Maestro and the national schemes of its ranges.
        5000..=5099 | 5600..=5899 => (12..=19).contains(&len),
        // Discover, UnionPay, RuPay.
        6011 | 6440..=6599 => (16..=19).contains(&len),
        6200..=6299 | 8100..=8199 => (16..=19).contains(&len),
        6000..=6999 => (12..=19).contains(&len),
        _ => false,
    }
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (u32::from(digit), place % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => digit * 2 - 9,
            (digit, _) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != digits[0])
}
