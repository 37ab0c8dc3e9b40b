//! Against a server that does what a collector would, and what it should not.

use std::{net::SocketAddr, time::Duration};

use assent::{
    config::units::{ByteSize, Span},
    ingress::proto::CollectResponse,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Response};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Pace, Sender, Wire};
use crate::scenario::{Call, Compression};

const PREFIX_BYTES: usize = 5;

/// What the server does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// To each message, how many bytes it had.
    Each,
    /// The same, and after the third the stream ends as that of a collector does which stops.
    Three,
    /// A refusal before anything is read, with a time to come back.
    Refusal,
    /// A part of an answer.
    Half,
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

fn refusal() -> Status {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(700)));
    Status::with_error_details(Code::ResourceExhausted, "full", details)
}

/// Serves every connection; dropping the set ends it.
async fn serve(answers: Answers) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut builder = h2::server::Builder::new();
                // Small requests, many at once.
                let server = builder.data_frame_budget(1 << 20).handshake::<_, Bytes>(stream);
                let mut connection = server.await.unwrap();
                let mut calls = JoinSet::new();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    calls.spawn(call(answers, request.into_body(), respond));
                }
            });
        }
    });
    (addr, server)
}

async fn call(answers: Answers, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    if answers == Answers::Refusal {
        let response: Response<()> = refusal().into_http();
        respond.send_response(response, true).unwrap();
        return;
    }
    let mut out = respond.send_response(Response::new(()), false).unwrap();
    let (mut rest, mut answered) = (BytesMut::new(), 0);
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        body.flow_control().release_capacity(piece.len()).unwrap();
        rest.extend_from_slice(&piece);
        while rest.len() >= PREFIX_BYTES {
            let length = u32::from_be_bytes(rest[1..PREFIX_BYTES].try_into().unwrap());
            if rest.len() < PREFIX_BYTES + length as usize {
                break;
            }
            let _ = rest.split_to(PREFIX_BYTES + length as usize);
            let answer = CollectResponse { accepted: length, rejected: Vec::new() };
            let mut answer = framed(&answer.encode_to_vec());
            if answers == Answers::Half {
                answer.truncate(6);
            }
            out.send_data(answer, false).unwrap();
            answered += 1;
            if answers == Answers::Three && answered == 3 {
                let mut trailers = HeaderMap::new();
                Status::unavailable("stopping").add_header(&mut trailers).unwrap();
                out.send_trailers(trailers).unwrap();
                return;
            }
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    // Whoever gave up does not want them.
    let _ = out.send_trailers(trailers);
}

async fn open(answers: Answers, call: Call) -> (Sender, Wire, JoinSet<()>) {
    let (addr, server) = serve(answers).await;
    let mut wire = Wire::new(addr, Compression::None);
    let sender = wire.open(call, Some("key")).await.unwrap();
    (sender, wire, server)
}

#[tokio::test]
async fn a_request_larger_than_every_window_arrives_whole() {
    for call in [Call::Collect, Call::CollectStream] {
        let (sender, _wire, _server) = open(Answers::Each, call).await;
        for length in [0, 10, 3 << 20] {
            let answer = sender.collect(framed(&vec![7; length])).await.unwrap();
            assert_eq!(answer.accepted as usize, length, "{call:?}");
        }
    }
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_answer() {
    for call in [Call::Collect, Call::CollectStream] {
        let (sender, _wire, _server) = open(Answers::Each, call).await;
        let mut requests = JoinSet::new();
        for length in 0..500_usize {
            let sender = sender.clone();
            requests.spawn(async move { (length, sender.collect(framed(&vec![7; length])).await.unwrap()) });
        }
        while let Some(ended) = requests.join_next().await {
            let (length, answer) = ended.unwrap();
            assert_eq!(answer.accepted as usize, length, "{call:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_before_the_request_is_read_says_when_to_come_back() {
    for call in [Call::Collect, Call::CollectStream] {
        let (sender, _wire, _server) = open(Answers::Refusal, call).await;
        for _ in 0..2 {
            let status = sender.collect(framed(&vec![7; 3 << 20])).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{call:?}: {status}");
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(delay, Some(Duration::from_millis(700)));
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_anew() {
    let (sender, _wire, _server) = open(Answers::Three, Call::CollectStream).await;
    let mut endings = Vec::new();
    for length in 1..=8 {
        endings.push(match sender.collect(framed(&vec![7; length])).await {
            Ok(answer) => answer.accepted,
            // It ended under this one.
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                0
            }
        });
    }
    let answered: Vec<u32> = endings.iter().copied().filter(|accepted| *accepted > 0).collect();
    assert!(answered.len() >= 6, "{endings:?}");
    assert!(
        endings.iter().zip(1..).all(|(accepted, length)| *accepted == 0 || *accepted == length),
        "{endings:?}"
    );
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let (sender, _wire, _server) = open(Answers::Half, Call::Collect).await;
    assert_eq!(sender.collect(framed(b"some")).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_wait() {
    let (sender, _wire, server) = open(Answers::Each, Call::Collect).await;
    drop(server);
    for _ in 0..2 {
        assert_eq!(sender.collect(framed(b"some")).await.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn slow_clients_take_their_time() {
    let pause = Span(Duration::from_millis(10));
    for (pace, least) in [
        (Pace::Writes { piece: ByteSize(10), pause }, 9),
        // Five bytes before the message, and three of it.
        (Pace::Reads { pause }, 7),
    ] {
        let (addr, _server) = serve(Answers::Each).await;
        let mut wire = Wire::new(addr, Compression::None);
        let sender = wire.open_slow(pace, None).await.unwrap();
        let start = std::time::Instant::now();
        let answer = sender.collect(framed(&[7; 95])).await.unwrap();
        assert_eq!(answer.accepted, 95);
        assert!(start.elapsed() >= pause.0 * least, "{pace:?}: {:?}", start.elapsed());
    }
}
