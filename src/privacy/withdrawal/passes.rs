//! The table `withdrawal_passes`: who works, so that one collector does at a time, and how far it has come, so that all
//! can say so.
//!
//! It saves work, and nothing depends on it: two passes at once do no harm.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Due, Mode};
use crate::clickhouse::{Client, Error};

/// A pass of which nothing was heard for so long is dead.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How often a pass is heard of.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a question about passes may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const COLUMNS: &str = "(pass_id, collector_id, mode, state, started_at, rows_due, subjects_due, oldest_at, \
    rows_moved, rows_purged, mutations)";

/// What has been done in a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that were copied to a narrower partition and removed.
    pub rows_moved: u64,
    /// Rows that were removed.
    pub rows_purged: u64,
    /// Mutations of the table.
    pub mutations: u32,
}

/// What the newest look has found, whoever looked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Newest {
    pub(super) rows_due: u64,
    pub(super) subjects_due: u64,
    pub(super) oldest_at: String,
    /// Since the first of them took consent back; 0 when nothing is due.
    pub(super) oldest_seconds: f64,
    /// Since the last pass that found nothing left, or ended, began; none if there never was one.
    pub(super) finished_seconds: Option<f64>,
    /// Whether another collector is at it.
    pub(super) held: bool,
}

#[derive(Deserialize)]
struct Claim {
    pass_id: Uuid,
    started_at: String,
}

#[derive(Serialize)]
struct Row<'a> {
    pass_id: Uuid,
    collector_id: &'a str,
    mode: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<&'a str>,
    rows_due: u64,
    subjects_due: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_at: Option<&'a str>,
    rows_moved: u64,
    rows_purged: u64,
    mutations: u32,
}

/// How a pass stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Running,
    Finished,
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// A pass that was begun here.
pub(super) struct Pass<'a> {
    client: &'a Client,
    collector_id: &'a str,
    mode: Mode,
    id: Uuid,
    started_at: Option<String>,
    rows_written: u32,
    pub(super) due: Due,
    pub(super) done: Done,
}

/// The client waits as long as for a statement that moves rows; these answers take milliseconds.
async fn soon<T>(query: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, query).await.unwrap_or(Err(Error::TimedOut))
}

/// What was found last, by anybody, as it is now by the server's clock.
///
/// # Errors
/// ClickHouse cannot say.
pub(super) async fn newest(client: &Client, collector_id: &str) -> Result<Newest, Error> {
    let lease = LEASE.as_secs();
    // Of a collector that was restarted, what it did before is dead.
    let sql = format!(
        "SELECT argMax(p.rows_due, updated_at) AS rows_due, argMax(p.subjects_due, updated_at) AS subjects_due,
                toString(argMax(p.oldest_at, updated_at)) AS oldest_at,
                if(rows_due = 0, 0, toFloat64(now64(6, 'UTC') - argMax(p.oldest_at, updated_at))) AS oldest_seconds,
                if(countIf(state = 'finished') = 0, NULL,
                   toFloat64(now64(6, 'UTC') - maxIf(started_at, state = 'finished'))) AS finished_seconds,
                toBool(countIf(state = 'running' AND collector_id != {{collector:String}}
                        AND updated_at > now64(6, 'UTC') - INTERVAL {lease} SECOND) > 0) AS held
         FROM withdrawal_passes AS p FINAL"
    );
    let rows = soon(client.query_rows(&sql, &[("collector", collector_id)])).await?;
    rows.into_iter().next().ok_or(Error::Malformed("no row of an aggregate"))
}

impl<'a> Pass<'a> {
    /// Begins a pass, unless another collector is at it. Of two that begin at once the first one, by the server's
    /// clock, goes on. Until it has looked, it says what was found last.
    pub(super) async fn begin(
        client: &'a Client,
        collector_id: &'a str,
        mode: Mode,
        newest: Newest,
    ) -> Result<Option<Self>, Error> {
        let mut pass = Self {
            client,
            collector_id,
            mode,
            id: Uuid::now_v7(),
            started_at: None,
            rows_written: 0,
            due: Due {
                rows: newest.rows_due,
                subjects: newest.subjects_due,
                oldest_at: Some(newest.oldest_at),
                partitions: Vec::new(),
            },
            done: Done::default(),
        };
        pass.record(State::Running).await?;
        let sql = format!(
            "SELECT pass_id, toString(started_at) AS started_at FROM withdrawal_passes FINAL
             WHERE state = 'running' AND updated_at > now64(6, 'UTC') - INTERVAL {} SECOND
               AND (collector_id != {{collector:String}} OR pass_id = {{pass:UUID}})
             ORDER BY started_at, pass_id",
            LEASE.as_secs()
        );
        let id = pass.id.to_string();
        let claims: Vec<Claim> =
            soon(client.query_rows(&sql, &[("collector", collector_id), ("pass", &id)])).await?;
        pass.started_at =
            claims.iter().find(|claim| claim.pass_id == pass.id).map(|claim| claim.started_at.clone());
        if claims.first().is_some_and(|first| first.pass_id == pass.id) {
            return Ok(Some(pass));
        }
        pass.record(State::Failed).await?;
        Ok(None)
    }

    /// Records how it stands.
    pub(super) async fn record(&mut self, state: State) -> Result<(), Error> {
        let row = Row {
            pass_id: self.id,
            collector_id: self.collector_id,
            mode: self.mode.as_str(),
            state: state.as_str(),
            started_at: self.started_at.as_deref(),
            rows_due: self.due.rows,
            subjects_due: self.due.subjects,
            oldest_at: self.due.oldest_at.as_deref(),
            rows_moved: self.done.rows_moved,
            rows_purged: self.done.rows_purged,
            mutations: self.done.mutations,
        };
        let row = serde_json::to_vec(&row).map_err(Error::from)?;
        self.rows_written += 1;
        let token = format!("{} {}", self.id, self.rows_written);
        self.client.insert_json("withdrawal_passes", COLUMNS, row.into(), &token, &[]).await
    }
}
