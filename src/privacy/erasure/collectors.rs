//! Which collectors erasures wait for, for an operator to see and to correct.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clickhouse::{Client, Error};

/// A collector that was ever there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KnownCollector {
    /// Its id, as in the column `collector_id`.
    pub collector_id: String,
    /// `running`, `drained` (stopped with nothing left) or `retired`.
    pub state: String,
    /// When that was last said, by ClickHouse's clock.
    pub seen_at: String,
}

#[derive(Serialize)]
struct Retired<'a> {
    collector_id: &'a str,
    state: &'static str,
}

/// All of them, the one seen last first.
///
/// # Errors
/// See [`Error`].
pub async fn list(client: &Client) -> Result<Vec<KnownCollector>, Error> {
    let sql = "SELECT collector_id, toString(newest.1) AS state, toString(newest.2) AS seen_at
        FROM (SELECT collector_id, max((c.seen_at, c.state)) AS last, (last.2, last.1) AS newest
              FROM collectors AS c GROUP BY collector_id)
        ORDER BY newest.2 DESC, collector_id";
    client.query_rows(sql, &[]).await
}

/// Says that a collector's disk is gone, or was wiped: erasures no longer wait for its spool. `false` if there is no
/// such collector. One that starts again all the same is waited for again.
///
/// # Errors
/// See [`Error`].
pub async fn retire(client: &Client, collector_id: &str) -> Result<bool, Error> {
    if !list(client).await?.iter().any(|known| known.collector_id == collector_id) {
        return Ok(false);
    }
    let row = serde_json::to_vec(&Retired { collector_id, state: "retired" })?;
    let token = Uuid::now_v7().to_string();
    client.insert_json("collectors", "(collector_id, state)", row.into(), &token, &[]).await?;
    Ok(true)
}
