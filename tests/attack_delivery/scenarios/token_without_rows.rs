//! ClickHouse knows the token of an insert and has not its rows.
//!
//! Before a part gets its place, ClickHouse writes to the table's log of tokens that it has it. A kill -9 between the two
//! leaves the token and takes the part. The insert that is repeated under its token is then confirmed, and
//! nothing is inserted. Seen with 26.7: about once in a hundred kills in the middle of inserts, so it is made here, by
//! removing the part while the server is down.

use crate::{
    arena::Arena,
    fleet::Fleet,
    harness::eventually,
    rows,
    sender::{Habits, Sender},
    server::Server,
    way::{Fault, Way, Weather},
};

#[derive(serde::Deserialize)]
struct Part {
    path: std::path::PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn token_without_rows() {
    let mut arena = Arena::enter("token_without_rows").await;
    let mut server = Server::start().await;
    let database = server.database(&server.url()).await;
    rows::keep_copies(&database).await;
    let way = Way::start(&server.url(), arena.rng.fork()).await;
    let mut fleet = Fleet::start(arena.setup(&database, &way.url, ""), 1).await;
    fleet.wait_until_serving().await;
    way.set(Weather::Silent);
    let habits = Habits { max_batch: 200, ..Habits::default() };
    let mut sender = Sender::idle(0, arena.rng.fork(), habits, fleet.addresses());
    for _ in 0..20 {
        let batch = sender.batch(false);
        sender.unary(0, batch, false).await;
    }
    let lost = || way.tally.get(Fault::AnswerLost);
    eventually("an insert that took effect", || async { (lost() > 0).then_some(()) }).await;
    // The first part is of that one.
    let sql =
        "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active
               ORDER BY modification_time, name LIMIT 1";
    let part = eventually("its part", || async { database.rows::<Part>(sql).await.pop() }).await;
    server.kill().await;
    std::fs::remove_dir_all(&part.path).unwrap();
    server.restart().await;
    way.lead_to(&server.url());
    way.set(Weather::Clear);
    let history = sender.into_history();
    fleet.drain().await;
    let database = crate::harness::Database {
        client: crate::harness::Database::client_as(&server.url(), &database.name, "default"),
        url: server.url(),
        name: database.name,
    };
    arena.conclude(&database, &fleet, &history, |report| report.add_way(&way)).await;
    server.stop().await;
}
