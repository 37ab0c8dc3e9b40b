//! From where the next refresh reads, whatever the ledger's clock does.
//!
//! A row carries the time at which its insert began, by the ledger's clock, and can be read once the
//! insert has committed. What a refresh has not seen yet committed after that refresh started, so it
//! began at most one overlap of *local* time before that. The next refresh therefore has to read
//! back to the lowest time that the ledger's clock has shown since then. Each refresh brings along
//! what it shows; between two of them it ran on, and if it was set back in between, it showed no
//! less than what it shows now minus the local time that went by.
//!
//! So a clock that is set forward leaves the tail reading from before that for one more overlap. One
//! that is set back further than the tail reads is noticed by the refresh that comes after it, which
//! then has not read far enough: it does not count, and is done again. Only a clock that is set back
//! *and* forward again between two refreshes goes unnoticed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Once in so long, a refresh reads back [`DEEP`]: an insert that outlived its time limit, and
/// was never acknowledged, is seen all the same.
const DEEP_EVERY: Duration = Duration::from_secs(60);
/// How far that is.
const DEEP: Duration = Duration::from_secs(600);
/// Clocks may disagree by that much before it is said that one was set.
const TOLERANCE_US: i64 = 1_000_000;
/// Spans are put together until they are such a part of the overlap.
const SPANS_PER_OVERLAP: u32 = 32;

/// A time of the ledger's clock, and around when it showed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When the refresh was started, by the local clock: before the ledger looked at its own.
    pub(super) started: Instant,
    /// When its answer began to come in: after that.
    pub(super) answered: Instant,
    /// What the ledger's clock showed, in microseconds since the epoch.
    pub(super) ledger_us: i64,
}

/// What became of a refresh.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// It has read far enough. If not, it shows nothing for certain, and is to be done again at once.
    pub(super) complete: bool,
    /// By how many microseconds the ledger's clock was set since the last one, if it was.
    pub(super) stepped_us: Option<i64>,
}

/// The lowest time that the ledger's clock showed in a stretch of local time.
#[derive(Debug)]
struct Span {
    from: Instant,
    until: Instant,
    lowest_us: i64,
}

/// Where the next refresh begins to read.
#[derive(Debug)]
pub(super) struct Tail {
    overlap: Duration,
    /// From one overlap before the last complete refresh until now.
    spans: VecDeque<Span>,
    last: Option<Sample>,
    deep_done: Option<Instant>,
    deep: bool,
}

impl Tail {
    pub(super) const fn new(overlap: Duration) -> Self {
        Self { overlap, spans: VecDeque::new(), last: None, deep_done: None, deep: false }
    }

    /// From when on a refresh that starts now has to read, in microseconds of the ledger's time;
    /// none for the whole ledger.
    pub(super) fn begin(&mut self, now: Instant) -> Option<i64> {
        let last = self.last?;
        let lowest = self.spans.iter().map(|span| span.lowest_us).min()?;
        self.deep = self.deep_done.is_none_or(|at| now.saturating_duration_since(at) >= DEEP_EVERY);
        Some(if self.deep { lowest.min(last.ledger_us.saturating_sub(micros(DEEP))) } else { lowest })
    }

    /// Takes in a refresh that succeeded, and had read from `since_us` on.
    pub(super) fn finish(&mut self, since_us: Option<i64>, sample: Sample) -> Finished {
        let Sample { started, answered, ledger_us } = sample;
        let (lowest_us, stepped_us) = match self.last {
            // What it showed before the first refresh, nobody knows; that it ran is assumed.
            None => (ledger_us.saturating_sub(micros(self.overlap)), None),
            Some(last) => {
                let at_most = micros(answered.saturating_duration_since(last.started));
                let lowest = last.ledger_us.min(ledger_us.saturating_sub(at_most));
                (lowest, stepped(last, sample))
            }
        };
        self.last = Some(sample);
        self.remember(answered, lowest_us);
        let complete = since_us.is_none_or(|since_us| lowest_us >= since_us);
        if complete {
            if let Some(keep_from) = started.checked_sub(self.overlap) {
                self.spans.retain(|span| span.until >= keep_from);
            }
            if self.deep || since_us.is_none() {
                self.deep_done = Some(started);
            }
        }
        Finished { complete, stepped_us }
    }

    fn remember(&mut self, answered: Instant, lowest_us: i64) {
        let width = self.overlap / SPANS_PER_OVERLAP;
        match self.spans.back_mut() {
            Some(span) if answered.saturating_duration_since(span.from) < width => {
                span.until = answered;
                span.lowest_us = span.lowest_us.min(lowest_us);
            }
            _ => self.spans.push_back(Span { from: answered, until: answered, lowest_us }),
        }
    }
}

/// By how much the clock's progress lies outside of what the local clock allows for.
fn stepped(last: Sample, now: Sample) -> Option<i64> {
    let progress = now.ledger_us.saturating_sub(last.ledger_us);
    let at_least = micros(now.started.saturating_duration_since(last.answered));
    let at_most = micros(now.answered.saturating_duration_since(last.started));
    // Over hours, clocks that nobody sets drift apart as well.
    let tolerance = TOLERANCE_US.saturating_add(at_most / 1_000);
    if progress > at_most.saturating_add(tolerance) {
        Some(progress - at_most)
    } else if progress < at_least.saturating_sub(tolerance) {
        Some(progress - at_least)
    } else {
        None
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
