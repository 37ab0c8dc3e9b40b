//! A text with its disguises undone, and the way back to the text's own bytes.

use std::borrow::Cow;

use super::chars::{Folded, fold};

/// The disguises that are spelled in ASCII: percent-encoding and HTML.
const SPELLED: [(&[u8], u8); 5] =
    [(b"%40", b'@'), (b"%2e", b'.'), (b"&#64;", b'@'), (b"&#x40;", b'@'), (b"&commat;", b'@')];

/// A full stop that IDNA (RFC 3490, 3.1) takes for the dot of a domain.
const IDEOGRAPHIC_STOP: char = '。';

/// What a text holds, as far as it decides which scanners to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Whether there is an `@`, disguised or not.
    pub(super) has_at: bool,
    /// Decimal digits, in any script.
    pub(super) digits: usize,
    /// Whether a view differs from the text.
    pub(super) has_disguise: bool,
}

impl Survey {
    /// Looks at each byte once, and at each character beyond ASCII once more.
    pub(super) fn of(text: &str) -> Self {
        let mut survey = Self::default();
        let (mut not_ascii, mut escape) = (false, false);
        // No branches, so that the compiler can take many bytes at a time.
        for &b in text.as_bytes() {
            survey.has_at |= b == b'@';
            survey.digits += usize::from(b.wrapping_sub(b'0') < 10);
            not_ascii |= b >= 0x80;
            escape |= (b == b'%') | (b == b'&');
        }
        if not_ascii {
            for c in text.chars().filter(|&c| c >= '\u{A0}') {
                match fold(c) {
                    Folded::Same if c != IDEOGRAPHIC_STOP => continue,
                    Folded::Ascii(b'@') => survey.has_at = true,
                    Folded::Ascii(b) => survey.digits += usize::from(b.is_ascii_digit()),
                    Folded::Same | Folded::Nothing => {}
                }
                survey.has_disguise = true;
            }
        }
        if escape {
            for (at, _) in text.bytes().enumerate().filter(|&(_, b)| b == b'%' || b == b'&') {
                if let Some((_, plain)) = spelled(&text.as_bytes()[at..]) {
                    survey.has_disguise = true;
                    survey.has_at |= plain == b'@';
                }
            }
        }
        survey
    }

    /// Whether any scanner could find anything.
    pub(super) fn may_hold_data(&self) -> bool {
        self.has_at || self.digits >= super::phone::MIN_DIGITS
    }
}

/// The length and the meaning of a disguise that is spelled in ASCII.
fn spelled(bytes: &[u8]) -> Option<(usize, u8)> {
    SPELLED.iter().find_map(|(spelling, plain)| {
        let start = bytes.get(..spelling.len())?;
        start.eq_ignore_ascii_case(spelling).then_some((spelling.len(), *plain))
    })
}

/// A text as the scanners see it.
pub(super) struct View<'a> {
    text: Cow<'a, str>,
    original: &'a str,
    /// Where runs of bytes that are the same in both begin: (in the view, in the original).
    runs: Vec<(usize, usize)>,
}

impl<'a> View<'a> {
    /// The text itself.
    pub(super) fn plain(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), original: text, runs: Vec::new() }
    }

    /// The text with its disguises undone.
    pub(super) fn undisguised(original: &'a str) -> Self {
        let mut text = String::with_capacity(original.len());
        let mut runs = Vec::new();
        // The original's position less the view's, where the last run began.
        let mut shift = None;
        let mut at = 0;
        while let Some(c) = original[at..].chars().next() {
            let (len, folded) = match c {
                '%' | '&' => spelled(&original.as_bytes()[at..])
                    .map_or((1, Folded::Same), |(len, plain)| (len, Folded::Ascii(plain))),
                // A full stop of a sentence in Chinese, of a domain only between ASCII letters.
                IDEOGRAPHIC_STOP if stands_for_dot(original, at) => (c.len_utf8(), Folded::Ascii(b'.')),
                _ => (c.len_utf8(), fold(c)),
            };
            if folded != Folded::Nothing && shift != Some(at - text.len()) {
                shift = Some(at - text.len());
                runs.push((text.len(), at));
            }
            match folded {
                Folded::Same => text.push(c),
                Folded::Nothing => {}
                Folded::Ascii(plain) => text.push(char::from(plain)),
            }
            at += len;
        }
        Self { text: Cow::Owned(text), original, runs }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this view differs from the text.
    pub(super) fn is_undisguised(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// The original's bytes behind a span of the view that is not empty.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        if self.runs.is_empty() {
            return (start, end);
        }
        let last = self.text[start..end].char_indices().next_back().map_or(start, |(at, _)| start + at);
        let last = self.position(last);
        let len = self.original[last..].chars().next().map_or(0, char::len_utf8);
        (self.position(start), last + len)
    }

    fn position(&self, at: usize) -> usize {
        let after = self.runs.partition_point(|&(view, _)| view <= at);
        self.runs[..after].last().map_or(at, |&(view, original)| original + (at - view))
    }
}

fn stands_for_dot(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().nth(1);
    [before, after].into_iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_gives_the_original_bytes() {
        let original = "x\u{200B}ａ＠b%40ｃ\u{200B}d é。";
        let view = View::undisguised(original);
        assert_eq!(view.text(), "xa@b@cd é。");
        for (part, expected) in
            [("x", "x"), ("a@b", "ａ＠b"), ("cd", "ｃ\u{200B}d"), ("é。", "é。"), ("xa", "x\u{200B}ａ")]
        {
            let start = view.text().find(part).unwrap();
            let (start, end) = view.original(start, start + part.len());
            assert_eq!(&original[start..end], expected);
        }
    }

    #[test]
    fn a_survey_counts_through_disguises() {
        for (text, has_at, digits, has_disguise) in [
            ("plain", false, 0, false),
            ("a@b 12", true, 2, false),
            ("ａ＠ｂ１", true, 1, true),
            ("a%40b 100% R&D", true, 3, true),
            ("a&commat;b", true, 0, true),
            ("٣٤ naïve 日本", false, 2, true),
        ] {
            let survey = Survey::of(text);
            let expected = Survey { has_at, digits, has_disguise };
            // The digits of a spelling count too; they only make a scanner run for nothing.
            let digits = if text.contains("%40") { 5 } else { digits };
            assert_eq!(survey, Survey { digits, ..expected }, "{text}");
        }
    }

    #[test]
    fn an_ideographic_full_stop_is_a_dot_inside_a_domain_only() {
        assert_eq!(View::undisguised("a@b。com。其他").text(), "a@b.com。其他");
    }
}
