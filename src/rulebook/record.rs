//! Brings the copies of the archive into the table `redaction_rules`, and looks whether what redacts here was
//! revoked.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::archive::{ArchiveError, RulesArchive};
use crate::{
    clickhouse::{Client, Error},
    pipeline::RulesRecord,
};

/// The pause between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// How often is looked whether the rules in use were revoked.
const LOOK: Duration = Duration::from_secs(60);

/// Records the rules that this collector redacts with, and those that an older one here redacted with.
pub struct RulesRecorder {
    archive: RulesArchive,
    client: Client,
    collector_id: String,
    /// The rules that are in use.
    in_use: Vec<RulesRecord>,
    /// Their versions, until they were said to be revoked.
    watched: Vec<String>,
    recorded: bool,
    damaged: HashSet<String>,
}

#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    ClickHouse(#[from] Error),
    #[error("reading the copies panicked")]
    Panicked(#[from] JoinError),
}

#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Known {
    version: String,
    digest: String,
}

#[derive(Deserialize)]
struct Revoked {
    version: String,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    record: &'a RulesRecord,
    collector_id: &'a str,
}

impl RulesRecorder {
    /// A recorder of an archive's copies; `in_use` are the rules that redact now.
    #[must_use]
    pub fn new(
        archive: RulesArchive,
        in_use: Vec<RulesRecord>,
        client: Client,
        collector_id: String,
    ) -> Self {
        let watched = in_use.iter().map(|record| record.version.clone()).collect();
        Self { archive, client, collector_id, in_use, watched, recorded: false, damaged: HashSet::new() }
    }

    /// Records what is not recorded yet, again and again until ClickHouse has taken it, and looks for
    /// revocations until it is told to stop. `tried` is dropped after the first try, whatever came of it.
    pub async fn run(mut self, tried: DropGuard, stop: CancellationToken) {
        let mut tried = Some(tried);
        let mut complained = false;
        loop {
            let pause = tokio::select! {
                done = self.look() => match done {
                    Ok(()) => {
                        complained = false;
                        LOOK
                    }
                    Err(error) => {
                        if !complained {
                            tracing::warn!(
                                %error,
                                "it is not known whether the redaction rules are recorded and not revoked; \
                                 rows of rules that are not recorded are in no training view"
                            );
                            complained = true;
                        }
                        if self.recorded { LOOK } else { RETRY }
                    }
                },
                () = stop.cancelled() => return,
            };
            drop(tried.take());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) -> Result<(), RecordError> {
        if !self.recorded {
            self.record_missing().await?;
            self.recorded = true;
        }
        Ok(self.complain_of_revoked().await?)
    }

    async fn record_missing(&mut self) -> Result<(), RecordError> {
        let archive = self.archive.clone();
        let (mut records, damaged) = spawn_blocking(move || archive.read_all()).await??;
        records.extend(self.in_use.iter().filter(|it| !records.contains(it)).cloned().collect::<Vec<_>>());
        for name in damaged {
            if self.damaged.insert(name.clone()) {
                tracing::error!(
                    name,
                    "the copy of redaction rules is damaged and cannot be recorded; rows that they redacted may be in \
                     no training view"
                );
            }
        }
        let known: HashSet<Known> = self
            .client
            .query_rows("SELECT version, digest FROM redaction_rules FINAL", &[])
            .await?
            .into_iter()
            .collect();
        for record in records {
            let here = Known { version: record.version.clone(), digest: record.digest.clone() };
            if known.contains(&here) {
                continue;
            }
            if known.iter().any(|it| it.version == here.version) {
                tracing::error!(
                    version = here.version,
                    digest = here.digest,
                    "other rules were recorded under the version of these; all collectors must run released builds"
                );
            }
            let row = serde_json::to_vec(&Row { record: &record, collector_id: &self.collector_id })
                .map_err(Error::from)?;
            let token = format!("{} {}", here.version, here.digest);
            self.client
                .insert_json(
                    "redaction_rules",
                    "(version, digest, body, collector_id)",
                    row.into(),
                    &token,
                    &[],
                )
                .await?;
            tracing::info!(version = here.version, digest = here.digest, "recorded redaction rules");
        }
        Ok(())
    }

    /// ERROR once for each version in use: whoever revoked it wants other rules to be used.
    async fn complain_of_revoked(&mut self) -> Result<(), Error> {
        let revoked: Vec<Revoked> =
            self.client.query_rows("SELECT DISTINCT version FROM redaction_rules_revoked", &[]).await?;
        self.watched.retain(|version| {
            let bad = revoked.iter().any(|it| it.version == *version);
            if bad {
                tracing::error!(
                    version,
                    "the redaction rules in use were revoked: what is redacted by them is in no training view; \
                     update assent, or the tenant's own rules"
                );
            }
            !bad
        });
        Ok(())
    }
}
