//! Collectors are asked to end, over and over, while clients send.

use std::time::Duration;

use crate::{
    arena::{Arena, say_yes},
    fleet::Fleet,
    sender::{Habits, Senders},
};

const COLLECTORS: usize = 2;
/// As of kills: nothing grows with their number.
const ENDS_A_ROUND: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_storm() {
    let mut arena = Arena::enter("sigterm_storm").await;
    let mut left = arena.options.kills;
    while left > 0 {
        let ends = left.min(ENDS_A_ROUND);
        left -= ends;
        round(&mut arena, ends).await;
    }
}

async fn round(arena: &mut Arena, ends: u64) {
    let database = arena.database().await;
    let mut fleet = Fleet::start(arena.setup(&database, &database.url, ""), COLLECTORS).await;
    fleet.wait_until_serving().await;
    say_yes(&fleet).await;
    let senders = Senders::start(&Habits::gentle(), &fleet.addresses(), &mut arena.rng);
    for _ in 0..ends {
        tokio::time::sleep(arena.up_to(Duration::from_millis(300))).await;
        // Complains if it does not end with 0, or leaves anything.
        let leaving = arena.rng.usize(..COLLECTORS);
        fleet.terminate(leaving).await;
        fleet.restart(leaving).await;
    }
    let history = senders.finish().await;
    fleet.drain().await;
    arena.conclude(&database, &fleet, &history, |report| report.at_least("SIGTERM", ends, 1)).await;
}
