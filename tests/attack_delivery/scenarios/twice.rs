//! The same requests to two collectors, at the same time or one after the other, while their authors change
//! their minds.

use std::time::Duration;

use assent::{
    consent::TrainingScope,
    ingress::{
        client::Client,
        proto::{
            ConsentScope,
            ConsentState::{self, Denied, Granted},
        },
    },
};
use fastrand::Rng;
use futures_util::{StreamExt as _, stream};

use crate::{
    arena::Arena,
    event::{Made, TENANTS},
    fleet::{Addresses, Fleet, api_key},
    harness::{change, eventually},
    history::{History, Outcome},
    sender::{Habits, Sender},
};

/// People who act at the same time.
const AT_ONCE: usize = 8;
/// Events of a person.
const EVENTS: usize = 20;
const COLLECTORS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn two_collectors() {
    let mut arena = Arena::enter("two_collectors").await;
    let database = arena.database().await;
    let mut fleet = Fleet::start(arena.setup(&database, &database.url, ""), COLLECTORS).await;
    fleet.wait_until_serving().await;
    let people = arena.options.twins.div_ceil(EVENTS as u64);
    let histories: Vec<History> = stream::iter(0..people)
        .map(|person| {
            let (rng, addresses) = (arena.rng.fork(), fleet.addresses());
            let grpc = [0, 1].map(|n| fleet.collector(n).grpc.clone());
            Person::new(person, rng, addresses, grpc).live()
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut history = History::default();
    histories.into_iter().for_each(|more| history.extend(more));
    fleet.drain().await;
    let eligible = database.count("training_first_party").await;
    arena
        .conclude(&database, &fleet, &history, |report| {
            report.at_least("eligible", eligible, 1);
            report.at_least("not eligible, by a no on one of two collectors", history.narrow.len() as u64, 1);
        })
        .await;
}

struct Person {
    name: String,
    rng: Rng,
    sender: Sender,
    tenant: usize,
    grpc: [String; COLLECTORS],
}

impl Person {
    fn new(person: u64, mut rng: Rng, addresses: Addresses, grpc: [String; COLLECTORS]) -> Self {
        let tenant = rng.usize(..TENANTS.len());
        let habits = Habits { max_batch: EVENTS, text_bytes: 5..=100, ..Habits::default() };
        let sender = Sender::idle(tenant, rng.fork(), habits, addresses);
        Self { name: format!("somebody-{person}"), rng, sender, tenant, grpc }
    }

    /// Sends the same events twice, with or without a change of consent at some point.
    async fn live(mut self) -> History {
        let (here, there) = if self.rng.bool() { (0, 1) } else { (1, 0) };
        let batch = self.batch();
        match self.rng.u32(..4) {
            // Both know of the yes, or one of them does not yet.
            0 => {
                self.say(here, Granted).await;
                if self.rng.bool() {
                    self.wait_for_yes(there).await;
                }
                self.sender.twins(&batch, [here, there]).await;
            }
            // A no between the two. The first is eligible, and delivered or not.
            1 => {
                self.say(here, Granted).await;
                self.send(here, &batch).await;
                tokio::time::sleep(Duration::from_millis(self.rng.u64(..100))).await;
                self.say(here, Denied).await;
                self.send(there, &batch).await;
                self.sender.expect_narrow(&batch);
            }
            // A yes between the two, and the second is eligible.
            2 => {
                self.say(here, Denied).await;
                self.send(here, &batch).await;
                self.say(there, Granted).await;
                self.wait_for_yes(there).await;
                self.send(there, &batch).await;
                self.sender.expect_narrow(&batch);
            }
            // A no at the same time as both.
            _ => {
                self.say(here, Granted).await;
                self.wait_for_yes(there).await;
                let client = self.client(here).await;
                let no = change(&self.name, ConsentScope::FirstParty, Denied);
                let (said, ()) =
                    tokio::join!(client.set_consent(no), self.sender.twins(&batch, [here, there]));
                said.unwrap();
            }
        }
        self.sender.into_history()
    }

    /// Theirs, and good ones.
    fn batch(&mut self) -> Vec<Made> {
        let mut batch = self.sender.batch(false);
        batch.retain(|made| !made.is_bad);
        batch.iter_mut().for_each(|made| made.event.user_id.clone_from(&self.name));
        batch
    }

    async fn send(&mut self, via: usize, batch: &[Made]) {
        let outcome = self.sender.unary(via, batch.to_vec(), false).await;
        assert_eq!(outcome, Outcome::Acknowledged, "nothing is in the way here");
    }

    async fn client(&self, via: usize) -> Client {
        Client::connect(&self.grpc[via], Some(&api_key(self.tenant).into())).await.unwrap()
    }

    async fn say(&self, via: usize, state: ConsentState) {
        let change = change(&self.name, ConsentScope::FirstParty, state);
        self.client(via).await.set_consent(change).await.unwrap();
    }

    /// Until a collector that somebody else told has heard of it.
    async fn wait_for_yes(&self, via: usize) {
        let client = self.client(via).await;
        let query = || assent::ingress::proto::GetConsentRequest {
            user_id: self.name.clone(),
            ..assent::ingress::proto::GetConsentRequest::default()
        };
        eventually("a yes that has come through", || async {
            let answer = client.get_consent(query()).await.ok()?;
            (answer.training_scope == TrainingScope::FirstParty.as_str()).then_some(())
        })
        .await;
    }
}
