//! What became of the requests.

use std::{collections::BTreeMap, time::Duration};

use assent::ingress::proto::RejectionReason;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;
use tonic::Code;

use crate::{
    generate::Batch,
    lag::Acknowledged,
    schedule::Timing,
    slow::Slow,
    tenants::{Tenant, Tenants},
};

/// The longest latency that is told apart, in microseconds: half an hour.
const MAX_LATENCY_US: u64 = 30 * 60 * 1_000_000;
const DIGITS: u8 = 3;

/// An attempt that gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Status {
        code: Code,
        /// Whether it says when to come back.
        has_retry_info: bool,
    },
    TimedOut,
}

impl Failure {
    /// Whether the events may have been taken all the same.
    const fn leaves_doubt(self) -> bool {
        !matches!(
            self,
            Self::Status {
                code: Code::ResourceExhausted
                    | Code::InvalidArgument
                    | Code::Unauthenticated
                    | Code::OutOfRange,
                ..
            }
        )
    }

    /// Whether a client knows what to do: the collector had no room, and says when it may have.
    const fn is_precise_refusal(self) -> bool {
        matches!(self, Self::Status { code: Code::ResourceExhausted, has_retry_info: true })
    }

    fn name(self) -> String {
        match self {
            Self::Status { code, .. } => format!("{code:?}"),
            Self::TimedOut => "TimedOut".to_owned(),
        }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Answered { accepted: u32, rejected: Vec<RejectionReason> },
    GivenUp,
}

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct Sent {
    events: u32,
    eligible: u32,
    bytes: usize,
    text_bytes: u32,
    tenant: usize,
    /// How far into the calm phase it was due.
    calm: Option<Duration>,
    timing: Timing,
    ending: Ending,
    failures: Vec<Failure>,
}

impl Sent {
    pub(crate) fn new(
        batch: &Batch,
        tenant: usize,
        calm: Option<Duration>,
        timing: Timing,
        ending: Ending,
        failures: Vec<Failure>,
    ) -> Self {
        Self {
            events: batch.events,
            eligible: batch.eligible,
            bytes: batch.message_bytes,
            text_bytes: batch.text_bytes,
            tenant,
            calm,
            timing,
            ending,
            failures,
        }
    }
}

/// A tenant's part of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TenantTally {
    pub(crate) name: String,
    pub(crate) sent_events: u64,
    pub(crate) acknowledged_events: u64,
    pub(crate) refused_requests: u64,
}

/// All of a run.
pub(crate) struct Tally {
    pub(crate) start: Instant,
    pub(crate) last_answer: Instant,
    pub(crate) requests: u64,
    pub(crate) unsent_requests: u64,
    pub(crate) given_up_requests: u64,
    pub(crate) sent_events: u64,
    pub(crate) acknowledged_events: u64,
    /// The same, by when.
    pub(crate) acknowledged: Acknowledged,
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// Events of requests that were given up, though they may have been taken.
    pub(crate) doubtful_events: u64,
    /// Acknowledged events that an earlier attempt may have left in the table as well.
    pub(crate) repeated_events: u64,
    /// Acknowledged events whose author's answer makes them eligible; all of a request's, where some were rejected.
    pub(crate) eligible_events: u64,
    pub(crate) request_bytes: u64,
    pub(crate) text_bytes: u64,
    pub(crate) failed_attempts: BTreeMap<String, u64>,
    /// Of the failed attempts, those that are no RESOURCE_EXHAUSTED with a time to come back.
    pub(crate) imprecise_refusals: u64,
    pub(crate) by_tenant: Vec<TenantTally>,
    /// How far into the calm phase the last request was due of which an attempt failed.
    pub(crate) last_refused_in_calm: Option<Duration>,
    pub(crate) retries: u64,
    /// From when a request was due to its acknowledgement.
    pub(crate) latency_us: Histogram<u64>,
    /// The same of the calm phase alone.
    pub(crate) calm_latency_us: Histogram<u64>,
    /// From when a request was due to when it was sent.
    pub(crate) lag_us: Histogram<u64>,
}

