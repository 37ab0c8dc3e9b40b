//! Brings the copies of the archive into the table `policies`.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    archive::{ArchiveError, PolicyArchive},
    date, file,
};
use crate::clickhouse::{Client, Error};

/// The pause between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// The most digests that one query asks for: they go into its address.
const DIGESTS_PER_QUERY: usize = 50;

/// Records every policy that this collector has loaded.
pub struct PolicyRecorder {
    archive: PolicyArchive,
    client: Client,
    recorded: HashSet<String>,
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

#[derive(Deserialize)]
struct Known {
    digest: String,
}

#[derive(Serialize)]
struct Row<'a> {
    version: &'a str,
    digest: &'a str,
    effective_from: &'a str,
    body: &'a str,
}

impl PolicyRecorder {
    /// A recorder of an archive's copies.
    #[must_use]
    pub fn new(archive: PolicyArchive, client: Client) -> Self {
        Self { archive, client, recorded: HashSet::new(), damaged: HashSet::new() }
    }

    /// Records what is not recorded yet, again and again until ClickHouse has taken it, and what is
    /// loaded later, until it is told to stop. What is left then is recorded after the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut complained = false;
        loop {
            let until_next = async {
                match self.record_missing().await {
                    Ok(()) => {
                        complained = false;
                        self.archive.changed().await;
                    }
                    Err(error) => {
                        if !complained {
                            tracing::warn!(%error, "not every policy is recorded yet");
                            complained = true;
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                () = until_next => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn record_missing(&mut self) -> Result<(), RecordError> {
        let archive = self.archive.clone();
        let mut missing = spawn_blocking(move || archive.digests()).await??;
        missing.retain(|digest| !self.recorded.contains(digest));
        for some in missing.chunks(DIGESTS_PER_QUERY) {
            let known = self.known(some).await?;
            self.recorded.extend(known);
        }
        missing.retain(|digest| !self.recorded.contains(digest));
        for digest in missing {
            let (archive, of) = (self.archive.clone(), digest.clone());
            let copy = spawn_blocking(move || archive.read(&of)).await??;
            let Some((body, (version, from))) =
                copy.and_then(|body| file::read_name(&body).map(|name| (body, name)))
            else {
                if self.damaged.insert(digest.clone()) {
                    tracing::error!(digest, "the copy of a policy is damaged and cannot be recorded");
                }
                continue;
            };
            let row =
                Row { version: &version, digest: &digest, effective_from: &date::day(from), body: &body };
            let row = serde_json::to_vec(&row).map_err(Error::from)?;
            self.client
                .insert_json("policies", "(version, digest, effective_from, body)", row.into(), &digest, &[])
                .await?;
            tracing::info!(version, digest, "recorded a policy");
            self.recorded.insert(digest);
        }
        Ok(())
    }

    /// Those of the digests that are in the table.
    async fn known(&self, digests: &[String]) -> Result<Vec<String>, Error> {
        let list = digests.join(",");
        let known: Vec<Known> = self
            .client
            .query_rows(
                "SELECT DISTINCT digest FROM policies WHERE has(splitByChar(',', {digests:String}), digest)",
                &[("digests", &list)],
            )
            .await?;
        Ok(known.into_iter().map(|row| row.digest).collect())
    }
}
