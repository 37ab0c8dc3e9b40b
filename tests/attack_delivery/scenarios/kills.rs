//! kill -9 of collectors.

use std::time::Duration;

use crate::{
    arena::{Arena, say_yes},
    checker::Finding,
    fleet::Fleet,
    sender::{Habits, Senders},
};

/// Each round has a database of its own, so that nothing grows with the number of kills.
const KILLS_A_ROUND: u64 = 25;
const COLLECTORS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_collectors() {
    let mut arena = Arena::enter("kill_9_of_collectors").await;
    let mut left = arena.options.kills;
    while left > 0 {
        let kills = left.min(KILLS_A_ROUND);
        left -= kills;
        round(&mut arena, kills).await;
    }
}

/// One database; gives what was found.
pub(crate) async fn round(arena: &mut Arena, kills: u64) -> Vec<Finding> {
    let database = arena.database().await;
    let mut fleet = Fleet::start(arena.setup(&database, &database.url, ""), COLLECTORS).await;
    fleet.wait_until_serving().await;
    say_yes(&fleet).await;
    let senders = Senders::start(&Habits::default(), &fleet.addresses(), &mut arena.rng);
    while fleet.kills + fleet.kills_at_start < kills && fleet.complaints.is_empty() {
        tokio::time::sleep(arena.up_to(Duration::from_millis(400))).await;
        let victim = arena.rng.usize(..COLLECTORS);
        fleet.kill(victim);
        // Recovery is killed as well, again and again, in all its stages.
        for _ in 0..arena.rng.u32(..3) {
            fleet.kill_at_start(victim, arena.up_to(Duration::from_millis(250))).await;
        }
        // At times none is there.
        if arena.rng.u32(..4) == 0 {
            fleet.kill((victim + 1) % COLLECTORS);
        }
        fleet.restart_all().await;
    }
    let history = senders.finish().await;
    fleet.drain().await;
    arena
        .conclude(&database, &fleet, &history, |report| {
            report.at_least("kills in this round", fleet.kills + fleet.kills_at_start, kills);
        })
        .await
}
