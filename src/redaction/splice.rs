//! The tokens of a text in which spans were replaced, made of those of the text before: texts with hits are
//! searched again, and most of their words have been cut and looked up by then.
//!
//! A token that lies between two spans is the same in both texts: it is a maximal run of letters and digits, and
//! neither a placeholder's first character nor its last is one. What is known of it depends on the characters next
//! to it too ([`words::look_up`]), so those that touch a span are looked up again.

use super::{
    lexer::{self, Token},
    words,
};

/// What is made; kept, for its memory.
pub(super) struct Spliced {
    /// The tokens of the text after.
    pub(super) tokens: Vec<Token>,
    /// Those of the last placeholder.
    of_placeholder: Vec<Token>,
    /// Which of `tokens` are to be looked up.
    new: Vec<usize>,
}

impl Spliced {
    pub(super) const NONE: Self = Self { tokens: Vec::new(), of_placeholder: Vec::new(), new: Vec::new() };
}

/// Tokens under way.
pub(super) struct Splice<'a> {
    /// Those of the text before that are left.
    before: &'a [Token],
    after: &'a mut Spliced,
    /// Where the last span ended in the text before, and its placeholder in the text after.
    ends: (usize, usize),
    /// A span begins or ends within a token, or a placeholder might go on in the text around it.
    has_failed: bool,
}

impl<'a> Splice<'a> {
    pub(super) fn new(before: &'a [Token], after: &'a mut Spliced) -> Self {
        after.tokens.clear();
        after.new.clear();
        Self { before, after, ends: (0, 0), has_failed: false }
    }

    /// A placeholder has taken the place of a span, behind all before it.
    pub(super) fn replaced(&mut self, (start, end): (usize, usize), placeholder: &str) {
        self.keep_until(start);
        let at = self.moved(start);
        let Spliced { tokens, of_placeholder, new } = &mut *self.after;
        if tokens.last().is_some_and(|last| last.end() == at) {
            new.push(tokens.len() - 1);
        }
        let is_bounded = placeholder.starts_with('<') && placeholder.ends_with('>');
        let within = self.before.iter().take_while(|token| token.start() < end);
        let (count, last_end) = within.fold((0, end), |(count, _), token| (count + 1, token.end()));
        self.has_failed |= !is_bounded || last_end > end;
        self.before = &self.before[count..];

        lexer::tokenise(placeholder, of_placeholder);
        new.extend(tokens.len()..tokens.len() + of_placeholder.len());
        tokens.extend(of_placeholder.iter().map(|token| moved(*token, 0, at)));
        self.ends = (end, at + placeholder.len());
        if self.before.first().is_some_and(|next| next.start() == end) {
            // It will be the next one.
            new.push(tokens.len());
        }
    }

    /// The tokens are those of the text after, unless it says no.
    pub(super) fn finish(mut self, text: &str) -> bool {
        self.keep_until(usize::MAX);
        if self.has_failed {
            return false;
        }
        let Spliced { tokens, new, .. } = &mut *self.after;
        for &at in &*new {
            // One that would be next may be within the next span.
            if let Some(token) = tokens.get_mut(at) {
                words::look_up(text, std::slice::from_mut(token));
            }
        }
        #[cfg(debug_assertions)]
        self.check(text);
        true
    }

    /// Keeps the tokens that end before a place in the text before, or there.
    fn keep_until(&mut self, place: usize) {
        let count = self.before.iter().take_while(|token| token.end() <= place).count();
        let (kept, left) = self.before.split_at(count);
        let (from, to) = self.ends;
        self.after.tokens.extend(kept.iter().map(|token| moved(*token, from, to)));
        self.has_failed |= left.first().is_some_and(|token| token.start() < place && place != usize::MAX);
        self.before = left;
    }

    /// Where a place between the last span and the next is in the text after.
    const fn moved(&self, place: usize) -> usize {
        place - self.ends.0 + self.ends.1
    }

    #[cfg(debug_assertions)]
    fn check(&self, text: &str) {
        let mut tokens = Vec::new();
        lexer::tokenise(text, &mut tokens);
        words::look_up(text, &mut tokens);
        assert_eq!(self.after.tokens, tokens, "in {text:?}");
    }
}

/// A token at another place.
const fn moved(mut token: Token, from: usize, to: usize) -> Token {
    // The text ends within 4 GiB, like that before.
    token.start = (token.start() - from + to) as u32;
    token.end = (token.end() - from + to) as u32;
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splices the tokens of a text whose spans are replaced; `None` when they have to be cut anew. The debug build
    /// compares them with such.
    fn spliced(text: &str, spans: &[(&str, &str)]) -> Option<Vec<Token>> {
        let (mut tokens, mut after) = (Vec::new(), Spliced::NONE);
        lexer::tokenise(text, &mut tokens);
        words::look_up(text, &mut tokens);
        let mut splice = Splice::new(&tokens, &mut after);
        let (mut redacted, mut copied) = (String::new(), 0);
        for (span, placeholder) in spans {
            let start = copied + text[copied..].find(span).unwrap();
            redacted += &text[copied..start];
            redacted += placeholder;
            copied = start + span.len();
            splice.replaced((start, copied), placeholder);
        }
        redacted += &text[copied..];
        splice.finish(&redacted).then_some(after.tokens)
    }

    #[test]
    fn words_around_what_was_replaced_are_kept() {
        let text = "Ask Anna Berg or Émile, +44 20 7946 0912; в Москве.";
        let spans = [("Anna Berg", "<PERSON_1>"), ("Émile", "<PERSON_2>"), ("+44 20 7946 0912", "<PHONE_1>")];
        assert_eq!(spliced(text, &spans).unwrap().len(), 10);
        let next_to_each_other = [("Anna", "<PERSON_1>"), (" Berg", "<PERSON_2>"), (" or", "<A_B_1>")];
        assert_eq!(spliced(text, &next_to_each_other).unwrap().len(), 15);
        assert_eq!(spliced("x_5>y<NAME_7", &[(">y<", "<ID_1>")]).unwrap().len(), 6);
        assert_eq!(spliced("Anna", &[("Anna", "<PERSON_1>")]).unwrap().len(), 2);
    }

    #[test]
    fn where_a_word_is_cut_or_may_go_on_all_are_cut_anew() {
        assert_eq!(spliced("annalena", &[("anna", "<PERSON_1>")]), None);
        assert_eq!(spliced("annalena", &[("lena", "<PERSON_1>")]), None);
        assert_eq!(spliced("to anna", &[("anna", "hash")]), None);
    }
}
