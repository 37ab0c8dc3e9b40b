//! Erasing while inserts stand still, and collectors die.

use std::time::Instant;

use super::*;
use crate::harness::{Fault, Proxy};

#[tokio::test]
async fn an_insert_that_is_under_way_brings_nothing_back() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let proxy = Proxy::start(&database.url, Fault::HoldFirstInsert).await;
    let beside = setup.beside().via(&proxy.url).config(SOON);
    let second = beside.start_ready().await;
    let ann = subject_of(&first, "ann").await;
    let ids = second.send(vec![event("ann"), event("ben"), event("ann")]).await;
    eventually("an insert that stands still", || async { (proxy.held() == 1).then_some(()) }).await;
    let erasure = erase(&first, "ann").await;
    // What only the spool has.
    let more = second.send(vec![event("ben")]).await;
    let waiting =
        until(&first, &erasure, "an erasure that waits for one collector", |it| it.waiting_for.len() == 1)
            .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let still = first.client().await.get_erasure(waiting.erasure_id.clone()).await.unwrap();
    assert!(still.state == ErasureState::Running as i32 && step(&still, "verified").is_none(), "{still:?}");
    proxy.release();
    completed(&first, &erasure).await;
    database.wait_for(&[ids[1], more[0]]).await;
    assert_eq!(rows_of(&database, "events", ann).await, 0);
    assert_eq!(database.count("events").await, 2, "nothing of others is lost or doubled");
}

/// A collector is cut off from ClickHouse, and its spool alone has events. When it comes back, after a kill, it learns of the
/// erasure before it seals anything.
#[tokio::test]
async fn what_only_a_spool_has_is_dropped_and_never_inserted() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let ann = subject_of(&first, "ann").await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let beside = setup.beside().via(&proxy.url).config(SOON);
    let second = beside.start_ready().await;
    proxy.set(Fault::Refuse);
    // A block of its own, and small ones that are joined: some of both, of one alone, and of the other alone.
    let mut of_ben = Vec::new();
    let ids = second.send((0..900).map(|n| event(if n % 3 == 0 { "ann" } else { "ben" })).collect()).await;
    of_ben.extend(ids.iter().enumerate().filter(|(n, _)| n % 3 > 0).map(|(_, id)| *id));
    second.send((0..300).map(|_| event("ann")).collect()).await;
    for n in 0..6 {
        let user = if n % 2 == 0 { "ann" } else { "ben" };
        let ids = second.send(vec![event(user), event(user)]).await;
        of_ben.extend(ids.into_iter().filter(|_| user == "ben"));
    }
    second.kill();
    let erasure = erase(&first, "ann").await;
    let second = beside.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = first.client().await.get_erasure(erasure.erasure_id.clone()).await.unwrap();
    assert_eq!((waiting.state, waiting.waiting_for.len()), (ErasureState::Running as i32, 1));
    proxy.set(Fault::None);
    let done = completed(&first, &erasure).await;
    assert_eq!(step(&done, "spool"), Some((606, 606)), "{done:?}");
    assert_eq!(step(&done, "table events"), None, "none of them ever was in the table");
    assert_eq!(second.metric("assent_rows_erased_before_delivery_total").await, Some(606.0));
    database.wait_for(&of_ben).await;
    assert_eq!(database.count("events").await, 606);
    assert_eq!(rows_of(&database, "events", ann).await, 0);
    // The files are gone, too.
    let spool = beside.data_dir().join("spool");
    let bytes: u64 = std::fs::read_dir(spool)
        .unwrap()
        .filter_map(Result::ok)
        .filter(|it| it.path().extension().is_some_and(|it| it == "seg"))
        .map(|it| it.metadata().unwrap().len())
        .sum();
    assert!(bytes < 1_000, "{bytes} bytes are left in the spool");
}

