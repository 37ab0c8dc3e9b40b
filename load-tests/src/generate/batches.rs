//! Makes requests ahead of time, on a thread of its own, so that sending never waits for texts to be made.

use std::{sync::Arc, thread::JoinHandle};

use anyhow::Context as _;
use assent::ingress::proto;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;

use super::{Generator, Person};
use crate::{scenario::Scenario, schedule::Timetable};

/// The most events that are made ahead.
const EVENTS_AHEAD: u32 = 50_000;

/// A request, encoded, so that a retry costs no more than a copy of a pointer.
pub(crate) struct Batch {
    pub(crate) encoded: Bytes,
    pub(crate) events: u32,
    /// Of the events, those whose author's answer makes them eligible.
    pub(crate) eligible: u32,
}

/// The requests of a run, in order.
pub(crate) struct Batches {
    batches: mpsc::Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
    starved: u64,
}

impl Batches {
    /// Starts making them.
    pub(crate) fn start(scenario: &Scenario, people: Arc<Vec<Person>>) -> anyhow::Result<Self> {
        let requests = Timetable::new(scenario).requests();
        let events = scenario.events_per_request;
        let ahead = (EVENTS_AHEAD / events).max(2);
        let (sender, batches) = mpsc::channel(usize::try_from(ahead)?);
        let mut generator = Generator::new(scenario, people);
        let make = move || {
            for _ in 0..requests {
                // Whoever receives may have given up.
                if sender.blocking_send(batch(&mut generator, events)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("generator".to_owned())
            .spawn(make)
            .context("cannot start the generator's thread")?;
        Ok(Self { batches, thread: Some(thread), starved: 0 })
    }

    /// Resolves when as many are ready as are made ahead, or all.
    pub(crate) async fn filled(&self) {
        let finished = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        while self.batches.len() < self.batches.max_capacity() && !finished() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// The next one; `None` when the thread has ended early, which is a fault.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        if let Ok(batch) = self.batches.try_recv() {
            return Some(batch);
        }
        self.starved += 1;
        self.batches.recv().await
    }

    /// How often the next one was not ready. Beyond a few, the generator was the bottleneck.
    pub(crate) const fn starved(&self) -> u64 {
        self.starved
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.batches.close();
        if let Some(thread) = self.thread.take() {
            // It panicked: then `next` gave `None`, which is an error of the run already.
            let _ = thread.join();
        }
    }
}

fn batch(generator: &mut Generator, events: u32) -> Batch {
    let mut eligible = 0;
    let events_made = (0..events)
        .map(|_| {
            let next = generator.next();
            eligible += u32::from(next.eligible);
            next.event
        })
        .collect();
    let request = proto::CollectRequest { events: events_made };
    Batch { encoded: request.encode_to_vec().into(), events, eligible }
}
