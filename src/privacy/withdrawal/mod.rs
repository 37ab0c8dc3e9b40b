//! Takes rows out of the eligible partitions when their author has taken consent back.
//!
//! The training views hide such rows from the moment of the denial, by comparing the row's consent version with the
//! ledger. This is what makes it physical: at an interval, one collector looks which rows of the eligible partitions
//! are *due*, that is, hidden in this way, and gets them out. ClickHouse cannot update the key of a partition, so a
//! row is *copied* first, with the narrower scope, and *removed* then, by a mutation:
//!
//! ```text
//! look ▸ copy (INSERT … SELECT) ▸ how many have a copy ▸ remove (ALTER … DELETE) ▸ wait for the mutation ▸ look …
//! ```
//!
//! - **In between a row counts once.** Of two rows with one key FINAL shows the one with the narrower scope
//!   (docs/adr/0006), and every view reads by FINAL or hides what has a narrower copy. So the copy takes effect at the
//!   moment when its insert does, and the removal changes nothing that a view shows.
//! - **Only what has a copy is removed.** The mutation itself looks for the copies, when it is carried out. A row that
//!   came since the copying has none, stays, and is due at the next look.
//! - **Nothing is remembered.** What is to be done follows from `events` and the ledger alone, so a kill at any moment
//!   needs no recovery, and two collectors at once do some work twice and nothing else.
//! - **Few mutations.** Each makes ClickHouse rewrite the parts that it touches, so a batch is made of whole
//!   partitions, of all people that are due in them, and has one mutation; the next waits until no mutation of
//!   the table is under way, whoever asked for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    clickhouse::{Client, Error, InsertQuorum},
    consent::TrainingScope,
    delivery::backoff::Backoff,
    telemetry,
};

mod passes;
mod sql;

pub use passes::Done;
use passes::{HEARTBEAT, Newest, Pass, State};

/// How long a statement may take. A mutation goes on after the statement that asked for it.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// How often is looked how things stand, at least.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a failure, at first.
const RETRY: Duration = Duration::from_secs(2);
/// How often a mutation is asked whether it is done.
const POLL: Duration = Duration::from_millis(250);
/// The most partitions of a batch; their days are written out in its statements.
const MAX_PARTITIONS: usize = 400;
/// How often in a row a batch may change nothing before something is taken to be wrong.
const MAX_IDLE_ROUNDS: u32 = 3;
/// The server's code for a right that a user has not.
const ACCESS_DENIED: u32 = 497;

/// What becomes of rows whose author has taken consent back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are moved to the partition of what is still allowed.
    #[default]
    Move,
    /// They stay where they are, hidden by the views. What is received afterwards is stamped by the denial in any
    /// case.
    FutureOnly,
    /// They are removed, unless first party may still train on them; those are moved.
    Purge,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::FutureOnly => "future_only",
            Self::Purge => "purge",
        }
    }
}

/// How and when rows are moved.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What becomes of them.
    pub mode: Mode,
    /// Within which time after a denial they must be out of the eligible partitions.
    pub deadline: Duration,
    /// The time between two passes, of all collectors together.
    pub interval: Duration,
    /// About how many rows one insert copies.
    pub batch_rows: u64,
    /// How many replicas must have a copy before the row is removed.
    pub insert_quorum: InsertQuorum,
}

/// A partition of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its scope, which is an eligible one.
    pub scope: TrainingScope,
    /// Its day, as `toYYYYMMDD` gives it.
    pub day: u32,
}

/// What is due.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Rows in all partitions.
    pub rows: u64,
    /// People whose rows they are.
    pub subjects: u64,
    /// When the first of them took consent back, by the ledger's clock.
    pub oldest_at: Option<String>,
    /// Rows of each partition, the oldest day first.
    pub partitions: Vec<(Partition, u64)>,
}