impl TenantTally {
    fn new(tenant: &Tenant) -> Self {
        Self { name: tenant.name.clone(), sent_events: 0, acknowledged_events: 0, refused_requests: 0 }
    }
}

impl Tally {
    pub(crate) fn new(start: Instant, tenants: &Tenants) -> anyhow::Result<Self> {
        Ok(Self {
            start,
            last_answer: start,
            requests: 0,
            unsent_requests: 0,
            given_up_requests: 0,
            sent_events: 0,
            acknowledged_events: 0,
            acknowledged: Acknowledged::default(),
            rejected: BTreeMap::new(),
            doubtful_events: 0,
            repeated_events: 0,
            eligible_events: 0,
            request_bytes: 0,
            text_bytes: 0,
            failed_attempts: BTreeMap::new(),
            imprecise_refusals: 0,
            by_tenant: tenants.iter().map(TenantTally::new).collect(),
            last_refused_in_calm: None,
            retries: 0,
            latency_us: latencies()?,
            calm_latency_us: latencies()?,
            lag_us: latencies()?,
        })
    }

    pub(crate) fn add(&mut self, sent: Sent) {
        let Sent { events, eligible, bytes, text_bytes, tenant, calm, timing, ending, failures } = sent;
        self.requests += 1;
        self.sent_events += u64::from(events);
        self.request_bytes += bytes as u64;
        self.text_bytes += u64::from(text_bytes);
        self.last_answer = self.last_answer.max(timing.answered);
        let failed = failures.len() as u64;
        let doubt = failures.iter().any(|failure| failure.leaves_doubt());
        if let (Some(calm), 1..) = (calm, failed) {
            self.last_refused_in_calm = self.last_refused_in_calm.max(Some(calm));
        }
        if let Some(tenant) = self.by_tenant.get_mut(tenant) {
            tenant.sent_events += u64::from(events);
            match &ending {
                Ending::Answered { accepted, .. } => tenant.acknowledged_events += u64::from(*accepted),
                Ending::GivenUp => tenant.refused_requests += 1,
            }
        }
        for failure in failures {
            self.imprecise_refusals += u64::from(!failure.is_precise_refusal());
            *self.failed_attempts.entry(failure.name()).or_default() += 1;
        }
        self.lag_us.saturating_record(micros(timing.lag()));
        match ending {
            Ending::Answered { accepted, rejected } => {
                self.retries += failed;
                self.acknowledged_events += u64::from(accepted);
                let since_start = timing.answered.saturating_duration_since(self.start);
                self.acknowledged.add(since_start, accepted);
                self.eligible_events += u64::from(eligible);
                if doubt {
                    self.repeated_events += u64::from(accepted);
                }
                for reason in rejected {
                    *self.rejected.entry(reason.as_str_name()).or_default() += 1;
                }
                self.latency_us.saturating_record(micros(timing.latency()));
                if calm.is_some() {
                    self.calm_latency_us.saturating_record(micros(timing.latency()));
                }
            }
            Ending::GivenUp => {
                self.retries += failed.saturating_sub(1);
                self.given_up_requests += 1;
                if doubt {
                    self.doubtful_events += u64::from(events);
                    self.eligible_events += u64::from(eligible);
                }
            }
        }
    }

    /// Adds what slow clients sent, but for their latencies.
    pub(crate) fn add_slow(&mut self, slow: Slow, now: Instant) {
        self.acknowledged_events += slow.acknowledged_events;
        self.eligible_events += slow.eligible_events;
        self.doubtful_events += slow.doubtful_events;
        self.sent_events += slow.acknowledged_events + slow.doubtful_events;
        self.request_bytes += slow.bytes;
        self.text_bytes += slow.text_bytes;
        self.last_answer = self.last_answer.max(now);
    }

    pub(crate) fn rejected_events(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// A histogram of latencies in microseconds.
pub(crate) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY_US, DIGITS)?)
}

