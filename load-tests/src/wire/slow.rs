//! A connection that is slow on purpose.

use assent::{
    config::units::{ByteSize, Span},
    ingress::proto::CollectResponse,
};
use bytes::Bytes;
use tonic::Status;

use super::{
    answer::{Answers, broken},
    connection::Connection,
};

/// In which direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A request goes out a piece at a time.
    Writes { piece: ByteSize, pause: Span },
    /// An answer comes in a byte at a time: the collector may not send more.
    Reads { pause: Span },
}

impl Pace {
    /// What the collector may send of an answer before it is asked for more.
    pub(super) const fn window_bytes(self) -> Option<u32> {
        match self {
            Self::Writes { .. } => None,
            Self::Reads { .. } => Some(1),
        }
    }
}

/// What sends slowly.
pub(crate) struct SlowSender {
    connection: Connection,
    pace: Pace,
}

impl SlowSender {
    pub(super) const fn new(connection: Connection, pace: Pace) -> Self {
        Self { connection, pace }
    }

    pub(crate) async fn collect(&self, framed: Bytes) -> Result<CollectResponse, Status> {
        let (response, mut body) = self.connection.open_call().await?;
        let mut answers = match self.pace {
            Pace::Writes { piece, pause } => {
                let piece = usize::try_from(piece.0).unwrap_or(usize::MAX).max(1);
                let mut rest = framed;
                while !rest.is_empty() {
                    let next = rest.split_to(piece.min(rest.len()));
                    let last = rest.is_empty();
                    // Refused in the middle: the answer says why.
                    if body.send_data(next, last).is_err() {
                        break;
                    }
                    if !last {
                        tokio::time::sleep(pause.0).await;
                    }
                }
                Answers::new(response.await.map_err(|error| broken(&error))?)?
            }
            Pace::Reads { pause } => {
                body.send_data(framed, true).map_err(|error| broken(&error))?;
                Answers::new(response.await.map_err(|error| broken(&error))?)?.slowly(pause.0)
            }
        };
        let answer = answers.next().await?;
        answers.next().await?;
        answer.ok_or_else(|| Status::internal("an answer without a message"))
    }
}
