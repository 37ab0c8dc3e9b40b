//! One attack from its beginning to the rows that came of it.

use std::{collections::HashMap, time::Duration};

use assent::{
    consent::TrainingScope,
    ingress::{client::Client, proto::GetConsentRequest},
};
use fastrand::Rng;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    actors::{Actor, kill_at_random, name},
    checker::{Final, Rows, Violation, check},
    fleet::{COLLECTORS, Fleet},
    harness::{Database, eventually},
    history::{Clock, History},
    options::Options,
    report::Report,
};

/// How many people change their minds at any moment; each at most two requests at a time.
const FLIPPERS: u32 = 48;
/// How many clients send for whomever.
const SENDERS: usize = 3;
/// People asked about in the end, for each second that the attack lasted.
const ASKED_PER_SECOND: u64 = 3;

/// What came of an attack.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) history: History,
    pub(crate) report: Report,
}

/// One after the other: each wants the machine for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Attacks, waits until all is delivered, and checks.
pub(crate) async fn attack(options: &Options) -> Outcome {
    let _alone = ALONE.lock().await;
    let mut rng = options.rng();
    let database = Database::new().await;
    commit_late(&database, options.commit).await;
    let fleet = Fleet::start(&database, &mut rng, options.mutation).await;
    fleet.wait_until_serving().await;
    let clock = Clock::start();
    let stop = CancellationToken::new();
    let addresses = fleet.addresses.clone();

    fleet.set_chaotic();
    let mut actors = JoinSet::new();
    for people in groups(options.users) {
        let actor = Actor::new(rng.fork(), clock, addresses.clone(), stop.clone());
        actors.spawn(actor.flip(people));
    }
    for _ in 0..SENDERS {
        let actor = Actor::new(rng.fork(), clock, addresses.clone(), stop.clone());
        actors.spawn(actor.send_at_random(options.users));
    }
    let killer = tokio::spawn(kill_at_random(fleet, rng.fork(), stop.clone()));

    tokio::time::sleep(options.span()).await;
    stop.cancel();
    let mut history = History::default();
    while let Some(done) = actors.join_next().await {
        history.extend(done.unwrap());
    }
    let mut fleet = killer.await.unwrap();
    fleet.set_calm();
    fleet.wait_until_serving().await;
    fleet.wait_until_up_to_date().await;

    let last = Actor::new(rng.fork(), clock, addresses, stop);
    let (finals, more) = ask(last, &fleet, &history, options, &mut rng).await;
    history.extend(more);
    let complaints = fleet.drain().await;
    assert!(complaints.is_empty(), "{}\nagain: {options}", complaints.join("\n"));
    let rows = read(&database).await;
    let violations = check(&history, &rows, &finals);
    if !violations.is_empty() {
        fleet.keep_logs(&options.logs());
    }
    Outcome { violations, report: Report::of(&history, &rows, &finals, &fleet), history }
}

/// Makes the ledger slow between a row's time and its commit, as a busy server is: what the overlap of the
/// tails is for. The proxies cannot do it, since a short insert begins when all of it has come.
async fn commit_late(database: &Database, late: Duration) {
    let seconds = late.as_secs_f64();
    let sql =
        format!("ALTER TABLE consent_changes ADD COLUMN late UInt8 MATERIALIZED sleepEachRow({seconds})");
    database.client.execute(&sql).await.unwrap();
}

/// Everybody belongs to one who changes their minds, so that changes of one person come in a known order.
fn groups(users: u32) -> impl Iterator<Item = Vec<u32>> {
    let groups = FLIPPERS.min(users);
    (0..groups).map(move |group| (group..users).step_by(groups as usize).collect())
}

/// What every collector says of some people, and makes of an event of theirs, when all is quiet.
async fn ask(
    mut actor: Actor,
    fleet: &Fleet,
    history: &History,
    options: &Options,
    rng: &mut Rng,
) -> (Vec<Final>, History) {
    let mut people: Vec<u32> = history.changes_by_user().into_keys().collect();
    people.sort_unstable();
    rng.shuffle(&mut people);
    let mut finals: Vec<Final> =
        people.into_iter().map(|user| Final { user, decided: Vec::new(), probes: Vec::new() }).collect();
    let asked = usize::try_from(options.seconds * ASKED_PER_SECOND).unwrap_or(usize::MAX).min(finals.len());
    let clients: Vec<Client> = (0..COLLECTORS).filter_map(|via| fleet.addresses.client(via)).collect();
    for last in &mut finals[..asked] {
        last.decided = join_all(clients.iter().map(|client| decided(client, last.user))).await;
    }
    for via in 0..COLLECTORS {
        for people in finals.chunks_mut(20) {
            let authors: Vec<u32> = people.iter().map(|last| last.user).collect();
            let probes = actor.send(&authors, via).await;
            people.iter_mut().zip(probes).for_each(|(last, probe)| last.probes.push(probe));
        }
    }
    (finals, actor.into_history())
}

/// The decision of today that a collector names.
async fn decided(client: &Client, user: u32) -> TrainingScope {
    let query = || GetConsentRequest { user_id: name(user), ..GetConsentRequest::default() };
    // On a connection that was cut before, it may fail once more.
    let answer =
        eventually("an answer on consent", || async { client.get_consent(query()).await.ok() }).await;
    scope(&answer.training_scope)
}

#[derive(Deserialize)]
struct Stored {
    event_id: Uuid,
    copies: u64,
}

#[derive(Deserialize)]
struct Counted {
    event_id: Uuid,
    training_scope: String,
    eligibility_reason: String,
}

#[derive(Deserialize)]
struct Shown {
    event_id: Uuid,
}

async fn read(database: &Database) -> Rows {
    let stored: Vec<Stored> =
        database.rows("SELECT event_id, count() AS copies FROM events GROUP BY event_id").await;
    let counted: Vec<Counted> =
        database.rows("SELECT event_id, training_scope, eligibility_reason FROM events FINAL").await;
    let mut views = HashMap::new();
    for view in ["training_first_party", "training_affiliates"] {
        let shown: Vec<Shown> = database.rows(&format!("SELECT event_id FROM {view}")).await;
        views.insert(view, shown.into_iter().map(|row| row.event_id).collect());
    }
    Rows {
        reasons: counted.iter().map(|row| (row.event_id, row.eligibility_reason.clone())).collect(),
        raw: stored.into_iter().map(|row| (row.event_id, row.copies)).collect(),
        counted: counted.into_iter().map(|row| (row.event_id, scope(&row.training_scope))).collect(),
        first_party: views.remove("training_first_party").unwrap_or_default(),
        affiliates: views.remove("training_affiliates").unwrap_or_default(),
    }
}

fn scope(name: &str) -> TrainingScope {
    [TrainingScope::None, TrainingScope::FirstParty, TrainingScope::Affiliates]
        .into_iter()
        .find(|scope| scope.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is no training scope"))
}
