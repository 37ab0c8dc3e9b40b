//! Plays the script against a running collector, through the client that any caller of this
//! product would use.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use super::{
    bundle::Bundle,
    script::{Run, Scene, play},
};
use crate::{
    clickhouse::Client as ClickHouse,
    ingress::{client::Client, proto},
};

/// How long an act's rows may take until they can be read.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two looks.
const VISIBLE_POLL: Duration = Duration::from_millis(50);

/// What was sent, and what the collector answered.
pub(super) struct Sent {
    pub(super) run: Run,
    /// Events, each counted once.
    pub(super) events: usize,
    /// Requests with events, the repeated one included.
    pub(super) requests: usize,
    /// Events that were sent a second time.
    pub(super) repeated: usize,
    /// The ledger's entries, by the user id that they were made for, in order.
    pub(super) records: HashMap<String, Vec<Record>>,
    /// From the first call to the last visible row.
    pub(super) took: Duration,
}

/// A change of consent as the ledger has it.
pub(super) struct Record {
    /// The act that began with it, from 0.
    pub(super) act: usize,
    pub(super) record: proto::ConsentRecord,
}

impl Sent {
    /// How many changes of consent were made.
    pub(super) fn changes(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

/// Sets what people answered in an earlier run back to silence, so that a run does not begin where the last one
/// ended. Answers how many answers there were.
///
/// # Errors
/// A call failed.
pub(super) async fn take_back_answers(bundle: &Bundle, client: &Client) -> anyhow::Result<usize> {
    let mut taken_back = 0;
    for person in &bundle.people {
        let query = proto::GetConsentRequest {
            user_id: person.user_id.clone(),
            jurisdiction: person.jurisdiction.clone(),
        };
        let now = client.get_consent(query).await.context("cannot read a person's consent")?;
        for answer in now.scopes.into_iter().filter(|it| it.state != proto::ConsentState::Unset as i32) {
            let change = proto::SetConsentRequest {
                user_id: person.user_id.clone(),
                scope: answer.scope,
                state: proto::ConsentState::Unset.into(),
                policy_version: answer.record.map(|record| record.policy_version).unwrap_or_default(),
                source: proto::ConsentSource::Admin.into(),
                jurisdiction: person.jurisdiction.clone(),
                evidence: "a new run of the demo".to_owned(),
                actor: "assent-demo".to_owned(),
                ..proto::SetConsentRequest::default()
            };
            client.set_consent(change).await.context("an earlier answer could not be taken back")?;
            taken_back += 1;
        }
    }
    Ok(taken_back)
}

/// Sends everything, act by act. An act's rows are waited for before the next one's changes, so that what the report
/// tells about "before" and "after" is what happened.
///
/// # Errors
/// A call failed, an event was rejected, or rows did not become visible in time.
pub(super) async fn send(
    bundle: &Bundle,
    client: &Client,
    clickhouse: &ClickHouse,
    mut progress: impl FnMut(&Scene<'_>),
) -> anyhow::Result<Sent> {
    let started = Instant::now();
    let run = Run::new();
    let mut sent = Sent {
        run: run.clone(),
        events: 0,
        requests: 0,
        repeated: 0,
        records: HashMap::new(),
        took: Duration::ZERO,
    };
    for (act, scene) in play(bundle, &run, SystemTime::now()).into_iter().enumerate() {
        for change in &scene.consent {
            let record =
                client.set_consent(change.clone()).await.context("a change of consent was refused")?;
            sent.records.entry(change.user_id.clone()).or_default().push(Record { act, record });
        }
        for events in &scene.requests {
            collect(client, events).await?;
            sent.requests += 1;
            sent.events += events.len();
            // As a client does that lost the answer. It must not count twice.
            if sent.repeated == 0 {
                collect(client, events).await?;
                sent.requests += 1;
                sent.repeated += events.len();
            }
        }
        wait_until_visible(clickhouse, &run, sent.events).await?;
        progress(&scene);
    }
    sent.took = started.elapsed();
    Ok(sent)
}

async fn collect(client: &Client, events: &[proto::Event]) -> anyhow::Result<()> {
    let answer = client.collect(events.to_vec()).await.context("a batch of events was refused")?;
    if let Some(rejected) = answer.rejected.first() {
        bail!(
            "the collector rejected {} of {} events, the first because: {}",
            answer.rejected.len(),
            events.len(),
            rejected.message
        );
    }
    ensure!(
        usize::try_from(answer.accepted).ok() == Some(events.len()),
        "the collector acknowledged {} of {} events and rejected none",
        answer.accepted,
        events.len()
    );
    Ok(())
}

#[derive(Deserialize)]
struct Visible {
    events: u64,
}

/// Delivery is asynchronous: an acknowledged event is on the collector's disk, and in ClickHouse a
/// moment later.
async fn wait_until_visible(clickhouse: &ClickHouse, run: &Run, expected: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + VISIBLE_TIMEOUT;
    let mut looks = tokio::time::interval(VISIBLE_POLL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let rows: Vec<Visible> = clickhouse
            .query_rows(
                "SELECT uniqExact(event_id) AS events FROM events WHERE startsWith(session_id, {run:String})",
                &[("run", &run.prefix())],
            )
            .await
            .context("cannot count the rows that arrived")?;
        let visible = rows.first().map_or(0, |row| row.events);
        if u64::try_from(expected).is_ok_and(|expected| visible >= expected) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{visible} of {expected} acknowledged events are in ClickHouse after {} s; the rest is safe in the \
             spool (`assent spool inspect`), and the collector's log says what keeps it there",
            VISIBLE_TIMEOUT.as_secs()
        );
    }
}
