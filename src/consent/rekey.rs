//! Replacing a pseudonym key, as far as the ledger goes: people's consent is copied under the new key, and then the
//! old one is retired.
//!
//! A pseudonym says nothing about whose it is, so only people whose user ids are at hand can be copied. A copy is the
//! same change under another pseudonym: its id, version, time and evidence stay as they are, so that whatever is
//! asked of one pseudonym has the same answer of the other, also for a time that has passed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::replica::keys::list;
use crate::{
    clickhouse::{Client, Error},
    event::{RawUserId, Tenant},
    pipeline::{Pseudonymiser, Subjects},
};

/// People who are copied with one insert. One insert is one part of the table, there as a whole or not at all.
pub const BATCH: usize = 256;

/// What became of people's consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many people were asked for.
    pub people: u64,
    /// How many of them had said anything.
    pub with_consent: u64,
    /// How many changes were copied.
    pub copied: u64,
    /// How many lay under the current key already.
    pub already_there: u64,
}

/// A key as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Its id.
    pub key_id: String,
    /// Whether a collector has stamped with it.
    pub in_use: bool,
    /// Whether it is retired.
    pub retired: bool,
    /// How many people have consent under it.
    pub people: u64,
    /// How many of them have a change under it that is under no other key which is not retired.
    pub only_here: u64,
}

/// A key that is not retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// Nobody knows the key.
    #[error("no collector stamps with a key {key_id:?}, and no consent lies under it")]
    Unknown {
        /// The key.
        key_id: String,
    },
    /// There would be no key left.
    #[error(
        "no collector stamps with another key yet: put the new one first on every collector, and start them; if the \
         old one is lost, so that none can start: --lost"
    )]
    Last,
    /// People would be forgotten.
    #[error(
        "{people} people have consent under this key alone: copy it with `assent pseudonyms rekey`. Those who are \
         nobody's users any more can be left behind, for good: --leaving-behind {people}"
    )]
    LeftBehind {
        /// How many.
        people: u64,
    },
    /// The server.
    #[error(transparent)]
    ClickHouse(#[from] Error),
}

/// Copies consent under the current key of a ring.
#[derive(Debug)]
pub struct Rekeying<'a> {
    client: &'a Client,
    pseudonymiser: &'a Pseudonymiser,
    tenant: Tenant,
    waiting: Vec<Subjects>,
    copied: Copied,
}

#[derive(Default, Deserialize)]
struct Missing {
    people: u64,
    missing: u64,
    there: u64,
}

impl<'a> Rekeying<'a> {
    /// Of a tenant's users.
    #[must_use]
    pub fn new(client: &'a Client, pseudonymiser: &'a Pseudonymiser, tenant: Tenant) -> Self {
        let waiting = Vec::with_capacity(BATCH);
        Self { client, pseudonymiser, tenant, waiting, copied: Copied::default() }
    }

    /// Adds a person, and copies when there are enough.
    ///
    /// # Errors
    /// See [`Error`]. What was not copied is when it is all done again.
    pub async fn add(&mut self, user_id: RawUserId<'_>) -> Result<(), Error> {
        self.waiting.push(self.pseudonymiser.subjects(&self.tenant, user_id));
        if self.waiting.len() < BATCH { Ok(()) } else { self.copy().await }
    }

    /// Copies the rest, and says what was done.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn finish(mut self) -> Result<Copied, Error> {
        self.copy().await?;
        Ok(self.copied)
    }

    async fn copy(&mut self) -> Result<(), Error> {
        let people = std::mem::take(&mut self.waiting);
        self.copied.people += people.len() as u64;
        if people.is_empty() || self.pseudonymiser.key_ids().len() < 2 {
            return Ok(());
        }
        let sources = Sources::new(&people);
        let params = [("tenant", self.tenant.as_str())];
        let found = self.client.query_rows::<Missing>(&sources.count(), &params).await?;
        let found = found.into_iter().next().unwrap_or_default();
        if found.missing > 0 {
            self.client.insert_select(&sources.insert(self.pseudonymiser.key_id()), &params).await?;
        }
        self.copied.with_consent += found.people;
        self.copied.copied += found.missing;
        self.copied.already_there += found.there;
        Ok(())
    }
}

/// The columns that a copy has in common with what it is a copy of.
const SAME: &str = "tenant, scope, state, source, policy_version, consent_version, jurisdiction, evidence, actor, \
    consent_id, request_id, language, client_name, client_version, platform, collector_id, recorded_at";

/// What lies under people's older pseudonyms, and what it becomes. Lists in a query, with commas between.
struct Sources {
    older: String,
    /// For each of these, the pseudonym under the current key.
    current_of_older: String,
    current: String,
}

impl Sources {
    fn new(people: &[Subjects]) -> Self {
        let pairs = || people.iter().flat_map(|it| it.iter().skip(1).map(|older| (*older, it.current())));
        Self {
            older: list(pairs().map(|(older, _)| older)),
            current_of_older: list(pairs().map(|(_, current)| current)),
            current: list(people.iter().map(Subjects::current)),
        }
    }

