//! Erasing a person.
//!
//! 1. *Request* ([`Erasures::request`]). The erasure is recorded with the person's pseudonyms, then the ledger gets the
//!    taking back of both answers under each of them, from nobody: the *tombstone* (`consent::replica`'s `erased`). Its
//!    version parts what has to go from what the person causes afterwards. Now the request is answered.
//! 2. *Spools*. Every collector learns of the tombstone by the tail of the ledger, and drops the person's rows when it
//!    seals. When all that was durable then is delivered or dropped, its files are gone, and the quarantine is gone
//!    through, it reports so (`local`).
//! 3. *Tables*. Once an interval one collector removes the rows of all open erasures from every table that has a
//!    `subject_id`, whatever it is ([`tables`]): one mutation a table. It does so again until all collectors have
//!    reported and nothing more is found; then it has found everything, since nobody is left who could bring more.
//! 4. *Proof*. All columns that could hold the pseudonym are searched, then it is waited until ClickHouse has removed
//!    the files of the parts that the mutations replaced. The erasure is *completed*.
//! 5. *Forgetting*. After `erasure.grace` the tombstone and the pseudonyms go as well. Until then they catch rows of a
//!    collector that nobody knew of.
//!
//! Each step can be repeated, by any collector: what was not finished is found in the tables of erasures and gone on
//! with ([`run`]).

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    clickhouse::{Client, Error},
    consent::{Change, ClientInfo, ConsentScope, ConsentState, Ledger, LedgerError, Source},
    event::{Jurisdiction, Micros, RedactedText, SubjectId, Tenant},
    pipeline::Subjects,
};

pub mod collectors;
mod local;
mod records;
mod run;
mod tables;

pub use local::Spools;
pub use records::{Collector, Erasure, State, Step};
pub use run::{Carrier, Options};

use records::{Person, Records};
use tables::Tables;

/// ClickHouse's `ACCESS_DENIED`.
const ACCESS_DENIED: u32 = 497;

/// An erasure that was not recorded or carried out, or that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The records of erasures cannot be read or written, or a table cannot be.
    #[error("the erasure could not be recorded or read")]
    ClickHouse(#[source] Error),
    /// This collector's user may not remove rows, or read all tables.
    #[error(
        "the ClickHouse user that erases may not do so: give erasure.clickhouse_user the role assent_eraser"
    )]
    NotAllowed(#[source] Error),
    /// The tombstone could not be put into the ledger.
    #[error("the erasure could not be put into the consent ledger")]
    Ledger(#[from] LedgerError),
    /// The request id was used for the erasure of somebody else.
    #[error("the request id belongs to the erasure of another person")]
    RequestReused,
    /// A mutation is still under way; it is waited for the next time.
    #[error("rows of {table} are still being removed")]
    Slow {
        /// Of which table.
        table: String,
    },
}

impl From<Error> for ErasureError {
    fn from(error: Error) -> Self {
        if error.code() == Some(ACCESS_DENIED) { Self::NotAllowed(error) } else { Self::ClickHouse(error) }
    }
}

/// Takes requests for erasure and says how they stand.
#[derive(Debug)]
pub struct Erasures {
    records: Records,
    tables: Tables,
    ledger: Arc<Ledger>,
    /// Somebody should look whether there is something to do.
    wanted: Notify,
}

/// Whom to erase.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose user it is.
    pub tenant: Tenant,
    /// The person, by a pseudonym under each key.
    pub subjects: Subjects,
    /// Those keys, in the same order.
    pub pseudonym_key_ids: Arc<[Arc<str>]>,
    /// The caller's id of the request; none when every call is an erasure of its own.
    pub request_id: Option<Uuid>,
    /// Who asks for it.
    pub actor: RedactedText<'static>,
}

impl Erasures {
    /// `client` records, as a collector may; `eraser` reads and removes.
    #[must_use]
    pub fn new(client: Client, eraser: Client, ledger: Arc<Ledger>, collector_id: &str) -> Self {
        Self {
            records: Records::new(client, collector_id),
            tables: Tables::new(eraser),
            ledger,
            wanted: Notify::new(),
        }
    }

