//! The task that carries erasures out: each collector's own part, and once an interval, by one of them, the tables.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    ErasureError, Erasures, Spools,
    local::Local,
    records::{Open, State, VERIFIED},
    tables::What,
};
use crate::telemetry;

/// How often is looked whether there is something to do; less often if the interval is longer.
const LOOK: Duration = Duration::from_secs(5);
/// How often a collector says that it is there.
const ANNOUNCE: Duration = Duration::from_secs(300);
/// After so long, a request that was not finished is finished by whoever sees it.
const UNFINISHED_SECONDS: u64 = 30;
/// How long a collector that may not remove rows leaves that to others.
const NOT_ALLOWED: Duration = Duration::from_secs(600);
/// How long a collector that stops tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// How erasures are carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The time between two rounds, each of one mutation a table at most.
    pub interval: Duration,
    /// How long whom an erasure is about is kept after it was completed.
    pub grace: Duration,
}

/// Carries erasures out.
pub struct Carrier {
    erasures: Arc<Erasures>,
    options: Options,
    local: Local,
    announced: Option<Instant>,
    not_allowed_until: Option<Instant>,
    failures: u32,
}

impl Carrier {
    /// The one of a collector.
    #[must_use]
    pub fn new(erasures: Arc<Erasures>, options: Options, spools: Spools) -> Self {
        Self {
            erasures,
            options,
            local: Local::new(spools),
            announced: None,
            not_allowed_until: None,
            failures: 0,
        }
    }