/// A pass that could not go on. What was done stays done.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// ClickHouse refused, or did not answer.
    #[error(transparent)]
    ClickHouse(#[from] Error),
    /// A mutation of `events` fails again and again.
    #[error(
        "a mutation of events fails: see latest_fail_reason in system.mutations, and KILL MUTATION if it never can be \
         carried out"
    )]
    MutationFails,
    /// Copies and mutations are confirmed, and what is due stays the same.
    #[error("{rows} rows are still due after they were moved")]
    NoProgress {
        /// How many.
        rows: u64,
    },
}

#[derive(Deserialize)]
struct Counted {
    scope: String,
    day: u32,
    rows: u64,
    subjects: u64,
}

#[derive(Deserialize)]
struct Oldest {
    at: String,
}

#[derive(Deserialize)]
struct Copied {
    rows: u64,
    since_us: i64,
}

#[derive(Deserialize)]
struct Mutations {
    under_way: u64,
    failing: u64,
}

/// Moves what is due. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Reconciler {
    options: Options,
    client: Client,
    collector_id: String,
}

impl Reconciler {
    /// One for a client whose queries may take [`STATEMENT_TIMEOUT`], and whose user has the role
    /// `assent_reconciler`.
    #[must_use]
    pub const fn new(options: Options, client: Client, collector_id: String) -> Self {
        Self { options, client, collector_id }
    }

