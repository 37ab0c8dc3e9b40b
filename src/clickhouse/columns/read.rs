//! What can be read from a block that lies in the spool or in quarantine.

use std::{collections::HashMap, fmt, ops::Range, sync::Arc};

use uuid::Uuid;

use super::{Block, SealOffsets, uuid_bytes};
use crate::{
    clickhouse::native::{self, BlockError, BlockView},
    event::{EventType, Micros},
};

/// A block of the given rows of another, numbered from 0: ranges in order that do not overlap.
///
/// It is what [`BlockEncoder`](super::BlockEncoder) would make of these rows, to the byte, with what
/// sealing has patched.
///
/// # Errors
/// The bytes are not one block of rows of `events`, it has a type that is not known here, or the
/// rows are not in it.
pub fn take_rows(block: &[u8], rows: &[Range<u32>]) -> Result<Block, BlockError> {
    let native = native::take_rows(block, rows)?;
    let view = BlockView::parse(&native)?;
    Ok(Block { rows: view.rows, offsets: offsets_in(&view)?, native })
}

/// Where, in a block, the values of the columns start that sealing may change.
///
/// # Errors
/// The bytes are not one block of rows of `events`, or it has a type that is not known here.
pub fn seal_offsets(block: &[u8]) -> Result<SealOffsets, BlockError> {
    offsets_in(&BlockView::parse(block)?)
}

fn offsets_in(view: &BlockView<'_>) -> Result<SealOffsets, BlockError> {
    let offset =
        |at: usize| u32::try_from(at).map_err(|_| BlockError::Malformed("it is longer than a frame can be"));
    Ok(SealOffsets {
        training_scope: offset(view.fixed::<1>("training_scope")?.at)?,
        eligibility_reason: offset(view.fixed::<1>("eligibility_reason")?.at)?,
        sealed_at: offset(view.fixed::<8>("sealed_at")?.at)?,
    })
}

/// Which rows of `events` carry one seal: id and scope of each, as `RowBinary`. Times are microseconds since the
/// epoch; those of receipt name the partitions to look into.
pub const SEALED_ROWS: &str = "SELECT toUInt128(event_id), CAST(training_scope, 'Int8') FROM events \
    WHERE sealed_at = fromUnixTimestamp64Micro({sealed_at:Int64}) \
    AND received_at >= fromUnixTimestamp64Micro({first:Int64}) \
    AND received_at <= fromUnixTimestamp64Micro({last:Int64})";
/// The bytes of a row of its answer.
pub const SEALED_ROW_BYTES: usize = 17;

/// What [`SEALED_ROWS`] asks for: the seal of some blocks, and when their rows were received, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// When they were sealed, all at once.
    pub sealed_at: i64,
    /// The first receipt.
    pub first: i64,
    /// The last receipt.
    pub last: i64,
}

/// The rows that there are, as [`SEALED_ROWS`] finds them: how many of each id and scope.
#[derive(Clone, Debug, Default)]
pub struct SealedRows(HashMap<(u128, i8), u32>);

impl SealedRows {
    /// Takes in a row of the answer.
    pub fn add(&mut self, row: &[u8; SEALED_ROW_BYTES]) {
        let [id @ .., scope] = *row;
        *self.0.entry((u128::from_le_bytes(id), scope.cast_signed())).or_default() += 1;
    }