    /// Does so until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = LOOK.min(self.options.interval);
        loop {
            let turn = tokio::select! {
                turn = self.turn() => turn,
                () = stop.cancelled() => break,
            };
            match turn {
                Ok(()) => self.failures = 0,
                Err(error) => {
                    // ClickHouse away is told by others; one that is there and does not do it is told here.
                    if self.failures == 0 {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "erasures are not carried out now; it is tried again");
                    }
                    self.failures = self.failures.saturating_add(1);
                }
            }
            tokio::select! {
                () = self.erasures.wait_for_request(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if self.local.is_drained() {
            // Erasures need not wait for a collector that has nothing. If that is not heard, they do.
            let _ = tokio::time::timeout(FAREWELL, self.erasures.records.announce("drained")).await;
        }
    }

    async fn turn(&mut self) -> Result<(), ErasureError> {
        if self.announced.is_none_or(|at| at.elapsed() >= ANNOUNCE) {
            self.erasures.records.announce("running").await?;
            self.announced = Some(Instant::now());
        }
        self.local.tend(&self.erasures.records).await?;
        let open = self.erasures.records.open(self.options.grace.as_secs()).await?;
        let unfinished = open.iter().filter(|it| it.state != State::Completed);
        let oldest = unfinished.clone().map(|it| it.age_seconds).max().unwrap_or(0);
        telemetry::erasures_open(unfinished.count() as u64, Duration::from_secs(oldest));
        if open.is_empty() || self.not_allowed_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let interval_ms = u64::try_from(self.options.interval.as_millis()).unwrap_or(u64::MAX);
        let Some(round) = self.erasures.records.claim(interval_ms).await? else { return Ok(()) };
        // What is done since it was looked before is not done again.
        let open = self.erasures.records.open(self.options.grace.as_secs()).await?;
        let done = self.erasures.round(&open).await;
        self.erasures.records.finish(round).await?;
        if let Err(ErasureError::NotAllowed(_)) = &done {
            self.not_allowed_until = Some(Instant::now() + NOT_ALLOWED);
        }
        done
    }
}

impl Erasures {
    /// What can be done now for all that is open.
    async fn round(&self, open: &[Open]) -> Result<(), ErasureError> {
        for erasure in open.iter().filter(|it| it.state == State::Requested) {
            if erasure.age_seconds < UNFINISHED_SECONDS {
                continue;
            }
            let tenant = crate::event::Tenant::new(&erasure.tenant);
            if let Some(person) = self.records.person(&tenant, erasure.erasure_id).await? {
                tracing::info!(erasure_id = %erasure.erasure_id, "a request for erasure was cut short; it is gone on with");
                // One that cannot be must not hold the others up.
                if let Err(error) = self.mark(&person).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, erasure_id = %erasure.erasure_id, "a request for erasure cannot be finished");
                }
            }
        }
        // Who has reported had done so before anything is counted here, so what is found then is all there will be.
        let (due, running): (Vec<&Open>, Vec<&Open>) = open
            .iter()
            .filter(|it| it.state != State::Requested)
            .partition(|it| it.state == State::Completed);
        let unverified: Vec<&Open> = running.iter().filter(|it| it.verified_us == 0).copied().collect();
        let left = self.remove(&unverified, What::All).await?;
        self.verify(&unverified, &left).await?;
        self.complete(&running).await?;
        // Nobody should have brought any since; if somebody did, it is not forgotten before they are gone.
        let left = self.remove(&due, What::CertainlyBefore).await?;
        self.forget(&due, &left).await
    }

    /// Removes what is there of these erasures from all tables, and gives what is left of each.
    async fn remove(&self, erasures: &[&Open], what: What) -> Result<BTreeMap<Uuid, u64>, ErasureError> {
        let mut left_of = BTreeMap::new();
        let ids: Vec<Uuid> = erasures.iter().map(|it| it.erasure_id).collect();
        if ids.is_empty() {
            return Ok(left_of);
        }
        for table in self.tables.of_people().await? {
            // One that a collector left behind is gone on with by ClickHouse.
            self.tables.wait_for_mutations(&table.name).await?;
            if what == What::CertainlyBefore && !table.tells_versions() {
                continue;
            }
            let found = self.tables.count(&table, &ids, what).await?;
            if found.is_empty() {
                continue;
            }
            self.tables.remove(&table, &ids, what).await?;
            let left = self.tables.count(&table, &ids, what).await?;
            for erasure in erasures {
                let Some(found) = found.get(&erasure.erasure_id).copied() else { continue };
                let left = left.get(&erasure.erasure_id).copied().unwrap_or(0);
                let removed = found.saturating_sub(left);
                let step = format!("table {}", table.name);
                self.records.step(erasure.key(), &step, [found, removed]).await?;
                *left_of.entry(erasure.erasure_id).or_default() += left;
                tracing::info!(erasure_id = %erasure.erasure_id, table = table.name, rows = removed, left, "rows of a person were erased");
            }
        }
        Ok(left_of)
    }

    /// Records which of them are proved to be done.
    async fn verify(&self, erasures: &[&Open], left: &BTreeMap<Uuid, u64>) -> Result<(), ErasureError> {
        let clean = |it: &&&Open| it.missing == 0 && left.get(&it.erasure_id).is_none_or(|rows| *rows == 0);
        let clean: Vec<&Open> = erasures.iter().filter(clean).copied().collect();
        if clean.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = clean.iter().map(|it| it.erasure_id).collect();
        let all_are = self.tables.search(&ids).await? == 0;
        for erasure in clean {
            // Only if somebody's is found, it is asked whose.
            let found = if all_are { 0 } else { self.tables.search(&[erasure.erasure_id]).await? };
            if found == 0 {
                self.records.step(erasure.key(), VERIFIED, [0, 0]).await?;
            } else {
                tracing::error!(
                    erasure_id = %erasure.erasure_id,
                    rows = found,
                    "the pseudonym of a person who is erased is in a column that no erasure reaches"
                );
            }
        }
        Ok(())
    }

    /// Completes those of which no file is left.
    async fn complete(&self, erasures: &[&Open]) -> Result<(), ErasureError> {
        let tables = self.tables.of_people().await?;
        for erasure in erasures.iter().filter(|it| it.verified_us > 0) {
            if self.tables.parts_left(&tables, erasure.verified_us).await? > 0 {
                continue;
            }
            self.records.step(erasure.key(), "files removed", [0, 0]).await?;
            self.records.completed(erasure).await?;
            tracing::info!(erasure_id = %erasure.erasure_id, "an erasure is completed");
        }
        Ok(())
    }

    /// Forgets whom those were about that are done for long enough.
    async fn forget(&self, erasures: &[&Open], left: &BTreeMap<Uuid, u64>) -> Result<(), ErasureError> {
        let is_due = |it: &&&Open| left.get(&it.erasure_id).is_none_or(|rows| *rows == 0);
        let due: Vec<&Open> = erasures.iter().filter(is_due).copied().collect();
        if due.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = due.iter().map(|it| it.erasure_id).collect();
        self.tables.forget(&ids).await?;
        for erasure in due {
            self.records.step(erasure.key(), "forgotten", [0, 0]).await?;
            self.records.forgotten(erasure).await?;
        }
        Ok(())
    }
}

impl Open {
    fn key(&self) -> (Uuid, &str) {
        (self.erasure_id, &self.tenant)
    }
}
