//! Cuts a text into words and numbers, which is what all rules but those of e-mail addresses start from.
//!
//! A token is a maximal run of letters, marks and digits; everything else stands between tokens. What each byte is
//! is found for 64 of them at a time, as the bits of a few words; tokens begin and end where the bits change.
//! Those with letters beyond ASCII are cut again, a character at a time.

use super::{
    chars::is_address_letter,
    fold::{Letter, is_caseless},
    lexicon::Class,
};

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
    /// Whether all its bytes are ASCII.
    pub(super) is_ascii: bool,
    /// Which recognisers look at it ([`super::words`] says).
    pub(super) hints: u8,
    /// What is known of the word, once [`super::words`] has looked it up.
    pub(super) class: Class,
}

impl Token {
    /// The text ends within 4 GiB.
    pub(super) const fn new(start: usize, end: usize, (kind, case): (Kind, Case), is_ascii: bool) -> Self {
        Self { start: start as u32, end: end as u32, kind, case, is_ascii, hints: 0, class: Class::UNKNOWN }
    }

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

/// What the characters of a token after the first are (a set), and its first, to what the token is.
const SHAPES: [(Kind, Case); 64] = {
    let mut shapes = [(Kind::Word, Case::Lower); 64];
    let mut at = 0_u8;
    while at < 64 {
        shapes[at as usize] = shape(at >> 3, at & 7);
        at += 1;
    }
    shapes
};

/// What a token is whose first character and whose others are these.
const fn shape(first: u8, others: u8) -> (Kind, Case) {
    let all = first | others;
    let kind = match (all & DIGIT != 0, all & (UPPER | LOWER) != 0) {
        (true, false) => Kind::Number,
        (true, true) => Kind::Mixed,
        (false, _) => Kind::Word,
    };
    let case = match (first == UPPER, others & UPPER != 0, others & LOWER != 0) {
        (false, false, _) => Case::Lower,
        (true, false, _) => Case::Capital,
        (_, true, false) if first != LOWER => Case::Upper,
        _ => Case::Camel,
    };
    (kind, case)
}

/// The bytes that are looked at together.
const BLOCK_BYTES: usize = 64;

/// Which of the bytes of a block are what, the first in the lowest bit.
#[derive(Clone, Copy)]
struct Block {
    /// All that can be in a token.
    word: u64,
    upper: u64,
    digit: u64,
    beyond_ascii: u64,
}

impl Block {
    #[inline]
    fn of(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let is = |is: fn(u8) -> bool| bits(&bytes.map(|b| u8::from(is(b))));
        let upper = is(|b| b.wrapping_sub(b'A') < 26);
        let digit = is(|b| b.wrapping_sub(b'0') < 10);
        let word = is(|b| ((b | 0x20).wrapping_sub(b'a') < 26) | (b.wrapping_sub(b'0') < 10) | (b >= 0x80));
        let beyond_ascii = is(|b| b >= 0x80);
        Self { word, upper, digit, beyond_ascii }
    }

    /// What there is among some of the bytes, as a set.
    #[inline]
    const fn seen(self, among: u64) -> u8 {
        let lower = self.word & !(self.upper | self.digit | self.beyond_ascii);
        (lower & among != 0) as u8 * LOWER
            | (self.upper & among != 0) as u8 * UPPER
            | (self.digit & among != 0) as u8 * DIGIT
            | (self.beyond_ascii & among != 0) as u8 * BEYOND_ASCII
    }
}

/// One bit for each byte, which is 0 or 1.
#[inline]
fn bits(bytes: &[u8; BLOCK_BYTES]) -> u64 {
    // The product has the eight lowest bits next to each other in its highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = bytes.as_chunks::<8>();
    let gathered = eights.iter().map(|eight| (u64::from_le_bytes(*eight).wrapping_mul(GATHER)) >> 56);
    gathered.enumerate().fold(0, |bits, (at, eight)| bits | eight << (8 * at))
}

/// The bits before one.
const fn before(bit: u32) -> u64 {
    (1 << bit) - 1
}

/// The bits after one.
const fn after(bit: u32) -> u64 {
    u64::MAX << bit << 1
}

/// Puts the tokens of a text, in order, in the place of what `tokens` held. What is beyond 4 GiB is left out; texts
/// are a thousandth of that.
pub(super) fn tokenise(text: &str, tokens: &mut Vec<Token>) {
    tokens.clear();
    let text = &text[..text.floor_char_boundary(u32::MAX as usize)];
    let (blocks, rest) = text.as_bytes().as_chunks::<BLOCK_BYTES>();
    let mut cutter = Cutter { text, tokens, open: None };
    for (at, block) in blocks.iter().enumerate() {
        cutter.block(at * BLOCK_BYTES, block);
    }
    if !rest.is_empty() {
        let mut padded = [0; BLOCK_BYTES];
        padded[..rest.len()].copy_from_slice(rest);
        cutter.block(blocks.len() * BLOCK_BYTES, &padded);
    }
    if let Some((start, others)) = cutter.open {
        cutter.add(start, text.len(), others);
    }
}

/// Makes tokens of blocks.
struct Cutter<'a> {
    text: &'a str,
    tokens: &'a mut Vec<Token>,
    /// The token in which the last block ended: where it begins, and what has been seen after its first byte.
    open: Option<(usize, u8)>,
}

