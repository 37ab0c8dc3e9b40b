use std::{collections::VecDeque, convert::Infallible};

use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;

const MIB: u64 = 1 << 20;

/// A body of which a test gives the pieces.
struct Fed(mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// What a service gets to see of a body.
struct Seen {
    body: Body,
    feed: Option<mpsc::Sender<Bytes>>,
}

impl Seen {
    async fn send(&self, piece: &[u8]) {
        self.feed.as_ref().unwrap().send(Bytes::copy_from_slice(piece)).await.unwrap();
    }

    /// The next frame, or none while it waits.
    async fn next(&mut self) -> Option<Option<Result<Bytes, Status>>> {
        let mut poll = async || poll_fn(|cx| Poll::Ready(Pin::new(&mut self.body).poll_frame(cx))).await;
        let mut polled = poll().await;
        if polled.is_pending() {
            // It may have stepped back once, for others to be read.
            polled = poll().await;
        }
        match polled {
            Poll::Pending => None,
            Poll::Ready(frame) => Some(frame.map(|frame| frame.map(|it| it.into_data().unwrap()))),
        }
    }

    /// Waits for the next frame.
    async fn wait(&mut self) -> Option<Result<Bytes, Status>> {
        let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
        frame.map(|frame| frame.map(|it| it.into_data().unwrap()))
    }
}

fn gate(max_in_flight_bytes: u64, receive_timeout: Duration) -> Gate {
    let options = Options { max_in_flight_bytes, max_request_bytes: 8 * MIB, receive_timeout };
    let credentials = Credentials::new(&[]).unwrap();
    Gate::new(options, Arc::new(credentials), &Tenants::new(std::iter::empty()), Expected::default())
}

const PATIENT: Duration = Duration::from_secs(3_600);

/// A request that is under way for as long as its `Seen` is there.
fn open(gate: &Gate, method: &str, connection: &Connection) -> Result<Seen, Status> {
    let (feed, pieces) = mpsc::channel(100);
    let mut request = http::Request::new(Body::new(Fed(pieces)));
    *request.uri_mut() = format!("/{COLLECTOR}/{method}").parse().unwrap();
    request.extensions_mut().insert(connection.clone());
    let arrival = gate.0.admit(&request)?.unwrap();
    Ok(Seen { body: Body::new(Arriving::new(request.into_body(), arrival)), feed: Some(feed) })
}

fn prefix(len: u64) -> Vec<u8> {
    [&[0][..], &u32::try_from(len).unwrap().to_be_bytes()].concat()
}

#[tokio::test]
async fn a_unary_request_is_handed_on_when_it_has_ended_and_counts_until_then() {
    let gate = gate(64 * MIB, PATIENT);
    let mut seen = open(&gate, "Collect", &Connection::default()).unwrap();
    assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES);
    seen.send(&prefix(3_000)).await;
    assert_eq!(seen.next().await.unwrap().unwrap().unwrap(), prefix(3_000));
    assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES + 3_000, "its whole length, at once");
    seen.send(&[1; 1_000]).await;
    assert_eq!(seen.next().await.unwrap().unwrap().unwrap().len(), 1_000);
    // All of it is there, and the client might still send something.
    seen.send(&[2; 2_000]).await;
    assert!(seen.next().await.is_none());
    assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES + 3_000);
    seen.feed = None;
    assert_eq!(seen.next().await.unwrap().unwrap().unwrap().len(), 2_000);
    assert!(seen.next().await.unwrap().is_none());
    drop(seen);
    assert_eq!(gate.in_flight_bytes(), 0);
}

#[tokio::test]
async fn a_second_message_in_a_unary_request_is_refused() {
    let gate = gate(64 * MIB, PATIENT);
    let mut seen = open(&gate, "Collect", &Connection::default()).unwrap();
    seen.send(&prefix(0)).await;
    seen.send(&prefix(0)).await;
    assert_eq!(seen.next().await.unwrap().unwrap().unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_holds_nothing_between_its_messages() {
    let gate = gate(64 * MIB, PATIENT);
    let mut seen = open(&gate, "CollectStream", &Connection::default()).unwrap();
    for _ in 0..3 {
        seen.send(&prefix(3_000)).await;
        seen.send(&[1; 2_999]).await;
        assert_eq!(seen.next().await.unwrap().unwrap().unwrap().len(), 5);
        assert_eq!(seen.next().await.unwrap().unwrap().unwrap().len(), 2_999);
        assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES + 3_000);
        seen.send(&[1]).await;
        assert_eq!(seen.next().await.unwrap().unwrap().unwrap().len(), 1);
        assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES);
    }
    drop(seen);
    assert_eq!(gate.in_flight_bytes(), 0);
}

