//! Collectors that are told to stop: nobody who sends to them notices.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use assent::ingress::{
    client::{Client, ClientError},
    proto::{
        CollectRequest, ConsentScope, ConsentState, Event, collector_service_client::CollectorServiceClient,
    },
};
use serde::Deserialize;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use uuid::Uuid;

use crate::harness::{Balancer, Database, Fault, Proxy, Setup, change, channel, event, eventually};

fn events(n: usize) -> (Vec<Event>, Vec<Uuid>) {
    let events: Vec<_> = (0..n).map(|_| event("ann").build()).collect();
    let ids = events.iter().map(|event| Uuid::parse_str(&event.event_id).unwrap()).collect();
    (events, ids)
}

/// Clients that send all the time, and what they saw.
#[derive(Default)]
struct Seen {
    acknowledged: Mutex<Vec<Uuid>>,
    /// Requests that were not taken, because the connection takes no more.
    not_taken: AtomicUsize,
    /// Streams that the collector ended.
    ended_streams: AtomicUsize,
    stop: AtomicBool,
}

impl Seen {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until so many more are acknowledged.
    async fn more(&self, events: usize) {
        let acknowledged = || self.acknowledged.lock().unwrap().len();
        let before = acknowledged();
        eventually("more acknowledged events", || async {
            (acknowledged() >= before + events).then_some(())
        })
        .await;
    }

    /// Ends the clients, and gives the events that were acknowledged.
    async fn end(&self, clients: JoinSet<()>) -> HashSet<Uuid> {
        self.stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        acknowledged.into_iter().collect()
    }
}

/// Whether the client's library knows that the collector did not take the request: it had not sent it when it
/// heard that the connection takes no more, or had no connection to send it on any more, or it is among those that the collector said it would not look at. A
/// gRPC library sends such a request again by itself ("transparent retry"); tonic leaves that to its caller.
/// The texts are those of hyper and h2 for these cases and no others.
fn is_not_taken(status: &Status) -> bool {
    let known = |code, error| status.code() == code && format!("{status:?}").contains(error);
    known(Code::Cancelled, "hyper::Error(Canceled, \"connection closed\")")
        || known(Code::Cancelled, "hyper::Error(Canceled, \"connection was not ready\")")
        || known(Code::Internal, "GoAway(b\"\", NO_ERROR, Remote)")
}

