//! A disk that fills: by what spools while ClickHouse is away, and by somebody else's file.

use std::io::Write as _;

use crate::{
    arena::Arena,
    disk::Disk,
    fleet::{Fleet, setup},
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
const REFUSALS: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a collector ends on a full disk, since delivery cannot write its state there"]
async fn full_disk() {
    let mut arena = Arena::enter("full_disk").await;
    let database = arena.database().await;
    let way = Way::start(&database.url, arena.rng.fork()).await;
    let first = setup(&database, &way.url, CONFIG);
    let disk = match Disk::mount(&first.own_data_dir(), DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let first = first.behind(disk.words.clone(), disk.seen_at.clone());
    let mut fleet = Fleet::start(first, 1).await;
    fleet.wait_until_serving().await;
    let habits = Habits { max_batch: 64, text_bytes: 5..=8_000, once: 30, ..Habits::default() };
    let mut sender = Sender::idle(0, arena.rng.fork(), habits, fleet.addresses());

    way.set(Weather::Away);
    sender.press(REFUSALS, None).await;
    let spooled = DISK_BYTES - disk.available_bytes();
    // What is too little for a request goes as well.
    sender.press(REFUSALS, Some(&disk)).await;
    for kill_at_start in [false, true, true] {
        if kill_at_start {
            let after = arena.up_to(std::time::Duration::from_millis(250));
            fleet.kill_at_start(0, after).await;
        } else {
            fleet.kill(0);
        }
        // The start is to find nothing free, not even what the file of the addresses had.
        let _ = std::fs::remove_file(disk.seen_at.join("endpoints.json"));
        disk.fill();
        fleet.restart(0).await;
        sender.press(REFUSALS / 4, Some(&disk)).await;
    }
    way.set(Weather::Clear);
    // By itself, without another start, as what was acknowledged is delivered.
    wait_until_taken(&mut sender, &mut fleet).await;
    fleet.wait_until_serving().await;
    disk.make_room();

    // Somebody else fills it, and ClickHouse is there.
    let foreign = disk.fill();
    sender.press(REFUSALS, Some(&disk)).await;
    fleet.kill(0);
    let _ = std::fs::remove_file(disk.seen_at.join("endpoints.json"));
    disk.fill();
    fleet.restart(0).await;
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
