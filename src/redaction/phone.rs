//! Phone numbers: international ones, and national ones in the ways in which people group them.
//!
//! - `+` or `00`, a country code that exists, 8 to 15 digits in all (ITU-T E.164);
//! - national groupings with separators ([`is_national`]), of which those without a trunk `0` must
//!   match in every width;
//! - mobile numbers in one group that begin as in the UK, France or Germany;
//! - any 7 to 15 digits next to a word such as "call" or "fax" ([`super::context`]).
//!
//! Not taken: dates, IP addresses, prices, numbers in the thousands, and national forms after a
//! word such as "order" or "version".

use super::{
    Entity, Span,
    context::{Context, is_named_after, judge_before},
    numbers::Run,
};

/// The fewest digits of a text in which a phone number is looked for.
pub(super) const MIN_DIGITS: usize = 7;
/// The most digits of a phone number (E.164).
const MAX_DIGITS: usize = 15;
/// The most groups of a phone number.
const MAX_GROUPS: usize = 7;
/// The most digits of an extension.
const MAX_EXTENSION_DIGITS: usize = 6;

/// Adds the phone numbers of a run; those that touch one of `cards` are left to a later pass.
pub(super) fn find(run: Run<'_>, cards: &[Span], spans: &mut Vec<Span>) {
    // No further than this do earlier phones end; they are context for the next.
    let last_end =
        |spans: &[Span]| spans.last().filter(|span| span.entity == Entity::PHONE).map_or(0, |span| span.end);
    // Where the last phone or date ended, so that another number may begin.
    let (mut first, mut taken) = (0, 0);
    let mut cards = cards.iter().peekable();
    while first < run.len() {
        if let Some(len) = date_or_ip_len(run, first).filter(|_| !has_plus(run, first)) {
            first += len;
            if run.separator(first - 1).contains(' ') {
                taken = first;
            }
            continue;
        }
        let group_start = run.groups[first].start;
        while cards.next_if(|card| card.end <= group_start).is_some() {}
        let limit = cards.peek().map_or(usize::MAX, |card| card.start);
        match last_group(run, first, taken, limit, last_end(spans)) {
            Some(last) => {
                let (start, end) = extent(run, first, last);
                spans.push(Span { start, end, entity: Entity::PHONE, priority: Span::PRIORITY });
                first = last + 1;
                taken = first;
            }
            None => first += 1,
        }
    }
}

/// The last group of the phone number that begins with group `first`. It ends before `limit`.
fn last_group(run: Run<'_>, first: usize, taken: usize, limit: usize, last_end: usize) -> Option<usize> {
    let most = (first + MAX_GROUPS).min(run.len());
    let within = (first..most).take_while(|&group| run.groups[group].end <= limit);
    let last = within.last()?;
    if has_plus(run, first)
        && let Some(last) = international(run, first, last, 0)
    {
        return Some(last);
    }
    if !is_left_edge(run, first, taken) {
        return None;
    }
    let enclosed = run.before(first).ends_with('(') && run.separator(first).starts_with(')');
    if run.total(first, last) < MIN_DIGITS {
        return None;
    }
    let context = judge_before(run.text, run.groups[first].start, last_end);
    if context == Context::Reference && !enclosed {
        return None;
    }
    if run.digits(first).starts_with(b"00")
        && (first < last || context == Context::Phone)
        && let Some(last) = international(run, first, last, 2)
    {
        return Some(last);
    }
    (first..=last).rev().filter(|&last| is_right_edge(run, last)).find(|&last| {
        is_national(run, first, last, enclosed)
            || is_plain_mobile(run, first, last)
            || ((MIN_DIGITS..=MAX_DIGITS).contains(&run.total(first, last))
                && (context == Context::Phone || is_named_after(run.after(last))))
    })
}

