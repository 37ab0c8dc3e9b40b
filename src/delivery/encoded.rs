//! A request's events on their way to the spool: encoded by whoever took the request in, so that the
//! spool's one writer has little left to do.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::frame::EventRows;
use crate::event::Redacted;

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

    /// The events, to be appended.
    #[must_use]
    pub fn finish(self) -> EncodedEvents {
        let bytes = self.rows.as_ref().map_or(0, |rows| rows.len_bytes());
        EncodedEvents { batch: self, bytes }
    }
}

impl Drop for EventBatch {
    fn drop(&mut self) {
        let Some(mut rows) = mem::take(&mut self.rows).filter(|rows| rows.len_bytes() <= KEPT_BYTES) else {
            return;
        };
        rows.clear();
        let mut kept = self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(rows);
        }
    }
}

/// A request's events, encoded.
#[derive(Debug)]
pub struct EncodedEvents {
    batch: EventBatch,
    bytes: usize,
}

impl EncodedEvents {
    /// About how many bytes they take, in memory and in the spool.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn rows(&self) -> &EventRows {
        // It is there until this is dropped.
        self.batch.rows.as_deref().expect("the rows go back when this is dropped")
    }
}
