//! What is done with what was found.

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Entity;

/// What is done with personal data of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// `<EMAIL_1>`, numbered in each text: nothing links two texts.
    #[default]
    Placeholder,
    /// `<EMAIL:…>` with a keyed hash: the same value gives the same 16 letters in all texts of a tenant, so that
    /// it can be counted and joined by. It is a pseudonym, and so personal data still.
    Hash,
    /// The event is refused, and the client told so.
    Drop,
}

/// What is done with each kind of personal data; what is not named gets a placeholder.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    by_entity: Vec<(Entity, Action)>,
    hasher: Option<Hasher>,
}

/// Hashes values for one tenant.
#[derive(Clone)]
pub struct Hasher {
    key: hmac::Key,
    tenant: Box<str>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// Takes a key of 32 bytes, which is all that hides what has few possible values, such as phone numbers.
    #[must_use]
    pub fn new(key: &[u8; 32], tenant: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), tenant: tenant.into() }
    }

    /// 64 bits of HMAC-SHA-256 over `tenant ‖ 0x00 ‖ entity ‖ 0x00 ‖ value`, as letters from `a` to `p`: digits
    /// could be taken for a number by the next search.
    fn letters(&self, entity: Entity, value: &str) -> impl Iterator<Item = char> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&*self.tenant, entity.as_str()] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        context.update(value.as_bytes());
        let mut hash = [0; 8];
        hash.copy_from_slice(&context.sign().as_ref()[..8]);
        hash.into_iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| char::from(b'a' + nibble))
    }
}

impl Actions {
    /// Names what is done with some kinds of personal data. Without a hasher, what should be hashed gets a
    /// placeholder, which says less.
    #[must_use]
    pub fn new(by_entity: Vec<(Entity, Action)>, hasher: Option<Hasher>) -> Self {
        Self { by_entity, hasher }
    }

    /// What is done with a kind.
    pub(super) fn of(&self, entity: Entity) -> Action {
        self.by_entity
            .iter()
            .find(|(known, _)| *known == entity)
            .map(|&(_, action)| action)
            .unwrap_or_default()
    }

    /// The hash of a value that is to be hashed.
    pub(super) fn hash(&self, entity: Entity, value: &str) -> Option<String> {
        match (self.of(entity), &self.hasher) {
            (Action::Hash, Some(hasher)) => Some(hasher.letters(entity, value).collect()),
            _ => None,
        }
    }
}
