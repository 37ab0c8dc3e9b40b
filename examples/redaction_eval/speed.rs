//! How fast texts are redacted on one core.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use assent::redaction::Engine;

/// How long it is tried.
const TRIED_FOR: Duration = Duration::from_secs(3);

/// What came out.
pub(crate) struct Speed {
    texts: usize,
    bytes: usize,
    /// What the quickest of all rounds took: the machine may have had other things to do in the others.
    best: Duration,
}

impl Speed {
    /// Redacts all texts, again and again.
    pub(crate) fn of(texts: &[&str]) -> Self {
        let engine = Engine::shipped();
        let bytes = texts.iter().map(|text| text.len()).sum();
        let (begin, mut best) = (Instant::now(), Duration::MAX);
        while begin.elapsed() < TRIED_FOR {
            let round = Instant::now();
            for text in texts {
                black_box(engine.redact(black_box(text), None));
            }
            best = best.min(round.elapsed());
        }
        Self { texts: texts.len(), bytes, best }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = self.bytes as f64 / 1e6 / self.best.as_secs_f64();
        write!(f, "{megabytes:.3} MB/s: {} bytes in {} texts", self.bytes, self.texts)
    }
}
