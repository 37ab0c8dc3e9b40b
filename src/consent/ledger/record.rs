//! What the ledger holds of a change, and what it is asked for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LedgerError, list};
use crate::{
    consent::{ConsentScope, ConsentState, Known, ScopeConsent, Source},
    event::{Jurisdiction, Micros, RedactedText, SubjectId, Tenant},
    pipeline::Subjects,
};

/// The columns of an insert, in the order of [`NewRow`].
pub(super) const COLUMNS: &str = "(tenant, subject_id, scope, state, source, policy_version, consent_version, \
    jurisdiction, evidence, actor, consent_id, request_id, language, client_name, client_version, platform, \
    pseudonym_key_id, also_under, collector_id)";
/// Changes, as [`Row`]s.
const SELECT: &str = "SELECT toString(c.consent_id) AS consent_id, toString(c.request_id) AS request_id,
        toString(scope) AS scope, toString(state) AS state, toString(source) AS source,
        toString(policy_version) AS policy_version, consent_version,
        toString(jurisdiction) AS jurisdiction, evidence, actor, toString(language) AS language,
        toString(client_name) AS client_name, toString(client_version) AS client_version,
        toString(platform) AS platform, toUnixTimestamp64Micro(recorded_at) AS recorded_at_us
    FROM consent_changes AS c";

/// And of that person not what is to go since an erasure, nor what that left in its place, which is no change that
/// anybody made.
pub(super) fn since_erasure(subjects: &Subjects) -> String {
    format!(
        " AND c.consent_version > (SELECT max(c.consent_version) FROM consent_changes AS c
            WHERE {} AND c.state = 'unset' AND c.source = 'policy_default')",
        of_person(subjects)
    )
}

/// One person's changes under all pseudonyms; the tenant is a parameter.
pub(super) fn select(subjects: &Subjects) -> String {
    format!("{SELECT} WHERE {}", of_person(subjects))
}

/// The condition for that.
pub(super) fn of_person(subjects: &Subjects) -> String {
    format!("c.tenant = {{tenant:String}} AND c.subject_id IN ({})", list(subjects))
}

/// What rows have in common that are of one change: those under the pseudonyms of a person, and those of one
/// request that two collectors took at once. Rows from before there were request ids have none.
pub(super) const ONE_CHANGE: &str = "c.consent_version, c.scope, \
     if(c.request_id = toUUID('00000000-0000-0000-0000-000000000000'), c.consent_id, c.request_id)";
/// The order of one subject's changes, the newest first, as the replica has it too.
pub(super) const NEWEST_FIRST: &str = "c.consent_version DESC, (c.state = 'denied') DESC, (c.state = 'unset') DESC, \
     c.consent_id DESC, c.recorded_at";

/// A client that shows people what they consent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it runs on.
    pub platform: String,
}

/// A change to record.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose user it is.
    pub tenant: Tenant,
    /// The person, by a pseudonym under each key.
    pub subjects: Subjects,
    /// Those keys, in the same order.
    pub pseudonym_key_ids: Arc<[Arc<str>]>,
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
    /// What was shown.
    pub evidence: RedactedText<'static>,
    /// Who made the change.
    pub actor: RedactedText<'static>,
    /// The language of what was shown, BCP 47; empty when nobody said.
    pub language: String,
    /// The client that showed it.
    pub client: ClientInfo,
    /// The caller's id of the change; none when every call is a change of its own.
    pub request_id: Option<Uuid>,
}

/// A change as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub consent_id: Uuid,
    /// The caller's id of it, or one that it was given.
    pub request_id: Uuid,
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
    /// The language of what was shown.
    pub language: String,
    /// The client that showed it.
    pub client: ClientInfo,
    /// When, by the ledger's clock; none when it could not be read back.
    pub recorded_at: Option<Micros>,
}

impl Change {
    /// The person's pseudonyms, each with its key.
    pub(super) fn pseudonyms(&self) -> impl Iterator<Item = (SubjectId, &str)> {
        self.subjects.iter().copied().zip(self.pseudonym_key_ids.iter().map(|id| &**id))
    }

    /// Whether a record is of this very change. Evidence and actor may be redacted otherwise by a
    /// newer version of the rules, so they do not count.
    pub(super) fn is_recorded_by(&self, record: &Record) -> bool {
        self.scope == record.scope
            && self.state == record.state
            && self.source == record.source
            && self.policy_version == record.policy_version
    }
}

#[derive(Serialize)]
pub(super) struct NewRow<'a> {
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
    request_id: Uuid,
    language: &'a str,
    client_name: &'a str,
    client_version: &'a str,
    platform: &'a str,
    pseudonym_key_id: &'a str,
    /// All keys that the change lies under: who holds one of them knows of it.
    also_under: Vec<&'a str>,
    collector_id: &'a str,
}

impl<'a> NewRow<'a> {
    pub(super) fn new(
        change: &'a Change,
        (subject_id, pseudonym_key_id): (SubjectId, &'a str),
        record: &'a Record,
        collector_id: &'a str,
    ) -> Self {
        Self {
            tenant: change.tenant.as_str(),
            subject_id: subject_id.as_uuid(),
            scope: record.scope.as_str(),
            state: record.state.as_str(),
            source: record.source.as_str(),
            policy_version: &record.policy_version,
            consent_version: record.consent_version,
            jurisdiction: &record.jurisdiction,
            evidence: &record.evidence,
            actor: &record.actor,
            consent_id: record.consent_id,
            request_id: record.request_id,
            language: &record.language,
            client_name: &record.client.name,
            client_version: &record.client.version,
            platform: &record.client.platform,
            pseudonym_key_id,
            also_under: change.pseudonym_key_ids.iter().map(|id| &**id).collect(),
            collector_id,
        }
    }
}

impl Record {
    /// The record of a change that is about to be appended.
    pub(super) fn of(change: &Change, request_id: Uuid, consent_version: u32) -> Self {
        Self {
            consent_id: Uuid::now_v7(),
            request_id,
            scope: change.scope,
            state: change.state,
            source: change.source,
            policy_version: change.policy_version.clone(),
            consent_version,
            jurisdiction: change.jurisdiction.as_str().to_owned(),
            evidence: change.evidence.as_str().to_owned(),
            actor: change.actor.as_str().to_owned(),
            language: change.language.clone(),
            client: change.client.clone(),
            recorded_at: None,
        }
    }
}

/// A row as it is read.
#[derive(Deserialize)]
pub(super) struct Row {
    consent_id: Uuid,
    request_id: Uuid,
    scope: String,
    state: String,
    source: String,
    policy_version: String,
    consent_version: u32,
    jurisdiction: String,
    evidence: String,
    actor: String,
    language: String,
    client_name: String,
    client_version: String,
    platform: String,
    recorded_at_us: i64,
}

impl TryFrom<Row> for Record {
    type Error = LedgerError;

    fn try_from(row: Row) -> Result<Self, LedgerError> {
        let unknown = |what| LedgerError::Unknown { what };
        Ok(Self {
            consent_id: row.consent_id,
            request_id: row.request_id,
            scope: ConsentScope::parse(&row.scope).ok_or(unknown("scope"))?,
            state: ConsentState::parse(&row.state).ok_or(unknown("state"))?,
            source: Source::parse(&row.source).ok_or(unknown("source"))?,
            policy_version: row.policy_version,
            consent_version: row.consent_version,
            jurisdiction: row.jurisdiction,
            evidence: row.evidence,
            actor: row.actor,
            language: row.language,
            client: ClientInfo { name: row.client_name, version: row.client_version, platform: row.platform },
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
