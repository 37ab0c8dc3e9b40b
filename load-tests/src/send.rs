//! Sends the requests at their times, whatever becomes of earlier ones.
//!
//! At most `max_in_flight` are under way. When there are as many, the next one waits for a place and is sent
//! late; its latency counts from when it was due all the same. Every loop here ends: a request by its
//! number of attempts and their timeout, the run by its deadline.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    generate::{Batch, Pool},
    progress::Counters,
    scenario::{Retry, Scenario},
    schedule::{Timetable, Timing},
    tally::{Ending, Failure, Sent, Tally},
    tenants::Tenants,
    wire::Sender,
};

/// Sends the timetable's requests, each over one of its tenant's connections, and waits for every answer.
pub(crate) async fn send(
    scenario: &Scenario,
    tenants: &Tenants,
    senders: &[Vec<Sender>],
    mut pool: Pool,
    counters: &Arc<Counters>,
) -> anyhow::Result<Tally> {
    let timetable = Timetable::new(scenario);
    let places = Arc::new(Semaphore::new(usize::try_from(scenario.max_in_flight)?));
    let policy = Policy { retry: scenario.retry, timeout: scenario.request_timeout.0 };
    let mut under_way: JoinSet<Sent> = JoinSet::new();
    let start = Instant::now();
    let mut tally = Tally::new(start, tenants)?;
    let calm = scenario.calm.map_or(Duration::ZERO, |calm| calm.duration.0);
    let deadline = start + scenario.duration.0 + calm + scenario.visible_timeout.0;
    let mut senders: Vec<_> = senders.iter().map(|connections| connections.iter().cycle()).collect();

    for request in 0..timetable.requests() {
        let tenant = tenants.of_request(request);
        let sender =
            senders.get_mut(tenant).and_then(Iterator::next).context("a tenant has no connection")?;
        let due = start + timetable.offset(request);
        tokio::time::sleep_until(due).await;
        let place = Arc::clone(&places).acquire_owned();
        let Ok(place) = tokio::time::timeout_at(deadline, place).await else {
            tally.unsent_requests = timetable.requests() - request;
            break;
        };
        let place = place.context("the semaphore is never closed")?;
        let batch = pool.next()?;
        counters.sent.fetch_add(u64::from(batch.events), Ordering::Relaxed);
        let calm = timetable.calm_offset(request);
        let (sender, counters) = (sender.clone(), Arc::clone(counters));
        under_way.spawn(async move {
            let sent = Instant::now();
            let (ending, failures) = deliver(&sender, &batch, policy).await;
            drop(place);
            if let Ending::Answered { accepted, .. } = &ending {
                counters.acknowledged.fetch_add(u64::from(*accepted), Ordering::Relaxed);
            }
            let timing = Timing { due, sent, answered: Instant::now() };
            Sent::new(&batch, tenant, calm, timing, ending, failures)
        });
        while let Some(sent) = under_way.try_join_next() {
            tally.add(sent.context("a sending task failed")?);
        }
    }
    while let Some(sent) = under_way.join_next().await {
        tally.add(sent.context("a sending task failed")?);
    }
    Ok(tally)
}

#[derive(Clone, Copy)]
struct Policy {
    retry: Retry,
    timeout: Duration,
}

/// One request, with its retries.
async fn deliver(sender: &Sender, batch: &Batch, policy: Policy) -> (Ending, Vec<Failure>) {
    let mut failures = Vec::new();
    for attempt in 1..=policy.retry.max_attempts {
        let call = sender.collect(batch.framed.clone());
        let status = match tokio::time::timeout(policy.timeout, call).await {
            Ok(Ok(answer)) => {
                let rejected = answer.rejected.iter().map(|it| it.reason()).collect();
                return (Ending::Answered { accepted: answer.accepted, rejected }, failures);
            }
            Ok(Err(status)) => status,
            // A client of this policy gives up; nobody knows whether it was taken.
            Err(_) => {
                failures.push(Failure::TimedOut);
                break;
            }
        };
        let has_retry_info = status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some());
        failures.push(Failure::Status { code: status.code(), has_retry_info });
        if attempt == policy.retry.max_attempts || !may_be_retried(status.code()) {
            break;
        }
        tokio::time::sleep(pause(&policy.retry, attempt, &status)).await;
    }
    (Ending::GivenUp, failures)
}

const fn may_be_retried(code: Code) -> bool {
    matches!(code, Code::ResourceExhausted | Code::Unavailable)
}

/// What the collector asks for, or twice as long as before; at most `max_pause`. Half of it is by chance, so that
/// those who were refused together do not come back together.
fn pause(retry: &Retry, attempt: u32, status: &Status) -> Duration {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let doubled = retry.first_pause.0.saturating_mul(2_u32.saturating_pow(attempt - 1));
    let wanted = asked.unwrap_or(doubled).min(retry.max_pause.0);
    wanted.mul_f64(1.0 + 0.5 * fastrand::f64()).min(retry.max_pause.0)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_pause_doubles_to_its_limit() {
        let retry = Retry::default();
        let status = Status::unavailable("");
        for (attempt, least) in [(1, 50), (2, 100), (3, 200), (20, 2_000)] {
            let pause = pause(&retry, attempt, &status);
            let least = Duration::from_millis(least);
            assert!(pause >= least && pause <= least * 3 / 2 && pause <= retry.max_pause.0, "{pause:?}");
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_counts() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(900)));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let pause = pause(&Retry::default(), 1, &status);
        assert!(pause >= Duration::from_millis(900) && pause <= Duration::from_millis(1_350), "{pause:?}");
    }

    #[test]
    fn only_two_codes_are_retried() {
        assert!(may_be_retried(Code::Unavailable) && may_be_retried(Code::ResourceExhausted));
        assert!(!may_be_retried(Code::InvalidArgument) && !may_be_retried(Code::Internal));
    }
}
