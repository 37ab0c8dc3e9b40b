//! Those who make the history: people who change their minds, clients that send, and one who kills.

use std::time::Duration;

use assent::{
    consent::{ConsentScope, ConsentState},
    ingress::{client::ClientError, proto, wire},
};
use fastrand::Rng;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use crate::{
    fleet::{Addresses, COLLECTORS, Fleet},
    harness::{change, event},
    history::{Answer, Change, Clock, Event, History, Moment, Try},
};

/// How often a request is sent again, at most.
const MAX_TRIES: usize = 6;
/// How often a "no" that failed is said again. Its person does not rest before it holds.
const MAX_DENIALS: usize = 12;

/// A change that is sent until it is acknowledged. It counts from when it was first sent.
#[derive(Clone, Copy)]
struct Same {
    id: Uuid,
    began: Moment,
}

/// One who asks collectors for something, and notes what came of it.
pub(crate) struct Actor {
    rng: Rng,
    clock: Clock,
    addresses: Addresses,
    stop: CancellationToken,
    history: History,
}

impl Actor {
    pub(crate) fn new(rng: Rng, clock: Clock, addresses: Addresses, stop: CancellationToken) -> Self {
        Self { rng, clock, addresses, stop, history: History::default() }
    }

    pub(crate) fn into_history(self) -> History {
        self.history
    }

    /// People who change their minds, one after the other, for as long as the attack lasts. Nobody else
    /// changes their consent.
    pub(crate) async fn flip(mut self, people: Vec<u32>) -> History {
        while !self.stop.is_cancelled() {
            let Some(user) = self.rng.choice(people.iter().copied()) else { break };
            if self.hits(20) {
                self.change_at_once(user).await;
            } else {
                self.change_in_turn(user).await;
            }
        }
        self.history
    }

    /// Anybody's events, at any time, through any collector.
    pub(crate) async fn send_at_random(mut self, users: u32) -> History {
        while !self.stop.is_cancelled() {
            let authors: Vec<u32> = (0..self.rng.usize(1..=20)).map(|_| self.rng.u32(..users)).collect();
            let via = self.any_collector();
            self.send(&authors, via).await;
            self.pause(300).await;
        }
        self.history
    }

    /// A yes, events, a no, and at once events where nobody can have heard of it.
    async fn change_in_turn(&mut self, user: u32) {
        let scopes: &[ConsentScope] = match self.rng.u32(..4) {
            0 => &ConsentScope::ALL[..1],
            _ => &ConsentScope::ALL,
        };
        for scope in scopes {
            let via = self.any_collector();
            self.set(user, *scope, ConsentState::Granted, via).await;
        }
        for _ in 0..self.rng.usize(..3) {
            self.pause(900).await;
            let via = self.any_collector();
            self.send_some(user, via).await;
        }
        let scope = scopes[self.rng.usize(..scopes.len())];
        let Some(told) = self.say_no(user, scope).await else { return };
        self.send_elsewhere(user, told).await;
        if self.hits(40) {
            let via = self.any_collector();
            self.set(user, scope, ConsentState::Granted, via).await;
        }
        if self.hits(50) {
            self.pause(400).await;
            self.send_elsewhere(user, told).await;
        }
    }

    /// A yes and a no of one person, on two collectors at once.
    async fn change_at_once(&mut self, user: u32) {
        let (here, there) = self.two_collectors();
        let mut other = self.fork();
        let [scope, other_scope] = match self.rng.u32(..3) {
            0 => ConsentScope::ALL,
            _ => [ConsentScope::FirstParty; 2],
        };
        let behind = Duration::from_millis(self.rng.u64(..60));
        let denial = async {
            tokio::time::sleep(behind).await;
            other.set(user, other_scope, ConsentState::Denied, there).await
        };
        let (_, denied) = tokio::join!(self.set(user, scope, ConsentState::Granted, here), denial);
        self.history.extend(other.history);
        self.send_some(user, here).await;
        if !denied || self.hits(60) {
            let Some(told) = self.say_no(user, scope).await else { return };
            self.send_elsewhere(user, told).await;
        }
    }

    /// A "no", until a collector has acknowledged it; says which.
    async fn say_no(&mut self, user: u32, scope: ConsentScope) -> Option<usize> {
        let state = if self.hits(25) { ConsentState::Unset } else { ConsentState::Denied };
        // Some clients send the same change again, others make a new one.
        let id = uuid::Builder::from_random_bytes(self.rng.u128(..).to_le_bytes()).into_uuid();
        let same = self.hits(60).then(|| Same { id, began: self.clock.now() });
        for _ in 0..MAX_DENIALS {
            let via = self.any_collector();
            if self.set_as(user, scope, state, via, same).await {
                return Some(via);
            }
            if self.stop.is_cancelled() {
                break;
            }
        }
        None
    }

    /// Says whether it was acknowledged.
    async fn set(&mut self, user: u32, scope: ConsentScope, state: ConsentState, via: usize) -> bool {
        self.set_as(user, scope, state, via, None).await
    }

