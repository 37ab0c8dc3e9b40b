//! How far rows of people who were erased are looked for in the spool.
//!
//! To find them, blocks have to be decompressed, which sealing needs nowhere else. So they are looked for only where
//! they can lie: in what was durable when an erasure was learnt of, and in what came in a while after, which may have
//! been stamped before.

use std::time::{Duration, Instant};

use crate::{
    consent::Erased,
    spool::{Position, Reader},
};

/// Longer than an event can be on its way between its stamp and the spool.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// How many erasures were known the last time.
    learnt: u64,
    learnt_at: Option<Instant>,
    /// Frames before it are searched.
    until: Position,
}

impl Search {
    /// Takes note of what is known now, and of how far the spool is durable. To be called before frames are planned.
    pub(super) fn note(&mut self, erased: &Erased, reader: &Reader) {
        // In this order: what is learnt of later is noted by the next call, with an end that is not lower.
        let learnt = erased.learnt();
        if learnt != self.learnt {
            (self.learnt, self.learnt_at) = (learnt, Some(Instant::now()));
        }
        if self.learnt_at.is_some_and(|at| at.elapsed() < AFTERWARDS) {
            self.until = self.until.max(reader.durable_end());
        }
    }

    /// Whether a batch that starts there has to be searched.
    pub(super) fn covers(&self, start: Position) -> bool {
        start < self.until
    }
}
