//! The requests of a run: a bounded number of bodies, made before the first is sent, that take turns.

use std::{
    io::Write as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;

use super::{
    Generator, Person,
    body::{Body, PREFIX_BYTES},
    ids::Ids,
};
use crate::{
    scenario::{Compression, Scenario},
    schedule::Timetable,
};

/// What all bodies may take, but for one that is larger by itself.
const POOL_BYTES: usize = 32 << 20;
/// Bodies of a small pool.
const SMALL: usize = 8;
/// As other clients of gRPC have it.
const GZIP_LEVEL: u32 = 6;

/// A request, ready to be sent. A retry costs no more than a copy of a pointer.
pub(crate) struct Batch {
    /// With its gRPC prefix, and compressed where the scenario wants that.
    pub(crate) framed: Bytes,
    /// The message alone, uncompressed.
    pub(crate) message_bytes: usize,
    pub(crate) events: u32,
    /// Of the events, those whose author's answer makes them eligible.
    pub(crate) eligible: u32,
    /// What people wrote, in all of its events.
    pub(crate) text_bytes: u32,
}

/// An endless source of requests that differ in every id and time, and in texts until the pool begins anew.
pub(crate) struct Pool {
    bodies: Vec<Body>,
    next: usize,
    ids: Ids,
    compression: Compression,
}

impl Pool {
    /// Makes as many bodies as the run needs, or as fit into [`POOL_BYTES`].
    pub(crate) fn new(scenario: &Scenario, people: Arc<Vec<Person>>) -> Self {
        let requests = usize::try_from(Timetable::new(scenario).requests()).unwrap_or(usize::MAX);
        Self::of(requests, scenario, people)
    }

    /// For a client that sends few requests.
    pub(crate) fn small(scenario: &Scenario, people: Arc<Vec<Person>>) -> Self {
        Self::of(SMALL, scenario, people)
    }

    fn of(requests: usize, scenario: &Scenario, people: Arc<Vec<Person>>) -> Self {
        let events = scenario.events_per_request as usize;
        let mut generator = Generator::new(scenario, people);
        let mut bodies = Vec::new();
        let mut bytes = 0;
        while bodies.len() < requests && (bytes < POOL_BYTES || bodies.is_empty()) {
            let body = Body::new((0..events).map(|_| generator.next()));
            bytes += body.framed_bytes();
            bodies.push(body);
        }
        Self { bodies, next: 0, ids: Ids::new(), compression: scenario.compression }
    }

    pub(crate) const fn bodies(&self) -> usize {
        self.bodies.len()
    }

    /// The next request, to be sent now.
    pub(crate) fn next(&mut self) -> anyhow::Result<Batch> {
        let body = &self.bodies[self.next];
        self.next = (self.next + 1) % self.bodies.len();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or_default();
        let framed = body.stamped(&mut self.ids, micros);
        Ok(Batch {
            message_bytes: framed.len() - PREFIX_BYTES,
            framed: compressed(framed, self.compression).context("a request cannot be compressed")?,
            events: body.events(),
            eligible: body.eligible,
            text_bytes: body.text_bytes,
        })
    }
}

/// The same message, compressed, with a prefix that says so.
fn compressed(framed: Bytes, compression: Compression) -> std::io::Result<Bytes> {
    let message = &framed[PREFIX_BYTES..];
    let packed = match compression {
        Compression::None => return Ok(framed),
        Compression::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(message)?;
            encoder.finish()?
        }
        Compression::Zstd => zstd::encode_all(message, zstd::DEFAULT_COMPRESSION_LEVEL)?,
    };
    let mut out = Vec::with_capacity(PREFIX_BYTES + packed.len());
    out.push(1);
    out.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&packed);
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, io::Read as _};

    use assent::{
        event::{Micros, ReceivedPayload, Tenant},
        ingress::request::CollectRequest,
        pipeline::{Limits, Validator},
    };

    use super::*;
    use crate::generate::people;

    fn scenario() -> Scenario {
        Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap()
    }

    fn pool(scenario: &Scenario) -> Pool {
        Pool::new(scenario, Arc::new(people(scenario)))
    }

    #[test]
    fn every_event_is_valid_and_has_an_id_of_its_own_on_every_turn() {
        let mut pool = pool(&Scenario { duration: "1s".parse().unwrap(), ..scenario() });
        let validator = Validator::new(Limits::default());
        let tenant = Tenant::new("local");
        let (mut ids, mut texts) = (HashSet::new(), HashSet::new());
        let turns = 3;
        for _ in 0..turns * pool.bodies() {
            let batch = pool.next().unwrap();
            let request = CollectRequest::new(batch.framed.slice(PREFIX_BYTES..));
            let events = request.events().unwrap();
            assert_eq!(events.len(), batch.events as usize);
            for event in events {
                assert!(ids.insert(event.event_id.to_owned()));
                if let Some(ReceivedPayload::TypedText { text, .. }) = &event.payload {
                    texts.insert(text.expose().to_owned());
                }
                if let Err(violation) = validator.validate(&tenant, event, Micros::now()) {
                    panic!("{violation}");
                }
            }
        }
        assert_eq!(ids.len(), 2_000 * turns);
        // Nobody writes the same, but for texts of a few words.
        assert!(texts.len() > 600, "{}", texts.len());
    }

    #[test]
    fn the_pool_is_bounded_in_bytes_and_never_empty() {
        let large = Scenario { duration: "1h".parse().unwrap(), ..scenario() };
        let pool_of_large = pool(&large);
        let bytes: usize = pool_of_large.bodies.iter().map(Body::framed_bytes).sum();
        let largest = pool_of_large.bodies.iter().map(Body::framed_bytes).max().unwrap();
        assert!((POOL_BYTES..POOL_BYTES + largest).contains(&bytes), "{bytes}");
        let short = Scenario { duration: "1ms".parse().unwrap(), ..scenario() };
        assert_eq!(pool(&short).bodies(), 1);
    }

    #[test]
    fn a_compressed_request_is_the_same_message() {
        let body = pool(&scenario()).bodies.remove(0);
        let plain = body.stamped(&mut Ids::new(), 1_790_000_000_000_000);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let framed = compressed(plain.clone(), compression).unwrap();
            let (prefix, packed) = framed.split_at(PREFIX_BYTES);
            assert_eq!(prefix, [&[1][..], &(packed.len() as u32).to_be_bytes()].concat());
            let mut back = Vec::new();
            match compression {
                Compression::Zstd => back = zstd::decode_all(packed).unwrap(),
                _ => _ = flate2::read::GzDecoder::new(packed).read_to_end(&mut back).unwrap(),
            }
            assert!(back == plain[PREFIX_BYTES..] && packed.len() * 2 < back.len());
        }
    }
}
