//! Whether ClickHouse has the rows that it says it has.
//!
//! ClickHouse notes the token of an insert before the part that the insert made gets its place. A kill -9 or a
//! power cut in between leaves the token and takes the rows: the same insert is then confirmed when it is
//! sent again, and nothing is inserted (seen with 26.7, once or so in a hundred kills in the middle of inserts).
//! So a confirmation is believed only if no try before it can have left a token. After any other, the
//! rows are looked for.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    clickhouse::{
        Client, Error,
        columns::{self, RowSummary},
        native::{BlockError, BlockView, take_rows},
    },
    consent::TrainingScope,
};

/// Ids that one query looks for. The text of a query may have 256 KiB, and an id takes 40 bytes.
const IDS: usize = 5_000;

/// An event, by tenant and id.
type Event<'a> = (&'a str, u128);

#[derive(Deserialize)]
struct Found {
    id: String,
}

/// The rows of some blocks whose events are not in the table, as blocks; none if all are there. An event is
/// there if one of its copies has a scope at least as narrow as the one here: copies are a client's retries, and may
/// have taken the place of ours in a merge.
///
/// # Errors
/// ClickHouse cannot say.
pub(super) async fn missing(client: &Client, table: &str, blocks: &[u8]) -> Result<Option<Bytes>, Error> {
    // Blocks of our own always can be read. Of any others, nothing can be said, so all of them are missing.
    let Ok(rows) = columns::describe_rows(blocks) else { return Ok(Some(Bytes::copy_from_slice(blocks))) };
    let mut groups: BTreeMap<(&str, TrainingScope), Vec<u128>> = BTreeMap::new();
    for (event, scope) in narrowest(&rows) {
        groups.entry((event.0, scope)).or_default().push(event.1);
    }
    let mut found = HashSet::new();
    for ((tenant, scope), ids) in groups {
        for ids in ids.chunks(IDS) {
            let ids = look_for(client, table, tenant, scope, ids).await?;
            found.extend(ids.into_iter().map(|id| (tenant, id)));
        }
    }
    if rows.iter().all(|row| found.contains(&event(row))) {
        return Ok(None);
    }
    let missing = without(blocks, &rows, &found);
    Ok(Some(missing.map_or_else(|_| Bytes::copy_from_slice(blocks), Bytes::from)))
}

fn event(row: &RowSummary) -> Event<'_> {
    (&row.tenant, row.event_id.as_u128())
}

/// Each event with the narrowest scope that it has here.
fn narrowest(rows: &[RowSummary]) -> BTreeMap<Event<'_>, TrainingScope> {
    let mut narrowest = BTreeMap::new();
    for row in rows {
        let scope = row.training_scope.unwrap_or(TrainingScope::None);
        let known = narrowest.entry(event(row)).or_insert(scope);
        *known = scope.min(*known);
    }
    narrowest
}

/// Which of a tenant's events are there.
async fn look_for(
    client: &Client,
    table: &str,
    tenant: &str,
    scope: TrainingScope,
    ids: &[u128],
) -> Result<Vec<u128>, Error> {
    let list = ids.iter().map(u128::to_string).collect::<Vec<_>>().join(",");
    // By the key of the table, so that its index finds them.
    let sql = format!(
        "SELECT DISTINCT toString(toUInt128(event_id)) AS id FROM {table} WHERE tenant = {{tenant:String}} \
         AND toUInt128(event_id) IN ({list}) AND CAST(training_scope, 'Int8') <= {}",
        scope as i8
    );
    let found = client.query_rows::<Found>(&sql, &[("tenant", tenant)]).await?;
    Ok(found.into_iter().filter_map(|found| found.id.parse().ok()).collect())
}

/// The rows of some blocks whose events are not among those found.
fn without(
    mut blocks: &[u8],
    mut rows: &[RowSummary],
    found: &HashSet<Event<'_>>,
) -> Result<Vec<u8>, BlockError> {
    let mut missing = Vec::new();
    while !blocks.is_empty() {
        let (view, rest) = BlockView::parse_first(blocks)?;
        let (of_block, others) = rows.split_at(rows.len().min(view.rows as usize));
        let wanted: Vec<Range<u32>> = (0..)
            .zip(of_block)
            .filter(|(_, row)| !found.contains(&event(row)))
            .map(|(number, _)| number..number + 1)
            .collect();
        if !wanted.is_empty() {
            missing.extend(take_rows(&blocks[..blocks.len() - rest.len()], &wanted)?);
        }
        (blocks, rows) = (rest, others);
    }
    Ok(missing)
}
