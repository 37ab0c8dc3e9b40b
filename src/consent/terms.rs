//! The version of the terms of use that an answer was given to.

use std::{fmt, ops::Deref, sync::Arc};

/// A version of terms, as the client spelled it; empty when nobody noted which. Cheap to clone: every
/// event carries one.
#[derive(Clone)]
pub struct TermsVersion(Text);

#[derive(Clone)]
enum Text {
    /// One of the few that a replica knows. Counting who holds it would let all threads of a
    /// collector meet at one counter, once an event.
    Interned(&'static str),
    Owned(Arc<str>),
}

impl TermsVersion {
    /// One that stays in memory until the process ends.
    #[must_use]
    pub const fn interned(text: &'static str) -> Self {
        Self(Text::Interned(text))
    }
}

impl From<&str> for TermsVersion {
    fn from(text: &str) -> Self {
        Self(Text::Owned(text.into()))
    }
}

impl Default for TermsVersion {
    fn default() -> Self {
        Self::interned("")
    }
}

impl Deref for TermsVersion {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::Interned(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl PartialEq for TermsVersion {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TermsVersion {}

impl fmt::Debug for TermsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
