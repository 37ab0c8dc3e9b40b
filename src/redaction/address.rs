use super::{Span, words::Words};
pub(super) fn find(_words: &Words<'_>, _spans: &mut Vec<Span>) {}
