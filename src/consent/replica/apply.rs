//! From the pieces of an answer to changes of the view.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    Replica,
    erased::ERASED,
    merge,
    rows::{self, Row, Rows},
    said::Said,
};
use crate::{consent::ConsentScope, event::SubjectId};

/// Changes of a whole ledger that are applied at once: 15 MB of them.
const WHOLE_BATCH: usize = 1 << 19;
/// How often a long read says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Applies the rows of one answer. What neighbouring rows have in common is looked up once.
pub(super) struct Applier {
    replica: Replica,
    /// The whole ledger is being read.
    whole: bool,
    started: Instant,
    rows: u64,
    said_progress: Instant,
    /// What the current piece says.
    changes: Vec<(SubjectId, (ConsentScope, Said))>,
    /// The newest terms, and their number.
    terms: (String, u16),
    /// The newest key that this collector would need.
    missing_key_id: String,
}

impl Applier {
    pub(super) fn new(replica: Replica, whole: bool) -> Self {
        let started = Instant::now();
        Self {
            replica,
            whole,
            started,
            rows: 0,
            said_progress: started,
            changes: Vec::new(),
            terms: (String::new(), 0),
            missing_key_id: String::new(),
        }
    }

    /// Applies pieces until there are no more, and gives what the ledger's clock showed. What is read
    /// before something fails is true all the same, and is kept.
    pub(super) fn apply_pieces(mut self, mut pieces: mpsc::Receiver<Bytes>) -> Result<i64, rows::Malformed> {
        let mut rows = Rows::default();
        while let Some(piece) = pieces.blocking_recv() {
            let read = rows.read(&piece, |row| self.take(row));
            if !self.whole || self.changes.len() >= WHOLE_BATCH || read.is_err() {
                self.apply();
            }
            read?;
            if self.said_progress.elapsed() >= PROGRESS_INTERVAL {
                self.said_progress = Instant::now();
                tracing::info!(rows = self.rows, "still reading the consent ledger");
            }
        }
        self.apply();
        let (ledger_us, keys) = rows.finish()?;
        self.replica.0.keys.settle(&keys);
        if self.whole {
            tracing::info!(
                rows = self.rows,
                subjects = self.replica.subjects(),
                elapsed = ?self.started.elapsed(),
                "the view of consent is loaded"
            );
        }
        Ok(ledger_us)
    }

    pub(super) fn take(&mut self, row: &Row<'_>) {
        self.rows += 1;
        if row.missing_key_id != self.missing_key_id {
            row.missing_key_id.clone_into(&mut self.missing_key_id);
            self.replica.0.keys.needs(row.missing_key_id);
        }
        if row.terms != self.terms.0 {
            self.terms = (row.terms.to_owned(), self.replica.0.terms.index_of(row.terms));
        }
        if (row.state, row.source) == ERASED {
            self.replica.0.erased.learn(row.subject_id, row.version);
        }
        let said = Said::new(row.version, row.state, row.source, self.terms.1);
        match row.scope {
            Some(scope) => self.changes.push((row.subject_id, (scope, said))),
            // Nobody knows what it is about, so it is about everything.
            None => self.changes.extend(ConsentScope::ALL.map(|scope| (row.subject_id, (scope, said)))),
        }
    }

    pub(super) fn apply(&mut self) {
        self.replica.0.subjects.update_all(&mut self.changes, merge);
    }
}