/// The plan of an insert is on the disk when the person is erased. It is repeated after a kill, and what was removed in
/// between is not missed and inserted once more.
#[tokio::test]
async fn an_insert_that_is_repeated_brings_nothing_back() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let ann = subject_of(&first, "ann").await;
    let proxy = Proxy::start(&database.url, Fault::LoseInsertReplies).await;
    let beside = setup.beside().via(&proxy.url).config(SOON);
    let second = beside.start_ready().await;
    let mut events: Vec<EventBuilder> = (0..20).map(|_| event("ann")).collect();
    events.extend((0..20).map(|_| event("ben")));
    second.send(events).await;
    // It is in the table, and nobody knows.
    eventually("lost answers", || async { (proxy.lost() >= 2).then_some(()) }).await;
    assert_eq!(rows_of(&database, "events", ann).await, 20);
    let erasure = erase(&first, "ann").await;
    until(&first, &erasure, "rows that are removed", |it| step(it, "table events") == Some((20, 20))).await;
    second.kill();
    proxy.set(Fault::None);
    let second = beside.start_ready().await;
    let done = completed(&second, &erasure).await;
    assert_eq!(step(&done, "table events"), Some((20, 20)), "they never came back: {done:?}");
    assert_eq!(rows_of(&database, "events", ann).await, 0);
    assert_eq!(database.count("events").await, 20);
    assert!(!beside.log().contains("has lost rows of"), "nobody missed them");
}

/// Events of both flow into two collectors all the time. What was acknowledged before the request goes, whatever way it
/// has come; nothing of others does, and nothing that came well after it.
#[tokio::test]
async fn while_events_flow_all_that_came_before_goes_and_what_came_after_stays() {
    let database = database().await;
    let setup = Setup::new(&database).config(KEPT);
    let first = setup.start_ready().await;
    let second = setup.beside().config(KEPT).start_ready().await;
    grant(&first, "ann").await;
    let started = Instant::now();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut senders = tokio::task::JoinSet::new();
    for (collector, user) in [(&first, "ann"), (&second, "ann"), (&first, "ben"), (&second, "ben")] {
        let (client, stopped) = (collector.client().await, stopped.clone());
        senders.spawn(async move {
            let mut sent = Vec::new();
            while !*stopped.borrow() {
                let events: Vec<_> = (0..20).map(|_| event(user).build()).collect();
                let ids: Vec<_> = events.iter().map(|it| it.event_id.clone()).collect();
                let begun = started.elapsed();
                assert_eq!(client.collect(events).await.unwrap().accepted, 20);
                sent.push((ids, begun, started.elapsed()));
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            (user, sent)
        });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = started.elapsed();
    let erasure = erase(&first, "ann").await;
    let answered = started.elapsed();
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.send_replace(true);
    let done = completed(&second, &erasure).await;
    let (mut before, mut after, mut of_ben) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(sender) = senders.join_next().await {
        let (user, sent) = sender.unwrap();
        for (ids, begun, ended) in sent {
            if user == "ben" {
                of_ben.extend(ids);
            } else if ended < asked {
                before.extend(ids);
            } else if begun > answered + Duration::from_secs(2) {
                after.extend(ids);
            }
        }
    }
    assert!(before.len() > 200 && after.len() > 200 && of_ben.len() > 1_000, "{done:?}");
    let ids = |ids: &[String]| ids.iter().map(|id| Uuid::parse_str(id).unwrap()).collect::<Vec<_>>();
    // A query has a longest text.
    for some in ids(&of_ben).chunks(2_000) {
        database.wait_for(some).await;
    }
    for some in ids(&after).chunks(2_000) {
        let rows = database.wait_for(some).await;
        let unset = rows.iter().all(|row| row.stamp() == ("none", "unset_opt_in"));
        assert!(unset, "the consent of before is gone too");
    }
    for some in before.chunks(2_000) {
        let list = some.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
        assert_eq!(database.count(&format!("events WHERE event_id IN ({list})")).await, 0);
    }
}

/// Who was stopped with nothing left is not waited for, and who died is.
#[tokio::test]
async fn a_collector_that_was_drained_is_not_waited_for() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let beside = setup.beside().config(SOON);
    let second = beside.start_ready().await;
    let ids = second.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    assert!(second.terminate().await.success());
    let erasure = erase(&first, "ann").await;
    completed(&first, &erasure).await;
    assert!(first.command_ok(&setup, &database, &["collectors", "list"]).contains("drained"));
    let second = beside.start_ready().await;
    eventually("a collector that is known to run", || async {
        let listed = first.command_ok(&setup, &database, &["collectors", "list"]);
        (listed.matches("running").count() == 2).then_some(())
    })
    .await;
    second.kill();
    let erasure = erase(&first, "ann").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let now = first.client().await.get_erasure(erasure.erasure_id.clone()).await.unwrap();
    assert_eq!((now.state, now.waiting_for.len()), (ErasureState::Running as i32, 1));
    let _second = beside.start_ready().await;
    completed(&first, &erasure).await;
}

/// A collector that dies again and again, and a table that fills meanwhile.
#[tokio::test]
async fn an_erasure_survives_kills_between_its_steps() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let mut collector = setup.start_ready().await;
    let ann = subject_of(&collector, "ann").await;
    grant(&collector, "ann").await;
    let ids = collector.send((0..200).map(|n| event(if n % 2 == 0 { "ann" } else { "ben" })).collect()).await;
    database.wait_for(&ids).await;
    collector.send((0..50).map(|_| event("ann")).collect()).await;
    let erasure = erase(&collector, "ann").await;
    let mut of_ben = 100;
    for pause_ms in [0, 50, 120, 250, 400, 700] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        collector.kill();
        collector = setup.start_ready().await;
        collector.send(vec![event("ben")]).await;
        of_ben += 1;
    }
    completed(&collector, &erasure).await;
    assert_eq!(rows_of(&database, "events", ann).await, 0);
    database.wait_for_rows(of_ben).await;
    assert_eq!(database.count("events FINAL").await, of_ben);
}