    /// The rows under older keys, each change once for each person, and whether it is under the current one.
    fn changes(&self) -> String {
        let Self { older, current_of_older, current } = self;
        // Columns of the projection by person alone: the table itself is in another order.
        format!(
            "SELECT {SAME}, pseudonym_key_id,
                    toUUID(transform(toString(c.subject_id), [{older}], [{current_of_older}], '')) AS becomes,
                    (becomes, c.consent_id) IN
                    (
                        SELECT subject_id, consent_id FROM consent_changes
                        WHERE tenant = {{tenant:String}} AND subject_id IN ({current})
                    ) AS is_there
             FROM consent_changes AS c
             WHERE c.tenant = {{tenant:String}} AND c.subject_id IN ({older})
             ORDER BY c.recorded_at
             LIMIT 1 BY becomes, c.consent_id"
        )
    }

    fn count(&self) -> String {
        format!(
            "SELECT uniqExact(becomes) AS people, countIf(NOT is_there) AS missing, countIf(is_there) AS there
             FROM ({})",
            self.changes()
        )
    }

    fn insert(&self, key_id: &str) -> String {
        format!(
            "INSERT INTO consent_changes ({SAME}, subject_id, pseudonym_key_id, also_under)
             SELECT {SAME}, becomes, '{key_id}', [toString(pseudonym_key_id), '{key_id}']
             FROM ({}) WHERE NOT is_there",
            self.changes()
        )
    }
}

/// Every key of the ledger, or of one tenant's part of it, in the order of their ids.
///
/// # Errors
/// See [`Error`].
pub async fn keys(client: &Client, tenant: Option<&Tenant>) -> Result<Vec<KnownKey>, Error> {
    let of_tenant = if tenant.is_some() { "tenant = {tenant:String}" } else { "1" };
    let sql = format!(
        "SELECT key_id,
                key_id IN (SELECT key_id FROM pseudonym_keys) AS in_use,
                key_id IN (SELECT key_id FROM pseudonym_keys_retired) AS retired,
                sum(is_person) AS people,
                sum(is_only_here) AS only_here
         FROM
         (
             SELECT key_id, 0 AS is_person, 0 AS is_only_here FROM pseudonym_keys
             UNION ALL
             SELECT key_id, 0, 0 FROM pseudonym_keys_retired
             UNION ALL
             SELECT key_id, 1, max(is_alone)
             FROM
             (
                 SELECT toString(pseudonym_key_id) AS key_id, tenant, subject_id,
                        consent_id NOT IN
                        (
                            SELECT consent_id FROM
                            (
                                SELECT consent_id, uniqExact(pseudonym_key_id) AS keys FROM consent_changes
                                WHERE {of_tenant}
                                  AND pseudonym_key_id NOT IN (SELECT key_id FROM pseudonym_keys_retired)
                                GROUP BY consent_id
                            )
                            WHERE keys > 1
                        ) AS is_alone
                 FROM consent_changes WHERE {of_tenant}
             )
             GROUP BY key_id, tenant, subject_id
         )
         GROUP BY key_id
         ORDER BY key_id"
    );
    let params: &[(&str, &str)] = match tenant {
        Some(tenant) => &[("tenant", tenant.as_str())],
        None => &[],
    };
    #[derive(Deserialize)]
    struct Row {
        key_id: String,
        in_use: u8,
        retired: u8,
        people: u64,
        only_here: u64,
    }
    let rows = client.query_rows::<Row>(&sql, params).await?;
    let known = |row: Row| KnownKey {
        key_id: row.key_id,
        in_use: row.in_use != 0,
        retired: row.retired != 0,
        people: row.people,
        only_here: row.only_here,
    };
    Ok(rows.into_iter().map(known).collect())
}

#[derive(Serialize)]
struct Retired<'a> {
    key_id: &'a str,
    reason: &'a str,
    left_behind: u64,
}

/// Retires a key for good: from its answer on no collector needs it, none may begin its ring with it, and no training
/// view shows a row that was stamped under it. Gives how many people are left behind.
///
/// # Errors
/// Nobody knows the key, no other is in use and it is not `lost`, more people than `leaving_behind` have consent under it alone, or the
/// server did not take it.
pub async fn retire(
    client: &Client,
    key_id: &str,
    reason: &str,
    leaving_behind: u64,
    lost: bool,
) -> Result<u64, RetireError> {
    let known = keys(client, None).await?;
    let Some(key) = known.iter().find(|it| it.key_id == key_id) else {
        return Err(RetireError::Unknown { key_id: key_id.to_owned() });
    };
    if key.retired {
        return Ok(key.only_here);
    }
    if !lost && !known.iter().any(|it| it.in_use && !it.retired && it.key_id != key_id) {
        return Err(RetireError::Last);
    }
    if key.only_here > leaving_behind {
        return Err(RetireError::LeftBehind { people: key.only_here });
    }
    let row =
        serde_json::to_vec(&Retired { key_id, reason, left_behind: key.only_here }).map_err(Error::from)?;
    let token = Uuid::now_v7().to_string();
    client
        .insert_json("pseudonym_keys_retired", "(key_id, reason, left_behind)", row.into(), &token, &[])
        .await?;
    Ok(key.only_here)
}
