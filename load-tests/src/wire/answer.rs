//! What comes back: framed messages, and a status at the end.

use std::time::Duration;

use assent::ingress::proto::CollectResponse;
use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use prost::Message as _;
use tonic::{Code, Status};

/// A flag and a length before each message.
const PREFIX_BYTES: usize = 5;
/// An answer names the rejected events, of which there may be as many as there are in a request.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// The messages of an answer, as they come.
pub(super) struct Answers {
    body: RecvStream,
    /// What has come of the next message.
    rest: BytesMut,
    /// Before more may come.
    pause: Duration,
}

impl Answers {
    /// Of a response whose headers have arrived.
    ///
    /// # Errors
    /// The status, where the response is nothing else.
    pub(super) fn new(response: http::Response<RecvStream>) -> Result<Self, Status> {
        let (head, body) = response.into_parts();
        refused(&head.headers)?;
        if head.status != http::StatusCode::OK {
            return Err(Status::unavailable(format!("HTTP status {}", head.status)));
        }
        Ok(Self { body, rest: BytesMut::new(), pause: Duration::ZERO })
    }

    /// Takes them so slowly that a piece is followed by a pause.
    pub(super) const fn slowly(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The next one; `None` at an end that is well.
    pub(super) async fn next(&mut self) -> Result<Option<CollectResponse>, Status> {
        loop {
            if let Some(message) = self.complete()? {
                return CollectResponse::decode(message).map(Some).map_err(|error| {
                    Status::internal(format!("the answer is not a CollectResponse: {error}"))
                });
            }
            let Some(piece) = self.body.data().await else { break };
            let piece = piece.map_err(|error| broken(&error))?;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            // The next piece may come.
            self.body.flow_control().release_capacity(piece.len()).map_err(|error| broken(&error))?;
            self.rest.extend_from_slice(&piece);
        }
        if let Some(trailers) = self.body.trailers().await.map_err(|error| broken(&error))? {
            refused(&trailers)?;
        }
        if self.rest.is_empty() { Ok(None) } else { Err(Status::internal("the answer ends in a message")) }
    }

    /// A message that has come whole.
    fn complete(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[flag, a, b, c, d]) = self.rest.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if flag != 0 || length > MAX_MESSAGE_BYTES {
            return Err(Status::internal("the answer is compressed, which was not asked for, or too long"));
        }
        if self.rest.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.rest.advance(PREFIX_BYTES);
        Ok(Some(self.rest.split_to(length).freeze()))
    }
}

fn refused(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// A connection or a stream that broke: nobody knows what became of the request.
pub(super) fn broken(error: &h2::Error) -> Status {
    Status::unavailable(error.to_string())
}
