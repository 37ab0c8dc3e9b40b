//! Organisations and places, where what is around them makes them personal.
use super::{Span, words::Words};
pub(super) fn find(_words: &Words<'_>, _spans: &mut Vec<Span>) {}
