//! The words of a text and what is known of each: what the recognisers of names and addresses start from.

use super::{
    lexer::{Case, Kind, Token},
    lexicon::{Class, Lexicon},
};

/// A text's tokens with their classes.
pub(super) struct Words<'a> {
    text: &'a str,
    tokens: &'a [Token],
    classes: Vec<Class>,
    /// Nothing is written with a capital: lower case says nothing then.
    pub(super) no_capitals: bool,
}

impl<'a> Words<'a> {
    /// Looks up all words of a text.
    pub(super) fn of(text: &'a str, tokens: &'a [Token]) -> Self {
        let lexicon = Lexicon::shipped();
        let mut classes = Vec::with_capacity(tokens.len());
        let mut no_capitals = true;
        for token in tokens {
            no_capitals &= token.case == Case::Lower;
            classes.push(match token.kind {
                Kind::Word => lexicon.class_in(text, token.start(), token.end()),
                Kind::Number | Kind::Mixed => Class::UNKNOWN,
            });
        }
        Self { text, tokens, classes, no_capitals }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token at a place in their order.
    pub(super) fn get(&self, at: usize) -> Option<Token> {
        self.tokens.get(at).copied()
    }

    /// The word there; empty beyond the last.
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.get(at).map_or("", |token| &self.text[token.start()..token.end()])
    }

    /// How it is written.
    pub(super) fn case(&self, at: usize) -> Case {
        self.get(at).map_or(Case::Lower, |token| token.case)
    }

    /// What it is; nothing beyond the last.
    pub(super) fn class(&self, at: usize) -> Class {
        self.classes.get(at).copied().unwrap_or_default()
    }

    /// Whether the word there is one of these.
    pub(super) fn is(&self, at: usize, any: Class) -> bool {
        self.class(at).is(any)
    }

    /// Whether the word there is, in any case of ASCII letters, one of a list in lower case.
    pub(super) fn is_one_of(&self, at: usize, list: &[&str]) -> bool {
        // No list holds a longer word, and most words that are asked about are in none.
        let word = self.word(at).as_bytes();
        let Some(first) = word.first().map(u8::to_ascii_lowercase) else { return false };
        let is_it = |listed: &&str| {
            let listed = listed.as_bytes();
            listed.len() == word.len()
                && listed[0].to_ascii_lowercase() == first
                && listed.eq_ignore_ascii_case(word)
        };
        word.len() <= 16 && list.iter().any(is_it)
    }

    /// What stands between a token and the next; after the last, what is left of the text.
    pub(super) fn gap_after(&self, at: usize) -> &'a str {
        let start = self.get(at).map_or(self.text.len(), Token::end);
        let end = self.get(at + 1).map_or(self.text.len(), Token::start);
        &self.text[start..end]
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
        let gap = self.gap_before(at);
        // Between most words there is a space.
        at == 0
            || gap != " " && gap.contains(['.', '!', '?', ':', '\n', '"', '“', '„', '«', '•', '*', '¿', '¡'])
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
