//! The ledger: every change of consent, appended to `consent_changes` and never updated.
//!
//! A change is acknowledged when ClickHouse has confirmed it. Its version is one more than the
//! newest that the ledger has of the subject, so that what was acknowledged before a change began
//! always has a lower one. Two changes under way at once on two collectors may get the same
//! version; then the one that says less counts, everywhere ([`super::replica`]). A denial is not
//! acknowledged before it is the newest: whatever another collector acknowledged until then, the
//! person's "no" comes after it.
//!
//! A change has a request id, the caller's or a new one. Its row is inserted under a token that
//! depends on that id, and the ledger is asked for it before and after: sent twice, to one collector
//! or to two at once, it is there once, and what was recorded is what is answered.
//!
//! While pseudonym keys are replaced a person has several pseudonyms. A change is one insert with a row under each,
//! which are there together or not at all, and share id and version; whoever reads looks under all, and takes rows of
//! one change for one. A collector that lacks a key which others stamp with would leave the rows of those others
//! without the change. So no change is acknowledged while there is such a key ([`super::replica`]'s keys): the ledger is
//! asked after the insert, and who comes to stamp with a new key has announced it before.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{ConsentState, Replica};
use crate::{
    clickhouse::{Client, Error, ErrorClass},
    event::{Micros, SubjectId, Tenant},
    pipeline::Subjects,
};

mod record;

use super::replica::{ERASED, keys::list};
use record::{COLUMNS, NEWEST_FIRST, NewRow, ONE_CHANGE, Row, of_person, select, since_erasure};
pub use record::{Change, ClientInfo, Record};

/// Changes of one subject go one after the other; of so many stripes at once. A ledger that is slow to
/// answer about one person holds up those of the same stripe alone.
const STRIPES: usize = 4096;
/// How often a denial is appended anew because another change overtook it.
const MAX_OVERTAKES: u32 = 8;
/// The pause before an insert of unknown outcome is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A change that was not recorded, or records that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The ledger cannot be read.
    #[error("the consent ledger cannot be read")]
    Read(#[source] Error),
    /// The change is not in the ledger.
    #[error("the change of consent was not recorded")]
    NotRecorded(#[source] Error),
    /// Nobody knows whether the change is in the ledger.
    #[error("nobody knows whether the change of consent was recorded")]
    OutcomeUnknown {
        /// Why.
        source: Error,
    },
    /// A pseudonym key is in use that this collector does not hold, or its own is retired.
    #[error("the ledger's people have pseudonyms under another key than this collector's")]
    ForeignKey,
    /// It is not known yet whose pseudonyms the ledger has.
    #[error("the view of consent is still loading")]
    Loading,
    /// The request id was used for another change of the same person.
    #[error("the request id belongs to another change of the same person")]
    RequestReused,
    /// Other collectors kept on changing the same subject's consent.
    #[error("the denial was overtaken by other changes of the same person again and again")]
    Overtaken,
    /// The ledger holds a word that this program does not know.
    #[error("the consent ledger has a {what} that this program does not know")]
    Unknown {
        /// What it is.
        what: &'static str,
    },
}

/// Where a page of a person's history begins: after this change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Its version.
    pub consent_version: u32,
    /// Its id.
    pub consent_id: Uuid,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    client: Client,
    replica: Replica,
    collector_id: String,
    /// How long one insert or query may take; the replicas' tails read back further.
    timeout: Duration,
    stripes: Vec<Mutex<()>>,
}

/// What the ledger has of a subject.
#[derive(Clone, Default, Deserialize)]
struct Newest {
    /// The newest version; 0 when there is none.
    version: u32,
    /// The newest version of one request's change; 0 when it is not there.
    own_version: u32,
    /// The id of that change.
    own_id: Uuid,
    /// When the ledger took it.
    own_recorded_at_us: i64,
    /// The pseudonyms that it lies under.
    own_subjects: Vec<Uuid>,
    /// How many keys are in use that the asking collector does not hold; and one more if its own is retired.
    unknown_keys: u64,
}

