//! More than there is room for: shares of a spool that fills up, requests that are never finished,
//! connections without end.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use assent::ingress::{
    client::{Client, ClientError},
    proto::{self, collector_service_client::CollectorServiceClient},
};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};
use tonic::{Code, Status, body::Body, codec::CompressionEncoding, transport::Channel};
use tonic_types::StatusExt as _;
use tower::{Service as _, ServiceExt as _};

use crate::harness::{Collector, Database, Fault, Proxy, Setup, channel, event, eventually};

/// SHA-256 of `key-of-greedy` and `key-of-modest`.
const TENANTS: &str = r#"
[[tenants]]
name = "greedy"
api_key_sha256 = ["d85a491ac04a8d8d7473c33e15166aa2b8ded8371254473d5a8b61e9fe7098e1"]
[[tenants]]
name = "modest"
api_key_sha256 = ["1dd9439121930df00c1763e7ef3e595c801805ca3576391f67f5cccd2f036495"]
"#;
const SMALL_SPOOL: &str = "[spool]\nmax_bytes = \"4MiB\"\nsegment_bytes = \"1MiB\"\n";
const SPOOL_BYTES: u64 = 4 << 20;

/// A request of about 50 KiB, in the spool too: letters at random cannot be compressed there.
fn request() -> Vec<proto::Event> {
    let text = || (0..2_000).map(|_| fastrand::lowercase()).collect::<String>();
    (0..25).map(|_| event("ann").text(&text()).build()).collect()
}

async fn status_of(sent: Result<proto::CollectResponse, ClientError>) -> Result<u64, Status> {
    match sent {
        Ok(answer) => Ok(u64::from(answer.accepted)),
        Err(ClientError::Status(status)) => Err(*status),
        Err(other) => panic!("{other}"),
    }
}

/// Sends until it is refused, and says how many events were taken before, and how it was refused.
async fn fill(client: &Client) -> (u64, Status) {
    let mut taken = 0;
    for _ in 0..1_000 {
        match status_of(client.collect(request()).await).await {
            Ok(events) => taken += events,
            Err(status) => return (taken, status),
        }
    }
    panic!("{taken} events were taken, and nothing was refused");
}

fn assert_tells_when_to_retry(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "{status:?}");
}

/// Sends until it is taken.
async fn send_until_taken(client: &Client) -> u64 {
    eventually("room in the spool", || async {
        let sent = status_of(client.collect(request()).await).await;
        if let Err(status) = &sent {
            assert_tells_when_to_retry(status);
        }
        sent.ok()
    })
    .await
}

/// What all segments take on the disk.
fn spool_bytes(setup: &Setup) -> u64 {
    let files = std::fs::read_dir(setup.data_dir().join("spool")).unwrap().map(Result::unwrap);
    let segments = files.filter(|file| file.path().extension().is_some_and(|it| it == "seg"));
    // One that was just removed takes nothing.
    segments.map(|segment| segment.metadata().map_or(0, |it| it.len())).sum()
}

async fn assert_all_there_once(database: &Database, events: u64) {
    database.wait_for_rows(events).await;
    assert_eq!(database.count("events").await, events);
    assert_eq!(database.count("(SELECT DISTINCT event_id FROM events)").await, events);
}