#[tokio::test]
async fn a_message_that_has_no_room_is_refused_before_its_first_byte() {
    let gate = gate(20 * MIB, PATIENT);
    let connection = Connection::default();
    let mut open_ones = VecDeque::new();
    let refused = loop {
        let mut seen = open(&gate, "Collect", &connection).unwrap();
        seen.send(&prefix(4 * MIB)).await;
        match seen.next().await.unwrap().unwrap() {
            Ok(_) => open_ones.push_back(seen),
            Err(status) => break status,
        }
    };
    assert_eq!(open_ones.len(), 2, "half of it, at most");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().is_some());
    // Somebody else finds room, and the first one too when it has finished something.
    let mut other = open(&gate, "Collect", &Connection::default()).unwrap();
    other.send(&prefix(4 * MIB)).await;
    other.next().await.unwrap().unwrap().unwrap();
    drop(other);
    open_ones.pop_front();
    let mut seen = open(&gate, "Collect", &connection).unwrap();
    seen.send(&prefix(4 * MIB)).await;
    seen.next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn requests_without_messages_count_too() {
    let gate = gate(9 * MIB, PATIENT);
    let connection = Connection::default();
    let mut open_ones = Vec::new();
    let refused = loop {
        match open(&gate, "CollectStream", &connection) {
            Ok(seen) => open_ones.push(seen),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(open_ones.len() as u64, 9 * MIB / 2 / REQUEST_BYTES);
    drop(open_ones);
    assert_eq!(gate.in_flight_bytes(), 0);
}

#[tokio::test]
async fn what_does_not_arrive_in_time_gives_back_what_it_holds() {
    let gate = gate(64 * MIB, Duration::from_millis(20));
    for (method, pieces) in [
        // Nothing at all; a part of a prefix, of a message; all of it, and no end.
        ("Collect", vec![]),
        ("Collect", vec![vec![0, 0]]),
        ("Collect", vec![prefix(9), vec![1; 3]]),
        ("Collect", vec![prefix(9), vec![1; 9]]),
        ("CollectStream", vec![vec![0, 0]]),
        ("CollectStream", vec![prefix(9), vec![1; 3]]),
    ] {
        let mut seen = open(&gate, method, &Connection::default()).unwrap();
        for piece in &pieces {
            seen.send(piece).await;
        }
        let status = loop {
            if let Err(status) = seen.wait().await.unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{method} {pieces:?}");
        assert_eq!(gate.in_flight_bytes(), REQUEST_BYTES);
        assert!(seen.wait().await.is_none());
    }
    // A stream may be silent between its messages for as long as it likes.
    let mut seen = open(&gate, "CollectStream", &Connection::default()).unwrap();
    seen.send(&prefix(0)).await;
    seen.wait().await.unwrap().unwrap();
    assert!(seen.next().await.is_none());
    tokio::time::timeout(Duration::from_millis(60), seen.wait()).await.unwrap_err();
}

#[tokio::test]
async fn without_a_key_no_body_is_read() {
    let options =
        Options { max_in_flight_bytes: 64 * MIB, max_request_bytes: 8 * MIB, receive_timeout: PATIENT };
    let tenant = crate::pipeline::TenantKeys {
        tenant: "acme".to_owned(),
        key_digests: vec!["ab".repeat(32)],
        privacy_key_digests: Vec::new(),
    };
    let credentials = Arc::new(Credentials::new(&[tenant]).unwrap());
    let gate = Gate::new(options, credentials, &Tenants::new(["acme"].into_iter()), Expected::default());
    assert_eq!(open(&gate, "Collect", &Connection::default()).err().unwrap().code(), Code::Unauthenticated);
    assert_eq!(gate.in_flight_bytes(), 0);
}

#[tokio::test]
async fn health_is_let_in_whatever_is_in_flight() {
    let gate = gate(9 * MIB, PATIENT);
    let connection = Connection::default();
    let _streams: Vec<_> =
        std::iter::repeat_with(|| open(&gate, "CollectStream", &connection)).map_while(Result::ok).collect();
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
    assert!(gate.0.admit(&request).unwrap().is_none());
    // And so is a change of consent.
    *request.uri_mut() = format!("/{CONSENT}/SetConsent").parse().unwrap();
    request.extensions_mut().insert(connection);
    assert!(gate.0.admit(&request).unwrap().is_some());
}

/// Sends all of a small request.
async fn whole(gate: &Gate, connection: &Connection) -> Seen {
    let mut seen = open(gate, "Collect", connection).unwrap();
    seen.send(&[prefix(3), vec![1, 2, 3]].concat()).await;
    seen.feed = None;
    seen
}

#[tokio::test]
async fn what_has_arrived_waits_for_its_turn_and_counts_meanwhile() {
    let gate = gate(64 * MIB, PATIENT);
    let turns = &gate.0.turns;
    let mut taken = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        taken.push(Arc::clone(turns).take().await.unwrap());
    }
    let connection = Connection::default();
    let mut unary = whole(&gate, &connection).await;
    assert!(unary.next().await.is_none());
    let mut stream = open(&gate, "CollectStream", &connection).unwrap();
    for piece in [prefix(3_000), vec![1; 3_000]] {
        stream.send(&piece).await;
    }
    stream.next().await.unwrap().unwrap().unwrap();
    assert!(stream.next().await.is_none());
    assert_eq!(gate.in_flight_bytes(), 2 * REQUEST_BYTES + 3_000);
    taken.clear();
    assert_eq!(unary.wait().await.unwrap().unwrap().len(), 8);
    assert_eq!(stream.wait().await.unwrap().unwrap().len(), 3_000);
    assert_eq!(gate.in_flight_bytes(), 2 * REQUEST_BYTES);
}

#[tokio::test]
async fn when_waits_are_long_those_who_hold_most_are_refused_at_once() {
    let gate = gate(64 * MIB, PATIENT);
    let connection = Connection::default();
    let mut taken = Vec::new();
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        taken.push(Arc::clone(&gate.0.turns).take().await.unwrap());
    }
    let mut waiting = whole(&gate, &connection).await;
    assert!(waiting.next().await.is_none());
    // Its wait ends as long as one may be.
    let status = waiting.wait().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some());
    // Nobody waits, so the next one may try.
    let mut next = whole(&gate, &connection).await;
    assert!(next.next().await.is_none());
    let refused = open(&gate, "Collect", &connection).err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().is_some());
    // Whoever says no to training is heard whatever waits.
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = format!("/{CONSENT}/SetConsent").parse().unwrap();
    assert!(gate.0.admit(&request).unwrap().is_some());
    taken.clear();
    assert_eq!(next.wait().await.unwrap().unwrap().len(), 8);
    open(&gate, "Collect", &connection).unwrap();
}
