//! What is in ClickHouse when all is delivered.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    event::{FIELDS, Key, Kind, TENANTS, digest_sql},
    harness::Database,
};

/// The rows of one event in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) copies: u32,
    /// Of all copies; none when they differ, which copies of one event may not.
    pub(crate) digest: Option<u64>,
    /// The narrowest of their scopes, as a number.
    pub(crate) narrowest: i8,
}

/// One place.
pub(crate) type Place = HashMap<Key, Found>;

/// All places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// The table `events` as it lies on the disk, nothing merged.
    pub(crate) stored: Place,
    /// `events FINAL`.
    pub(crate) counted: Place,
    /// The views of [`Kind::ALL`], in that order.
    pub(crate) views: [Place; 4],
    /// `training_first_party` and `training_affiliates`.
    pub(crate) training: [Place; 2],
    /// Rows of tenants that are none of ours.
    pub(crate) foreign: u64,
}

/// Stops what would hide copies: of rows with one key, merges keep one. To be asked before the first row is there.
pub(crate) async fn keep_copies(database: &Database) {
    // Unlike SYSTEM STOP MERGES this outlives a restart of the server. Without merges there are many parts.
    let sql = "ALTER TABLE events MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, \
               max_bytes_to_merge_at_min_space_in_pool = 1, parts_to_delay_insert = 1000000, \
               parts_to_throw_insert = 1000000";
    database.client.execute(sql).await.unwrap();
}

/// Reads all places.
pub(crate) async fn read(database: &Database) -> Rows {
    let mut rows = Rows {
        stored: place(database, "events", FIELDS).await,
        counted: place(database, "events FINAL", FIELDS).await,
        ..Rows::default()
    };
    for (kind, place_of) in Kind::ALL.into_iter().zip(&mut rows.views) {
        *place_of = place(database, kind.view(), kind.fields()).await;
    }
    for (view, place_of) in
        ["training_first_party", "training_affiliates"].into_iter().zip(&mut rows.training)
    {
        *place_of = place(database, view, FIELDS).await;
    }
    let ours = TENANTS.map(|tenant| format!("'{tenant}'")).join(",");
    rows.foreign = database.count(&format!("events WHERE tenant NOT IN ({ours})")).await;
    rows
}

/// The bytes of a row in the answer: tenant, id, copies, two digests, scope.
const ROW_BYTES: usize = 1 + 16 + 4 + 8 + 8 + 1;

async fn place(database: &Database, table: &str, fields: [&str; 7]) -> Place {
    let tenants = TENANTS.map(|tenant| format!("'{tenant}'")).join(",");
    let sql = format!(
        "SELECT toUInt8(indexOf([{tenants}], tenant) - 1) AS owner, toUInt128(event_id) AS id, toUInt32(count()),
             min(digest), max(digest), min(scope)
         FROM (SELECT tenant, event_id, {digest} AS digest, CAST(training_scope, 'Int8') AS scope FROM {table}
               WHERE tenant IN ({tenants}))
         GROUP BY tenant, event_id",
        digest = digest_sql(fields),
    );
    let mut place = Place::new();
    let mut rest = Vec::new();
    database
        .client
        .query_chunks(&sql, &[], "RowBinary", |chunk| {
            rest.extend_from_slice(chunk);
            let whole = rest.len() / ROW_BYTES * ROW_BYTES;
            place.extend(rest[..whole].chunks_exact(ROW_BYTES).map(row));
            rest.drain(..whole);
            Ok(())
        })
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert!(rest.is_empty(), "{table} ends in the middle of a row");
    place
}

fn row(bytes: &[u8]) -> (Key, Found) {
    let (tenant, bytes) = (bytes[0], &bytes[1..]);
    let (id, bytes) = bytes.split_first_chunk().unwrap();
    let (copies, bytes) = bytes.split_first_chunk().unwrap();
    let (least, bytes) = bytes.split_first_chunk().unwrap();
    let (most, bytes) = bytes.split_first_chunk().unwrap();
    let (least, most) = (u64::from_le_bytes(*least), u64::from_le_bytes(*most));
    let key = Key { tenant, id: Uuid::from_u128(u128::from_le_bytes(*id)) };
    let found = Found {
        copies: u32::from_le_bytes(*copies),
        digest: (least == most).then_some(least),
        narrowest: bytes[0].cast_signed(),
    };
    (key, found)
}