#[tokio::test]
async fn a_greedy_tenant_has_its_share_of_a_full_spool_and_the_other_goes_on() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let config = format!("{SMALL_SPOOL}[delivery]\nmax_backoff = \"200ms\"\n{TENANTS}");
    let setup = Setup::new(&database).via(&proxy.url).config(&config);
    let collector = setup.start_ready().await;
    proxy.set(Fault::Refuse);
    let greedy = collector.client_with_key("key-of-greedy").await;
    let modest = collector.client_with_key("key-of-modest").await;

    let (mut taken, refused) = fill(&greedy).await;
    assert_tells_when_to_retry(&refused);
    assert!(refused.message().contains("share of a spool"), "{refused:?}");
    let spooled = spool_bytes(&setup);
    // What counts for a tenant is an estimate, so not to the byte.
    assert!(spooled > SPOOL_BYTES * 6 / 10 && spooled < SPOOL_BYTES * 95 / 100, "{spooled}");

    // The other one is taken, many times, while the first one is refused every time.
    for _ in 0..5 {
        taken += status_of(modest.collect(request()).await).await.unwrap();
        assert_tells_when_to_retry(&status_of(greedy.collect(request()).await).await.unwrap_err());
    }
    // It is not without limit either.
    let (more, refused) = fill(&modest).await;
    taken += more;
    assert_tells_when_to_retry(&refused);
    assert!(spool_bytes(&setup) <= SPOOL_BYTES);
    let shed = collector.metric("assent_requests_refused_total{cause=\"tenant_share\"}").await;
    assert!(shed.is_some_and(|shed| shed >= 6.0), "{shed:?}");
    let held = async |tenant: &str| {
        collector.metric(&format!("assent_tenant_undelivered_bytes{{tenant=\"{tenant}\"}}")).await.unwrap()
    };
    eventually("gauges of what tenants hold", || async {
        (held("greedy").await > held("modest").await && held("modest").await > 0.0).then_some(())
    })
    .await;

    proxy.set(Fault::None);
    for client in [&greedy, &modest] {
        taken += send_until_taken(client).await;
    }
    assert_all_there_once(&database, taken).await;
    eventually("gauges of an empty spool", || async {
        (held("greedy").await == 0.0 && held("modest").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_is_alone_may_fill_the_spool_and_goes_on_when_there_is_room() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let config = format!("{SMALL_SPOOL}[delivery]\nmax_backoff = \"200ms\"\n");
    let setup = Setup::new(&database).via(&proxy.url).config(&config);
    let collector = setup.start_ready().await;
    proxy.set(Fault::Refuse);
    let client = collector.client().await;
    let (mut taken, refused) = fill(&client).await;
    assert_tells_when_to_retry(&refused);
    assert!(refused.message().contains("the spool is full"), "{refused:?}");
    let spooled = spool_bytes(&setup);
    assert!(spooled > SPOOL_BYTES * 95 / 100 && spooled <= SPOOL_BYTES, "{spooled}");
    assert_eq!(collector.metric("assent_requests_refused_total{cause=\"tenant_share\"}").await, None);
    proxy.set(Fault::None);
    taken += send_until_taken(&client).await;
    assert_all_there_once(&database, taken).await;
}

/// A body that begins a message and never ends it.
struct HalfSent {
    first: Option<Bytes>,
}

impl http_body::Body for HalfSent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.first.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
    }
}

/// Announces a message of `len` bytes, sends `sent` of them, and waits for the answer.
async fn half_send(channel: Channel, len: u32, sent: usize) -> Status {
    half_send_to("/assent.v1.CollectorService/Collect", channel, len, sent).await
}

async fn half_send_to(path: &str, mut channel: Channel, len: u32, sent: usize) -> Status {
    let mut piece = vec![0];
    piece.extend_from_slice(&len.to_be_bytes());
    piece.resize(5 + sent, 0x0a);
    let mut request = http::Request::new(Body::new(HalfSent { first: Some(piece.into()) }));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status;
    }
    // A stream's status comes at its end.
    let mut body = answer.into_body();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        if let Ok(trailers) = frame.into_trailers() {
            return Status::from_header_map(&trailers).unwrap();
        }
    }
}

