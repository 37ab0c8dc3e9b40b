//! No acknowledged event is lost: kill -9, an end in good order, a ClickHouse that is away.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use assent::ingress::client::Client;
use serde::Deserialize;
use uuid::Uuid;

use crate::harness::{Collector, Database, Fault, Proxy, Setup, channel, event};

/// Sends until the collector is gone, each event once, and keeps what was acknowledged.
struct Load {
    acknowledged: Arc<Mutex<Vec<Uuid>>>,
    stop: Arc<AtomicBool>,
    senders: tokio::task::JoinSet<()>,
}

impl Load {
    async fn start(collector: &Collector, senders: usize) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..senders {
            let (client, acknowledged, stop) =
                (collector.client().await, Arc::clone(&acknowledged), Arc::clone(&stop));
            tasks.spawn(send_until_gone(client, acknowledged, stop));
        }
        Self { acknowledged, stop, senders: tasks }
    }

    /// Waits until so much is acknowledged that the rest is certainly under way.
    async fn wait_for(&self, events: usize) {
        crate::harness::eventually("acknowledged events", || async {
            (self.acknowledged.lock().unwrap().len() >= events).then_some(())
        })
        .await;
    }

    async fn acknowledged(self) -> HashSet<Uuid> {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await;
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        acknowledged.into_iter().collect()
    }
}

async fn send_until_gone(client: Client, acknowledged: Arc<Mutex<Vec<Uuid>>>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let events: Vec<_> = (0..5).map(|_| event("ann").build()).collect();
        let ids: Vec<_> = events.iter().map(|event| Uuid::parse_str(&event.event_id).unwrap()).collect();
        match client.collect(events).await {
            Ok(answer) => {
                assert_eq!(answer.accepted, 5);
                acknowledged.lock().unwrap().extend(ids);
            }
            Err(_) => return,
        }
    }
}

#[derive(Deserialize)]
struct Stored {
    event_id: Uuid,
    copies: u64,
}

/// Every acknowledged event is there, and no event is there twice, unmerged and without FINAL:
/// nobody sent one twice, so a second copy would be ours.
async fn assert_all_there_once(database: &Database, acknowledged: &HashSet<Uuid>) {
    crate::harness::eventually("all acknowledged events", || async {
        let count = database.count("(SELECT DISTINCT event_id FROM events)").await;
        (count >= acknowledged.len() as u64).then_some(())
    })
    .await;
    let stored: Vec<Stored> =
        database.rows("SELECT event_id, count() AS copies FROM events GROUP BY event_id").await;
    assert!(stored.iter().all(|row| row.copies == 1), "an event is there twice");
    let stored: HashSet<_> = stored.into_iter().map(|row| row.event_id).collect();
    let lost = acknowledged.difference(&stored).count();
    assert_eq!(lost, 0, "of {} acknowledged events", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_sending_loses_and_doubles_nothing() {
    let database = Database::new().await;
    // Inserts all the time, so that kills fall into them too.
    let setup = Setup::new(&database).config("[delivery]\nmax_age = \"10ms\"\n");
    let mut acknowledged = HashSet::new();
    for round in 1..=5 {
        let collector = setup.start_ready().await;
        let load = Load::start(&collector, 4).await;
        load.wait_for(40 * round).await;
        collector.kill();
        acknowledged.extend(load.acknowledged().await);
    }
    let last = setup.start_ready().await;
    assert_all_there_once(&database, &acknowledged).await;
    drop(last);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_sending_drains_and_ends_well() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let load = Load::start(&collector, 4).await;
    load.wait_for(100).await;
    let status = collector.terminate().await;
    let acknowledged = load.acknowledged().await;
    assert_eq!(status.code(), Some(0));
    // It delivered before it went: nobody is there to do it now.
    assert_all_there_once(&database, &acknowledged).await;
}

#[tokio::test]
async fn a_dead_clickhouse_fills_the_spool_and_nothing_else_happens() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let setup = Setup::new(&database).via(&proxy.url);
    let collector = setup.start().await;
    collector.wait_until_not_serving().await;
    let mut ids = collector.send(vec![event("ann"), event("ben")]).await;
    // What is spooled outlives the collector as well.
    collector.kill();
    let collector = setup.start().await;
    ids.extend(collector.send(vec![event("cleo")]).await);
    let inspected = setup.command(&["spool", "inspect"]).output().unwrap();
    let inspected = String::from_utf8(inspected.stdout).unwrap();
    assert!(inspected.contains("2 frames"), "{inspected}");
    assert_eq!(database.count("events").await, 0);

    proxy.set(Fault::None);
    let rows = database.wait_for(&ids).await;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.stamp() == ("none", "consent_unknown")), "{rows:?}");
    collector.wait_until_serving().await;
}

#[tokio::test]
async fn a_drain_that_cannot_deliver_ends_in_time_and_keeps_the_spool() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let setup = Setup::new(&database).via(&proxy.url).config("[delivery]\ndrain_timeout = \"300ms\"\n");
    let collector = setup.start().await;
    let ids = collector.send(vec![event("ann")]).await;
    assert_eq!(collector.terminate().await.code(), Some(0));
    proxy.set(Fault::None);
    let _again = setup.start().await;
    assert_eq!(database.wait_for(&ids).await.len(), 1);
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end() {
    use assent::ingress::proto::{CollectRequest, collector_service_client::CollectorServiceClient};
    use tokio_stream::StreamExt as _;
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let mut client = CollectorServiceClient::new(channel(&collector.grpc).await.unwrap());
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut answers = client.collect_stream(stream).await.unwrap().into_inner();
    requests.send(CollectRequest { events: vec![event("ann").build()] }).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().accepted, 1);
    // The client keeps its side open.
    assert_eq!(collector.terminate().await.code(), Some(0));
    assert!(!setup.log().contains("not everything was delivered"));
    assert_eq!(database.count("events").await, 1);
    drop(requests);
}
