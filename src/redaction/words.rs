//! The words of a text and what is known of each: what the recognisers of names and addresses start from.

use super::{
    address,
    lexer::{Case, Kind, Token},
    lexicon::{Class, Lexicon},
    list::List,
    people, places,
};

/// Recognisers that look at a word ([`Token::hints`]).
pub(super) struct Hint;

impl Hint {
    /// A name may begin with it, or be around it.
    pub(super) const NAME: u8 = 1;
    /// An address may be around it.
    pub(super) const ADDRESS: u8 = 1 << 1;
    /// An organisation or a place may be next to it.
    pub(super) const PLACE: u8 = 1 << 2;
}

/// Which recognisers look at a word of a class: most words are for none.
pub(super) fn hints(class: Class, is_capital: bool) -> u8 {
    [
        (people::is_looked_at(class, is_capital), Hint::NAME),
        (address::is_looked_at(class, is_capital), Hint::ADDRESS),
        (places::is_looked_at(class), Hint::PLACE),
    ]
    .into_iter()
    .filter_map(|(is_looked_at, hint)| is_looked_at.then_some(hint))
    .fold(0, |hints, hint| hints | hint)
}

/// Takes the hints of the two tokens of a placeholder, `<PERSON_1>`: neither is anything to a recogniser, and texts with
/// hits are searched again.
fn forget_placeholder(text: &[u8], token: &mut Token) {
    let before = text[..token.start()].last();
    let is_part = match token.kind {
        Kind::Number => before == Some(&b'_') && text.get(token.end()) == Some(&b'>'),
        _ => before == Some(&b'<') && text.get(token.end()) == Some(&b'_'),
    };
    if is_part {
        token.hints = 0;
    }
}

/// Looks up words of a text. What comes of it depends on a word and on the characters next to it.
pub(super) fn look_up(text: &str, tokens: &mut [Token]) {
    let lexicon = Lexicon::shipped();
    for token in tokens {
        (token.class, token.hints) = match token.kind {
            Kind::Word => lexicon.look_up(text, *token),
            Kind::Number | Kind::Mixed => (Class::UNKNOWN, Hint::ADDRESS),
        };
        if token.case == Case::Upper || token.kind == Kind::Number {
            forget_placeholder(text.as_bytes(), token);
        }
    }
}

/// A text's tokens with their classes.
pub(super) struct Words<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// Nothing is written with a capital: lower case says nothing then.
    pub(super) no_capitals: bool,
    /// What some recogniser looks at.
    hints: u8,
}

impl<'a> Words<'a> {
    /// Looks up all words of a text.
    pub(super) fn of(text: &'a str, tokens: &'a mut [Token]) -> Self {
        look_up(text, tokens);
        Self::known(text, tokens)
    }

    /// The words of a text that were [looked up](look_up).
    pub(super) fn known(text: &'a str, tokens: &'a [Token]) -> Self {
        let (mut no_capitals, mut hints) = (true, 0);
        for token in tokens {
            no_capitals &= token.case == Case::Lower;
            hints |= token.hints;
        }
        Self { text, tokens, no_capitals, hints }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The first token from a place on that has a hint.
    #[inline]
    pub(super) fn next_with(&self, hint: u8, from: usize) -> Option<usize> {
        if self.hints & hint == 0 {
            return None;
        }
        self.tokens.get(from..)?.iter().position(|token| token.hints & hint != 0).map(|offset| from + offset)
    }

    /// The token at a place in their order.
    pub(super) fn get(&self, at: usize) -> Option<Token> {
        self.tokens.get(at).copied()
    }

    /// The word there; empty beyond the last.
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.get(at).map_or("", |token| &self.text[token.start()..token.end()])
    }

