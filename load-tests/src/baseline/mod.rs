//! The baseline: ClickHouse alone, loading the rows of the run that has just ended from files in its own format.
//!
//! ```text
//! events of the run ▸ Native files, in the order of arrival ▸ TRUNCATE ▸ load, one insert at a time
//!                                                           ▸ TRUNCATE ▸ load, two at a time
//! ```
//! Same server, same table with its settings, same columns. The collector is idle meanwhile. The baseline is to be
//! strong, so it has every help that costs nobody a promise: the files go from the page cache into the socket
//! without passing through this program, uncompressed (LZ4 was measured, and made no difference beyond the noise over
//! loopback); and nothing is deduplicated.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::time::Instant;

mod export;
mod load;

use crate::{
    http::Http,
    measure::{Family, Process, Usage},
    progress::say,
};

/// How long what a TRUNCATE leaves behind may take to be gone.
const QUIET_PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// Inserts at once, each a load of its own.
const PARALLEL: [usize; 2] = [1, 2];

/// What ClickHouse does without a collector.
#[derive(Debug, Serialize)]
pub(crate) struct Baseline {
    pub(crate) rows: u64,
    pub(crate) files: usize,
    /// Uncompressed, as they go over the wire.
    pub(crate) bytes_per_row: f64,
    pub(crate) loads: Vec<Load>,
}

/// One load of all the files.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) parallel_inserts: usize,
    pub(crate) seconds: f64,
    pub(crate) rows_per_second: f64,
    /// `None` where processes are not measured.
    pub(crate) clickhouse_cpu_seconds_per_million_rows: Option<f64>,
    pub(crate) clickhouse_peak_memory_bytes: Option<u64>,
    pub(crate) clickhouse_written_bytes_per_row: Option<f64>,
}

impl Baseline {
    /// The load that was fastest.
    pub(crate) fn best(&self) -> Option<&Load> {
        self.loads.iter().max_by(|one, two| one.rows_per_second.total_cmp(&two.rows_per_second))
    }
}

/// Exports the rows of the run to `folder`, empties the table and loads them, once for each of [`PARALLEL`].
pub(crate) async fn measure(clickhouse: SocketAddr, pid: u32, folder: &Path) -> anyhow::Result<Baseline> {
    let http = Http::new();
    say("the baseline: writing the rows to files");
    let files = export::export(&http, clickhouse, folder).await?;
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    ensure!(rows > 0, "there are no rows to load");
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let mut loads = Vec::new();
    for parallel in PARALLEL {
        empty(&http, clickhouse).await?;
        say(&format!("the baseline: loading {rows} rows, {parallel} inserts at a time"));
        let family = Family::of(pid);
        for process in family.iter().flat_map(|family| &family.clickhouse) {
            process.forget_peak();
        }
        let usage = || family.as_ref().and_then(|family| Process::sum(&family.clickhouse));
        let before = usage();
        let start = Instant::now();
        load::load(clickhouse, &files, parallel).await?;
        let seconds = start.elapsed().as_secs_f64();
        let usage = usage().zip(before).map(|(after, before)| after.since(before));
        let loaded = count(&http, clickhouse).await?;
        ensure!(loaded == rows, "the baseline loaded {loaded} of {rows} rows, so its figures mean nothing");
        loads.push(Load::new(parallel, seconds, rows, usage));
    }
    Ok(Baseline { rows, files: files.len(), bytes_per_row: float(bytes) / float(rows), loads })
}

impl Load {
    fn new(parallel_inserts: usize, seconds: f64, rows: u64, usage: Option<Usage>) -> Self {
        Self {
            parallel_inserts,
            seconds,
            rows_per_second: float(rows) / seconds,
            clickhouse_cpu_seconds_per_million_rows: usage.map(|it| it.cpu_seconds * 1e6 / float(rows)),
            clickhouse_peak_memory_bytes: usage.map(|it| it.peak_memory_bytes),
            clickhouse_written_bytes_per_row: usage
                .and_then(|it| Some(float(it.written_bytes?) / float(rows))),
        }
    }
}

/// Takes all rows away and waits until that costs nothing any more.
async fn empty(http: &Http, clickhouse: SocketAddr) -> anyhow::Result<()> {
    http.post(clickhouse, "/?database=assent", "TRUNCATE TABLE events".to_owned())
        .await
        .context("the table cannot be emptied")?;
    let deadline = Instant::now() + QUIET_PATIENCE;
    let busy = "SELECT (SELECT count() FROM system.parts WHERE database = 'assent' AND table = 'events') \
                + (SELECT count() FROM system.merges)";
    loop {
        let left = http.post(clickhouse, "/", busy.to_owned()).await?;
        if left.trim() == "0" || Instant::now() >= deadline {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn count(http: &Http, clickhouse: SocketAddr) -> anyhow::Result<u64> {
    let answer = http.post(clickhouse, "/?database=assent", "SELECT count() FROM events".to_owned()).await?;
    answer.trim().parse().with_context(|| format!("{answer:?} is not a number"))
}

/// Counts of a run are far below 2^53.
#[allow(clippy::cast_precision_loss)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_load_is_the_fastest() {
        let usage = Usage { cpu_seconds: 6.0, peak_memory_bytes: 9, written_bytes: Some(300_000_000) };
        let loads = vec![Load::new(1, 8.0, 3_000_000, Some(usage)), Load::new(2, 5.0, 3_000_000, None)];
        let cpu = loads[0].clickhouse_cpu_seconds_per_million_rows;
        assert_eq!((cpu, loads[0].clickhouse_written_bytes_per_row), (Some(2.0), Some(100.0)));
        let baseline = Baseline { rows: 3_000_000, files: 12, bytes_per_row: 600.0, loads };
        let best = baseline.best().unwrap();
        assert_eq!((best.parallel_inserts, best.rows_per_second), (2, 600_000.0));
        assert_eq!(best.clickhouse_cpu_seconds_per_million_rows, None);
    }
}
