//! What an export asks ClickHouse. It reads the training views alone, so it sees what an ML role may see.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Day, IdRange};
use crate::clickhouse::{Client, Error};

/// How many ids are drawn to cut a gap into shards. Their texts are some 2.6 MB.
const SAMPLE: u32 = 65_536;

/// Who may train on a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The product itself.
    FirstParty,
    /// Its affiliates.
    Affiliates,
}

impl Scope {
    /// As in ClickHouse.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstParty => "first_party",
            Self::Affiliates => "affiliates",
        }
    }

    /// The view that shows a range of ids of a span of days (migration 0011).
    #[must_use]
    pub const fn view(self) -> &'static str {
        match self {
            Self::FirstParty => "training_first_party_range",
            Self::Affiliates => "training_affiliates_range",
        }
    }
}

/// Which rows a dataset is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Selection {
    /// Who may train on them.
    pub scope: Scope,
    /// The first day of receipt.
    pub from_day: Day,
    /// The last day of receipt.
    pub to_day: Day,
}

/// The columns of a dataset. Ids and enumerations are texts, since what reads Parquet knows no others alike;
/// the counts of redactions are a list, since not everything reads maps.
const COLUMNS: &str = "received_at, occurred_at, toString(tenant) AS tenant, toString(subject_id) AS subject_id, \
    toString(event_id) AS event_id, session_id, interaction_id, suggestion_id, toString(event_type) AS event_type, \
    toString(feature) AS feature, toString(model) AS model, toString(client_name) AS client_name, \
    toString(client_version) AS client_version, toString(platform) AS platform, \
    toString(jurisdiction) AS jurisdiction, toString(language) AS language, \
    toString(previous_language) AS previous_language, text, comment, latency_ms, position, \
    toString(feedback_action) AS feedback_action, rating, \
    arrayMap((entity, count) -> CAST((toString(entity), count), 'Tuple(entity String, count UInt16)'), \
    mapKeys(redactions), mapValues(redactions)) AS redactions, toString(redaction_version) AS redaction_version, \
    toString(training_scope) AS training_scope, toString(eligibility_reason) AS eligibility_reason, consent_version, \
    toString(policy_version) AS policy_version, toString(policy_digest) AS policy_digest";

impl Selection {
    /// The view, with its parameters. All of them are ids and days, so nothing in them needs quoting.
    fn view(&self, range: IdRange) -> String {
        format!(
            "{}(first_id = '{}', last_id = '{}', from_day = '{}', to_day = '{}')",
            self.scope.view(),
            range.first,
            range.last,
            self.from_day,
            self.to_day
        )
    }

    /// The query of a shard.
    #[must_use]
    pub fn rows(&self, range: IdRange) -> String {
        format!("SELECT {COLUMNS} FROM {}", self.view(range))
    }

    /// The keys of the rows of a range.
    #[must_use]
    pub fn keys(&self, range: IdRange) -> String {
        format!("SELECT toString(tenant), event_id FROM {}", self.view(range))
    }
}

/// Now, who asks, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hello {
    /// The server's time. A change of consent that was acknowledged before it is seen by every later query.
    pub now: String,
    /// As whom this program reads.
    pub user: String,
    /// The server's version.
    pub version: String,
}

/// Asks for the server's time.
///
/// # Errors
/// See [`Error`].
pub async fn hello(client: &Client) -> Result<Hello, Error> {
    let sql = "SELECT toString(now64(6, 'UTC')) AS now, currentUser() AS user, version() AS version";
    let rows = client.query_rows(sql, &[]).await?;
    rows.into_iter().next().ok_or(Error::Malformed("no row where there must be one"))
}

/// A gap's rows: their number, and a sample of their ids.
#[derive(Debug, Deserialize)]
pub struct Sampled {
    /// How many.
    pub rows: u64,
    /// Some of them.
    pub ids: Vec<Uuid>,
}

/// Counts the rows of a range and draws from them.
///
/// # Errors
/// See [`Error`].
pub async fn sample(client: &Client, selection: &Selection, range: IdRange) -> Result<Sampled, Error> {
    let sql = format!(
        "SELECT count() AS rows, groupArraySample({SAMPLE}, 1)(event_id) AS ids FROM {}",
        selection.view(range)
    );
    client
        .query_rows(&sql, &[])
        .await?
        .into_iter()
        .next()
        .ok_or(Error::Malformed("no row where there must be one"))
}

#[derive(Deserialize)]
struct Count {
    rows: u64,
}

/// Counts the rows of a range.
///
/// # Errors
/// See [`Error`].
pub async fn count(client: &Client, selection: &Selection, range: IdRange) -> Result<u64, Error> {
    let rows: Vec<Count> =
        client.query_rows(&format!("SELECT count() AS rows FROM {}", selection.view(range)), &[]).await?;
    rows.first().map(|row| row.rows).ok_or(Error::Malformed("no row where there must be one"))
}

/// A column of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as ClickHouse calls it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// The columns of a dataset.
///
/// # Errors
/// See [`Error`].
pub async fn schema(client: &Client, selection: &Selection) -> Result<Vec<Column>, Error> {
    let nothing = IdRange { first: Uuid::nil(), last: Uuid::nil() };
    let mut columns: Vec<Column> =
        client.query_rows(&format!("DESCRIBE ({})", selection.rows(nothing)), &[]).await?;
    for column in &mut columns {
        // It is broken over lines.
        column.data_type = column.data_type.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    Ok(columns)
}

/// Whether this user may read the table beneath, and so tell what was erased from what was withdrawn.
pub async fn may_read_events(client: &Client) -> bool {
    client
        .query_rows::<serde::de::IgnoredAny>("SELECT tenant, event_id FROM events LIMIT 0", &[])
        .await
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_read_from_the_view_of_its_scope_alone() {
        let selection = Selection {
            scope: Scope::Affiliates,
            from_day: "2026-01-01".parse().unwrap(),
            to_day: "2026-01-31".parse().unwrap(),
        };
        let sql = selection.rows(IdRange::ALL);
        assert!(sql.ends_with(
            " FROM training_affiliates_range(first_id = '00000000-0000-0000-0000-000000000000', last_id = \
             'ffffffff-ffff-ffff-ffff-ffffffffffff', from_day = '2026-01-01', to_day = '2026-01-31')"
        ));
        assert_eq!(sql.matches(" FROM ").count(), 1);
    }
}
