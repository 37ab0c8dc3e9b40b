//! The ledger: every change of consent, appended to `consent_changes` and never updated.
//!
//! A change is acknowledged when ClickHouse has confirmed it. Its version is one more than the
//! newest that the ledger has of the subject, so that what was acknowledged before a change began
//! always has a lower one. Two changes under way at once on two collectors may get the same
//! version; then the one that says less counts, everywhere ([`super::replica`]). A denial is not
//! acknowledged before it is the newest: whatever another collector acknowledged until then, the
//! person's "no" comes after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{ConsentScope, ConsentState, Known, Replica, ScopeConsent, Source};
use crate::{
    clickhouse::{Client, Error, ErrorClass},
    event::{Jurisdiction, Micros, RedactedText, SubjectId, Tenant},
};

/// Changes of one subject go one after the other; of so many stripes at once.
const STRIPES: usize = 64;
/// How often a denial is appended anew because another change overtook it.
const MAX_OVERTAKES: u32 = 8;
/// The pause before an insert of unknown outcome is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

const COLUMNS: &str = "(tenant, subject_id, scope, state, source, policy_version, consent_version, jurisdiction, \
    evidence, actor, consent_id, pseudonym_key_id, collector_id)";
const SELECT: &str =
    "SELECT toString(consent_id) AS consent_id, toString(scope) AS scope, toString(state) AS state,
        toString(source) AS source, toString(policy_version) AS policy_version, consent_version,
        toString(jurisdiction) AS jurisdiction, evidence, actor,
        toUnixTimestamp64Micro(recorded_at) AS recorded_at_us
    FROM consent_changes AS c
    WHERE c.tenant = {tenant:String} AND c.subject_id = {subject:UUID}";
/// The order of one subject's changes, the newest first, as the replica has it too.
const NEWEST_FIRST: &str =
    "c.consent_version DESC, (c.state = 'denied') DESC, (c.state = 'unset') DESC, c.consent_id DESC";

/// A change to record.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose user it is.
    pub tenant: Tenant,
    /// The person.
    pub subject_id: SubjectId,
    /// The key of that pseudonym.
    pub pseudonym_key_id: Arc<str>,
    /// The scope that changes.
    pub scope: ConsentScope,
    /// What it changes to.
    pub state: ConsentState,
    /// Where it comes from.
    pub source: Source,
    /// The terms that the person was shown.
    pub policy_version: String,
    /// Where the person is.
    pub jurisdiction: Jurisdiction,
    /// What was shown, in which language, by which client.
    pub evidence: RedactedText,
    /// Who made the change.
    pub actor: RedactedText,
}

/// A change as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub consent_id: Uuid,
    /// The scope.
    pub scope: ConsentScope,
    /// The state.
    pub state: ConsentState,
    /// Where it comes from.
    pub source: Source,
    /// The terms.
    pub policy_version: String,
    /// Orders the changes of one subject.
    pub consent_version: u32,
    /// Where the person was.
    pub jurisdiction: String,
    /// What was shown.
    pub evidence: String,
    /// Who made the change.
    pub actor: String,
    /// When, by the ledger's clock; none when it could not be read back.
    pub recorded_at: Option<Micros>,
}

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
    /// How long the server may work on an insert; the replicas' tails read back further.
    timeout: Duration,
    stripes: Vec<Mutex<()>>,
}

#[derive(Serialize)]
struct NewRow<'a> {
    tenant: &'a str,
    subject_id: Uuid,
    scope: &'a str,
    state: &'a str,
    source: &'a str,
    policy_version: &'a str,
    consent_version: u32,
    jurisdiction: &'a str,
    evidence: &'a str,
    actor: &'a str,
    consent_id: Uuid,
    pseudonym_key_id: &'a str,
    collector_id: &'a str,
}

#[derive(Deserialize)]
struct Row {
    consent_id: Uuid,
    scope: String,
    state: String,
    source: String,
    policy_version: String,
    consent_version: u32,
    jurisdiction: String,
    evidence: String,
    actor: String,
    recorded_at_us: i64,
}