impl Ledger {
    /// A ledger that also keeps this collector's own view up to date.
    #[must_use]
    pub fn new(client: Client, replica: Replica, collector_id: String, timeout: Duration) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { client, replica, collector_id, timeout, stripes }
    }

    /// Records a change; answers when it is durable.
    ///
    /// # Errors
    /// It was not recorded, or nobody knows. A denial then holds on this collector all the same.
    pub async fn set(&self, change: &Change) -> Result<Record, LedgerError> {
        // A collector's ring never changes, so a person is always found behind the same lock.
        let [first, second, ..] = *change.subjects.current().as_bytes();
        let stripe = usize::from(u16::from_be_bytes([first, second])) % STRIPES;
        let _in_order = self.stripes[stripe].lock().await;
        let mut newest = self.replica.known(&change.subjects).version();
        let recorded = match self.replica.knows_people() {
            // Under a key that is not the others', nobody could recognise this person, and the others would
            // have to take everybody's consent for unknown.
            Some(false) => Err(LedgerError::ForeignKey),
            None => Err(LedgerError::Loading),
            Some(true) => self.record(change, &mut newest).await,
        };
        let Change { subjects, scope, state, source, policy_version, .. } = change;
        match &recorded {
            Ok(record) => {
                let version = record.consent_version;
                for subject in subjects {
                    self.replica.apply(*subject, *scope, *state, *source, policy_version, version);
                }
                self.replica.release(subjects, *scope);
            }
            Err(LedgerError::RequestReused) => {}
            // With the newest version that was seen: between two of one version the denial counts, and
            // rows must never carry a version that the ledger has not given, or they would seem newer
            // than a later denial. Who takes a yes back has none in the meantime either.
            Err(_) if narrows(change) => {
                self.replica.hold(subjects, *scope, *source, policy_version, newest);
            }
            Err(_) => {}
        }
        recorded
    }

    /// Appends the change, unless it is there. A denial, or the taking back of an answer, is appended
    /// once more, above whatever overtook it, until it is the newest change of its subject: nothing
    /// that was acknowledged before it may count after it. `newest` is the newest version known here,
    /// and then the newest that the ledger showed besides this change.
    async fn record(&self, change: &Change, newest: &mut u32) -> Result<Record, LedgerError> {
        let request_id = change.request_id.unwrap_or_else(Uuid::now_v7);
        let before = self.newest(change, request_id).await.map_err(LedgerError::NotRecorded)?;
        if before.unknown_keys > 0 {
            return Err(LedgerError::ForeignKey);
        }
        if before.own_version > 0 {
            return self.recorded_under_all(change, request_id, &before).await;
        }
        let pseudonyms: Vec<_> = change.pseudonyms().collect();
        *newest = before.version.max(*newest);
        let mut version = *newest;
        for attempt in 0..MAX_OVERTAKES {
            version = version.saturating_add(1);
            let mut record = Record::of(change, request_id, version);
            self.append(change, &pseudonyms, &record, &attempt.to_string()).await?;
            let after = match self.newest(change, request_id).await {
                // Since before the insert, somebody stamps with a key that is not held here.
                Ok(Newest { unknown_keys: 1.., .. }) => return Err(LedgerError::ForeignKey),
                // ClickHouse knows a token of this request and has lost its row (see delivery's `proof`).
                // The next attempt has another token.
                Ok(Newest { own_version: 0, .. }) if attempt == 0 => continue,
                // What was just confirmed has to be there.
                Ok(Newest { own_version: 0, .. }) => {
                    return Err(LedgerError::OutcomeUnknown { source: Error::TimedOut });
                }
                Ok(after) => after,
                // A yes of this request alone is durable, and nothing else has to be looked for.
                Err(_) if !narrows(change) && change.request_id.is_none() => return Ok(record),
                Err(source) => return Err(LedgerError::OutcomeUnknown { source }),
            };
            if after.own_id != record.consent_id {
                // The same request was recorded by somebody else, who saw to the rest. What came after that,
                // came after this.
                return self.recorded_under_all(change, request_id, &after).await;
            }
            if narrows(change) && after.version > after.own_version {
                (*newest, version) = (after.version, after.version);
                continue;
            }
            record.recorded_at = Some(Micros(after.own_recorded_at_us));
            return Ok(record);
        }
        Err(LedgerError::Overtaken)
    }

    /// What the ledger has of a request, as `newest` showed. If a collector with fewer keys took it, it is put under
    /// the other pseudonyms as well before it is acknowledged here: with the same id and version, and with a time of its
    /// own, by which the tails find it.
    async fn recorded_under_all(
        &self,
        change: &Change,
        request_id: Uuid,
        newest: &Newest,
    ) -> Result<Record, LedgerError> {
        let record = self.recorded(change, request_id).await?;
        let missing = |newest: &Newest| -> Vec<(SubjectId, &str)> {
            change
                .pseudonyms()
                .filter(|(subject, _)| !newest.own_subjects.contains(&subject.as_uuid()))
                .collect()
        };
        let left_out = missing(newest);
        if left_out.is_empty() {
            return Ok(record);
        }
        let under: Vec<&str> = left_out.iter().map(|(_, key_id)| *key_id).collect();
        self.append(change, &left_out, &record, &format!("under/{}", under.join("/"))).await?;
        match self.newest(change, request_id).await {
            Ok(after) if after.unknown_keys > 0 => Err(LedgerError::ForeignKey),
            Ok(after) if missing(&after).is_empty() => Ok(record),
            Ok(_) => Err(LedgerError::OutcomeUnknown { source: Error::TimedOut }),
            Err(source) => Err(LedgerError::OutcomeUnknown { source }),
        }
    }

    /// What the ledger has of a request.
    async fn recorded(&self, change: &Change, request_id: Uuid) -> Result<Record, LedgerError> {
        let id = request_id.to_string();
        let select = select(&change.subjects);
        let sql = format!("{select} AND c.request_id = {{request:UUID}} ORDER BY {NEWEST_FIRST} LIMIT 1");
        let records = self.records(&sql, &change.tenant, &[("request", id.as_str())]).await?;
        let record = records.into_iter().next().ok_or(LedgerError::Unknown { what: "request" })?;
        if change.is_recorded_by(&record) { Ok(record) } else { Err(LedgerError::RequestReused) }
    }

    /// Appends a row under each of these pseudonyms, in one insert.
    async fn append(
        &self,
        change: &Change,
        pseudonyms: &[(SubjectId, &str)],
        record: &Record,
        attempt: &str,
    ) -> Result<(), LedgerError> {
        let mut body = Vec::new();
        for pseudonym in pseudonyms {
            let row = NewRow::new(change, *pseudonym, record, &self.collector_id);
            serde_json::to_writer(&mut body, &row).map_err(|error| LedgerError::NotRecorded(error.into()))?;
            body.push(b'\n');
        }
        // Of one request sent to two collectors at once, the server keeps one insert; also when their rings have
        // another order.
        let person = change.pseudonyms().min_by_key(|(_, key_id)| *key_id).map(|(subject, _)| subject);
        let person = person.unwrap_or(change.subjects.current());
        let request = record.request_id.as_simple();
        let token = format!("{}/{person}/{request}/{attempt}", change.tenant.as_str());
        self.insert(&token, body.into()).await
    }

    /// Sends rows until the ledger confirms them, for as long as one insert may take. Every try is
    /// the same rows under the same token, so that they are there once.
    async fn insert(&self, token: &str, body: bytes::Bytes) -> Result<(), LedgerError> {
        let seconds = self.timeout.as_secs_f64().to_string();
        let milliseconds = self.timeout.as_millis().to_string();
        let settings =
            [("max_execution_time", seconds.as_str()), ("insert_quorum_timeout", milliseconds.as_str())];
        let deadline = Instant::now() + self.timeout;
        let mut may_be_there = false;
        loop {
            let tried = self.client.insert_json("consent_changes", COLUMNS, body.clone(), token, &settings);
            let error = match tokio::time::timeout(self.timeout, tried).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => Error::TimedOut,
            };
            match error.class() {
                ErrorClass::Ambiguous => may_be_there = true,
                ErrorClass::Permanent if !may_be_there => return Err(LedgerError::NotRecorded(error)),
                ErrorClass::Transient if !may_be_there => return Err(LedgerError::NotRecorded(error)),
                ErrorClass::Permanent | ErrorClass::Transient => {}
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(LedgerError::OutcomeUnknown { source: error });
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The person's newest version, and what there is of a request.
    async fn newest(&self, change: &Change, request_id: Uuid) -> Result<Newest, Error> {
        let ring = list(change.pseudonym_key_ids.iter());
        let current = change.pseudonym_key_ids.first().map_or("", |id| &**id);
        let id = request_id.to_string();
        let params = [("tenant", change.tenant.as_str()), ("id", &id), ("current", current)];
        let sql = format!(
            "SELECT max(c.consent_version) AS version,
                    maxIf(c.consent_version, c.request_id = {{id:UUID}}) AS own_version,
                    toString(argMaxIf(c.consent_id, (c.consent_version, c.consent_id), c.request_id = {{id:UUID}}))
                        AS own_id,
                    toUnixTimestamp64Micro(
                        argMaxIf(c.recorded_at, (c.consent_version, c.consent_id), c.request_id = {{id:UUID}}))
                        AS own_recorded_at_us,
                    arrayMap(id -> toString(id), groupUniqArrayIf(c.subject_id, c.request_id = {{id:UUID}}))
                        AS own_subjects,
                    (
                        SELECT count() FROM pseudonym_keys
                        WHERE key_id NOT IN ({ring})
                          AND key_id NOT IN (SELECT key_id FROM pseudonym_keys_retired)
                    ) + (SELECT count() FROM pseudonym_keys_retired WHERE key_id = {{current:String}})
                        AS unknown_keys
             FROM consent_changes AS c
             WHERE {}",
            of_person(&change.subjects)
        );
        let newest = self.client.query_rows::<Newest>(&sql, &params);
        let rows = tokio::time::timeout(self.timeout, newest).await.unwrap_or(Err(Error::TimedOut))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// The newest record of each scope. An erasure is none.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn current(&self, tenant: &Tenant, subjects: &Subjects) -> Result<Vec<Record>, LedgerError> {
        let sql = format!("{} ORDER BY {NEWEST_FIRST} LIMIT 1 BY c.scope", select(subjects));
        let mut records = self.records(&sql, tenant, &[]).await?;
        records.retain(|record| (record.state, record.source) != ERASED);
        records.sort_by_key(|record| record.scope);
        Ok(records)
    }

    /// A page of a person's changes, the newest first; those since they were erased, if they were.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn history(
        &self,
        tenant: &Tenant,
        subjects: &Subjects,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<Record>, LedgerError> {
        let limit = limit.to_string();
        let (version, id) = after.map_or_else(Default::default, |after| {
            (after.consent_version.to_string(), after.consent_id.to_string())
        });
        let mut params = vec![("limit", limit.as_str())];
        let newest_first = "c.consent_version DESC, c.consent_id DESC";
        // What is one change is found out before the page begins: its rows may have several ids.
        let mut sql = format!(
            "SELECT * FROM ({}{} ORDER BY {newest_first}, c.recorded_at LIMIT 1 BY {ONE_CHANGE}) AS c",
            select(subjects),
            since_erasure(subjects)
        );
        if after.is_some() {
            sql.push_str(" WHERE (c.consent_version, toUUID(c.consent_id)) < ({version:UInt32}, {id:UUID})");
            params.extend([("version", version.as_str()), ("id", id.as_str())]);
        }
        sql.push_str(" ORDER BY c.consent_version DESC, toUUID(c.consent_id) DESC LIMIT {limit:UInt32}");
        self.records(&sql, tenant, &params).await
    }

    async fn records(
        &self,
        sql: &str,
        tenant: &Tenant,
        more: &[(&str, &str)],
    ) -> Result<Vec<Record>, LedgerError> {
        let mut params = vec![("tenant", tenant.as_str())];
        params.extend_from_slice(more);
        let read = self.client.query_rows::<Row>(sql, &params);
        let read = tokio::time::timeout(self.timeout, read).await.unwrap_or(Err(Error::TimedOut));
        let rows = read.map_err(LedgerError::Read)?;
        rows.into_iter().map(Record::try_from).collect()
    }
}

/// Whether a change says less than a yes.
fn narrows(change: &Change) -> bool {
    change.state != ConsentState::Granted
}