fn resident_bytes(collector: &Collector) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", collector.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn requests_that_are_never_finished_are_refused_and_others_are_served() {
    let database = Database::new().await;
    let config = "[ingress]\nmax_request_bytes = \"4MiB\"\nmax_in_flight_bytes = \"32MiB\"\n\
                  receive_timeout = \"10m\"\n";
    let collector = Setup::new(&database).config(config).start_ready().await;
    collector.send(vec![event("ann")]).await;
    let before = resident_bytes(&collector);
    let mut half_sent = JoinSet::new();
    // 400 MiB that are sent, 800 MiB that are announced.
    for _ in 0..4 {
        let channel = channel(&collector.grpc).await.unwrap();
        for _ in 0..50 {
            half_sent.spawn(half_send(channel.clone(), 4 << 20, 2 << 20));
        }
    }
    // At most eight can be held, and each connection leaves room for the others.
    for _ in 0..200 - 8 {
        assert_tells_when_to_retry(&half_sent.join_next().await.unwrap().unwrap());
    }
    let in_flight = collector.metric("assent_in_flight_bytes").await.unwrap();
    assert!(in_flight <= 32.0 * MIB as f64, "{in_flight}");
    let grown = resident_bytes(&collector).saturating_sub(before);
    assert!(grown < 120 * MIB, "{grown}");
    // Whoever finishes what he sends is served meanwhile.
    let ids = collector.send((0..100).map(|_| event("ben")).collect()).await;
    database.wait_for(&ids).await;
    // What the others held is given back when they hang up.
    half_sent.shutdown().await;
    eventually("nothing in flight", || async {
        (collector.metric("assent_in_flight_bytes").await == Some(0.0)).then_some(())
    })
    .await;
    let large = (0..60).map(|_| event("cem").text(&"x".repeat(60_000))).collect();
    database.wait_for(&collector.send(large).await).await;
}

#[tokio::test]
async fn services_that_need_no_key_take_small_requests_alone() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let channel = channel(&collector.grpc).await.unwrap();
    let check = half_send_to("/grpc.health.v1.Health/Check", channel.clone(), 4_000_000, 100).await;
    assert_eq!(check.code(), Code::InvalidArgument, "{check:?}");
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    // It ends the answer and says nothing; what counts is that it does not wait for the rest.
    half_send_to(path, channel.clone(), 4_000_000, 100).await;
    // And so does ConsentService, whose requests must not take what events take.
    let path = "/assent.v1.ConsentService/SetConsent";
    assert_eq!(half_send_to(path, channel, 4_000_000, 100).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_request_that_stands_still_ends_and_says_so() {
    let database = Database::new().await;
    let config = "[ingress]\nreceive_timeout = \"500ms\"\n";
    let collector = Setup::new(&database).config(config).start_ready().await;
    let channel = channel(&collector.grpc).await.unwrap();
    let status = half_send(channel.clone(), 100_000, 10_000).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    // And so does one that has all its bytes and no end.
    let status = half_send(channel, 10_000, 10_000).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let timed_out = collector.metric("assent_requests_refused_total{cause=\"receive_timeout\"}").await;
    assert_eq!(timed_out, Some(2.0));
    collector.send(vec![event("ann")]).await;
}

#[tokio::test]
async fn a_request_of_nothing_but_empty_events_is_refused_before_it_is_decoded() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    collector.send(vec![event("ann")]).await;
    let before = resident_bytes(&collector);
    // Two bytes each; compressed, the request is a few kilobytes.
    let empty = vec![proto::Event::default(); 500_000];
    let client = CollectorServiceClient::new(channel(&collector.grpc).await.unwrap());
    for mut client in [client.clone(), client.send_compressed(CompressionEncoding::Zstd)] {
        let request = proto::CollectRequest { events: empty.clone() };
        let refused = client.collect(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let grown = resident_bytes(&collector).saturating_sub(before);
    assert!(grown < 100 * MIB, "{grown}");
    // As many as may be looked at, and those beyond, are still answered one by one.
    let many = vec![event("").build(); 12_000];
    let answer = collector.client().await.collect(many).await.unwrap();
    assert_eq!((answer.accepted, answer.rejected.len()), (0, 12_000));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config("[ingress]\nmax_connections = 4\n").start_ready().await;
    eventually("no connection of the harness", || async {
        (collector.metric("assent_connections").await == Some(0.0)).then_some(())
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(&collector.grpc).await.unwrap());
    }
    eventually("four connections", || async {
        (collector.metric("assent_connections").await == Some(4.0)).then_some(())
    })
    .await;
    let mut refused = TcpStream::connect(&collector.grpc).await.unwrap();
    let mut byte = [0];
    // Its end, or a reset.
    let read = refused.read(&mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(collector.metric("assent_connections_refused_total").await, Some(1.0));
    idle.pop();
    eventually("a place", || async {
        let client = Client::connect(&collector.grpc, None).await.ok()?;
        client.collect(vec![event("ann").build()]).await.ok()
    })
    .await;
}