/// A `+` before the group that is not a sum's.
fn has_plus(run: Run<'_>, group: usize) -> bool {
    let before = run.before(group);
    let Some(before) = before.strip_suffix("+(").or_else(|| before.strip_suffix('+')) else { return false };
    !before.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The last group of the international number whose country code begins `skip` digits into group
/// `first`.
fn international(run: Run<'_>, first: usize, last: usize, skip: usize) -> Option<usize> {
    let mut digits = run.digits_of(first, last).skip(skip);
    let (min, max) = lengths_of_country(digits.next()?, digits.next()?, digits.next()?)?;
    let fits =
        |&group: &usize| (min..=max).contains(&(run.total(first, group) - skip.min(run.total(first, group))));
    let end = (first..=last).rev().find(fits)?;
    // +10.000.000 is a number in the thousands.
    let dotted = (first..end).all(|group| run.separator(group) == "." && run.width(group + 1) == 3);
    let thousands = first < end && dotted && run.width(first) <= 3 && run.total(first, end) < 11;
    (!thousands).then_some(end)
}

/// How many digits a number with these first three has, the country code included; `None` when there is no
/// such code (ITU-T E.164, list of assigned codes).
fn lengths_of_country(a: u8, b: u8, c: u8) -> Option<(usize, usize)> {
    Some(match (a, b, c) {
        (b'1' | b'7', _, _) => (11, 11),
        (b'3', b'3' | b'4', _) => (11, 12),
        (b'4', b'4', _) => (11, 13),
        (b'4', b'9', _) => (8, 15),
        (b'5', b'5', _) | (b'8', b'6', _) => (10, 14),
        (b'9', b'1', _) => (12, 13),
        (b'2', b'0' | b'7', _)
        | (b'3', b'0'..=b'2' | b'6' | b'9', _)
        | (b'4', b'0' | b'1' | b'3' | b'5'..=b'8', _)
        | (b'5', b'1'..=b'8', _)
        | (b'6', b'0'..=b'6', _)
        | (b'8', b'1' | b'2' | b'4', _)
        | (b'9', b'0' | b'2'..=b'5' | b'8', _) => (9, 14),
        (b'2', b'1'..=b'6' | b'9', _)
        | (b'3', b'5' | b'7' | b'8', _)
        | (b'4', b'2', _)
        | (b'5', b'0' | b'9', _)
        | (b'6', b'7'..=b'9', _)
        | (b'8', b'0' | b'5' | b'7' | b'8', _)
        | (b'9', b'6' | b'7', _)
        | (b'9', b'9', b'2'..=b'6' | b'8') => (9, 15),
        _ => return None,
    })
}

/// Whether groups are as people group a national number. `enclosed`: the first is in parentheses.
fn is_national(run: Run<'_>, first: usize, last: usize, enclosed: bool) -> bool {
    if first == last {
        return false;
    }
    let mut widths = [0; MAX_GROUPS];
    for (width, group) in widths.iter_mut().zip(first..=last) {
        *width = run.width(group);
    }
    let separators = || (first..last).map(|group| run.separator(group));
    let all = |allowed: &[&str]| separators().all(|separator| allowed.contains(&separator));
    let lead = run.digits(first);
    let (a, b) = (lead[0], lead.get(1).copied().unwrap_or(b'0'));
    let second = run.digits(first + 1)[0];
    let last_separator = run.separator(last - 1);
    let total = run.total(first, last);
    let grouped = match widths[..=last - first] {
        // North America: 415-555-0132, (415) 555-0132, 1-415-555-0132; only with spaces, as assigned.
        // Italy: 347 123 4567.
        [3, 3, 4] if extension_len(run.after(last)) > 0 => true,
        [3, 3, 4] if a == b'3' && all(&[" "]) => true,
        [3, 3, 4] => enclosed || all(&["-"]) || (a >= b'2' && second >= b'2' && all(&[" ", "-", ".", " - "])),
        [1, 3, 3, 4] => a == b'1' && b"23456789".contains(&second),
        // Spain, Poland, Portugal: 612 345 678. Not 750 000 000.
        [3, 3, 3] => a >= b'6' && all(&[" ", "-"]) && run.digits(last) != b"000",
        [3, 2, 2, 2] => a >= b'6' && all(&[" ", "-"]),
        [2, 3, 2, 2] => a >= b'8' && all(&[" ", "-"]),
        // India: 98765 43210.
        [5, 5] => a >= b'6' && all(&[" ", "-"]),
        // Brazil: (11) 98765-4321, 11 98765-4321.
        [2, 5, 4] => a >= b'1' && second == b'9' && (enclosed || last_separator == "-"),
        [2, 4, 4] => a >= b'1' && (enclosed || (last_separator == "-" && run.separator(first) == " ")),
        // Italy: 347 1234567. China: 138 0013 8000. Russia: 8 (495) 123-45-67.
        [3, 7] => a == b'3' && all(&[" ", "-"]),
        [3, 4, 4] if a == b'1' => b >= b'3' && all(&[" ", "-"]),
        [1, 3, 3, 2, 2] => matches!(a, b'7' | b'8'),
        // France: 06 12 34 56 78.
        [2, 2, 2, 2, 2] => a == b'0' && b != b'0',
        _ => false,
    };
    grouped
        || (enclosed && is_area_code(lead) && (8..=12).contains(&total) && last - first <= 4)
        || (a == b'0' && has_trunk_zero(run, first, last))
}

/// Whether what stands in parentheses may be an area code. 1998 is a year.
fn is_area_code(digits: &[u8]) -> bool {
    let year = digits.len() == 4 && (digits.starts_with(b"19") || digits.starts_with(b"20"));
    (2..=5).contains(&digits.len()) && !year
}

/// Whether a number that begins with the trunk 0 is one of 9 to 12 digits: 020 7946 0958,
/// 030/123456, 0171 1234567, 07700 900123, 090-1234-5678.
fn has_trunk_zero(run: Run<'_>, first: usize, last: usize) -> bool {
    let lead = run.digits(first);
    let zip_plus_four = run.width(first) == 5 && last == first + 1 && run.separator(first) == "-";
    (2..=6).contains(&lead.len())
        && lead[1] != b'0'
        && !zip_plus_four
        && (first + 1..=last).all(|group| run.width(group) >= 2)
        && (9..=12).contains(&run.total(first, last))
        && last - first <= 4
}

/// A mobile number without separators: 07700900123 (UK), 0612345678 (France), 01711234567 (Germany).
fn is_plain_mobile(run: Run<'_>, first: usize, last: usize) -> bool {
    first == last
        && match run.digits(first) {
            [b'0', b'7', ..] if run.width(first) == 11 => true,
            [b'0', b'6' | b'7', ..] => run.width(first) == 10,
            [b'0', b'1', b'5'..=b'7', ..] => matches!(run.width(first), 11 | 12),
            _ => false,
        }
}

/// Whether a number may begin with this group: it is not the middle of a longer one.
fn is_left_edge(run: Run<'_>, group: usize, taken: usize) -> bool {
    if group > 0 {
        let separator = run.separator(group - 1);
        return group == taken
            || (separator.contains(' ') && (run.width(group - 1) <= 2 || separator.contains('/')))
            || separator.contains(" (");
    }
    let before = run.before(group);
    let before = before.strip_suffix('(').unwrap_or(before);
    let mut nearest = before.chars().rev();
    match (nearest.next(), nearest.next()) {
        (Some('$' | '€' | '£' | '¥' | '₹' | '#'), _) => false,
        (Some(' '), Some('$' | '€' | '£' | '¥' | '₹')) => false,
        (Some(near), Some(far))
            if matches!(near, '-' | ',' | ':' | '_' | '=' | '&') && far.is_ascii_digit() =>
        {
            false
        }
        (Some('-' | '_'), Some(far)) => !far.is_ascii_alphanumeric(),
        (Some(near), _) => !near.is_ascii_alphanumeric(),
        (None, _) => true,
    }
}

/// Whether a number may end with this group.
fn is_right_edge(run: Run<'_>, group: usize) -> bool {
    if !run.is_last(group) {
        let separator = run.separator(group);
        let next = run.digits(group + 1);
        let begins_anew = next.len() >= 3 && next[0] == b'0';
        return separator.contains(' ') && (next.len() <= 2 || begins_anew || separator.contains(['/', '(']));
    }
    if extension_len(run.after(group)) > 0 {
        return true;
    }
    let mut after = run.after(group).chars();
    match (after.next(), after.next()) {
        (Some('%' | '€' | '£' | '$' | '°' | '_'), _) => false,
        (Some(' '), Some('€' | '£' | '$' | '%')) => false,
        (Some(',' | ':' | '-' | '/' | '='), Some(far)) => !far.is_ascii_digit(),
        (Some(near), _) => !near.is_ascii_alphanumeric(),
        (None, _) => true,
    }
}

/// The length of an extension right after a number: `x123`, ` ext. 123`.
fn extension_len(after: &str) -> usize {
    let rest = after.trim_start_matches(' ');
    if after.len() - rest.len() > 1 {
        return 0;
    }
    let Some(rest) = ["extension", "ext.", "ext", "x"].iter().find_map(|word| {
        rest.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word)).map(|_| &rest[word.len()..])
    }) else {
        return 0;
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let ends = !rest[digits..].starts_with(|c: char| c.is_ascii_alphanumeric());
    if (1..=MAX_EXTENSION_DIGITS).contains(&digits) && ends { after.len() - rest.len() + digits } else { 0 }
}