fn micros(duration: Duration) -> u64 {
    // The histogram begins at 1.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn sent(ending: Ending, failures: Vec<Failure>) -> Sent {
        let batch = Batch {
            framed: vec![0; 505].into(),
            message_bytes: 500,
            events: 10,
            eligible: 6,
            text_bytes: 200,
        };
        let due = Instant::now();
        let ms = Duration::from_millis;
        let timing = Timing { due, sent: due + ms(20), answered: due + ms(25) };
        Sent::new(&batch, 0, None, timing, ending, failures)
    }

    fn tally() -> Tally {
        let smoke = Scenario::parse(include_str!("../scenarios/smoke.toml")).unwrap();
        Tally::new(Instant::now(), &Tenants::new(&smoke)).unwrap()
    }

    const fn refusal(code: Code) -> Failure {
        Failure::Status { code, has_retry_info: false }
    }

    #[test]
    fn answers_and_rejections_are_counted() {
        let mut tally = tally();
        let rejected = vec![RejectionReason::TextTooLong];
        tally.add(sent(Ending::Answered { accepted: 9, rejected }, Vec::new()));
        assert_eq!((tally.requests, tally.sent_events, tally.acknowledged_events), (1, 10, 9));
        assert_eq!(tally.rejected_events(), 1);
        assert_eq!((tally.repeated_events, tally.doubtful_events), (0, 0));
        // From when it was due, and not from when it was sent.
        assert!(tally.latency_us.max() >= 25_000);
        assert!((20_000..21_000).contains(&tally.lag_us.max()));
    }

    #[test]
    fn only_an_attempt_of_unknown_outcome_leaves_doubt() {
        let mut tally = tally();
        let accepted = || Ending::Answered { accepted: 10, rejected: Vec::new() };
        tally.add(sent(accepted(), vec![refusal(Code::ResourceExhausted)]));
        assert_eq!((tally.repeated_events, tally.retries), (0, 1));
        tally.add(sent(accepted(), vec![refusal(Code::Unavailable)]));
        assert_eq!((tally.repeated_events, tally.retries), (10, 2));
        tally.add(sent(Ending::GivenUp, vec![Failure::TimedOut]));
        assert_eq!((tally.doubtful_events, tally.given_up_requests, tally.retries), (10, 1, 2));
        assert_eq!(tally.failed_attempts["TimedOut"], 1);
        // A request without an answer has no latency.
        assert_eq!(tally.latency_us.len(), 2);
    }

    #[test]
    fn a_refusal_is_precise_when_it_says_when_to_come_back() {
        let mut tally = tally();
        let precise = Failure::Status { code: Code::ResourceExhausted, has_retry_info: true };
        tally.add(sent(Ending::GivenUp, vec![precise]));
        assert_eq!((tally.imprecise_refusals, tally.given_up_requests), (0, 1));
        for imprecise in [refusal(Code::ResourceExhausted), refusal(Code::Unavailable), Failure::TimedOut] {
            tally.add(sent(Ending::GivenUp, vec![imprecise]));
        }
        assert_eq!(tally.imprecise_refusals, 3);
        assert_eq!(tally.by_tenant[0].refused_requests, 4);
    }

    #[test]
    fn the_last_refusal_of_the_calm_phase_is_remembered() {
        let mut tally = tally();
        let seconds = Duration::from_secs;
        for (calm, failures) in [
            (None, vec![Failure::TimedOut]),
            (Some(seconds(2)), vec![Failure::TimedOut]),
            (Some(seconds(1)), vec![Failure::TimedOut]),
            (Some(seconds(3)), vec![]),
        ] {
            let ending = Ending::Answered { accepted: 10, rejected: Vec::new() };
            tally.add(Sent { calm, ..sent(ending, failures) });
        }
        assert_eq!(tally.last_refused_in_calm, Some(seconds(2)));
        assert_eq!((tally.calm_latency_us.len(), tally.latency_us.len()), (3, 4));
    }
}
