//! The table `exports`: which datasets were begun, and which manifests were issued.

use serde::Serialize;
use uuid::Uuid;

use super::{Day, Job, Manifest, query::Scope};
use crate::clickhouse::{Client, Error, Options};

const COLUMNS: &str = "(export_id, parent_export_id, state, scope, from_day, to_day, rows, bytes, shards, \
    consent_watermark, manifest, manifest_sha256, created_by)";
/// The server's codes for a user that may not insert.
const MAY_NOT_WRITE: [u32; 2] = [164, 497];

/// What could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The user has no right to.
    #[error(
        "the ClickHouse user {user:?} may not write to `exports`, where every export is recorded: name one with the role \
         assent_exporter by --recorder-user (and ASSENT_RECORDER_PASSWORD), or leave no record with --unrecorded"
    )]
    Refused {
        /// As whom it was tried.
        user: String,
        /// What the server said.
        source: Error,
    },
    /// The server did not take it.
    #[error("the export cannot be recorded in `exports`")]
    ClickHouse(#[source] Error),
}

#[derive(Serialize)]
struct Row<'a> {
    export_id: Uuid,
    parent_export_id: Option<Uuid>,
    state: &'static str,
    scope: Scope,
    from_day: Day,
    to_day: Day,
    rows: u64,
    bytes: u64,
    shards: usize,
    consent_watermark: &'a str,
    manifest: &'a str,
    manifest_sha256: &'a str,
    created_by: &'a str,
}

/// Writes to `exports`.
#[derive(Clone, Debug)]
pub struct Recorder {
    client: Client,
    user: String,
}

impl Recorder {
    /// As the user of these options.
    ///
    /// # Errors
    /// The URL is not one.
    pub fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self { client: Client::new(options)?, user: options.user.clone() })
    }

    /// Before the first row is read.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn begun(&self, job: &Job, created_by: &str) -> Result<(), RecordError> {
        let row = Row {
            export_id: job.export_id,
            parent_export_id: job.parent.as_ref().map(|parent| parent.export_id),
            state: "begun",
            scope: job.selection.scope,
            from_day: job.selection.from_day,
            to_day: job.selection.to_day,
            rows: 0,
            bytes: 0,
            shards: 0,
            consent_watermark: &job.started_at,
            manifest: "",
            manifest_sha256: "",
            created_by,
        };
        self.insert(&row).await
    }

    /// When the manifest is durable, and before the dataset is in its place.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn issued(&self, manifest: &Manifest, sha256: &str) -> Result<(), RecordError> {
        let failed = |error: serde_json::Error| RecordError::ClickHouse(error.into());
        let text = String::from_utf8(manifest.to_bytes().map_err(failed)?)
            .map_err(|_| RecordError::ClickHouse(Error::Malformed("a manifest that is no text")))?;
        let row = Row {
            export_id: manifest.export_id,
            parent_export_id: manifest.parent.as_ref().map(|parent| parent.export_id),
            state: "issued",
            scope: manifest.selection.scope,
            from_day: manifest.selection.from_day,
            to_day: manifest.selection.to_day,
            rows: manifest.rows,
            bytes: manifest.bytes,
            shards: manifest.shards.len(),
            consent_watermark: &manifest.consent_watermark,
            manifest: &text,
            manifest_sha256: sha256,
            created_by: &manifest.creator.clickhouse_user,
        };
        self.insert(&row).await
    }

    async fn insert(&self, row: &Row<'_>) -> Result<(), RecordError> {
        let body = serde_json::to_vec(row).map_err(|error| RecordError::ClickHouse(error.into()))?;
        // Whoever goes on with an export says the same again.
        let token = format!("{} {} {}", row.export_id, row.state, row.manifest_sha256);
        self.client.insert_json("exports", COLUMNS, body.into(), &token, &[]).await.map_err(|error| {
            match error.code() {
                Some(code) if MAY_NOT_WRITE.contains(&code) => {
                    RecordError::Refused { user: self.user.clone(), source: error }
                }
                _ => RecordError::ClickHouse(error),
            }
        })
    }
}
