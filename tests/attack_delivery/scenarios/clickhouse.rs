//! kill -9 of ClickHouse in the middle of inserts.

use std::time::Duration;

use crate::{
    arena::{Arena, say_yes},
    fleet::Fleet,
    rows,
    sender::{Habits, Senders},
    server::Server,
    way::Way,
};

const KILLS_A_ROUND: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_clickhouse() {
    let mut arena = Arena::enter("kill_9_of_clickhouse").await;
    let mut left = arena.options.clickhouse_kills;
    while left > 0 {
        let kills = left.min(KILLS_A_ROUND);
        left -= kills;
        round(&mut arena, kills).await;
    }
}

async fn round(arena: &mut Arena, kills: u64) {
    let mut server = Server::start().await;
    let way = Way::start(&server.url(), arena.rng.fork()).await;
    let database = server.database(&way.url).await;
    rows::keep_copies(&database).await;
    let mut fleet = Fleet::start(arena.setup(&database, &way.url, ""), 1).await;
    fleet.wait_until_serving().await;
    say_yes(&fleet).await;
    let senders = Senders::start(&Habits::gentle(), &fleet.addresses(), &mut arena.rng);
    for _ in 0..kills {
        let inserts = way.tally.inserts();
        // Into an insert, or between two.
        let some = arena.rng.u64(2..8);
        crate::harness::eventually("inserts", || async {
            (way.tally.inserts() >= inserts + some).then_some(())
        })
        .await;
        tokio::time::sleep(arena.up_to(Duration::from_millis(30))).await;
        server.kill().await;
        // Both at once, at times: then the plan on disk is all that is known of the insert.
        if arena.rng.u32(..3) == 0 {
            fleet.kill(0);
        }
        tokio::time::sleep(arena.up_to(Duration::from_millis(300))).await;
        server.restart().await;
        way.lead_to(&server.url());
        fleet.restart_all().await;
    }
    let history = senders.finish().await;
    fleet.drain().await;
    arena
        .conclude(&database, &fleet, &history, |report| {
            report.at_least("kill -9 of ClickHouse", kills, 1);
            report.add_way(&way);
        })
        .await;
    server.stop().await;
}