    /// Works until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        if self.options.mode == Mode::FutureOnly {
            stop.cancelled().await;
            return;
        }
        tokio::select! {
            () = self.tell() => {}
            () = self.work_for_ever() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Says how things stand, whoever works at them.
    async fn tell(&self) {
        let pause = self.options.interval.min(LONGEST_PAUSE);
        let mut late_before = false;
        loop {
            // What fails here fails the work too, and is said there.
            if let Ok(newest) = passes::newest(&self.client, &self.collector_id).await {
                late_before = self.tell_of(&newest, late_before);
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn tell_of(&self, newest: &Newest, late_before: bool) -> bool {
        telemetry::withdrawal_due(newest.rows_due, newest.subjects_due, newest.oldest_seconds);
        let late = newest.oldest_seconds > self.options.deadline.as_secs_f64();
        if late && !late_before {
            tracing::error!(
                rows = newest.rows_due,
                subjects = newest.subjects_due,
                since = newest.oldest_at,
                deadline = ?self.options.deadline,
                "withdrawn rows are in the eligible partitions for longer than withdrawal.deadline; no view shows them, \
                 and what keeps them there is in the collectors' logs or in system.mutations"
            );
        }
        late
    }

    /// Pass after pass. Failures are said, counted, and tried again for ever.
    async fn work_for_ever(&self) {
        let longest = self.options.interval.min(LONGEST_PAUSE);
        let first = RETRY.min(self.options.interval);
        let mut backoff = Backoff::new(first, longest);
        let mut complained = false;
        loop {
            let pause = match self.turn().await {
                Ok(()) => {
                    backoff = Backoff::new(first, longest);
                    complained = false;
                    longest
                }
                Err(error) => {
                    complain(&error, complained);
                    complained = true;
                    // Fewer requests help one that has too much to do.
                    if matches!(&error, PassError::ClickHouse(error) if error.is_overload()) {
                        backoff.at_least(longest);
                    }
                    backoff.next()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes a pass if it is time and nobody else is at it.
    async fn turn(&self) -> Result<(), PassError> {
        let newest = passes::newest(&self.client, &self.collector_id).await?;
        let is_time =
            newest.finished_seconds.is_none_or(|seconds| seconds >= self.options.interval.as_secs_f64());
        if newest.held || !is_time {
            return Ok(());
        }
        let begun = Pass::begin(&self.client, &self.collector_id, self.options.mode, newest).await?;
        let Some(mut pass) = begun else { return Ok(()) };
        let worked = self.work(&mut pass).await;
        let state = if worked.is_ok() { State::Finished } else { State::Failed };
        let recorded = pass.record(state).await;
        worked?;
        recorded?;
        if pass.done != Done::default() {
            tracing::info!(
                rows_moved = pass.done.rows_moved,
                rows_purged = pass.done.rows_purged,
                mutations = pass.done.mutations,
                "took withdrawn rows out of the eligible partitions"
            );
        }
        Ok(())
    }

    /// Batch after batch until nothing is due.
    async fn work(&self, pass: &mut Pass<'_>) -> Result<(), PassError> {
        let mut idle_rounds = 0;
        let mut before = None;
        loop {
            pass.due = heard_of(pass, self.look()).await?;
            pass.record(State::Running).await?;
            let rows = pass.due.rows;
            if rows == 0 {
                return Ok(());
            }
            idle_rounds = if before.is_some_and(|before| rows >= before) { idle_rounds + 1 } else { 0 };
            if idle_rounds == MAX_IDLE_ROUNDS {
                return Err(PassError::NoProgress { rows });
            }
            before = Some(rows);
            let batch = batch_of(&pass.due.partitions, self.options.batch_rows);
            heard_of(pass, self.wait_for_mutations()).await?;
            heard_of(pass, self.copy(&batch)).await?;
            let removed = heard_of(pass, self.remove(&batch)).await?;
            pass.done.mutations += u32::from(removed.is_some());
            heard_of(pass, self.wait_for_mutations()).await?;
            if let Some(removed) = removed {
                pass.done.rows_moved += removed.rows_moved;
                pass.done.rows_purged += removed.rows_purged;
                telemetry::withdrawn(removed.rows_moved, removed.rows_purged);
            }
        }
    }

    /// What is due now.
    ///
    /// # Errors
    /// ClickHouse cannot say.
    pub async fn look(&self) -> Result<Due, Error> {
        let mut due = Due::default();
        for it in self.client.query_rows::<Counted>(&sql::look(), &[]).await? {
            let scope = match it.scope.as_str() {
                "first_party" => TrainingScope::FirstParty,
                "affiliates" => TrainingScope::Affiliates,
                _ => {
                    (due.rows, due.subjects) = (it.rows, it.subjects);
                    continue;
                }
            };
            due.partitions.push((Partition { scope, day: it.day }, it.rows));
        }
        due.partitions.sort_by_key(|(partition, _)| (partition.day, partition.scope));
        if due.rows > 0 {
            let oldest: Vec<Oldest> = self.client.query_rows(&sql::oldest(), &[]).await?;
            due.oldest_at = oldest.into_iter().next().map(|oldest| oldest.at);
        }
        Ok(due)
    }

    /// Copies what is due in these partitions to where it belongs. Can be repeated.
    ///
    /// # Errors
    /// ClickHouse refused, or nobody knows whether it did it.
    pub async fn copy(&self, batch: &[(Partition, u64)]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let partitions = partitions_of(batch);
        let rows: u64 = batch.iter().map(|(_, rows)| rows).sum();
        let slices = rows.div_ceil(self.options.batch_rows.max(1)).max(1);
        let purges = self.options.mode == Mode::Purge;
        let seconds = STATEMENT_TIMEOUT.as_secs();
        for slice in 0..slices {
            let sql = sql::copy(&partitions, slice, slices, purges, seconds, &self.quorum());
            self.client.execute(&sql).await?;
        }
        Ok(())
    }

    /// Has the rows of these partitions removed that have a copy, and in a purge those that may train nobody; none if
    /// there are none. The mutation is asked for, and not waited for.
    ///
    /// # Errors
    /// ClickHouse refused, or nobody knows whether it will do it.
    pub async fn remove(&self, batch: &[(Partition, u64)]) -> Result<Option<Done>, Error> {
        if batch.is_empty() {
            return Ok(None);
        }
        let partitions = partitions_of(batch);
        let purges = self.options.mode == Mode::Purge;
        let copied: Vec<Copied> = self.client.query_rows(&sql::copied(&partitions), &[]).await?;
        let copied = copied.into_iter().next().unwrap_or(Copied { rows: 0, since_us: 0 });
        if copied.rows == 0 && !purges {
            return Ok(None);
        }
        let due: u64 = batch.iter().map(|(_, rows)| rows).sum();
        let sql = sql::remove(self.client.database(), &partitions, copied.since_us, purges, "");
        self.client.execute(&sql).await?;
        let rows_purged = if purges { due.saturating_sub(copied.rows) } else { 0 };
        Ok(Some(Done { rows_moved: copied.rows, rows_purged, mutations: 1 }))
    }

    /// Waits until no mutation of the table is under way.
    ///
    /// # Errors
    /// ClickHouse cannot say, or one fails.
    pub async fn wait_for_mutations(&self) -> Result<(), PassError> {
        loop {
            let now: Vec<Mutations> = self.client.query_rows(sql::MUTATIONS, &[]).await?;
            match now.first() {
                Some(now) if now.failing > 0 => return Err(PassError::MutationFails),
                Some(now) if now.under_way > 0 => tokio::time::sleep(POLL).await,
                _ => return Ok(()),
            }
        }
    }

    /// A row is removed on every replica when it has a copy on one, so the copy must be on the others too.
    fn quorum(&self) -> String {
        let settings = self.options.insert_quorum.settings(STATEMENT_TIMEOUT);
        settings.iter().map(|(name, value)| format!(", {name} = '{value}'")).collect()
    }
}

fn complain(error: &PassError, complained: bool) {
    telemetry::withdrawal_failed();
    if complained {
        tracing::debug!(%error, "withdrawn rows still cannot be moved");
    } else if matches!(error, PassError::ClickHouse(Error::Server { code: ACCESS_DENIED, .. })) {
        tracing::error!(
            %error,
            "withdrawn rows cannot be moved: the user needs the role assent_reconciler; grant it, or name another user by \
             withdrawal.user, or set withdrawal.mode = \"future_only\". No view shows these rows"
        );
    } else {
        tracing::warn!(%error, "withdrawn rows cannot be moved for now; no view shows them");
    }
}

/// Does something, and has the pass heard of while it lasts.
async fn heard_of<T, E>(pass: &mut Pass<'_>, work: impl Future<Output = Result<T, E>>) -> Result<T, PassError>
where
    PassError: From<E>,
{
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            () = tokio::time::sleep(HEARTBEAT) => pass.record(State::Running).await?,
        }
    }
}

fn partitions_of(batch: &[(Partition, u64)]) -> Vec<Partition> {
    batch.iter().map(|(partition, _)| *partition).collect()
}

/// Whole partitions, the oldest first, until they have so many rows; one at least.
fn batch_of(due: &[(Partition, u64)], rows: u64) -> Vec<(Partition, u64)> {
    let mut sum = 0;
    let enough = |(_, more): &&(Partition, u64)| {
        let first = sum == 0;
        sum += more;
        first || sum <= rows
    };
    due.iter().take_while(enough).take(MAX_PARTITIONS).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_made_of_whole_partitions_and_never_of_none() {
        let due: Vec<_> = (1..=4)
            .map(|day| (Partition { scope: TrainingScope::FirstParty, day }, u64::from(day) * 10))
            .collect();
        let days = |rows| batch_of(&due, rows).iter().map(|(it, _)| it.day).collect::<Vec<_>>();
        assert_eq!(days(1), [1]);
        assert_eq!(days(30), [1, 2]);
        assert_eq!(days(59), [1, 2]);
        assert_eq!(days(60), [1, 2, 3]);
        assert_eq!(days(1_000), [1, 2, 3, 4]);
        assert!(batch_of(&[], 10).is_empty());
        let many: Vec<_> =
            (0..1_000).map(|day| (Partition { scope: TrainingScope::Affiliates, day }, 1)).collect();
        assert_eq!(batch_of(&many, 1_000_000).len(), MAX_PARTITIONS);
    }
}
