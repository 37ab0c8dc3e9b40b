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

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    clickhouse::{
        Client, Error,
        columns::{self, RowSummary},
        native::{BlockError, BlockView, take_rows},
    },
    consent::{Erased, TrainingScope},
};

/// Ids that one query looks for. The text of a query may have 256 KiB, and an id takes 40 bytes.
const IDS: usize = 5_000;

/// An event, by tenant and id.
type Event<'a> = (&'a str, u128);

#[derive(Deserialize)]
struct Found {
    id: Uuid,
}

/// The rows of some blocks whose events are not in the table, as blocks; none if all are there. An event is
/// there if one of its copies has a scope at least as narrow as the one here: copies are a client's retries, and may
/// have taken the place of ours in a merge.
///
/// # Errors
/// ClickHouse cannot say.
pub(super) async fn missing(client: &Client, table: &str, blocks: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    // Blocks of our own always can be read. Of any others, nothing can be said, so all of them are missing.
    let Ok(rows) = columns::describe_rows(blocks) else { return Ok(Some(blocks.to_vec())) };
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
    Ok(Some(missing.unwrap_or_else(|_| blocks.to_vec())))
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
    let list = ids.iter().map(|id| format!("'{}'", Uuid::from_u128(*id))).collect::<Vec<_>>().join(",");
    // By the key of the table, so that its index finds them. A number as long as a key would be read as a
    // float, which is why the ids are texts.
    let sql = format!(
        "SELECT DISTINCT event_id AS id FROM {table} WHERE tenant = {{tenant:String}} \
         AND toUInt128(event_id) IN (SELECT toUInt128(toUUID(arrayJoin([{list}])))) \
         AND CAST(training_scope, 'Int8') <= {}",
        scope as i8
    );
    let found = client.query_rows::<Found>(&sql, &[("tenant", tenant)]).await?;
    Ok(found.into_iter().map(|found| found.id.as_u128()).collect())
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

/// The rows of some blocks whose author was not erased since, as blocks; no bytes if there are none.
///
/// # Errors
/// The bytes are not blocks of rows of `events`.
pub(super) fn without_erased(mut blocks: &[u8], erased: &Erased) -> Result<Vec<u8>, BlockError> {
    let mut left = Vec::new();
    while !blocks.is_empty() {
        let (view, rest) = BlockView::parse_first(blocks)?;
        let block = &blocks[..blocks.len() - rest.len()];
        let wanted = columns::find_rows(block, |(subject, version)| !erased.takes(subject, *version))?;
        if matches!(&wanted[..], [all] if *all == (0..view.rows)) {
            left.extend_from_slice(block);
        } else if !wanted.is_empty() {
            left.extend(take_rows(block, &wanted)?);
        }
        blocks = rest;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        consent::{ConsentState, EligibilityReason, Source},
        delivery::{EventEncoder, EventEncoders, frame::Frame},
        event::{Micros, RawText, RawUserId, Received, ReceivedPayload, Stamp, Tenant},
        pipeline::{ConsentView, Decide, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
        spool::GroupEncoder as _,
    };

    const NOW: Micros = Micros(1_795_500_000_000_000);

    struct Always(TrainingScope);

    impl ConsentView for Always {
        fn at(&self, _: Micros) -> Decide<'_> {
            Box::new(|_, _| Stamp {
                training_scope: self.0,
                reason: EligibilityReason::Granted,
                state: ConsentState::Granted,
                source: Source::UserSetting,
                consent_version: 1,
                policy_version: "p".into(),
                policy_digest: "00".into(),
            })
        }
    }

    fn block(tenant: &str, scope: TrainingScope, ids: impl IntoIterator<Item = u128>) -> Vec<u8> {
        let pseudonymiser = Arc::new(Pseudonymiser::new(&PseudonymKey::generate().unwrap()));
        let view = Arc::new(Always(scope));
        let pipeline = Pipeline::new(Limits::default(), pseudonymiser, view, Arc::new(Redactor::new()));
        let (tenant, mut batch) = (Tenant::new(tenant), EventEncoders::new("c").encoder());
        for id in ids {
            let (event_id, text) = (Uuid::from_u128(id).to_string(), format!("text {id}"));
            let received = Received {
                event_id: &event_id,
                user_id: RawUserId::new("ann"),
                occurred_at: Some((NOW.0 / 1_000_000, 0)),
                feature: "compose",
                payload: Some(ReceivedPayload::TypedText { text: RawText::new(&text), language: "en" }),
                ..Received::default()
            };
            let outcome = pipeline.run(&tenant, [received], NOW, |event| batch.push(event));
            assert_eq!(outcome.accepted, 1);
        }
        let mut encoder = EventEncoder::new("c");
        encoder.push(batch.finish());
        let block = Frame::parse(&encoder.finish().into()).unwrap().blocks.remove(0);
        block.native(&block.scopes, &block.reasons, 0).unwrap()
    }

    fn ids(blocks: &[u8]) -> Vec<u128> {
        columns::describe_rows(blocks).unwrap().iter().map(|row| row.event_id.as_u128()).collect()
    }

    #[test]
    fn only_rows_that_were_not_found_are_left() {
        use TrainingScope::{FirstParty, None};
        let blocks =
            [block("a", None, 1..=4), block("b", None, [3, 9]), block("a", FirstParty, [7])].concat();
        let rows = columns::describe_rows(&blocks).unwrap();
        let left =
            |found: &[Event<'_>]| ids(&without(&blocks, &rows, &found.iter().copied().collect()).unwrap());
        assert_eq!(left(&[]), [1, 2, 3, 4, 3, 9, 7]);
        // Events of two tenants may have one id.
        assert_eq!(left(&[("a", 1), ("a", 3), ("b", 9), ("b", 7)]), [2, 4, 3, 7]);
        assert_eq!(left(&rows.iter().map(event).collect::<Vec<_>>()), []);
    }

    #[test]
    fn of_an_event_that_is_there_twice_the_narrowest_counts() {
        let blocks = [
            block("a", TrainingScope::Affiliates, [1, 2]),
            block("a", TrainingScope::None, [2]),
            block("a", TrainingScope::FirstParty, [2]),
        ]
        .concat();
        let rows = columns::describe_rows(&blocks).unwrap();
        let narrowest: Vec<_> = narrowest(&rows).into_iter().collect();
        assert_eq!(narrowest, [(("a", 1), TrainingScope::Affiliates), (("a", 2), TrainingScope::None)]);
    }
}
