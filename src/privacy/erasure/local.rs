//! What an erasure asks of each collector: its own spool and quarantine.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    ErasureError,
    records::{Person, Records, SPOOL},
};
use crate::{
    consent::Replica,
    delivery::{self, quarantine},
    event::SubjectId,
    spool::{Position, Reader},
};

/// What is written when there are damaged files, which nobody can search.
const DAMAGED: &str = "quarantine damaged";

/// How long after its report a collector goes on dropping rows of a person: longer than an event can be on its way to
/// the spool, and longer than the tail of the ledger ever reads back and would bring the person again.
const FORGET_AFTER: Duration = Duration::from_secs(20 * 60);

/// A collector's spool and quarantine, as far as erasures go.
pub struct Spools {
    /// The spool.
    pub reader: Arc<Reader>,
    /// How far it is delivered.
    pub delivery: delivery::Handle,
    /// Where refused rows lie.
    pub quarantine_dir: PathBuf,
    /// Knows who was erased.
    pub replica: Replica,
}

/// The erasures that are under way here.
pub(super) struct Local {
    spools: Spools,
    /// What was durable when it was certain that the erasure is known here.
    until: HashMap<Uuid, Position>,
    told_damaged: bool,
    /// Rows that were taken out of quarantine, and not reported yet.
    quarantined: u64,
    /// Who was reported on, and when.
    reported: VecDeque<(Instant, SubjectId, u32)>,
}

impl Local {
    pub(super) fn new(spools: Spools) -> Self {
        Self { spools, until: HashMap::new(), told_damaged: false, quarantined: 0, reported: VecDeque::new() }
    }

    /// Brings those that are under way further, and reports on those that are done.
    pub(super) async fn tend(&mut self, records: &Records) -> Result<(), ErasureError> {
        while self.reported.front().is_some_and(|(at, ..)| at.elapsed() > FORGET_AFTER) {
            if let Some((_, subject, below)) = self.reported.pop_front() {
                self.spools.replica.erased().forget(&subject, below);
            }
        }
        let persons = records.unreported().await?;
        self.until.retain(|id, _| persons.iter().any(|person| person.erasure_id == *id));
        if persons.is_empty() {
            return Ok(());
        }
        if persons.iter().any(|person| !self.until.contains_key(&person.erasure_id)) {
            // The tombstones of all of them are in the ledger, so a refresh that begins now shows them.
            self.refresh().await;
            let end = self.spools.reader.durable_end();
            self.spools.reader.ask_for_new_segment();
            for person in &persons {
                self.until.entry(person.erasure_id).or_insert(end);
            }
        }
        let done: Vec<&Person> = persons
            .iter()
            .filter(|person| {
                let until = self.until.get(&person.erasure_id).copied().unwrap_or(Position(u64::MAX));
                self.spools.delivery.cursor() >= until && self.spools.reader.is_gone_before(until)
            })
            .collect();
        if done.is_empty() { Ok(()) } else { self.report(records, &done).await }
    }

    async fn refresh(&self) {
        let now = Instant::now();
        self.spools.replica.request_refresh();
        let mut watermark = self.spools.replica.watermark();
        // The sender lives in the replica that this holds, so waiting cannot fail.
        let _ = watermark.wait_for(|at| at.is_some_and(|at| at >= now)).await;
    }

    /// Nothing of theirs is in the spool any more, or on its way: what is refused lies in quarantine by now.
    async fn report(&mut self, records: &Records, done: &[&Person]) -> Result<(), ErasureError> {
        let (dir, replica) = (self.spools.quarantine_dir.clone(), self.spools.replica.clone());
        let erased = match spawn_blocking(move || quarantine::erase(&dir, replica.erased())).await {
            Ok(Ok(erased)) => erased,
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "rows of people who were erased cannot be taken out of quarantine; erasures wait"
                );
                return Ok(());
            }
            // It is never aborted, so it panicked, and so does who waits for it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.quarantined += erased.rows;
        if erased.damaged_files > 0 {
            if !self.told_damaged {
                self.told_damaged = true;
                tracing::error!(
                    files = erased.damaged_files,
                    dir = %self.spools.quarantine_dir.display(),
                    "damaged pieces of the spool may hold rows of people who are erased, and nobody can tell; \
                     erasures wait until somebody removes them"
                );
                for person in done {
                    records.step(person.key(), DAMAGED, [erased.damaged_files, 0]).await?;
                }
            }
            return Ok(());
        }
        self.told_damaged = false;
        for person in done {
            let ids: Vec<SubjectId> = person.pseudonyms.iter().map(|(id, _)| *id).collect();
            // Those of the quarantine are not told apart by person.
            let rows = self.spools.replica.erased().dropped(&ids) + std::mem::take(&mut self.quarantined);
            records.step(person.key(), SPOOL, [rows, rows]).await?;
            let erased = self.spools.replica.erased();
            let known = ids.into_iter().filter_map(|id| Some((Instant::now(), id, erased.below(&id)?)));
            self.reported.extend(known);
        }
        Ok(())
    }

    /// Whether nothing is left here that an erasure could be about.
    pub(super) fn is_drained(&self) -> bool {
        let delivered = self.spools.delivery.cursor() >= self.spools.reader.durable_end();
        let is_empty = |dir: &PathBuf| {
            std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none()) || !dir.exists()
        };
        delivered && is_empty(&self.spools.quarantine_dir)
    }
}

impl Person {
    fn key(&self) -> (Uuid, &str) {
        (self.erasure_id, self.tenant.as_str())
    }
}
