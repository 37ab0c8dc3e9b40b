//! Clients on bad networks, beside those that are measured: some take seconds to send a request, some to take an answer.
//!
//! What they send is counted like anyone's; how long it takes says nothing about the collector, and is left out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::{
    generate::{Batch, Person, Pool},
    scenario::{Scenario, SlowClients},
    wire::{Pace, SlowSender, Wire},
};

/// The most events of one of their requests.
const EVENTS: u32 = 100;

/// What slow clients have sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slow {
    pub(crate) requests: u64,
    /// Of the messages, uncompressed, and of the texts in them.
    pub(crate) bytes: u64,
    pub(crate) text_bytes: u64,
    pub(crate) acknowledged_events: u64,
    /// Of the acknowledged events, and of those whose fate is unknown, what may be eligible.
    pub(crate) eligible_events: u64,
    /// Requests without an answer.
    pub(crate) failed_requests: u64,
    /// Their events, which may have been taken.
    pub(crate) doubtful_events: u64,
}

/// Clients that keep sending until they are told to stop.
pub(crate) struct SlowRun {
    clients: JoinSet<anyhow::Result<Slow>>,
    stop: Arc<AtomicBool>,
}

impl SlowRun {
    pub(crate) async fn start(
        scenario: &Scenario,
        slow: SlowClients,
        people: &Arc<Vec<Person>>,
        wire: &mut Wire,
        api_key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let scenario =
            Scenario { events_per_request: scenario.events_per_request.min(EVENTS), ..scenario.clone() };
        let mut clients = JoinSet::new();
        let writers = (0..slow.writers).map(|_| Pace::Writes { piece: slow.piece, pause: slow.pause });
        let readers = (0..slow.readers).map(|_| Pace::Reads { pause: slow.pause });
        for pace in writers.chain(readers) {
            // Few requests each, so a small pool of their own.
            let pool = Pool::small(&scenario, Arc::clone(people));
            let sender = wire.open_slow(pace, api_key).await?;
            clients.spawn(keep_sending(sender, pool, Arc::clone(&stop)));
        }
        Ok(Self { clients, stop })
    }

    /// Lets each finish what it has begun.
    pub(crate) async fn end(mut self) -> anyhow::Result<Slow> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Slow::default();
        while let Some(client) = self.clients.join_next().await {
            all.add(client.context("a slow client failed")??);
        }
        Ok(all)
    }
}

impl Slow {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.text_bytes += other.text_bytes;
        self.acknowledged_events += other.acknowledged_events;
        self.eligible_events += other.eligible_events;
        self.failed_requests += other.failed_requests;
        self.doubtful_events += other.doubtful_events;
    }
}

async fn keep_sending(sender: SlowSender, mut pool: Pool, stop: Arc<AtomicBool>) -> anyhow::Result<Slow> {
    let mut slow = Slow::default();
    while !stop.load(Ordering::Relaxed) {
        let Batch { framed, events, eligible, message_bytes, text_bytes } = pool.next()?;
        slow.requests += 1;
        slow.bytes += message_bytes as u64;
        slow.text_bytes += u64::from(text_bytes);
        slow.eligible_events += u64::from(eligible);
        match sender.collect(framed).await {
            Ok(answer) => slow.acknowledged_events += u64::from(answer.accepted),
            Err(_) => {
                slow.failed_requests += 1;
                slow.doubtful_events += u64::from(events);
                // A connection that broke stays broken.
                break;
            }
        }
    }
    Ok(slow)
}
