//! Looks at a run while it goes on: how many rows can be read, and how much memory is resident.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, interval},
};

use crate::{measure::Family, visible::ClickHouse};

/// The pause between two looks at the rows, once nothing but the last of them is waited for.
const LAST_ROWS_INTERVAL: Duration = Duration::from_millis(25);
/// For so long, looks may fail.
const BLIND_PATIENCE: Duration = Duration::from_secs(10);
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// So many rows could be read at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When the answer came.
    pub(crate) at: Instant,
    pub(crate) rows: u64,
}

/// Counts the rows of `events`, time and again.
pub(crate) struct Rows {
    task: JoinSet<anyhow::Result<()>>,
    newest: watch::Receiver<u64>,
    /// Told that the last rows are waited for.
    last: Arc<Notify>,
    /// Of looks that saw the same, the first.
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Rows {
    /// Looks so often. A look asks for a number that ClickHouse has at hand, and still costs it some two milliseconds
    /// of a processor.
    pub(crate) fn watch(clickhouse: ClickHouse, every: Duration) -> Self {
        let (sender, newest) = watch::channel(0);
        let last = Arc::new(Notify::new());
        let is_last = Arc::clone(&last);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let list = Arc::clone(&seen);
        task.spawn(async move {
            let mut every = every;
            let mut blind_since = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    () = is_last.notified() => every = every.min(LAST_ROWS_INTERVAL),
                }
                let now = Instant::now();
                let rows = match clickhouse.rows().await {
                    Ok(rows) => rows,
                    // A server that has too much to do refuses a query. The next look sees what this one missed.
                    Err(error) if now - *blind_since.get_or_insert(now) >= BLIND_PATIENCE => {
                        return Err(error);
                    }
                    Err(_) => continue,
                };
                blind_since = None;
                let at = Instant::now();
                if rows > *sender.borrow() {
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { at, rows });
                    sender.send_replace(rows);
                }
            }
        });
        Self { task, newest, last, seen }
    }

    /// Waits until there are as many rows as events were acknowledged. Answers with everything that was seen, and when
    /// they were all there; `None` when that was not in time.
    pub(crate) async fn reached(
        mut self,
        acknowledged: u64,
        deadline: Instant,
    ) -> anyhow::Result<(Vec<Seen>, Option<Instant>)> {
        self.last.notify_one();
        let all_there = self.newest.wait_for(|rows| *rows >= acknowledged);
        if let Ok(Err(_)) = tokio::time::timeout_at(deadline, all_there).await {
            // Whoever looks has ended, which only an error makes it do.
            match self.task.join_next().await {
                Some(ended) => ended.context("who counts rows has failed")??,
                None => anyhow::bail!("nobody counts rows"),
            }
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let last = match acknowledged {
            0 => Some(Instant::now()),
            _ => seen.iter().find(|seen| seen.rows >= acknowledged).map(|seen| seen.at),
        };
        Ok((seen, last))
    }
}

/// What was resident at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Resident {
    /// Since sending began.
    pub(crate) seconds: f64,
    pub(crate) collector_bytes: u64,
    pub(crate) clickhouse_bytes: u64,
}

/// Samples memory once a second.
pub(crate) struct Memory {
    _task: JoinSet<()>,
    samples: Arc<Mutex<Vec<Resident>>>,
}

impl Memory {
    /// Without a family, there is nothing to see.
    pub(crate) fn watch(family: Option<Family>) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        if let Some(family) = family {
            let list = Arc::clone(&samples);
            task.spawn(async move {
                let start = Instant::now();
                let mut looks = interval(MEMORY_INTERVAL);
                loop {
                    let now = looks.tick().await;
                    let Some((collector_bytes, clickhouse_bytes)) = family.resident() else { return };
                    let seconds = now.saturating_duration_since(start).as_secs_f64();
                    let sample = Resident { seconds, collector_bytes, clickhouse_bytes };
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            });
        }
        Self { _task: task, samples }
    }

    pub(crate) fn end(self) -> Vec<Resident> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