    /// The words from a place up to another, and what stands between them; empty beyond the last.
    pub(super) fn phrase(&self, at: usize, end: usize) -> &'a str {
        match (self.get(at), self.get(end.wrapping_sub(1))) {
            (Some(first), Some(last)) if at < end => &self.text[first.start()..last.end()],
            _ => "",
        }
    }

    /// How it is written.
    pub(super) fn case(&self, at: usize) -> Case {
        self.get(at).map_or(Case::Lower, |token| token.case)
    }

    /// What it is; nothing beyond the last.
    pub(super) fn class(&self, at: usize) -> Class {
        self.tokens.get(at).map_or(Class::UNKNOWN, |token| token.class)
    }

    /// Whether the word there is one of these.
    pub(super) fn is(&self, at: usize, any: Class) -> bool {
        self.class(at).is(any)
    }

    /// Whether the word there is one of a list, in any case of ASCII letters.
    #[inline]
    pub(super) fn is_one_of(&self, at: usize, list: &List) -> bool {
        list.holds(self.word(at))
    }

    /// What stands between a token and the next; after the last, what is left of the text.
    pub(super) fn gap_after(&self, at: usize) -> &'a str {
        let start = self.get(at).map_or(self.text.len(), Token::end);
        let end = self.get(at + 1).map_or(self.text.len(), Token::start);
        &self.text[start..end]
    }

    /// Whether a space, and nothing else, stands between a token and the next.
    #[inline]
    pub(super) fn is_spaced_after(&self, at: usize) -> bool {
        match self.tokens.get(at..at + 2) {
            Some([token, next]) => next.start - token.end == 1 && self.text.as_bytes()[token.end()] == b' ',
            _ => self.gap_after(at) == " ",
        }
    }

    /// Whether a space, and nothing else, stands between the token before and this one.
    #[inline]
    pub(super) fn is_spaced_before(&self, at: usize) -> bool {
        match at.checked_sub(1) {
            Some(before) => self.is_spaced_after(before),
            None => self.gap_before(at) == " ",
        }
    }

    /// What stands between the token before and this one; before the first, what the text begins with.
    pub(super) fn gap_before(&self, at: usize) -> &'a str {
        match at.checked_sub(1) {
            Some(before) => self.gap_after(before),
            None => &self.text[..self.get(0).map_or(self.text.len(), Token::start)],
        }
    }

    /// Whether a token is a word with a capital at its beginning.
    pub(super) fn is_capital(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| {
            token.kind == Kind::Word
                && match token.case {
                    Case::Lower => false,
                    Case::Capital | Case::Upper => true,
                    Case::Camel => self.word(at).starts_with(char::is_uppercase),
                }
        })
    }

    pub(super) fn is_number(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| token.kind == Kind::Number)
    }

    /// Whether a sentence or a line begins with a token, as far as one can see.
    pub(super) fn begins_sentence(&self, at: usize) -> bool {
        // Between most words there is a space.
        at == 0
            || !self.is_spaced_before(at)
                && self
                    .gap_before(at)
                    .contains(['.', '!', '?', ':', '\n', '"', '“', '„', '«', '•', '*', '¿', '¡'])
    }

    /// Whether a token is a part of a name in code, a path, a handle or a placeholder.
    pub(super) fn is_in_code(&self, at: usize) -> bool {
        let Some(token) = self.get(at) else { return true };
        let before = &self.text.as_bytes()[..token.start()];
        let after = &self.text.as_bytes()[token.end()..];
        let joined_before = match before {
            [.., b'_' | b'@' | b'/' | b'\\' | b'#' | b'$' | b'<' | b'='] => true,
            [.., b, b'.' | b':'] => {
                b.is_ascii_alphanumeric() && !self.is_initial(at.wrapping_sub(1)) || *b == b':'
            }
            [.., b'-', b'-'] => true,
            _ => false,
        };
        let joined_after = match after {
            [b'_' | b'@' | b'\\' | b'=' | b'>', ..] => true,
            [b'(', b')', ..] | [b':', b':', ..] => true,
            [b'.' | b'/', b, ..] => b.is_ascii_lowercase(),
            _ => false,
        };
        joined_before || joined_after
    }

    /// Whether a token is one capital letter.
    pub(super) fn is_initial(&self, at: usize) -> bool {
        let word = self.word(at);
        let mut chars = word.chars();
        chars.next().is_some_and(char::is_uppercase) && chars.next().is_none()
    }
}