/// The bytes of a number, with its `+`, parenthesis and extension.
fn extent(run: Run<'_>, first: usize, last: usize) -> (usize, usize) {
    let before = run.before(first);
    let before = match before.strip_suffix('(') {
        Some(outside) if run.separator(first).contains(')') => outside,
        _ => before,
    };
    let start = before.strip_suffix('+').unwrap_or(before).len();
    (start, run.groups[last].end + if run.is_last(last) { extension_len(run.after(last)) } else { 0 })
}

/// How many groups from `first` on are a date (24.11.2026, 2026-11-24) or an IPv4 address.
fn date_or_ip_len(run: Run<'_>, first: usize) -> Option<usize> {
    let value = |group: usize| {
        run.digits(group).iter().take(5).fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'))
    };
    let separator = run.separator(first);
    if !matches!(separator, "." | "-" | "/")
        || first + 2 >= run.len()
        || run.separator(first + 1) != separator
    {
        return None;
    }
    let plain =
        |group: usize| run.width(group) <= 3 && (run.width(group) == 1 || run.digits(group)[0] != b'0');
    let is_ip = separator == "."
        && first + 3 < run.len()
        && run.separator(first + 2) == "."
        && run.separator(first + 3) != "."
        && (first..first + 4).all(|group| plain(group) && value(group) <= 255);
    if is_ip {
        return Some(4);
    }
    let (a, b, c) = (value(first), value(first + 1), value(first + 2));
    let is_year = |year: u32| (1800..2200).contains(&year);
    let is_day_and_month = |a: u32, b: u32| (1..=31).contains(&a) && (1..=31).contains(&b) && a.min(b) <= 12;
    let year_last = run.width(first) <= 2 && run.width(first + 1) <= 2 && run.width(first + 2) == 4;
    let year_first = run.width(first) == 4 && run.width(first + 1) <= 2 && run.width(first + 2) <= 2;
    let is_date = (year_last && is_year(c) && is_day_and_month(a, b))
        || (year_first && is_year(a) && is_day_and_month(b, c));
    is_date.then_some(3)
}
