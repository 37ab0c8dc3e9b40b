//! A disk that fills: by what spools while ClickHouse is away, and by somebody else's file.

use std::{io::Write as _, time::Duration};

use crate::{
    arena::Arena,
    disk::Disk,
    fleet::Fleet,
    harness::eventually,
    sender::{Habits, Sender},
    way::{Way, Weather},
};

/// The spool may have more than there is.
const CONFIG: &str = r#"
[spool]
segment_bytes = "1MiB"
max_bytes = "1GiB"

[delivery]
max_age = "20ms"
max_backoff = "500ms"
drain_timeout = "100s"
"#;
const DISK_BYTES: u64 = 24 << 20;
/// Requests that are refused before the next step.
const REFUSALS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn full_disk() {
    let mut arena = Arena::enter("full_disk").await;
    let database = arena.database().await;
    let way = Way::start(&database.url, arena.rng.fork()).await;
    let first = arena.setup(&database, &way.url, CONFIG);
    let disk = match Disk::mount(&first.own_data_dir(), DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let first = first.behind(disk.words.clone(), disk.seen_at.clone());
    let mut fleet = Fleet::start(first, 1).await;
    fleet.wait_until_serving().await;
    let habits = Habits { max_batch: 64, text_bytes: 5..=20_000, once: 80, ..Habits::default() };
    let mut sender = Sender::idle(0, arena.rng.fork(), habits, fleet.addresses());

    // The spool itself fills it.
    way.set(Weather::Away);
    sender.press(REFUSALS, None).await;
    let spooled = DISK_BYTES - disk.available_bytes();
    kill_and_restart(&mut arena, &mut fleet).await;
    sender.press(REFUSALS, None).await;
    kill_and_restart(&mut arena, &mut fleet).await;
    way.set(Weather::Clear);
    // By itself, without another start, as what was acknowledged is delivered.
    wait_until_taken(&mut sender, &mut fleet).await;
    fleet.wait_until_serving().await;

    // Somebody else fills it, and takes whatever comes free as well; ClickHouse is there.
    let foreign = disk.fill();
    sender.press(REFUSALS, Some(&disk)).await;
    kill_and_restart(&mut arena, &mut fleet).await;
    sender.press(REFUSALS, Some(&disk)).await;
    disk.make_room();
    wait_until_taken(&mut sender, &mut fleet).await;
    fleet.wait_until_serving().await;

    // The same while ClickHouse is away: not even what delivery has put by for itself is left to it.
    way.set(Weather::Away);
    sender.press(REFUSALS, None).await;
    disk.fill();
    sender.press(REFUSALS, Some(&disk)).await;
    kill_and_restart(&mut arena, &mut fleet).await;
    sender.press(REFUSALS, Some(&disk)).await;
    way.set(Weather::Clear);
    sender.press(REFUSALS, Some(&disk)).await;
    disk.make_room();
    wait_until_taken(&mut sender, &mut fleet).await;
    fleet.wait_until_serving().await;

    sender.retry_all().await;
    let history = sender.into_history();
    fleet.drain().await;
    let refused = history.count(|record| record.refused > 0);
    arena
        .conclude(&database, &fleet, &history, |report| {
            report.at_least("bytes that filled the disk", spooled, DISK_BYTES / 2);
            report.add("bytes that somebody else filled it with", foreign);
            report.at_least("refused at least once", refused, 1);
        })
        .await;
}

/// kill -9 on the full disk, of one that is starting as well, and a start on it.
async fn kill_and_restart(arena: &mut Arena, fleet: &mut Fleet) {
    fleet.kill(0);
    for _ in 0..2 {
        fleet.kill_at_start(0, arena.up_to(Duration::from_millis(250))).await;
    }
    fleet.restart(0).await;
}

async fn wait_until_taken(sender: &mut Sender, fleet: &mut Fleet) {
    let parts = tokio::sync::Mutex::new((sender, fleet));
    eventually("a request that is taken again", || async {
        let (sender, fleet) = &mut *parts.lock().await;
        fleet.assert_alive(0);
        sender.try_one().await.then_some(())
    })
    .await;
}

/// Not by `eprintln!`, which the test harness keeps to itself when a test passes.
fn skip(reason: &str) {
    let told = writeln!(
        std::io::stderr(),
        "SKIPPED: full_disk: no small disk can be mounted here, so nothing is known of full disks: {reason}"
    );
    told.unwrap();
}
