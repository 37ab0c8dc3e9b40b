//! One `CollectStream` over which requests go one after the other, and answers come back in their order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use assent::ingress::proto::CollectResponse;
use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use tokio::{
    sync::{Mutex as AsyncMutex, oneshot},
    task::JoinSet,
};
use tonic::Status;

use super::{
    answer::{Answers, broken},
    connection::Connection,
};

type Answer = Result<CollectResponse, Status>;

/// A stream on a connection of its own, opened with the first request, and anew after it has ended.
#[derive(Clone)]
pub(crate) struct Stream {
    connection: Connection,
    open: Arc<AsyncMutex<Option<Open>>>,
}

/// A stream that was opened. Dropping it ends who reads its answers.
struct Open {
    requests: SendStream<Bytes>,
    waiting: Arc<Waiting>,
    _reader: JoinSet<()>,
}

/// Who waits for an answer, in the order of requests; `None` once the stream has ended.
struct Waiting(Mutex<Option<VecDeque<oneshot::Sender<Answer>>>>);

impl Stream {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, open: Arc::default() }
    }

    pub(super) async fn collect(&self, framed: Bytes) -> Answer {
        let answer = {
            let mut open = self.open.lock().await;
            let (answer, waits) = oneshot::channel();
            // Its place in the queue is taken together with its place on the wire: nobody else holds the lock.
            let mut answer = match &mut *open {
                Some(stream) => stream.waiting.push(answer),
                None => Err(answer),
            };
            if let Err(refused) = answer {
                let stream = open.insert(Open::new(&self.connection).await?);
                answer = stream.waiting.push(refused);
            }
            match (&mut *open, answer) {
                (Some(stream), Ok(())) => {
                    stream.requests.send_data(framed, false).map_err(|error| broken(&error))?;
                }
                _ => return Err(Status::unavailable("the stream ended as soon as it was open")),
            }
            waits
        };
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream was given up")))
    }
}

impl Open {
    async fn new(connection: &Connection) -> Result<Self, Status> {
        let (response, requests) = connection.open_stream().await?;
        let waiting = Arc::new(Waiting(Mutex::new(Some(VecDeque::new()))));
        let mut reader = JoinSet::new();
        let who = Arc::clone(&waiting);
        reader.spawn(async move {
            let ended = read(response, &who).await.err();
            who.end(&ended.unwrap_or_else(|| Status::unavailable("the collector ended the stream")));
        });
        Ok(Self { requests, waiting, _reader: reader })
    }
}

async fn read(response: ResponseFuture, waiting: &Waiting) -> Result<(), Status> {
    let response = response.await.map_err(|error| broken(&error))?;
    let mut answers = Answers::new(response)?;
    while let Some(answer) = answers.next().await? {
        waiting.answered(answer)?;
    }
    Ok(())
}

impl Waiting {
    /// Queues up; gives the place back when the stream has ended.
    fn push(&self, who: oneshot::Sender<Answer>) -> Result<(), oneshot::Sender<Answer>> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => {
                queue.push_back(who);
                Ok(())
            }
            None => Err(who),
        }
    }

    fn answered(&self, answer: CollectResponse) -> Result<(), Status> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let who = queue.as_mut().and_then(VecDeque::pop_front);
        let who = who.ok_or_else(|| Status::internal("an answer that nobody waits for"))?;
        // Whoever gave up does not want it.
        let _ = who.send(Ok(answer));
        Ok(())
    }

    /// Whoever waits gets the stream's status.
    fn end(&self, status: &Status) {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for who in queue.into_iter().flatten() {
            let _ = who.send(Err(status.clone()));
        }
    }
}
