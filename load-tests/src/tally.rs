//! What became of the requests.

use std::{collections::BTreeMap, time::Duration};

use assent::ingress::proto::RejectionReason;
use hdrhistogram::Histogram;
use tokio::time::Instant;
use tonic::Code;

use crate::{generate::Batch, schedule::Timing};

/// The longest latency that is told apart, in microseconds: half an hour.
const MAX_LATENCY_US: u64 = 30 * 60 * 1_000_000;
const DIGITS: u8 = 3;

/// An attempt that gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Status(Code),
    TimedOut,
}

impl Failure {
    /// Whether the events may have been taken all the same.
    const fn leaves_doubt(self) -> bool {
        !matches!(
            self,
            Self::Status(
                Code::ResourceExhausted | Code::InvalidArgument | Code::Unauthenticated | Code::OutOfRange
            )
        )
    }

    fn name(self) -> String {
        match self {
            Self::Status(code) => format!("{code:?}"),
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
    timing: Timing,
    ending: Ending,
    failures: Vec<Failure>,
}

impl Sent {
    pub(crate) fn new(batch: &Batch, timing: Timing, ending: Ending, failures: Vec<Failure>) -> Self {
        let Batch { encoded, events, eligible } = batch;
        Self { events: *events, eligible: *eligible, bytes: encoded.len(), timing, ending, failures }
    }
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
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// Events of requests that were given up, though they may have been taken.
    pub(crate) doubtful_events: u64,
    /// Acknowledged events that an earlier attempt may have left in the table as well.
    pub(crate) repeated_events: u64,
    /// Acknowledged events whose author's answer makes them eligible; all of a request's, where some were rejected.
    pub(crate) eligible_events: u64,
    pub(crate) request_bytes: u64,
    pub(crate) failed_attempts: BTreeMap<String, u64>,
    pub(crate) retries: u64,
    /// How often the generator was late.
    pub(crate) starved: u64,
    /// From when a request was due to its acknowledgement.
    pub(crate) latency_us: Histogram<u64>,
    /// From when a request was due to when it was sent.
    pub(crate) lag_us: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(start: Instant) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, MAX_LATENCY_US, DIGITS);
        Ok(Self {
            start,
            last_answer: start,
            requests: 0,
            unsent_requests: 0,
            given_up_requests: 0,
            sent_events: 0,
            acknowledged_events: 0,
            rejected: BTreeMap::new(),
            doubtful_events: 0,
            repeated_events: 0,
            eligible_events: 0,
            request_bytes: 0,
            failed_attempts: BTreeMap::new(),
            retries: 0,
            starved: 0,
            latency_us: histogram()?,
            lag_us: histogram()?,
        })
    }

    pub(crate) fn add(&mut self, sent: Sent) {
        let Sent { events, eligible, bytes, timing, ending, failures } = sent;
        self.requests += 1;
        self.sent_events += u64::from(events);
        self.request_bytes += bytes as u64;
        self.last_answer = self.last_answer.max(timing.answered);
        let failed = failures.len() as u64;
        let doubt = failures.iter().any(|failure| failure.leaves_doubt());
        for failure in failures {
            *self.failed_attempts.entry(failure.name()).or_default() += 1;
        }
        self.lag_us.saturating_record(micros(timing.lag()));
        match ending {
            Ending::Answered { accepted, rejected } => {
                self.retries += failed;
                self.acknowledged_events += u64::from(accepted);
                self.eligible_events += u64::from(eligible);
                if doubt {
                    self.repeated_events += u64::from(accepted);
                }
                for reason in rejected {
                    *self.rejected.entry(reason.as_str_name()).or_default() += 1;
                }
                self.latency_us.saturating_record(micros(timing.latency()));
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

    pub(crate) fn rejected_events(&self) -> u64 {
        self.rejected.values().sum()
    }
}

fn micros(duration: Duration) -> u64 {
    // The histogram begins at 1.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ending: Ending, failures: Vec<Failure>) -> Sent {
        let batch = Batch { encoded: vec![0; 500].into(), events: 10, eligible: 6 };
        let due = Instant::now();
        let ms = Duration::from_millis;
        let timing = Timing { due, sent: due + ms(20), answered: due + ms(25) };
        Sent::new(&batch, timing, ending, failures)
    }

    #[test]
    fn answers_and_rejections_are_counted() {
        let mut tally = Tally::new(Instant::now()).unwrap();
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
        let mut tally = Tally::new(Instant::now()).unwrap();
        let accepted = || Ending::Answered { accepted: 10, rejected: Vec::new() };
        tally.add(sent(accepted(), vec![Failure::Status(Code::ResourceExhausted)]));
        assert_eq!((tally.repeated_events, tally.retries), (0, 1));
        tally.add(sent(accepted(), vec![Failure::Status(Code::Unavailable)]));
        assert_eq!((tally.repeated_events, tally.retries), (10, 2));
        tally.add(sent(Ending::GivenUp, vec![Failure::TimedOut]));
        assert_eq!((tally.doubtful_events, tally.given_up_requests, tally.retries), (10, 1, 2));
        assert_eq!(tally.failed_attempts["TimedOut"], 1);
        // A request without an answer has no latency.
        assert_eq!(tally.latency_us.len(), 2);
    }
}
