//! Cuts a text into words and numbers, which is what all rules but those of e-mail addresses start from.
//!
//! A token is a maximal run of letters, marks and digits; everything else stands between tokens. Each byte
//! is looked at once.

use super::chars::is_address_letter;

/// What a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters alone.
    Word,
    /// ASCII digits alone.
    Number,
    /// Letters and digits.
    Mixed,
}

/// How a token's letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// No capital: `word`, and what has no case, `42`, `日本`.
    Lower,
    /// One capital, at the beginning: `Word`, `A`.
    Capital,
    /// Two and more capitals, nothing else that has a case: `WORD`, `B2B`.
    Upper,
    /// A capital elsewhere: `iPhone`, `McDonald`.
    Camel,
}

/// A word or a number: bytes `start..end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: Kind,
    pub(super) case: Case,
}

impl Token {
    pub(super) const fn start(self) -> usize {
        self.start as usize
    }

    pub(super) const fn end(self) -> usize {
        self.end as usize
    }

    pub(super) const fn len(self) -> usize {
        self.end() - self.start()
    }

    #[cfg(test)]
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start()..self.end()]
    }
}

const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DIGIT: u8 = 4;
const BEYOND_ASCII: u8 = 8;

/// What each byte is.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0_u8;
    loop {
        classes[b as usize] = match b {
            b'a'..=b'z' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT,
            0x80.. => BEYOND_ASCII,
            _ => 0,
        };
        if b == u8::MAX {
            break classes;
        }
        b += 1;
    }
};

/// Puts the tokens of a text, in order, in the place of what `tokens` held. What begins after 4 GiB is left
/// out; texts are a thousandth of that.
pub(super) fn tokenise(text: &str, tokens: &mut Vec<Token>) {
    tokens.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if CLASSES[usize::from(b)] == 0 {
            at += 1;
            continue;
        }
        let (class, next) = symbol(text, at);
        at = if class == 0 { next } else { token(text, at, tokens) };
    }
}

/// Adds the token that begins at `start`; gives where it ends.
fn token(text: &str, start: usize, tokens: &mut Vec<Token>) -> usize {
    let bytes = text.as_bytes();
    let (first, mut at) = symbol(text, start);
    let mut seen = 0;
    loop {
        // Most of every text in ASCII is this loop.
        while let Some(&b) = bytes.get(at) {
            let class = CLASSES[usize::from(b)];
            if class & (LOWER | UPPER | DIGIT) == 0 {
                break;
            }
            seen |= class;
            at += 1;
        }
        let (class, next) = if at < bytes.len() { symbol(text, at) } else { (0, at) };
        if class == 0 {
            break;
        }
        (seen, at) = (seen | class, next);
    }
    let all = seen | first;
    let kind = match (all & DIGIT != 0, all & (UPPER | LOWER) != 0) {
        (true, false) => Kind::Number,
        (true, true) => Kind::Mixed,
        (false, _) => Kind::Word,
    };
    let case = match (first == UPPER, seen & UPPER != 0, seen & LOWER != 0) {
        (_, false, _) if first != UPPER => Case::Lower,
        (true, false, _) => Case::Capital,
        (_, true, false) if first != LOWER => Case::Upper,
        _ => Case::Camel,
    };
    if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(at)) {
        tokens.push(Token { start, end, kind, case });
    }
    at
}

/// What the character at a place is, 0 if it is in no token, and where the next begins.
fn symbol(text: &str, at: usize) -> (u8, usize) {
    match CLASSES[usize::from(text.as_bytes()[at])] {
        BEYOND_ASCII => {
            let c = char_at(text, at);
            let class = match (is_address_letter(c), c.is_uppercase()) {
                (false, _) => 0,
                (true, true) => UPPER,
                (true, false) => LOWER,
            };
            (class, at + c.len_utf8())
        }
        class => (class, at + 1),
    }
}

fn char_at(text: &str, at: usize) -> char {
    text[at..].chars().next().unwrap_or('\0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        tokenise(text, &mut tokens);
        tokens
    }

    #[test]
    fn words_and_numbers() {
        let text = "Hi Anna-Maria, McDonald's 42 B2B x86_64 é日本 ÉTÉ Čeh A ab1 AB";
        let found: Vec<_> = tokens(text).into_iter().map(|t| (t.of(text), t.kind, t.case)).collect();
        assert_eq!(
            found,
            [
                ("Hi", Kind::Word, Case::Capital),
                ("Anna", Kind::Word, Case::Capital),
                ("Maria", Kind::Word, Case::Capital),
                ("McDonald", Kind::Word, Case::Camel),
                ("s", Kind::Word, Case::Lower),
                ("42", Kind::Number, Case::Lower),
                ("B2B", Kind::Mixed, Case::Upper),
                ("x86", Kind::Mixed, Case::Lower),
                ("64", Kind::Number, Case::Lower),
                ("é日本", Kind::Word, Case::Lower),
                ("ÉTÉ", Kind::Word, Case::Upper),
                ("Čeh", Kind::Word, Case::Capital),
                ("A", Kind::Word, Case::Capital),
                ("ab1", Kind::Mixed, Case::Lower),
                ("AB", Kind::Word, Case::Upper),
            ]
        );
    }

    proptest! {
        #[test]
        fn every_letter_and_digit_is_in_one_token(text in "\\PC{0,60}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(token.start() >= end && token.len() > 0);
                prop_assert!(!text[end..token.start()].contains(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(token.of(&text).chars().all(is_address_letter));
                end = token.end();
            }
            prop_assert!(!text[end..].contains(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