/// Sends one request after the other. Nothing may fail but what was not taken.
async fn send(client: Client, seen: Arc<Seen>) {
    while !seen.stopped() {
        let (events, ids) = events(2);
        let answer = loop {
            match client.collect(events.clone()).await {
                Ok(answer) => break answer,
                Err(ClientError::Status(status)) if is_not_taken(&status) => {
                    seen.not_taken.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("a request failed: {error:?}"),
            }
        };
        assert_eq!(answer.accepted, 2);
        seen.acknowledged.lock().unwrap().extend(ids);
    }
}

/// Sends over a stream, ten requests ahead of the answers. Streams end with UNAVAILABLE and nothing else,
/// and what has no answer is sent on the next one.
async fn send_on_streams(addr: String, seen: Arc<Seen>) {
    let channel = channel(&addr).await.unwrap();
    let mut unanswered = VecDeque::new();
    while !seen.stopped() {
        let (requests, stream) = mpsc::channel(16);
        for (events, _) in unanswered.clone() {
            requests.send(CollectRequest { events }).await.unwrap();
        }
        let mut client = CollectorServiceClient::new(channel.clone());
        let mut answers = match client.collect_stream(ReceiverStream::new(stream)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) if is_not_taken(&status) => continue,
            Err(status) => panic!("a stream could not be opened: {status:?}"),
        };
        while !seen.stopped() {
            while unanswered.len() < 10 {
                let (events, ids) = events(1);
                unanswered.push_back((events.clone(), ids));
                // When the stream has ended, the answers will tell.
                let _ = requests.send(CollectRequest { events }).await;
            }
            match answers.next().await.expect("a stream ends with a status") {
                Ok(answer) => {
                    assert_eq!(answer.accepted, 1);
                    let (_, ids) = unanswered.pop_front().unwrap();
                    seen.acknowledged.lock().unwrap().extend(ids);
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    assert!(status.message().contains("this stream has ended"), "{status:?}");
                    seen.ended_streams.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

/// Four connections with some requests at a time on each, and two with a stream.
async fn clients_of(addr: &str, seen: &Arc<Seen>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let client = Client::connect(addr, None).await.unwrap();
        for _ in 0..4 {
            clients.spawn(send(client.clone(), Arc::clone(seen)));
        }
    }
    for _ in 0..2 {
        clients.spawn(send_on_streams(addr.to_owned(), Arc::clone(seen)));
    }
    clients
}

#[derive(Deserialize)]
struct Stored {
    event_id: Uuid,
    copies: u64,
}

/// What was acknowledged is there, and nothing is there twice, unmerged. So whatever a client sent a second time had
/// not been taken the first time: no answer was lost.
async fn assert_all_there_once(database: &Database, acknowledged: &HashSet<Uuid>) {
    let stored = eventually("all acknowledged events", || async {
        let rows: Vec<Stored> =
            database.rows("SELECT event_id, count() AS copies FROM events GROUP BY event_id").await;
        (rows.len() >= acknowledged.len()).then_some(rows)
    })
    .await;
    assert!(stored.iter().all(|row| row.copies == 1), "an event is there twice");
    let stored: HashSet<_> = stored.into_iter().map(|row| row.event_id).collect();
    assert_eq!(acknowledged.difference(&stored).count(), 0, "of {}", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rolling_restarts_behind_a_balancer_lose_no_request() {
    let database = Database::new().await;
    let first = Setup::new(&database).config("[ingress]\ndrain_grace = \"3s\"\n");
    // The first start makes the key that both share.
    let mut collectors = vec![(first.clone(), first.start_ready().await)];
    let second = first.beside();
    collectors.push((second.clone(), second.start_ready().await));
    let balancer = Balancer::start().await;
    for (_, collector) in &collectors {
        balancer.add(&collector.grpc).await;
    }
    let seen = Arc::<Seen>::default();
    let clients = clients_of(&balancer.addr, &seen).await;
    for _ in 0..2 * 2 {
        seen.more(200).await;
        let (setup, collector) = collectors.remove(0);
        let grpc = collector.grpc.clone();
        assert_eq!(collector.terminate().await.code(), Some(0), "{}", setup.log());
        balancer.remove(&grpc);
        seen.more(200).await;
        let again = setup.start_ready().await;
        balancer.add(&again.grpc).await;
        collectors.push((setup, again));
    }
    seen.more(200).await;
    let acknowledged = seen.end(clients).await;
    assert!(seen.ended_streams.load(Ordering::Relaxed) >= 2, "streams were ended");
    // Sixteen requests and two streams at a time can hear it, once at each restart.
    assert!(seen.not_taken.load(Ordering::Relaxed) <= 18 * 4);
    assert_all_there_once(&database, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_connections_and_streams_move_to_new_collectors() {
    let database = Database::new().await;
    let setup = Setup::new(&database).config("[ingress]\nmax_connection_age = \"500ms\"\n");
    let first = setup.start_ready().await;
    let balancer = Balancer::start().await;
    balancer.add(&first.grpc).await;
    let seen = Arc::<Seen>::default();
    let clients = clients_of(&balancer.addr, &seen).await;
    let connections = balancer.connections();
    seen.more(100).await;
    let second = setup.beside().start_ready().await;
    balancer.add(&second.grpc).await;
    eventually("clients that move to the new collector", || async {
        let metrics = second.metrics().await;
        let taken =
            metrics.lines().find_map(|line| line.strip_prefix("assent_events_acknowledged_total "))?;
        (taken.parse::<u64>().unwrap() > 100).then_some(())
    })
    .await;
    eventually("streams that came of age", || async {
        (seen.ended_streams.load(Ordering::Relaxed) >= 4).then_some(())
    })
    .await;
    let acknowledged = seen.end(clients).await;
    assert!(balancer.connections() >= connections + 6, "each was made anew");
    assert_all_there_once(&database, &acknowledged).await;
}

#[tokio::test]
async fn a_collector_says_that_it_goes_while_it_still_serves() {
    let database = Database::new().await;
    let setup = Setup::new(&database).config("[ingress]\ndrain_grace = \"1h\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    collector.ask_to_stop();
    collector.wait_until_not_serving().await;
    let ready = collector.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.0 503") && ready.contains("draining true"), "{ready}");
    // On the connection that was there, and on a new one; and what it takes it delivers.
    client.collect(vec![event("ann").build()]).await.unwrap();
    let ids = collector.send(vec![event("ben")]).await;
    database.wait_for(&ids).await;
    assert_eq!(database.count("events").await, 2);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let patient = "[delivery]\ndrain_timeout = \"1h\"\n[ingress]\ndrain_grace = \"GRACE\"\n";
    let mut ids = Vec::new();
    let setup = Setup::new(&database).via(&proxy.url);
    // While it still serves, and while it delivers.
    for (grace, said) in [("1h", "told to stop"), ("0s", "draining timeout")] {
        let setup = setup.clone().config(&patient.replace("GRACE", grace));
        let before = setup.log().matches(said).count();
        let collector = setup.start().await;
        ids.extend(collector.send(vec![event("ann")]).await);
        collector.ask_to_stop();
        eventually("the first signal's effect", || async {
            (setup.log().matches(said).count() > before).then_some(())
        })
        .await;
        let status = collector.terminate().await;
        assert_eq!(status.code(), Some(130), "{}", setup.log());
    }
    proxy.set(Fault::None);
    let _again = setup.start().await;
    assert_eq!(database.wait_for(&ids).await.len(), 2);
}

#[tokio::test]
async fn a_fault_while_draining_shows_in_the_exit_code() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let setup = Setup::new(&database)
        .via(&proxy.url)
        .config("[delivery]\ndrain_timeout = \"1h\"\nmax_backoff = \"100ms\"\n");
    let collector = setup.start().await;
    let ids = collector.send(vec![event("ann")]).await;
    collector.ask_to_stop();
    eventually("the drain", || async { setup.log().contains("draining timeout").then_some(()) }).await;
    // Delivery can go on, but cannot write down how far it has come.
    let (spool, away) = (setup.data_dir().join("spool"), setup.data_dir().join("away"));
    std::fs::rename(&spool, &away).unwrap();
    proxy.set(Fault::None);
    let status = collector.ended().await;
    assert_eq!(status.code(), Some(1), "{}", setup.log());
    std::fs::rename(&away, &spool).unwrap();
    let _again = setup.start().await;
    assert_eq!(database.wait_for(&ids).await.len(), 1);
}

#[tokio::test]
async fn a_collector_does_not_say_that_it_serves_before_it_does() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let collector = Setup::new(&database).via(&proxy.url).start().await;
    // From the first answer on: its view of consent is not there.
    assert_eq!(collector.health().await, Some(ServingStatus::NotServing));
}

#[tokio::test]
async fn a_change_of_consent_under_way_gets_its_answer() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::HoldLedgerInserts).await;
    let setup = Setup::new(&database).via(&proxy.url).config("[consent]\nledger_timeout = \"10s\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    let no = change("ann", ConsentScope::FirstParty, ConsentState::Denied);
    let changing = tokio::spawn(async move { client.set_consent(no).await });
    eventually("the ledger's insert", || async { (proxy.held() > 0).then_some(()) }).await;
    collector.ask_to_stop();
    // Events are no longer taken by then; the ledger is another matter.
    eventually("the end of the spool", || async {
        setup.log().contains("spool_accepts=false").then_some(())
    })
    .await;
    proxy.release();
    changing.await.unwrap().unwrap();
    assert_eq!(collector.ended().await.code(), Some(0), "{}", setup.log());
    assert_eq!(database.count("consent_changes WHERE state = 'denied'").await, 1);
}
