//! Clients: they send, note what became of each event, and retry some of what they do not know.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use assent::ingress::proto::{self, CollectRequest, CollectResponse};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    disk::Disk,
    event::{Made, TENANTS, make},
    fleet::{Addresses, client, request},
    history::{History, Outcome},
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client that has nothing else to do stays away when it was refused. It is told to wait for longer.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// A stream is closed after so many rounds of requests, in good order.
const STREAM_ROUNDS: usize = 20;

/// How clients behave.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// Clients that work at the same time.
    pub(crate) senders: usize,
    /// The most events of a request.
    pub(crate) max_batch: usize,
    /// How long texts are.
    pub(crate) text_bytes: RangeInclusive<usize>,
    /// Of requests, how many have events that are sent once, whatever comes of it. Percent.
    pub(crate) once: u32,
    /// How many are sent to two collectors, or twice to one, at the same time. Percent.
    pub(crate) twins: u32,
    /// The longest pause between two requests.
    pub(crate) pause: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            senders: 6,
            max_batch: 200,
            text_bytes: 5..=400,
            once: 40,
            twins: 10,
            pause: Duration::from_millis(5),
        }
    }
}

impl Habits {
    /// Not more than a busy machine delivers at once, so that faults and ends fall into inserts and not into a backlog.
    pub(crate) fn gentle() -> Self {
        Self { senders: 4, max_batch: 60, pause: Duration::from_millis(40), ..Self::default() }
    }
}

/// Clients at work.
pub(crate) struct Senders {
    tasks: JoinSet<Sender>,
    stop: CancellationToken,
}

impl Senders {
    pub(crate) fn start(habits: &Habits, addresses: &Addresses, rng: &mut Rng) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for n in 0..habits.senders {
            let sender = Sender {
                tenant: n % TENANTS.len(),
                rng: rng.fork(),
                habits: habits.clone(),
                addresses: addresses.clone(),
                stop: stop.clone(),
                history: History::default(),
                unsure: VecDeque::new(),
            };
            let streams = n % 3 == 2;
            tasks.spawn(async move {
                let mut sender = sender;
                sender.work(streams).await;
                sender
            });
        }
        Self { tasks, stop }
    }

    /// Has them stop, and send again what they mean to retry, until the collectors have it. These have to be there.
    pub(crate) async fn finish(mut self) -> History {
        self.stop.cancel();
        let mut history = History::default();
        while let Some(done) = self.tasks.join_next().await {
            let mut sender = done.unwrap();
            sender.retry_all().await;
            history.extend(sender.history);
        }
        history
    }
}

/// One client of one tenant.
pub(crate) struct Sender {
    tenant: usize,
    rng: Rng,
    habits: Habits,
    addresses: Addresses,
    stop: CancellationToken,
    history: History,
    /// Of unknown outcome, or refused, and to be sent again.
    unsure: VecDeque<Made>,
}

impl Sender {
    /// One that is told what to send.
    pub(crate) fn idle(tenant: usize, rng: Rng, habits: Habits, addresses: Addresses) -> Self {
        Self {
            tenant,
            rng,
            habits,
            addresses,
            stop: CancellationToken::new(),
            history: History::default(),
            unsure: VecDeque::new(),
        }
    }

    pub(crate) fn into_history(self) -> History {
        self.history
    }

    async fn work(&mut self, streams: bool) {
        while !self.stop.is_cancelled() {
            let Some(via) = self.any_collector() else {
                self.addresses.wait_for_any().await;
                continue;
            };
            if self.hits(self.habits.twins) {
                let batch = self.batch(false);
                self.twins(&batch, [via, (via + 1) % self.addresses.len()]).await;
            } else if streams {
                self.stream(via).await;
            } else {
                let keep = !self.hits(self.habits.once);
                let batch = self.batch(keep);
                self.unary(via, batch, keep).await;
            }
            let pause = self.rng.f64() * self.habits.pause.as_secs_f64();
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        }
    }

    /// New events, some of which may be bad, and if they are to be retried some that were sent before.
    pub(crate) fn batch(&mut self, retried: bool) -> Vec<Made> {
        // Small ones more often.
        let most = self.habits.max_batch.min(1 << self.rng.u32(0..10)).max(1);
        let count = self.rng.usize(1..=most);
        let mut batch: Vec<Made> = (0..count)
            .map(|_| {
                let is_bad = self.rng.u32(..100) == 0;
                make(self.tenant, &mut self.rng, &self.habits.text_bytes, is_bad)
            })
            .collect();
        if retried {
            let again = self.unsure.len().min(self.rng.usize(0..=self.habits.max_batch));
            batch.extend(self.unsure.drain(..again));
            self.rng.shuffle(&mut batch);
        }
        batch
    }

    /// Sends a batch in a request of its own; gives how it ended.
    pub(crate) async fn unary(&mut self, via: usize, batch: Vec<Made>, retried: bool) -> Outcome {
        let Some(channel) = self.addresses.channel(via) else {
            self.keep(batch, retried);
            return Outcome::Refused;
        };
        let answer = collect(channel, self.tenant, &batch).await;
        let outcome = self.note(&batch, via, &answer);
        if outcome != Outcome::Acknowledged {
            self.keep(batch, retried);
        }
        outcome
    }

    /// Sends a batch to two collectors, or twice to one, at the same time.
    pub(crate) async fn twins(&mut self, batch: &[Made], via: [usize; 2]) {
        let channels: Vec<(usize, Channel)> =
            via.into_iter().filter_map(|via| Some((via, self.addresses.channel(via)?))).collect();
        let calls = channels.iter().map(|(_, channel)| collect(channel.clone(), self.tenant, batch));
        let answers = join_all(calls).await;
        for ((via, _), answer) in channels.iter().zip(&answers) {
            self.note(batch, *via, answer);
        }
    }

