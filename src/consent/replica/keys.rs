//! Which keys the ledger's people have their pseudonyms under, and whether this collector can speak for them.
//!
//! A collector that cannot make somebody's pseudonym misses what that person said, and what it records itself is
//! missed by those who look under another one. So it has to hold every key that is *in use*: one that some collector
//! has announced as its current one, before it stamped anything with it ([`announce`]), and one that consent lies
//! under. It need not hold a key that is *retired* (`assent pseudonyms retire`), nor one under which there are but
//! copies of what lies under a key that it holds (`also_under`): that is how a new key can be given to one collector
//! after the other.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clickhouse::{Client, Error};

/// What the ledger says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyState {
    pub(super) key_id: String,
    /// Retired for good; else some collector stamps with it.
    pub(super) retired: bool,
}

/// The keys of this collector against those of the ledger.
#[derive(Debug)]
pub(super) struct Keys {
    /// The ring's, the current one first.
    held: Vec<String>,
    seen: Mutex<Seen>,
    unknown: AtomicBool,
}

/// As many as keys were ever in use.
#[derive(Debug, Default)]
struct Seen {
    in_use: BTreeSet<String>,
    retired: BTreeSet<String>,
}

impl Keys {
    pub(super) fn new(held: Vec<String>) -> Self {
        Self { held, seen: Mutex::default(), unknown: AtomicBool::new(false) }
    }

    /// As an array in a query.
    pub(super) fn held_array(&self) -> String {
        format!("[{}]", list(&self.held))
    }

    pub(super) fn current(&self) -> &str {
        self.held.first().map_or("", String::as_str)
    }

    pub(super) const fn are_several(&self) -> bool {
        self.held.len() > 1
    }

    /// Whether this collector knows the people of all keys that are in use.
    pub(super) fn are_known(&self) -> bool {
        !self.unknown.load(Ordering::Relaxed)
    }

    /// The ledger has consent under this key, and not under one that is held. None when it is empty.
    pub(super) fn needs(&self, key_id: &str) {
        if key_id.is_empty() || self.held.iter().any(|held| held == key_id) {
            return;
        }
        let mut seen = self.seen();
        if seen.in_use.insert(key_id.to_owned()) && !seen.retired.contains(key_id) {
            tracing::error!(
                key_id,
                "the ledger has consent under a pseudonym key that this collector does not hold; consent is \
                 unknown until it does: give all collectors of this database the same pseudonym.key_file"
            );
        }
        self.find_out(&seen);
    }

    /// Takes in what the ledger says of all keys.
    pub(super) fn settle(&self, states: &[KeyState]) {
        let mut seen = self.seen();
        for KeyState { key_id, .. } in states.iter().filter(|it| it.retired) {
            if seen.retired.insert(key_id.clone()) && key_id == self.current() {
                tracing::error!(
                    key_id,
                    "the first key of this collector's ring is retired; consent is unknown until the ring begins \
                     with another one"
                );
            }
        }
        for KeyState { key_id, .. } in states.iter().filter(|it| !it.retired) {
            if seen.in_use.insert(key_id.clone())
                && !self.held.contains(key_id)
                && !seen.retired.contains(key_id)
            {
                tracing::error!(
                    key_id,
                    "other collectors stamp with a pseudonym key that this collector does not hold; consent is \
                     unknown until it does: give all collectors of this database the same pseudonym.key_file"
                );
            }
        }
        self.find_out(&seen);
    }

    fn find_out(&self, seen: &Seen) {
        let missing = seen.in_use.iter().any(|it| !self.held.contains(it) && !seen.retired.contains(it));
        self.unknown.store(missing || seen.retired.contains(self.current()), Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing in it can panic but for want of memory.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids of keys or of subjects as a list in a query. They are hexadecimal digits and hyphens.
pub(in crate::consent) fn list(ids: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let quoted: Vec<String> = ids.into_iter().map(|id| format!("'{id}'")).collect();
    quoted.join(",")
}

#[derive(Serialize)]
struct Announcement<'a> {
    key_id: &'a str,
}

#[derive(Deserialize)]
struct Announced {
    rows: u64,
}

/// Makes it known, durably, that this collector is about to stamp with its current key. From then on nobody who
/// does not hold that key gets a change of consent acknowledged, so that all that is said is said under it too.
pub(super) async fn announce(client: &Client, key_id: &str) -> Result<(), Error> {
    if is_announced(client, key_id).await? {
        return Ok(());
    }
    let body = serde_json::to_vec(&Announcement { key_id })?;
    client.insert_json("pseudonym_keys", "(key_id)", body.into(), &Uuid::now_v7().to_string(), &[]).await?;
    // What was confirmed has to be there, or nobody would know of it.
    if is_announced(client, key_id).await? { Ok(()) } else { Err(Error::TimedOut) }
}

async fn is_announced(client: &Client, key_id: &str) -> Result<bool, Error> {
    let sql = "SELECT count() AS rows FROM pseudonym_keys WHERE key_id = {key:String}";
    let announced = client.query_rows::<Announced>(sql, &[("key", key_id)]).await?;
    Ok(announced.first().is_some_and(|it| it.rows > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(held: &[&str]) -> Keys {
        Keys::new(held.iter().map(|&id| id.to_owned()).collect())
    }

    fn state(key_id: &str, retired: bool) -> KeyState {
        KeyState { key_id: key_id.to_owned(), retired }
    }

    #[test]
    fn all_keys_in_use_must_be_held_until_they_are_retired() {
        let keys = keys(&["k2", "k1"]);
        keys.settle(&[state("k1", false), state("k2", false)]);
        keys.needs("k1");
        keys.needs("");
        assert!(keys.are_known());
        keys.needs("k0");
        assert!(!keys.are_known());
        keys.settle(&[state("k1", false), state("k2", false)]);
        assert!(!keys.are_known(), "what was seen once stays");
        keys.settle(&[state("k1", false), state("k2", false), state("k0", true)]);
        assert!(keys.are_known());
        keys.settle(&[state("k3", false)]);
        assert!(!keys.are_known(), "another collector stamps with it");
    }

    #[test]
    fn a_ring_may_keep_a_retired_key_and_not_begin_with_it() {
        let (begins, keeps) = (keys(&["k1", "k2"]), keys(&["k2", "k1"]));
        for keys in [&begins, &keeps] {
            keys.settle(&[state("k1", true), state("k2", false)]);
        }
        assert!(!begins.are_known());
        assert!(keeps.are_known());
    }

    #[test]
    fn ids_are_quoted_for_the_server() {
        assert_eq!(list(["a1", "b2"]), "'a1','b2'");
        assert_eq!(keys(&["k2", "k1"]).held_array(), "['k2','k1']");
    }
}
