//! What a shard holds, and what of it consent no longer covers: the server reads the file itself, beside the training
//! view as it is now.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{IdRange, Tally, manifest::add, query::Selection};
use crate::clickhouse::{Error, ExternalClient, ExternalError, ExternalTable};

/// The columns of a shard that are counted by, and the key. The server takes in what is named and no more.
const COUNTED: &str = "tenant String, event_id String, received_at DateTime64(6, 'UTC'), event_type String, \
    feature String, language String, redaction_version String, training_scope String, eligibility_reason String, \
    policy_version String, policy_digest String";
/// Those that are listed.
const LISTED: &str = "tenant String, event_id String, subject_id String";
/// The longest line of an answer.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What a shard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Its rows, counted.
    pub tally: Tally,
    /// How many there are.
    pub rows: u64,
    /// How many of them may no longer be trained on.
    pub revoked: u64,
}

/// A row that may no longer be trained on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Revoked {
    /// Whose event it is.
    pub tenant: String,
    /// Its id.
    pub event_id: String,
    /// Its author.
    pub subject_id: String,
    /// Why, as far as who asks may know.
    pub status: Status,
}

/// Why a row may no longer be trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing of it is left in ClickHouse: it was erased, or kept long enough.
    Erased,
    /// It is there and no training view shows it: its author said no, or its redaction was revoked.
    Withdrawn,
    /// One of the two. Who reads the training view alone cannot tell.
    NotAllowed,
}

impl Status {
    /// As in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Withdrawn => "withdrawn",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// One group of an answer.
type Group = (String, String, String, String, String, String, String, String, String, String, u64, u64);

const fn table<'a>(structure: &'a str, file: &'a Path) -> ExternalTable<'a> {
    ExternalTable { name: "shard", structure, format: "Parquet", file }
}

fn revoked(selection: &Selection, range: IdRange) -> String {
    format!("(tenant, toUUID(event_id)) NOT IN ({})", selection.keys(range))
}

/// Counts the rows of a shard, and those that may no longer be trained on.
///
/// # Errors
/// See [`ExternalError`].
pub async fn audit(
    client: &ExternalClient,
    selection: &Selection,
    range: IdRange,
    file: &Path,
) -> Result<Audit, ExternalError> {
    let sql = format!(
        "SELECT tenant, eligibility_reason, event_type, language, feature, training_scope,
                toString(toDate(received_at)), policy_version, policy_digest, redaction_version,
                count(), countIf({})
         FROM shard GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
         SETTINGS output_format_json_quote_64bit_integers = 0",
        revoked(selection, range)
    );
    let mut audit = Audit::default();
    let mut lines = Lines::default();
    client
        .query_chunks(&sql, table(COUNTED, file), "JSONCompactEachRow", |piece| {
            lines.take(piece, |line| {
                audit.add(serde_json::from_slice(line).map_err(Error::from)?);
                Ok::<_, ExternalError>(())
            })
        })
        .await?;
    Ok(audit)
}

impl Audit {
    fn add(&mut self, group: Group) {
        let (
            tenant,
            reason,
            event_type,
            language,
            feature,
            scope,
            day,
            version,
            digest,
            redaction,
            rows,
            revoked,
        ) = group;
        self.rows += rows;
        self.revoked += revoked;
        let tally = &mut self.tally;
        add(&mut tally.counts.tenant, tenant, rows);
        add(&mut tally.counts.eligibility_reason, reason, rows);
        add(&mut tally.counts.event_type, event_type, rows);
        add(&mut tally.counts.language, language, rows);
        add(&mut tally.counts.feature, feature, rows);
        add(&mut tally.redaction_versions, redaction, rows);
        *tally.partitions.entry((scope, day)).or_default() += rows;
        *tally.policies.entry((version, digest)).or_default() += rows;
    }
}

impl Tally {
    /// Adds another's counts.
    pub(super) fn merge(&mut self, other: Self) {
        let merge = |into: &mut std::collections::BTreeMap<String, u64>, from| {
            for (value, rows) in from {
                add(into, value, rows);
            }
        };
        merge(&mut self.counts.tenant, other.counts.tenant);
        merge(&mut self.counts.eligibility_reason, other.counts.eligibility_reason);
        merge(&mut self.counts.event_type, other.counts.event_type);
        merge(&mut self.counts.language, other.counts.language);
        merge(&mut self.counts.feature, other.counts.feature);
        merge(&mut self.redaction_versions, other.redaction_versions);
        for (partition, rows) in other.partitions {
            *self.partitions.entry(partition).or_default() += rows;
        }
        for (policy, rows) in other.policies {
            *self.policies.entry(policy).or_default() += rows;
        }
    }
}

/// Lists the rows of a shard that may no longer be trained on. `sees_events` says that the client may read the table
/// beneath, and so learn why.
///
/// # Errors
/// See [`ExternalError`]; the first error of `take` ends it.
pub async fn list_revoked<E: From<ExternalError>>(
    client: &ExternalClient,
    selection: &Selection,
    range: IdRange,
    file: &Path,
    sees_events: bool,
    mut take: impl FnMut(Revoked) -> Result<(), E>,
) -> Result<(), E> {
    let status = if sees_events {
        format!(
            "if((tenant, toUUID(event_id)) IN (SELECT toString(tenant), event_id FROM events
                WHERE toUInt128(event_id) BETWEEN toUInt128(toUUID('{}')) AND toUInt128(toUUID('{}'))),
                'withdrawn', 'erased')",
            range.first, range.last
        )
    } else {
        "'not_allowed'".to_owned()
    };
    let sql = format!(
        "SELECT tenant, event_id, subject_id, {status} AS status FROM shard WHERE {}",
        revoked(selection, range)
    );
    let mut lines = Lines::default();
    client
        .query_chunks(&sql, table(LISTED, file), "JSONEachRow", |piece| {
            lines.take(piece, |line| {
                take(serde_json::from_slice(line).map_err(|error| ExternalError::from(Error::from(error)))?)
            })
        })
        .await
}

/// Lines out of pieces that end anywhere.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take<E: From<ExternalError>>(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ends = memchr::memchr_iter(b'\n', piece);
        let Some(first) = ends.next() else {
            self.rest.extend_from_slice(piece);
            if self.rest.len() > MAX_LINE_BYTES {
                return Err(ExternalError::from(Error::Malformed("a line without an end")).into());
            }
            return Ok(());
        };
        self.rest.extend_from_slice(&piece[..first]);
        take(&std::mem::take(&mut self.rest))?;
        let mut start = first + 1;
        for end in ends {
            take(&piece[start..end])?;
            start = end + 1;
        }
        self.rest.extend_from_slice(&piece[start..]);
        Ok(())
    }
}
