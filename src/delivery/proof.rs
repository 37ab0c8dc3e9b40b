//! Whether ClickHouse has the rows that it says it has.
//!
//! ClickHouse notes the token of an insert before the part that the insert made gets its place. A kill -9 or a
//! power cut in between leaves the token and takes the rows: the same insert is then confirmed when it is
//! sent again, and nothing is inserted (seen with 26.7, once or so in a hundred kills in the middle of inserts).
//! So a confirmation is believed only if no try before it can have left a token. After any other, the
//! rows are looked for.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    clickhouse::{Client, Error, columns},
    consent::TrainingScope,
};

/// Ids that one query looks for. The text of a query may have 256 KiB, and an id takes 40 bytes.
const IDS: usize = 5_000;
/// ClickHouse's `ACCESS_DENIED`.
const ACCESS_DENIED: u32 = 497;

#[derive(Deserialize)]
struct Found {
    n: u64,
}

/// Whether each event of some blocks is in the table, in a copy whose scope is at least as narrow as the one here.
/// Copies are a client's retries; they may have taken the place of ours in a merge.
///
/// # Errors
/// ClickHouse cannot say.
pub(super) async fn are_there(client: &Client, table: &str, blocks: &[u8]) -> Result<bool, Error> {
    let Ok(rows) = columns::describe_rows(blocks) else { return Ok(false) };
    let mut narrowest: BTreeMap<(&str, Uuid), TrainingScope> = BTreeMap::new();
    for row in &rows {
        let scope = row.training_scope.unwrap_or(TrainingScope::None);
        let known = narrowest.entry((&row.tenant, row.event_id)).or_insert(scope);
        *known = scope.min(*known);
    }
    let mut groups: BTreeMap<(&str, TrainingScope), Vec<u128>> = BTreeMap::new();
    for ((tenant, event_id), scope) in narrowest {
        groups.entry((tenant, scope)).or_default().push(event_id.as_u128());
    }
    for ((tenant, scope), ids) in groups {
        for ids in ids.chunks(IDS) {
            let list = ids.iter().map(u128::to_string).collect::<Vec<_>>().join(",");
            // The key of the table, so that its index finds them.
            let sql = format!(
                "SELECT uniqExact(event_id) AS n FROM {table} WHERE tenant = {{tenant:String}} \
                 AND toUInt128(event_id) IN ({list}) AND CAST(training_scope, 'Int8') <= {}",
                scope as i8
            );
            let found = match client.query_rows::<Found>(&sql, &[("tenant", tenant)]).await {
                Ok(found) => found.first().map_or(0, |found| found.n),
                Err(error) if error.code() == Some(ACCESS_DENIED) => {
                    tracing::error!(
                        %error,
                        "whether rows are there cannot be looked up, so they are inserted once more and may be there \
                         twice; grant assent_collector what schemas/roles.sql says"
                    );
                    0
                }
                Err(error) => return Err(error),
            };
            if found < ids.len() as u64 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
