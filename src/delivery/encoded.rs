//! A request's events on their way to the spool: put into columns by whoever took the request in, so that the
//! spool's one writer has little left to do: to join those of requests of less than thousands of events, and to
//! compress the block that it makes of them.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::frame::EventRows;
use crate::event::Redacted;

/// From so many rows on, a request has a block of its own. ClickHouse takes some 0.6 ms for a block, whatever is in
/// it, which is more than a microsecond a row for blocks of 500 rows (docs/performance.md).
const OWN_BLOCK_ROWS: usize = 4_096;
/// The same for requests of few rows that are long.
const OWN_BLOCK_BYTES: usize = 1 << 20;
/// Encoders that are kept for the next request.
const KEPT: usize = 64;
/// An encoder that has grown beyond this is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// Hands out encoders. Clones share those that are kept: an encoder has dozens of buffers, which a request of
/// one event would fill with a few bytes each.
#[derive(Clone, Debug)]
pub struct EventEncoders(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    collector_id: String,
    #[allow(clippy::vec_box, reason = "they move from hand to hand, and one is some thousand bytes")]
    kept: Mutex<Vec<Box<EventRows>>>,
}

impl EventEncoders {
    /// Encoders whose rows carry this collector's id.
    #[must_use]
    pub fn new(collector_id: &str) -> Self {
        Self(Arc::new(Pool { collector_id: collector_id.to_owned(), kept: Mutex::default() }))
    }

    /// An encoder without events.
    #[must_use]
    pub fn encoder(&self) -> EventBatch {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let rows = kept.unwrap_or_else(|| Box::new(EventRows::new(&self.0.collector_id)));
        EventBatch { rows: Some(rows), pool: Arc::clone(&self.0) }
    }
}

/// Gathers a request's events. Takes [`Redacted`] events alone: nothing else can be spooled.
#[derive(Debug)]
pub struct EventBatch {
    /// There until it goes back.
    rows: Option<Box<EventRows>>,
    pool: Arc<Pool>,
}

impl EventBatch {
    /// Adds an event.
    pub fn push(&mut self, event: &Redacted<'_>) {
        if let Some(rows) = &mut self.rows {
            rows.push(event);
        }
    }

    /// The events, to be appended. Many of them become a block here, on the thread of their request; of a few,
    /// together with those of other requests, the spool's writer makes one.
    #[must_use]
    pub fn finish(mut self) -> EncodedEvents {
        let Some(rows) = &mut self.rows else { return EncodedEvents(Encoded::Block(Vec::new())) };
        let bytes = rows.len_bytes();
        if rows.len() < OWN_BLOCK_ROWS && bytes < OWN_BLOCK_BYTES {
            return EncodedEvents(Encoded::Rows { bytes, batch: self });
        }
        let mut block = Vec::new();
        rows.drain_into(&mut block);
        EncodedEvents(Encoded::Block(block))
    }
}

impl Drop for EventBatch {
    fn drop(&mut self) {
        let Some(mut rows) = mem::take(&mut self.rows).filter(|rows| rows.memory_bytes() <= KEPT_BYTES)
        else {
            return;
        };
        rows.clear();
        let mut kept = self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(rows);
        }
    }
}

/// A request's events, encoded. Only [`EventBatch::finish`] makes one.
#[derive(Debug)]
pub struct EncodedEvents(Encoded);

#[derive(Debug)]
enum Encoded {
    /// A few, for a block with those of others.
    Rows {
        /// What they are gathered in.
        batch: EventBatch,
        /// About how many bytes they take.
        bytes: usize,
    },
    /// A block, as it lies in a frame.
    Block(Vec<u8>),
}

/// What there is to append.
pub(super) enum Form<'a> {
    Rows(&'a EventRows),
    Block(&'a [u8]),
}

impl EncodedEvents {
    /// About how many bytes they take, in memory and in the spool.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        match &self.0 {
            Encoded::Rows { bytes, .. } => *bytes,
            Encoded::Block(block) => block.len(),
        }
    }

    pub(super) fn form(&self) -> Form<'_> {
        match &self.0 {
            Encoded::Rows { batch, .. } => batch.rows.as_deref().map_or(Form::Block(&[]), Form::Rows),
            Encoded::Block(block) => Form::Block(block),
        }
    }
}