/// The request is cut short before the ledger knows of it: it is recorded, and nobody asks again.
#[tokio::test]
async fn a_request_that_was_cut_short_is_finished_by_another_collector() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let other = setup.start_ready().await;
    let ids = other.send(vec![event("ann"), event("ben")]).await;
    database.wait_for(&ids).await;
    let proxy = Proxy::start(&database.url, Fault::HoldLedgerInserts).await;
    let asked = setup.beside().via(&proxy.url).config(SOON).start_ready().await;
    let client = asked.client().await;
    let asking = tokio::spawn(async move { client.erase_user(request("ann")).await });
    eventually("a change that stands still", || async { (proxy.held() > 0).then_some(()) }).await;
    asked.kill();
    assert!(asking.await.unwrap().is_err());
    assert_eq!(database.count("erasures WHERE state = 'requested'").await, 1);
    assert_eq!(database.count("events").await, 2);
    // The one that died is waited for. Its disk is gone, says an operator.
    eventually("an erasure that is gone on with", || async {
        (database.count("erasures WHERE state = 'running'").await > 0).then_some(())
    })
    .await;
    let gone = other.command_ok(&setup, &database, &["collectors", "list"]);
    let id = gone.lines().find(|line| line.contains("running")).map(|it| it[..36].to_owned());
    assert!(id.is_some(), "{gone}");
    retire_the_dead(&setup, &database, &other).await;
    eventually("a completed erasure", || async {
        (database.count("erasures WHERE state = 'completed'").await > 0).then_some(())
    })
    .await;
    assert_eq!(database.count("events").await, 1);
}

async fn retire_the_dead(setup: &Setup, database: &Database, living: &Collector) {
    let own = std::fs::read_to_string(setup.data_dir().join("collector_id")).unwrap();
    let listed = living.command_ok(setup, database, &["collectors", "list"]);
    for line in listed.lines().filter(|line| !line.starts_with(own.trim())) {
        let id = &line[..36];
        let said = living.command_ok(setup, database, &["collectors", "retire", id]);
        assert!(said.contains(id), "{said}");
    }
}

impl Collector {
    /// What a subcommand prints that talks to ClickHouse.
    fn command_ok(&self, setup: &Setup, database: &Database, subcommand: &[&str]) -> String {
        let output = setup
            .command(subcommand)
            .args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