    /// Records an erasure; answers when every event that was acknowledged before is bound to go.
    ///
    /// # Errors
    /// See [`ErasureError`]. It may be recorded all the same, and is carried out then; the same request id leads to it.
    pub async fn request(&self, request: Request) -> Result<Erasure, ErasureError> {
        let erasure_id = request.request_id.map_or_else(Uuid::now_v7, |id| id_of(&request.tenant, id));
        let Request { tenant, subjects, pseudonym_key_ids, actor, .. } = request;
        let keys = pseudonym_key_ids.iter().map(ToString::to_string);
        let person = Person { erasure_id, tenant, pseudonyms: subjects.iter().copied().zip(keys).collect() };
        if let Some(known) = self.records.get(&person.tenant, erasure_id).await? {
            let others = self.records.person(&person.tenant, erasure_id).await?;
            let same = others.is_none_or(|others| others.shares_a_pseudonym_with(&person));
            if !same {
                return Err(ErasureError::RequestReused);
            }
            if known.state != State::Requested {
                return Ok(known);
            }
        } else {
            self.records.begin(&person, actor.as_str()).await?;
        }
        self.mark(&person).await?;
        self.wanted.notify_one();
        // It was written a moment ago.
        let recorded = self.records.get(&person.tenant, erasure_id).await?;
        recorded.ok_or(ErasureError::ClickHouse(Error::Malformed("an erasure is not there")))
    }

    /// How many rows each table holds of a person. Nothing is written.
    ///
    /// # Errors
    /// See [`ErasureError`].
    pub async fn dry_run(&self, tenant: &Tenant, subjects: &Subjects) -> Result<Vec<Step>, ErasureError> {
        Ok(self.tables.count_of(tenant, subjects).await?)
    }

    /// How an erasure of this tenant stands; none if there is no such.
    ///
    /// # Errors
    /// See [`ErasureError`].
    pub async fn get(&self, tenant: &Tenant, erasure_id: Uuid) -> Result<Option<Erasure>, ErasureError> {
        Ok(self.records.get(tenant, erasure_id).await?)
    }

    /// Puts the tombstone into the ledger, and records its version. Can be repeated.
    async fn mark(&self, person: &Person) -> Result<(), ErasureError> {
        let ids: Vec<SubjectId> = person.pseudonyms.iter().map(|(id, _)| *id).collect();
        let Some(subjects) = Subjects::of_ids(&ids) else {
            return Err(ErasureError::ClickHouse(Error::Malformed("an erasure is about nobody")));
        };
        let keys: Arc<[Arc<str>]> = person.pseudonyms.iter().map(|(_, key)| key.as_str().into()).collect();
        let mut version = 0;
        for scope in ConsentScope::ALL {
            let change = Change {
                tenant: person.tenant.clone(),
                subjects,
                pseudonym_key_ids: Arc::clone(&keys),
                scope,
                // What no client can record.
                state: ConsentState::Unset,
                source: Source::PolicyDefault,
                policy_version: String::new(),
                jurisdiction: Jurisdiction::UNKNOWN,
                evidence: RedactedText::default(),
                actor: RedactedText::default(),
                language: String::new(),
                client: ClientInfo::default(),
                request_id: Some(tombstone(person.erasure_id, scope)),
            };
            // The last one has the highest version: it is above the first, and above all that came before.
            version = self.ledger.set(&change).await?.consent_version.max(version);
        }
        Ok(self.records.marked(person, version).await?)
    }

    /// Resolves when a request was recorded here since the last call.
    async fn wait_for_request(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.wanted.notified()).await;
    }
}

/// The request id of an erasure's row in the ledger.
const fn tombstone(erasure_id: Uuid, scope: ConsentScope) -> Uuid {
    Uuid::from_u128(erasure_id.as_u128() ^ (scope as u128) << 64)
}

/// The id of a tenant's request, which no other tenant's can have.
fn id_of(tenant: &Tenant, request_id: Uuid) -> Uuid {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"assent erasure\0");
    context.update(tenant.as_str().as_bytes());
    context.update(&[0]);
    context.update(request_id.as_bytes());
    let digest = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A time that was never set is none.
fn time(micros: i64) -> Option<Micros> {
    (micros > 0).then_some(Micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_one_tenant_s() {
        let id = Uuid::from_u128(7);
        let [acme, other] = ["acme", "other"].map(Tenant::new);
        assert_eq!(id_of(&acme, id), id_of(&acme, id));
        assert_ne!(id_of(&acme, id), id_of(&other, id));
        assert_ne!(id_of(&acme, id), id_of(&acme, Uuid::from_u128(8)));
    }
}