impl Cutter<'_> {
    #[inline]
    fn block(&mut self, base: usize, bytes: &[u8; BLOCK_BYTES]) {
        let block = Block::of(bytes);
        let mut edges = block.word ^ (block.word << 1 | u64::from(self.open.is_some()));
        if let Some((start, others)) = self.open {
            if edges == 0 {
                self.open = Some((start, others | block.seen(u64::MAX)));
                return;
            }
            let end = edges.trailing_zeros();
            edges &= edges - 1;
            self.add(start, base + end as usize, others | block.seen(before(end)));
        }
        self.open = None;
        // From here on they come in pairs.
        while edges != 0 {
            let start = edges.trailing_zeros();
            edges &= edges - 1;
            if edges == 0 {
                self.open = Some((base + start as usize, block.seen(after(start))));
                return;
            }
            let end = edges.trailing_zeros();
            edges &= edges - 1;
            self.add(base + start as usize, base + end as usize, block.seen(after(start) & before(end)));
        }
    }

    #[inline]
    fn add(&mut self, start: usize, end: usize, others: u8) {
        let first = CLASSES[usize::from(self.text.as_bytes()[start])];
        if (first | others) & BEYOND_ASCII == 0 {
            let shape = SHAPES[usize::from((first & 7) << 3 | others & 7)];
            self.tokens.push(Token::new(start, end, shape, true));
        } else {
            cut_by_character(self.text, start, end, self.tokens);
        }
    }
}

/// Adds the tokens of a run of letters and digits, some of them not ASCII. What is beyond ASCII can also be
/// punctuation.
#[inline(never)]
fn cut_by_character(text: &str, start: usize, end: usize, tokens: &mut Vec<Token>) {
    let mut at = start;
    while at < end {
        let (first, mut next) = symbol(text, at);
        if first == 0 {
            at = next;
            continue;
        }
        let (start, mut others) = (at, 0);
        loop {
            at = next;
            if at >= end {
                break;
            }
            let (class, after) = symbol(text, at);
            if class == 0 {
                break;
            }
            (others, next) = (others | class, after);
        }
        let is_ascii = text.as_bytes()[start..at].is_ascii();
        tokens.push(Token::new(start, at, shape(first, others), is_ascii));
    }
}

/// What the character at a place is, 0 if it is in no token, and where the next begins.
fn symbol(text: &str, at: usize) -> (u8, usize) {
    let class = |is_letter: bool, is_upper: bool| match (is_letter, is_upper) {
        (false, _) => 0,
        (true, true) => UPPER,
        (true, false) => LOWER,
    };
    match text.as_bytes()[at..] {
        [first @ 0xC2..=0xDF, second, ..] => {
            let letter = Letter::all()[Letter::index(first, second)];
            (class(letter.is_letter, letter.is_upper), at + 2)
        }
        [first, ..] if first.is_ascii() => (CLASSES[usize::from(first)], at + 1),
        ref text if is_caseless(text) => (LOWER, at + 3),
        _ => {
            let c = char_at(text, at);
            (class(is_address_letter(c), c.is_uppercase()), at + c.len_utf8())
        }
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

    #[test]
    fn every_character_is_what_it_is() {
        for c in '\0'..=char::MAX {
            let text = String::from(c);
            let expected = match c {
                '0'..='9' => DIGIT,
                _ if !is_address_letter(c) => 0,
                _ if c.is_uppercase() => UPPER,
                _ => LOWER,
            };
            assert_eq!(symbol(&text, 0), (expected, text.len()), "{c:?}");
        }
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
