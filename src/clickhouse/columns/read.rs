//! What can be read from a block that lies in the spool or in quarantine.

use std::{fmt, ops::Range, sync::Arc};

use uuid::Uuid;

use super::uuid_bytes;
use crate::{
    clickhouse::native::{BlockError, BlockView},
    consent::TrainingScope,
    event::{EventType, Micros, SubjectId},
};

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

/// Whose row it is, and the newest change of that person that its stamp took into account.
pub type Stamped = (SubjectId, u32);

/// Which rows of some blocks, strung together as in an insert and numbered from 0, are such ones: ranges in order.
/// `is_one` is asked about each row once.
///
/// # Errors
/// The bytes are not blocks of rows of `events`, or one has a type that is not known here.
pub fn find_rows(
    blocks: &[u8],
    mut is_one: impl FnMut(&Stamped) -> bool,
) -> Result<Vec<Range<u32>>, BlockError> {
    let mut found: Vec<Range<u32>> = Vec::new();
    let mut rest = blocks;
    let mut row = 0;
    while !rest.is_empty() {
        let (view, after) = BlockView::parse_first(rest)?;
        rest = after;
        let subjects = view.fixed::<16>("subject_id")?.values;
        let versions = view.fixed::<4>("consent_version")?.values;
        for (subject, version) in subjects.iter().zip(versions) {
            let stamped = (SubjectId::from_bytes(uuid_bytes(*subject)), u32::from_le_bytes(*version));
            if is_one(&stamped) {
                match found.last_mut() {
                    Some(last) if last.end == row => last.end += 1,
                    _ => found.push(row..row + 1),
                }
            }
            row += 1;
        }
    }
    Ok(found)
}
