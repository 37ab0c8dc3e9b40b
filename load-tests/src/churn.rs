//! People who change their minds while events come in, at a rate of their own.
//!
//! Only those change who had said yes, from yes to no and back, so that what is eligible can but get less: the bound
//! that the run checks stays one.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use assent::ingress::{client::Client, proto};
use hdrhistogram::Histogram;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{consent, generate::Person, scenario::ConsentChurn, tally::latencies};

/// Changes under way at once, each an insert of its own, of which a server with its defaults carries out a hundred. Beyond them the next is late, and its latency still counts from its due time.
const AT_ONCE: usize = 64;

/// What became of the changes.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) made: u64,
    pub(crate) failed: u64,
    /// What the first failure said.
    pub(crate) first_failure: Option<String>,
    /// From when a change was due until it was durable.
    pub(crate) latency_us: Histogram<u64>,
}

/// Makes changes for as long as the scenario sends.
pub(crate) async fn churn(
    addr: SocketAddr,
    people: Arc<Vec<Person>>,
    churn: ConsentChurn,
    duration: Duration,
) -> anyhow::Result<Changes> {
    let client = Client::connect(&addr.to_string(), None).await?;
    let changers: Vec<usize> = (0..people.len()).filter(|index| people[*index].answer.eligible()).collect();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut changes = Changes { made: 0, failed: 0, first_failure: None, latency_us: latencies()? };
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / churn.changes_per_second;
        if due >= start + duration {
            break;
        }
        tokio::time::sleep_until(due).await;
        let place = Arc::clone(&places).acquire_owned().await.context("the semaphore is never closed")?;
        let change = change(&people, &changers, number as usize);
        let client = client.clone();
        under_way.spawn(async move {
            let outcome = client.set_consent(change).await;
            drop(place);
            (due.elapsed(), outcome.err().map(|error| error.to_string()))
        });
        while let Some(ended) = under_way.try_join_next() {
            changes.add(ended.context("a change failed")?);
        }
    }
    while let Some(ended) = under_way.join_next().await {
        changes.add(ended.context("a change failed")?);
    }
    Ok(changes)
}

impl Changes {
    fn add(&mut self, (latency, failure): (Duration, Option<String>)) {
        match failure {
            None => {
                self.made += 1;
                self.latency_us
                    .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
            }
            Some(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }
}

/// The number-th change: each person's turn comes once a round, with a no in even rounds and a yes in odd ones.
fn change(people: &[Person], changers: &[usize], number: usize) -> proto::SetConsentRequest {
    let person = &people[changers[number % changers.len()]];
    let state = match number / changers.len() % 2 {
        0 => proto::ConsentState::Denied,
        _ => proto::ConsentState::Granted,
    };
    consent::change(person, proto::ConsentScope::FirstParty, state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generate::people, scenario::Scenario};

    #[test]
    fn only_those_change_who_said_yes_and_each_goes_back_and_forth() {
        let scenario = Scenario::parse(include_str!("../scenarios/smoke.toml")).unwrap();
        let people = people(&scenario);
        let changers: Vec<usize> = (0..people.len()).filter(|at| people[*at].answer.eligible()).collect();
        let round = changers.len();
        assert_eq!(round, 120);
        let of = |number| change(&people, &changers, number);
        for (number, state) in [(0, proto::ConsentState::Denied), (round, proto::ConsentState::Granted)] {
            for at in [number, number + 7, number + round - 1] {
                assert_eq!(of(at).state(), state);
                assert_eq!(of(at).user_id, of(at + round).user_id);
                assert_ne!(of(at).user_id, of(at + 1).user_id);
            }
        }
    }
}
