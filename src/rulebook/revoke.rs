//! What an operator does about rules that turned out bad.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clickhouse::{Client, Error};

/// A version that could not be revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// No collector has recorded it.
    #[error(
        "no collector has recorded the version {version:?}, so no row of it is in a training view; recorded are: \
         {known}. To revoke it all the same, before one does: --unrecorded"
    )]
    Unknown {
        /// What was asked for.
        version: String,
        /// The versions that are there.
        known: String,
    },
    /// The server did not take it.
    #[error(transparent)]
    ClickHouse(#[from] Error),
}

/// A version as `assent redaction versions` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KnownVersion {
    /// Its name, as in the column `redaction_version`.
    pub version: String,
    /// The digests of what was recorded under it, one as a rule, with commas between.
    pub digests: String,
    /// When a collector recorded it first; empty when none has.
    pub recorded_at: String,
    /// When it was revoked first; empty when it was not.
    pub revoked_at: String,
    /// Why it was.
    pub reason: String,
}

#[derive(Serialize)]
struct Row<'a> {
    version: &'a str,
    reason: &'a str,
}

/// Every version that was recorded or revoked, the oldest first.
///
/// # Errors
/// See [`Error`].
pub async fn list(client: &Client) -> Result<Vec<KnownVersion>, Error> {
    let sql = "SELECT
            version,
            arrayStringConcat(arraySort(groupUniqArrayIf(digest, digest != '')), ',') AS digests,
            if(countIf(digest != '') = 0, '', toString(minIf(at, digest != ''))) AS recorded_at,
            if(countIf(digest = '') = 0, '', toString(minIf(at, digest = ''))) AS revoked_at,
            argMinIf(reason, at, digest = '') AS reason
        FROM
        (
            SELECT version, digest, '' AS reason, recorded_at AS at FROM redaction_rules
            UNION ALL
            SELECT version, '' AS digest, reason, revoked_at AS at FROM redaction_rules_revoked
        )
        GROUP BY version
        ORDER BY min(at), version";
    client.query_rows(sql, &[]).await
}

/// Revokes a version for good: from its answer on, no training view shows a row that it redacted.
///
/// # Errors
/// The version is unknown and `unrecorded` is false, or the server did not take it.
pub async fn revoke(
    client: &Client,
    version: &str,
    reason: &str,
    unrecorded: bool,
) -> Result<(), RevokeError> {
    let known = list(client).await?;
    let recorded: Vec<&str> =
        known.iter().filter(|it| !it.digests.is_empty()).map(|it| it.version.as_str()).collect();
    if !unrecorded && !recorded.contains(&version) {
        let known = if recorded.is_empty() { "none".to_owned() } else { recorded.join(", ") };
        return Err(RevokeError::Unknown { version: version.to_owned(), known });
    }
    let row = serde_json::to_vec(&Row { version, reason }).map_err(Error::from)?;
    let token = Uuid::now_v7().to_string();
    Ok(client.insert_json("redaction_rules_revoked", "(version, reason)", row.into(), &token, &[]).await?)
}
