//! Answers that are lost after the insert took effect, bodies that are cut, servers that are slow, inserts that
//! arrive when they were given up and sent again: all at once, and collectors that are killed in between.

use std::time::{Duration, Instant};

use crate::{
    arena::{Arena, say_yes},
    checker::Finding,
    fleet::Fleet,
    harness::{PATIENCE, eventually},
    rows,
    sender::{Habits, Senders},
    server::Server,
    way::{Fault, Way, Weather},
};

/// Answers that are lost before a round may end, however busy the machine is.
const LEAST_LOST: u64 = 3;
/// The longest part of the attack with one database.
const ROUND: Duration = Duration::from_secs(60);
const COLLECTORS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies() {
    let mut arena = Arena::enter("lost_replies").await;
    let mut left = Duration::from_secs(arena.options.seconds);
    while !left.is_zero() {
        let span = left.min(ROUND);
        left -= span;
        round(&mut arena, span).await;
    }
}

/// One database; gives what was found.
pub(crate) async fn round(arena: &mut Arena, span: Duration) -> Vec<Finding> {
    let mut server = Server::start().await;
    let database = server.database(&server.url()).await;
    rows::keep_copies(&database).await;
    let way = Way::start(&server.url(), arena.rng.fork()).await;
    // Some inserts are later than that, and have been sent again by then.
    let first = arena.setup(&database, &way.url, "").env("ASSENT_CLICKHOUSE__INSERT_TIMEOUT", "1s");
    let mut fleet = Fleet::start(first, COLLECTORS).await;
    fleet.wait_until_serving().await;
    say_yes(&fleet).await;
    way.set(Weather::Rough);
    let senders = Senders::start(&Habits::gentle(), &fleet.addresses(), &mut arena.rng);
    let began = Instant::now();
    let is_enough = || began.elapsed() >= span && way.tally.get(Fault::AnswerLost) >= LEAST_LOST;
    while !is_enough() && began.elapsed() < span + PATIENCE {
        tokio::time::sleep(arena.up_to(Duration::from_secs(2))).await;
        if let Some(ended) = server.ended().await {
            panic!("ClickHouse has ended by itself, which this attack is not about: {ended}");
        }
        match arena.rng.u32(..4) {
            0 => fleet.kill(arena.rng.usize(..COLLECTORS)),
            1 => {
                way.set(Weather::Away);
                tokio::time::sleep(arena.up_to(Duration::from_millis(300))).await;
                way.set(Weather::Rough);
            }
            _ => {}
        }
        fleet.restart_all().await;
    }
    way.set(Weather::Clear);
    let history = senders.finish().await;
    fleet.drain().await;
    // An insert that was overtaken may still be on its way; it must not make a second row when it comes.
    eventually("the end of all connections", || async { way.is_quiet().then_some(()) }).await;
    let findings = arena
        .conclude(&database, &fleet, &history, |report| {
            report.add_way(&way);
            report.at_least("answers lost, at least", way.tally.get(Fault::AnswerLost), LEAST_LOST);
        })
        .await;
    server.stop().await;
    findings
}
