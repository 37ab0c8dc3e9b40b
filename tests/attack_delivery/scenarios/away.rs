//! ClickHouse is away while much spools, and comes back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    arena::Arena,
    fleet::Fleet,
    sender::{Habits, Senders},
    way::{Way, Weather},
};

/// Nothing is small here but the parts in which space is given back.
const CONFIG: &str = r#"
[spool]
segment_bytes = "4MiB"
max_bytes = "4GiB"

[delivery]
max_age = "50ms"
max_backoff = "500ms"
drain_timeout = "100s"
"#;
/// What may lie on the disk when all is delivered: the newest segment, and one that is about to go.
const REST_BYTES: u64 = 2 * (4 << 20) + (1 << 20);
/// What a collector may take of the memory, however much spools.
const MOST_MEMORY_BYTES: u64 = 512 << 20;
/// Without any progress for so long, nothing will come.
const PATIENCE: Duration = Duration::from_secs(120);
const KILLS: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_is_away() {
    let mut arena = Arena::enter("clickhouse_is_away").await;
    let database = arena.database().await;
    let way = Way::start(&database.url, arena.rng.fork()).await;
    way.set(Weather::Away);
    let mut fleet = Fleet::start(arena.setup(&database, &way.url, CONFIG), 1).await;
    let spool = fleet.setup(0).data_dir().join("spool");
    let habits = Habits {
        max_batch: 32,
        text_bytes: 1_000..=60_000,
        pause: Duration::from_millis(1),
        ..Habits::default()
    };
    let senders = Senders::start(&habits, &fleet.addresses(), &mut arena.rng);
    let goal = arena.options.spool_bytes;
    let mut restarts = Duration::ZERO;
    let mut memory = 0;
    for part in 1..=KILLS + 1 {
        wait_for_progress(
            "the spool's growth",
            || bytes_in(&spool),
            |bytes| bytes >= goal * part / (KILLS + 1),
        )
        .await;
        if part <= KILLS {
            memory = memory.max(peak_memory(&fleet));
            fleet.kill(0);
            let began = Instant::now();
            fleet.restart(0).await;
            restarts = restarts.max(began.elapsed());
        }
    }
    let history = senders.finish().await;
    let spooled = bytes_in(&spool);
    way.set(Weather::Clear);
    let began = Instant::now();
    // Deliveries come in steps, and a step is progress.
    wait_for_progress(
        "the spool's end",
        || u64::MAX - bytes_in(&spool),
        |left| u64::MAX - left <= REST_BYTES,
    )
    .await;
    let took = began.elapsed();
    let rest = bytes_in(&spool);
    memory = memory.max(peak_memory(&fleet));
    fleet.drain().await;
    arena
        .conclude(&database, &fleet, &history, |report| {
            report.at_least("bytes spooled", spooled, goal);
            report.add("  left on the disk when all was delivered", rest);
            report.add("ms to deliver them", u64::try_from(took.as_millis()).unwrap());
            report.add("ms to start on them, at most", u64::try_from(restarts.as_millis()).unwrap());
            report.add("bytes of memory at the most", memory);
        })
        .await;
    assert!(memory < MOST_MEMORY_BYTES, "a collector took {memory} bytes of memory");
}

/// Waits for a figure as long as it gets better.
async fn wait_for_progress(what: &str, figure: impl Fn() -> u64, is_enough: impl Fn(u64) -> bool) {
    let mut best = 0;
    let mut since = Instant::now();
    loop {
        let now = figure();
        if is_enough(now) {
            return;
        }
        if now > best {
            (best, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "no progress for {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The bytes of a folder's files.
fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    // One may be removed meanwhile.
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The most memory that the collector had at any time.
fn peak_memory(fleet: &Fleet) -> u64 {
    let path = format!("/proc/{}/status", fleet.collector(0).process.id());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}