    /// The same as one of several sendings of one change.
    async fn set_as(
        &mut self,
        user: u32,
        scope: ConsentScope,
        state: ConsentState,
        via: usize,
        same: Option<Same>,
    ) -> bool {
        let Some(client) = self.addresses.client(via) else {
            self.pause(50).await;
            return false;
        };
        let mut request = change(&name(user), wire::scope_out(scope), wire::state_out(state));
        let mut began = self.clock.now();
        if let Some(same) = same {
            request.request_id = same.id.to_string();
            began = same.began;
        }
        let answer = match client.set_consent(request).await {
            Ok(_) => Answer::Acknowledged(self.clock.now()),
            Err(error) => failure(self.clock, &error),
        };
        let acknowledged = answer.acknowledged().is_some();
        self.history.changes.push(Change { user, scope, state, via, began, answer });
        if !acknowledged {
            // Whoever is told so at once would ask a collector without a ClickHouse again and again.
            self.pause(400).await;
        }
        acknowledged
    }

    /// To every collector but one, at once.
    async fn send_elsewhere(&mut self, user: u32, told: usize) {
        let elsewhere: Vec<usize> = (0..COLLECTORS).filter(|via| *via != told).collect();
        let mut others: Vec<(Self, usize)> = elsewhere.into_iter().map(|via| (self.fork(), via)).collect();
        let sending = others.iter_mut().map(|(other, via)| other.send_some(user, *via));
        futures_util::future::join_all(sending).await;
        for (other, _) in others {
            self.history.extend(other.history);
        }
    }

    async fn send_some(&mut self, user: u32, via: usize) {
        let authors = vec![user; self.rng.usize(1..=3)];
        self.send(&authors, via).await;
    }

    /// One request with an event of each author. One that fails is sent again, here or there, as often as its
    /// client likes; now and then one is that did not fail. Gives the ids.
    pub(crate) async fn send(&mut self, authors: &[u32], mut via: usize) -> Vec<Uuid> {
        let events: Vec<proto::Event> = authors.iter().map(|user| event(&name(*user)).build()).collect();
        let ids: Vec<Uuid> = events.iter().map(|event| Uuid::parse_str(&event.event_id).unwrap()).collect();
        let mut tries = Vec::new();
        for _ in 0..MAX_TRIES {
            if let Some(client) = self.addresses.client(via) {
                let began = self.clock.now();
                let answer = match client.collect(events.clone()).await {
                    Ok(answer) if answer.rejected.is_empty() => Answer::Acknowledged(self.clock.now()),
                    Ok(answer) => Answer::Refused(format!("{:?}", answer.rejected)),
                    Err(error) => failure(self.clock, &error),
                };
                let done = answer.acknowledged().is_some();
                tries.push(Try { via, began, answer });
                if self.hits(if done { 97 } else { 10 }) {
                    break;
                }
            }
            self.pause(150).await;
            if self.hits(50) {
                via = self.any_collector();
            }
        }
        for (id, user) in ids.iter().zip(authors) {
            self.history.events.insert(*id, Event { user: *user, tries: tries.clone() });
        }
        ids
    }

    /// The same kind of actor with randomness of its own, for what goes on beside.
    fn fork(&mut self) -> Self {
        Self::new(self.rng.fork(), self.clock, self.addresses.clone(), self.stop.clone())
    }

    fn any_collector(&mut self) -> usize {
        self.rng.usize(..COLLECTORS)
    }

    fn two_collectors(&mut self) -> (usize, usize) {
        let one = self.any_collector();
        (one, (one + self.rng.usize(1..COLLECTORS)) % COLLECTORS)
    }

    fn hits(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    async fn pause(&mut self, up_to_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(..up_to_ms))).await;
    }
}

/// A person's id with their product.
pub(crate) fn name(user: u32) -> String {
    format!("user-{user}")
}

/// What a client learns from a call that gave no answer.
fn failure(clock: Clock, error: &ClientError) -> Answer {
    let ClientError::Status(status) = error else { return Answer::Failed(clock.now()) };
    match status.code() {
        // The client's own patience ended, not the collector's work.
        Code::DeadlineExceeded => Answer::None,
        Code::Cancelled if status.message().contains("imeout") => Answer::None,
        // A broken connection can look like most of the others.
        Code::InvalidArgument
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::NotFound
        | Code::Unimplemented => Answer::Refused(error.to_string()),
        _ => Answer::Failed(clock.now()),
    }
}

/// Kills collectors and starts them again, until told to stop; all run in the end.
pub(crate) async fn kill_at_random(mut fleet: Fleet, mut rng: Rng, stop: CancellationToken) -> Fleet {
    loop {
        let pause = Duration::from_millis(rng.u64(1_500..4_500));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return fleet,
        }
        let victim = rng.usize(..COLLECTORS);
        fleet.kill(victim);
        tokio::time::sleep(Duration::from_millis(rng.u64(..600))).await;
        fleet.restart(victim).await;
    }
}
