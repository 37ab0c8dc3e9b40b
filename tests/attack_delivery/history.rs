//! What became of each event, as its sender knows it.

use std::collections::{HashMap, HashSet};

use crate::event::{Key, Kind, Made};

/// How a request ended, for one of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// OK came in, and the event is not among the rejected ones.
    Acknowledged,
    /// OK came in, and the event is among the rejected ones.
    Rejected,
    /// The status says that nothing of the request was taken.
    Refused,
    /// Anything else: it may have been taken.
    Unknown,
}

/// An event and every request that it was in. One without a request was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) digest: u64,
    /// It breaks a rule.
    pub(crate) is_bad: bool,
    pub(crate) requests: u16,
    pub(crate) acknowledged: u16,
    pub(crate) rejected: u16,
    pub(crate) refused: u16,
    /// One bit for each collector that it was sent to.
    pub(crate) collectors: u8,
}

impl Record {
    pub(crate) const fn new(made: &Made) -> Self {
        Self {
            kind: made.kind,
            digest: made.digest,
            is_bad: made.is_bad,
            requests: 0,
            acknowledged: 0,
            rejected: 0,
            refused: 0,
            collectors: 0,
        }
    }

    pub(crate) fn note(&mut self, via: usize, outcome: Outcome) {
        self.requests += 1;
        self.collectors |= 1 << via;
        match outcome {
            Outcome::Acknowledged => self.acknowledged += 1,
            Outcome::Rejected => self.rejected += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Unknown => {}
        }
    }

    /// The most rows that there may be of it.
    pub(crate) const fn most_copies(&self) -> u16 {
        self.requests - self.rejected - self.refused
    }

    /// Nobody knows whether it is there.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.acknowledged == 0 && self.most_copies() > 0
    }
}

/// All events.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: HashMap<Key, Record>,
    /// Events that one of their requests makes ineligible, so that all of them have to be.
    pub(crate) narrow: HashSet<Key>,
    /// Answers that no client should get.
    pub(crate) complaints: Vec<String>,
}

impl History {
    /// Takes in what another sender did. No two send the same event.
    pub(crate) fn extend(&mut self, other: Self) {
        self.events.extend(other.events);
        self.narrow.extend(other.narrow);
        self.complaints.extend(other.complaints);
    }

    pub(crate) fn note(&mut self, made: &Made, via: usize, outcome: Outcome) {
        self.events.entry(made.key).or_insert_with(|| Record::new(made)).note(via, outcome);
    }

    pub(crate) fn count(&self, fits: impl Fn(&Record) -> bool) -> u64 {
        self.events.values().filter(|record| fits(record)).count() as u64
    }
}