#[derive(Deserialize)]
struct Newest {
    version: u32,
    /// 0 when there is no such change.
    recorded_at_us: i64,
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
        let stripe = usize::from(change.subject_id.as_bytes()[0]) % STRIPES;
        let _in_order = self.stripes[stripe].lock().await;
        let mut newest = self.replica.known(&change.subject_id).version();
        let recorded = self.record(change, &mut newest).await;
        match &recorded {
            Ok(record) => self.apply(change, record.consent_version),
            Err(_) if change.state == ConsentState::Denied => {
                // With the newest version that was seen: between two of one version the denial counts, and
                // rows must never carry a version that the ledger has not given, or they would seem newer
                // than a later denial.
                self.apply(change, newest);
            }
            Err(_) => {}
        }
        recorded
    }

    fn apply(&self, change: &Change, version: u32) {
        let Change { subject_id, scope, state, source, policy_version, .. } = change;
        self.replica.apply(*subject_id, *scope, *state, *source, policy_version, version);
    }

    /// Appends the change. A denial, or the taking back of an answer, is appended once more, above
    /// whatever overtook it, until it is the newest change of its subject: nothing that was
    /// acknowledged before it may count after it. `newest` is the newest version known here, and then
    /// the newest that the ledger showed besides this change.
    async fn record(&self, change: &Change, newest: &mut u32) -> Result<Record, LedgerError> {
        let before = self.newest(change, None).await.map_err(LedgerError::NotRecorded)?;
        *newest = before.version.max(*newest);
        let mut version = *newest;
        let narrows = change.state != ConsentState::Granted;
        for _ in 0..MAX_OVERTAKES {
            version = version.saturating_add(1);
            let consent_id = Uuid::now_v7();
            self.append(change, consent_id, version).await?;
            let after = match self.newest(change, Some(consent_id)).await {
                Ok(after) => after,
                // Durable, and what it cannot tell is whether it was overtaken.
                Err(source) if narrows => {
                    return Err(LedgerError::OutcomeUnknown { source });
                }
                Err(_) => Newest { version, recorded_at_us: 0 },
            };
            if narrows && after.version > version {
                (*newest, version) = (after.version, after.version);
                continue;
            }
            return Ok(Record {
                consent_id,
                scope: change.scope,
                state: change.state,
                source: change.source,
                policy_version: change.policy_version.clone(),
                consent_version: version,
                jurisdiction: change.jurisdiction.as_str().to_owned(),
                evidence: change.evidence.as_str().to_owned(),
                actor: change.actor.as_str().to_owned(),
                recorded_at: (after.recorded_at_us != 0).then_some(Micros(after.recorded_at_us)),
            });
        }
        Err(LedgerError::Overtaken)
    }

    async fn append(
        &self,
        change: &Change,
        consent_id: Uuid,
        consent_version: u32,
    ) -> Result<(), LedgerError> {
        let row = NewRow {
            tenant: change.tenant.as_str(),
            subject_id: change.subject_id.as_uuid(),
            scope: change.scope.as_str(),
            state: change.state.as_str(),
            source: change.source.as_str(),
            policy_version: &change.policy_version,
            consent_version,
            jurisdiction: change.jurisdiction.as_str(),
            evidence: change.evidence.as_str(),
            actor: change.actor.as_str(),
            consent_id,
            pseudonym_key_id: &change.pseudonym_key_id,
            collector_id: &self.collector_id,
        };
        let body = serde_json::to_vec(&row).map_err(|error| LedgerError::NotRecorded(error.into()))?;
        self.insert(&consent_id.to_string(), body.into()).await
    }

    /// Sends the row until the ledger confirms it, for as long as one insert may take. Every try is
    /// the same row under the same token, so that it is there once.
    async fn insert(&self, token: &str, body: bytes::Bytes) -> Result<(), LedgerError> {
        let seconds = self.timeout.as_secs_f64().to_string();
        let settings = [("max_execution_time", seconds.as_str())];
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

    /// The subject's newest version, and when the ledger took the change `of` that id.
    async fn newest(&self, change: &Change, of: Option<Uuid>) -> Result<Newest, Error> {
        let subject = change.subject_id.to_string();
        let id = of.unwrap_or_default().to_string();
        let params = [("tenant", change.tenant.as_str()), ("subject", &subject), ("id", &id)];
        let newest = self.client.query_rows::<Newest>(
            "SELECT max(c.consent_version) AS version,
                    toUnixTimestamp64Micro(maxIf(c.recorded_at, c.consent_id = {id:UUID})) AS recorded_at_us
             FROM consent_changes AS c
             WHERE c.tenant = {tenant:String} AND c.subject_id = {subject:UUID}",
            &params,
        );
        let rows = tokio::time::timeout(self.timeout, newest).await.unwrap_or(Err(Error::TimedOut))?;
        Ok(rows.into_iter().next().unwrap_or(Newest { version: 0, recorded_at_us: 0 }))
    }

    /// The newest record of each scope.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn current(&self, tenant: &Tenant, subject: &SubjectId) -> Result<Vec<Record>, LedgerError> {
        let sql = format!("{SELECT} ORDER BY {NEWEST_FIRST} LIMIT 1 BY c.scope");
        let mut records = self.select(&sql, tenant, subject, &[]).await?;
        records.sort_by_key(|record| record.scope);
        Ok(records)
    }

    /// A page of a person's changes, the newest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn history(
        &self,
        tenant: &Tenant,
        subject: &SubjectId,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<Record>, LedgerError> {
        let limit = limit.to_string();
        let (version, id) = after.map_or_else(Default::default, |after| {
            (after.consent_version.to_string(), after.consent_id.to_string())
        });
        let mut params = vec![("limit", limit.as_str())];
        let mut sql = SELECT.to_owned();
        if after.is_some() {
            sql.push_str(" AND (c.consent_version, c.consent_id) < ({version:UInt32}, {id:UUID})");
            params.extend([("version", version.as_str()), ("id", id.as_str())]);
        }
        sql.push_str(" ORDER BY c.consent_version DESC, c.consent_id DESC LIMIT {limit:UInt32}");
        self.select(&sql, tenant, subject, &params).await
    }

    async fn select(
        &self,
        sql: &str,
        tenant: &Tenant,
        subject: &SubjectId,
        more: &[(&str, &str)],
    ) -> Result<Vec<Record>, LedgerError> {
        let subject = subject.to_string();
        let mut params = vec![("tenant", tenant.as_str()), ("subject", subject.as_str())];
        params.extend_from_slice(more);
        let rows = self.client.query_rows::<Row>(sql, &params).await.map_err(LedgerError::Read)?;
        rows.into_iter().map(Record::try_from).collect()
    }
}

impl TryFrom<Row> for Record {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let unknown = |what| LedgerError::Unknown { what };
        Ok(Self {
            consent_id: row.consent_id,
            scope: ConsentScope::parse(&row.scope).ok_or(unknown("scope"))?,
            state: ConsentState::parse(&row.state).ok_or(unknown("state"))?,
            source: Source::parse(&row.source).ok_or(unknown("source"))?,
            policy_version: row.policy_version,
            consent_version: row.consent_version,
            jurisdiction: row.jurisdiction,
            evidence: row.evidence,
            actor: row.actor,
            recorded_at: Some(Micros(row.recorded_at_us)),
        })
    }
}

impl Known {
    /// What the newest records of the scopes say.
    #[must_use]
    pub fn of_records(records: &[Record]) -> Self {
        let of = |scope| {
            records.iter().find(|record| record.scope == scope).map_or_else(ScopeConsent::default, |record| {
                ScopeConsent {
                    state: record.state,
                    source: record.source,
                    terms: record.policy_version.as_str().into(),
                    version: record.consent_version,
                }
            })
        };
        Self { first_party: of(ConsentScope::FirstParty), affiliates: of(ConsentScope::Affiliates) }
    }
}
