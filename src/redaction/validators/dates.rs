//! Dates as people write them.

use super::digits;

/// Whether a text with a day, a month and a year in any order may be somebody's day of birth. Months in letters
/// are not looked at.
pub(super) fn date(text: &str) -> bool {
    let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).collect();
    let value = |group: &str| digits(group).fold(0, |value, digit| value * 10 + digit);
    let is_year = |group: &str| match group.len() {
        2 => true,
        4 => (1880..=2035).contains(&value(group)),
        _ => false,
    };
    let is_day = |group: &str| group.len() <= 2 && (1..=31).contains(&value(group));
    let is_month = |group: &str| group.len() <= 2 && (1..=12).contains(&value(group));
    match groups[..] {
        // 19850312.
        [one] if one.len() == 8 => {
            is_year(&one[..4]) && is_month(&one[4..6]) && is_day(&one[6..])
                || is_year(&one[4..])
                    && is_day(&one[..2])
                    && is_day(&one[2..4])
                    && (is_month(&one[..2]) || is_month(&one[2..4]))
        }
        // 12 March.
        [day] => is_day(day),
        // 12 March 1985, March 12, 1985, 1985 March 12.
        [a, b] => (is_day(a) && is_year(b)) || (a.len() == 4 && is_year(a) && is_day(b)),
        [a, b, c] if a.len() == 4 => is_year(a) && is_month(b) && is_day(c),
        [a, b, c] => is_year(c) && is_day(a) && is_day(b) && (is_month(a) || is_month(b)),
        _ => false,
    }
}