    fn take(&mut self, id: u128, scope: i8) -> bool {
        match self.0.get_mut(&(id, scope)) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

/// The seal of blocks that were sealed together, strung together as in an insert; none without rows.
///
/// # Errors
/// The bytes are not blocks of rows of `events`, or one has a type that is not known here.
pub fn seal_of(blocks: &[u8]) -> Result<Option<Seal>, BlockError> {
    let mut seal: Option<Seal> = None;
    let mut rest = blocks;
    while !rest.is_empty() {
        let (view, after) = BlockView::parse_first(rest)?;
        rest = after;
        let sealed_at = view.fixed::<8>("sealed_at")?.values;
        let received_at = view.fixed::<8>("received_at")?.values;
        for (sealed_at, received_at) in sealed_at.iter().zip(received_at) {
            let (sealed_at, at) = (i64::from_le_bytes(*sealed_at), i64::from_le_bytes(*received_at));
            let seal = seal.get_or_insert(Seal { sealed_at, first: at, last: at });
            seal.first = seal.first.min(at);
            seal.last = seal.last.max(at);
        }
    }
    Ok(seal)
}

/// The rows of some blocks, strung together as in an insert, that are not among those found; with their number.
///
/// # Errors
/// As [`seal_of`].
pub fn missing_rows(blocks: &[u8], mut found: SealedRows) -> Result<(Vec<u8>, u32), BlockError> {
    let (mut missing, mut count) = (Vec::new(), 0);
    let mut rest = blocks;
    while !rest.is_empty() {
        let (view, after) = BlockView::parse_first(rest)?;
        let block = &rest[..rest.len() - after.len()];
        rest = after;
        let ids = view.fixed::<16>("event_id")?.values;
        let scopes = view.fixed::<1>("training_scope")?.values;
        let of_block: Vec<Range<u32>> = (0..)
            .zip(ids.iter().zip(scopes))
            .filter(|(_, (id, scope))| {
                !found.take(u128::from_be_bytes(uuid_bytes(**id)), scope[0].cast_signed())
            })
            .map(|(row, _)| row..row + 1)
            .collect();
        if !of_block.is_empty() {
            count += u32::try_from(of_block.len()).unwrap_or(u32::MAX);
            missing.extend(native::take_rows(block, &of_block)?);
        }
    }
    Ok((missing, count))
}

/// What may be shown of a row: whose product it came from, when, and what kind of event it is. Neither
/// text nor author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSummary {
    /// The event's id.
    pub event_id: Uuid,
    /// Its kind; `None` when it is not one that this program knows.
    pub event_type: Option<EventType>,
    /// Whose event it is.
    pub tenant: Arc<str>,
    /// When it was received.
    pub received_at: Micros,
}

impl fmt::Display for RowSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event_type = self.event_type.map_or("unknown", EventType::as_str);
        write!(f, "{}  {event_type}  {}  {}", self.event_id, self.tenant, self.received_at)
    }
}

/// Says of each row of some blocks, strung together as in an insert, what may be shown.
///
/// # Errors
/// The bytes are not blocks of rows of `events`, or one has a type that is not known here.
pub fn describe_rows(blocks: &[u8]) -> Result<Vec<RowSummary>, BlockError> {
    let mut summaries = Vec::new();
    let mut rest = blocks;
    while !rest.is_empty() {
        let (view, after) = BlockView::parse_first(rest)?;
        rest = after;
        let event_ids = view.fixed::<16>("event_id")?.values;
        let event_types = view.fixed::<1>("event_type")?.values;
        let received_at = view.fixed::<8>("received_at")?.values;
        let (tenants, tenant_of) = view.low_cardinality("tenant")?;
        let tenants = tenants
            .into_iter()
            .map(|key| std::str::from_utf8(key).map(Arc::from))
            .collect::<Result<Vec<Arc<str>>, _>>()
            .map_err(|_| BlockError::Malformed("a tenant is not UTF-8"))?;
        let rows = event_ids.iter().zip(event_types).zip(received_at).zip(tenant_of);
        summaries.extend(rows.map(|(((event_id, event_type), received_at), tenant)| RowSummary {
            // Its halves are stored in reverse, and reversed they are as they were.
            event_id: Uuid::from_bytes(uuid_bytes(*event_id)),
            event_type: EventType::ALL.into_iter().find(|kind| *kind as u8 == event_type[0]),
            tenant: Arc::clone(&tenants[tenant]),
            received_at: Micros(i64::from_le_bytes(*received_at)),
        }));
    }
    Ok(summaries)
}