    /// Sends to the only collector until so many requests were refused; somebody else takes whatever comes free
    /// meanwhile.
    pub(crate) async fn press(&mut self, refusals: u32, taking: Option<&Disk>) {
        let mut refused = 0;
        while refused < refusals {
            let retried = !self.hits(self.habits.once);
            let batch = self.batch(retried);
            if self.unary(0, batch, retried).await == Outcome::Refused {
                refused += 1;
            }
            if let Some(disk) = taking {
                disk.fill();
            }
        }
    }

    /// Sends one event, and says whether it was taken.
    pub(crate) async fn try_one(&mut self) -> bool {
        let made = make(self.tenant, &mut self.rng, &self.habits.text_bytes, false);
        self.unary(0, vec![made], false).await == Outcome::Acknowledged
    }

    /// These must not be eligible.
    pub(crate) fn expect_narrow(&mut self, batch: &[Made]) {
        self.history.narrow.extend(batch.iter().map(|made| made.key));
    }

    /// Sends batches over one stream, several before the first answer, until it breaks.
    async fn stream(&mut self, via: usize) {
        let Some(channel) = self.addresses.channel(via) else { return };
        let keep = !self.hits(self.habits.once);
        let (requests, outgoing) = mpsc::channel(16);
        let call = request(self.tenant, ReceiverStream::new(outgoing));
        let mut service = client(channel);
        let Ok(Ok(answers)) = tokio::time::timeout(PATIENCE, service.collect_stream(call)).await else {
            return;
        };
        let mut answers = answers.into_inner();
        for _ in 0..STREAM_ROUNDS {
            let batches: Vec<_> = (0..self.rng.usize(1..8)).map(|_| self.batch(keep)).collect();
            for batch in &batches {
                // If the stream is broken already the request may have left all the same.
                let _ = requests.send(message(batch)).await;
            }
            let mut broken: Option<Status> = None;
            for batch in batches {
                let answer = match broken.take() {
                    // The status is the answer to the first request without one. What comes after may have been taken.
                    Some(_) => Err(Status::unknown("the stream has ended")),
                    None => match tokio::time::timeout(PATIENCE, answers.message()).await {
                        Ok(Ok(Some(answer))) => Ok(answer),
                        Ok(Ok(None)) => Err(Status::unavailable("the stream ended without a status")),
                        Ok(Err(status)) => Err(status),
                        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
                    },
                };
                if self.note(&batch, via, &answer) != Outcome::Acknowledged {
                    self.keep(batch, keep);
                }
                broken = answer.err();
            }
            if broken.is_some() || self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// Sends what is to be retried until it is acknowledged.
    pub(crate) async fn retry_all(&mut self) {
        while let Some(made) = self.unsure.pop_front() {
            let mut batch = vec![made];
            let more = self.unsure.len().min(self.habits.max_batch);
            batch.extend(self.unsure.drain(..more));
            let Some(via) = self.any_collector() else {
                panic!("no collector is there that could be asked again");
            };
            if self.unary(via, batch, true).await == Outcome::Refused {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }

    fn keep(&mut self, batch: Vec<Made>, retried: bool) {
        if retried {
            self.unsure.extend(batch);
        }
    }

    fn note(&mut self, batch: &[Made], via: usize, answer: &Result<CollectResponse, Status>) -> Outcome {
        match answer {
            Ok(answer) => {
                let mut rejected = vec![false; batch.len()];
                for one in &answer.rejected {
                    rejected[one.index as usize] = true;
                    if batch[one.index as usize].event.event_id != one.event_id {
                        self.history.complaints.push(format!("another event was rejected: {one:?}"));
                    }
                }
                if answer.accepted as usize + answer.rejected.len() != batch.len() {
                    self.history.complaints.push(format!("{} events, of which {answer:?}", batch.len()));
                }
                for (made, rejected) in batch.iter().zip(rejected) {
                    let outcome = if rejected { Outcome::Rejected } else { Outcome::Acknowledged };
                    self.history.note(made, via, outcome);
                }
                Outcome::Acknowledged
            }
            Err(status) => {
                let outcome = self.judge(status);
                batch.iter().for_each(|made| self.history.note(made, via, outcome));
                outcome
            }
        }
    }

    fn judge(&mut self, status: &Status) -> Outcome {
        match status.code() {
            Code::ResourceExhausted => {
                if status
                    .get_details_retry_info()
                    .and_then(|info| info.retry_delay)
                    .is_none_or(|it| it.is_zero())
                {
                    self.history.complaints.push(format!("RESOURCE_EXHAUSTED without a time: {status:?}"));
                }
                Outcome::Refused
            }
            // UNKNOWN is what the transport says of a connection that broke.
            Code::Unavailable | Code::Unknown | Code::Cancelled => Outcome::Unknown,
            // A connection that broke in the middle of an answer's frame. The collector's own have a message.
            Code::Internal if status.message().contains("h2 protocol error") => Outcome::Unknown,
            _ => {
                self.history.complaints.push(format!("{status:?}"));
                Outcome::Unknown
            }
        }
    }

    fn any_collector(&mut self) -> Option<usize> {
        let there: Vec<usize> =
            (0..self.addresses.len()).filter(|n| self.addresses.channel(*n).is_some()).collect();
        self.rng.choice(there)
    }

    fn hits(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }
}

fn message(batch: &[Made]) -> CollectRequest {
    CollectRequest { events: batch.iter().map(|made| made.event.clone()).collect::<Vec<proto::Event>>() }
}

async fn collect(channel: Channel, tenant: usize, batch: &[Made]) -> Result<CollectResponse, Status> {
    let mut service = client(channel);
    let call = service.collect(request(tenant, message(batch)));
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}
