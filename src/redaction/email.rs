//! E-mail addresses: `local@domain`, by RFC 5321 and 6531, a little narrower and a little wider.
//!
//! Narrower: `/ = ? & | { } ! # $ * ^` and the like end a local part, though the RFCs let them in:
//! where they stand before an address they nearly always belong to a URL or to markup. A domain
//! needs a dot and an alphabetic last label, or brackets. Wider: letters of any script, dots
//! anywhere, quoted local parts, chains such as `a@b.c@d.e`.
//!
//! Every byte is looked at twice at most: as the domain of the `@` before and the local part of
//! the `@` after it.

use memchr::{memchr_iter, memrchr2};

use super::{
    Entity, Span,
    chars::{is_address_letter, is_spaceless},
};

/// The longest quoted local part, in bytes (RFC 5321, 4.5.3.1.1, and the quotes).
const MAX_QUOTED_BYTES: usize = 66;
/// The longest address in brackets, in bytes: an IPv6 one with its tag.
const MAX_LITERAL_BYTES: usize = 64;

/// What the names of images end in, none of them a top-level domain.
const IMAGES: [&str; 6] = ["png", "jpg", "jpeg", "gif", "svg", "webp"];

pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let mut floor = 0;
    for at in memchr_iter(b'@', text.as_bytes()) {
        let chained = at == floor && spans.last().is_some_and(|last| last.end == at);
        let start = if chained { at } else { local_start(text, floor, at) };
        if start == at && !chained {
            continue;
        }
        let Some(end) = domain_end(text, at + 1) else { continue };
        match spans.last_mut() {
            Some(last) if chained => last.end = end,
            _ => spans.push(Span { start, end, entity: Entity::EMAIL, priority: Span::SURE }),
        }
        floor = end;
    }
}

/// Where the local part before an `@` begins; `at` when there is none.
fn local_start(text: &str, floor: usize, at: usize) -> usize {
    let before = &text[floor..at];
    if let Some(start) = quoted_start(before) {
        return floor + start;
    }
    let mut start = at;
    let mut script = None;
    for (offset, c) in before.char_indices().rev() {
        match c {
            '.' => script = None,
            '0'..='9' | '_' | '+' | '-' | '\'' | '~' | '%' => {}
            c if is_address_letter(c) && belongs(c, &mut script) => {}
            _ => break,
        }
        start = floor + offset;
    }
    let local = &text[start..at];
    at - local.trim_start_matches(|c| c != '_' && !is_address_letter(c)).len()
}

fn quoted_start(before: &str) -> Option<usize> {
    let inner = before.strip_suffix('"')?;
    // No further back than a local part may reach.
    let reach = inner.len().saturating_sub(MAX_QUOTED_BYTES);
    let start = reach + memrchr2(b'"', b'\n', &inner.as_bytes()[reach..])?;
    (inner.as_bytes()[start] == b'"' && start + 1 < inner.len()).then_some(start)
}

/// Whether a label is a density of images for screens, as in `icon@2x.png`; its dot is right before `end`.
fn is_density(text: &str, start: usize, end: usize) -> bool {
    matches!(text.as_bytes()[start..end], [b'1'..=b'9', b'x', b'.'])
}

/// Where the domain that begins at `from` ends: after the last label that may be a top-level one.
fn domain_end(text: &str, from: usize) -> Option<usize> {
    if text[from..].starts_with('[') {
        return literal_end(text, from);
    }
    let (mut start, mut end, mut labels) = (from, None, 0_usize);
    let mut first_is_number = false;
    loop {
        let label = &text[start..start + label_len(&text[start..])];
        if label.is_empty() || label.starts_with('-') {
            break;
        }
        labels += 1;
        let starts_with_digit = label.starts_with(|c: char| c.is_ascii_digit());
        if labels == 1 {
            first_is_number = label.bytes().all(|b| b.is_ascii_digit());
        } else if labels == 2 && is_density(text, from, start) && IMAGES.contains(&label) {
            // `icon@2x.png` is an image.
            return None;
        } else if labels == 2 && first_is_number && starts_with_digit {
            // `package@18.2.0-rc.one` is a version.
            return None;
        } else if let Some(len) = top_level_len(label) {
            end = Some(start + len);
        }
        start += label.len();
        if !text[start..].starts_with('.') {
            break;
        }
        start += 1;
    }
    end
}

fn label_len(text: &str) -> usize {
    let mut script = None;
    text.char_indices()
        .find(|&(_, c)| {
            let neutral = c.is_ascii_digit() || c == '-';
            !(neutral || is_address_letter(c) && belongs(c, &mut script))
        })
        .map_or(text.len(), |(len, _)| len)
}

/// How much of a label may be a top-level domain: its leading letters, two and more, or a label in
/// Punycode. What follows them without a dot is not of the address.
fn top_level_len(label: &str) -> Option<usize> {
    let punycode = label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let top = if punycode {
        label.trim_end_matches('-')
    } else {
        let len = label.find(|c: char| c.is_ascii_digit() || c == '-').unwrap_or(label.len());
        &label[..len]
    };
    (top.chars().nth(1).is_some()).then_some(top.len())
}

fn literal_end(text: &str, from: usize) -> Option<usize> {
    let inside = &text.as_bytes()[from + 1..];
    let len = inside.iter().take(MAX_LITERAL_BYTES).position(|&b| b == b']')?;
    let is_address =
        inside[..len].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'-'));
    (len > 1 && is_address).then_some(from + 1 + len + 1)
}

/// Whether a letter goes on with the script of the label: a word of a script without spaces ends
/// where Latin begins, and the other way about.
fn belongs(c: char, script: &mut Option<bool>) -> bool {
    *script.get_or_insert(is_spaceless(c)) == is_spaceless(c)
}
