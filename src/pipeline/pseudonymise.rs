//! Puts a keyed pseudonym in the place of a user id.
//!
//! `subject_id` = the first 128 bits of HMAC-SHA-256(key, tenant ‖ 0x00 ‖ user_id). A tenant's name
//! holds no NUL, so no two pairs give the same input. Without the key nobody can link a pseudonym to
//! a person, not even by trying all user ids; whoever holds it can, so the key is kept apart from
//! the data. All collectors of a deployment must hold the same keys, or they could not see each
//! other's opt-outs.
//!
//! While a key is being replaced there are several. Events are stamped under the first, and people are looked
//! for under all ([`Pseudonymiser::subjects`]); `docs/pseudonyms.md` says how one is replaced.

use std::{borrow::Cow, fmt, sync::Arc};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    event::{Payload, Pseudonymous, RawUserId, SubjectId, Tenant, Valid},
    redaction::Author,
};

mod key_ring;
mod subjects;

pub use key_ring::{KeyRing, RingError};
pub use subjects::Subjects;

/// The first word of the text form.
const TEXT_TAG: &str = "assent-pseudonym-v1";
/// What a key's id is the HMAC of.
const ID_LABEL: &[u8] = b"assent pseudonym key id";
/// The bytes of a key.
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// The text is not a key. It is not repeated.
    #[error("a pseudonym key is one line of the form `{TEXT_TAG} ID KEY`, with 8 and 64 hexadecimal digits")]
    Malformed,
    /// The id is another key's, so one of the two was changed or cut.
    #[error("the id of the pseudonym key does not belong to the key: restore the file as it was created")]
    WrongId,
}

/// A key with its id. Equal keys have equal ids, and an id says nothing about its key. Wiped from
/// memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PseudonymKey {
    id: String,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl PseudonymKey {
    /// Makes a random key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(&mut *key).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self::new(key))
    }

    fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), ID_LABEL);
        Self { id: hex_of(&tag.as_ref()[..4]), key }
    }

    /// Reads the text form; white space around the line is ignored.
    ///
    /// # Errors
    /// When it has another form or its id is not the key's.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(TEXT_TAG), Some(id), Some(hex), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyError::Malformed);
        };
        let key = Self::new(Zeroizing::new(bytes_of_hex(hex).ok_or(KeyError::Malformed)?));
        if id.eq_ignore_ascii_case(&key.id) { Ok(key) } else { Err(KeyError::WrongId) }
    }

    /// The text form, one line with its newline. It is the secret itself: for a file that only the
    /// collector may read.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let hex = Zeroizing::new(hex_of(&*self.key));
        let parts = [TEXT_TAG, " ", &self.id, " ", &hex, "\n"];
        // At its full size from the start: a text that grows leaves copies behind that nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        text
    }

    /// A key for another purpose, from which this one cannot be told.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.key), purpose.as_bytes());
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        derived.copy_from_slice(tag.as_ref());
        derived
    }

    /// 8 hexadecimal digits; may be logged and stored.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKey({})", self.id)
    }
}

/// The stage. It holds the keys of a ring.
pub struct Pseudonymiser {
    /// Of all keys, in the order of the ring.
    key_ids: Arc<[Arc<str>]>,
    /// The keys expanded for HMAC. `ring` has no way to wipe them, so they live as long as the process.
    current: hmac::Key,
    older: Vec<hmac::Key>,
}

impl Pseudonymiser {
    /// Takes one key into use.
    #[must_use]
    pub fn new(key: &PseudonymKey) -> Self {
        Self::of(key, &[])
    }

    /// Takes the keys of a ring into use.
    #[must_use]
    pub fn of_ring(ring: &KeyRing) -> Self {
        Self::of(ring.current(), ring.older())
    }

    fn of(current: &PseudonymKey, older: &[PseudonymKey]) -> Self {
        let expanded = |key: &PseudonymKey| hmac::Key::new(hmac::HMAC_SHA256, &*key.key);
        Self {
            key_ids: std::iter::once(current).chain(older).map(|key| key.id().into()).collect(),
            current: expanded(current),
            older: older.iter().map(expanded).collect(),
        }
    }

    /// The id of the current key, as in the column `pseudonym_key_id`.
    #[must_use]
    pub fn key_id(&self) -> &Arc<str> {
        // There is one.
        &self.key_ids[0]
    }

    /// The ids of all keys, in the order of the ring.
    #[must_use]
    pub fn key_ids(&self) -> &Arc<[Arc<str>]> {
        &self.key_ids
    }

    /// All pseudonyms of a tenant's user: what has to be asked for whatever was recorded of that person, and
    /// what has to go when the person is erased.
    #[must_use]
    pub fn subjects(&self, tenant: &Tenant, user_id: RawUserId<'_>) -> Subjects {
        let mut subjects = Subjects::from(subject(&self.current, tenant, user_id));
        self.older.iter().for_each(|key| subjects.push(subject(key, tenant, user_id)));
        subjects
    }

    /// Takes the user id out of an event and gives it as what the redactor looks for in the texts. Where a
    /// client built a session, interaction or suggestion id from the user id, the pseudonym takes its place
    /// there too: such ids still tie events together. `last` is the person of the event before, who is often
    /// the same: most requests are of one app, and so of one person. It then holds this event's.
    pub(super) fn pseudonymise<'a, 'l>(
        &'a self,
        valid: Valid<'a>,
        last: &'l mut Option<(RawUserId<'a>, Subjects)>,
    ) -> (Pseudonymous<'a>, Author<'a>, &'l Subjects) {
        let Valid { mut context, user_id, mut payload } = valid;
        if last.as_ref().is_some_and(|(other, _)| *other != user_id) {
            *last = None;
        }
        let (_, subjects) = last.get_or_insert_with(|| (user_id, self.subjects(context.tenant, user_id)));
        let subject_id = subjects.current();
        let author = Author::of_event(user_id.expose());
        let suggestion_id = match &mut payload {
            Payload::SuggestionShown { suggestion_id, .. }
            | Payload::SuggestionFeedback { suggestion_id, .. } => Some(suggestion_id),
            Payload::TypedText { .. } | Payload::LanguagePreference { .. } => None,
        };
        for id in [&mut context.session_id, &mut context.interaction_id].into_iter().chain(suggestion_id) {
            if let Some(without) = author.replaced(id, || subject_id.as_uuid().simple().to_string()) {
                *id = Cow::Owned(without);
            }
        }
        let pseudonym_key_id = &**self.key_id();
        (Pseudonymous { context, subject_id, pseudonym_key_id, payload }, author, subjects)
    }
}

fn subject(key: &hmac::Key, tenant: &Tenant, user_id: RawUserId<'_>) -> SubjectId {
    let mut context = hmac::Context::with_key(key);
    context.update(tenant.as_str().as_bytes());
    context.update(&[0]);
    context.update(user_id.expose().as_bytes());
    let mut subject = [0; 16];
    subject.copy_from_slice(&context.sign().as_ref()[..16]);
    SubjectId::from_bytes(subject)
}

impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonymiser({})", self.key_ids.join(" "))
    }
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // At its full size from the start, since it may be a key's.
    let mut hex = String::with_capacity(2 * bytes.len());
    hex.extend(
        bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from),
    );
    hex
}

/// Reads 64 hexadecimal digits, in any case.
pub(super) fn bytes_of_hex(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
