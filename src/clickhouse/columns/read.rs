//! What can be read from a block that lies in the spool or in quarantine.

use std::{fmt, ops::Range, sync::Arc};

use uuid::Uuid;

use super::{Block, SealOffsets, uuid_bytes};
use crate::{
    clickhouse::native::{self, BlockError, BlockView},
    consent::TrainingScope,
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
    /// Who may train on it; `None` when that is not a scope that this program knows.
    pub training_scope: Option<TrainingScope>,
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
        let scopes = view.fixed::<1>("training_scope")?.values;
        let (tenants, tenant_of) = view.low_cardinality("tenant")?;
        let tenants = tenants
            .into_iter()
            .map(|key| std::str::from_utf8(key).map(Arc::from))
            .collect::<Result<Vec<Arc<str>>, _>>()
            .map_err(|_| BlockError::Malformed("a tenant is not UTF-8"))?;
        let rows = event_ids.iter().zip(event_types).zip(received_at).zip(tenant_of).zip(scopes);
        summaries.extend(rows.map(|((((event_id, event_type), received_at), tenant), scope)| RowSummary {
            // Its halves are stored in reverse, and reversed they are as they were.
            event_id: Uuid::from_bytes(uuid_bytes(*event_id)),
            event_type: EventType::ALL.into_iter().find(|kind| *kind as u8 == event_type[0]),
            tenant: Arc::clone(&tenants[tenant]),
            received_at: Micros(i64::from_le_bytes(*received_at)),
            training_scope: TrainingScope::from_i8(i8::from_le_bytes(*scope)),
        }));
    }
    Ok(summaries)
}
